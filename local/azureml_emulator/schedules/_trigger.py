"""When a schedule's trigger fires next: cron expressions and recurrences, in any time zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from dateutil import rrule
from tzlocal.windows_tz import win_tz

from azureml_emulator.errors import ArmError

__all__ = ["check", "next_time"]

FREQUENCIES: Mapping[str, Literal[1, 2, 3, 4, 5]] = {
    "minute": rrule.MINUTELY, "hour": rrule.HOURLY, "day": rrule.DAILY, "week": rrule.WEEKLY,
    "month": rrule.MONTHLY,
}  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CRON_FIELDS = 5
_SOON = timedelta(microseconds=1)


def check(trigger: Mapping[str, Any]) -> None:
    """Raise ``ArmError`` unless a trigger can be understood."""
    next_time(trigger, datetime.now(UTC), created=datetime.now(UTC))


def next_time(trigger: Mapping[str, Any], after: datetime, *, created: datetime) -> datetime | None:
    """Return the first moment after another one at which a trigger fires.

    Parameters
    ----------
    trigger
        As in the body of a schedule: ``triggerType``, ``timeZone`` (a Windows name, or IANA's),
        ``startTime``, ``endTime``, and ``expression`` or ``frequency``, ``interval`` and
        ``schedule``.
    after
        With a time zone.
    created
        When a recurrence begins that has no ``startTime``.

    Returns
    -------
    datetime or None
        In UTC; ``None`` if it never fires again.

    Raises
    ------
    ArmError
        The trigger cannot be understood.

    Examples
    --------
    >>> noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    >>> weekly = {"triggerType": "Cron", "expression": "0 3 * * 1", "timeZone": "UTC"}
    >>> next_time(weekly, noon, created=noon).isoformat()
    '2026-07-06T03:00:00+00:00'
    """
    zone = _zone(str(trigger.get("timeZone") or "UTC"))
    start, end = (_moment(trigger.get(name), name, zone) for name in ("startTime", "endTime"))
    kind = trigger.get("triggerType")
    if kind == "Cron":
        # The start itself may be a moment at which it fires.
        found = _next_of_cron(trigger, max(after, start - _SOON) if start else after, zone)
    elif kind == "Recurrence":
        found = _next_of_recurrence(trigger, after, (start or created).astimezone(zone))
    else:
        raise ArmError(400, "ValidationError", f"triggerType is '{kind}', not Cron or Recurrence.")
    if found is None or (end is not None and found > end):
        return None
    return found.astimezone(UTC)


def _next_of_cron(trigger: Mapping[str, Any], after: datetime, zone: tzinfo) -> datetime | None:
    expression = str(trigger.get("expression") or "")
    try:
        # The library reads seconds, too; the service does not.
        if len(expression.split()) != CRON_FIELDS:
            raise CronSimError(f"it has {len(expression.split())} fields, not {CRON_FIELDS}")
        return next(CronSim(expression, after.astimezone(zone)), None)
    except CronSimError as error:
        raise ArmError(
            400, "ValidationError", f"'{expression}' is not a cron expression: {error}."
        ) from error


def _next_of_recurrence(
    trigger: Mapping[str, Any], after: datetime, start: datetime
) -> datetime | None:
    word = str(trigger.get("frequency") or "").lower()
    if word not in FREQUENCIES:
        known = ", ".join(FREQUENCIES)
        raise ArmError(400, "ValidationError", f"frequency is '{word}', not one of {known}.")
    interval = trigger.get("interval")
    if not isinstance(interval, int) or interval < 1:
        raise ArmError(400, "ValidationError", f"interval is {interval!r}, not 1 or more.")
    zone = start.tzinfo
    if word in ("minute", "hour"):
        # Every so many minutes, whatever clocks do in between.
        step = timedelta(**{f"{word}s": interval})
        return start + max(0, (after - start) // step + 1) * step
    chosen = trigger.get("schedule") or {}
    if chosen:
        begin = start.replace(tzinfo=None)
        days = [str(day).lower() for day in chosen.get("weekDays") or []]
        unknown = [day for day in days if day not in WEEKDAYS]
        if unknown:
            raise ArmError(400, "ValidationError", f"'{unknown[0]}' is not a day of the week.")
        rule = rrule.rrule(
            FREQUENCIES[word],
            dtstart=begin,
            interval=interval,
            byhour=_numbers(chosen, "hours", 23),
            byminute=_numbers(chosen, "minutes", 59),
            bysecond=0,
            byweekday=[WEEKDAYS.index(day) for day in days] or None,
            bymonthday=_numbers(chosen, "monthDays", 31) or None,
        )
    else:
        rule = rrule.rrule(FREQUENCIES[word], dtstart=start.replace(tzinfo=None), interval=interval)
    # By the clock on the wall: nine o'clock stays nine o'clock in summer.
    naive = _found(rule.after(after.astimezone(zone).replace(tzinfo=None)))
    return None if naive is None else naive.replace(tzinfo=zone)


def _found(moment: Any) -> datetime | None:
    return moment if isinstance(moment, datetime) else None


def _numbers(chosen: Mapping[str, Any], name: str, most: int) -> list[int] | None:
    values = chosen.get(name)
    if values is None:
        return None
    numbers = values if isinstance(values, list) else [values]
    if not all(isinstance(value, int) and 0 <= value <= most for value in numbers):
        raise ArmError(400, "ValidationError", f"{name} is {values!r}, not numbers up to {most}.")
    return numbers


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(win_tz.get(name, name))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ArmError(400, "ValidationError", f"There is no time zone '{name}'.") from error


def _moment(value: Any, name: str, zone: tzinfo) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError as error:
        raise ArmError(400, "ValidationError", f"{name} is '{value}', not a time.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
