"""Keeping the cache of virtual environments bounded: what nobody has used for long is removed.

An environment that a living process has taken is never removed, nor one that is being built.
Where the system has no shared locks (Windows), nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from azureml_runner.errors import UsageError
from azureml_runner.locks import Held, locked

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["USE", "USED", "bounds", "evict", "hold"]

USE, USED = ".use", "used"
DAYS, GIGABYTES = 30.0, 20.0
_NAME = re.compile(r"[0-9a-f]{32}")
# Descriptors, not file objects: they stay open until the process ends, and that is meant.
_held: dict[Path, int] = {}


def hold(path: Path) -> None:
    """Hold the lock file ``path`` shared, as long as this process lives."""
    if fcntl is None or path in _held:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _held[path] = descriptor


def bounds() -> tuple[float, float]:
    """Return how many days and how many bytes are kept.

    Raises
    ------
    UsageError
        ``TWINML_VENVS_DAYS`` or ``TWINML_VENVS_GB`` is not a number.
    """
    return _bound("DAYS", DAYS), _bound("GB", GIGABYTES) * 1e9


def evict(directory: Path) -> list[str]:
    """Remove what is too old or too much, the longest unused first, and return the names.

    The bounds are ``TWINML_VENVS_DAYS`` and ``TWINML_VENVS_GB``.

    Raises
    ------
    UsageError
        A bound is not a number.
    """
    most_days, most_bytes = bounds()
    if fcntl is None:
        return []
    removed: list[str] = []
    with contextlib.suppress(Held), locked(directory / "evict.lock", timeout=0):
        for half in directory.glob(".*.gone"):  # of one who was killed meanwhile
            shutil.rmtree(half, ignore_errors=True)
        found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
        used = {path: _last_use(path) for path in found}
        newest_first = sorted(found, key=lambda path: used[path], reverse=True)
        total, counted = 0, set[int]()
        for path in newest_first:
            total += _size(path, counted)
            old = time.time() - used[path] > most_days * 86_400
            if (old or total > most_bytes) and _remove(path):
                removed.append(path.name)
    return removed


def _remove(path: Path) -> bool:
    """Remove an environment unless somebody works with it."""
    try:
        with (
            locked(path.with_name(f"{path.name}.lock"), timeout=0),
            path.with_name(f"{path.name}{USE}").open("a+b") as file,
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # At once: whoever comes next finds none, not half of one.
            gone = path.with_name(f".{path.name}.{uuid.uuid4().hex}.gone")
            path.rename(gone)
    except (Held, OSError):
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _last_use(path: Path) -> float:
    for file in (path / USED, path / "complete.json", path):
        with contextlib.suppress(OSError):
            return file.stat().st_mtime
    return 0.0


def _size(path: Path, counted: set[int]) -> int:
    """Return the bytes of a folder on disk; what ``counted`` has, hard links, counts once."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(folder, name))
                if found.st_ino not in counted:
                    counted.add(found.st_ino)
                    total += found.st_blocks * 512
    return total


def _bound(name: str, default: float) -> float:
    text = os.environ.get(f"TWINML_VENVS_{name}", "")
    try:
        return float(text or default)
    except ValueError:
        raise UsageError(
            f"TWINML_VENVS_{name} is '{text}', not a number", hint="Leave it unset, or give one."
        ) from None
