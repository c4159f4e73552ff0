"""Listening on a port: workers that are forked where there is a fork, else waitress."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from twinml.errors import PlatformError
from twinml_local.server.state import BACKLOG, ServerSettings

__all__ = ["SERVERS", "default", "listener", "serve"]

SERVERS = ("workers", "waitress")
WAITRESS_TICK = 0.2  # seconds between looks at whether a drained server is idle
WAITRESS_CONNECTIONS = 900


def default() -> str:
    """Return the server to use: uvloop and fork are not everywhere."""
    return "workers" if hasattr(os, "fork") and find_spec("uvloop") else "waitress"


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port of ``host``, which nobody else then can.

    ``SO_REUSEADDR``, which is set where it lets a server follow one that has just ended, does not
    let two sockets listen at a time: the second one's ``listen`` fails.

    Raises
    ------
    PlatformError
        The port is taken, or ``host`` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise PlatformError(
            f"port {port} of '{host}' cannot be listened on: {error.strerror or error}",
            hint="End what listens there, or take another port.",
        ) from error


def serve(
    name: str, directory: Path, *, listening: socket.socket, settings: ServerSettings
) -> None:
    """Serve the endpoint in ``directory`` on a socket until SIGTERM or SIGINT.

    Raises
    ------
    TwinmlError
        Its state cannot be read, or none of its models can be loaded.
    """
    if name == "waitress":
        _with_waitress(directory, listening=listening, settings=settings)
        return
    from twinml_local.server.process._supervisor import supervise

    supervise(directory, listening=listening, settings=settings)


def _with_waitress(directory: Path, *, listening: socket.socket, settings: ServerSettings) -> None:
    """Serve with waitress: one process, which is all that it has."""
    from waitress.server import create_server

    from twinml_local.server.process._application import build

    application = build(directory, bound=str(listening.getsockname()[0]))
    # Waitress reads bodies itself. Two threads more than score, for what does not.
    threads = settings.threads + 2
    server = create_server(
        application.front,
        sockets=[listening],
        threads=threads,
        connection_limit=WAITRESS_CONNECTIONS,
        ident=None,
    )
    asked_to_end = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        # No more than a note: the loop may be waiting for the socket at this moment.
        asked_to_end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    drain_until: float | None = None
    try:
        while drain_until is None or (_busy(server) and time.monotonic() < drain_until):
            server.asyncore.loop(timeout=WAITRESS_TICK, use_poll=True, map=server._map, count=1)
            if asked_to_end.is_set() and drain_until is None:
                drain_until = time.monotonic() + settings.drain_seconds
                server.accepting = False
                server.del_channel()
                server.socket.close()
    finally:
        server.task_dispatcher.shutdown()
        application.close()


def _busy(server: object) -> bool:
    """Tell whether a request is being read, scored or answered."""
    channels = list(getattr(server, "active_channels", {}).values())
    return any(
        channel.requests or channel.request is not None or channel.total_outbufs_len
        for channel in channels
    )
