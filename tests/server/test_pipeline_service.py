"""The REST API of pipelines in process: every route, every error; jobs run when told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from twinml.errors import PlatformError
from twinml.pipeline import PipelineDefinition
from twinml_local.jobs.queue import JobQueue
from twinml_local.jobs.recovery import recover
from twinml_local.jobs.runner import Runner
from twinml_local.jobs.service import create_app
from twinml_local.jobs.step import end_orphans
from twinml_local.jobs.store import JobStore
from twinml_local.processes import (
    _identity_from_ps,
    generate_keys,
    locked,
    process_identity,
)


def python(code: str, *arguments: str) -> list[str]:
    return ["${{python}}", "-c", code, *arguments]


@dataclass
class Service:
    store: JobStore
    queue: JobQueue
    runner: Runner
    http: FlaskClient
    key: str
    directory: Path
    queued: list[str]

    def publish(self, *steps: dict[str, Any], name: str = "demo", **inputs: Any) -> None:
        content = {"name": name, "inputs": inputs, "steps": list(steps)}
        self.store.publish(PipelineDefinition.from_dict(content))

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **arguments.pop("headers", {})}
        return self.http.open(path, method=method, headers=headers, **arguments)

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def start(self, inputs: dict[str, Any] | None = None) -> str:
        reply = self.call("POST", "/pipelines/demo/jobs", json={"inputs": inputs or {}})
        assert reply.status_code == 201, reply.text
        return str(reply.json["id"])

    def run(self, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
        job_id = self.start(inputs)
        self.runner.run(job_id)
        return dict(self.get(f"/pipelines/demo/jobs/{job_id}").json)


@pytest.fixture
def service(tmp_path):
    directory = tmp_path / "home" / "pipelines"
    store = JobStore(directory / "jobs.db")
    runner = Runner(store, directory)
    queued: list[str] = []
    queue = JobQueue(directory / "queue.db", queued.append)
    keys = generate_keys(directory / "keys.json")
    app = create_app(store, queue, runner, directory / "keys.json")
    yield Service(store, queue, runner, app.test_client(), keys.primary, directory, queued)
    queue.stop()
    queue.close()
    store.close()


@pytest.fixture
def demo(service):
    code = "import json, sys; print(json.dumps({'n': int(sys.argv[1]) * 2}))"
    step = {"name": "double", "command": python(code, "${{inputs.n}}")}
    service.publish(step, n={"type": "integer", "default": 4}, note={"default": "-"})
    return service


def assert_error(reply: Any, status: int, code: str, *words: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.mimetype == "application/json"
    shape = dict(reply.json)
    assert shape["error_code"] == code
    for word in words:
        assert word in json.dumps(shape, ensure_ascii=False)
    assert "Traceback" not in reply.text
    assert str(Path(__file__).parents[2]) not in reply.text
    return shape


# --- starting a job ----------------------------------------------------------------------


def test_a_job_is_accepted_queued_and_located(demo):
    reply = demo.call("POST", "/pipelines/demo/jobs", json={"inputs": {"n": 3}})
    assert reply.status_code == 201
    job = reply.json
    assert reply.headers["Location"].endswith(f"/pipelines/demo/jobs/{job['id']}")
    assert job["name"] == job["id"]
    assert (job["status"], job["inputs"]) == ("Queued", {"n": 3, "note": "-"})
    assert (job["started"], job["ended"], job["error"]) == (None, None, None)
    assert demo.get(reply.headers["Location"]).json == job


@pytest.mark.parametrize("body", [b"", b"{}", b'{"inputs": {}}'])
def test_without_inputs_the_defaults_hold(demo, body):
    reply = demo.call("POST", "/pipelines/demo/jobs", data=body)
    assert reply.status_code == 201
    assert reply.json["inputs"] == {"n": 4, "note": "-"}


def test_azures_batch_form_reads_literals(demo):
    literal = {"JobInputType": "Literal", "Value": "3"}
    body = {"properties": {"InputData": {"n": literal}, "ExperimentName": "nightly"}}
    reply = demo.call("POST", "/pipelines/demo/jobs", json=body)
    assert reply.status_code == 201
    assert reply.json["inputs"]["n"] == 3
    assert reply.json["experiment"] == "nightly"


def test_the_published_pipeline_form_answers_with_an_id(demo):
    reply = demo.call(
        "POST", "/pipelines/demo/jobs", json={"ExperimentName": "pipeline-rest-endpoint"}
    )
    assert reply.status_code == 200
    assert list(reply.json) == ["Id"]
    job = demo.get(f"/pipelines/demo/jobs/{reply.json['Id']}").json
    assert job["experiment"] == "pipeline-rest-endpoint"
    body = {"ExperimentName": "e", "ParameterAssignments": {"n": 9}}
    reply = demo.call("POST", "/pipelines/demo/jobs", json=body)
    assert demo.get(f"/pipelines/demo/jobs/{reply.json['Id']}").json["inputs"]["n"] == 9


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", ["the body is not JSON", "line 1"]),
        (b'{"inputs": {"n": NaN}}', ["not JSON"]),
        (b"\xff\xfe{}", ["not JSON"]),
        (b"[" * 100_000, ["not JSON"]),
        (b"[1]", ["found [1], expected a JSON object"]),
        (b'{"input": {}}', ["there is no key 'input'"]),
        (b'{"inputs": [1]}', ["inputs: found [1], expected an object"]),
        (b'{"inputs": {"n": "x"}}', ["input 'n'", "found 'x'", "expected an integer"]),
        (b'{"inputs": {"m": 1}}', ["there is no input 'm'", "one of: n, note"]),
        (b'{"inputs": {"note": "\\u0000"}}', ["without NUL"]),
        (b'{"inputs": {"note": "\\ud800"}}', ["Unicode"]),
        (b'{"inputs": {"\\ud800": 1}}', ["there is no input"]),
        (b'{"properties": 3}', ["properties: found 3"]),
        (b'{"properties": {"OutputData": {}}}', ["OutputData", "InputData"]),
        (b'{"properties": {"InputData": {"n": 3}}}', ["InputData.n", "Literal"]),
        (
            b'{"properties": {"InputData": {"n": {"JobInputType": "UriFile", "Uri": "x"}}}}',
            ["InputData.n", "UriFile"],
        ),
        (b'{"ExperimentName": 3}', ["ExperimentName: found 3"]),
        (b'{"ExperimentName": "e", "Other": 1}', ["there is no key 'Other'"]),
    ],
)
def test_a_wrong_body_is_refused_and_no_job_is_kept(demo, body, words):
    reply = demo.call("POST", "/pipelines/demo/jobs", data=body, content_type="application/json")
    assert_error(reply, 400, "INVALID_PAYLOAD", *words)
    assert demo.store.jobs() == []


def test_every_wrong_input_is_in_the_details(demo):
    reply = demo.call("POST", "/pipelines/demo/jobs", json={"inputs": {"n": "x", "m": 1}})
    shape = assert_error(reply, 400, "INVALID_PAYLOAD")
    assert [(item["column"], item["value"]) for item in shape["details"]] == [("m", 1), ("n", "x")]


def test_another_content_type_is_refused(demo):
    for kind in ("text/csv", "application/x-www-form-urlencoded"):
        reply = demo.call("POST", "/pipelines/demo/jobs", data=b"n=3", content_type=kind)
        assert_error(reply, 415, "INVALID_PAYLOAD", kind)


def test_a_large_body_is_refused(demo):
    body = json.dumps({"inputs": {"note": "x" * 1_100_000}}).encode()
    reply = demo.call("POST", "/pipelines/demo/jobs", data=body, content_type="application/json")
    assert_error(reply, 413, "INVALID_PAYLOAD", "1000000 bytes")


# --- the key -----------------------------------------------------------------------------

ROUTES = [
    ("POST", "/pipelines/demo/jobs"),
    ("GET", "/pipelines/demo/jobs"),
    ("GET", "/pipelines/demo/jobs/1"),
    ("GET", "/pipelines/demo/jobs/1/logs"),
    ("POST", "/pipelines/demo/jobs/1/cancel"),
    ("GET", "/pipelines/demo"),
    ("GET", "/elsewhere"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer é"]
)
def test_without_the_key_nothing_is_told_or_done(demo, method, path, given):
    headers = {} if given is None else {"Authorization": given.format(key=demo.key)}
    reply = demo.http.open(path, method=method, headers=headers)
    assert_error(reply, 401, "UNAUTHENTICATED", "key")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert demo.store.jobs() == []


def test_both_keys_open_and_new_keys_count_at_once(demo):
    old = generate_keys(demo.directory / "keys.json")
    for key in (old.primary, old.secondary):
        headers = {"Authorization": f"Bearer {key}"}
        assert demo.http.get("/pipelines/demo", headers=headers).status_code == 200
    new = generate_keys(demo.directory / "keys.json", replace=True)
    assert demo.http.get("/pipelines/demo", headers=headers).status_code == 401
    headers = {"Authorization": f"Bearer {new.primary}"}
    assert demo.http.get("/pipelines/demo", headers=headers).status_code == 200
    assert (demo.directory / "keys.json").stat().st_mode & 0o777 == 0o600


# --- looking -----------------------------------------------------------------------------


def test_health_and_swagger_are_open_and_swagger_is_valid(demo):
    assert demo.http.get("/health").json["status"] == "Healthy"
    swagger = demo.http.get("/swagger.json").json
    assert swagger["openapi"].startswith("3.1")
    validate(swagger)


def test_swagger_names_every_route_of_the_application(demo):
    rules = demo.http.application.url_map.iter_rules()
    served = {
        (rule.rule.replace("<name>", "{name}").replace("<job_id>", "{id}"), method.lower())
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    paths = demo.http.get("/swagger.json").json["paths"]
    documented = {
        (path, method) for path, item in paths.items() for method in item.keys() - {"parameters"}
    }
    assert documented == served


def test_a_definition_is_shown_with_its_version(demo):
    shown = demo.get("/pipelines/demo").json
    assert shown["version"] == "1"
    assert shown["inputs"]["n"] == {"type": "integer", "default": 4}
    assert sys.executable not in json.dumps(shown)


def test_jobs_are_listed_newest_first_by_status_and_limit(demo):
    ids = [demo.start({"n": n}) for n in range(3)]
    demo.runner.run(ids[1])

    def listed(query: str) -> list[str]:
        return [job["id"] for job in demo.get(f"/pipelines/demo/jobs{query}").json["jobs"]]

    assert listed("") == ids[::-1]
    assert listed("?limit=2") == [ids[2], ids[1]]
    assert listed("?status=Queued") == [ids[2], ids[0]]
    assert listed("?status=Completed&limit=5") == [ids[1]]


def test_jobs_of_another_pipeline_are_not_shown(demo):
    demo.publish({"name": "s", "command": ["true"]}, name="other")
    job_id = demo.start()
    assert demo.get("/pipelines/other/jobs").json == {"jobs": []}
    assert_error(demo.get(f"/pipelines/other/jobs/{job_id}"), 404, "RESOURCE_DOES_NOT_EXIST")
    reply = demo.call("POST", f"/pipelines/other/jobs/{job_id}/cancel")
    assert_error(reply, 404, "RESOURCE_DOES_NOT_EXIST")
    assert demo.store.job("demo", job_id).cancel_requested is False


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "limit=²", "status=done"])
def test_wrong_list_arguments_are_refused(demo, query):
    assert_error(
        demo.get(f"/pipelines/demo/jobs?{query}"), 400, "INVALID_PARAMETER_VALUE", "expected"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/pipelines/none", 404),
        ("POST", "/pipelines/none/jobs", 404),
        ("GET", "/pipelines/none/jobs", 404),
        ("GET", "/pipelines/demo/jobs/none", 404),
        ("GET", "/pipelines/demo/jobs/..%2f..%2fkeys.json/logs", 404),
        ("POST", "/pipelines/demo/jobs/none/cancel", 404),
        ("GET", "/elsewhere", 404),
        ("DELETE", "/pipelines/demo/jobs", 405),
        ("GET", "/pipelines/demo/jobs/none/cancel", 405),
    ],
)
def test_what_is_not_there_is_said_in_the_one_shape(demo, method, path, status):
    reply = demo.call(method, path)
    assert reply.status_code == status
    assert set(reply.json) >= {"error_code", "message"}
    assert (reply.headers.get("Allow") is not None) == (status == 405)


# --- running -----------------------------------------------------------------------------


def test_the_last_steps_json_becomes_the_outputs(demo):
    job = demo.run({"n": 21})
    assert (job["status"], job["outputs"], job["error"]) == ("Completed", {"n": 42}, None)
    assert job["created"] <= job["started"] <= job["ended"]
    [step] = job["steps"]
    assert (step["status"], step["exit_code"]) == ("Completed", 0)
    assert step["started"] <= step["ended"]


@pytest.mark.parametrize(
    ("printed", "outputs"),
    [
        ("", {}),
        ("not json", {}),
        ("[1, 2]", {"value": [1, 2]}),
        ('{"auc": NaN}', {"auc": None}),
    ],
)
def test_other_output_makes_no_invalid_reply(service, printed, outputs):
    service.publish({"name": "s", "command": ["printf", "%s", printed]})
    job = service.run()
    assert (job["status"], job["outputs"]) == ("Completed", outputs)


def test_steps_run_in_order_in_the_jobs_folder_with_its_environment(service):
    code = (
        "import json, os, pathlib;"
        "print(json.dumps({'here': os.getcwd(), 'left': pathlib.Path('left').read_text(),"
        "'home': os.environ['TWINML_HOME'], 'id': os.environ['TWINML_JOB_ID']}))"
    )
    service.publish(
        {"name": "one", "command": python("open('left', 'w').write('by one')")},
        {"name": "two", "command": python(code)},
    )
    job = service.run()
    folder = service.directory / "jobs" / job["id"]
    assert job["outputs"] == {
        "here": str(folder),
        "left": "by one",
        "home": str(service.directory.parent),
        "id": job["id"],
    }


def test_a_failure_ends_the_job_and_says_why(service):
    code = "import sys; print('some output'); print('it broke', file=sys.stderr); sys.exit(3)"
    service.publish(
        {"name": "bad", "command": python(code)}, {"name": "never", "command": ["true"]}
    )
    job = service.run()
    assert job["status"] == "Failed"
    assert job["error"] == "step 'bad' exited with 3: it broke"
    assert [step["status"] for step in job["steps"]] == ["Failed", "NotStarted"]
    assert [step["exit_code"] for step in job["steps"]] == [3, None]
    logs = service.get(f"/pipelines/demo/jobs/{job['id']}/logs")
    assert logs.mimetype == "text/plain"
    assert "step bad, attempt 1, stdout =====\nsome output\n" in logs.text
    assert "step bad, attempt 1, stderr =====\nit broke\n" in logs.text


def test_a_twinml_error_on_stdout_is_the_reason(service):
    shape = json.dumps({"error_code": "INVALID_DATA", "message": "no column 'y'"})
    service.publish({"name": "s", "command": python(f"print({shape!r}); raise SystemExit(1)")})
    assert service.run()["error"] == "step 's' exited with 1: no column 'y'"


def test_a_missing_program_fails_the_job(service):
    service.publish({"name": "s", "command": ["no-such-program"]})
    job = service.run()
    assert job["error"] == "step 's' cannot start: there is no program 'no-such-program'"


def test_a_step_that_takes_too_long_is_ended_with_its_children(service):
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']);"
        "open('child', 'w').write(str(p.pid)); time.sleep(60)"
    )
    service.publish({"name": "slow", "command": python(code), "timeout_seconds": 0.7})
    job = service.run()
    assert job["error"] == "step 'slow' was ended after 0.7 s (timeout_seconds)"
    child = int((service.directory / "jobs" / job["id"] / "child").read_text())
    assert process_identity(child) is None


def test_what_a_step_leaves_running_is_ended_with_it(service):
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    service.publish({"name": "s", "command": ["sh", "-c", script]})
    job = service.run()
    assert job["status"] == "Completed"
    assert process_identity(job["outputs"]["value"]) is None


def test_a_job_is_run_once_however_often_it_is_queued(service):
    service.publish({"name": "s", "command": python("open('runs', 'a').write('x')")})
    job = service.run()
    service.runner.run(job["id"])
    assert (service.directory / "jobs" / job["id"] / "runs").read_text() == "x"
    assert service.get(f"/pipelines/demo/jobs/{job['id']}").json == job


# --- canceling ---------------------------------------------------------------------------


def test_a_queued_job_is_canceled_at_once_and_never_runs(demo):
    job_id = demo.start()
    reply = demo.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel")
    assert (reply.status_code, reply.json["status"]) == (200, "Canceled")
    demo.runner.run(job_id)
    assert not (demo.directory / "jobs" / job_id).exists()
    again = demo.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel")
    assert (again.status_code, again.json) == (200, reply.json)


def test_an_ended_job_cannot_be_canceled(demo):
    job = demo.run()
    reply = demo.call("POST", f"/pipelines/demo/jobs/{job['id']}/cancel")
    assert_error(reply, 409, "INVALID_STATE", "Completed")
    assert demo.get(f"/pipelines/demo/jobs/{job['id']}").json == job


def test_a_running_job_is_canceled_and_may_clean_up(service):
    code = (
        "import signal, sys, time\n"
        "def clean(*_):\n"
        "    time.sleep(0.3); open('cleaned', 'w').close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, clean); open('ready', 'w').close(); time.sleep(60)"
    )
    service.publish({"name": "s", "command": python(code)})
    job_id = service.start()
    folder = service.directory / "jobs" / job_id
    thread = threading.Thread(target=service.runner.run, args=(job_id,))
    thread.start()
    wait_for(lambda: (folder / "ready").exists())
    reply = service.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel")
    assert (reply.status_code, reply.json["status"]) == (202, "Running")
    thread.join(10)
    job = service.get(f"/pipelines/demo/jobs/{job_id}").json
    assert (job["status"], job["steps"][0]["status"]) == ("Canceled", "Canceled")
    assert (folder / "cleaned").exists()


def test_a_stopping_service_queues_its_job_again_without_counting(service):
    service.publish(
        {"name": "s", "command": python("open('up', 'w'); import time; time.sleep(60)")}
    )
    job_id = service.start()
    thread = threading.Thread(target=service.runner.run, args=(job_id,))
    thread.start()
    wait_for(lambda: (service.directory / "jobs" / job_id / "up").exists())
    service.runner.shutdown()
    thread.join(10)
    job = service.store.job("demo", job_id)
    assert (job.status, job.attempt, job.steps[0].status) == ("Queued", 0, "NotStarted")


# --- definitions, queue, recovery --------------------------------------------------------


def test_unchanged_content_keeps_the_version_and_a_job_its_own(service):
    def publish(word: str) -> int:
        steps = [{"name": "s", "command": ["printf", "%s", f'"{word}"']}]
        content = {"name": "demo", "steps": steps}
        return service.store.publish(PipelineDefinition.from_dict(content))

    assert [publish("a"), publish("a")] == [1, 1]
    first = service.start()
    assert [publish("b"), publish("a")] == [2, 3]
    service.runner.run(first)
    assert service.store.job("demo", first).version == 1
    assert service.store.job("demo", first).outputs == {"value": "a"}


def test_a_worker_takes_jobs_in_their_order(demo):
    ids = [demo.start() for _ in range(5)]
    demo.queue.start(1)
    wait_for(lambda: len(demo.queued) == 5)
    assert demo.queued == ids


def test_recovery_puts_back_what_the_queue_has_lost(demo):
    ids = [demo.start() for _ in range(3)]
    demo.queue.refill([])
    recover(demo.store, demo.queue, demo.runner)
    demo.queue.start(1)
    wait_for(lambda: len(demo.queued) == 3)
    assert demo.queued == ids


def test_recovery_gives_up_after_three_attempts(demo):
    job_id = demo.start()
    for attempt in (1, 2, 3):
        claimed = demo.store.claim(job_id)
        assert claimed is not None
        assert claimed.attempt == attempt
        recover(demo.store, demo.queue, demo.runner)
    job = demo.get(f"/pipelines/demo/jobs/{job_id}").json
    assert job["status"] == "Failed"
    assert job["error"] == "the pipeline service ended 3 times while this job ran"


def test_recovery_finishes_a_cancel_that_was_asked_for(demo):
    job_id = demo.start()
    demo.store.claim(job_id)
    assert demo.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel").status_code == 202
    recover(demo.store, demo.queue, demo.runner)
    assert demo.store.job("demo", job_id).status == "Canceled"


def test_a_step_that_ended_unseen_is_not_run_again(demo):
    job_id = demo.start()
    job = demo.store.claim(job_id)
    assert job is not None
    logs = demo.directory / "jobs" / job_id / "logs"
    logs.mkdir(parents=True)
    (logs / "00-double.1.stdout").write_text('{"n": "from before"}')
    (logs / "00-double.1.exit").write_text("0\n")
    demo.store.step_started(job, 0, 2**22 - 1, "gone")
    recover(demo.store, demo.queue, demo.runner)
    demo.runner.run(job_id)
    ended = demo.store.job("demo", job_id)
    assert (ended.status, ended.outputs) == ("Completed", {"n": "from before"})


def test_recovery_leaves_a_stranger_with_the_same_pid_alone(demo):
    stranger = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        job = demo.store.claim(demo.start())
        assert job is not None
        demo.store.step_started(job, 0, stranger.pid, "started at another time")
        recover(demo.store, demo.queue, demo.runner)
        assert stranger.poll() is None
        assert demo.store.job("demo", job.id).status == "Queued"
    finally:
        stranger.kill()
        stranger.wait()


def test_what_outlives_its_recorded_process_is_ended_but_no_stranger(tmp_path):
    def family(mark: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start a leader with a child, kill the leader, return the child's pid."""
        child = tmp_path / mark
        leader = subprocess.Popen(
            ["/bin/sh", "-c", 'sleep 30 & echo $! >"$0.new"; mv "$0.new" "$0"; wait', str(child)],
            env={**os.environ, "MARK": mark},
            start_new_session=True,
        )
        wait_for(child.exists)
        leader.kill()
        leader.wait()
        return leader, int(child.read_text())

    ours, child = family("ours")
    theirs, stranger = family("theirs")
    try:
        end_orphans(ours.pid, "gone", mark="MARK=ours")
        end_orphans(theirs.pid, "gone", mark="MARK=ours")
        assert process_identity(child) is None
        assert process_identity(stranger) is not None
    finally:
        end_orphans(theirs.pid, "gone", mark="MARK=theirs")
    assert process_identity(stranger) is None


def test_ps_tells_processes_apart_where_there_is_no_proc():
    assert _identity_from_ps(os.getpid()) == _identity_from_ps(os.getpid())
    assert _identity_from_ps(1) not in (None, _identity_from_ps(os.getpid()))
    ended = subprocess.Popen(["true"])
    wait_for(lambda: _identity_from_ps(ended.pid) is None)
    assert ended.wait() == 0


def test_only_one_attempt_can_finish_a_job(demo):
    first = demo.store.claim(demo.start())
    assert first is not None
    demo.store.requeue(first, uncounted=False)
    second = demo.store.claim(first.id)
    assert second is not None
    assert demo.store.finish(first, "Completed", outputs={"by": "first"}) is False
    assert demo.store.finish(second, "Completed", outputs={"by": "second"}) is True
    assert demo.store.finish(second, "Failed") is False
    assert demo.store.job("demo", first.id).outputs == {"by": "second"}


def test_a_folder_has_one_lock_holder(tmp_path):
    with (
        locked(tmp_path / "lock"),
        pytest.raises(PlatformError, match="held by another process"),
        locked(tmp_path / "lock", timeout=0.05),
    ):
        pytest.fail("the lock was given twice")
    with locked(tmp_path / "lock", timeout=0):
        assert (tmp_path / "lock").exists()


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
