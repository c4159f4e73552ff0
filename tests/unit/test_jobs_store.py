"""Which change to a job or a schedule counts: on a store in a file, as all processes share it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from azureml_runner.engine import StepEvent
from twinml.errors import NotFound
from twinml.platform import Schedule
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs._retention import out_of_reach
from twinml_local.jobs._schedule_store import NameTaken
from twinml_local.jobs._store import JobEnded, JobStore
from twinml_local.jobs.definition.pipeline import PipelineDefinition


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "service.db")
    for name in ("p", "q"):
        made.publish(
            PipelineDefinition(
                name,
                {
                    "type": "pipeline",
                    "inputs": {"n": 1},
                    "jobs": {"s": {"command": "true"}, "t": {"command": "true"}},
                },
            )
        )
    yield made
    made.close()


def submit(store: JobStore, name: str = "p") -> JobRecord:
    definition, version = store.definition(name)
    job = store.accept(definition, version, {"n": 1})
    assert job is not None
    return job


def claimed(store: JobStore) -> JobRecord:
    """Return a running job, in its first attempt."""
    job = store.claim(submit(store).id)
    assert job is not None
    return job


def put_back(store: JobStore, job: JobRecord, *, uncounted: bool) -> JobRecord:
    """Return a job that stopped and was taken again."""
    store.requeue(job, uncounted=uncounted)
    again = store.claim(job.id)
    assert again is not None
    return again


# Attempts


def test_a_job_is_taken_once(store: JobStore) -> None:
    job = submit(store)
    assert (job.status, job.attempt, job.started) == ("Queued", 0, None)
    first = store.claim(job.id)
    assert first is not None
    assert (first.status, first.attempt, first.started is not None) == ("Running", 1, True)
    assert store.claim(job.id) is None
    assert store.claim("no job") is None
    store.finish(first, "Completed")
    assert store.claim(job.id) is None


@pytest.mark.parametrize(
    ("stops", "attempt"),
    [
        ([], 1),
        # A crash may be the job's doing, and counts; that the service is stopped does not.
        (["crash"], 2),
        (["stop"], 1),
        (["crash", "crash"], 3),
        (["stop", "stop"], 1),
        (["crash", "stop"], 2),
        (["stop", "crash"], 2),
        (["crash", "stop", "crash"], 3),
    ],
)
def test_attempts_are_counted(store: JobStore, stops: list[str], attempt: int) -> None:
    job = claimed(store)
    began = job.started
    for stop in stops:
        job = put_back(store, job, uncounted=stop == "stop")
    assert (job.attempt, job.started) == (attempt, began)


@pytest.mark.parametrize(("attempt", "counts"), [(1, False), (2, True), (3, False)])
@pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
def test_only_the_attempt_that_runs_can_end_a_job(
    store: JobStore, attempt: int, counts: bool, status: str
) -> None:
    job = put_back(store, claimed(store), uncounted=False)
    assert job.attempt == 2
    ended = store.finish(replace(job, attempt=attempt), status, outputs={"o": 1}, error="e")
    assert ended is counts
    found = store.job("p", job.id)
    if counts:
        assert (found.status, found.outputs, found.error) == (status, {"o": 1}, "e")
        assert found.ended is not None
    else:
        assert (found.status, found.outputs, found.error) == ("Running", {}, None)
        assert found.ended is None


@pytest.mark.parametrize(("attempt", "counts"), [(1, False), (2, True), (3, False)])
@pytest.mark.parametrize("uncounted", [True, False])
def test_only_the_attempt_that_runs_can_put_a_job_back(
    store: JobStore, attempt: int, counts: bool, uncounted: bool
) -> None:
    job = put_back(store, claimed(store), uncounted=False)
    store.requeue(replace(job, attempt=attempt), uncounted=uncounted)
    found = store.job("p", job.id)
    if counts:
        assert (found.status, found.attempt) == ("Queued", 1 if uncounted else 2)
    else:
        assert (found.status, found.attempt) == ("Running", 2)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
def test_what_has_ended_stays_as_it_ended(store: JobStore, status: str) -> None:
    job, other = claimed(store), claimed(store)
    assert store.finish(job, status, outputs={"o": 1}) is True
    ended = store.job("p", job.id)
    assert store.finish(job, "Failed") is False
    store.requeue(job, uncounted=False)
    store.requeue(job, uncounted=True)
    assert store.job("p", job.id) == ended
    assert store.job("p", other.id) == other, "nothing happened to the other one"


def test_what_waits_cannot_end_or_be_put_back(store: JobStore) -> None:
    job = claimed(store)
    store.requeue(job, uncounted=False)
    waiting = store.job("p", job.id)
    assert store.finish(job, "Completed") is False
    store.requeue(job, uncounted=True)
    assert store.job("p", job.id) == waiting


@pytest.mark.parametrize(
    ("status", "running"),
    [("Completed", "Canceled"), ("Failed", "Failed"), ("Canceled", "Canceled")],
)
def test_steps_that_still_ran_end_with_their_job(
    store: JobStore, status: str, running: str
) -> None:
    job, other = claimed(store), claimed(store)
    for each in (job, other):
        store.step_changed(each, StepEvent("s", "Running", 1))
    store.finish(job, status)
    steps = store.job("p", job.id).steps
    assert [(step.status, step.ended is not None) for step in steps] == [
        (running, True),
        ("NotStarted", False),
    ]
    assert store.job("p", other.id).steps[0].status == "Running"


# Canceling


def test_canceling(store: JobStore) -> None:
    waiting, running, beside = submit(store), claimed(store), claimed(store)
    canceled = store.request_cancel("p", waiting.id)
    assert (canceled.status, canceled.ended is not None) == ("Canceled", True)
    assert store.claim(waiting.id) is None
    assert store.request_cancel("p", waiting.id) == canceled, "asked once more"
    asked = store.request_cancel("p", running.id)
    assert (asked.status, asked.ended, asked.cancel_requested) == ("Running", None, True)
    assert store.job("p", running.id).cancel_requested
    assert not store.job("p", beside.id).cancel_requested
    store.finish(running, "Canceled")
    assert store.request_cancel("p", running.id).status == "Canceled"
    for job_id in ("no job", submit(store, "q").id):
        with pytest.raises(NotFound):
            store.request_cancel("p", job_id)


@pytest.mark.parametrize("status", ["Completed", "Failed"])
def test_what_has_ended_cannot_be_canceled(store: JobStore, status: str) -> None:
    job = claimed(store)
    store.finish(job, status)
    with pytest.raises(JobEnded):
        store.request_cancel("p", job.id)
    assert not store.job("p", job.id).cancel_requested


# Schedules


DUE, NEXT = 1000.0, 4600.0
HOURLY = Schedule("s", "p", every="1h", inputs={"n": 5})


def fire(store: JobStore, schedule: Schedule, due: float = DUE) -> JobRecord | None:
    definition, version = store.definition("p")
    return store.accept(
        definition, version, {"n": 5}, schedule=schedule, due=(due, NEXT), reason="why"
    )


def put(**changes: Any) -> Callable[[JobStore], object]:
    due = changes.pop("due", DUE)
    return lambda store: store.put_schedule(replace(HOURLY, **changes), due)


BETWEEN: list[Any] = [
    pytest.param(put(enabled=False), id="disabled"),
    pytest.param(lambda store: store.delete_schedule("s"), id="deleted"),
    pytest.param(lambda store: fire(store, HOURLY), id="fired by another"),
    pytest.param(put(due=DUE + 0.001), id="moved"),
    pytest.param(put(due=DUE - 0.001), id="moved back"),
    pytest.param(put(pipeline="q"), id="pipeline"),
    pytest.param(put(inputs={"n": 6}), id="inputs"),
    pytest.param(put(every="2h"), id="interval"),
    pytest.param(put(every=None, cron="0 6 * * *"), id="cron"),
    pytest.param(put(timezone="Europe/Berlin"), id="time zone"),
    pytest.param(put(on_drift="bank"), id="trigger"),
    pytest.param(put(on_drift="bank", cooldown="2d"), id="cool-down"),
]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("act", ["fire", "skip", "note"])
def test_a_schedule_that_became_another_between_look_and_fire_does_nothing(
    store: JobStore, between: Callable[[JobStore], object], act: str
) -> None:
    store.put_schedule(HOURLY, DUE)
    [(looked_at, due)] = store.schedules()
    between(store)
    before = (store.schedules(), len(store.jobs()))
    if act == "fire":
        assert fire(store, looked_at, due) is None
    elif act == "skip":
        store.skip_schedule(looked_at, (due, NEXT), "an error")
    else:
        store.note_finding(looked_at, (due, NEXT), "a finding")
    assert (store.schedules(), len(store.jobs())) == before


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Schedule("s", "p", cron="0 6 * * *"), {"cron": "0 7 * * *"}),
        (Schedule("s", "p", every="1h", on_drift="bank", cooldown="1d"), {"cooldown": "2d"}),
        (Schedule("s", "p", every="1h", on_drift="bank", cooldown="1d"), {"cooldown": None}),
        (Schedule("s", "p", every="1h", on_drift="bank"), {"on_drift": "other"}),
        (Schedule("s", "p", every="1h", on_drift="bank"), {"on_drift": None}),
    ],
)
def test_another_rhythm_or_trigger_is_another_schedule(
    store: JobStore, first: Schedule, then: dict[str, Any]
) -> None:
    store.put_schedule(first, DUE)
    [(looked_at, due)] = store.schedules()
    store.put_schedule(replace(first, **then), DUE)
    assert fire(store, looked_at, due) is None
    assert store.schedules()[0][1] == DUE


@pytest.mark.parametrize(
    "wanted",
    [
        HOURLY,
        Schedule("s", "p", cron="0 6 * * *", timezone="Europe/Berlin"),
        Schedule("s", "p", every="1h", on_drift="bank", cooldown="5h"),
        Schedule("s", "p", every="1h", inputs={"b": [1.5, None, True, "é"], "a": {"x": 1e-9}}),
    ],
)
def test_a_schedule_that_is_as_it_was_starts_one_job(store: JobStore, wanted: Schedule) -> None:
    other = Schedule("other", "p", every="1h", inputs={"n": 5})
    store.put_schedule(other, DUE)
    store.put_schedule(wanted, DUE)
    [_, (looked_at, due)] = store.schedules()
    # Written once more as it is, as a client that repeats its request does.
    store.put_schedule(wanted, DUE)
    job = fire(store, looked_at, due)
    assert job is not None
    assert (job.schedule, job.reason, job.status) == ("s", "why", "Queued")
    assert fire(store, looked_at, due) is None
    [(untouched, moment), (held, after)] = store.schedules()
    assert (moment, untouched.last, untouched.finding) == (DUE, None, None)
    assert (after, held.error, held.finding, held.last is not None) == (NEXT, None, "why", True)
    # Only a trigger looks, so only it has looked.
    assert (held.checked is not None) is (wanted.on_drift is not None)


def test_what_came_of_a_look_is_noted(store: JobStore) -> None:
    store.put_schedule(replace(HOURLY, on_drift="bank"), DUE)
    [(looked_at, due)] = store.schedules()
    store.skip_schedule(looked_at, (due, DUE + 1), "an error")
    [(held, after)] = store.schedules()
    assert (after, held.error, held.checked) == (DUE + 1, "an error", None)
    store.note_finding(held, (DUE + 1, DUE + 2), "a finding")
    [(held, after)] = store.schedules()
    assert (after, held.error, held.finding) == (DUE + 2, None, "a finding")
    assert held.checked is not None
    assert store.jobs() == []


def test_a_job_started_by_hand_is_of_no_schedule(store: JobStore) -> None:
    store.put_schedule(HOURLY, DUE)
    assert submit(store).schedule is None
    assert store.schedules()[0][1] == DUE


def test_a_schedule_is_replaced_by_its_own_pipeline_only(store: JobStore) -> None:
    assert store.put_schedule(HOURLY, DUE, own=True) is True
    assert store.put_schedule(HOURLY, DUE, own=True) is False
    other = replace(HOURLY, pipeline="q")
    with pytest.raises(NameTaken):
        store.put_schedule(other, DUE, own=True)
    with pytest.raises(NotFound):
        store.delete_schedule("s", "q")
    assert store.schedule("p", "s").pipeline == "p"
    assert store.put_schedule(other, DUE) is False
    assert store.schedule("q", "s").pipeline == "q"
    store.delete_schedule("s", "q")
    with pytest.raises(NotFound):
        store.delete_schedule("s")


@pytest.mark.parametrize(
    ("end", "expected"),
    [(None, True), ("Running", True), ("Completed", False), ("Failed", False), ("Canceled", False)],
)
def test_a_schedule_whose_job_goes_on_is_known(
    store: JobStore, end: str | None, expected: bool
) -> None:
    store.put_schedule(HOURLY, DUE)
    job = fire(store, HOURLY)
    assert job is not None
    submit(store)
    if end is not None:
        running = store.claim(job.id)
        assert running is not None
        if end != "Running":
            store.finish(running, end)
    assert store.unfinished("s") is expected
    assert store.unfinished("other") is False


# Which jobs' files may go

BORDER = datetime(2026, 3, 1, tzinfo=UTC)


def ended(name: str, seconds: float = 0.0, *, pipeline: str = "p", **more: Any) -> JobRecord:
    moment = (BORDER + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    values = {"status": "Completed", "created": moment, "started": moment, "ended": moment, **more}
    return JobRecord(
        id=name, pipeline=pipeline, version=1, experiment=None, schedule=None, reason=None,
        inputs={}, outputs={}, error=None, attempt=1, cancel_requested=False, steps=(), **values,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keep", "gone"), [(0, ["c", "b", "a"]), (1, ["b", "a"]), (2, ["a"]), (3, []), (4, [])]
)
def test_the_newest_stay(keep: int, gone: list[str]) -> None:
    jobs = [ended("c"), ended("b"), ended("a")]
    assert [job.id for job in out_of_reach(jobs, None, keep, None)] == gone


@pytest.mark.parametrize(
    ("seconds", "gone"), [(-0.001, True), (0.0, True), (0.001, False), (60.0, False)]
)
def test_what_ended_after_the_border_stays(seconds: float, gone: bool) -> None:
    jobs = [ended("a", seconds)]
    assert bool(list(out_of_reach(jobs, None, 0, BORDER))) is gone
    assert list(out_of_reach(jobs, None, 1, BORDER)) == []
    assert [
        job.id for job in out_of_reach([ended("b", 60.0), ended("a", -60.0)], None, 0, BORDER)
    ] == ["a"]
    old, new = (BORDER - timedelta(days=1)).isoformat(), (BORDER + timedelta(days=1)).isoformat()
    # The end counts; where there is none, when the job was made.
    assert list(out_of_reach([ended("b", created=old, ended=new)], None, 0, BORDER)) == []
    assert list(out_of_reach([ended("b", created=new, ended=None)], None, 0, BORDER)) == []
    assert len(list(out_of_reach([ended("b", created=old, ended=None)], None, 0, BORDER))) == 1


def test_each_pipeline_keeps_its_own_and_what_has_not_ended_does_not_count() -> None:
    jobs = [
        ended("running", status="Running"),
        ended("waiting", status="Queued"),
        ended("q2", pipeline="q"),
        ended("p2", status="Failed"),
        ended("p1", status="Canceled"),
        ended("q1", pipeline="q"),
    ]
    assert [job.id for job in out_of_reach(jobs, None, 1, None)] == ["p1", "q1"]
    assert [job.id for job in out_of_reach(jobs, "p", 1, None)] == ["p1"]
    assert [job.id for job in out_of_reach(jobs, "q", 0, None)] == ["q2", "q1"]
