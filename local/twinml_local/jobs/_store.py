"""Definitions, jobs and schedules on disk: SQLite, each change one transaction, synced."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_runner import store
from azureml_runner.database import Database
from azureml_runner.store import ENDED, Job, jobs_table
from azureml_runner.timestamps import utc_now
from twinml.errors import NotFound, PlatformError
from twinml.platform import Schedule
from twinml_local.jobs._job import JobRecord, StepRecord
from twinml_local.jobs._schedule_store import (
    SCHEDULES,
    STILL_STANDS,
    ScheduleStore,
    as_looked_at,
)

if TYPE_CHECKING:
    from azureml_runner.engine import Plan, StepEvent
    from twinml_local.jobs.definition.pipeline import PipelineDefinition

__all__ = ["JobEnded", "JobStore"]

DEFINITIONS = """
CREATE TABLE IF NOT EXISTS definitions (
    name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    content TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY (name, version));
"""
JOBS = jobs_table(
    *("pipeline TEXT NOT NULL", "version INTEGER NOT NULL", "experiment TEXT", "schedule TEXT"),
    *("inputs TEXT NOT NULL", "outputs TEXT NOT NULL DEFAULT '{}'", "error TEXT"),
    "FOREIGN KEY (pipeline, version) REFERENCES definitions (name, version)",
)
STEPS = """
CREATE INDEX IF NOT EXISTS jobs_by_pipeline ON jobs (pipeline, number);
CREATE TABLE IF NOT EXISTS steps (
    job_id TEXT NOT NULL REFERENCES jobs (id), position INTEGER NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'NotStarted',
    attempt INTEGER NOT NULL DEFAULT 0, reused INTEGER NOT NULL DEFAULT 0,
    started TEXT, ended TEXT, exit_code INTEGER, error TEXT,
    PRIMARY KEY (job_id, position), UNIQUE (job_id, name));
"""


class JobEnded(PlatformError):
    """The job has ended, so it cannot be canceled."""

    error_code = "INVALID_STATE"
    status = 409


class JobStore(store.JobStore[JobRecord], ScheduleStore):
    """The pipelines and jobs in one SQLite file; safe to use from several threads.

    Parameters
    ----------
    path
        The file; made, with its folder, if it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(Database(path, DEFINITIONS + JOBS + STEPS + SCHEDULES))
        # Files of earlier versions do not have these.
        self._database.add_columns("schedules", "on_drift", "cooldown", "checked", "finding")
        self._database.add_columns("jobs", "reason")

    # --- definitions -------------------------------------------------------------------

    def publish(self, definition: PipelineDefinition) -> int:
        """Store ``definition`` and return its version; the newest one's if it is unchanged."""
        with self._database.transaction():
            newest = self._database.row(
                "SELECT version, digest FROM definitions WHERE name = ? "
                "ORDER BY version DESC LIMIT 1",
                [definition.name],
            )
            if newest is not None and newest["digest"] == definition.digest:
                return int(newest["version"])
            version = 1 if newest is None else int(newest["version"]) + 1
            content = json.dumps(definition.content, default=str)
            self._database.execute(
                "INSERT INTO definitions VALUES (?, ?, ?, ?, ?)",
                [definition.name, version, definition.digest, content, utc_now()],
            )
            return version

    def definition(self, name: str, version: int | None = None) -> tuple[PipelineDefinition, int]:
        """Return a pipeline and its version, the newest by default.

        Raises
        ------
        NotFound
            No pipeline of that name, or version, is published.
        """
        row = self._database.row(
            "SELECT content, version FROM definitions "
            "WHERE name = ? AND (? IS NULL OR version = ?) ORDER BY version DESC LIMIT 1",
            [name, version, version],
        )
        if row is None:
            raise NotFound(
                f"there is no pipeline '{name[:64]}'",
                hint=f"Published: {', '.join(self.names()) or 'none'}.",
            )
        from twinml_local.jobs.definition.pipeline import PipelineDefinition

        return PipelineDefinition(name, json.loads(row["content"])), int(row["version"])

    def names(self) -> list[str]:
        """Return the names of the published pipelines, sorted."""
        rows = self._database.rows("SELECT DISTINCT name FROM definitions ORDER BY name")
        return [row["name"] for row in rows]

    def versions(self) -> dict[str, int]:
        """Return the newest version of each published pipeline, by name."""
        rows = self._database.rows(
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
        with self._database.transaction():
            if schedule is not None and due is not None:
                moved = self._database.execute(
                    "UPDATE schedules SET next = :after, last = :now, error = NULL, "  # noqa: S608
                    "checked = CASE WHEN on_drift IS NULL THEN NULL ELSE :now END, "
                    f"finding = :reason WHERE {STILL_STANDS}",
                    {**as_looked_at(schedule, due), "now": utc_now(), "reason": reason},
                )
                if moved != 1:
                    return None
            columns = {
                "pipeline": definition.name,
                "version": version,
                "experiment": experiment,
                "schedule": schedule.name if schedule else None,
                "inputs": json.dumps(inputs),
                "reason": reason,
            }
            self.add(job_id, columns)
            for number, step in enumerate(_listed(plan)):
                self._database.execute(
                    "INSERT INTO steps (job_id, position, name, kind) VALUES (?, ?, ?, ?)",
                    [job_id, number, *step],
                )
            return self.find(job_id)

    def job(self, pipeline: str, job_id: str) -> JobRecord:
        """Return a job; ``NotFound`` if the pipeline has no such job."""
        found = self.find(job_id)
        if found is None or found.pipeline != pipeline:
            raise NotFound(
                f"pipeline '{pipeline}' has no job '{job_id[:64]}'",
                hint="List its jobs: twinml pipeline list.",
            )
        return found

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
            "SELECT * FROM jobs WHERE (:pipeline IS NULL OR pipeline = :pipeline) "
            "AND (:status IS NULL OR status = :status) ORDER BY number * :direction LIMIT :limit"
        )
        values = {
            "pipeline": pipeline,
            "status": status,
            "direction": -1 if newest_first else 1,
            "limit": -1 if limit is None else limit,
        }
        with self._database.transaction():
            return [self._job(row) for row in self._database.rows(query, values)]

    def step_changed(self, job: JobRecord, event: StepEvent) -> None:
        """Record where a step is."""
        ended = utc_now() if event.status in ENDED else None
        started = None if event.status == "NotStarted" else utc_now()
        self._database.execute(
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
        job: Job,
        status: str,
        *,
        outputs: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """End a running job, with what it made or why it failed, and its steps."""
        with self._database.transaction():
            if not super().finish(job, status):
                return False
            self._database.execute(
                "UPDATE jobs SET outputs = ?, error = ? WHERE id = ?",
                [json.dumps(outputs or {}), error, job.id],
            )
            self._database.execute(
                "UPDATE steps SET status = ?, ended = ? WHERE job_id = ? AND status = 'Running'",
                ["Canceled" if status == "Completed" else status, utc_now(), job.id],
            )
            return True

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
        job = self.cancel(job_id)
        assert job is not None
        if job.status in ENDED and job.status != "Canceled":
            raise JobEnded(f"job '{job_id}' is {job.status}: it cannot be canceled")
        return job

    def forget_outputs(self, job_ids: Iterable[str]) -> None:
        """Note that the files of ended jobs are gone."""
        with self._database.transaction():
            for each in job_ids:
                self._database.execute("UPDATE jobs SET outputs = '{}' WHERE id = ?", [each])

    def unfinished(self, schedule: str) -> bool:
        """Whether a job that the schedule started has not ended."""
        found = self._database.row(
            "SELECT 1 FROM jobs WHERE schedule = ? AND status IN ('Queued', 'Running')",
            [schedule],
        )
        return found is not None

    def _job(self, row: sqlite3.Row) -> JobRecord:
        steps = self._database.rows(
            "SELECT position, name, kind, status, attempt, reused, started, ended, exit_code, "
            "error FROM steps WHERE job_id = ? ORDER BY position",
            [row["id"]],
        )
        columns = {name: row[name] for name in row.keys() if name != "number"}  # noqa: SIM118
        return JobRecord(
            **{
                **columns,
                "inputs": json.loads(row["inputs"]),
                "outputs": json.loads(row["outputs"]),
                "cancel_requested": bool(row["cancel_requested"]),
            },
            steps=tuple(StepRecord(**{**step, "reused": bool(step["reused"])}) for step in steps),
        )


def _listed(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield name and kind of steps and of the pipelines that hold them, in order."""
    told: set[str] = set()
    for step in plan.steps:
        for group, members in plan.groups.items():
            if step.name in members and group not in told:
                told.add(group)
                yield group, "pipeline"
        yield step.name, getattr(step.node, "kind", "command")
