"""A job as a notebook shows it: its state, and a row for each step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml.platform import PipelineJob

__all__ = ["html"]

# A mark beside the colour, for those who cannot tell the colours apart. These colours can be
# read on a light and on a dark page.
MARKS = {
    "Completed": ("✓", "#2e8b57"),
    "Running": ("▶", "#2a7fc1"),
    "Failed": ("✗", "#d1495b"),
    "Canceled": ("■", "#b8860b"),
}
OTHER = ("·", "#888888")


def html(job: PipelineJob) -> str:
    """Return a job as a fragment of HTML that needs nothing from elsewhere.

    Examples
    --------
    >>> from twinml.platform import PipelineJob
    >>> "Failed" in html(PipelineJob("0b54", "training", "Failed", error="the data is gone"))
    True
    """
    rows = "".join(
        f'<tr><td style="text-align:left">{escape(str(step["name"]))}</td>'
        f'<td style="text-align:left">{_state(str(step["status"]), bool(step.get("reused")))}</td>'
        f"<td>{_duration(step)}</td></tr>"
        for step in job.steps
    )
    table = (
        '<table><thead><tr><th style="text-align:left">step</th>'
        '<th style="text-align:left">status</th><th>seconds</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    error = f"<div>{escape(job.error)}</div>" if job.error else ""
    return (
        f"<div><div>{_state(job.status)} &nbsp;pipeline <b>{escape(job.pipeline)}</b>, "
        f"job <code>{escape(job.id)}</code></div>{error}{table}</div>"
    )


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
