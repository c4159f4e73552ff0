"""Replies that are no predictions: one JSON shape for every error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

from twinml_local.server._errors import error_shape

__all__ = ["error_response", "json_response"]


def error_response(status: int, message: str, *, hint: str | None = None) -> Response:
    """Return an error that is no ``TwinmlError`` in the shape of one."""
    return json_response(error_shape(status, message, hint=hint), status)


def json_response(shape: Mapping[str, Any], status: int = 200) -> Response:
    """Return ``shape`` as a JSON response; JSON has no NaN."""
    return Response(json.dumps(shape, allow_nan=False), status, mimetype="application/json")
