"""What databases and disks refuse, in words.

MLflow and SQLAlchemy wrap what SQLite, PostgreSQL and the system say; ``explained`` finds it in
the chain of an error's causes.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from twinml.errors import PlatformError, PlatformUnavailable, TwinmlError

__all__ = ["explained"]


FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would grow beyond the size that this process may write (ulimit -f)",
}
MAKE_ROOM = "Make room, or move the state folder: TWINML_HOME. What was finished before is kept."
# What SQLite says, and what that means; the first part that fits counts.
SQLITE = (
    ("database or disk is full", "the disk is full", MAKE_ROOM),
    ("disk i/o error", "the disk cannot be read or written", "Is it full, or failing?"),
    (
        "locked",
        "another process holds a database of {home}",
        "Let the other command end, then try again: twinml status says what runs.",
    ),
    (
        "readonly",
        "a database of {home} may not be written",
        "Check its permissions and its owner.",
    ),
    (
        "unable to open",
        "a database of {home} cannot be opened",
        "Check that the folder is there and may be written.",
    ),
    (
        "malformed",
        "a database of {home} is damaged",
        "Put a backup in its place, or move the file away to begin anew.",
    ),
    (
        "not a database",
        "a database of {home} is damaged: it is no SQLite file",
        "Put a backup in its place, or move the file away to begin anew.",
    ),
)


def explained(error: BaseException, home: Path) -> TwinmlError | None:
    """Return what a disk or a database refused as an error that says what to do.

    ``None`` if neither is behind ``error``. ``home`` is the state folder, for the words.
    """
    for cause in _causes(error):
        if isinstance(cause, TwinmlError):
            return cause
        found = _of_system(cause) or _of_sqlite(cause, home) or _of_server(cause)
        if found is not None:
            return found
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, each once; the cause before the circumstances."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # ``orig`` is where SQLAlchemy keeps the driver's own error.
        further = (getattr(one, "orig", None), one.__cause__, one.__context__)
        waiting += [each for each in further if isinstance(each, BaseException)]


def _of_system(error: BaseException) -> TwinmlError | None:
    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    where = f": {error.filename} cannot be written" if error.filename else ""
    return PlatformError(f"{FULL[error.errno]}{where}", hint=MAKE_ROOM)


def _of_sqlite(error: BaseException, home: Path) -> TwinmlError | None:
    if not isinstance(error, sqlite3.Error):
        return None
    said = str(error)
    for part, meaning, advice in SQLITE:
        if part in said.lower():
            return PlatformError(f"{meaning.format(home=home)} (SQLite: {said})", hint=advice)
    return None


def _of_server(error: BaseException) -> TwinmlError | None:
    if type(error).__module__.partition(".")[0] != "psycopg2":
        return None
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if type(error).__name__ == "OperationalError":
        return PlatformUnavailable(
            f"PostgreSQL cannot be reached: {said}",
            hint="Check the address in MLFLOW_TRACKING_URI, the user and whether the server runs.",
        )
    return PlatformError(
        f"PostgreSQL refused: {said}", hint="Check what its user may do, and the server's log."
    )
