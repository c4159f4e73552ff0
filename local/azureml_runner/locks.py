"""Locks among processes: a file that the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from azureml_runner.errors import RunnerError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Held", "locked"]

POLL_SECONDS = 0.02


class Held(RunnerError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, *, timeout: float | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel frees it when its holder dies.

    Parameters
    ----------
    path
        The lock file; made if it is missing, never removed.
    timeout
        Seconds to wait for another holder; ``None`` waits for as long as it takes.

    Raises
    ------
    Held
        Another process still held the lock after ``timeout``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a+b") as file:
        while not _try_lock(file.fileno()):
            if deadline is not None and time.monotonic() >= deadline:
                raise Held(
                    f"'{path.name}' is held by another process", hint="Let the other one end."
                )
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            _unlock(file.fileno())


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
