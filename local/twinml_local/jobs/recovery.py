"""What a start does about the last end: jobs that ran are queued again, none is lost."""

from __future__ import annotations

import logging

from twinml_local.jobs.queue import JobQueue
from twinml_local.jobs.runner import Runner
from twinml_local.jobs.store import JobStore

__all__ = ["recover"]

log = logging.getLogger("twinml.jobs")


def recover(store: JobStore, queue: JobQueue, runner: Runner) -> None:
    """Bring store and queue in order; to be called before a worker or the REST API starts.

    A job that is ``Running`` lost its service. If it was to be canceled, what is left of it
    is killed; else it is queued again, and goes on with the steps that were interrupted. A
    step that was running three times when the service died fails: it may be the cause.
    """
    for job in store.jobs(status="Running", newest_first=False):
        if job.cancel_requested:
            runner.end_interrupted(job.id)
            store.finish(job, "Canceled")
        else:
            store.requeue(job, uncounted=False)
        log.warning("job %s was interrupted in attempt %d", job.id, job.attempt)
    queue.refill(job.id for job in store.jobs(status="Queued", newest_first=False))
