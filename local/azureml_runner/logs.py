"""Reading an endpoint's log files from their ends.

A deployment's requests are in ``logs/DEPLOYMENT.log``, everything else in ``logs/server.log``,
each with up to three older parts. Files are read backwards, so that the last lines of a full
log cost no more than those of an empty one, and it can be asked again every second.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["last_lines", "merged"]

BLOCK = 64 * 1024
ENTRY = re.compile(r"\d{4}-\d\d-\d\d ")  # a line that begins otherwise belongs to the one above
TIME_LENGTH = 23  # of "2026-11-23 10:00:00,123", which sorts as text


def merged(directory: Path, sources: Iterable[str], lines: int) -> list[str]:
    """Return the last lines of several logs, merged by time, oldest first.

    Parameters
    ----------
    directory
        The endpoint's ``logs`` folder.
    sources
        Names of logs: deployments, and ``server``.
    lines
        At most so many, at least 1.
    """
    entries: list[str] = []
    for source in sources:
        entries += _entries(last_lines(directory / f"{source}.log", lines))
    return "\n".join(sorted(entries, key=_time)).splitlines()[-lines:]


def last_lines(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, reaching back into its rotated parts.

    Parameters
    ----------
    path
        The log; it need not exist.
    lines
        At most so many.
    """
    found: list[str] = []
    for part in [path, *sorted(path.parent.glob(f"{path.name}.[0-9]"))]:
        if len(found) >= lines:
            break
        try:
            found = _end_of(part, lines - len(found)) + found
        except FileNotFoundError:  # it was rotated just now, and is the next part
            continue
    return found


def _end_of(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END)
        end = b""
        # One more line feed than lines: the one that ends the line before.
        while left > 0 and end.count(b"\n") <= lines:
            size = min(BLOCK, left)
            left -= size
            file.seek(left)
            end = file.read(size) + end
    whole = end.decode("utf-8", errors="replace").split("\n")
    if whole[-1] == "":
        whole.pop()
    return whole[-lines:]


def _entries(lines: Iterable[str]) -> list[str]:
    entries: list[str] = []
    for line in lines:
        if entries and not ENTRY.match(line):
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries


def _time(entry: str) -> str:
    # The end of a traceback whose beginning was not asked for is older than what follows it.
    return entry[:TIME_LENGTH] if ENTRY.match(entry) else ""
