"""When the emulator's clock fires a schedule: on a real store, with a clock of ours."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from azureml_emulator.arm.resources import Resource, ResourceStore
from azureml_emulator.errors import ArmError
from azureml_emulator.schedules._clock import ScheduleClock, enabled, still_stands

HOURLY = {"triggerType": "Recurrence", "frequency": "hour", "interval": 1}
BASE = "/subscriptions/s/resourceGroups/g/providers/p/workspaces/w/schedules"
MADE = "2026-03-01T12:00:00.0000000Z"


def schedule(**properties: Any) -> Resource:
    body = {"properties": {"isEnabled": True, "trigger": HOURLY, **properties}}
    return Resource(f"{BASE}/x", 1, body, "etag", MADE, MADE)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, True),
        ({"provisioningState": "Succeeded"}, True),
        ({"provisioningState": "Creating"}, True),
        ({"provisioningState": "Deleting"}, False),
        ({"isEnabled": False}, False),
        ({"isEnabled": False, "provisioningState": "Deleting"}, False),
        ({"isEnabled": None}, False),
    ],
)
def test_which_schedules_fire_at_all(properties: dict[str, Any], expected: bool) -> None:
    assert enabled(schedule(**properties)) is expected
    assert still_stands(schedule(), schedule(**properties)) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (schedule(), True),
        (schedule(trigger={**HOURLY}, action={"other": 1}), True),
        (schedule(trigger={**HOURLY, "interval": 2}), False),
        (replace(schedule(), created="2026-03-01T12:00:00.0000010Z"), False),
        (replace(schedule(), etag="other", modified="2026-03-01T13:00:00.0000000Z"), True),
    ],
)
def test_what_was_found_out_holds_for_the_same_schedule_only(
    found: Resource, expected: bool
) -> None:
    assert still_stands(schedule(), found) is expected


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResourceStore]:
    made = ResourceStore(tmp_path / "r.sqlite")
    yield made
    made.close()


def put(store: ResourceStore, name: str = "x", **properties: Any) -> Resource:
    body = {"properties": {"isEnabled": True, "trigger": HOURLY, **properties}}
    return store.put(f"{BASE}/{name}", body)[0]


def created(resource: Resource) -> float:
    return datetime.fromisoformat(resource.created[:26] + "+00:00").timestamp()


HOUR, MOMENT = 3600.0, 0.001


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("after", "fired", "due"),
    [
        (HOUR - MOMENT, [], HOUR),
        (HOUR, [HOUR], 2 * HOUR),
        (HOUR + MOMENT, [HOUR], 2 * HOUR),
        (2 * HOUR - MOMENT, [HOUR], 2 * HOUR),
        # Nobody looked for hours: one job, for the first moment, and the beat is kept.
        (2 * HOUR, [HOUR], 3 * HOUR),
        (10.5 * HOUR, [HOUR], 11 * HOUR),
    ],
)
def test_what_was_missed_is_made_up_for_by_one_job(
    store: ResourceStore, after: float, fired: list[float], due: float
) -> None:
    moments: list[datetime] = []
    made = put(store)
    start = created(made)
    # Each look is that of a new process.
    for _ in range(2):
        clock = ScheduleClock(store, lambda _, moment: moments.append(moment))
        assert clock.look(start + after) == pytest.approx(start + due, abs=MOMENT / 10)
        assert moments == [at(start + each) for each in fired]


def test_a_fire_that_was_not_written_down_is_for_the_same_moment_again(
    store: ResourceStore,
) -> None:
    moments: list[datetime] = []

    def killed(_: Resource, moment: datetime) -> None:
        moments.append(moment)
        raise KeyboardInterrupt

    start = created(put(store))
    with pytest.raises(KeyboardInterrupt):
        ScheduleClock(store, killed).look(start + 1.1 * HOUR)
    ScheduleClock(store, lambda _, moment: moments.append(moment)).look(start + 1.2 * HOUR)
    assert moments == [at(start + HOUR)] * 2


def disable(store: ResourceStore) -> None:
    put(store, isEnabled=False)


def mark_deleted(store: ResourceStore) -> None:
    put(store, provisioningState="Deleting")


def delete(store: ResourceStore) -> None:
    store.delete(f"{BASE}/x")


def replace_it(store: ResourceStore) -> None:
    delete(store)
    put(store)


def slow_down(store: ResourceStore) -> None:
    put(store, trigger={**HOURLY, "interval": 5})


@pytest.mark.parametrize("between", [disable, mark_deleted, delete, replace_it, slow_down])
def test_what_changes_between_look_and_fire_does_not_fire(
    store: ResourceStore, between: Callable[[ResourceStore], None]
) -> None:
    moments: list[datetime] = []
    clock = ScheduleClock(store, lambda _, moment: moments.append(moment))
    looked_at = put(store)
    start = created(looked_at)
    clock._step(looked_at, start)
    between(store)
    now = start + HOUR + MOMENT
    assert clock._step(looked_at, now) == now, "it is to be looked at again at once"
    for found in store.find("*/schedules/*"):
        clock._step(found, now)
    assert moments == []


def test_the_job_is_that_of_the_schedule_as_it_is(store: ResourceStore) -> None:
    fired: list[Any] = []
    clock = ScheduleClock(store, lambda found, _: fired.append(found.properties["action"]))
    looked_at = put(store, action="old")
    start = created(looked_at)
    clock._step(looked_at, start)
    put(store, action="new")
    clock._step(looked_at, start + HOUR)
    assert fired == ["new"]


def test_what_was_disabled_makes_up_for_nothing(store: ResourceStore) -> None:
    moments: list[datetime] = []
    clock = ScheduleClock(store, lambda _, moment: moments.append(moment))
    start = created(put(store))
    clock.look(start)
    put(store, isEnabled=False)
    assert clock.look(start + 5 * HOUR) is None
    # It is changed at its time on the real clock, which is less than an hour after it was made.
    put(store)
    assert clock.look(start + HOUR - MOMENT) == pytest.approx(start + HOUR, abs=MOMENT / 10)
    assert moments == []


def test_a_clock_that_runs_hears_of_a_new_schedule(store: ResourceStore) -> None:
    fired = threading.Event()
    clock = ScheduleClock(store, lambda *_: fired.set())
    clock.start()
    put(store, trigger={**HOURLY, "startTime": at(time.time() + 1).strftime("%Y-%m-%dT%H:%M:%S")})
    clock.changed()
    assert fired.wait(25)
    clock.stop()


@pytest.mark.parametrize("error", [ArmError(400, "BadArgument", "no"), RuntimeError("no")])
def test_a_moment_that_fails_is_not_tried_again(store: ResourceStore, error: Exception) -> None:
    tried: list[datetime] = []

    def fire(_: Resource, moment: datetime) -> None:
        tried.append(moment)
        raise error

    clock = ScheduleClock(store, fire)
    made = put(store)
    start = created(made)
    for _ in range(2):
        due = clock.look(start + HOUR)
        assert due == pytest.approx(start + 2 * HOUR, abs=MOMENT / 10)
    assert tried == [at(start + HOUR)]


def test_what_cannot_be_read_waits_for_a_change(store: ResourceStore) -> None:
    clock = ScheduleClock(store, lambda _, moment: pytest.fail("fired"))
    made = put(store, trigger={"triggerType": "Whim"})
    assert clock._step(made, created(made) + HOUR) is None
