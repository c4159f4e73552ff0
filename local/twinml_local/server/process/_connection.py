"""HTTP/1.1 on an event loop: one connection.

::

    head complete ──▶ front.refusal ──▶ reply               (the body is not waited for)
          │
    body complete ──▶ front.answer in the loop              short requests of compiled models
          │      └──▶ front.answer in a thread              long ones, pipelines
          └─────────▶ the pages' WSGI application in a thread

No thread waits for a client: bodies are read by the loop, replies are written by it. What a
client may hold is bounded: seconds for a head, a least pace for a body, bytes of a head, of a
body, and of all bodies together; connections that have nothing to say give way to new ones.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import httptools

from twinml_local.server._errors import Refused
from twinml_local.server.process._heads import KnownHead, around_length, body_behind, usual
from twinml_local.server.process._request import Request
from twinml_local.server.process._traffic import Traffic
from twinml_local.server.process._wsgi import ask
from twinml_local.server.scoring.front import PHRASES, Reply, cut_off

__all__ = ["Connection"]

log = logging.getLogger("twinml.server")

PATIENCE = 16  # heads unlike the one before, until a connection's are no longer compared


class Connection(asyncio.Protocol):
    """One connection of a client.

    Parameters
    ----------
    traffic
        What it shares with the others.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._limits = traffic.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._base: dict[str, Any] = {}
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._head_begun = False
        self._request: Request | None = None
        self._waiting: deque[Request] = deque()
        self._answering = False
        self._spare: int | None = None
        self._writable = True
        self._ended = False
        self._last = False  # whether nothing more is read
        self._known: KnownHead | None = None
        self._passed: Request | None = None  # the last that nothing was said against
        self._patience = PATIENCE
        self._unsent = 0
        self.deadline = 0.0

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        here = transport.get_extra_info("sockname") or ("", 0)
        self._base = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": str(here[0]),
            "SERVER_PORT": str(here[1]),
            "REMOTE_ADDR": str(peer[0]),
            "REMOTE_PORT": str(peer[1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }
        self._traffic.connections.add(self)
        self._rest()
        self._traffic.make_room(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        self._ended = True
        self._traffic.connections.discard(self)
        for request in (self._request, *self._waiting):
            if request is not None:
                self._let_go(request)
        self._request = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self._spare is not None:
            # The rest of a body that was refused. Read, so that closing does not lose the reply.
            self._spare -= len(data)
            if self._spare <= 0:
                self.close()
            return
        if self._last:
            return
        begins = self.idle
        if begins and self._answered_again(data):
            return
        if not self._head_begun and self._request is None and not self._answering:
            self.deadline = self._traffic.loop.time() + self._limits.head_seconds
        self._passed = None
        try:
            self._parser.feed_data(data)
            if begins and self._passed is not None and self._patience:
                self._remember(self._passed, data)
        except httptools.HttpParserUpgrade as error:
            self._go_on_without_upgrade(data[error.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refused):
                log.exception("a request could not be read", exc_info=cause)
                cause = Refused(500, "the request could not be read")
            self._give_up(cause)
        except httptools.HttpParserError as error:
            reason = str(error) or "the request is not HTTP/1.1"
            self._give_up(Refused(400, f"the request is not HTTP/1.1: {reason}"))

    def _answered_again(self, data: bytes) -> bool:
        """Answer a request whose head is like the last one, if it is one and is here whole."""
        known = self._known
        found = None if known is None else body_behind(known.around, data)
        if known is None or found is None:
            return False
        environ = {**known.environ, "CONTENT_LENGTH": found[0].decode()}
        exchange, _ = self._traffic.front.begin(environ)
        request = Request(environ)
        request.exchange, request.route = exchange, known.route
        body = request.body = found[1]
        if exchange.serving is not known.serving:
            self._known = None
            return False
        if self._traffic.no_room(request, len(body)) is not None:
            return False
        request.held = len(body)
        self._traffic.held += request.held
        self._answer(request)
        return True

    def _remember(self, passed: Request, data: bytes) -> None:
        """Keep the head of a request that was let through."""
        self._patience -= 1
        around = around_length(data) if passed.keep and usual(passed.environ) else None
        exchange, route = passed.exchange, passed.route
        if around is not None and exchange is not None and route is not None:
            self._known = KnownHead(around, passed.environ, route, exchange.serving)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request that asks for HTTP/2 or a WebSocket as one that does not.

        The parser takes what follows the head for another protocol, and so gets the head again.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._give_up(Refused(405, "method not allowed"))
            return
        lines = [method + b" " + self._url + b" HTTP/1.1"]
        for name, value in self._headers.items():
            if name not in ("HTTP_UPGRADE", "HTTP_CONNECTION"):
                spelt = name.removeprefix("HTTP_").replace("_", "-")
                lines.append(f"{spelt}: {value}".encode("latin-1"))
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"Connection: close", b"", rest]))

    def eof_received(self) -> bool:
        """Tell a client that stopped in the middle of a request; keep open what is answered."""
        request = self._request
        if request is not None and self._spare is None:
            declared = request.environ.get("CONTENT_LENGTH", "")
            self._give_up(
                cut_off(request.size, int(declared))
                if declared.isdecimal()
                else Refused(
                    400,
                    "the body ended before its last chunk",
                    hint="Send the whole body; nothing of it was scored.",
                )
            )
            return True
        self._last = True
        return self._answering or bool(self._waiting) or not self._writable

    def pause_writing(self) -> None:
        """Wait for a client that does not take its replies."""
        self._writable = False
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._traffic.loop.time() + self._limits.write_seconds

    def resume_writing(self) -> None:
        """Go on with a client that takes its replies."""
        self._writable = True
        if self._last and not self._answering and not self._waiting:
            self._transport.close()
        elif not self._answering:
            self._rest()
            self._next()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Begin with a head."""
        self._url, self._headers, self._head_size = b"", {}, 0
        self._head_begun = True

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._url += url
        self._grow(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that comes twice is one list."""
        self._grow(len(name) + len(value) + 4)
        key, text = self._traffic.wsgi_name(name), value.decode("latin-1")
        earlier = self._headers.get(key)
        self._headers[key] = text if earlier is None else f"{earlier},{text}"

    def _grow(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes:
            raise Refused(
                431, f"the head of the request is larger than {self._limits.head_bytes} bytes"
            )

    def on_headers_complete(self) -> None:
        """Decide what can be decided by the head."""
        self._head_begun = False
        parser, headers = self._parser, self._headers
        if parser.should_upgrade():
            return
        version = parser.get_http_version()
        path, _, query = self._url.partition(b"?")
        if not path.startswith(b"/") and path != b"*":
            parsed = httptools.parse_url(self._url)
            path, query = parsed.path or b"/", parsed.query or b""
        if b"%" in path:
            path = unquote_to_bytes(path)
        environ = {
            **self._base,
            "REQUEST_METHOD": parser.get_method().decode("latin-1"),
            "PATH_INFO": path.decode("latin-1"),
            "QUERY_STRING": query.decode("latin-1"),
            "SERVER_PROTOCOL": f"HTTP/{version}",
            **headers,
        }
        request = self._request = Request(environ)
        request.keep = parser.should_keep_alive()
        request.begun = self._traffic.loop.time()
        front = self._traffic.front
        exchange, route = front.begin(environ)
        request.exchange, request.route = exchange, route
        request.refused = front.turned_away(exchange, route)
        if request.refused is None and route is not None:
            request.refused = front.refusal(exchange, route)
        declared = headers.get("CONTENT_LENGTH", "")
        length = int(declared) if declared.isdecimal() else 0
        if request.refused is None:
            refused = self._traffic.no_room(request, length)
            if refused is not None:
                request.refused = front.refuse(exchange, refused)
        behind = self._answering or bool(self._waiting)
        if request.refused is not None:
            long = length > self._limits.head_bytes or "HTTP_TRANSFER_ENCODING" in headers
            if long and not behind:
                self._refuse_unread(request)
            return
        self._passed = None if route is None else request
        if length or "HTTP_TRANSFER_ENCODING" in headers:
            self.deadline = request.begun + self._limits.body_seconds
            if headers.get("HTTP_EXPECT", "").lower() == "100-continue" and not behind:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        request = self._request
        if request is None or request.refused is not None:
            return
        refused = self._traffic.no_room(request, len(body))
        if refused is not None:
            raise refused
        request.size += len(body)
        request.held += len(body)
        self._traffic.held += len(body)
        self.deadline = (
            request.begun + self._limits.body_seconds + request.size / self._limits.body_pace
        )
        if not request.body:
            request.body = body
        else:
            # One piece, however many chunks it came in: a chunk may be a byte long.
            if isinstance(request.body, bytes):
                request.body = bytearray(request.body)
            request.body += body

    def on_message_complete(self) -> None:
        """Answer a request that is complete, or put it behind those before it."""
        request = self._request
        self._request = None
        if request is None or self._spare is not None:
            return
        self._waiting.append(request)
        if self._answering or not self._writable:
            # Clients that send ahead wait until they have read.
            self._transport.pause_reading()
        else:
            self._next()

    # Answering.

    def _next(self) -> None:
        while self._waiting and not self._answering and self._writable and not self._ended:
            self._answer(self._waiting.popleft())
        if not self._waiting and not self._ended and not self._transport.is_closing():
            self._transport.resume_reading()

    def _answer(self, request: Request) -> None:
        traffic, exchange, route = self._traffic, request.exchange, request.route
        if request.refused is not None or exchange is None:
            if request.refused is not None:
                self._send(request, request.refused)
            return
        body, request.body = bytes(request.body), b""
        if route is None:
            self._in_thread(
                request, traffic.pages, lambda: ask(traffic.front.pages, request.environ, body)
            )
            return
        if traffic.front.at_once(exchange, len(body)):
            reply = traffic.front.answer(exchange, route, body, wait=False)
            if reply is not None:
                self._send(request, reply)
                return
        pool = traffic.gathering if traffic.front.gathers(exchange) else traffic.scoring
        self._in_thread(request, pool, lambda: traffic.front.answer(exchange, route, body))

    def _in_thread(
        self, request: Request, pool: ThreadPoolExecutor, work: Callable[[], Reply | None]
    ) -> None:
        self._answering = True
        self.deadline = float("inf")
        future = self._traffic.loop.run_in_executor(pool, work)

        def done(future: asyncio.Future[Reply | None]) -> None:
            self._answering = False
            try:
                reply = future.result()
            except Exception as error:
                log.exception("a request could not be answered")
                reply = (
                    None
                    if request.exchange is None
                    else self._traffic.front.refuse(request.exchange, error)
                )
            if reply is None:
                self.close()
                return
            self._send(request, reply)
            self._next()

        future.add_done_callback(done)

    def _send(self, request: Request, reply: Reply) -> None:
        self._let_go(request)
        if self._ended:
            return
        last = self._last and not self._waiting
        keep = request.keep and not self._traffic.draining and not last
        self._write(reply, keep, request.environ["SERVER_PROTOCOL"])
        if not keep:
            self._transport.close()
        elif self._request is None and self._writable:
            self._rest()

    def _write(self, reply: Reply, keep: bool, protocol: str = "HTTP/1.1") -> None:
        lines = [f"HTTP/1.1 {reply.status} {PHRASES.get(reply.status, '')}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
        if not keep:
            lines.append("Connection: close\r\n")
        elif protocol == "HTTP/1.0":
            lines.append("Connection: keep-alive\r\n")
        head = "".join(lines).encode("latin-1", "replace")
        self._transport.write(head + self._traffic.date + b"\r\n" + reply.body)
        if reply.after is not None:
            reply.after()

    def _refuse_unread(self, request: Request) -> None:
        """Answer before the body has come: it is not worth reading, and the connection ends."""
        if request.refused is not None and not self._ended:
            self._let_go(request)
            self._write(request.refused, keep=False)
            self._linger()

    def _give_up(self, refused: Refused) -> None:
        """Answer a request that cannot be read to its end."""
        request = self._request
        if self._answering or self._waiting:
            # What came before it is answered; what is behind it cannot be told apart.
            self._transport.pause_reading()
            if request is not None:
                self._let_go(request)
            self._request = None
            self._last = True
            return
        front = self._traffic.front
        if request is not None and request.exchange is not None:
            exchange = request.exchange
        else:
            path = self._url.partition(b"?")[0].decode("latin-1")
            environ = {**self._base, "REQUEST_METHOD": "-", "PATH_INFO": path}
            exchange, _ = front.begin(environ)
        reply = front.refuse(exchange, refused)
        if request is not None:
            self._let_go(request)
            self._request = None
        self._write(reply, keep=False)
        self._linger()

    def _linger(self) -> None:
        """Take what the client still sends, for a moment: a reset would lose it the reply."""
        self._spare = self._limits.spare_bytes
        self.deadline = self._traffic.loop.time() + self._limits.spare_seconds
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _let_go(self, request: Request) -> None:
        self._traffic.held -= request.held
        request.held = 0
        request.body = b""

    def _rest(self) -> None:
        self.deadline = self._traffic.loop.time() + self._limits.idle_seconds

    # Time.

    @property
    def idle(self) -> bool:
        """Whether nothing is read, answered or written."""
        return (
            not self._answering
            and self._request is None
            and not self._head_begun
            and not self._waiting
            and self._writable
        )

    @property
    def heading(self) -> bool:
        """Whether it is in the middle of a head."""
        return self._head_begun and self._request is None and not self._answering

    def late(self) -> None:
        """Do what is to be done when ``deadline`` has passed."""
        unsent = self._transport.get_write_buffer_size()
        if not self._writable and unsent < self._unsent:
            self._unsent = unsent  # it does take the reply
            self.deadline = self._traffic.loop.time() + self._limits.write_seconds
            return
        if self._spare is not None or self.idle or not self._writable:
            self.close()
        elif self._request is not None or self._head_begun:
            part = "body" if self._request is not None else "head"
            self._give_up(
                Refused(408, f"the {part} of the request took too long", hint="Send it again.")
            )

    def close(self) -> None:
        """End the connection at once."""
        if self._writable:
            self._transport.close()
        else:
            self._transport.abort()
