"""What cleaning deletes, and what it must not: real jobs on a real store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from twinml.errors import NotFound
from twinml_local.jobs import lifecycle
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.definition.pipeline import PipelineDefinition


class Jobs:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = JobStore(directory / "service.db")
        self.runner = Runner(self.store, directory)

    def publish(self, command: str, name: str = "p") -> None:
        component = {
            "type": "command",
            "command": command,
            "inputs": {"n": {"type": "integer"}},
            "outputs": {"out": {"type": "uri_file"}},
        }
        step = {
            "type": "command",
            "component": component,
            "inputs": {"n": "${{parent.inputs.n}}"},
            "outputs": {"out": "${{parent.outputs.out}}"},
        }
        content = {
            "type": "pipeline",
            "inputs": {"n": 1},
            "outputs": {"out": {"type": "uri_file"}},
            "jobs": {"s": step},
        }
        self.store.publish(PipelineDefinition(name, content))

    def accept(self, n: int, name: str = "p") -> str:
        definition, version = self.store.definition(name)
        job = self.store.accept(definition, version, definition.resolve({"n": n}))
        assert job is not None
        return job.id

    def run(self, n: int, name: str = "p") -> JobRecord:
        job_id = self.accept(n, name)
        self.runner.run(job_id)
        job = self.store.job(name, job_id)
        assert job.status == "Completed", job.error
        return job

    def clean(self, pipeline: str | None = None, **options: Any) -> Any:
        return lifecycle.clean(pipeline, directory=self.directory, **options)

    def folder(self, job: JobRecord | str) -> Path:
        return self.runner.job_directory(job if isinstance(job, str) else job.id)

    def results(self) -> int:
        return len(list((self.directory / "reuse").glob("??/*.json")))


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("TWINML_PIPELINE_TRACKING", "off")
    made = Jobs(tmp_path / "pipelines")
    made.publish("echo ${{inputs.n}} > ${{outputs.out}}")
    yield made
    made.runner.close()
    made.store.close()


def test_the_newest_stay_and_the_rest_goes_with_its_results(jobs: Jobs) -> None:
    old, middle, new = jobs.run(1), jobs.run(2), jobs.run(3)
    assert jobs.results() == 3
    would = jobs.clean(keep=1, dry_run=True)
    assert jobs.folder(old).is_dir()
    found = jobs.clean(keep=1)
    assert found == would
    assert set(found.jobs) == {old.id, middle.id}
    assert (found.results, found.n_bytes > 0) == (2, True)
    assert not jobs.folder(old).exists()
    assert jobs.folder(new).is_dir()
    assert jobs.results() == 1
    assert os.listdir(jobs.directory / "jobs") == [new.id]
    # Its record stays, and says that there is nothing to fetch.
    assert (jobs.store.job("p", old.id).status, jobs.store.job("p", old.id).outputs) == (
        "Completed",
        {},
    )
    # What is gone is computed again; what stayed is found.
    assert not jobs.run(1).steps[0].reused
    assert jobs.run(3).steps[0].reused
    assert jobs.clean(keep=9).jobs == ()


def test_what_a_later_job_has_reused_stays(jobs: Jobs) -> None:
    first = jobs.run(1)
    between = jobs.run(2)
    again = jobs.run(1)
    assert again.steps[0].reused
    found = jobs.clean(keep=1)
    assert (found.jobs, found.referenced) == ((between.id,), (first.id,))
    assert Path(jobs.store.job("p", again.id).outputs["out"]["path"]).read_text() == "1\n"
    # With the one that needed it, it goes too.
    assert set(jobs.clean(keep=0).jobs) == {first.id, again.id}
    assert jobs.results() == 0


def test_a_job_that_runs_or_waits_is_never_touched(jobs: Jobs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs.publish(
        f"while [ ! -e {gate} ]; do sleep 0.05; done; echo ${{{{inputs.n}}}} > ${{{{outputs.out}}}}"
    )
    waiting, running = jobs.accept(1), jobs.accept(2)
    thread = threading.Thread(target=jobs.runner.run, args=(running,))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not (jobs.folder(running) / "steps/s/attempt-1/process.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert jobs.clean(keep=0).jobs == ()
    finally:
        gate.touch()
        thread.join()
    assert jobs.store.job("p", running).status == "Completed"
    jobs.runner.run(waiting)
    assert jobs.store.job("p", waiting).status == "Completed"
    assert set(jobs.clean(keep=0).jobs) == {waiting, running}


def test_age_and_pipeline_narrow_it(jobs: Jobs) -> None:
    jobs.publish("echo other > ${{outputs.out}}", name="other")
    mine, other = jobs.run(1), jobs.run(1, name="other")
    assert jobs.clean(keep=0, older_than=timedelta(hours=1)).jobs == ()
    assert jobs.clean("other", keep=0).jobs == (other.id,)
    assert jobs.folder(mine).is_dir()
    with pytest.raises(NotFound, match="no pipeline 'none'"):
        jobs.clean("none", keep=0)


def test_what_a_crash_left_half_deleted_goes_the_next_time(jobs: Jobs) -> None:
    job = jobs.run(1)
    jobs.folder(job).rename(jobs.directory / "jobs" / f".deleted-{job.id}")
    jobs.clean(keep=5)
    assert os.listdir(jobs.directory / "jobs") == []
