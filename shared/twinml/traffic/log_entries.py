"""Entries of an endpoint's log: a line with a time, and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["entries", "is_failure"]

BEGINNING = re.compile(r"\d{4}-\d\d-\d\d ")
# "… E [4711] azmlinfsrv - …", or a request "… - POST /score 400 1.2ms 80".
FAILED = re.compile(r"\S+ \S+ [EC] |.* - [A-Z%0-9]+ \S+ [45]\d\d [\d.]+ms ")


def entries(lines: Iterable[str]) -> Iterator[str]:
    r"""Join the lines of a traceback to the line that they belong to.

    Lines before the first one with a time, whose beginning is cut off, are left out.

    Examples
    --------
    >>> list(entries(["end of one", "2026-11-23 10:00 E failed", "  File", "2026-11-23 I next"]))
    ['2026-11-23 10:00 E failed\n  File', '2026-11-23 I next']
    """
    entry = ""
    for line in lines:
        if BEGINNING.match(line):
            if entry:
                yield entry
            entry = line
        elif entry:
            entry += f"\n{line}"
    if entry:
        yield entry


def is_failure(entry: str) -> bool:
    """Tell whether an entry is an error or a request answered with status 400 or above.

    Examples
    --------
    >>> is_failure("2026-11-23 10:00:00,123 I [1] azmlinfsrv - POST /score 400 1.2ms 80")
    True
    >>> is_failure("2026-11-23 10:00:00,123 I [1] azmlinfsrv - POST /score 200 17.9ms 6")
    False
    """
    return FAILED.match(entry) is not None
