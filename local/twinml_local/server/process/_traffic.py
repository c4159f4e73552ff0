"""What the connections of a worker share, and what clients may take of it."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from twinml_local.server._errors import Refused, key_refused, too_large
from twinml_local.server.process._request import Request
from twinml_local.server.scoring.front import Front

__all__ = ["Limits", "Traffic"]

KNOWN_NAMES = 256  # header names whose WSGI form is remembered
_BARE = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


class Client(Protocol):
    """A connection, as the others see it."""

    deadline: float

    @property
    def idle(self) -> bool:
        """Whether nothing is read, answered or written."""
        ...

    @property
    def heading(self) -> bool:
        """Whether it is in the middle of a head."""
        ...

    def late(self) -> None:
        """Do what is to be done when ``deadline`` has passed."""
        ...

    def close(self) -> None:
        """End at once."""
        ...


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Attributes
    ----------
    head_seconds
        For the head of a request, from its first byte.
    idle_seconds
        Between two requests.
    body_seconds, body_pace
        A body has so many seconds, and one more for each so many bytes of it that have come.
    write_seconds
        For a client to take any of a reply.
    spare_seconds
        For a client to see that it is refused, while what it sends is thrown away.
    head_bytes
        Of the request line and all headers.
    held_bytes
        Of all bodies that are being read or wait, in one worker.
    spare_bytes
        Of a refused body that are read and thrown away, so that the client sees the refusal.
    connections
        At a time in one worker; beyond, the one that has been idle for longest is closed, and
        where none is idle the one that has been sending a head for longest.
    """

    head_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_seconds: float = 60.0
    body_pace: float = 10_000.0
    write_seconds: float = 60.0
    spare_seconds: float = 10.0
    head_bytes: int = 64 * 1024
    held_bytes: int = 512 * 1024 * 1024
    spare_bytes: int = 128 * 1024 * 1024
    connections: int = 4096


@dataclass
class Traffic:
    """What the connections of a worker share.

    Attributes
    ----------
    front
        Answers.
    loop
        Runs the connections.
    scoring, gathering, pages
        Threads for long requests, for requests that wait for each other, and for the pages.
    draining
        Whether the worker is about to end: no connection is kept.
    held
        Bytes of bodies in memory.
    """

    front: Front
    loop: asyncio.AbstractEventLoop
    scoring: ThreadPoolExecutor
    gathering: ThreadPoolExecutor
    pages: ThreadPoolExecutor
    limits: Limits = field(default_factory=Limits)
    connections: set[Client] = field(default_factory=set)
    draining: bool = False
    held: int = 0
    date: bytes = b""
    names: dict[bytes, str] = field(default_factory=dict)

    def tick(self) -> None:
        """Look at all connections once; to be called every second."""
        self.date = f"Date: {formatdate(time.time(), usegmt=True)}\r\n".encode()
        now = self.loop.time()
        for connection in [item for item in self.connections if item.deadline <= now]:
            connection.late()

    def no_room(self, request: Request, size: int) -> Refused | None:
        """Say that there is no room for ``size`` bytes more of a body, where there is none."""
        exchange = request.exchange
        if exchange is None:
            return None
        most = exchange.serving.settings.max_body_bytes
        if request.held + size > most:
            return too_large(most)
        if request.route is None and request.held + size > self.limits.head_bytes:
            # The pages ask for the key only when they have the body.
            wrong = exchange.refusal()
            if wrong is not None:
                return key_refused(wrong, exchange.serving.endpoint)
        if size and self.held + size > max(self.limits.held_bytes, most):
            return Refused(
                503,
                "the server holds as many bytes of requests as it may",
                hint="Send the request again in a moment.",
                headers=(("Retry-After", "1"),),
            )
        return None

    def make_room(self, newcomer: Client) -> None:
        """Close the connection that has been idle for longest, if there are too many."""
        if len(self.connections) <= self.limits.connections:
            return
        others = self.connections - {newcomer}
        spare = [item for item in others if item.idle] or [item for item in others if item.heading]
        if spare:
            min(spare, key=lambda item: item.deadline).close()

    def drain(self) -> None:
        """Keep no connection from now on; those that are idle end at once."""
        self.draining = True
        for connection in list(self.connections):
            if connection.idle:
                connection.close()

    def wsgi_name(self, name: bytes) -> str:
        """Return what WSGI calls the header."""
        known = self.names.get(name)
        if known is None:
            known = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            known = known.removeprefix("HTTP_") if known in _BARE else known
            if len(self.names) < KNOWN_NAMES:
                self.names[name] = known
        return known
