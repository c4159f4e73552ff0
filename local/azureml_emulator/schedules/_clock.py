"""When each schedule fires next, on disk, and the clock that fires it.

A job that is fired has a name made of its schedule and the moment, so whoever was killed
between firing and writing it down finds the job there at the next start and fires no second
one. What was missed is made up for as ``azureml_runner.clock`` says: by one job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from azureml_emulator.arm.resources import Resource, ResourceStore
from azureml_emulator.errors import ArmError
from azureml_emulator.schedules._trigger import next_time
from azureml_runner.clock import Clock

__all__ = ["ScheduleClock", "enabled", "still_stands"]

PATTERN = "*/schedules/*"
LONGEST_SECONDS = 30.0

_log = logging.getLogger("azureml_emulator.schedules")

Fire = Callable[[Resource, datetime], None]


class ScheduleClock(Clock):
    """Fires what is due.

    Parameters
    ----------
    store
        Where the schedules are.
    fire
        Starts the job of a schedule for a moment; harmless when it is called again for the same.
    """

    def __init__(self, store: ResourceStore, fire: Fire) -> None:
        super().__init__(self.look, name="schedules", longest=LONGEST_SECONDS)
        self._store, self._fire = store, fire

    def look(self, now: float) -> float | None:
        """Fire what is due at ``now``, seconds since 1970; return when anything is due next."""
        upcoming = [self._step(schedule, now) for schedule in self._store.find(PATTERN)]
        return min((moment for moment in upcoming if moment is not None), default=None)

    def _step(self, schedule: Resource, now: float) -> float | None:
        if not enabled(schedule):
            return None
        known, due = self._store.due(schedule)
        if not known:
            # It was made or changed, and counts from then. What an earlier version fired since
            # then is there under its name.
            due = _following(schedule, _seconds(schedule.modified))
            self._store.set_due(schedule, due)
        if due is None or due > now:
            return due
        if not self._strike(schedule, datetime.fromtimestamp(due, UTC)):
            return now  # to look again at once
        following = _following(schedule, now)
        self._store.set_due(schedule, following)
        return following

    def _strike(self, schedule: Resource, moment: datetime) -> bool:
        """Fire a schedule unless it was changed since the look; return whether it was due."""
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
    """Return whether a schedule still has the moment at which it was found to be due.

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


def _following(schedule: Resource, after: float) -> float | None:
    """Return the first moment of a schedule after another one; ``None`` if there is none."""
    created = datetime.fromtimestamp(_seconds(schedule.created), UTC)
    moment = datetime.fromtimestamp(after, UTC)
    try:
        found = next_time(schedule.properties["trigger"], moment, created=created)
    except ArmError as error:
        _log.warning("schedule %s: %s", schedule.name, error.message)
        return None
    return None if found is None else found.timestamp()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26] + "+00:00").timestamp()
