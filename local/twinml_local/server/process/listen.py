"""Listening on a port: workers that are forked where there is a fork, else waitress."""

from __future__ import annotations

import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from twinml_local.server.state import ServerSettings

__all__ = ["SERVERS", "default", "serve"]

SERVERS = ("workers", "waitress")
WAITRESS_TICK = 0.2  # seconds between looks at whether a drained server is idle
WAITRESS_CONNECTIONS = 1000


def default() -> str:
    """Return the server to use: uvloop and fork are not everywhere."""
    return "workers" if hasattr(os, "fork") and find_spec("uvloop") else "waitress"


def serve(name: str, directory: Path, *, host: str, port: int, settings: ServerSettings) -> None:
    """Serve the endpoint in ``directory`` until SIGTERM or SIGINT.

    Raises
    ------
    TwinmlError
        Its state cannot be read, or none of its models can be loaded.
    """
    if name == "waitress":
        _with_waitress(directory, host=host, port=port, settings=settings)
        return
    from twinml_local.server.process.supervisor import supervise

    supervise(directory, host=host, port=port, settings=settings)


def _with_waitress(directory: Path, *, host: str, port: int, settings: ServerSettings) -> None:
    """Serve with waitress: one process, which is all that it has."""
    from waitress.server import create_server

    from twinml_local.server.process.application import build

    application = build(directory)
    # Waitress reads bodies itself. Two threads more than score, for what does not.
    threads = settings.threads + 2
    server = create_server(
        application.front,
        host=host,
        port=port,
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
            server.asyncore.loop(timeout=WAITRESS_TICK, map=server._map, count=1)
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
