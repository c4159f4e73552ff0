"""The workflow's last step: the pipeline is published, and one job of it awaited over REST."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.data.reading import text_of
from twinml.errors import PlatformError

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.platform import PipelineInfo, PipelineJob, Platform
    from twinml.training import TrainingOptions

__all__ = ["PIPELINE", "finished_job", "inputs", "registration"]

PIPELINE = "training"
# The job shows that it works, so it searches for a moment only.
BUDGET, MOST_TRIALS = "15s", 10
# A cluster in a cloud builds the environment and starts a node first.
_LONGEST_SECONDS = 3600.0
_DONE = ("Completed", "Failed", "Canceled")
_FIRST_PAUSE, _LONGEST_PAUSE, _BETWEEN_WORDS = 0.5, 5.0, 15.0


def inputs(dataset: Dataset, version: str, options: TrainingOptions) -> dict[str, Any]:
    """Return the inputs that the pipeline is published with, so that a job trains alike.

    Parameters
    ----------
    version
        Of the registered data.
    """
    return {
        "data": f"azureml:{dataset.name}:{version}",
        "target": dataset.target,
        "drop": ",".join(dataset.dropped) or "none",
        "reading": text_of(dataset.reading),
        "model_name": dataset.name,
        "budget": BUDGET,
        "trials": min(options.trials or 0, MOST_TRIALS),
        "seed": options.seed,
        "metric": options.metric,
        "split": options.split,
        "class_weight": options.class_weight or "none",
        "threshold": str(options.threshold),
        "learners": ",".join(options.learners) or "all",
        "refit": options.refit,
    }


def finished_job(
    platform: Platform, info: PipelineInfo, say: Callable[[str], None], *, again: bool = False
) -> PipelineJob:
    """Return a completed job of a published pipeline.

    The newest job is taken, running or done, where the platform tells that it is of this very
    version; else one is started.

    Parameters
    ----------
    say
        Told what is waited for, now and then.
    again
        Start a job even if a finished one exists.

    Raises
    ------
    PlatformError
        It failed, was cancelled, or takes longer than an hour.
    """
    job = None if again else _newest(platform, info)
    if job is None:
        job = platform.run_pipeline(info.name, {})
    began = told = time.monotonic()
    pause = _FIRST_PAUSE
    while job.status not in _DONE and time.monotonic() - began < _LONGEST_SECONDS:
        time.sleep(pause)
        pause = min(1.2 * pause, _LONGEST_PAUSE)
        job = platform.pipeline_job(info.name, job.id)
        if time.monotonic() - told >= _BETWEEN_WORDS:
            told = time.monotonic()
            running = [step["name"] for step in job.steps if step["status"] == "Running"]
            doing = f", at {', '.join(running)}" if running else ""
            say(f"job {job.id}: {job.status}{doing}, {told - began:.0f} s")
    if job.status != "Completed":
        raise PlatformError(
            f"pipeline job {job.id} is {job.status}: {job.error or 'no reason given'}",
            hint=f"See twinml pipeline logs {info.name} {job.id}.",
        )
    return job


def _newest(platform: Platform, info: PipelineInfo) -> PipelineJob | None:
    client = platform.pipeline_client(info.name)
    try:
        jobs = client.jobs(limit=1)
    finally:
        client.close()
    if not jobs or jobs[0].version != info.version or jobs[0].status in ("Failed", "Canceled"):
        return None
    return jobs[0]


def registration(platform: Platform, job: PipelineJob) -> dict[str, Any]:
    """Return what the step ``register`` of a completed job decided."""
    client = platform.pipeline_client(PIPELINE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = client.download(job.id, "registration", Path(folder))
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    finally:
        client.close()
    return found
