"""Runs a job: its steps in order, each until it ends, is canceled or takes too long."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinml.errors import TwinmlError
from twinml.pipeline.definition import PipelineDefinition, PipelineStep
from twinml_local.jobs.record import JobRecord
from twinml_local.jobs.step import StepFiles, StepProcess, find_program
from twinml_local.jobs.store import JobStore, StepEnd

__all__ = ["JOB_MARK", "Runner", "step_files"]

log = logging.getLogger("twinml.jobs")

JOB_MARK = "TWINML_JOB_ID"
POLL_SECONDS = 0.05
MAX_OUTPUT_BYTES = 1_000_000
TAIL_LINES = 5
TAIL_CHARACTERS = 600


class _Interrupted(Exception):
    """The service is stopping: the job goes back to the queue."""


class _Canceled(Exception):
    """Somebody asked for the job to end."""


class _StepFailed(Exception):
    """The step did not end with 0; says why."""

    def __init__(self, reason: str, exit_code: int | None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def step_files(directory: Path, position: int, name: str, attempt: int) -> StepFiles:
    """Return the files of a step of the job that lives in ``directory``."""
    return StepFiles(directory / "logs", position, name, attempt)


class Runner:
    """Runs jobs of a store, one in each thread that calls ``run``.

    Parameters
    ----------
    store
        Where the jobs are.
    directory
        The service's folder; a job works in ``jobs/ID`` below it.
    """

    def __init__(self, store: JobStore, directory: Path) -> None:
        self._store = store
        self._directory = directory.resolve()
        self._active: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def job_directory(self, job_id: str) -> Path:
        """Return where a job works."""
        return self._directory / "jobs" / job_id

    def cancel(self, job_id: str) -> None:
        """Have a running job look at once whether it is canceled."""
        with self._lock:
            wake = self._active.get(job_id)
        if wake is not None:
            wake.set()

    def shutdown(self) -> None:
        """End the running steps; their jobs are queued again, as if they had not started."""
        self._stopping.set()
        with self._lock:
            for wake in self._active.values():
                wake.set()

    def run(self, job_id: str) -> None:
        """Run a job to its end; does nothing if it is not queued."""
        if self._stopping.is_set():
            return
        job = self._store.claim(job_id)
        if job is None:
            return
        wake = threading.Event()
        with self._lock:
            self._active[job_id] = wake
        try:
            log.info("job %s of pipeline %s: attempt %d", job.id, job.pipeline, job.attempt)
            self._run(job, wake)
        except Exception as error:
            log.exception("job %s could not be run", job.id)
            reason = str(error) if isinstance(error, TwinmlError) else type(error).__name__
            self._store.finish(job, "Failed", error=f"the pipeline service failed: {reason}")
        finally:
            with self._lock:
                del self._active[job_id]

    def _run(self, job: JobRecord, wake: threading.Event) -> None:
        definition, _ = self._store.definition(job.pipeline, job.version)
        last = len(definition.steps) - 1
        for position, step in enumerate(definition.steps):
            if job.steps[position].status == "Completed":
                continue
            try:
                files = self._run_step(job, definition, position, wake)
            except _Interrupted:
                self._store.forget_step(job, position)
                self._store.requeue(job, uncounted=True)
                log.info("job %s: queued again, the service is stopping", job.id)
                return
            except _Canceled:
                self._store.finish(job, "Canceled", step=StepEnd(position, "Canceled", None))
                log.info("job %s: canceled", job.id)
                return
            except _StepFailed as failure:
                end = StepEnd(position, "Failed", failure.exit_code)
                error = f"step '{step.name}' {failure}"
                self._store.finish(job, "Failed", error=error, step=end)
                log.info("job %s: step '%s' failed", job.id, step.name)
                return
            if position < last:
                self._store.step_completed(job, position)
            else:
                end = StepEnd(position, "Completed", 0)
                self._store.finish(job, "Completed", outputs=_outputs(files.stdout), step=end)
                log.info("job %s: completed", job.id)

    def _run_step(
        self, job: JobRecord, definition: PipelineDefinition, position: int, wake: threading.Event
    ) -> StepFiles:
        """Run one step and return its files; raises unless it ends with 0."""
        step = definition.steps[position]
        record = job.steps[position]
        directory = self.job_directory(job.id)
        if record.status == "Running":
            earlier = step_files(directory, position, step.name, record.attempt)
            code = earlier.exit_code()
            if code is not None:
                # It ended while no service was there to see it.
                return _checked(earlier, code)
        self._check_wishes(job)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = step_files(directory, position, step.name, job.attempt)
        env = self._environment(job)
        command = definition.command(
            step,
            inputs=job.inputs,
            job_id=job.id,
            directory=str(directory),
            python=sys.executable,
        )
        program = find_program(command[0], directory=directory, path=env.get("PATH"))
        if program is None:
            raise _StepFailed(f"cannot start: there is no program '{command[0]}'", None)
        process = StepProcess((program, *command[1:]), files=files, directory=directory, env=env)
        try:
            self._store.step_started(job, position, process.pid, process.identity)
            process.go()
            self._wait(job, step, process, wake)
        finally:
            code = process.close()
        return _checked(files, code)

    def _wait(
        self, job: JobRecord, step: PipelineStep, process: StepProcess, wake: threading.Event
    ) -> None:
        """Return once the process ended; end it if there is a reason, and raise that."""
        deadline = time.monotonic() + step.timeout_seconds
        while not process.ended():
            if wake.is_set():
                wake.clear()
                try:
                    self._check_wishes(job)
                except (_Canceled, _Interrupted):
                    process.end()
                    raise
            if time.monotonic() > deadline:
                process.end()
                raise _StepFailed(
                    f"was ended after {step.timeout_seconds:g} s (timeout_seconds)", None
                )
            wake.wait(POLL_SECONDS)

    def _check_wishes(self, job: JobRecord) -> None:
        if self._store.cancel_requested(job.id):
            raise _Canceled
        if self._stopping.is_set():
            raise _Interrupted

    def _environment(self, job: JobRecord) -> dict[str, str]:
        return {
            **os.environ,
            "TWINML_HOME": str(self._directory.parent),
            JOB_MARK: job.id,
            "TWINML_PIPELINE": job.pipeline,
            # Without it the logs of a Python step would arrive in blocks.
            "PYTHONUNBUFFERED": "1",
        }


def _checked(files: StepFiles, code: int) -> StepFiles:
    if code != 0:
        raise _StepFailed(f"exited with {code}{_reason(files)}", code)
    return files


def _reason(files: StepFiles) -> str:
    """Return why a step failed: the error that it printed as JSON, else the end of stderr."""
    printed = _json(files.stdout)
    if isinstance(printed, Mapping) and isinstance(printed.get("message"), str):
        message = printed["message"][:TAIL_CHARACTERS]
        return f": {message.encode(errors='replace').decode()}"
    try:
        with files.stderr.open("rb") as file:
            file.seek(max(0, files.stderr.stat().st_size - 64_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]
    tail = "\n".join(lines)[-TAIL_CHARACTERS:]
    return f": {tail}" if tail else ""


def _outputs(stdout: Path) -> dict[str, Any]:
    """Return the JSON object that the last step printed; another JSON value as ``value``."""
    printed = _json(stdout)
    if printed is None:
        return {}
    return printed if isinstance(printed, dict) else {"value": printed}


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_OUTPUT_BYTES:
            return None
        # NaN and Infinity are not JSON, and would not be in our reply.
        return json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return None
