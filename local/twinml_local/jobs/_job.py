"""A job as the store keeps it, and as the REST API shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azureml_runner.store import Job

__all__ = ["JobRecord", "StepRecord"]


@dataclass(frozen=True)
class StepRecord:
    """One step of a job, or a pipeline within it (``kind`` ``pipeline``).

    ``attempt`` counts from 1; 0 where nothing was run, because the result was there.
    """

    position: int
    name: str
    kind: str
    status: str
    attempt: int
    reused: bool
    started: str | None
    ended: str | None
    exit_code: int | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return what the REST API shows."""
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "attempt": self.attempt,
            "reused": self.reused,
            "started": self.started,
            "ended": self.ended,
            "exit_code": self.exit_code,
            "error": self.error,
        }


@dataclass(frozen=True)
class JobRecord(Job):
    """A job of a pipeline; times are UTC, ISO 8601.

    ``reason`` says why a trigger started it, where one did.
    """

    pipeline: str
    version: int
    experiment: str | None
    schedule: str | None
    reason: str | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    error: str | None
    created: str
    started: str | None
    ended: str | None
    steps: tuple[StepRecord, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what the REST API shows; ``name`` is the id, as on Azure."""
        return {
            "id": self.id,
            "name": self.id,
            "pipeline": self.pipeline,
            "version": str(self.version),
            "experiment": self.experiment,
            "schedule": self.schedule,
            "reason": self.reason,
            "status": self.status,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "error": self.error,
            "attempt": self.attempt,
            "cancel_requested": self.cancel_requested,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "steps": [step.to_dict() for step in self.steps],
        }
