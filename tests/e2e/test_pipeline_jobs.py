"""The pipeline service as a real process: jobs, cancels, crashes at bad moments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from twinml.errors import NotFound, PayloadError, PlatformError, PlatformUnavailable
from twinml.pipeline import PipelineDefinition
from twinml.pipeline.client import PipelineClient
from twinml.platform import PipelineInfo, PipelineJob
from twinml_local.jobs import lifecycle
from twinml_local.processes import process_identity, running

pytestmark = pytest.mark.e2e

# Appends one line as it starts and one as it ends; in between it waits for a file, or naps.
TRACED = """
import json, os, pathlib, sys, time
trace, job, gate = sys.argv[1:4]
def note(word):
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} {job} {os.getpid()}\\n".encode())
    os.close(descriptor)
note("start")
if gate:
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)
else:
    time.sleep(0.05)
note("end")
print(json.dumps({"job": job}))
"""


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home" / "pipelines"
    yield folder
    lifecycle.stop(directory=folder)


def publish(home: Path, *command: str, name: str = "demo", **inputs: Any) -> PipelineInfo:
    content = {
        "name": name,
        "inputs": inputs,
        "steps": [{"name": "only", "command": list(command), "timeout_seconds": 60}],
    }
    return lifecycle.publish(PipelineDefinition.from_dict(content), directory=home)


def publish_traced(home: Path) -> Path:
    """Publish a pipeline that traces its work; return the trace, next to which gates are made."""
    trace = home.parent / "trace"
    arguments = (str(trace), "${{job.id}}", "${{inputs.gate}}")
    publish(home, "${{python}}", "-c", TRACED, *arguments, gate={"default": ""})
    return trace


def traced(trace: Path, word: str) -> list[str]:
    lines = trace.read_text().split("\n") if trace.exists() else []
    return [line.split()[1] for line in lines if line.startswith(word)]


def crash(home: Path) -> None:
    """Kill the service as the kernel would: no handler runs."""
    pid = lifecycle.service_pid(directory=home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: lifecycle.service_pid(directory=home) is None)


def restart(home: Path) -> PipelineClient:
    """Start the service again, as any publish does."""
    publish(home, "true", name="nudge")
    return lifecycle.client("demo", directory=home)


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def finish(home: Path, job_id: str) -> PipelineJob:
    with lifecycle.client("demo", directory=home) as client:
        return client.wait(job_id, timeout=20)


def test_a_pipeline_is_published_and_its_job_completes(home):
    code = "import json, sys; print(json.dumps({'n': int(sys.argv[1]) + 1}))"
    command = ("${{python}}", "-c", code, "${{inputs.n}}")
    first = publish(home, *command, n={"type": "integer"})
    pid = lifecycle.service_pid(directory=home)
    assert pid is not None
    assert os.getsid(pid) == pid, "the service must outlive the terminal"
    assert publish(home, *command, n={"type": "integer"}) == first
    assert lifecycle.service_pid(directory=home) == pid
    assert publish(home, *command, n={"type": "integer", "default": 1}).version == "2"
    for secret in ("keys.json", "service.log"):
        assert (home / secret).stat().st_mode & 0o077 == 0
    assert lifecycle.keys(directory=home).primary not in (home / "service.log").read_text()

    started = lifecycle.run("demo", {"n": 41}, directory=home)
    assert started.status in ("Queued", "Running")
    job = finish(home, started.id)
    assert (job.status, job.outputs, job.inputs) == ("Completed", {"n": 42}, {"n": 41})
    assert lifecycle.job("demo", job.id, directory=home) == job

    with pytest.raises(PayloadError, match="input 'n': found 'x', expected an integer"):
        lifecycle.run("demo", {"n": "x"}, directory=home)
    with pytest.raises(NotFound, match="there is no pipeline 'none'"):
        lifecycle.run("none", {}, directory=home)
    with pytest.raises(NotFound, match="no job 'none'"):
        lifecycle.job("demo", "none", directory=home)


def test_a_failing_step_fails_the_job_with_its_exit_code_and_last_words(home):
    code = "import sys; print('the reason', file=sys.stderr); sys.exit(7)"
    publish(home, "${{python}}", "-c", code)
    job = finish(home, lifecycle.run("demo", {}, directory=home).id)
    assert (job.status, job.error) == ("Failed", "step 'only' exited with 7: the reason")


def test_the_endpoint_takes_the_published_pipeline_request_and_needs_the_key(home):
    uri = publish(home, "true").uri
    body = {"ExperimentName": "pipeline-rest-endpoint"}
    with requests.Session() as session:
        session.trust_env = False
        refused = session.post(uri, json=body, timeout=10)
        assert refused.status_code == 401
        assert refused.json()["error_code"] == "UNAUTHENTICATED"
        header = {"Authorization": f"Bearer {lifecycle.keys(directory=home).secondary}"}
        reply = session.post(uri, headers=header, json=body, timeout=10)
    assert reply.status_code == 200
    assert finish(home, reply.json().get("Id")).status == "Completed"
    with (
        PipelineClient(uri, "wrong") as client,
        pytest.raises(PlatformError, match="the key is not one of"),
    ):
        client.submit()
    assert len(lifecycle.client("demo", directory=home).jobs()) == 1


def test_logs_are_live_and_a_cancel_ends_the_whole_group(home):
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid);"
        "time.sleep(60)"
    )
    publish(home, "${{python}}", "-c", code)
    job_id = lifecycle.run("demo", {}, directory=home).id
    with lifecycle.client("demo", directory=home) as client:
        wait_for(lambda: "stdout" in client.logs(job_id))
        child = int(client.logs(job_id).split("=====\n")[1].split()[0])
        assert process_identity(child) is not None
        client.cancel(job_id)
        assert client.wait(job_id, timeout=20).status == "Canceled"
    assert process_identity(child) is None


def test_a_job_whose_service_is_killed_runs_again_and_completes_once(home):
    trace = publish_traced(home)
    gate = trace.with_name("gate")
    job_id = lifecycle.run("demo", {"gate": str(gate)}, directory=home).id
    wait_for(lambda: len(traced(trace, "start")) == 1)
    orphan = int(trace.read_text().split()[2])
    crash(home)
    assert process_identity(orphan) is not None, "the step outlives its service"
    with pytest.raises(PlatformUnavailable, match="not running"):
        lifecycle.job("demo", job_id, directory=home)

    with restart(home) as client:
        wait_for(lambda: len(traced(trace, "start")) == 2)
        assert process_identity(orphan) is None, "two of them must not run at once"
        gate.touch()
        job = client.wait(job_id, timeout=20)
        assert (job.status, job.outputs) == ("Completed", {"job": job_id})
        assert client.details(job_id)["attempt"] == 2
        assert "attempt 2, stdout" in client.logs(job_id)
    assert traced(trace, "end") == [job_id]


def test_a_step_that_ends_while_the_service_is_down_is_not_repeated(home):
    trace = publish_traced(home)
    gate = trace.with_name("gate")
    job_id = lifecycle.run("demo", {"gate": str(gate)}, directory=home).id
    wait_for(lambda: len(traced(trace, "start")) == 1)
    crash(home)
    gate.touch()
    wait_for(lambda: any((home / "jobs" / job_id / "logs").glob("*.exit")))
    with restart(home) as client:
        job = client.wait(job_id, timeout=20)
    assert (job.status, job.outputs) == ("Completed", {"job": job_id})
    assert traced(trace, "start") == traced(trace, "end") == [job_id]


def test_queued_jobs_survive_a_kill_even_without_the_queue(home):
    trace = publish_traced(home)
    gate = trace.with_name("gate")
    ids = [lifecycle.run("demo", {"gate": str(gate)}, directory=home).id]
    ids += [lifecycle.run("demo", {}, directory=home).id for _ in range(3)]
    wait_for(lambda: len(traced(trace, "start")) == 1)
    crash(home)
    for file in home.glob("queue.db*"):
        file.unlink()
    gate.touch()
    with restart(home) as client:
        assert [client.wait(job_id, timeout=20).status for job_id in ids] == ["Completed"] * 4
    assert traced(trace, "end") == ids


def test_kills_at_any_moment_lose_no_job_and_complete_none_twice(home):
    trace = publish_traced(home)
    ids: list[str] = []
    for pause in (0.0, 0.07, 0.21):
        ids += [lifecycle.run("demo", {}, directory=home).id for _ in range(3)]
        time.sleep(pause)
        crash(home)
    with restart(home) as client:
        jobs = [client.wait(job_id, timeout=20) for job_id in ids]
        assert len(client.jobs(status="Completed")) == len(ids) == 9
    assert [job.status for job in jobs] == ["Completed"] * 9
    assert sorted(traced(trace, "end")) == sorted(ids)


def test_concurrent_posts_are_all_accepted_and_run_one_at_a_time(home):
    trace = publish_traced(home)
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: lifecycle.run("demo", {}, directory=home), range(16)))
    ids = {job.id for job in jobs}
    assert len(ids) == 16
    assert {finish(home, job_id).status for job_id in ids} == {"Completed"}
    words = [line.split()[0] for line in trace.read_text().splitlines()]
    assert words == ["start", "end"] * 16


def test_a_stopped_service_gives_its_job_back_and_keeps_its_uri(home):
    trace = publish_traced(home)
    gate = trace.with_name("gate")
    job_id = lifecycle.run("demo", {"gate": str(gate)}, directory=home).id
    wait_for(lambda: len(traced(trace, "start")) == 1)
    uri = lifecycle.info("demo", directory=home).uri
    assert lifecycle.stop(directory=home) is True
    assert lifecycle.stop(directory=home) is False
    assert process_identity(int(trace.read_text().split()[2])) is None
    gate.touch()
    lifecycle.run("demo", {}, directory=home)
    assert lifecycle.info("demo", directory=home).uri == uri
    assert finish(home, job_id).status == "Completed"


def test_a_folder_has_one_service(home):
    publish(home, "true")
    command = [sys.executable, "-m", "twinml_local.jobs", "--directory", str(home)]
    second = subprocess.run(
        [*command, "--port", "1"], capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "held by another process" in second.stderr
    assert "Traceback" not in second.stderr
    assert running(home / "service.pid") is not None


class Here:
    """The pipeline verbs of a platform, on one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def publish_pipeline(self, name: str, definition: Mapping[str, Any]) -> PipelineInfo:
        return lifecycle.publish(
            PipelineDefinition.from_dict(definition, name=name), directory=self.home
        )

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        return lifecycle.run(name, inputs, directory=self.home)

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        return lifecycle.job(name, job_id, directory=self.home)

    def pipeline_client(self, name: str) -> PipelineClient:
        return lifecycle.client(name, directory=self.home)


def test_the_command_line_publishes_runs_and_watches(home, monkeypatch, tmp_path):
    from twinml.cli.pipeline import command

    monkeypatch.setattr("twinml.platform.load", lambda name: Here(home))

    def call(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(command, [*arguments, "--json"], prog_name="pipeline")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    file = tmp_path / "demo.json"
    steps = [{"name": "s", "command": ["sh", "-c", 'sleep "$1"; exit "$2"', "-"]}]
    steps[0]["command"] += ["${{inputs.nap}}", "${{inputs.code}}"]
    inputs = {name: {"type": "integer", "default": 0} for name in ("nap", "code")}
    file.write_text(json.dumps({"name": "demo", "inputs": inputs, "steps": steps}))

    assert call("publish", str(file))["version"] == "1"
    done = call("run", "demo", "--wait", "-i", "nap=0")
    assert done["status"] == "Completed"
    failed = call("run", "demo", "-i", "code=4", "--wait", code=1)
    assert failed["error"] == "step 's' exited with 4"
    wrong = call("run", "demo", "-i", "nap=soon", code=1)
    assert "input 'nap': found 'soon'" in wrong["message"]
    for pair, example in (("code", "code=0"), ("budget", "nap=0"), ("=3", "nap=0")):
        wrong = call("run", "demo", "-i", pair, code=1)
        assert wrong["message"] == f"input '{pair}' is not NAME=VALUE"
        assert wrong["hint"] == f"Write -i {example}."
    slow = call("run", "demo", "-i", "nap=60")["id"]
    assert call("cancel", "demo", slow)["status"] == "Canceled"
    assert call("status", "demo", slow)["status"] == "Canceled"
    # The shell around a step may say that it was ended; the step itself said nothing.
    said = call("logs", "demo", slow)["logs"].splitlines()
    assert {line for line in said if not line.startswith("=====")} <= {"Terminated"}
    assert [job["id"] for job in call("list", "demo")] == [slow, failed["id"], done["id"]]
    assert call("list", "demo", "--status", "Failed")[0]["id"] == failed["id"]
    assert call("publish", "--target", "y")["name"] == "training"
    assert call("run", "training", "-i", "data", code=1)["hint"] == "Write -i data=STRING."
    assert "not JSON" in call("publish", str(home / "service.log"), code=1)["message"]

    table = tmp_path / "calls.csv"
    missing = call("publish", "--data", str(table), "--target", "y", code=1)
    assert missing["error_code"] == "INVALID_DATA"
    assert "there is no file" in missing["message"]
    table.write_text("age,answer\n41,no\n")
    wrong = call("publish", "--data", str(table), "--target", "anwser", code=1)
    assert wrong["message"] == "'calls.csv' has no column 'anwser'"
    assert "Did you mean 'answer'?" in wrong["hint"]
    assert call("publish", "--data", str(table), "--target", "answer")["version"] == "2"

    monkeypatch.setenv("TWINML_PIPELINE_URI", lifecycle.info("demo", directory=home).uri)
    monkeypatch.setenv("TWINML_PIPELINE_KEY", "wrong")
    assert "key" in call("list", "demo", code=1)["message"]

    monkeypatch.delenv("TWINML_PIPELINE_URI")
    lifecycle.stop(directory=home)
    assert call("run", "demo", "-i", "nap", code=1)["hint"] == "Write -i nap=VALUE."
