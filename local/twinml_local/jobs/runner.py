"""Runs a job of the store with the engine, and tells the store how it goes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from azureml_runner.engine import (
    Control,
    Interrupted,
    ReuseStore,
    RunOptions,
    end_interrupted,
    run_plan,
)
from twinml.errors import TwinmlError
from twinml_local.jobs.record import JobRecord
from twinml_local.jobs.recording import Recording
from twinml_local.jobs.store import JobStore
from twinml_local.jobs.surroundings import JobHost
from twinml_local.jobs.warm import WarmSteps

__all__ = ["Runner"]

log = logging.getLogger("twinml.jobs")


class Runner:
    """Runs jobs of a store, one in each thread that calls ``run``.

    Parameters
    ----------
    store
        Where the jobs are.
    directory
        The service's folder; a job works in ``jobs/ID`` below it.
    concurrency
        Steps of one job that run at once.
    """

    def __init__(self, store: JobStore, directory: Path, *, concurrency: int = 2) -> None:
        self._store = store
        self._directory = directory.resolve()
        self._concurrency = concurrency
        self._reuse = ReuseStore(self._directory / "reuse")
        self._warm = WarmSteps(self._directory / "warm")
        self._active: dict[str, Control] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def job_directory(self, job_id: str) -> Path:
        """Return where a job works."""
        return self._directory / "jobs" / job_id

    def cancel(self, job_id: str) -> None:
        """Have a running job end."""
        with self._lock:
            control = self._active.get(job_id)
        if control is not None:
            control.cancel()

    def shutdown(self) -> None:
        """End the running steps; their jobs are queued again, and go on from there."""
        with self._lock:
            self._stopping = True
            for control in self._active.values():
                control.interrupt()

    def close(self) -> None:
        """End what was kept ready for steps; to be called when none runs."""
        self._warm.close()

    def end_interrupted(self, job_id: str) -> None:
        """Kill what is left of a job whose service died."""
        end_interrupted(self.job_directory(job_id))

    def run(self, job_id: str) -> None:
        """Run a job to its end; does nothing if it is not queued."""
        control = Control()
        with self._lock:
            if self._stopping:
                return
            job = self._store.claim(job_id)
            if job is None:
                return
            self._active[job_id] = control
        try:
            log.info("job %s of pipeline %s: attempt %d", job.id, job.pipeline, job.attempt)
            self._run(job, control)
        except Interrupted:
            self._store.requeue(job, uncounted=True)
            log.info("job %s: queued again, the service is stopping", job.id)
        except Exception as error:
            log.exception("job %s could not be run", job.id)
            reason = str(error) if isinstance(error, TwinmlError) else type(error).__name__
            self._store.finish(job, "Failed", error=f"the pipeline service failed: {reason}")
        finally:
            with self._lock:
                del self._active[job_id]

    def _run(self, job: JobRecord, control: Control) -> None:
        if self._store.cancel_requested(job.id):
            control.cancel()
        definition, _ = self._store.definition(job.pipeline, job.version)
        plan = definition.plan(job.inputs)
        folder = self.job_directory(job.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        recording = Recording(job, folder)
        recording.begin()
        host = JobHost(
            job,
            home=self._directory.parent,
            recording=recording,
            changed=lambda event: self._store.step_changed(job, event),
            warm=self._warm,
        )
        options = RunOptions(
            concurrency=self._concurrency,
            continue_on_failure=definition.continue_on_failure,
            reuse=self._reuse,
            force_rerun=definition.force_rerun,
        )
        outcome = run_plan(plan, folder=folder, host=host, control=control, options=options)
        outputs = {
            name: {
                "type": plan.step(source.step).node.outputs[source.output].type,
                "path": str(outcome.outputs[name]),
            }
            for name, source in plan.outputs.items()
            if name in outcome.outputs
        }
        recording.end(outcome.status)
        self._store.finish(job, outcome.status, outputs=outputs, error=outcome.error)
        log.info("job %s: %s", job.id, outcome.status)
