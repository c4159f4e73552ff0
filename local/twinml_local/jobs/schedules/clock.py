"""Schedules: when a pipeline is started by itself, by cron or by interval.

Cron expressions are read as Debian's cron does (the package cronsim), in a time zone, with
its rules for the hours that summer time skips or repeats. An interval counts from the moment
that the schedule is made. What is missed is made up for as ``azureml_runner.clock`` says: by
one job, not one for each time.

A schedule with ``on_drift`` looks first. Its next time is written together with what came of
the look, so that a look which a crash cuts short is taken again, and starts one job.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from azureml_runner.clock import Clock
from twinml.errors import TwinmlError, UsageError
from twinml.platform import Schedule
from twinml_local.jobs._store import JobStore

__all__ = ["Scheduler", "check_schedule", "next_due"]

log = logging.getLogger("twinml.jobs")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
CHECK_SECONDS = 0.5
COOLDOWN = "1d"
PAUSED = " (cooling down)"
Look = Callable[[str, "str | None"], tuple[bool, str]]


def check_schedule(schedule: Schedule) -> None:
    """Raise ``UsageError`` unless the schedule says when, in one way, and can be kept.

    Examples
    --------
    >>> check_schedule(Schedule("weekly", "training", cron="0 6 * * 1"))
    >>> check_schedule(Schedule("often", "training", every="soon"))
    Traceback (most recent call last):
    twinml.errors.UsageError: every: found 'soon', expected a number and s, m, h, d or w, such as 6h
    """
    if not NAME.fullmatch(schedule.name):
        raise UsageError(
            f"schedule name {schedule.name[:80]!r} is not valid",
            hint="Use up to 64 letters, digits, '-' and '_', a letter or digit first.",
        )
    if (schedule.cron is None) == (schedule.every is None):
        raise UsageError(
            f"schedule '{schedule.name}' needs either cron or every",
            hint='Write cron "0 6 * * 1", or every 6h.',
        )
    if schedule.cooldown is not None:
        if schedule.on_drift is None:
            raise UsageError(
                f"schedule '{schedule.name}' has a cooldown but nothing to look for",
                hint="Name an endpoint: --on-drift ENDPOINT.",
            )
        _seconds(schedule.cooldown, "cooldown")
    next_due(schedule, time.time())


def next_due(schedule: Schedule, after: float, *, base: float | None = None) -> float:
    """Return when the schedule is next due, in seconds since 1970.

    Parameters
    ----------
    after
        It is later than this.
    base
        Of an interval: one of its times; by default ``after``.

    Raises
    ------
    UsageError
        It can never be, or what it says cannot be read.
    """
    if schedule.every is not None:
        seconds = _seconds(schedule.every)
        start = after if base is None else base
        return start + seconds * max(1, int((after - start) // seconds) + 1)
    try:
        zone = ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"timezone: found '{schedule.timezone[:64]}', expected a name such as Europe/Berlin"
        ) from error
    expression = schedule.cron or ""
    if len(expression.split()) != 5:
        raise UsageError(f"cron: found '{expression[:64]}', expected five fields such as 0 6 * * 1")
    try:
        times = CronSim(expression, datetime.fromtimestamp(after, zone))
        return float(next(times).astimezone(UTC).timestamp())
    except CronSimError as error:
        raise UsageError(f"cron: '{expression[:64]}' is not valid: {error}") from error
    except StopIteration:
        raise UsageError(f"cron: '{expression[:64]}' names a time that never comes") from None


def _seconds(every: str, name: str = "every") -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})\s*([smhdw])", every.strip())
    if found is None:
        raise UsageError(
            f"{name}: found '{every[:64]}', expected a number and s, m, h, d or w, such as 6h"
        )
    return int(found.group(1)) * SECONDS[found.group(2)]


class Scheduler:
    """Starts the jobs that are due, in a thread of its own; another one looks for drift.

    Parameters
    ----------
    wake
        Is called when a job was added.
    look
        Says whether the traffic of an endpoint moved since a moment, and what it saw.
    """

    def __init__(self, store: JobStore, wake: Callable[[], None], look: Look) -> None:
        self._store, self._wake, self._look = store, wake, look
        self._stopped = False
        # A look takes seconds, and what is due by the clock alone does not wait for it.
        self._clocks = [
            Clock(call, name=name, longest=CHECK_SECONDS)
            for name, call in (("schedules", self._fire_due), ("drift", self._check_due))
        ]

    def start(self) -> None:
        """Start watching the clock."""
        for clock in self._clocks:
            clock.start()

    def stop(self) -> None:
        """Stop; a look that goes on is given up, and taken again at the next start."""
        self._stopped = True
        by_time, by_drift = self._clocks
        by_drift.stop(wait=False)
        by_time.stop()

    def _fire_due(self, moment: float) -> None:
        self.fire(moment)

    def _check_due(self, moment: float) -> None:
        self.check(moment)

    def fire(self, moment: float) -> int:
        """Start what is due at ``moment`` by the clock alone; return the number of jobs."""
        return sum(
            self._fire(schedule, due, moment, None)
            for schedule, due in self._due(moment)
            if schedule.on_drift is None
        )

    def check(self, moment: float) -> int:
        """Look where a look is due, and start what has a reason; return the number of jobs."""
        return sum(
            self._check(schedule, schedule.on_drift, due, moment)
            for schedule, due in self._due(moment)
            if schedule.on_drift is not None
        )

    def _due(self, moment: float) -> list[tuple[Schedule, float]]:
        return [
            (schedule, due)
            for schedule, due in self._store.schedules()
            if schedule.enabled and due <= moment
        ]

    def _check(self, schedule: Schedule, endpoint: str, due: float, moment: float) -> bool:
        following = (due, next_due(schedule, moment, base=due))
        last = datetime.fromisoformat(schedule.last).timestamp() if schedule.last else None
        cooldown = _seconds(schedule.cooldown or COOLDOWN, "cooldown")
        if last is not None and moment < last + cooldown:
            # Not before both: the first of its times after the cool-down.
            after = next_due(schedule, last + cooldown, base=due)
            finding = f"{schedule.finding or ''}".removesuffix(PAUSED) + PAUSED
            self._store.note_finding(schedule, (due, after), finding)
            return False
        if self._store.unfinished(schedule.name):
            self._store.note_finding(schedule, following, "its last job goes on")
            return False
        try:
            # What came before the last training is what that learned from.
            moved, seen = self._look(endpoint, schedule.last)
        except TwinmlError as error:
            self._store.skip_schedule(schedule, following, error.message)
            return False
        if self._stopped:
            return False
        if not moved:
            self._store.note_finding(schedule, following, seen)
            return False
        return self._fire(schedule, due, moment, seen)

    def _fire(self, schedule: Schedule, due: float, moment: float, reason: str | None) -> bool:
        following = (due, next_due(schedule, moment, base=due))
        try:
            definition, version = self._store.definition(schedule.pipeline)
            inputs = definition.resolve(schedule.inputs)
            job = self._store.accept(
                definition, version, inputs, schedule=schedule, due=following, reason=reason
            )
        except TwinmlError as error:
            self._store.skip_schedule(schedule, following, error.message)
            log.warning("schedule %s started nothing: %s", schedule.name, error.message)
            return False
        if job is None:
            return False
        log.info("schedule %s started job %s", schedule.name, job.id)
        self._wake()
        return True
