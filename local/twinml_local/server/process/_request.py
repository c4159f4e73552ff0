"""One request while it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinml.contract import Route
from twinml_local.server.scoring.front import Reply
from twinml_local.server.scoring.service import Exchange

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["Request"]


class Request:
    """One request while it is read."""

    __slots__ = (
        "begun",
        "body",
        "environ",
        "exchange",
        "held",
        "keep",
        "refused",
        "route",
        "size",
    )

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ
        self.body: bytes | bytearray = b""
        self.begun = 0.0
        self.size = 0
        self.held = 0
        self.keep = True
        self.exchange: Exchange | None = None
        self.route: Route | None = None
        self.refused: Reply | None = None
