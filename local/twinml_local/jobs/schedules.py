"""Schedules: when a pipeline is started by itself, by cron or by interval.

Cron expressions are read as Debian's cron does (the package cronsim), in a time zone, with
its rules for the hours that summer time skips or repeats. An interval counts from the moment
that the schedule is made. What is missed while the service is down is made up for by one
job, not one for each time.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from twinml.errors import TwinmlError, UsageError
from twinml.platform import Schedule
from twinml_local.jobs.queue import JobQueue
from twinml_local.jobs.store import JobStore

__all__ = ["Scheduler", "check_schedule", "next_due"]

log = logging.getLogger("twinml.jobs")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
CHECK_SECONDS = 0.5


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


def _seconds(every: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})\s*([smhdw])", every.strip())
    if found is None:
        raise UsageError(
            f"every: found '{every[:64]}', expected a number and s, m, h, d or w, such as 6h"
        )
    return int(found.group(1)) * SECONDS[found.group(2)]


class Scheduler:
    """Starts the jobs that are due, in a thread of its own."""

    def __init__(self, store: JobStore, queue: JobQueue) -> None:
        self._store, self._queue = store, queue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="schedules", daemon=True)

    def start(self) -> None:
        """Start watching the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and return once it has."""
        self._stop.set()
        self._thread.join()

    def fire(self, moment: float) -> int:
        """Start what is due at ``moment``; return the number of jobs."""
        started = 0
        for schedule, due in self._store.schedules():
            if schedule.enabled and due <= moment:
                started += self._fire(schedule, due, moment)
        return started

    def _fire(self, schedule: Schedule, due: float, moment: float) -> bool:
        following = (due, next_due(schedule, moment, base=due))
        try:
            definition, version = self._store.definition(schedule.pipeline)
            inputs = definition.resolve(schedule.inputs)
            job = self._store.accept(definition, version, inputs, schedule=schedule, due=following)
        except TwinmlError as error:
            self._store.skip_schedule(schedule.name, following, error.message)
            log.warning("schedule %s started nothing: %s", schedule.name, error.message)
            return False
        if job is None:
            return False
        log.info("schedule %s started job %s", schedule.name, job.id)
        try:
            self._queue.put(job.id)
        except Exception:
            log.exception("job %s is stored but could not be queued", job.id)
        return True

    def _watch(self) -> None:
        while not self._stop.wait(CHECK_SECONDS):
            try:
                self.fire(time.time())
            except Exception:
                log.exception("the schedules could not be looked at")
