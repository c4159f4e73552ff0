"""The HTTP proxy in front of the emulator: ``CONNECT`` and plain requests, both end here.

A client that is told to use this proxy asks for ``CONNECT management.azure.com:443``; it is
answered yes, whatever the host, and then speaks TLS with this process, which has a
certificate for that host. What it sends goes to one WSGI application. No name is ever looked
up and no connection is ever opened, except to the hosts that are let through
(``azureml_emulator.http.relay``).

The WSGI environment holds more than the standard asks for:

* ``azureml_emulator.host``      the host that the client meant
* ``azureml_emulator.path``      the path as it was sent, percent signs and all
* ``azureml_emulator.headers``   pairs of header name (lower case) and value, as sent
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO, RawIOBase
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from azureml_emulator.faults.plan import ConnectionDropped
from azureml_emulator.http.certificates import CertificateAuthority
from azureml_emulator.http.relay import open_way, pump

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Proxy"]

Failure = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None
IDLE_SECONDS = 120.0
WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

_log = logging.getLogger("azureml_emulator.http.proxy")


class Proxy(ThreadingHTTPServer):
    """Serves a WSGI application under every host name, on loopback.

    Parameters
    ----------
    app
        The application.
    authority
        Signs the certificates.
    port
        Where to listen; 0 takes a free port.
    allowed
        Hosts that are let through.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        app: WSGIApplication,
        authority: CertificateAuthority,
        port: int = 0,
        *,
        allowed: frozenset[str] = frozenset(),
    ) -> None:
        self.app, self.authority, self.allowed = app, authority, allowed
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Where clients find the proxy."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong in a connection instead of printing it."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError | ssl.SSLError):
            _log.debug("connection lost: %s", error)
        else:
            _log.exception("a connection could not be served")


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client to the proxy: requests in plain HTTP, or a tunnel."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Proxy

    def __init__(self, *args: Any, tunnel: str | None = None) -> None:
        self._tunnel = tunnel
        self._answered = False
        super().__init__(*args)

    def do_CONNECT(self) -> None:
        """Speak TLS as the requested host until the client closes the connection."""
        name, _, port = self.path.rpartition(":")
        host = name.strip("[]").lower()
        self.close_connection = True
        if host in self.server.allowed and port.isdecimal():
            self._let_through(host, int(port))
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            tls = self.server.authority.context(host).wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, OSError) as error:
            _log.warning("%s: the client refused the certificate: %s", host, error)
            return
        try:
            _Handler(tls, self.client_address, self.server, tunnel=host)
        finally:
            with tls:
                self._say_goodbye(tls)

    def _let_through(self, host: str, port: int) -> None:
        try:
            way = open_way(host, port)
        except OSError as error:
            _log.warning("%s: there is no way to this host: %s", host, error)
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        _log.info("let through: %s:%d", host, port)
        with way:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(self.connection, way)

    @staticmethod
    def _say_goodbye(tls: ssl.SSLSocket) -> None:
        try:
            tls.shutdown(socket.SHUT_WR)
        except OSError:
            _log.debug("the client had hung up")

    def _serve(self) -> None:
        """Hand one request to the application and send its answer."""
        self._answered = False
        body = self._body()
        environ = self._environ(body)
        status, headers = "", list[tuple[str, str]]()

        def start_response(
            given: str, pairs: list[tuple[str, str]], failure: Failure = None, /
        ) -> Callable[[bytes], object]:
            nonlocal status, headers
            if failure and failure[1] is not None and self._answered:
                raise failure[1]
            status, headers = given, pairs
            return self.wfile.write

        try:
            chunks: Iterable[bytes] = self.server.app(environ, start_response)
        except ConnectionDropped:
            self._reset()
            return
        try:
            body.drain()
            self._send(status, headers, chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _reset(self) -> None:
        """Reset the connection, as a crashed machine does."""
        self.close_connection = True
        at_once = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        # The files on the connection would keep it open: take it from under them.
        os.close(self.connection.detach())
        # What asks the file for more gets nothing, and what writes to it writes nowhere.
        self.rfile, self.wfile = BytesIO(), BytesIO()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _body(self) -> _Body:
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            return _Body(self.rfile, None)
        return _Body(self.rfile, int(self.headers.get("Content-Length") or 0))

    def _environ(self, body: _Body) -> dict[str, Any]:
        url = urlsplit(self.path)
        host = self._tunnel or url.hostname or self.headers.get("Host", "").rpartition(":")[0]
        path = url.path or "/"
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": url.query,
            "SERVER_NAME": host,
            "SERVER_PORT": "443" if self._tunnel else "80",
            "SERVER_PROTOCOL": self.request_version,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self._tunnel else "http",
            "wsgi.input": body,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "azureml_emulator.host": host.lower(),
            "azureml_emulator.path": path,
            "azureml_emulator.headers": [
                (name.lower(), value) for name, value in self.headers.items()
            ],
        }
        for name, value in self.headers.items():
            if "_" in name:
                continue
            key = name.upper().replace("-", "_")
            plain = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
            environ[key if plain else f"HTTP_{key}"] = value
        return environ

    def _send(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        code = int(status[:3])
        names = {name.lower() for name, _ in headers}
        silent = self.command == "HEAD" or code in WITHOUT_BODY
        chunked = not silent and "content-length" not in names
        self._answered = True
        self.send_response(code, status[4:])
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if silent:
            return
        for chunk in chunks:
            if chunked and chunk:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            else:
                self.wfile.write(chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def version_string(self) -> str:
        """Name the server in its answers."""
        return "azureml_emulator"

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the log to the application, which knows more."""
        _log.debug(format, *args)


class _Body(RawIOBase):
    """The body of one request: never reads into the next one.

    Parameters
    ----------
    source
        The connection.
    length
        In bytes; ``None`` when the body comes in chunks.
    """

    def __init__(self, source: BufferedIOBase, length: int | None) -> None:
        self._source = source
        self._parts = self._chunks() if length is None else self._whole(length)
        self._rest = b""

    def readable(self) -> bool:
        """Return ``True``: the body can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read at most one chunk into ``buffer``; returns its size, 0 at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n

    def drain(self) -> None:
        """Read the rest of the body, so that the next request begins at its first byte."""
        for _ in self._parts:
            pass

    def _whole(self, length: int) -> Iterator[bytes]:
        while length > 0:
            part = self._source.read(min(length, 1 << 16))
            if not part:
                raise ConnectionResetError("the client hung up in the middle of a request")
            length -= len(part)
            yield part

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._source.readline(64).split(b";")[0].strip() or b"0", 16):
            yield from self._whole(size)
            self._source.readline(64)
        while self._source.readline(1024).strip():
            pass
