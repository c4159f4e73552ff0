"""Requests that are signed with the storage account's key (``Authorization: SharedKey``)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import unquote

from azureml_emulator.errors import StorageError
from azureml_emulator.storage.sas import sign

__all__ = ["check", "text_to_sign"]

_HEADERS = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip


def text_to_sign(
    account: str, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return what a client signs: method, headers, and the address in its canonical form.

    Parameters
    ----------
    path
        As it was sent, percent signs and all.
    query
        Decoded.
    headers
        Their names in lower case.
    """
    given = {**headers, "content-length": headers.get("content-length", "").lstrip("0")}
    if "x-ms-date" in headers:
        given["date"] = ""
    # Hyphens do not count when names are put in order.
    own = sorted(
        ((name, value) for name, value in headers.items() if name.startswith("x-ms-")),
        key=lambda item: (item[0].replace("-", ""), item[0]),
    )
    parameters = sorted((name.lower(), unquote(value)) for name, value in query.items())
    return "\n".join(
        [
            method,
            *(given.get(name, "") for name in _HEADERS),
            *(f"{name}:{value}" for name, value in own),
            f"/{account}{path}",
            *(f"{name}:{value}" for name, value in parameters),
        ]
    )


def check(given: str, text: str, *, account: str, key: str) -> None:
    """Raise ``StorageError`` unless ``Authorization`` holds the signature of a request's text."""
    named, _, signature = given.partition(" ")[2].partition(":")
    if named != account or not hmac.compare_digest(sign(key, text), signature):
        raise StorageError(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request: the signature is not that of this request "
            f"with the key of '{account}'.",
        )
