"""The process that holds the port: it forks workers, and forks them again for as long as it runs.

gunicorn's arbiter does that: it binds the socket and keeps it while workers come and go, so that
a client that comes while there is none waits for a moment and is not refused. Models are loaded
before the fork: a worker that takes the place of a dead one answers within milliseconds, and
workers share the memory that they do not change. What is added here: a pause that grows while
workers die one after another, a number of workers that follows the endpoint's settings, and that
no way in which a worker ends makes the supervisor end.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from twinml_local.server.deployments.watch import stamp
from twinml_local.server.process._application import Preloaded, preload
from twinml_local.server.process._worker import LoopWorker
from twinml_local.server.state import BACKLOG, STATE_FILE, ServerSettings, read_state

__all__ = ["pause_before_fork", "supervise"]

FIRST_PAUSE = 0.05  # seconds before a worker is replaced that died young
LONGEST_PAUSE = 10.0
YOUNG_SECONDS = 10.0  # a worker that lived for so long has served
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
DEAF_SECONDS = 300  # a worker that shows no sign of life for so long is killed


def pause_before_fork(young_deaths: int) -> float:
    """Return how long to wait before the next worker is forked, in seconds.

    Parameters
    ----------
    young_deaths
        Workers in a row that died young. The first is replaced at once.

    Examples
    --------
    >>> [pause_before_fork(deaths) for deaths in (0, 1, 2, 3, 4)]
    [0.0, 0.0, 0.05, 0.1, 0.2]
    >>> pause_before_fork(100)
    10.0
    """
    if young_deaths < 2:
        return 0.0
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(young_deaths - 2, 30))


class _Endpoint(BaseApplication):  # type: ignore[misc]
    """What gunicorn is told of an endpoint."""

    def __init__(self, directory: Path, options: Mapping[str, Any], preloaded: Preloaded) -> None:
        self.directory = directory
        self.options = options
        self.preloaded = preloaded
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> None:
        """Load nothing: workers build the application themselves."""


class _Ending(BaseException):
    """The supervisor is asked to end while it loads a model."""


class _Supervisor(Arbiter):  # type: ignore[misc]
    """An arbiter that never gives up."""

    # No exit code of a worker ends the server.
    WORKER_BOOT_ERROR = APP_LOAD_ERROR = -1

    def __init__(self, app: _Endpoint) -> None:
        super().__init__(app)
        self._born: dict[int, float] = {}
        self._young_deaths = 0
        self._next_fork = 0.0
        self._seen = stamp(app.directory / STATE_FILE)

    def manage_workers(self) -> None:
        """Fork what is missing, after a pause where workers die one after another."""
        self._count_deaths()
        if len(self.WORKERS) >= self.num_workers or time.monotonic() >= self._next_fork:
            super().manage_workers()
            for pid in self.WORKERS:
                self._born.setdefault(pid, time.monotonic())
        # Last, because loading a model takes a while.
        self._follow()

    def _count_deaths(self) -> None:
        now = time.monotonic()
        for pid in [pid for pid in self._born if pid not in self.WORKERS]:
            young = now - self._born.pop(pid) < YOUNG_SECONDS
            self._young_deaths = self._young_deaths + 1 if young else 0
            self._next_fork = now + pause_before_fork(self._young_deaths)
        if self._born and now - max(self._born.values()) >= YOUNG_SECONDS:
            self._young_deaths = 0

    def _follow(self) -> None:
        """Have the number of workers, and the models that new ones begin with, follow the state."""
        seen = stamp(self.app.directory / STATE_FILE)
        if seen == self._seen:
            return
        self._seen = seen
        before = {number: signal.signal(number, self._end_now) for number in ENDINGS}
        try:
            state = read_state(self.app.directory)
            self.num_workers = state.settings.workers
            self.app.preloaded = preload(self.app.directory, self.app.preloaded)
        except _Ending:
            return
        except Exception as error:  # whatever it is, what is served goes on
            self.log.warning("the endpoint's files cannot be used: %s", error)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end_now(self, number: int, frame: FrameType | None) -> None:
        """Leave a model that is being loaded: its seconds are not worth waiting for."""
        self.signal(number, frame)
        raise _Ending

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        """Wait no longer than until the next fork is due."""
        if len(self.WORKERS) < self.num_workers:
            timeout = max(0.01, min(timeout, self._next_fork - time.monotonic()))
        return super().wait_for_signals(timeout=timeout)


def supervise(directory: Path, *, listening: socket.socket, settings: ServerSettings) -> None:
    """Serve the endpoint in ``directory`` on a socket until SIGTERM or SIGINT.

    Raises
    ------
    TwinmlError
        Its state cannot be read, or none of its models can be loaded.
    """
    preloaded = preload(directory)
    options = {
        "bind": f"fd://{listening.detach()}",
        "workers": settings.workers,
        "worker_class": LoopWorker,
        "backlog": BACKLOG,
        "timeout": DEAF_SECONDS,
        "graceful_timeout": settings.drain_seconds + 1,
        "control_socket_disable": True,
        "proc_name": f"twinml {directory.name}",
        "loglevel": "warning",
    }
    _Supervisor(_Endpoint(directory, options, preloaded)).run()
