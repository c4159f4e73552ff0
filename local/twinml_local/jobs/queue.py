"""The queue that wakes a worker: huey on SQLite. It holds job ids; the store is the truth.

At each start it is refilled from the store, so that no job is lost between the two; a job
that is here twice is run once, because only a queued job can be claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer

__all__ = ["JobQueue"]


class _Workers(Consumer):  # type: ignore[misc]
    """huey's worker threads, leaving the signal handlers to the process that they are in."""

    def _set_signal_handlers(self) -> None:
        """Set none."""


class JobQueue:
    """A first-in-first-out queue of job ids, and the worker threads that take from it.

    Parameters
    ----------
    path
        The SQLite file; made if it is missing.
    run
        Is called with a job id in a worker thread.
    """

    def __init__(self, path: Path, run: Callable[[str], None]) -> None:
        self._huey = SqliteHuey(
            "pipelines", filename=str(path), results=False, strict_fifo=True, fsync=True
        )
        self._task = self._huey.task(name="run_job")(run)
        self._consumer: Any = None

    def put(self, job_id: str) -> None:
        """Add a job to the end."""
        self._task(job_id)

    def refill(self, job_ids: Iterable[str]) -> None:
        """Replace what is waiting by ``job_ids``, in their order."""
        self._huey.storage.flush_queue()
        for job_id in job_ids:
            self.put(job_id)

    def start(self, workers: int) -> None:
        """Start ``workers`` threads."""
        self._consumer = _Workers(
            self._huey,
            workers=workers,
            periodic=False,
            scheduler_interval=60,
            initial_delay=0.05,
            max_delay=0.25,
        )
        self._consumer.start()

    def check(self) -> None:
        """Replace worker threads that died."""
        self._consumer.check_worker_health()

    def stop(self) -> None:
        """Stop taking jobs, and return when the workers are done with theirs."""
        if self._consumer is not None:
            self._consumer.stop(graceful=True)

    def close(self) -> None:
        """Close the file."""
        self._huey.storage.close()
