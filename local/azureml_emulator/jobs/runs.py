"""The runs of jobs and of their children, in SQLite: what run history knows.

::

    NotStarted ─▶ Preparing ─▶ Running ─▶ Finalizing ─▶ Completed
         └────────────┴───────────┴──────────────────▶ Failed, Canceled
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azureml_emulator.arm.resources import timestamp
from azureml_runner.database import Database
from azureml_runner.store import ENDED, Job, JobStore, jobs_table

__all__ = ["JobQueue", "Run", "RunStore"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL,
    parent TEXT, root TEXT NOT NULL, kind TEXT NOT NULL, experiment TEXT NOT NULL,
    display TEXT NOT NULL, status TEXT NOT NULL, created TEXT NOT NULL, started TEXT, ended TEXT,
    details TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS runs_by_parent ON runs (parent, number);
"""


@dataclass(frozen=True)
class Run:
    """A run; ``details`` has what need not be searched for.

    Those are ``properties``, ``tags``, ``outputs`` (name → ``uri``, ``type``, ``asset``),
    ``inputs``, ``error``, ``warnings``, ``target``, ``description``, ``hidden``, ``node``.
    """

    id: str
    number: int
    workspace: str
    parent: str | None
    root: str
    kind: str
    experiment: str
    display: str
    status: str
    created: str
    started: str | None
    ended: str | None
    details: Mapping[str, Any]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED


class JobQueue(JobStore[Job]):
    """The jobs among the runs: queued, running or ended. A run's status is for clients."""

    def _job(self, row: sqlite3.Row) -> Job:
        return Job(row["id"], row["status"], row["attempt"], bool(row["cancel_requested"]))

    def adopt(self) -> None:
        """Queue the runs that have not ended and that nobody queued.

        An earlier version left those, or a crash while they were accepted.
        """
        self._database.execute(
            "INSERT OR IGNORE INTO jobs (id, created, cancel_requested)"
            " SELECT id, created, status = 'CancelRequested' FROM runs"
            " WHERE parent IS NULL AND status NOT IN (?, ?, ?) ORDER BY number",
            ENDED,
        )


class RunStore:
    """All runs of one emulator; ``jobs`` says which of them are to be worked on.

    Parameters
    ----------
    path
        The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA + jobs_table())
        self.jobs = JobQueue(self._database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside one step."""
        with self._database.transaction():
            yield

    def add(
        self,
        run: str,
        *,
        workspace: str,
        kind: str,
        experiment: str,
        display: str,
        parent: Run | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Run:
        """Add a run that has not started; one that is there stays as it is."""
        self._database.execute(
            "INSERT OR IGNORE INTO runs (id, workspace, parent, root, kind, experiment, display,"
            " status, created, details) VALUES (?, ?, ?, ?, ?, ?, ?, 'NotStarted', ?, ?)",
            [
                run, workspace, parent.id if parent else None, parent.root if parent else run,
                kind, experiment, display, timestamp(), json.dumps(dict(details or {})),
            ],
        )  # fmt: skip
        found = self.get(run)
        assert found is not None
        return found

    def get(self, run: str) -> Run | None:
        """Return a run, or ``None``."""
        row = self._database.row("SELECT * FROM runs WHERE id = ?", [run])
        return None if row is None else _run(row)

    def require(self, run: str) -> Run:
        """Return a run that is known to be there."""
        found = self.get(run)
        if found is None:
            raise LookupError(run)
        return found

    def children(self, run: str) -> list[Run]:
        """Return the runs right below one, oldest first."""
        rows = self._database.rows("SELECT * FROM runs WHERE parent = ? ORDER BY number", [run])
        return [_run(row) for row in rows]

    def unfinished(self, root: str) -> list[Run]:
        """Return the runs of a job and of all below it that have not ended."""
        rows = self._database.rows(
            "SELECT * FROM runs WHERE root = ? AND status NOT IN (?, ?, ?) ORDER BY number",
            [root, *ENDED],
        )
        return [_run(row) for row in rows]

    def set_status(self, run: str, status: str) -> bool:
        """Move a run on; one that has ended stays as it is. Returns whether it moved."""
        now = timestamp()
        changed = self._database.execute(
            "UPDATE runs SET status = ?,"
            " started = CASE WHEN ? = 'Running' AND started IS NULL THEN ? ELSE started END,"
            " ended = CASE WHEN ? IN ('Completed', 'Failed', 'Canceled') THEN ? ELSE NULL END"
            " WHERE id = ? AND status NOT IN (?, ?, ?)",
            [status, status, now, status, now, run, *ENDED],
        )
        return changed > 0

    def change(self, run: str, *, display: str | None = None, **details: Any) -> Run:
        """Change details: dictionaries are merged, ``None`` leaves one as it is."""
        with self.transaction():
            before = self.require(run)
            changed = dict(before.details)
            for name, value in details.items():
                if isinstance(value, Mapping) and isinstance(changed.get(name), Mapping):
                    changed[name] = {**changed[name], **value}
                elif value is not None:
                    changed[name] = value
            self._database.execute(
                "UPDATE runs SET details = ?, display = ? WHERE id = ?",
                [json.dumps(changed), display or before.display, run],
            )
            return self.require(run)

    def remove(self, run: str) -> None:
        """Remove a run and all below it."""
        with self.transaction():
            self._database.execute("DELETE FROM runs WHERE id = ? OR root = ?", [run, run])
            self._database.execute("DELETE FROM jobs WHERE id = ?", [run])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _run(row: Any) -> Run:
    return Run(
        id=row["id"],
        number=row["number"],
        workspace=row["workspace"],
        parent=row["parent"],
        root=row["root"],
        kind=row["kind"],
        experiment=row["experiment"],
        display=row["display"],
        status=row["status"],
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        details=json.loads(row["details"]),
    )
