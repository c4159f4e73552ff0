"""The clock of all schedules: sleeps until one is due, fires it once, and says so on disk.

A job that is fired has a name made of its schedule and the moment, so whoever was killed
between firing and writing it down finds the job there at the next start and fires no second
one. What was missed while nothing ran stays missed, but for the last minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from azureml_emulator.arm.resources import Resource, ResourceStore
from azureml_emulator.errors import ArmError
from azureml_emulator.schedules.trigger import next_time

__all__ = ["Clock", "counted_from", "enabled", "still_stands"]

PATTERN = "*/schedules/*"
# The longest sleep: clocks are set, laptops sleep.
MOST_SECONDS = 30.0
GRACE = timedelta(seconds=60)

_log = logging.getLogger("azureml_emulator.schedules")

Fire = Callable[[Resource, datetime], None]


class Clock:
    """Fires what is due.

    Parameters
    ----------
    store
        Where the schedules are.
    fire
        Starts the job of a schedule for a moment; harmless when it is called again for the same.
    """

    def __init__(self, store: ResourceStore, fire: Fire) -> None:
        self._store, self._fire = store, fire
        self._changed = threading.Condition()
        self._closed = False
        # Kept, not only told: a change may come while the thread is looking.
        self._stale = False
        self._after: dict[str, datetime] = {}
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)

    def start(self) -> None:
        """Begin to fire."""
        self._thread.start()

    def changed(self) -> None:
        """Look at the schedules again, because one was made, changed or removed."""
        with self._changed:
            self._stale = True
            self._changed.notify()

    def close(self) -> None:
        """Stop; what is being fired is fired to its end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._stale = False
            now = datetime.now(UTC)
            upcoming = [self._step(schedule, now) for schedule in self._store.find(PATTERN)]
            due = [moment for moment in upcoming if moment is not None]
            pause = (min(due) - datetime.now(UTC)).total_seconds() if due else MOST_SECONDS
            with self._changed:
                if not (self._closed or self._stale):
                    self._changed.wait(max(0.0, min(pause, MOST_SECONDS)))

    def _step(self, schedule: Resource, now: datetime) -> datetime | None:
        """Fire a schedule for each moment that has come; return when it is due next."""
        if not enabled(schedule):
            # When it is enabled again it goes on from then.
            self._after[schedule.id] = now
            return None
        trigger = schedule.properties["trigger"]
        created = datetime.fromisoformat(schedule.created[:26] + "+00:00")
        after = counted_from(created, self._after.get(schedule.id), now)
        self._after[schedule.id] = after
        try:
            moment = next_time(trigger, after, created=created)
            while moment is not None and moment <= now:
                if not self._strike(schedule, moment):
                    return now  # to look again at once
                self._after[schedule.id] = after = moment
                moment = next_time(trigger, after, created=created)
        except ArmError as error:
            _log.warning("schedule %s: %s", schedule.name, error.message)
            return None
        return moment

    def _strike(self, schedule: Resource, moment: datetime) -> bool:
        """Fire a schedule unless it has become another one; return whether it was its turn."""
        started = time.monotonic()
        try:
            # One step: who has disabled a schedule sees no job begin afterwards.
            with self._store.transaction():
                found = self._store.get(schedule.id)
                if found is None or not still_stands(schedule, found):
                    return False
                self._fire(found, moment)
        except ArmError as error:
            _log.warning("schedule %s fired in vain: %s", schedule.name, error.message)
        except Exception:
            _log.exception("failed: schedule %s", schedule.name)
        else:
            took = time.monotonic() - started
            _log.info("schedule %s fired for %s, %.1f s", schedule.name, moment, took)
        return True


def enabled(schedule: Resource) -> bool:
    """Return whether a schedule is to fire at all."""
    properties = schedule.properties
    return bool(properties.get("isEnabled")) and properties.get("provisioningState") != "Deleting"


def still_stands(looked_at: Resource, found: Resource) -> bool:
    """Return whether the moment that a look at a schedule came to still is one of its moments.

    Parameters
    ----------
    looked_at
        The schedule that the moment was reckoned from.
    found
        What is under its id now: it may be disabled, changed, or made anew.
    """
    return (
        enabled(found)
        and found.created == looked_at.created
        and found.properties["trigger"] == looked_at.properties["trigger"]
    )


def counted_from(created: datetime, last: datetime | None, now: datetime) -> datetime:
    """Return the time after which the moments of a schedule are fired.

    Parameters
    ----------
    created
        When the schedule was made; an earlier one of its name does not count.
    last
        The last moment that this process dealt with; ``None`` at its first look.
    now
        With a time zone, as the others.
    """
    return max(created, now - GRACE if last is None else last)
