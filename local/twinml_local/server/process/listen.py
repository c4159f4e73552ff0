"""Listening on a port: granian where it is installed, else waitress. Both drain on SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from twinml_local.server.state import ServerSettings

__all__ = ["default", "with_granian", "with_waitress"]

# A client that sends its body slowly, or never to the end, holds one of these threads, which
# are made when needed and cost some 50 kB each. As many as connections are taken at a time, so
# that it never holds up another client; how many requests are scored at a time is decided in
# the app.
GRANIAN_CONNECTIONS = 1024
HEADER_SECONDS = 30  # for a client to send its headers
WAITRESS_TICK = 0.2  # seconds between looks at whether a drained server is idle


def default() -> str:
    """Return the server to use: granian has no wheels for some machines."""
    return "granian" if find_spec("granian") else "waitress"


def with_granian(directory: Path, *, host: str, port: int, settings: ServerSettings) -> None:
    """Serve with granian: HTTP in Rust, Python in ``settings.workers`` processes."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    Granian(
        str(directory),
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        backlog=GRANIAN_CONNECTIONS,
        backpressure=GRANIAN_CONNECTIONS,
        blocking_threads=GRANIAN_CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.drain_seconds,
    ).serve(target_loader=_start_worker)


def _start_worker(directory: str) -> Any:
    """Load the application in a worker: the process that only minds workers does without it."""
    from twinml_local.server.process.worker import start_worker

    return start_worker(directory)


def with_waitress(directory: Path, *, host: str, port: int, settings: ServerSettings) -> None:
    """Serve with waitress: one process, which is all that it has."""
    from waitress.server import create_server

    from twinml_local.server.process.worker import build_app

    app, close = build_app(directory)
    # Waitress reads bodies itself. Two threads more than score, for what does not.
    threads = settings.threads + 2
    server = create_server(app, host=host, port=port, threads=threads, ident=None)
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
        close()


def _busy(server: object) -> bool:
    """Tell whether a request is being read, scored or answered."""
    channels = list(getattr(server, "active_channels", {}).values())
    return any(
        channel.requests or channel.request is not None or channel.total_outbufs_len
        for channel in channels
    )
