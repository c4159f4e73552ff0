"""The pipeline service as a real process: jobs, cancels, crashes at bad moments."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from click.testing import CliRunner

from azureml_runner.processes import process_identity, running
from twinml.errors import NotFound, PayloadError, PlatformError, PlatformUnavailable
from twinml.pipeline.client import RestPipelineClient
from twinml.platform import PipelineInfo, PipelineJob, Schedule
from twinml_local.jobs import lifecycle

pytestmark = pytest.mark.e2e

# Appends one line as it starts and one as it ends; in between it waits for a file, or naps.
TRACED = """
import json, os, pathlib, sys, time
trace, gate, out = sys.argv[1:4]
def note(word):
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} {os.environ['TWINML_JOB_ID']} {os.getpid()}\\n".encode())
    os.close(descriptor)
note("start")
if gate != "none":
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)
else:
    time.sleep(0.05)
note("end")
pathlib.Path(out).write_text(json.dumps({"job": os.environ["TWINML_JOB_ID"]}))
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_PIPELINE_TRACKING", "off")
    folder = tmp_path / "home" / "pipelines"
    yield folder
    lifecycle.stop(directory=folder)


def publish(home: Path, command: str, *, name: str = "demo", **inputs: Any) -> PipelineInfo:
    file = home.parent / f"{name}.yml"
    file.parent.mkdir(exist_ok=True)
    only = {
        "type": "command",
        "command": command,
        "inputs": {key: f"${{{{parent.inputs.{key}}}}}" for key in inputs},
        "outputs": {"out": "${{parent.outputs.out}}"} if "outputs.out" in command else {},
        "limits": {"timeout": 120},
    }
    # Every run counts here: none is replaced by the result of another.
    only["is_deterministic"] = False
    content: dict[str, Any] = {"type": "pipeline", "inputs": inputs, "jobs": {"only": only}}
    if only["outputs"]:
        content["outputs"] = {"out": {"type": "uri_file"}}
    file.write_text(yaml.safe_dump(content))
    return lifecycle.publish(name, file, directory=home)


def publish_traced(home: Path) -> Path:
    """Publish a pipeline that traces its work; return the trace, next to which gates are made."""
    script = home.parent / "traced.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(TRACED)
    trace = home.parent / "trace"
    command = f"python {script} {trace} ${{{{inputs.gate}}}} ${{{{outputs.out}}}}"
    publish(home, command, gate="none")
    return trace


def traced(trace: Path, word: str) -> list[str]:
    lines = trace.read_text().split("\n") if trace.exists() else []
    return [line.split()[1] for line in lines if line.startswith(word)]


def crash(home: Path) -> None:
    """Kill the service as the kernel would: no handler runs."""
    pid = running(home / "service.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: running(home / "service.pid") is None)


def restart(home: Path) -> RestPipelineClient:
    """Start the service again, as any publish does."""
    publish(home, "true", name="nudge")
    return lifecycle.client("demo", directory=home)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def finish(home: Path, job_id: str) -> PipelineJob:
    with lifecycle.client("demo", directory=home) as client:
        return client.wait(job_id, timeout=60)


def made(client: RestPipelineClient, job_id: str) -> Any:
    """Return the JSON that the only step wrote."""
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(client.download(job_id, "out", Path(folder)).read_text())


def test_a_pipeline_is_published_and_its_job_completes(home):
    command = "echo $((${{inputs.n}} + 1)) > ${{outputs.out}}"
    first = publish(home, command, n=0)
    pid = running(home / "service.pid")
    assert pid is not None
    assert os.getsid(pid) == pid, "the service must outlive the terminal"
    assert publish(home, command, n=0) == first
    assert running(home / "service.pid") == pid
    assert publish(home, command, n=1).version == "2"
    for secret in ("keys.json", "service.log"):
        assert (home / secret).stat().st_mode & 0o077 == 0
    assert lifecycle.keys(directory=home).primary not in (home / "service.log").read_text()

    started = lifecycle.run("demo", {"n": 41}, directory=home)
    assert started.status in ("Queued", "Running")
    job = finish(home, started.id)
    assert (job.status, job.inputs) == ("Completed", {"n": 41})
    with lifecycle.client("demo", directory=home) as client:
        assert client.download(job.id, "out", home.parent / "got").read_text() == "42\n"
        assert client.inputs() == {"n": {"type": "integer", "default": 1}}
    assert lifecycle.job("demo", job.id, directory=home) == job

    with pytest.raises(PayloadError, match="input 'n': found 'x', expected an integer"):
        lifecycle.run("demo", {"n": "x"}, directory=home)
    with pytest.raises(NotFound, match="there is no pipeline 'none'"):
        lifecycle.run("none", {}, directory=home)
    with pytest.raises(NotFound, match="no job 'none'"):
        lifecycle.job("demo", "none", directory=home)


def test_a_failing_step_fails_the_job_with_its_exit_code_and_last_words(home):
    publish(home, "echo the reason >&2; exit 7")
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
        RestPipelineClient(uri, "wrong") as client,
        pytest.raises(PlatformError, match="the key is not one of"),
    ):
        client.submit()
    assert len(lifecycle.client("demo", directory=home).jobs()) == 1


def test_logs_are_live_and_a_cancel_ends_the_whole_group(home):
    publish(home, "sleep 60 & echo $!; wait")
    job_id = lifecycle.run("demo", {}, directory=home).id
    with lifecycle.client("demo", directory=home) as client:
        wait_for(lambda: client.logs(job_id).rstrip()[-1:].isdigit())
        child = int(client.logs(job_id).split("=====\n")[1].split()[0])
        assert process_identity(child) is not None
        client.cancel(job_id)
        assert client.wait(job_id, timeout=60).status == "Canceled"
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
        job = client.wait(job_id, timeout=60)
        assert job.status == "Completed"
        assert made(client, job_id) == {"job": job_id}
        assert job.steps[0]["attempt"] == 2
        assert "step only, attempt 2 =====" in client.logs(job_id)
    assert traced(trace, "end") == [job_id]


def test_a_step_that_ends_while_the_service_is_down_is_not_repeated(home):
    trace = publish_traced(home)
    gate = trace.with_name("gate")
    job_id = lifecycle.run("demo", {"gate": str(gate)}, directory=home).id
    wait_for(lambda: len(traced(trace, "start")) == 1)
    crash(home)
    gate.touch()
    wait_for(lambda: any((home / "jobs" / job_id).rglob("exit")))
    with restart(home) as client:
        assert client.wait(job_id, timeout=60).status == "Completed"
        assert made(client, job_id) == {"job": job_id}
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
        assert [client.wait(job_id, timeout=60).status for job_id in ids] == ["Completed"] * 4
    assert traced(trace, "end") == ids


def test_kills_at_any_moment_lose_no_job_and_complete_none_twice(home):
    trace = publish_traced(home)
    ids: list[str] = []
    for pause in (0.0, 0.07, 0.21):
        ids += [lifecycle.run("demo", {}, directory=home).id for _ in range(3)]
        time.sleep(pause)
        crash(home)
    with restart(home) as client:
        jobs = [client.wait(job_id, timeout=60) for job_id in ids]
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


def test_idle_connections_do_not_stop_the_service(home):
    publish(home, "true")
    port = int(lifecycle.info("demo", directory=home).uri.split(":")[2].split("/")[0])
    idle = []
    try:
        for number in range(500):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            if number % 2:
                connection.sendall(b"POST /pipelines/demo/jobs HTTP/1.1\r\nContent-Le")
            idle.append(connection)
        job_id = lifecycle.run("demo", {}, directory=home).id
        assert finish(home, job_id).status == "Completed"
    finally:
        for connection in idle:
            connection.close()


TRAIN = """
name: train
type: command
inputs:
  training_data: {type: uri_folder}
  max_epochs: {type: integer}
  learning_rate: {type: number, default: 0.01}
  note: {type: string, optional: true}
outputs:
  model_output: {type: uri_folder}
code: ./train_src
environment: azureml:AzureML-sklearn-1.5-ubuntu20.04-py38-cpu@latest
command: >-
  python train.py
  --training_data ${{inputs.training_data}}
  --max_epochs ${{inputs.max_epochs}}
  --learning_rate ${{inputs.learning_rate}}
  $[[--note ${{inputs.note}}]]
  --model_output ${{outputs.model_output}}
"""
TRAIN_CODE = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for name, kind in (("training_data", str), ("max_epochs", int), ("learning_rate", float),
                   ("note", str), ("model_output", str)):
    parser.add_argument(f"--{name}", type=kind)
given = parser.parse_args()
rows = sum(len(file.read_text().split()) for file in pathlib.Path(given.training_data).iterdir())
model = {"rows": rows, "rate": given.learning_rate * given.max_epochs, "note": given.note}
pathlib.Path(given.model_output, "model.json").write_text(json.dumps(model))
"""
SCORE = """
type: command
inputs:
  model_input: {type: uri_folder}
outputs:
  score_output: {type: uri_folder}
command: cp ${{inputs.model_input}}/model.json ${{outputs.score_output}}/scores.json
"""
OTHERS = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: train and score
inputs:
  max_epochs: 20
  learning_rate: 1.5
outputs:
  trained_model: {mode: upload}
  report: {mode: upload}
settings: {default_compute: "azureml:serverless"}
jobs:
  train_job:
    type: command
    component: ./train.yml
    compute: azureml:cpu-cluster
    inputs:
      training_data: {type: uri_folder, path: ./data}
      max_epochs: ${{parent.inputs.max_epochs}}
      learning_rate: ${{parent.inputs.learning_rate}}
    outputs: {model_output: "${{parent.outputs.trained_model}}"}
  score_job:
    type: command
    component: file:./score.yml
    inputs: {model_input: "${{parent.jobs.train_job.outputs.model_output}}"}
    outputs:
      score_output: {mode: upload}
  look_job:
    type: command
    component: ./score.yml
    inputs: {model_input: "${{parent.jobs.train_job.outputs.model_output}}"}
  report_job:
    type: pipeline
    component:
      type: pipeline
      inputs:
        scores: {type: uri_folder}
        title: {type: string, default: a report}
      outputs:
        page: {type: uri_folder}
      jobs:
        draw:
          type: command
          command: >-
            echo "${{inputs.title}}" > ${{outputs.page}}/index &&
            cat ${{inputs.scores}}/scores.json >> ${{outputs.page}}/index
          inputs:
            title: ${{parent.inputs.title}}
            scores: {path: "${{parent.inputs.scores}}"}
          outputs: {page: "${{parent.outputs.page}}"}
    inputs: {scores: "${{parent.jobs.score_job.outputs.score_output}}"}
    outputs: {page: "${{parent.outputs.report}}"}
"""


def test_a_pipeline_as_others_write_them_runs(home, tmp_path):
    folder = tmp_path / "their pipeline"
    for name in ("data", "train_src"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "a.csv").write_text("1 2 3")
    (folder / "train_src" / "train.py").write_text(TRAIN_CODE)
    for name, text in (("train", TRAIN), ("score", SCORE), ("pipeline", OTHERS)):
        (folder / f"{name}.yml").write_text(text)
    info = lifecycle.publish(None, folder / "pipeline.yml", directory=home)
    assert info.name == "train-and-score"
    # What was published stays as it was.
    (folder / "train_src" / "train.py").write_text("raise SystemExit('changed')")
    started = lifecycle.run(info.name, {"max_epochs": "2"}, directory=home)
    with lifecycle.client(info.name, directory=home) as client:
        job = client.wait(started.id, timeout=120)
        assert job.status == "Completed", job.error
        assert [step["name"] for step in job.steps] == [
            "train_job",
            "score_job",
            "look_job",
            "report_job",
            "report_job.draw",
        ]
        assert {step["status"] for step in job.steps} == {"Completed"}
        page = client.download(job.id, "report", tmp_path / "got")
        title, content = (page / "index").read_text().splitlines()
        assert title == "a report"
        assert json.loads(content) == {"rows": 3, "rate": 3.0, "note": None}


def test_kills_in_every_step_of_a_pipeline_finish_it_once(home, tmp_path):
    """Random moments: the service, and what runs, die in whatever step they are in."""
    trace = tmp_path / "trace"
    step = (
        f"echo ${{{{inputs.name}}}} >> {trace}.start; sleep 0.15; "
        f"echo ${{{{inputs.name}}}} >> {trace}; cp ${{{{inputs.before}}}} ${{{{outputs.out}}}}"
    )
    (tmp_path / "seed").write_text("seed")
    jobs = {}
    for number in range(5):
        before = f"${{{{parent.jobs.s{number - 1}.outputs.out}}}}" if number else {
            "type": "uri_file", "path": str(tmp_path / "seed")}  # fmt: skip
        jobs[f"s{number}"] = {
            "type": "command",
            "command": step,
            "inputs": {"name": f"s{number}", "before": before},
            "outputs": {"out": {"type": "uri_file"}},
        }
    file = tmp_path / "chain.yml"
    file.write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}))
    lifecycle.publish("demo", file, directory=home)
    moments = random.Random(os.getpid())
    job_id = lifecycle.run("demo", {}, directory=home).id
    for _ in range(4):
        time.sleep(moments.uniform(0.0, 0.6))
        crash(home)
        lifecycle.publish("demo", file, directory=home)
    job = finish(home, job_id)
    assert job.status == "Completed", job.error
    assert [step["status"] for step in job.steps] == ["Completed"] * 5
    # A step whose end was seen is never begun again, and what is passed on is whole.
    assert list(dict.fromkeys(trace.read_text().split())) == [f"s{n}" for n in range(5)]
    began = (tmp_path / "trace.start").read_text().split()
    assert began == sorted(began), "no step begins after one that needs it"


def test_a_schedule_fires_once_survives_a_kill_and_makes_up_for_what_it_missed(home):
    trace = publish_traced(home)
    made = lifecycle.schedule(Schedule("often", "demo", every="2s"), directory=home)
    assert made.next is not None
    wait_for(lambda: len(traced(trace, "end")) >= 1)
    crash(home)
    seen = len(traced(trace, "start"))
    time.sleep(5)  # Two or three are missed.
    restart(home).close()
    with lifecycle.client("demo", directory=home) as client:
        wait_for(lambda: len(traced(trace, "start")) > seen)
        lifecycle.unschedule("often", directory=home)
        wait_for(lambda: all(job.status == "Completed" for job in client.jobs()))
        jobs = client.jobs()
    assert {job.schedule for job in jobs} == {"often"}
    assert lifecycle.schedules(directory=home) == ()
    created = sorted(datetime.fromisoformat(job.created).timestamp() for job in jobs)
    gaps = [later - earlier for earlier, later in pairwise(created)]
    assert max(gaps) >= 5, "what was missed is not made up for one by one"
    assert len(traced(trace, "end")) == len(jobs)
    with pytest.raises(NotFound, match="no schedule 'often'"):
        lifecycle.unschedule("often", directory=home)


def test_the_command_line_publishes_runs_watches_and_schedules(home, monkeypatch, tmp_path):
    from twinml.cli.pipeline import command

    monkeypatch.setenv("TWINML_HOME", str(home.parent))

    def call(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(command, [*arguments, "--json"], prog_name="pipeline")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    file = tmp_path / "demo.yml"
    bound = {name: f"${{{{parent.inputs.{name}}}}}" for name in ("nap", "code")}
    job = {"command": "sleep ${{inputs.nap}}; exit ${{inputs.code}}", "inputs": bound}
    content = {"type": "pipeline", "inputs": {"nap": 0, "code": 0}, "jobs": {"s": job}}
    file.write_text(yaml.safe_dump(content))

    done = call("run", str(file), "--wait")
    assert (done["status"], done["pipeline"]) == ("Completed", "demo")
    failed = call("run", "demo", "-i", "code=4", "--wait", code=1)
    assert failed["error"] == "step 's' exited with 4"
    wrong = call("run", "demo", "-i", "nap=soon", code=1)
    assert "input 'nap': found 'soon'" in wrong["message"]
    wrong = call("run", "demo", "-i", "code", code=1)
    assert (wrong["message"], wrong["hint"]) == (
        "input 'code' is not NAME=VALUE",
        "Write -i code=VALUE.",
    )
    slow = call("run", "demo", "-i", "nap=60")["id"]
    assert call("cancel", "demo", slow)["status"] == "Canceled"
    assert call("status", "demo", slow)["steps"][0]["name"] == "s"
    assert "step s" in call("logs", "demo", failed["id"])["logs"]
    assert [job["id"] for job in call("list", "demo")] == [slow, failed["id"], done["id"]]
    assert call("list", "demo", "--status", "Failed")[0]["id"] == failed["id"]
    assert call("publish", str(file), "--name", "other", "-i", "nap=1")["name"] == "other"
    assert [one["name"] for one in call("list")] == ["demo", "other"]
    wrong = call("publish", str(home / "service.log"), code=1)
    assert "service.log" in wrong["message"]

    made = call("schedule", "demo", "--cron", "0 6 * * 1", "--timezone", "Europe/Berlin")
    assert made["next"].endswith(":00:00Z")
    assert [one["name"] for one in call("schedules")] == ["demo"]
    assert "is not valid" in call("schedule", "demo", "--cron", "0 0 30 2 *", code=1)["message"]
    assert "there is no pipeline" in call("schedule", "no", "--every", "1d", code=1)["message"]
    assert call("unschedule", "demo") == {"deleted": "demo"}

    table = tmp_path / "calls.csv"
    missing = call("publish", "--data", str(table), "--target", "y", code=1)
    assert missing["error_code"] == "INVALID_DATA"
    table.write_text("age,answer\n41,no\n")
    wrong = call("publish", "--data", str(table), "--target", "anwser", code=1)
    assert wrong["message"] == "'calls.csv' has no column 'anwser'"
    assert "Did you mean 'answer'?" in wrong["hint"]
    assert call("publish", "--data", str(table), "--target", "answer")["name"] == "training"

    monkeypatch.setenv("TWINML_PIPELINE_URI", lifecycle.info("demo", directory=home).uri)
    monkeypatch.setenv("TWINML_PIPELINE_KEY", "wrong")
    assert "key" in call("list", "demo", code=1)["message"]
