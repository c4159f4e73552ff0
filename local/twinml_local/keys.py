"""Which requests a key opens: the rule of scoring servers and of the pipeline service."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

__all__ = ["offered_key", "opens"]


def offered_key(authorization: str) -> bytes:
    """Return the key in a header ``Authorization``, empty where there is none.

    Examples
    --------
    >>> offered_key("Bearer k1"), offered_key("BEARER  k1 "), offered_key("Basic k1")
    (b'k1', b'k1', b'')
    """
    scheme, _, given = authorization.partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def opens(offered: bytes, keys: Sequence[bytes]) -> bool:
    """Return whether what is offered is one of the keys; what is empty opens nothing.

    Examples
    --------
    >>> opens(b"k2", [b"k1", b"k2"]), opens(b"k3", [b"k1", b"k2"]), opens(b"", [b""])
    (True, False, False)
    """
    # Every key is compared, and in constant time: an answer's timing says nothing.
    matches = [hmac.compare_digest(offered, key) for key in keys]
    return bool(offered) and any(matches)
