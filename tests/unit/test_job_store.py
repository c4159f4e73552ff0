"""The life of a job in the store, whoever has a hand in it; and stores of earlier versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from azureml_emulator.jobs.runs import JobQueue, RunStore
from azureml_runner.database import Database
from azureml_runner.store import Job, jobs_table

# As the version before kept the runs of an emulator: without a table of jobs.
OLD_RUNS = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workspace TEXT NOT NULL,
    parent TEXT, root TEXT NOT NULL, kind TEXT NOT NULL, experiment TEXT NOT NULL,
    display TEXT NOT NULL, status TEXT NOT NULL, created TEXT NOT NULL, started TEXT, ended TEXT,
    details TEXT NOT NULL, cancel INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
    pid INTEGER, identity TEXT);
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobQueue]:
    store = JobQueue(Database(tmp_path / "jobs.db", jobs_table()))
    yield store
    store.close()


def known(job: Job | None) -> Job:
    assert job is not None
    return job


def test_the_oldest_queued_job_is_claimed_first_and_each_once(store):
    for name in ("a", "b", "c"):
        store.add(name, {})
    assert [known(store.claim()).id, known(store.claim("c")).id] == ["a", "c"]
    assert store.claim("a") is None
    assert store.claim("nothing") is None
    assert store.claim() == Job("b", "Running", 1, False)
    assert store.claim() is None
    assert [job.id for job in store.running()] == ["a", "b", "c"]


@pytest.mark.parametrize(("uncounted", "attempt"), [(True, 1), (False, 2)])
def test_a_requeued_job_keeps_its_place_and_counts_or_not(store, uncounted, attempt):
    store.add("a", {})
    store.add("b", {})
    store.requeue(known(store.claim()), uncounted=uncounted)
    again = known(store.claim())
    assert (again.id, again.attempt) == ("a", attempt)


def test_only_the_attempt_that_runs_can_finish_or_requeue(store):
    store.add("a", {})
    first = known(store.claim())
    store.requeue(first, uncounted=False)
    assert store.finish(first, "Completed") is False
    second = known(store.claim())
    store.requeue(first, uncounted=False)
    assert known(store.find("a")).status == "Running"
    assert store.finish(second, "Failed") is True
    assert store.finish(second, "Completed") is False
    store.requeue(second, uncounted=False)
    assert known(store.find("a")).status == "Failed"


def test_a_cancel_ends_what_is_queued_and_is_noted_of_what_runs(store):
    for name in ("queued", "running", "ended"):
        store.add(name, {})
    store.claim("running")
    store.finish(known(store.claim("ended")), "Completed")
    assert store.cancel("queued") == Job("queued", "Canceled", 0, True)
    assert store.cancel("running") == Job("running", "Running", 1, True)
    assert store.cancel("ended") == Job("ended", "Completed", 1, False)
    assert store.cancel("nothing") is None
    store.requeue(known(store.find("running")), uncounted=True)
    assert store.claim() == Job("running", "Running", 1, True)


def test_jobs_of_an_earlier_emulator_are_queued_in_their_order(tmp_path):
    path = tmp_path / "runs.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(OLD_RUNS)
    statuses = ("Completed", "NotStarted", "Running", "CancelRequested", "Failed", "Canceled")
    for number, status in enumerate(statuses):
        for run, parent in ((f"job{number}", None), (f"child{number}", f"job{number}")):
            connection.execute(
                "INSERT INTO runs (id, workspace, parent, root, kind, experiment, display, status,"
                " created, details) VALUES (?, 'w', ?, ?, 'k', 'e', 'd', ?, 't', '{}')",
                (run, parent, f"job{number}", status),
            )
    connection.commit()
    connection.close()
    runs = RunStore(path)
    for _ in range(2):  # at each start; what was queued is not queued again
        runs.jobs.adopt()
    claimed = [known(runs.jobs.claim()) for _ in range(3)]
    assert [(job.id, job.cancel_requested) for job in claimed] == [
        ("job1", False),
        ("job2", False),
        ("job3", True),
    ]
    assert runs.jobs.claim() is None
    added = runs.add("new", workspace="w", kind="k", experiment="e", display="d")
    assert added.status == "NotStarted"
    runs.remove("job1")
    assert runs.jobs.find("job1") is None
    runs.close()
