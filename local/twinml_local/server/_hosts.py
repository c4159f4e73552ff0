"""Which values of ``Host`` a server answers, and under which path it is reached.

A page in a browser can have its own name resolve to 127.0.0.1 and then read what a server on
loopback answers (DNS rebinding); the one thing it cannot change is the ``Host`` that the browser
sends. So a server on loopback answers to names of loopback, and to those that it is told.

A proxy that strips a prefix of the path tells it in ``X-Forwarded-Prefix``, or the server is told
it once; what the server writes of addresses begins with it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from twinml.errors import UsageError
from twinml_local.server._errors import Refused

__all__ = ["host_refusal", "is_loopback", "prefix_of", "read_hosts", "read_root_path"]

LONGEST_HOST = 100  # characters that a refusal repeats
HOST = re.compile(r"\*|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:]*:[0-9a-f:.]*")
# Segments of characters that mean nothing in HTML, JSON or a header, each after one slash.
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){1,20}")
LONGEST_PREFIX = 200
KNOWN_HOSTS = 64  # of which it is remembered what they are


@lru_cache(maxsize=KNOWN_HOSTS)
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
    name = _name_in(given)
    if is_loopback(name) or name in allowed:
        return None
    return Refused(
        403,
        f"requests for the host '{given[:LONGEST_HOST]}' are not answered here",
        hint="List the name: TWINML_ALLOWED_HOSTS=NAME,… when the endpoint is deployed or started.",
    )


@lru_cache(maxsize=KNOWN_HOSTS)
def _name_in(given: str) -> str:
    """Return the name in a header ``Host``, empty where there is none."""
    try:
        return (urlsplit(f"//{given}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def read_hosts(text: str) -> tuple[str, ...]:
    """Read ``TWINML_ALLOWED_HOSTS``.

    Raises
    ------
    UsageError
        An entry is no name of a host.

    Examples
    --------
    >>> read_hosts("Model.example, 10.0.0.7"), read_hosts("")
    (('model.example', '10.0.0.7'), ())
    """
    hosts = tuple(entry.strip().rstrip(".").lower() for entry in text.split(",") if entry.strip())
    for host in hosts:
        if not HOST.fullmatch(host):
            raise UsageError(
                f"TWINML_ALLOWED_HOSTS has '{host[:LONGEST_HOST]}', which is no name of a host",
                hint="Write names without scheme and port, with commas between them, or *.",
            )
    return hosts


def read_root_path(text: str) -> str:
    """Read ``TWINML_ROOT_PATH``; a slash at its end is left out.

    Raises
    ------
    UsageError
        It is no plain path.

    Examples
    --------
    >>> read_root_path("/models/bank/"), read_root_path("/"), read_root_path("")
    ('/models/bank', '', '')
    """
    path = text.strip().rstrip("/")
    if path and not _plain(path):
        raise UsageError(
            f"TWINML_ROOT_PATH is '{text[:LONGEST_HOST]}', expected a path like /models/bank",
            hint="Letters, digits and . _ ~ - between the slashes.",
        )
    return path


def prefix_of(forwarded: str | None, root_path: str) -> str:
    """Return the path before all of the server's own.

    Parameters
    ----------
    forwarded
        The header ``X-Forwarded-Prefix``; anybody may send it, so what is no plain path is
        passed over.
    root_path
        What the server was told; the header comes before it.

    Examples
    --------
    >>> prefix_of("/svc/", ""), prefix_of(None, "/a"), prefix_of("//evil.example", "/a")
    ('/svc', '/a', '/a')
    """
    given = "" if forwarded is None else forwarded.rstrip("/")
    return given if _plain(given) else root_path


def _plain(path: str) -> bool:
    return (
        len(path) <= LONGEST_PREFIX
        and PREFIX.fullmatch(path) is not None
        and not any(part in (".", "..") for part in path.split("/"))
    )
