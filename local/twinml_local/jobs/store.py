"""Definitions, jobs and schedules on disk: SQLite, each change one transaction, synced.

A job's status only moves along these arrows, each a conditional update, so that two workers
or a worker and a cancel cannot both win::

    Queued ──claim──▶ Running ──finish──▶ Completed | Failed | Canceled
      ▲  └──cancel──▶ Canceled  │
      └─────────requeue─────────┘
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound, PlatformError
from twinml.platform import Schedule
from twinml_local.jobs.record import ENDED, JobRecord, StepRecord
from twinml_local.jobs.timetable import SCHEDULES, STILL_STANDS, Timetable, as_looked_at, now

if TYPE_CHECKING:
    from twinml_local.jobs.definition import PipelineDefinition
    from twinml_local.jobs.engine import Plan, StepEvent

__all__ = ["JobEnded", "JobStore"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS definitions (
    name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    content TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (name, version));
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL, version INTEGER NOT NULL, experiment TEXT, schedule TEXT,
    status TEXT NOT NULL, inputs TEXT NOT NULL, outputs TEXT NOT NULL DEFAULT '{}',
    error TEXT, attempt INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL, started TEXT, ended TEXT,
    FOREIGN KEY (pipeline, version) REFERENCES definitions (name, version));
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, number);
CREATE INDEX IF NOT EXISTS jobs_by_pipeline ON jobs (pipeline, number);
CREATE TABLE IF NOT EXISTS steps (
    job_id TEXT NOT NULL REFERENCES jobs (id), position INTEGER NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'NotStarted',
    attempt INTEGER NOT NULL DEFAULT 0, reused INTEGER NOT NULL DEFAULT 0,
    started TEXT, ended TEXT, exit_code INTEGER, error TEXT,
    PRIMARY KEY (job_id, position), UNIQUE (job_id, name));
"""


# Columns that stores of earlier versions do not have.
ADDED = {
    "schedules": ("on_drift", "cooldown", "checked", "finding"),
    "jobs": ("reason",),
}


class JobEnded(PlatformError):
    """The job has ended, so it cannot be canceled."""

    error_code = "INVALID_STATE"
    status = 409


class JobStore(Timetable):
    """The pipelines and jobs in one SQLite file; safe to use from several threads.

    Parameters
    ----------
    path
        The file; made, with its folder, if it is missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # FULL: in WAL mode, too, a commit is on disk before we answer "accepted".
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self._transaction() as cursor:
            for statement in (SCHEMA + SCHEDULES).split(";"):
                cursor.execute(statement)
            for table, columns in ADDED.items():
                held = {row["name"] for row in cursor.execute(f"PRAGMA table_info({table})")}
                for column in columns:
                    if column not in held:
                        cursor.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")

    def close(self) -> None:
        """Close the file; further calls raise."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    # --- definitions -------------------------------------------------------------------

    def publish(self, definition: PipelineDefinition) -> int:
        """Store ``definition`` and return its version; the newest one's if it is unchanged."""
        with self._transaction() as cursor:
            newest = cursor.execute(
                "SELECT version, digest FROM definitions WHERE name = ? "
                "ORDER BY version DESC LIMIT 1",
                (definition.name,),
            ).fetchone()
            if newest is not None and newest["digest"] == definition.digest:
                return int(newest["version"])
            version = 1 if newest is None else int(newest["version"]) + 1
            content = json.dumps(definition.content, default=str)
            cursor.execute(
                "INSERT INTO definitions VALUES (?, ?, ?, ?, ?)",
                (definition.name, version, definition.digest, content, now()),
            )
            return version

    def definition(self, name: str, version: int | None = None) -> tuple[PipelineDefinition, int]:
        """Return a pipeline and its version, the newest by default.

        Raises
        ------
        NotFound
            No pipeline of that name, or version, is published.
        """
        query = "SELECT content, version FROM definitions WHERE name = ?"
        with self._transaction() as cursor:
            if version is None:
                row = cursor.execute(f"{query} ORDER BY version DESC LIMIT 1", (name,)).fetchone()
            else:
                row = cursor.execute(f"{query} AND version = ?", (name, version)).fetchone()
        if row is None:
            raise NotFound(
                f"there is no pipeline '{name[:64]}'",
                hint=f"Published: {', '.join(self.names()) or 'none'}.",
            )
        from twinml_local.jobs.definition import PipelineDefinition

        return PipelineDefinition(name, json.loads(row["content"])), int(row["version"])

    def names(self) -> list[str]:
        """Return the names of the published pipelines, sorted."""
        with self._transaction() as cursor:
            rows = cursor.execute("SELECT DISTINCT name FROM definitions ORDER BY name")
            return [row["name"] for row in rows]

    def versions(self) -> dict[str, int]:
        """Return the newest version of each published pipeline, by name."""
        with self._transaction() as cursor:
            rows = cursor.execute(
                "SELECT name, MAX(version) AS newest FROM definitions GROUP BY name ORDER BY name"
            )
            return {row["name"]: int(row["newest"]) for row in rows}

    # --- jobs --------------------------------------------------------------------------

    def accept(
        self,
        definition: PipelineDefinition,
        version: int,
        inputs: Mapping[str, Any],
        *,
        experiment: str | None = None,
        schedule: Schedule | None = None,
        due: tuple[float, float] | None = None,
        reason: str | None = None,
    ) -> JobRecord | None:
        """Store a new job as ``Queued``; once this returns it is on disk.

        Parameters
        ----------
        inputs
            As ``definition.resolve`` returned them.
        schedule, due
            Where a schedule starts it: the time that it was due, and the next. Both are
            written in the job's transaction, and only if the schedule still is as it was
            read, enabled and due then; else ``None`` is returned. So a schedule fires once,
            whatever crashes, and not after somebody disabled or changed it.
        reason
            Why it was started, where a trigger had one.
        """
        job_id = uuid.uuid4().hex
        plan = definition.plan(inputs)
        with self._transaction() as cursor:
            if schedule is not None and due is not None:
                cursor.execute(
                    "UPDATE schedules SET next = :after, last = :now, error = NULL, "  # noqa: S608
                    "checked = CASE WHEN on_drift IS NULL THEN NULL ELSE :now END, "
                    f"finding = :reason WHERE {STILL_STANDS}",
                    {**as_looked_at(schedule, due), "now": now(), "reason": reason},
                )
                if cursor.rowcount != 1:
                    return None
            cursor.execute(
                "INSERT INTO jobs "
                "(id, pipeline, version, experiment, schedule, status, inputs, created, reason) "
                "VALUES (?, ?, ?, ?, ?, 'Queued', ?, ?, ?)",
                (
                    job_id,
                    definition.name,
                    version,
                    experiment,
                    schedule.name if schedule else None,
                    json.dumps(inputs),
                    now(),
                    reason,
                ),
            )
            cursor.executemany(
                "INSERT INTO steps (job_id, position, name, kind) VALUES (?, ?, ?, ?)",
                [(job_id, number, *step) for number, step in enumerate(_listed(plan))],
            )
            return _job(cursor, job_id)

    def job(self, pipeline: str, job_id: str) -> JobRecord:
        """Return a job; ``NotFound`` if the pipeline has no such job."""
        with self._transaction() as cursor:
            row = cursor.execute(
                "SELECT id FROM jobs WHERE id = ? AND pipeline = ?", (job_id, pipeline)
            ).fetchone()
            if row is None:
                raise NotFound(
                    f"pipeline '{pipeline}' has no job '{job_id[:64]}'",
                    hint="List its jobs: twinml pipeline list.",
                )
            return _job(cursor, job_id)

    def jobs(
        self,
        pipeline: str | None = None,
        *,
        status: str | None = None,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> list[JobRecord]:
        """Return jobs, of one pipeline or all, of one status or all."""
        query = (
            "SELECT id FROM jobs WHERE (:pipeline IS NULL OR pipeline = :pipeline) "
            "AND (:status IS NULL OR status = :status) ORDER BY number * :direction LIMIT :limit"
        )
        values = {
            "pipeline": pipeline,
            "status": status,
            "direction": -1 if newest_first else 1,
            "limit": -1 if limit is None else limit,
        }
        with self._transaction() as cursor:
            found = cursor.execute(query, values).fetchall()
            return [_job(cursor, row["id"]) for row in found]

    def claim(self, job_id: str) -> JobRecord | None:
        """Take a queued job to run it; ``None`` if it is not queued, so taken or canceled."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET status = 'Running', attempt = attempt + 1, "
                "started = coalesce(started, ?) WHERE id = ? AND status = 'Queued'",
                (now(), job_id),
            )
            return _job(cursor, job_id) if cursor.rowcount == 1 else None

    def step_changed(self, job: JobRecord, event: StepEvent) -> None:
        """Record where a step is."""
        ended = now() if event.status in ENDED else None
        started = None if event.status == "NotStarted" else now()
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE steps SET status = :status, attempt = :attempt, reused = :reused, "
                "started = CASE WHEN :started IS NULL THEN NULL "
                "ELSE coalesce(started, :started) END, "
                "ended = :ended, exit_code = :exit_code, error = :error "
                "WHERE job_id = :job AND name = :name",
                {
                    "status": event.status,
                    "attempt": event.attempt,
                    "reused": int(event.reused),
                    "started": started,
                    "ended": ended,
                    "exit_code": event.exit_code,
                    "error": event.error,
                    "job": job.id,
                    "name": event.name,
                },
            )

    def finish(
        self,
        job: JobRecord,
        status: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """End a running job.

        Returns
        -------
        bool
            Whether this attempt was the one running; if not, nothing is changed.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET status = ?, outputs = ?, error = ?, ended = ? "
                "WHERE id = ? AND status = 'Running' AND attempt = ?",
                (status, json.dumps(outputs or {}), error, now(), job.id, job.attempt),
            )
            if cursor.rowcount != 1:
                return False
            cursor.execute(
                "UPDATE steps SET status = ?, ended = ? WHERE job_id = ? AND status = 'Running'",
                ("Canceled" if status == "Completed" else status, now(), job.id),
            )
            return True

    def requeue(self, job: JobRecord, *, uncounted: bool) -> None:
        """Put a running job back, unless another attempt is at it or it has ended.

        Parameters
        ----------
        uncounted
            The service was told to end, which is not the job's doing: the next attempt has
            the same number. A crash may be the job's doing, and counts.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET status = 'Queued', attempt = attempt - ? "
                "WHERE id = ? AND status = 'Running' AND attempt = ?",
                (int(uncounted), job.id, job.attempt),
            )

    def request_cancel(self, pipeline: str, job_id: str) -> JobRecord:
        """Cancel a queued job at once, and note the wish for a running one.

        Raises
        ------
        NotFound
            There is no such job.
        JobEnded
            It has completed or failed.
        """
        self.job(pipeline, job_id)
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET cancel_requested = 1, "
                "ended = CASE status WHEN 'Queued' THEN ? ELSE ended END, "
                "status = CASE status WHEN 'Queued' THEN 'Canceled' ELSE status END "
                "WHERE id = ? AND status IN ('Queued', 'Running')",
                (now(), job_id),
            )
            job = _job(cursor, job_id)
        if job.status in ENDED and job.status != "Canceled":
            raise JobEnded(f"job '{job_id}' is {job.status}: it cannot be canceled")
        return job

    def forget_outputs(self, job_ids: Iterable[str]) -> None:
        """Note that the files of ended jobs are gone."""
        with self._transaction() as cursor:
            cursor.executemany(
                "UPDATE jobs SET outputs = '{}' WHERE id = ?", [(each,) for each in job_ids]
            )

    def unfinished(self, schedule: str) -> bool:
        """Whether a job that the schedule started has not ended."""
        with self._transaction() as cursor:
            found = cursor.execute(
                "SELECT 1 FROM jobs WHERE schedule = ? AND status IN ('Queued', 'Running')",
                (schedule,),
            ).fetchone()
        return found is not None

    # --- the wish to cancel ------------------------------------------------------------

    def cancel_requested(self, job_id: str) -> bool:
        """Whether somebody asked to cancel the job."""
        with self._transaction() as cursor:
            return _job(cursor, job_id).cancel_requested


def _listed(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield name and kind of steps and of the pipelines that hold them, in order."""
    told: set[str] = set()
    for step in plan.steps:
        for group, members in plan.groups.items():
            if step.name in members and group not in told:
                told.add(group)
                yield group, "pipeline"
        yield step.name, getattr(step.node, "kind", "command")


def _job(cursor: sqlite3.Cursor, job_id: str) -> JobRecord:
    row = cursor.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    steps = cursor.execute(
        "SELECT position, name, kind, status, attempt, reused, started, ended, exit_code, error "
        "FROM steps WHERE job_id = ? ORDER BY position",
        (job_id,),
    )
    return JobRecord(
        id=row["id"],
        pipeline=row["pipeline"],
        version=row["version"],
        experiment=row["experiment"],
        schedule=row["schedule"],
        reason=row["reason"],
        status=row["status"],
        inputs=json.loads(row["inputs"]),
        outputs=json.loads(row["outputs"]),
        error=row["error"],
        attempt=row["attempt"],
        cancel_requested=bool(row["cancel_requested"]),
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        steps=tuple(StepRecord(**{**dict(step), "reused": bool(step["reused"])}) for step in steps),
    )
