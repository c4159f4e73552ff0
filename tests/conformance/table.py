"""The table of what became of the samples, as Markdown and as numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.verdict import Outcome, Verdict, verdict

__all__ = [
    "markdown",
    "notebooks_of",
    "rows_of",
    "runs_markdown",
    "runs_of",
    "summary",
]

Row = Mapping[str, Any]


def rows_of(path: Path) -> list[Row]:
    """Return the lines of a record, none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def summary(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Return the number of samples of each verdict, by kind."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["kind"], Counter())[verdict(Outcome.of(row)).value] += 1
    return {kind: dict(count) for kind, count in counts.items()}


def markdown(rows: Sequence[Row]) -> str:
    """Return the table of ``summary``, its sum, and what was refused wrongly or misleadingly."""
    counts = summary(rows)
    total = Counter(verdict(Outcome.of(row)).value for row in rows)
    verdicts = [each.value for each in Verdict]
    lines = [
        "| samples | " + " | ".join(verdicts) + " |",
        "|---|" + "---:|" * len(verdicts),
        *(
            f"| {kind} | " + " | ".join(str(count.get(name, "")) for name in verdicts) + " |"
            for kind, count in counts.items()
        ),
        "| **all** | " + " | ".join(f"**{total[name]}**" for name in verdicts) + " |",
        "",
    ]
    for name in (Verdict.WRONG, Verdict.MISLEADING):
        lines += [
            f"- {name.value}: `{row['path']}`: {' '.join(row['message'].split())[:160]}"
            for row in rows
            if verdict(Outcome.of(row)) is name
        ]
    return "\n".join(lines) + "\n"


def runs_of(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many jobs ended how."""
    return dict(Counter(row["status_of_run"] or "refused" for row in rows))


def notebooks_of(rows: Iterable[Row]) -> dict[str, list[int]]:
    """Return how many cells of each notebook ran, and how many there are."""
    return {row["path"]: [row["done"], row["cells"]] for row in rows}


def runs_markdown(jobs: Sequence[Row], notebooks: Sequence[Row]) -> str:
    """Return how jobs and notebooks ended; those that did not complete with their reasons."""
    lines = []
    if jobs:
        counts = ", ".join(f"{count} {status}" for status, count in runs_of(jobs).items())
        lines += ["", f"Of {len(jobs)} jobs that were run: {counts}.", ""]
        lines += [
            f"- {row['status_of_run'] or 'refused'}: `{row['path']}`: "
            f"{' '.join(row['message'].split())[:200]}"
            for row in jobs
            if row["status_of_run"] != "Completed"
        ]
    if notebooks:
        lines += ["", "| notebook | cells | ended by |", "|---|---:|---|"]
        lines += [
            f"| {row['path']} | {row['done']} of {row['cells']} | "
            f"{' '.join(row['error'].split())[:200].replace('|', '/')} |"
            for row in notebooks
        ]
    return "\n".join(lines) + "\n" if lines else ""
