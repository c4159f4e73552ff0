"""Deployed endpoints, wherever they run: one client, and rows as the JSON that it sends."""

from twinml.endpoint._client import (
    Answer,
    Endpoint,
    request_body,
)

__all__ = [
    "Answer",
    "Endpoint",
    "request_body",
]
