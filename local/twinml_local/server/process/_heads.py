"""A head like the last one: clients that keep a connection send it again, but for the length.

What was parsed and let through once need not be parsed again: a head that differs in nothing but
its Content-Length stands for the same request with another body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinml.contract import Route
from twinml_local.server.deployments.deployment import Serving

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["KnownHead", "around_length", "body_behind", "usual"]

LENGTH = b"\r\ncontent-length: "
END = b"\r\n\r\n"
MOST_DIGITS = 9
LONGEST = 4096  # bytes of a head that is kept
# What makes more of a request than one head and one body.
_UNUSUAL = frozenset({"HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE"})


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The head of a request that was let through.

    Attributes
    ----------
    around
        Its bytes before and after the digits of its length.
    environ
        What was parsed.
    route
        Whose it is.
    serving
        Of the moment: keys, names of hosts and deployments are looked at again with another.
    """

    around: tuple[bytes, bytes]
    environ: WSGIEnvironment
    route: Route
    serving: Serving


def usual(environ: WSGIEnvironment) -> bool:
    """Tell whether a request is a head and a body, and no more than that."""
    return environ["SERVER_PROTOCOL"] == "HTTP/1.1" and environ.keys().isdisjoint(_UNUSUAL)


def around_length(data: bytes) -> tuple[bytes, bytes] | None:
    r"""Return a head before and after the digits of its length.

    ``None`` unless ``data`` is one head with one length and a body of that length.

    Examples
    --------
    >>> around_length(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nHost: a\r\n\r\n{}")
    (b'POST / HTTP/1.1\r\nContent-Length: ', b'\r\nHost: a\r\n\r\n')
    """
    head = data[: data.find(END) + len(END)]
    lowered = head.lower()
    at = lowered.find(LENGTH) + len(LENGTH)
    if len(head) > LONGEST or lowered.count(LENGTH[2:-2]) != 1 or at < len(LENGTH):
        return None
    around = head[:at], head[head.find(b"\r\n", at) :]
    return None if body_behind(around, data) is None else around


def body_behind(around: tuple[bytes, bytes], data: bytes) -> tuple[bytes, bytes] | None:
    r"""Return length and body of a request with such a head; ``None`` for any other data.

    Examples
    --------
    >>> around = b"POST / HTTP/1.1\r\nContent-Length: ", b"\r\nHost: a\r\n\r\n"
    >>> body_behind(around, b"POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\n\r\n[1]")
    (b'3', b'[1]')
    """
    before, after = around
    at = len(before)
    end = data.find(b"\r", at, at + MOST_DIGITS + 1)
    if end < 0 or not data.startswith(before) or not data.startswith(after, end):
        return None
    digits, body = data[at:end], data[end + len(after) :]
    return (digits, body) if digits.isdigit() and 0 < int(digits) == len(body) else None
