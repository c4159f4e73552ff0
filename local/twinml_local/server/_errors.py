"""Replies that are no predictions, in the one JSON shape: refusals that are no ``TwinmlError``."""

from __future__ import annotations

import math
from typing import Any

from twinml.errors import TwinmlError

__all__ = ["ERROR_CODES", "Refused", "bounded", "error_shape", "key_refused", "too_large"]

LONGEST_TEXT = 2_000  # characters of a message, a hint, or a value that is repeated
MOST_DETAILS = 20

# MLflow's names where it has one.
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    431: "REQUEST_HEADER_TOO_LARGE",
    503: "TEMPORARILY_UNAVAILABLE",
}


def error_shape(status: int, message: str, *, hint: str | None = None) -> dict[str, Any]:
    """Return what a ``TwinmlError`` of ``status`` would look like as JSON."""
    shape = {"error_code": ERROR_CODES.get(status, "INTERNAL_ERROR"), "message": message}
    if hint:
        shape["hint"] = hint
    return shape


class Refused(Exception):
    """A request that is refused for what HTTP says of it.

    Parameters
    ----------
    status
        The HTTP status to answer with.
    message, hint
        What was wrong and the value found; what to do.
    headers
        Of the reply, besides those that all have.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = headers

    def to_dict(self) -> dict[str, Any]:
        """Return the one JSON shape."""
        return error_shape(self.status, self.message, hint=self.hint)


def bounded(error: TwinmlError | Refused) -> dict[str, Any]:
    """Return the one JSON shape, no longer than it may be whatever the request held.

    Examples
    --------
    >>> len(bounded(Refused(400, "x" * 10_000))["message"])
    2000
    """
    shape = error.to_dict()
    for name in ("message", "hint"):
        if name in shape:
            shape[name] = _cut(shape[name])
    if "details" in shape:
        shape["details"] = [
            {name: _cut(value) for name, value in detail.items()}
            for detail in shape["details"][:MOST_DETAILS]
        ]
    return shape


def _cut(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if not isinstance(value, str) or len(value) <= LONGEST_TEXT:
        return value
    return f"{value[: LONGEST_TEXT - 1]}…"


def key_refused(reason: str, endpoint: str) -> Refused:
    """Return the refusal of a request whose key is not one of the endpoint's."""
    return Refused(
        401,
        reason,
        hint="Send a key of the endpoint as the header 'Authorization: Bearer KEY'.",
        headers=(("WWW-Authenticate", f'Bearer realm="{endpoint}"'),),
    )


def too_large(most: int) -> Refused:
    """Return the refusal of a body of more than ``most`` bytes."""
    return Refused(
        413, f"the body is larger than {most} bytes", hint="Send the rows in smaller chunks."
    )
