"""Runs the jobs of a store: a few at a time, each to its end, also over the death of a process."""

from __future__ import annotations

import logging
import queue
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from azureml_runner.engine import Control, Interrupted, end_interrupted
from azureml_runner.store import Job, JobStore

__all__ = ["WorkerPool"]

log = logging.getLogger("azureml_runner")

# A worker that nobody wakes looks at the store now and then: another process may have added a job.
LOOK_SECONDS = 5.0

J = TypeVar("J", bound=Job)


class WorkerPool(ABC, Generic[J]):
    """Threads that take queued jobs, the oldest first; whoever keeps jobs says how one is run.

    Parameters
    ----------
    store
        Where the jobs are. One process at a time may have a pool on it.
    directory
        A job works in a folder of its id in here.
    workers
        Jobs that run at once.
    """

    def __init__(self, store: JobStore[J], directory: Path, *, workers: int = 1) -> None:
        self._store, self._folders = store, directory
        self._active: dict[str, Control] = {}
        # Both are of C: a thread that dies anywhere leaves neither of them held.
        self._lock = threading.RLock()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]

    @abstractmethod
    def _run(self, job: J, control: Control) -> None:
        """Run a job to its end, and finish it in the store.

        Raises
        ------
        Interrupted
            ``control`` asked for it: the job is queued again.
        """

    @abstractmethod
    def _failed(self, job: J, error: Exception) -> None:
        """Finish a job that could not be run, through no fault of its own."""

    @abstractmethod
    def _canceled(self, job: J) -> None:
        """Finish a job that was to be canceled when its process died."""

    def job_directory(self, job_id: str) -> Path:
        """Return where a job works."""
        return self._folders / job_id

    def recover(self) -> None:
        """Requeue the jobs whose process died; to be called before any worker starts.

        A job that is ``Running`` lost its process. If it was to be canceled, what is left of it
        is killed; else it is queued again, and goes on with the steps that were interrupted. How
        often a step may be interrupted is a rule of ``engine.restart``.
        """
        for job in self._store.running():
            if job.cancel_requested:
                end_interrupted(self.job_directory(job.id))
                self._canceled(job)
            else:
                self._store.requeue(job, uncounted=False)
            log.warning("job %s was interrupted in attempt %d", job.id, job.attempt)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Have the workers look for a job, because one was added."""
        # With so many waiting every worker looks once more anyway.
        if self._wakes.qsize() < len(self._threads):
            self._wakes.put(None)

    def cancel(self, job_id: str) -> bool:
        """Cancel a running job; returns whether it was running here."""
        with self._lock:
            control = self._active.get(job_id)
        if control is not None:
            control.cancel()
        return control is not None

    def shutdown(self) -> None:
        """End the running steps; their jobs are queued again, and go on from there."""
        with self._lock:
            self._stopping = True
            for control in self._active.values():
                control.interrupt()
        for _ in self._threads:
            self._wakes.put(None)

    def join(self) -> None:
        """Return when the workers are done with their jobs."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def run(self, job_id: str | None = None) -> bool:
        """Run the oldest queued job, or this one, to its end; returns whether there was one."""
        control, job = Control(), None
        try:
            with self._lock:
                # Known to ``cancel`` as soon as it is claimed.
                job = None if self._stopping else self._store.claim(job_id)
                if job is None:
                    return False
                self._active[job.id] = control
            if job.cancel_requested:
                control.cancel()
            self._run(job, control)
        except Interrupted:
            assert job is not None
            self._store.requeue(job, uncounted=True)
            log.info("job %s: queued again, the service is stopping", job.id)
        except Exception as error:
            if job is None:
                raise
            log.exception("job %s could not be run", job.id)
            self._failed(job, error)
        finally:
            if job is not None:
                with self._lock:
                    self._active.pop(job.id, None)
        return True

    def _work(self) -> None:
        failed = False
        while not self._stopping:
            try:
                if failed:
                    # Not while the error is held: with it goes what it left open in the store.
                    failed = False
                    self._reclaim()
                else:
                    while self.run():
                        pass
                self._wakes.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                pass
            except BaseException:
                # The thread goes on, or there would be one fewer.
                failed = True
                log.exception("a worker failed")

    def _reclaim(self) -> None:
        """Queue the jobs again that no worker has any more."""
        try:
            with self._lock:
                lost = [job for job in self._store.running() if job.id not in self._active]
                for job in lost:
                    self._store.requeue(job, uncounted=False)
        except Exception:
            log.exception("the jobs of a worker that failed could not be queued again")
        else:
            for _ in lost:
                self.wake()
