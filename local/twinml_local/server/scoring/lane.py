"""The lane before Flask: the usual scoring request, without routing and request objects.

A ``POST`` to ``/score`` or ``/invocations`` with JSON of declared length, a right key and a
deployment that can answer is scored here; everything else, and every error, is Flask's. What
the lane has begun, Flask goes on with (``environ[EXCHANGE]``): traffic is drawn once, nothing
is scored twice. Both ways use ``twinml_local.server.scoring.service`` and give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from werkzeug.wsgi import ClosingIterator

from twinml.contract import Route
from twinml_local.server.scoring.service import Exchange, ScoringService

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["EXCHANGE", "Lane"]

EXCHANGE = "twinml.exchange"
JSON = "application/json"
LONGEST_LENGTH = 16  # digits
PATHS: Mapping[str, Route] = {"/score": "score", "/invocations": "invocations"}


class Lane:
    """A WSGI application before another one.

    Parameters
    ----------
    app
        Answers what the lane does not.
    service
        Both theirs.
    """

    def __init__(self, app: WSGIApplication, service: ScoringService) -> None:
        self._app = app
        self._service = service

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        route = PATHS.get(environ["PATH_INFO"])
        if (
            route is None
            or environ["REQUEST_METHOD"] != "POST"
            or environ.get("CONTENT_TYPE") != JSON
        ):
            return self._app(environ, start_response)
        service = self._service
        exchange = service.begin(environ)
        environ[EXCHANGE] = exchange
        reply = self._score(exchange, route, environ)
        if reply is None:
            return self._app(environ, start_response)
        size = len(reply)
        headers = [("Content-Type", JSON), ("Content-Length", str(size))]
        headers += service.headers(exchange, 200)
        start_response("200 OK", headers)
        path = environ["PATH_INFO"]
        service.end(exchange, path, path, 200, size)
        mirror = service.mirror(exchange)
        # The reply first; closing comes after it.
        return [reply] if mirror is None else ClosingIterator([reply], mirror)

    def _score(self, exchange: Exchange, route: Route, environ: WSGIEnvironment) -> bytes | None:
        """Return the reply, or nothing where Flask has to answer."""
        now = exchange.serving
        length = _length(environ)
        if (
            not now.settings.lane
            or not 0 <= length <= now.settings.max_body_bytes
            or "HTTP_TRANSFER_ENCODING" in environ
            or exchange.overlong_id is not None
            or exchange.refusal() is not None
        ):
            return None
        try:
            exchange.choose()
            # Servers that end the stream at the body's end need no length, and do not wait
            # for more pieces of it than there are.
            ends = environ.get("wsgi.input_terminated", False)
            body = environ["wsgi.input"].read(*(() if ends else (length,)))
            if len(body) != length:
                # Cut off on the way: Flask finds what the lane found.
                environ["wsgi.input"] = io.BytesIO(body)
                return None
            return self._service.score(exchange, route, body, JSON)
        except Exception as error:
            # Flask answers for it, and does nothing of this again.
            exchange.error = error
            return None


def _length(environ: WSGIEnvironment) -> int:
    """Return the declared length of the body, -1 for none."""
    declared = environ.get("CONTENT_LENGTH", "")
    return int(declared) if declared.isdecimal() and len(declared) < LONGEST_LENGTH else -1
