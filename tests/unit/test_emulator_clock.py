"""When the emulator's clock fires a schedule: on a real store, with a clock of ours."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from azureml_emulator.arm.resources import Resource, ResourceStore
from azureml_emulator.errors import ArmError
from azureml_emulator.schedules.clock import Clock, counted_from, enabled, still_stands

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
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


@pytest.mark.parametrize(
    ("created", "last", "expected"),
    [
        # The first look of a process goes back a minute, but not before the schedule.
        (-3600, None, -60),
        (-61, None, -60),
        (-60, None, -60),
        (-59, None, -59),
        (0, None, 0),
        # Later looks go on from the last one, however long ago that is.
        (-3600, -1800, -1800),
        (-3600, -10, -10),
        # A schedule made anew under a name does not inherit the moments of the earlier one.
        (-10, -1800, -10),
        (-10, -10, -10),
        (-10, -9, -9),
    ],
)
def test_from_when_on_moments_count(created: int, last: int | None, expected: int) -> None:
    def at(seconds: int) -> datetime:
        return NOON + timedelta(seconds=seconds)

    assert counted_from(at(created), None if last is None else at(last), NOON) == at(expected)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResourceStore]:
    made = ResourceStore(tmp_path / "r.sqlite")
    yield made
    made.close()


def put(store: ResourceStore, name: str = "x", **properties: Any) -> Resource:
    body = {"properties": {"isEnabled": True, "trigger": HOURLY, **properties}}
    return store.put(f"{BASE}/{name}", body)[0]


def created(resource: Resource) -> datetime:
    return datetime.fromisoformat(resource.created[:26] + "+00:00")


HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("after", "fired", "due"),
    [
        (HOUR - MICROSECOND, [], HOUR),
        (HOUR, [HOUR], 2 * HOUR),
        (HOUR + timedelta(seconds=60) - MICROSECOND, [HOUR], 2 * HOUR),
        # Nobody looked for more than the grace: that moment is gone.
        (HOUR + timedelta(seconds=60), [], 2 * HOUR),
        (10 * HOUR + timedelta(seconds=1), [10 * HOUR], 11 * HOUR),
    ],
)
def test_the_first_look_fires_what_came_within_the_grace(
    store: ResourceStore, after: timedelta, fired: list[timedelta], due: timedelta
) -> None:
    moments: list[datetime] = []
    clock = Clock(store, lambda _, moment: moments.append(moment))
    made = put(store)
    start = created(made)
    assert clock._step(made, start + after) == start + due
    assert moments == [start + each for each in fired]
    # A second look at the same time has nothing to fire.
    assert clock._step(made, start + after) == start + due
    assert moments == [start + each for each in fired]


def test_each_moment_fires_once_and_those_between_two_looks_all(store: ResourceStore) -> None:
    moments: list[datetime] = []
    clock = Clock(store, lambda _, moment: moments.append(moment))
    made = put(store)
    start = created(made)
    clock._step(made, start)
    assert clock._step(made, start + 3 * HOUR) == start + 4 * HOUR
    assert moments == [start + HOUR, start + 2 * HOUR, start + 3 * HOUR]


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
    clock = Clock(store, lambda _, moment: moments.append(moment))
    looked_at = put(store)
    start = created(looked_at)
    clock._step(looked_at, start)
    between(store)
    now = start + HOUR + MICROSECOND
    assert clock._step(looked_at, now) == now, "it is to be looked at again at once"
    for found in store.find("*/schedules/*"):
        clock._step(found, now)
    assert moments == []


def test_the_job_is_that_of_the_schedule_as_it_is(store: ResourceStore) -> None:
    fired: list[Any] = []
    clock = Clock(store, lambda found, _: fired.append(found.properties["action"]))
    looked_at = put(store, action="old")
    start = created(looked_at)
    clock._step(looked_at, start)
    put(store, action="new")
    clock._step(looked_at, start + HOUR)
    assert fired == ["new"]


def test_what_is_enabled_again_goes_on_from_then(store: ResourceStore) -> None:
    moments: list[datetime] = []
    clock = Clock(store, lambda _, moment: moments.append(moment))
    start = created(put(store))
    assert clock._step(put(store, isEnabled=False), start + 5 * HOUR) is None
    assert clock._step(put(store), start + 5 * HOUR + MICROSECOND) == start + 6 * HOUR
    assert moments == []
    assert clock._step(put(store), start + 6 * HOUR) == start + 7 * HOUR
    assert moments == [start + 6 * HOUR]


@pytest.mark.parametrize("error", [ArmError(400, "BadArgument", "no"), RuntimeError("no")])
def test_a_moment_that_fails_is_not_tried_again(store: ResourceStore, error: Exception) -> None:
    tried: list[datetime] = []

    def fire(_: Resource, moment: datetime) -> None:
        tried.append(moment)
        raise error

    clock = Clock(store, fire)
    made = put(store)
    start = created(made)
    assert clock._step(made, start + HOUR) == start + 2 * HOUR
    assert clock._step(made, start + HOUR) == start + 2 * HOUR
    assert tried == [start + HOUR]


def test_what_cannot_be_read_waits_for_a_change(store: ResourceStore) -> None:
    clock = Clock(store, lambda _, moment: pytest.fail("fired"))
    made = put(store, trigger={"triggerType": "Whim"})
    assert clock._step(made, created(made) + HOUR) is None
