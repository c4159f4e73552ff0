"""Shared access signatures of the storage account: made as the service makes them, and checked.

Those for the whole account are what ``listSecrets`` answers, those for one container what
``startPendingUpload`` answers; those for one blob are made by users with the account's key. All
sign their fields, joined by line breaks, with that key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from azureml_emulator.errors import StorageError

__all__ = ["account_token", "check", "container_token", "sign"]

VERSION = "2021-08-06"
ACCOUNT_FIELDS = ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")
CONTAINER_FIELDS_BEFORE = ("sp", "st", "se")
CONTAINER_FIELDS_AFTER = (
    "si", "sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct",
)  # fmt: skip


def account_token(account: str, key: str, *, lifetime: timedelta, permissions: str) -> str:
    """Return a token for all containers and blobs of an account, without a question mark."""
    fields = {
        "sv": VERSION,
        "se": _time(datetime.now(UTC) + lifetime),
        "srt": "co",
        "ss": "bf",
        "sp": permissions,
    }
    return urlencode({**fields, "sig": sign(key, _account_text(account, fields))})


def container_token(
    account: str, key: str, container: str, *, lifetime: timedelta, permissions: str
) -> str:
    """Return a token for one container and its blobs."""
    fields = {
        "sv": VERSION,
        "se": _time(datetime.now(UTC) + lifetime),
        "sr": "c",
        "sp": permissions,
    }
    return urlencode({**fields, "sig": sign(key, _service_text(account, container, fields))})


def check(
    query: Mapping[str, str],
    *,
    account: str,
    key: str,
    container: str,
    permission: str,
    blob: str = "",
) -> None:
    """Raise ``StorageError`` unless a query holds a token that allows what is asked.

    Parameters
    ----------
    permission
        Letters, any one of which is enough: ``r`` read, ``w`` write, ``c`` create, ``d``
        delete, ``l`` list.
    """
    if "srt" in query:
        text = _account_text(account, query)
    elif query.get("sr") in ("c", "b"):
        place = container if query["sr"] == "c" else f"{container}/{blob}"
        text = _service_text(account, place, query)
    else:
        raise _denied("the emulator knows tokens of accounts, of containers and of blobs only")
    if not hmac.compare_digest(sign(key, text), query.get("sig", "")):
        raise _denied("Signature did not match")
    if _moment(query.get("se", "")) < datetime.now(UTC):
        raise _denied(f"Signed expiry time [{query['se']}] has passed")
    if not set(permission) & set(query.get("sp", "")):
        raise StorageError(
            403,
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        )


def _denied(reason: str) -> StorageError:
    return StorageError(
        403,
        "AuthenticationFailed",
        f"Server failed to authenticate the request: {reason}.",
    )


def _account_text(account: str, fields: Mapping[str, str]) -> str:
    return "\n".join([account, *(fields.get(name, "") for name in ACCOUNT_FIELDS), ""])


def _service_text(account: str, place: str, fields: Mapping[str, str]) -> str:
    return "\n".join(
        [
            *(fields.get(name, "") for name in CONTAINER_FIELDS_BEFORE),
            f"/blob/{account}/{place}",
            *(fields.get(name, "") for name in CONTAINER_FIELDS_AFTER),
        ]
    )


def sign(key: str, text: str) -> str:
    """Return the signature of a text with an account's key."""
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _denied(f"se [{text}] is not a time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
