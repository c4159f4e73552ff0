"""Runs jobs: a few at a time, each to its end, also over the death of this process.

What is queued or running is known from the run store alone. At the start every job that has
not ended is taken up: the engine finds in the job's folder what is done already, ends what
is left of interrupted processes, and goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from azureml_emulator.errors import ArmError
from azureml_emulator.jobs.definitions import Definition
from azureml_emulator.jobs.host import JobHost, Surroundings, failure_of_step
from azureml_emulator.jobs.runs import Run
from azureml_runner.engine import (
    Control,
    Interrupted,
    Outcome,
    ReuseStore,
    RunOptions,
    make_plan,
    run_plan,
)
from azureml_runner.errors import RunnerError

__all__ = ["Workers"]

UNFINISHED = ("NotStarted", "Queued", "Preparing", "Running", "Finalizing", "CancelRequested")

_log = logging.getLogger("azureml_emulator.jobs")


class Workers:
    """The threads that run jobs.

    Parameters
    ----------
    surroundings
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
        surroundings: Surroundings,
        directory: Path,
        definition_of: Callable[[Run], Definition],
        *,
        count: int = 2,
    ) -> None:
        self._all, self._directory = surroundings, directory
        self._definition_of = definition_of
        self._runs = surroundings.records.runs
        self._records = surroundings.records
        self._reuse = ReuseStore(directory / "reuse")
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._controls: dict[str, Control] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{number}") for number in range(count)
        ]

    def start(self) -> None:
        """Begin, with the jobs that were left unfinished."""
        for run in self._runs.top(UNFINISHED):
            self._queue.put(run.id)
        for thread in self._threads:
            thread.start()

    def submit(self, run: str) -> None:
        """Have a job run as soon as a worker is free."""
        self._queue.put(run)

    def cancel(self, run: Run) -> None:
        """End a job; one that has not started ends at once."""
        root = self._runs.require(run.root)
        self._runs.ask_to_cancel(root.id)
        with self._lock:
            control = self._controls.get(root.id)
            if control is not None:
                control.cancel()
                self._runs.set_status(root.id, "CancelRequested")
                return
        self._records.set_status(root, "Canceled")

    def close(self) -> None:
        """Stop the running jobs so that they go on at the next start."""
        with self._lock:
            self._stopping = True
            for control in self._controls.values():
                control.interrupt()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _work(self) -> None:
        while (name := self._queue.get()) is not None:
            control = Control()
            with self._lock:
                if self._stopping:
                    return
                run = self._runs.get(name)
                if run is None or run.over or name in self._controls:
                    continue
                self._controls[name] = control
            try:
                self._run(run, control)
            except Interrupted:
                _log.info("job %s: interrupted, goes on at the next start", name)
            except Exception as error:
                _log.exception("job %s could not be run", name)
                self._give_up(run, f"The emulator failed: {type(error).__name__}: {error}")
            finally:
                with self._lock:
                    del self._controls[name]

    def _give_up(self, run: Run, message: str) -> None:
        """End a job that the emulator itself could not run; the worker goes on."""
        try:
            self._end_children(run, "Canceled")
            self._records.fail(run, "InternalServerError", message)
        except Exception:
            _log.exception("job %s could not be ended", run.id)
            self._runs.set_status(run.id, "Failed")

    def _run(self, run: Run, control: Control) -> None:
        if run.cancel:
            control.cancel()
        self._records.begin(run)
        try:
            definition = self._definition_of(run)
            plan = make_plan(definition.graph, definition.values)
        except (ArmError, RunnerError) as error:
            self._records.fail(run, "UserError", error.message)
            return
        folder = self._directory / run.id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = JobHost(self._all, run, definition, folder)
        host.publish(plan.outputs)
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
