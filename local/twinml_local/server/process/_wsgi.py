"""The pages' application, which is one of WSGI."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twinml_local.server.scoring.front import Reply

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

__all__ = ["ask"]


def ask(application: WSGIApplication, environ: WSGIEnvironment, body: bytes) -> Reply:
    """Ask a WSGI application; it is called in this thread, and its reply is one piece."""
    environ["wsgi.input"] = io.BytesIO(body)
    if "CONTENT_LENGTH" not in environ and body:
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    told: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        told[:] = [(int(status.split(" ", 1)[0]), headers)]
        return pieces.append

    pieces: list[bytes] = []
    produced = application(environ, cast(Any, start_response))
    try:
        pieces.extend(produced)
    finally:
        close = getattr(produced, "close", None)
        if close is not None:
            close()
    status, headers = told[0]
    content = b"".join(pieces)
    told_length = any(name.lower() == "content-length" for name, _ in headers)
    if not told_length and status not in (204, 304):
        headers = [*headers, ("Content-Length", str(len(content)))]
    return Reply(status, headers, content)
