"""Replies that are no predictions: one JSON shape for every error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

__all__ = ["error_response", "json_response", "key_refused"]

# MLflow's names where it has one.
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    431: "REQUEST_HEADER_TOO_LARGE",
}


def error_response(status: int, message: str, *, hint: str | None = None) -> Response:
    """Return an error that is no ``TwinmlError`` in the shape of one."""
    shape = {"error_code": ERROR_CODES.get(status, "INTERNAL_ERROR"), "message": message}
    if hint:
        shape["hint"] = hint
    return json_response(shape, status)


def json_response(shape: Mapping[str, Any], status: int = 200) -> Response:
    """Return ``shape`` as a JSON response."""
    return Response(json.dumps(shape), status, mimetype="application/json")


def key_refused(reason: str, endpoint: str) -> Response:
    """Return the answer to a request whose key is not one of the endpoint's."""
    refusal = error_response(
        401, reason, hint="Send a key of the endpoint as the header 'Authorization: Bearer KEY'."
    )
    refusal.headers["WWW-Authenticate"] = f'Bearer realm="{endpoint}"'
    return refusal
