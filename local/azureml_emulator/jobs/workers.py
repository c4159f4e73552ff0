"""Runs jobs with the engine, and records their progress in their runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from azureml_emulator.errors import ArmError, StorageError
from azureml_emulator.jobs._definitions import Definition
from azureml_emulator.jobs.host import JobContext, JobHost, failure_of_step
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import Control, Outcome, ReuseStore, RunOptions, make_plan, run_plan
from azureml_runner.errors import RunnerError
from azureml_runner.pool import WorkerPool
from azureml_runner.store import ENDED, Job

__all__ = ["Workers"]

_log = logging.getLogger("azureml_emulator.jobs")


class Workers(WorkerPool[Job]):
    """The threads that run jobs.

    Parameters
    ----------
    context
        What the jobs have in common.
    directory
        Where jobs work, each in a folder of its name, and where their results are found.
    definition_of
        Returns the definition of a job; raises ``ArmError``.
    count
        How many jobs run at once; others wait.
    """

    def __init__(
        self,
        context: JobContext,
        directory: Path,
        definition_of: Callable[[Run], Definition],
        *,
        count: int = 2,
    ) -> None:
        self._all, self._definition_of = context, definition_of
        self._runs = context.records.runs
        self._records = context.records
        self._reuse = ReuseStore(directory / "reuse")
        super().__init__(self._runs.jobs, directory, workers=count)

    def start(self) -> None:
        """Start the workers, unfinished jobs first."""
        self._runs.jobs.adopt()
        self.recover()
        super().start()

    def cancel_run(self, run: Run) -> None:
        """End the job of a run; one that has not started ends at once."""
        root = self._runs.require(run.root)
        job = self._runs.jobs.cancel(root.id)
        if job is not None and job.status == "Running":
            self._runs.set_status(root.id, "CancelRequested")
            self.cancel(root.id)
        else:
            self._records.set_status(root, "Canceled")

    def _run(self, job: Job, control: Control) -> None:
        run = self._runs.require(job.id)
        if not run.over:
            self._work_on(run, control)
        status = self._runs.require(job.id).status
        self._runs.jobs.finish(job, status if status in ENDED else "Failed")

    def _failed(self, job: Job, error: Exception) -> None:
        run = self._runs.require(job.id)
        try:
            self._end_children(run, "Canceled")
            code = "InternalServerError"
            message = f"The emulator failed: {type(error).__name__}: {error}"
            if isinstance(error, (ArmError, StorageError)):
                # What is not there, or not as the job says, is the user's matter.
                code, message = "UserError", error.message
            self._records.fail(run, code, message)
        except Exception:
            _log.exception("job %s could not be ended", run.id)
            self._runs.set_status(run.id, "Failed")
        self._runs.jobs.finish(job, "Failed")

    def _canceled(self, job: Job) -> None:
        run = self._runs.require(job.id)
        self._end_children(run, "Canceled")
        self._records.set_status(run, "Canceled")
        self._runs.jobs.finish(job, "Canceled")

    def _work_on(self, run: Run, control: Control) -> None:
        self._records.begin(run)
        try:
            definition = self._definition_of(run)
            plan = make_plan(definition.graph, definition.values, run=run.id, strict=False)
        except (ArmError, RunnerError) as error:
            self._records.fail(run, "UserError", error.message)
            return
        folder = self.job_directory(run.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = JobHost(self._all, run, definition, folder)
        if not definition.single:
            self._records.set_status(run, "Running")
            host.note(f"pipeline '{run.display}' with {len(plan.steps)} steps")
        options = RunOptions(
            continue_on_failure=definition.continue_on_failure,
            reuse=None if definition.single else self._reuse,
            force_rerun=definition.force_rerun,
        )
        outcome = run_plan(plan, folder=folder, host=host, control=control, options=options)
        if not definition.single:
            host.keep_pipeline_outputs(plan.outputs)
            host.note(f"pipeline '{run.display}': {outcome.status}")
            host.finish_notes()
        self._end(run, definition, outcome, host)

    def _end(self, run: Run, definition: Definition, outcome: Outcome, host: JobHost) -> None:
        for step in outcome.steps.values():
            child = host.run_of(step.name)
            if child.id != run.id and not child.over:
                self._records.set_status(child, "Canceled")
        self._end_children(run, "Canceled")
        if outcome.status == "Failed":
            code = next(iter(host.codes.values()), "UserError")
            message = outcome.error or "it failed"
            if definition.single:
                message = failure_of_step(outcome)
            self._records.fail(run, code, message)
        else:
            self._records.set_status(run, outcome.status)

    def _end_children(self, run: Run, status: str) -> None:
        for child in self._runs.unfinished(run.root):
            if child.id != run.id:
                self._records.set_status(child, status)
