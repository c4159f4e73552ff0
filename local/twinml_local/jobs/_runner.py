"""Runs a job of the store with the engine, and tells the store how it goes."""

from __future__ import annotations

import logging
from pathlib import Path

from azureml_runner.engine import Control, ReuseStore, RunOptions, run_plan
from azureml_runner.errors import RunnerError
from azureml_runner.pool import WorkerPool
from twinml.errors import TwinmlError
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.steps.host import JobHost
from twinml_local.jobs.steps.mlflow_runs import MlflowRuns
from twinml_local.jobs.warm import WarmSteps

__all__ = ["Runner"]

log = logging.getLogger("twinml.jobs")


class Runner(WorkerPool[JobRecord]):
    """The workers of the pipeline service.

    Parameters
    ----------
    store
        Where the jobs are.
    directory
        The service's folder; a job works in ``jobs/ID`` below it.
    workers, concurrency
        Jobs that run at once, and steps of one job.
    """

    def __init__(
        self, store: JobStore, directory: Path, *, workers: int = 1, concurrency: int = 2
    ) -> None:
        self._directory = directory.resolve()
        super().__init__(store, self._directory / "jobs", workers=workers)
        self._jobs, self._concurrency = store, concurrency
        self._reuse = ReuseStore(self._directory / "reuse")
        self._warm = WarmSteps(self._directory / "warm")

    def close(self) -> None:
        """End what was kept ready for steps; to be called when none runs."""
        self._warm.close()

    def _failed(self, job: JobRecord, error: Exception) -> None:
        known = isinstance(error, (TwinmlError, RunnerError))
        reason = str(error) if known else type(error).__name__
        self._jobs.finish(job, "Failed", error=f"the pipeline service failed: {reason}")

    def _canceled(self, job: JobRecord) -> None:
        self._jobs.finish(job, "Canceled")

    def _run(self, job: JobRecord, control: Control) -> None:
        log.info("job %s of pipeline %s: attempt %d", job.id, job.pipeline, job.attempt)
        definition, _ = self._jobs.definition(job.pipeline, job.version)
        plan = definition.plan(job.inputs)
        folder = self.job_directory(job.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mlflow_runs = MlflowRuns(job, folder)
        mlflow_runs.begin()
        host = JobHost(
            job,
            home=self._directory.parent,
            mlflow_runs=mlflow_runs,
            changed=lambda event: self._jobs.step_changed(job, event),
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
        mlflow_runs.end(outcome.status)
        self._jobs.finish(job, outcome.status, outputs=outputs, error=outcome.error)
        log.info("job %s: %s", job.id, outcome.status)
