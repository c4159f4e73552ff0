"""Reading an endpoint's log files: rotated ones included, several merged by time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path

__all__ = ["merged", "tail"]

LINE_START = re.compile(r"\d{4}-\d\d-\d\d ")


def merged(directory: Path, sources: Sequence[str], lines: int) -> list[str]:
    """Return the last ``lines`` lines of the logs called ``sources``, oldest first."""
    entries: list[str] = []
    for source in sources:
        entries += _entries(tail(directory / f"{source}.log", lines))
    # An entry begins with its time; as text that sorts by time.
    return "\n".join(sorted(entries, key=lambda entry: entry[:23])).splitlines()[-lines:]


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, reaching back into its rotated files."""
    kept: deque[str] = deque(maxlen=lines)
    rotated = sorted(path.parent.glob(f"{path.name}.[0-9]"), reverse=True)
    for file in [*rotated, path]:
        if file.exists():
            with file.open(encoding="utf-8", errors="replace") as text:
                kept.extend(line.rstrip("\n") for line in text)
    return list(kept)


def _entries(lines: list[str]) -> list[str]:
    """Join the lines of a traceback to the line that they belong to."""
    entries: list[str] = []
    for line in lines:
        if entries and not LINE_START.match(line):
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries
