"""Which values of ``Host`` a server answers.

A page in a browser can have its own name resolve to 127.0.0.1 and then read what a server on
loopback answers (DNS rebinding); the one thing it cannot change is the ``Host`` that the browser
sends. So a server on loopback answers to names of loopback, and to those that it is told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from twinml_local.server.scoring.errors import Refused

__all__ = ["host_refusal", "is_loopback"]

LONGEST_HOST = 100  # characters that a refusal repeats


def is_loopback(name: str) -> bool:
    """Tell whether ``name`` is this machine's own address, or a name that only means that.

    Examples
    --------
    >>> [is_loopback(name) for name in ("127.0.0.1", "localhost", "::1", "app.localhost", "x")]
    [True, True, True, True, False]
    """
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_refusal(given: str | None, *, bound: str, allowed: Collection[str]) -> Refused | None:
    """Return why a request with this ``Host`` is refused; ``None`` if it is answered.

    Parameters
    ----------
    given
        The header; ``None`` if the request has none.
    bound
        The address that the server listens on; elsewhere than on loopback names are not looked
        at unless some are allowed.
    allowed
        Names that are answered besides those of loopback; ``*`` is any.

    Examples
    --------
    >>> host_refusal("evil.example", bound="127.0.0.1", allowed=()).status
    403
    >>> host_refusal("localhost:5001", bound="127.0.0.1", allowed=()) is None
    True
    """
    if given is None or "*" in allowed or (not allowed and not is_loopback(bound)):
        return None
    try:
        name = (urlsplit(f"//{given}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if is_loopback(name) or name in allowed:
        return None
    return Refused(
        403,
        f"requests for the host '{given[:LONGEST_HOST]}' are not answered here",
        hint="List the name: TWINML_ALLOWED_HOSTS=NAME,… when the endpoint is deployed or started.",
    )
