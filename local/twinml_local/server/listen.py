"""Listening on a port: granian where it is installed, else waitress. Both drain on SIGTERM."""

from __future__ import annotations

import signal
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from twinml_local.server.worker import build_app, start_worker

__all__ = ["default", "with_granian", "with_waitress"]

WAITRESS_TICK = 0.2  # seconds between looks at whether a drained server is idle


def default() -> str:
    """Return the server to use: granian has no wheels for some machines."""
    return "granian" if find_spec("granian") else "waitress"


def with_granian(
    directory: Path, *, host: str, port: int, workers: int, threads: int, drain_seconds: int
) -> None:
    """Serve with granian: HTTP in Rust, Python in ``workers`` processes of ``threads`` threads."""
    from granian import Granian
    from granian.constants import Interfaces

    Granian(
        str(directory),
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=drain_seconds,
    ).serve(target_loader=start_worker)


def with_waitress(
    directory: Path, *, host: str, port: int, workers: int, threads: int, drain_seconds: int
) -> None:
    """Serve with waitress: one process, which is all that it has."""
    from waitress.server import create_server

    app, log = build_app(directory)
    server = create_server(app, host=host, port=port, threads=threads, ident=None)
    drain_until: list[float] = []

    def drain(number: int, frame: FrameType | None) -> None:
        if not drain_until:
            drain_until.append(time.monotonic() + drain_seconds)
            server.accepting = False
            server.socket.close()
            server.del_channel()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, drain)
    try:
        while not drain_until or (_busy(server) and time.monotonic() < drain_until[0]):
            server.asyncore.loop(timeout=WAITRESS_TICK, map=server._map, count=1)
    finally:
        server.task_dispatcher.shutdown()
        log.close()


def _busy(server: object) -> bool:
    """Tell whether a request is being read, scored or answered."""
    channels = list(getattr(server, "active_channels", {}).values())
    return any(
        channel.requests or channel.request is not None or channel.total_outbufs_len
        for channel in channels
    )
