"""A worker process: an event loop that reads, scores and answers requests."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import uvloop
from gunicorn.workers.base import Worker

from twinml_local.server.process._application import Application, build
from twinml_local.server.process._connection import Connection
from twinml_local.server.process._traffic import Limits, Traffic
from twinml_local.server.state import BACKLOG, read_state

__all__ = ["LoopWorker"]

COLLECT_AFTER = (20_000, 20, 20)  # objects, and collections of each younger generation
SWITCH_SECONDS = 0.0005
TICK_SECONDS = 1.0
DRAIN_LOOK = 0.02
OTHER_FILES = 256  # logs, databases, models: files that are no connections
GATHERING = 64  # threads whose requests can be in one batch
PAGES = 4  # threads for what does not score


class LoopWorker(Worker):  # type: ignore[misc]
    """Serves the connections that it accepts from the supervisor's socket."""

    def load_wsgi(self) -> None:
        """Leave the application to ``run``: gunicorn would end the server if it failed."""

    def init_signals(self) -> None:
        """Leave signals to the event loop."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until SIGTERM, or until the supervisor is gone."""
        directory, preloaded = self.app.directory, self.app.preloaded
        bound = str(self.sockets[0].getsockname()[0])
        application = build(directory, preloaded, bound=bound)
        try:
            _settle()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(application, directory))
        finally:
            application.close()

    async def _serve(self, application: Application, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        settings = read_state(directory).settings
        traffic = Traffic(
            application.front,
            loop,
            limits=Limits(connections=_connections()),
            scoring=ThreadPoolExecutor(settings.threads, "scoring"),
            gathering=ThreadPoolExecutor(GATHERING, "gathering"),
            pages=ThreadPoolExecutor(PAGES, "pages"),
        )
        traffic.tick()
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, ending.set)
        servers = [
            await loop.create_server(partial(Connection, traffic), sock=listener, backlog=BACKLOG)
            for listener in self.sockets
        ]
        while not ending.is_set():
            self.notify()
            traffic.tick()
            if os.getppid() != self.ppid:
                # It would hold the port for nobody.
                break
            try:
                await asyncio.wait_for(ending.wait(), TICK_SECONDS)
            except TimeoutError:
                continue
        for server in servers:
            server.close()
        traffic.drain()
        until = time.monotonic() + application.drain_seconds
        while traffic.connections and time.monotonic() < until:
            self.notify()
            traffic.tick()
            await asyncio.sleep(DRAIN_LOOK)
        for pool in (traffic.scoring, traffic.gathering, traffic.pages):
            pool.shutdown(wait=False, cancel_futures=True)


def _connections() -> int:
    """Return how many connections a worker may have, with as many files as it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Limits.connections + OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    files = wanted if soft == resource.RLIM_INFINITY else soft
    return max(64, min(Limits.connections, files - OTHER_FILES))


def _settle() -> None:
    """Keep the garbage collector and switches of threads from delaying requests."""
    # The collector need not look again and again at libraries and models.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    # A request that comes while a thread writes telemetry would wait 5 ms for its turn.
    sys.setswitchinterval(SWITCH_SECONDS)
