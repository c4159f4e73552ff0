"""What a start does about the last end: jobs that ran are queued again, none is lost."""

from __future__ import annotations

import logging

from twinml_local.jobs.queue import JobQueue
from twinml_local.jobs.record import JobRecord
from twinml_local.jobs.runner import JOB_MARK, Runner, step_files
from twinml_local.jobs.step import end_orphans
from twinml_local.jobs.store import JobStore

__all__ = ["MAX_ATTEMPTS", "recover"]

log = logging.getLogger("twinml.jobs")

MAX_ATTEMPTS = 3


def recover(store: JobStore, queue: JobQueue, runner: Runner) -> None:
    """Bring store and queue in order; to be called before a worker or the REST API starts.

    A job that is ``Running`` lost its service. What is left of its step is killed; then it is
    queued again, to go on with the step that was interrupted, unless it was to be canceled or
    has been started ``MAX_ATTEMPTS`` times.
    """
    for job in store.jobs(status="Running", newest_first=False):
        step_ended = _end_steps(job, runner)
        if job.cancel_requested:
            store.finish(job, "Canceled")
        elif job.attempt >= MAX_ATTEMPTS and not step_ended:
            store.finish(
                job,
                "Failed",
                error=f"the pipeline service ended {job.attempt} times while this job ran",
            )
        else:
            store.requeue(job, uncounted=step_ended)
        log.warning("job %s was interrupted in attempt %d", job.id, job.attempt)
    queue.refill(job.id for job in store.jobs(status="Queued", newest_first=False))


def _end_steps(job: JobRecord, runner: Runner) -> bool:
    """End the processes of a job's running step; say whether that step had ended by itself."""
    ended = False
    for step in job.steps:
        if step.status == "Running" and step.pid is not None and step.identity:
            end_orphans(step.pid, step.identity, mark=f"{JOB_MARK}={job.id}")
            directory = runner.job_directory(job.id)
            files = step_files(directory, step.position, step.name, step.attempt)
            ended = files.exit_code() is not None
    return ended
