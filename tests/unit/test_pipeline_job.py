"""A job as a notebook shows it."""

from __future__ import annotations

import re

from twinml.platform import PipelineJob

STEPS = (
    {
        "name": "prepare",
        "status": "Completed",
        "reused": False,
        "started": "2026-11-24T15:00:00.000Z",
        "ended": "2026-11-24T15:00:02.500Z",
    },
    {"name": "train", "status": "Completed", "reused": True, "started": None, "ended": None},
    {"name": "evaluate", "status": "Failed"},  # As Azure tells it: no times.
    {"name": "deploy", "status": "NotStarted"},
)


def test_each_step_has_a_row_with_its_state_and_seconds() -> None:
    shown = PipelineJob("0b54", "training", "Failed", steps=STEPS)._repr_html_()
    assert shown.count("<tr>") == 1 + len(STEPS)
    assert "✓ Completed</b></td><td>2.5</td>" in shown
    assert "✓ Completed, reused</b></td><td></td>" in shown
    assert "✗ Failed</b></td><td></td>" in shown
    assert "· NotStarted</b></td><td></td>" in shown


def test_a_running_step_counts_on() -> None:
    step = {"name": "train", "status": "Running", "started": "2020-01-01T00:00:00+00:00"}
    shown = PipelineJob("1", "p", "Running", steps=(step,))._repr_html_()
    found = re.search(r"<td>([\d.]+)</td>", shown)
    assert found is not None
    assert float(found[1]) > 100_000_000


def test_what_others_wrote_is_text_and_not_markup() -> None:
    job = PipelineJob(
        "<i>", "<script>", "<em>", error="<img src=x>", steps=({"name": "<s>", "status": "<u>"},)
    )
    shown = job._repr_html_()
    for markup in ("<i>", "<script>", "<em>", "<img", "<s>", "<u>"):
        assert markup not in shown


def test_a_job_without_steps_has_no_table() -> None:
    assert "<table" not in PipelineJob("1", "p", "Queued")._repr_html_()
