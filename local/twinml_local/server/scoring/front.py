"""The one way in: scoring requests are answered here, everything else by the pages behind.

``POST /score``, ``GET /score`` and ``POST /invocations`` never reach Flask; their errors do not
either. A request is looked at twice: ``refusal`` needs its head alone, so that a server need not
read the body of a request that it will refuse, and ``answer`` needs the body. Both are plain
functions of values. ``__call__`` makes a WSGI application of them, for waitress and for tests;
the event loop (``twinml_local.server.process._connection``) calls them itself.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from werkzeug.wsgi import ClosingIterator

from twinml.contract import Route
from twinml.errors import PayloadError, TwinmlError
from twinml_local.compiled import NotCovered
from twinml_local.server._errors import Refused, bounded, error_shape, key_refused, too_large
from twinml_local.server._hosts import host_refusal, prefix_of
from twinml_local.server.scoring._query import body_from_query
from twinml_local.server.scoring.service import (
    LONGEST_ID,
    SHORT_BODY,
    Exchange,
    ScoringService,
    packed,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["EXCHANGE", "Front", "Reply"]

EXCHANGE = "twinml.exchange"
JSON = "application/json"
LONGEST_LENGTH = 16  # digits
PATHS: Mapping[str, Route] = {"/score": "score", "/invocations": "invocations"}
METHODS: Mapping[Route, tuple[str, ...]] = {
    "score": ("GET", "HEAD", "OPTIONS", "POST"),
    "invocations": ("OPTIONS", "POST"),
}
PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True)
class Reply:
    """What is sent back.

    Attributes
    ----------
    status
        An HTTP status.
    headers
        All but those of the connection and the date.
    body
        Its bytes.
    after
        Called once the reply is on its way; ``None`` for nothing.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    after: Callable[[], None] | None = field(default=None)


class Front:
    """Answers scoring requests, and hands all others on.

    Parameters
    ----------
    pages
        The WSGI application of all other routes.
    service
        Scores.
    bound
        The address that the server listens on.
    """

    def __init__(
        self, pages: WSGIApplication, service: ScoringService, *, bound: str = "127.0.0.1"
    ) -> None:
        self.pages = pages
        self.service = service
        self._bound = bound

    def begin(self, environ: WSGIEnvironment) -> tuple[Exchange, Route | None]:
        """Begin with a request; the route is ``None`` for one that is the pages'."""
        exchange = self.service.begin(environ)
        route = PATHS.get(environ["PATH_INFO"])
        if route is None:
            environ[EXCHANGE] = exchange
            environ["SCRIPT_NAME"] = prefix_of(
                environ.get("HTTP_X_FORWARDED_PREFIX"), exchange.serving.settings.root_path
            )
        return exchange, route

    def turned_away(self, exchange: Exchange, route: Route | None) -> Reply | None:
        """Return the answer to a request for a host that is not this one, else ``None``."""
        environ = exchange.environ
        host: str | None = environ.get("HTTP_HOST")
        if host is None and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            refused: Refused | None = Refused(400, "an HTTP/1.1 request needs the header 'Host'")
        else:
            allowed = exchange.serving.settings.allowed_hosts
            refused = host_refusal(host, bound=self._bound, allowed=allowed)
        return None if refused is None else self._failed(exchange, route, refused)

    def refusal(self, exchange: Exchange, route: Route) -> Reply | None:
        """Return the answer to a request that needs no body to be answered, else ``None``."""
        try:
            return self._refusal(exchange, route)
        except Exception as error:
            return self._failed(exchange, route, error)

    def _refusal(self, exchange: Exchange, route: Route) -> Reply | None:
        environ = exchange.environ
        overlong = exchange.overlong_id
        if overlong is not None:
            raise Refused(431, f"{overlong} must not exceed {LONGEST_ID} characters")
        method: str = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return self._reply(exchange, route, 200, b"", "text/html; charset=utf-8")
        if method not in METHODS[route]:
            raise Refused(405, "method not allowed")
        wrong = exchange.refusal()
        if wrong is not None:
            raise key_refused(wrong, self.service.endpoint)
        exchange.choose()
        if method == "POST":
            most = exchange.serving.settings.max_body_bytes
            if declared_length(environ) > most:
                raise too_large(most)
            encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
            if encoding not in ("identity", "gzip", "x-gzip"):
                raise Refused(
                    415,
                    f"bodies with Content-Encoding '{encoding[:LONGEST_ID]}' are not read",
                    hint="Send the body as it is, or with gzip.",
                )
        return None

    def at_once(self, exchange: Exchange, size: int) -> bool:
        """Tell whether scoring a body of ``size`` bytes takes less than handing it to a thread."""
        short = size <= SHORT_BODY and not packed(exchange.environ)
        return short and exchange.choose().compiled is not None

    def gathers(self, exchange: Exchange) -> bool:
        """Tell whether a request is scored together with others that wait at the same time."""
        deployment = exchange.deployment
        # Of packed bodies few are unpacked at a time: they take more memory than was counted.
        return deployment is not None and deployment.gathers and not packed(exchange.environ)

    def answer(
        self, exchange: Exchange, route: Route, body: bytes, *, wait: bool = True
    ) -> Reply | None:
        """Return the answer to a request whose body is complete.

        Parameters
        ----------
        exchange
            ``refusal`` had nothing against it.
        route
            As ``begin`` gave it.
        body
            As it came over the wire.
        wait
            Whether it may take long. If not, the answer is ``None`` where it would.
        """
        environ = exchange.environ
        try:
            if environ["REQUEST_METHOD"] == "POST":
                body = decoded(environ, body, exchange.serving.settings.max_body_bytes)
                content_type = environ.get("CONTENT_TYPE") or None
            else:
                arguments = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
                body, content_type = body_from_query(exchange.choose().contract, arguments), JSON
            scored = self.service.score(exchange, route, body, content_type, wait=wait)
        except NotCovered:
            return None
        except Exception as error:
            return self._failed(exchange, route, error)
        return self._reply(exchange, route, 200, scored, JSON)

    def refuse(self, exchange: Exchange, error: Exception) -> Reply:
        """Return the answer to a request that the server could not read to its end."""
        return self._failed(exchange, None, error)

    def _failed(self, exchange: Exchange, route: Route | None, error: Exception) -> Reply:
        service, more = self.service, []
        if isinstance(error, Refused):
            shape, status, more = bounded(error), error.status, list(error.headers)
        elif isinstance(error, TwinmlError) and error.status != 500:
            service.record(exchange, error)
            shape, status = bounded(error), error.status
        else:
            # Status 500 is ours to mend, and its words may name paths of this machine.
            service.record(exchange, error)
            service.log_failure(exchange, error)
            status = 500
            shape = error_shape(
                500,
                "scoring failed",
                hint="The endpoint's log has the reason under this request id: twinml logs.",
            ) | {"request_id": exchange.request_id}
        return self._reply(
            exchange, route, status, json.dumps(shape, allow_nan=False).encode(), JSON, more
        )

    def _reply(
        self,
        exchange: Exchange,
        route: Route | None,
        status: int,
        body: bytes,
        content_type: str,
        more: Iterable[tuple[str, str]] = (),
    ) -> Reply:
        service, environ = self.service, exchange.environ
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *more]
        methods = ""
        if route is not None and (status == 405 or environ["REQUEST_METHOD"] == "OPTIONS"):
            methods = ", ".join(METHODS[route])
            headers.append(("Allow", methods))
        headers += service.headers(exchange, status, methods=methods)
        path = environ["PATH_INFO"]
        service.end(exchange, None if route is None else path, path, status, len(body))
        sent = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
        return Reply(status, headers, sent, service.mirror(exchange))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        exchange, route = self.begin(environ)
        reply = self.turned_away(exchange, route)
        if reply is None:
            if route is None:
                return self.pages(environ, start_response)
            reply = self.refusal(exchange, route)
        if reply is None:
            assert route is not None
            try:
                body = _read(environ, exchange.serving.settings.max_body_bytes)
            except Refused as refused:
                reply = self.refuse(exchange, refused)
            else:
                reply = self.answer(exchange, route, body)
        assert reply is not None
        start_response(f"{reply.status} {PHRASES.get(reply.status, '')}", reply.headers)
        # The reply first; closing comes after it.
        return [reply.body] if reply.after is None else ClosingIterator([reply.body], reply.after)


def declared_length(environ: WSGIEnvironment) -> int:
    """Return the declared length of the body, -1 for none.

    Examples
    --------
    >>> declared_length({"CONTENT_LENGTH": "12"}), declared_length({})
    (12, -1)
    """
    declared = environ.get("CONTENT_LENGTH", "")
    return int(declared) if declared.isdecimal() and len(declared) < LONGEST_LENGTH else -1


def decoded(environ: WSGIEnvironment, body: bytes, most: int) -> bytes:
    """Return the body without its ``Content-Encoding``, never more than ``most`` bytes of it.

    Raises
    ------
    Refused
        It unpacks to more.
    PayloadError
        It is not what the header says.
    """
    if not packed(environ):
        return body
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unpack.decompress(body, most + 1)
    except zlib.error as error:
        raise PayloadError(
            "the body is not gzip, as Content-Encoding says", hint="Send it as it is."
        ) from error
    if len(plain) > most:
        raise too_large(most)
    if not unpack.eof or unpack.unused_data:
        raise PayloadError("the gzip body is cut off or has more behind its end")
    return plain


def _read(environ: WSGIEnvironment, most: int) -> bytes:
    """Return the body that a WSGI server offers."""
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return b""
    length, stream = declared_length(environ), environ["wsgi.input"]
    if length < 0 and not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = stream.read(length if length >= 0 else most + 1)
    if len(body) > most:
        raise too_large(most)
    if len(body) < length:
        raise cut_off(len(body), length)
    return body


def cut_off(came: int, declared: int) -> Refused:
    """Return the refusal of a body that ended before its declared length."""
    return Refused(
        400,
        f"the body ended after {came} of {declared} bytes",
        hint="Send the whole body; nothing of it was scored.",
    )
