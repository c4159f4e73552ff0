"""Which state of the code a site runs: an upgrade leaves the old one in a process that goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import azureml_runner
import twinml
import twinml_local

__all__ = ["changed_since_start", "mark", "mark_of"]

KINDS = (".py", ".j2", ".css", ".js")
# Hundreds of files are looked at: not for every page.
EVERY_SECONDS = 5.0


def mark_of(folders: Iterable[Path]) -> str:
    """Return what changes when a file of the code below ``folders`` does: by size and time."""
    seen = sha256()
    for folder in folders:
        for place, names, files in os.walk(folder):
            names.sort()
            for name in sorted(files):
                if not name.endswith(KINDS):
                    continue
                with suppress(FileNotFoundError):  # in the middle of an upgrade
                    found = os.stat(os.path.join(place, name))
                    seen.update(f"{place}/{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return seen.hexdigest()[:16]


def mark() -> str:
    """Return the mark of the code as it is on the disk now."""
    return mark_of(
        Path(str(package.__file__)).parent for package in (azureml_runner, twinml, twinml_local)
    )


def changed_since_start(
    *, look: Callable[[], str] = mark, clock: Callable[[], float] = time.monotonic
) -> Callable[[], bool]:
    """Return what tells whether the code is another than now, looked at every few seconds.

    Examples
    --------
    >>> marks, times = iter("aab"), iter([0, 1, 5, 6, 10])
    >>> changed = changed_since_start(look=lambda: next(marks), clock=lambda: next(times))
    >>> [changed() for _ in range(4)]
    [False, False, False, True]
    """
    first, looked, changed = look(), clock(), False

    def tell() -> bool:
        nonlocal looked, changed
        now = clock()
        if not changed and now - looked >= EVERY_SECONDS:
            looked, changed = now, look() != first
        return changed

    return tell
