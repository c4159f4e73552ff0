"""The table of what became of the samples, as Markdown and as numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.verdict import Outcome, Verdict, verdict

__all__ = ["markdown", "rows_of", "summary"]

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
