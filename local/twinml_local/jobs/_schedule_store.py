"""Schedules on disk, in the store's file: when each is due, what it last did and found.

A trigger by drift is a schedule that looks first: at each of its times it compares the traffic
of an endpoint with what the champion learned from, and starts a job only if that moved.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

from azureml_runner.database import Database
from azureml_runner.timestamps import utc_now
from twinml.errors import NotFound, PlatformError
from twinml.platform import Schedule

__all__ = ["SCHEDULES", "STILL_STANDS", "NameTaken", "ScheduleStore", "as_looked_at"]

SCHEDULES = """
CREATE TABLE IF NOT EXISTS schedules (
    name TEXT PRIMARY KEY, pipeline TEXT NOT NULL, cron TEXT, every TEXT,
    timezone TEXT NOT NULL, inputs TEXT NOT NULL, enabled INTEGER NOT NULL,
    next REAL NOT NULL, last TEXT, error TEXT);
"""


# A schedule may be changed by others between a look at it and what comes of the look: only
# while it is as it was, enabled and due at the same moment, does that count.
STILL_STANDS = (
    "name = :name AND next = :due AND enabled AND pipeline = :pipeline AND cron IS :cron "
    "AND every IS :every AND timezone = :timezone AND inputs = :inputs "
    "AND on_drift IS :on_drift AND cooldown IS :cooldown"
)


def as_looked_at(schedule: Schedule, due: tuple[float, float]) -> dict[str, object]:
    """Return the values of ``STILL_STANDS``, and as ``after`` when the schedule is next due.

    Parameters
    ----------
    schedule
        As it was read.
    due
        The time that it was due then, and the next.
    """
    return {
        "name": schedule.name,
        "pipeline": schedule.pipeline,
        "cron": schedule.cron,
        "every": schedule.every,
        "timezone": schedule.timezone,
        "inputs": json.dumps(dict(schedule.inputs)),
        "on_drift": schedule.on_drift,
        "cooldown": schedule.cooldown,
        "due": due[0],
        "after": due[1],
    }


class NameTaken(PlatformError):
    """The name belongs to a schedule of another pipeline."""

    error_code = "INVALID_STATE"
    status = 409


class ScheduleStore:
    """The part of the store that knows when what is to start."""

    _database: Database

    def put_schedule(self, schedule: Schedule, due: float, *, own: bool = False) -> bool:
        """Make or replace a schedule that is next due at ``due``, seconds since 1970.

        Parameters
        ----------
        own
            Do not replace one of another pipeline.

        Returns
        -------
        bool
            Whether it is new.

        Raises
        ------
        NameTaken
            With ``own``: it would replace one of another pipeline.
        """
        with self._database.transaction():
            held = self._database.row(
                "SELECT pipeline FROM schedules WHERE name = ?", [schedule.name]
            )
            if own and held is not None and held["pipeline"] != schedule.pipeline:
                raise NameTaken(
                    f"schedule '{schedule.name}' belongs to pipeline '{held['pipeline']}'",
                    hint="Choose another name, or delete it there.",
                )
            self._database.execute(
                "INSERT INTO schedules (name, pipeline, cron, every, timezone, inputs, enabled, "
                "next, on_drift, cooldown) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET "
                "pipeline = excluded.pipeline, cron = excluded.cron, every = excluded.every, "
                "timezone = excluded.timezone, inputs = excluded.inputs, "
                "enabled = excluded.enabled, next = excluded.next, on_drift = excluded.on_drift, "
                "cooldown = excluded.cooldown, error = NULL",
                (
                    schedule.name,
                    schedule.pipeline,
                    schedule.cron,
                    schedule.every,
                    schedule.timezone,
                    json.dumps(dict(schedule.inputs)),
                    int(schedule.enabled),
                    due,
                    schedule.on_drift,
                    schedule.cooldown,
                ),
            )
            return held is None

    def delete_schedule(self, name: str, pipeline: str | None = None) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name, of that pipeline."""
        deleted = self._database.execute(
            "DELETE FROM schedules WHERE name = ? AND (? IS NULL OR pipeline = ?)",
            [name, pipeline, pipeline],
        )
        if deleted == 1:
            return
        raise NotFound(f"there is no schedule '{name[:64]}'", hint="twinml pipeline schedules")

    def schedule(self, pipeline: str, name: str) -> Schedule:
        """Return a schedule; ``NotFound`` if the pipeline has none of that name."""
        for schedule, _ in self.schedules(pipeline):
            if schedule.name == name:
                return schedule
        raise NotFound(
            f"pipeline '{pipeline}' has no schedule '{name[:64]}'",
            hint="twinml pipeline schedules",
        )

    def schedules(self, pipeline: str | None = None) -> list[tuple[Schedule, float]]:
        """Return schedules and when each is next due, by name."""
        rows = self._database.rows(
            "SELECT * FROM schedules WHERE ? IS NULL OR pipeline = ? ORDER BY name",
            [pipeline, pipeline],
        )
        return [(_schedule(row), float(row["next"])) for row in rows]

    def skip_schedule(self, schedule: Schedule, due: tuple[float, float], error: str) -> None:
        """Note that a schedule could not start a job, and when it is next due."""
        self._database.execute(
            f"UPDATE schedules SET next = :after, error = :error WHERE {STILL_STANDS}",  # noqa: S608
            {**as_looked_at(schedule, due), "error": error},
        )

    def note_finding(self, schedule: Schedule, due: tuple[float, float], finding: str) -> None:
        """Note what a trigger saw when it had nothing to start, and when it looks next."""
        self._database.execute(
            "UPDATE schedules SET next = :after, checked = :now, finding = :finding, "  # noqa: S608
            f"error = NULL WHERE {STILL_STANDS}",
            {**as_looked_at(schedule, due), "now": utc_now(), "finding": finding},
        )


def _schedule(row: sqlite3.Row) -> Schedule:
    due = datetime.fromtimestamp(row["next"], UTC).isoformat(timespec="seconds")
    enabled = bool(row["enabled"])
    return Schedule(
        name=row["name"],
        pipeline=row["pipeline"],
        cron=row["cron"],
        every=row["every"],
        timezone=row["timezone"],
        inputs=json.loads(row["inputs"]),
        enabled=enabled,
        on_drift=row["on_drift"],
        cooldown=row["cooldown"],
        next=due.replace("+00:00", "Z") if enabled else None,
        last=row["last"],
        checked=row["checked"],
        finding=row["finding"],
        error=row["error"],
    )
