"""Access tokens: issued by the login endpoint, checked by all others.

Their signature is not checked, so that code with a static credential of its own can be
rehearsed too. Audience and expiry are: those are what goes wrong in earnest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from azureml_emulator.account import Account
from azureml_emulator.errors import EmulatorError

__all__ = ["LIFETIME_SECONDS", "check", "issue", "same"]

LIFETIME_SECONDS = 3600


def issue(account: Account, scope: str) -> str:
    """Return a token for ``scope``, such as ``https://management.azure.com/.default``."""
    now = int(time.time())
    claims = {
        "aud": scope.split(" ")[0].removesuffix("/.default").rstrip("/"),
        "iss": f"https://sts.windows.net/{account.tenant_id}/",
        "tid": account.tenant_id,
        "oid": account.client_id,
        "appid": account.client_id,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
    }
    text = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    digest = hmac.new(account.client_secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def check(
    authorisation: str, *, audience: str | None, error: Callable[[str], EmulatorError]
) -> None:
    """Raise ``error(reason)`` unless a header value holds a token that is good now.

    Parameters
    ----------
    authorisation
        The value of ``Authorization``.
    audience
        Whom the token has to be for; ``None`` does not ask.
    """
    scheme, _, token = authorisation.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise error("the 'Authorization' header is missing or holds no bearer token")
    try:
        claims = json.loads(_decoded(token.split(".")[1]))
        expires, meant_for = float(claims["exp"]), str(claims["aud"]).rstrip("/")
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error) as problem:
        raise error("the access token is not a JSON web token with 'exp' and 'aud'") from problem
    if expires < time.time():
        raise error("the access token expired")
    if audience is not None and meant_for != audience:
        raise error(f"the access token is for '{meant_for}', not for '{audience}'")


def same(word: str, keys: Iterable[str]) -> bool:
    """Return whether ``word`` is one of ``keys``."""
    return any(hmac.compare_digest(word.encode(), key.encode()) for key in keys)


def _encoded(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
