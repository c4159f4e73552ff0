"""When a schedule is due, and that it starts a job once: on a store, with a clock of ours."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from twinml.errors import NotFound, UsageError
from twinml.platform import Schedule
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.definition.pipeline import PipelineDefinition
from twinml_local.jobs.schedules.clock import Scheduler, check_schedule, next_due

HOUR = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def due(cron: str, after: str, timezone: str = "UTC") -> float:
    return next_due(Schedule("s", "p", cron=cron, timezone=timezone), at(after))


@pytest.mark.parametrize(
    ("cron", "after", "timezone", "expected"),
    [
        ("0 6 * * 1", "2026-11-24T10:00+00:00", "UTC", "2026-11-30T06:00+00:00"),
        ("*/15 * * * *", "2026-11-24T10:15+00:00", "UTC", "2026-11-24T10:30+00:00"),
        ("0 6 * * *", "2026-11-24T10:00+00:00", "Europe/Berlin", "2026-11-25T05:00+00:00"),
        # The hour that summer time skips: at once after it, as Debian's cron does.
        ("30 2 * * *", "2026-03-28T12:00+00:00", "Europe/Berlin", "2026-03-29T01:00+00:00"),
        # The hour that comes twice: a fixed time fires in the first one only.
        ("30 2 * * *", "2026-10-24T12:00+00:00", "Europe/Berlin", "2026-10-25T00:30+00:00"),
        ("30 2 * * *", "2026-10-25T00:30+00:00", "Europe/Berlin", "2026-10-26T01:30+00:00"),
    ],
)
def test_cron_is_read_in_its_time_zone(cron, after, timezone, expected):
    assert due(cron, after, timezone) == at(expected)


def test_an_interval_keeps_its_beat():
    schedule = Schedule("s", "p", every="6h")
    assert next_due(schedule, 1000.0) == 1000.0 + 6 * HOUR
    assert next_due(schedule, 1000.0 + 20 * HOUR, base=1000.0) == 1000.0 + 24 * HOUR
    assert next_due(schedule, 1000.0 + 6 * HOUR, base=1000.0) == 1000.0 + 12 * HOUR


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Schedule("s", "p"), "needs either cron or every"),
        (Schedule("s", "p", cron="0 6 * * *", every="1d"), "needs either cron or every"),
        (Schedule("s", "p", cron="0 6 * *"), "expected five fields"),
        (Schedule("s", "p", cron="0 6 * * * *"), "expected five fields"),
        (Schedule("s", "p", cron="0 25 * * *"), "is not valid"),
        (Schedule("s", "p", cron="0 6 * * *", timezone="Mars/Base"), "expected a name such as"),
        (Schedule("s", "p", cron="0 6 * * *", timezone="../etc"), "expected a name such as"),
        (Schedule("s", "p", every="0h"), "expected a number and s, m, h, d or w"),
        (Schedule("s p", "p", every="1h"), "is not valid"),
        (Schedule("s", "p", every="1h", cooldown="1d"), "nothing to look for"),
        (Schedule("s", "p", every="1h", on_drift="e", cooldown="x"), "cooldown: found 'x'"),
    ],
)
def test_what_can_never_be_kept_is_refused(schedule, message):
    with pytest.raises(UsageError, match=message):
        check_schedule(schedule)


def no_look(endpoint: str, since: str | None) -> tuple[bool, str]:
    raise AssertionError("nothing was to be looked at")


@pytest.fixture
def held(tmp_path: Path):
    store = JobStore(tmp_path / "service.db")
    job = {"command": "true", "inputs": {"n": "${{parent.inputs.n}}"}}
    content = {"type": "pipeline", "inputs": {"n": 1}, "jobs": {"s": job}}
    store.publish(PipelineDefinition("p", content))
    yield store, Scheduler(store, lambda: None, no_look)
    store.close()


def test_a_due_schedule_starts_one_job_whoever_looks_and_however_late(held):
    store, scheduler = held
    store.put_schedule(Schedule("s", "p", every="1h", inputs={"n": 5}), 1000.0)
    assert scheduler.fire(999.0) == 0
    assert scheduler.fire(1000.0) == 1
    assert scheduler.fire(1000.0) == 0
    # Two that look at the same moment, as after a crash: one of them is too late.
    [(schedule, moment)] = store.schedules()
    assert moment == 1000.0 + HOUR
    definition, version = store.definition("p")
    due = (moment, moment + HOUR)
    inputs = {"n": 5}
    first = store.accept(definition, version, inputs, schedule=schedule, due=due)
    assert first is not None
    assert store.accept(definition, version, inputs, schedule=schedule, due=due) is None
    # Five hours late: one job, and the beat is kept.
    assert scheduler.fire(moment + 5.5 * HOUR) == 1
    assert store.schedules()[0][1] == moment + 6 * HOUR
    jobs = store.jobs("p")
    assert [(job.schedule, job.inputs) for job in jobs] == [("s", {"n": 5})] * 3


def test_a_schedule_that_cannot_start_says_why_and_goes_on(held):
    store, scheduler = held
    store.put_schedule(Schedule("s", "p", every="1h", inputs={"other": 5}), 1000.0)
    store.put_schedule(Schedule("off", "p", every="1h", enabled=False), 1000.0)
    assert scheduler.fire(2000.0) == 0
    (off, _), (schedule, moment) = store.schedules()
    assert off.next is None
    assert "there is no input 'other'" in (schedule.error or "")
    assert moment > 2000.0
    assert store.jobs("p") == []
    store.put_schedule(Schedule("s", "p", every="1h"), 3000.0)
    assert scheduler.fire(3000.0) == 1
    assert store.schedules()[1][0].error is None


def test_a_look_decides_and_its_reason_is_on_record(held):
    store, scheduler = held
    answers = iter([(False, "no drift"), (True, "age drifted"), (True, "age drifted still")])
    asked: list[tuple[str, str | None]] = []

    def look(endpoint: str, since: str | None) -> tuple[bool, str]:
        asked.append((endpoint, since))
        return next(answers)

    scheduler._look = look
    begin = time.time()
    wanted = Schedule("s", "p", every="1h", on_drift="bank", cooldown="5h")
    store.put_schedule(wanted, begin)
    assert scheduler.fire(begin) == 0, "the clock alone starts nothing"
    assert scheduler.check(begin) == 0
    assert store.schedule("p", "s").finding == "no drift"
    # Not due: nobody looks.
    assert scheduler.check(begin + 60) == 0
    assert scheduler.check(begin + HOUR) == 1
    [job] = store.jobs("p")
    assert (job.schedule, job.reason) == ("s", "age drifted")
    held_ = store.schedule("p", "s")
    assert (held_.finding, held_.last is not None) == ("age drifted", True)
    # Cooling down: no look before it is over, and then at a time of the schedule.
    assert scheduler.check(begin + 2 * HOUR) == 0
    [(_, due)] = store.schedules("p")
    assert due == begin + 6 * HOUR
    assert len(asked) == 2
    # A job of its own that has not ended is not joined by another one.
    assert scheduler.check(due) == 0
    assert store.schedule("p", "s").finding == "its last job goes on"
    running = store.claim(job.id)
    assert running is not None
    store.finish(running, "Completed")
    assert scheduler.check(due + HOUR) == 1
    assert asked == [("bank", None), ("bank", None), ("bank", held_.last)]


@pytest.mark.parametrize(("after", "looks"), [(-0.001, 0), (0.0, 1), (0.001, 1)])
def test_a_cool_down_is_over_when_its_time_has_passed(held, after, looks):
    store, scheduler = held
    asked: list[str] = []

    def look(endpoint: str, since: str | None) -> tuple[bool, str]:
        asked.append(endpoint)
        return len(asked) == 1, "seen"

    scheduler._look = look
    store.put_schedule(Schedule("s", "p", every="1s", on_drift="bank", cooldown="5h"), 1000.0)
    assert scheduler.check(1000.0) == 1
    running = store.claim(store.jobs("p")[0].id)
    store.finish(running, "Completed")
    asked[1:] = []
    last = at(store.schedule("p", "s").last)
    assert scheduler.check(last + 5 * HOUR + after) == 0
    assert len(asked) == 1 + looks


def test_what_cannot_be_looked_at_is_said_and_looked_at_again(held):
    store, scheduler = held

    def look(endpoint: str, since: str | None) -> tuple[bool, str]:
        raise NotFound("there is no endpoint 'bank'")

    scheduler._look = look
    store.put_schedule(Schedule("s", "p", every="1h", on_drift="bank"), 1000.0)
    assert scheduler.check(1000.0) == 0
    [(schedule, due)] = store.schedules("p")
    assert (schedule.error, due) == ("there is no endpoint 'bank'", 1000.0 + HOUR)


def test_a_store_of_an_earlier_version_learns_the_new_columns(tmp_path: Path):
    store = JobStore(tmp_path / "old.db")
    store.close()
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        for table, column in (("jobs", "reason"), ("schedules", "on_drift")):
            old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        old.commit()
    again = JobStore(tmp_path / "old.db")
    again.put_schedule(Schedule("s", "p", every="1h", on_drift="bank"), 1.0)
    assert again.schedule("p", "s").on_drift == "bank"
    again.close()
