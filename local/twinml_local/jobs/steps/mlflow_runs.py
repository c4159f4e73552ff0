"""A job in MLflow: one run, with a nested run for each step, named in the step's environment.

MLflow is a record, not the truth: what it cannot take is said in the service's log, and the
job goes on. ``TWINML_PIPELINE_TRACKING=off`` leaves it out.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_runner.engine import StepEvent
from azureml_runner.files import write_atomic
from twinml_local.jobs._job import JobRecord

if TYPE_CHECKING:
    from twinml.registry.tracking import Tracking

__all__ = ["MlflowRuns"]

log = logging.getLogger("twinml.jobs")

SWITCH = "TWINML_PIPELINE_TRACKING"
ENDS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}


class MlflowRuns:
    """The MLflow runs of one job.

    Parameters
    ----------
    job
        Its experiment, or else its pipeline, names the experiment.
    folder
        The job's own: ``runs.json`` keeps the ids, so that a job that goes on after a crash
        goes on in the same runs.
    """

    def __init__(self, job: JobRecord, folder: Path) -> None:
        self._job = job
        self._file = folder / "runs.json"
        self._tracking: Tracking | None = None
        self._runs: dict[str, str] = {}
        self._experiment = job.experiment or job.pipeline

    def begin(self) -> None:
        """Start the job's run, or find it again."""
        if os.environ.get(SWITCH, "on") == "off":
            return
        try:
            from twinml.registry.tracking import Tracking

            self._tracking = Tracking()
            self._runs = self._read()
            if "" not in self._runs:
                tags = {
                    "twinml.pipeline": f"{self._job.pipeline}:{self._job.version}",
                    "twinml.job": self._job.id,
                    "twinml.schedule": self._job.schedule or "",
                    "twinml.reason": self._job.reason or "",
                }
                self._start("", f"{self._job.pipeline} {self._job.id[:8]}", tags)
                self._log_inputs(self._tracking)
        except Exception:
            self._give_up()

    def step(self, event: StepEvent) -> None:
        """Follow a step: a run starts with its first attempt and ends as it does."""
        if self._tracking is None or event.kind == "pipeline":
            return
        try:
            if event.status == "Running" or (event.reused and event.name not in self._runs):
                self._start_step(event)
            if event.status in ENDS and event.name in self._runs:
                run_id = self._runs[event.name]
                if event.log is not None and event.log.is_file():
                    self._tracking.client.log_artifact(run_id, str(event.log))
                self._tracking.client.set_terminated(run_id, ENDS[event.status])
        except Exception:
            self._give_up()

    def end(self, status: str) -> None:
        """End the job's run."""
        if self._tracking is None or "" not in self._runs:
            return
        try:
            for name, run_id in self._runs.items():
                run = self._tracking.client.get_run(run_id)
                if not name or run.info.status == "RUNNING":
                    self._tracking.client.set_terminated(run_id, ENDS[status])
        except Exception:
            self._give_up()

    def variables(self, step: str) -> dict[str, str]:
        """Return the environment variables by which a step finds its run."""
        if self._tracking is None or step not in self._runs:
            return {}
        return {
            "MLFLOW_TRACKING_URI": self._tracking.uri,
            "MLFLOW_RUN_ID": self._runs[step],
        }

    def _start_step(self, event: StepEvent) -> None:
        assert self._tracking is not None
        if event.name in self._runs:
            return
        tags = {
            "mlflow.parentRunId": self._runs[""],
            "twinml.step": event.name,
            "twinml.reused": str(event.reused).lower(),
        }
        self._start(event.name, event.name, tags)

    def _start(self, key: str, name: str, tags: dict[str, str]) -> None:
        assert self._tracking is not None
        self._runs[key] = self._tracking.begin(self._experiment, name, tags, {})
        write_atomic(self._file, json.dumps(self._runs))

    def _log_inputs(self, tracking: Tracking) -> None:
        for name, value in self._job.inputs.items():
            shown = value.get("path") if isinstance(value, dict) else value
            tracking.client.log_param(self._runs[""], name, str(shown)[:500])

    def _read(self) -> dict[str, str]:
        try:
            content: Any = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in content.items()}

    def _give_up(self) -> None:
        log.exception("job %s: MLflow does not take its record", self._job.id)
        self._tracking = None
