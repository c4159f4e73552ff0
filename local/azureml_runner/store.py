"""Jobs in SQLite: each change is one transaction, on disk before it is reported.

A job's status only moves along these arrows, each a conditional update, so that two workers
or a worker and a cancel cannot both win::

    Queued ──claim──▶ Running ──finish──▶ Completed | Failed | Canceled
      ▲  └──cancel──▶ Canceled  │
      └─────────requeue─────────┘

The store is the queue: whoever has a worker to spare claims the oldest job that is queued.
What a job *is* stands in columns of whoever keeps such jobs, beside these.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from azureml_runner.database import Database
from azureml_runner.timestamps import utc_now

__all__ = ["ENDED", "STATUSES", "Job", "JobStore", "jobs_table"]

STATUSES = ("Queued", "Running", "Completed", "Failed", "Canceled")
ENDED = ("Completed", "Failed", "Canceled")


@dataclass(frozen=True)
class Job:
    """A job; ``attempt`` counts how often it was started."""

    id: str
    status: str
    attempt: int
    cancel_requested: bool


J = TypeVar("J", bound=Job)


def jobs_table(*columns: str) -> str:
    """Return the statements that make the table of jobs, with other columns beside."""
    own = "".join(f", {column}" for column in columns)
    return f"""
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'Queued', attempt INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL, started TEXT, ended TEXT{own});
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
"""


class JobStore(ABC, Generic[J]):
    """The jobs in one SQLite file; safe to use from several threads and processes.

    Parameters
    ----------
    database
        Has the tables of ``jobs_table``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Close the file; further calls raise."""
        self._database.close()

    @abstractmethod
    def _job(self, row: sqlite3.Row) -> J:
        """Return what a row of the table holds."""

    def add(self, job_id: str, columns: Mapping[str, Any]) -> None:
        """Store a new job as ``Queued``, with what its own columns hold."""
        names = ("id", "status", "created", *columns)
        self._database.execute(
            f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608
            (job_id, "Queued", utc_now(), *columns.values()),
        )

    def find(self, job_id: str) -> J | None:
        """Return a job, or ``None``."""
        with self._database.transaction():
            row = self._database.row("SELECT * FROM jobs WHERE id = ?", [job_id])
            return None if row is None else self._job(row)

    def running(self) -> list[J]:
        """Return the jobs that run, or ran when their process died; oldest first."""
        with self._database.transaction():
            rows = self._database.rows(
                "SELECT * FROM jobs WHERE status = 'Running' ORDER BY number"
            )
            return [self._job(row) for row in rows]

    def claim(self, job_id: str | None = None) -> J | None:
        """Take the oldest queued job, or this one, to run it; ``None`` if it is not queued."""
        with self._database.transaction():
            row = self._database.row(
                "SELECT id FROM jobs WHERE status = 'Queued' AND (? IS NULL OR id = ?) "
                "ORDER BY number LIMIT 1",
                [job_id, job_id],
            )
            if row is None:
                return None
            self._database.execute(
                "UPDATE jobs SET status = 'Running', attempt = attempt + 1, "
                "started = coalesce(started, ?) WHERE id = ?",
                [utc_now(), row["id"]],
            )
            return self.find(row["id"])

    def finish(self, job: Job, status: str) -> bool:
        """End a running job.

        Returns
        -------
        bool
            Whether this attempt was the one running; if not, nothing is changed.
        """
        changed = self._database.execute(
            "UPDATE jobs SET status = ?, ended = ? "
            "WHERE id = ? AND status = 'Running' AND attempt = ?",
            [status, utc_now(), job.id, job.attempt],
        )
        return changed == 1

    def requeue(self, job: Job, *, uncounted: bool) -> None:
        """Put a running job back; ``uncounted`` where the job is not what stopped it."""
        self._database.execute(
            "UPDATE jobs SET status = 'Queued', attempt = attempt - ? "
            "WHERE id = ? AND status = 'Running' AND attempt = ?",
            [int(uncounted), job.id, job.attempt],
        )

    def cancel(self, job_id: str) -> J | None:
        """Cancel a queued job at once, request it of a running one; ``None`` if there is none."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE jobs SET cancel_requested = 1, "
                "ended = CASE status WHEN 'Queued' THEN ? ELSE ended END, "
                "status = CASE status WHEN 'Queued' THEN 'Canceled' ELSE status END "
                "WHERE id = ? AND status IN ('Queued', 'Running')",
                [utc_now(), job_id],
            )
            return self.find(job_id)
