"""Published pipelines of a platform, their jobs and their schedules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Protocol

__all__ = ["PipelineClient", "PipelineInfo", "PipelineJob", "Pipelines", "Schedule"]

# A mark beside the colour, for those who cannot tell the colours apart. These colours can be
# read on a light and on a dark page.
MARKS = {
    "Completed": ("✓", "#2e8b57"),
    "Running": ("▶", "#2a7fc1"),
    "Failed": ("✗", "#d1495b"),
    "Canceled": ("■", "#b8860b"),
}
OTHER = ("·", "#888888")


@dataclass(frozen=True)
class PipelineInfo:
    """A published pipeline: ``POST`` to ``uri`` with the key starts a job.

    ``state`` is ``running``, or ``stopped`` where nothing answers at ``uri`` and no schedule fires.
    """

    name: str
    version: str
    uri: str
    state: str = "running"


@dataclass(frozen=True)
class PipelineJob:
    """A run of a pipeline.

    Attributes
    ----------
    status
        ``Queued``, ``Running``, ``Completed``, ``Failed`` or ``Canceled``.
    inputs
        Literals, and ``{"type": …, "path": …}``.
    outputs
        ``{"type": …, "path": …}`` by name, once it has completed.
    steps
        ``name``, ``status``, ``reused`` and more of each step, in order.
    schedule
        The schedule that started it.
    reason
        Why a schedule that looks for drift started it.
    version
        Of the published pipeline, where the platform tells it.
    """

    id: str
    pipeline: str
    status: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    created: str = ""
    started: str | None = None
    ended: str | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    schedule: str | None = None
    reason: str | None = None
    version: str = ""

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the state, and a row for each step.

        Examples
        --------
        >>> job = PipelineJob("0b54", "training", "Failed", error="the data is gone")
        >>> "Failed" in job._repr_html_()
        True
        """
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(str(step["name"]))}</td>'
            f'<td style="text-align:left">'
            f"{_state(str(step['status']), bool(step.get('reused')))}</td>"
            f"<td>{_duration(step)}</td></tr>"
            for step in self.steps
        )
        table = (
            '<table><thead><tr><th style="text-align:left">step</th>'
            '<th style="text-align:left">status</th><th>seconds</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>"
            if rows
            else ""
        )
        error = f"<div>{escape(self.error)}</div>" if self.error else ""
        return (
            f"<div><div>{_state(self.status)} &nbsp;pipeline <b>{escape(self.pipeline)}</b>, "
            f"job <code>{escape(self.id)}</code></div>{error}{table}</div>"
        )


@dataclass(frozen=True)
class Schedule:
    """When a pipeline is started by itself.

    Exactly one of ``cron`` and ``every`` is set.

    Attributes
    ----------
    cron
        Five fields, read in ``timezone``: ``0 6 * * 1`` is Mondays at six.
    every
        A number and a unit, ``s``, ``m``, ``h``, ``d`` or ``w``: ``30m``.
    inputs
        Of the jobs that it starts.
    on_drift
        An endpoint: at each time its traffic is looked at, and a job starts only if that
        drifted from what the champion learned from.
    cooldown
        With ``on_drift``: so long after a job nothing is looked at; written like ``every``.
    next, last, checked
        When it is due, started a job, and looked for drift; UTC, ISO 8601, where the platform
        tells it.
    finding
        What the last look saw.
    """

    name: str
    pipeline: str
    cron: str | None = None
    every: str | None = None
    timezone: str = "UTC"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    on_drift: str | None = None
    cooldown: str | None = None
    next: str | None = None
    last: str | None = None
    checked: str | None = None
    finding: str | None = None
    error: str | None = None


class PipelineClient(Protocol):
    """Starts and watches the jobs of one published pipeline.

    ``twinml.pipeline.client.RestPipelineClient`` is one for a URI and a key; a platform may
    have its own.
    """

    def submit(self, inputs: Mapping[str, Any] | None = None) -> PipelineJob:
        """Start a job; returns as soon as it is accepted."""
        ...

    def authentication_header(self) -> dict[str, str]:
        """Return the header that opens the endpoint, for clients of one's own. A secret."""
        ...

    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return ``type`` and, where there is one, ``default`` or ``path`` of each input."""
        ...

    def job(self, job_id: str) -> PipelineJob:
        """Describe a job; ``NotFound`` if there is none."""
        ...

    def jobs(self, *, status: str | None = None, limit: int | None = None) -> list[PipelineJob]:
        """List jobs, newest first."""
        ...

    def logs(self, job_id: str) -> str:
        """Return what the steps of a job printed so far."""
        ...

    def cancel(self, job_id: str) -> PipelineJob:
        """End a job; one that runs is ``Canceled`` a moment later."""
        ...

    def download(self, job_id: str, output: str, folder: Path) -> Path:
        """Fetch an output of a completed job into ``folder``; return the file or folder."""
        ...

    def wait(self, job_id: str, *, timeout: float | None = None) -> PipelineJob:
        """Return the job once it has ended; ``PlatformError`` if it has not by then."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Pipelines(Protocol):
    """Publishes pipelines, runs them and starts them by themselves."""

    def publish_pipeline(
        self, name: str, definition: Path, *, inputs: Mapping[str, Any] | None = None
    ) -> PipelineInfo:
        """Publish an Azure ML v2 pipeline job file behind its own REST endpoint.

        ``inputs`` replace values in the file, for all jobs that do not give their own. What
        is unchanged keeps its version. The file's folder may change afterwards.
        """
        ...

    def submit_pipeline(
        self, definition: Path, inputs: Mapping[str, Any] | None = None
    ) -> PipelineJob:
        """Start a job of a file, as ``az ml job create -f`` does; returns once accepted."""
        ...

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        """Start a job of a published pipeline over REST; returns as soon as it is accepted."""
        ...

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        """Describe a job over REST."""
        ...

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return a client of a published pipeline, key included."""
        ...

    def pipelines(self) -> tuple[PipelineInfo, ...]:
        """Describe all published pipelines, by name."""
        ...

    def schedule_pipeline(self, schedule: Schedule) -> Schedule:
        """Make a schedule, or replace the one of that name; it counts from now on."""
        ...

    def unschedule_pipeline(self, name: str) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name."""
        ...

    def schedules(self, pipeline: str | None = None) -> tuple[Schedule, ...]:
        """Describe the schedules of a pipeline, or all, by name."""
        ...


def _state(status: str, reused: bool = False) -> str:
    mark, colour = MARKS.get(status, OTHER)
    shown = f"{status}, reused" if reused else status
    return f'<b style="color:{colour}">{mark} {escape(shown)}</b>'


def _duration(step: Mapping[str, Any]) -> str:
    """Return how long a step has taken, so far or in all; empty where that is not known."""
    if not step.get("started"):
        return ""
    began = datetime.fromisoformat(step["started"])
    ended = step.get("ended")
    until = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    return f"{(until - began).total_seconds():.1f}"
