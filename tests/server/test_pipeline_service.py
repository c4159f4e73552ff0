"""The REST API of pipelines in process: every route, every error; jobs run when told to."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import subprocess
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from azureml_runner.engine import end_orphans, step_folder
from azureml_runner.locks import Held, locked
from azureml_runner.processes import _identity_from_ps, process_identity
from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.definition.pipeline import PipelineDefinition
from twinml_local.jobs.rest.app import create_app
from twinml_local.keys import generate_keys


def definition(
    name: str, jobs: dict[str, Any], inputs: dict[str, Any], **settings: Any
) -> PipelineDefinition:
    """Return a pipeline of commands that take all of its inputs."""
    bound = {key: f"${{{{parent.inputs.{key}}}}}" for key in inputs}
    for job in jobs.values():
        job["inputs"] = {**bound, **job.get("inputs", {})}
    content = {"type": "pipeline", "inputs": inputs, "jobs": jobs, "settings": settings}
    return PipelineDefinition(name, content)


@dataclass
class Service:
    store: JobStore
    runner: Runner
    http: FlaskClient
    key: str
    directory: Path

    def publish(self, *jobs: str | dict[str, Any], name: str = "demo", **inputs: Any) -> None:
        """Publish commands ``s``, ``s1``, …: shell text, or a whole job."""
        made = {
            f"s{number or ''}": {"command": job} if isinstance(job, str) else job
            for number, job in enumerate(jobs)
        }
        self.store.publish(definition(name, made, inputs))

    def work(self, job_id: str, step: str = "s") -> Path:
        return step_folder(self.runner.job_directory(job_id), step).files(1).folder / "work"

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
def service(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINML_PIPELINE_TRACKING", "off")
    directory = tmp_path / "home" / "pipelines"
    store = JobStore(directory / "service.db")
    runner = Runner(store, directory)
    keys = generate_keys(directory / "keys.json")
    app = create_app(store, runner, directory / "keys.json")
    yield Service(store, runner, app.test_client(), keys.primary, directory)
    runner.shutdown()
    runner.join()
    runner.close()
    store.close()


@pytest.fixture
def demo(service):
    double = {
        "command": "echo $((${{inputs.n}} * 2)) > ${{outputs.twice}}",
        "outputs": {"twice": {"type": "uri_file"}},
    }
    service.publish(double, n=4, note="-")
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
        (b'{"inputs": {"m": 1}}', ["there is no input 'm'", "n, note"]),
        (b'{"inputs": {"note": "\\u0000"}}', ["without NUL"]),
        (b'{"inputs": {"note": "\\ud800"}}', ["Unicode"]),
        (b'{"inputs": {"\\ud800": 1}}', ["there is no input"]),
        (b'{"properties": 3}', ["properties: found 3"]),
        (b'{"properties": {"OutputData": {"o": {}}}}', ["OutputData", "not supported"]),
        (b'{"properties": {"Other": {}}}', ["Other", "InputData"]),
        (b'{"properties": {"InputData": {"n": 3}}}', ["InputData.n", "Literal"]),
        (
            b'{"properties": {"InputData": {"n": {"jobInputType": "uri_file", "uri": "x"}}}}',
            ["input 'n'", "expected an integer"],
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
    assert [(item["column"], item["value"]) for item in shape["details"]] == [("n", "x"), ("m", 1)]


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
    ("GET", "/pipelines/demo/jobs/1/outputs/twice"),
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
        (
            re.sub(r"<(?:job_)?(\w+)>", r"{\1}", rule.rule),
            method.lower(),
        )
        for rule in rules
        if not rule.rule.startswith("/docs")
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
    assert shown["definition"]["jobs"]["s"]["inputs"]["n"] == "${{parent.inputs.n}}"


def test_the_page_to_try_it_is_there_without_a_network(demo):
    page = demo.http.get("/docs/")
    assert page.status_code == 200
    assert "swagger-ui" in page.text
    assert not re.search(r"(src|href)=.https?:", page.text)


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
    demo.publish("true", name="other")
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


def test_a_job_completes_and_its_output_can_be_fetched(service):
    file = {
        "command": "echo $((${{inputs.n}} * 2)) > ${{outputs.twice}}",
        "outputs": {"twice": "${{parent.outputs.twice}}"},
    }
    folder = {
        "command": "mkdir ${{outputs.both}}/in && echo ${{inputs.n}} > ${{outputs.both}}/in/n",
        "outputs": {"both": "${{parent.outputs.both}}"},
    }
    made = definition("demo", {"a": file, "b": folder}, {"n": 4})
    outputs = {"twice": {"type": "uri_file"}, "both": None}
    service.store.publish(PipelineDefinition("demo", {**made.content, "outputs": outputs}))
    job = service.run({"n": 21})
    assert (job["status"], job["error"]) == ("Completed", None)
    assert {key: held["type"] for key, held in job["outputs"].items()} == {
        "twice": "uri_file",
        "both": "uri_folder",
    }
    assert job["created"] <= job["started"] <= job["ended"]
    for step in job["steps"]:
        assert (step["status"], step["exit_code"], step["attempt"]) == ("Completed", 0, 1)
        assert step["started"] <= step["ended"]
    place = f"/pipelines/demo/jobs/{job['id']}/outputs"
    with service.get(f"{place}/twice") as reply:
        assert reply.data == b"42\n"
    with service.get(f"{place}/both") as reply:
        assert reply.mimetype == "application/zip"
        assert zipfile.ZipFile(io.BytesIO(reply.data)).read("in/n") == b"21\n"
    assert_error(service.get(f"{place}/other"), 404, "RESOURCE_DOES_NOT_EXIST", "twice, both")
    # The same again is not done again.
    again = service.run({"n": 21})
    assert [step["reused"] for step in again["steps"]] == [True, True]
    assert (
        "the result of an earlier run"
        in service.get(f"/pipelines/demo/jobs/{again['id']}/logs").text
    )


def test_a_step_finds_its_job_in_the_environment(service):
    service.publish('test -n "$PYTHONUNBUFFERED" && env > variables')
    job = service.run()
    variables = (service.work(job["id"]) / "variables").read_text().splitlines()
    assert f"TWINML_HOME={service.directory.parent}" in variables
    assert f"TWINML_JOB_ID={job['id']}" in variables
    assert "TWINML_STEP_NAME=s" in variables


def test_what_a_client_sends_is_never_read_by_the_shell(service):
    service.publish("echo ${{inputs.x}}; echo '${{inputs.x}}'; ls", x="none")
    job = service.run({"x": "$(touch HACKED); `touch HACKED`'\"; touch HACKED"})
    assert job["status"] == "Completed"
    assert list(service.work(job["id"]).iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "codes"),
    [({"continue_on_step_failure": False}, [3, None]), ({}, [3, 0])],
)
def test_a_failure_ends_the_job_and_says_why(service, settings, codes):
    beside = "sleep 60" if settings else "true"
    jobs = {"s": {"command": "echo some output; echo it broke >&2; exit 3"}}
    jobs["s1"] = {"command": beside}
    service.store.publish(definition("demo", jobs, {}, **settings))
    job = service.run()
    assert job["status"] == "Failed"
    assert job["error"] == "step 's' exited with 3: some output\nit broke"
    assert [step["exit_code"] for step in job["steps"]] == codes
    logs = service.get(f"/pipelines/demo/jobs/{job['id']}/logs")
    assert logs.mimetype == "text/plain"
    assert "step s, attempt 1 =====\nsome output\nit broke\n" in logs.text


def test_what_a_step_leaves_running_is_ended_with_it(service):
    service.publish("sleep 60 >/dev/null 2>&1 & echo $! > child")
    job = service.run()
    assert job["status"] == "Completed"
    assert process_identity(int((service.work(job["id"]) / "child").read_text())) is None


def test_a_job_is_run_once_however_often_it_is_queued(service):
    service.publish("echo x >> runs")
    job = service.run()
    service.runner.run(job["id"])
    assert (service.work(job["id"]) / "runs").read_text() == "x\n"
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
    service.publish("trap 'sleep 0.3; touch cleaned; exit 0' TERM; touch ready; sleep 60 & wait")
    job_id = service.start()
    folder = service.work(job_id)
    thread = threading.Thread(target=service.runner.run, args=(job_id,))
    thread.start()
    wait_for(lambda: (folder / "ready").exists())
    reply = service.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel")
    assert (reply.status_code, reply.json["status"]) == (202, "Running")
    thread.join(30)
    job = service.get(f"/pipelines/demo/jobs/{job_id}").json
    assert (job["status"], job["steps"][0]["status"]) == ("Canceled", "Canceled")
    assert (folder / "cleaned").exists()


def test_a_stopping_service_queues_its_job_again_without_counting(service):
    service.publish("touch up; sleep 60")
    job_id = service.start()
    thread = threading.Thread(target=service.runner.run, args=(job_id,))
    thread.start()
    wait_for(lambda: (service.work(job_id) / "up").exists())
    service.runner.shutdown()
    thread.join(30)
    job = service.store.job("demo", job_id)
    assert (job.status, job.attempt, job.steps[0].status) == ("Queued", 0, "NotStarted")


# --- definitions, queue, recovery --------------------------------------------------------


def test_unchanged_content_keeps_the_version_and_a_job_its_own(service):
    def publish(word: str) -> int:
        job = {"command": f"echo {word} > word"}
        return service.store.publish(definition("demo", {"s": job}, {}))

    assert [publish("a"), publish("a")] == [1, 1]
    first = service.start()
    assert [publish("b"), publish("a")] == [2, 3]
    service.runner.run(first)
    assert service.store.job("demo", first).version == 1
    assert (service.work(first) / "word").read_text() == "a\n"


def test_a_worker_takes_jobs_in_their_order(demo):
    ids = [demo.start() for _ in range(3)]
    demo.runner.start()
    # Woken, not only when it looks by itself.
    ids += [demo.start() for _ in range(2)]
    wait_for(lambda: all(job.status == "Completed" for job in demo.store.jobs("demo")), 60.0)
    ended = sorted(demo.store.jobs("demo"), key=lambda job: job.ended or "")
    assert [job.id for job in ended] == ids


def test_recovery_queues_again_what_ran_and_in_its_place(demo):
    ids = [demo.start() for _ in range(3)]
    assert demo.store.claim().id == ids[0]
    demo.runner.recover()
    assert [demo.store.claim().id for _ in range(3)] == ids
    assert demo.store.claim() is None
    assert [job.attempt for job in demo.store.running()] == [2, 1, 1]


@pytest.mark.parametrize(("began", "status"), [(True, "Failed"), (False, "Completed")])
def test_a_step_that_ran_at_ten_deaths_of_the_service_fails(demo, began, status):
    job_id = demo.start()
    for attempt in range(1, 11):
        demo.store.claim(job_id)
        files = step_folder(demo.runner.job_directory(job_id), "s").files(attempt)
        files.folder.mkdir(parents=True)
        if began:
            files.began.touch()
        demo.runner.recover()
    demo.runner.run(job_id)
    job = demo.get(f"/pipelines/demo/jobs/{job_id}").json
    assert job["status"] == status
    expected = "step 's' was running 10 times when the service ended"
    assert job["error"] == (expected if began else None)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("kill -9 $$", "was killed by SIGKILL, perhaps out of memory"),
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        # The whole group, with the shell that waits for the command.
        ("kill -9 0", "was killed by SIGKILL, perhaps out of memory"),
    ],
)
def test_a_step_that_a_signal_ended_says_so(service, command, words):
    service.publish(command)
    job = service.run()
    assert job["status"] == "Failed"
    # The shell may have a word of its own, such as "Killed".
    assert re.fullmatch(rf"step 's' {words}(: [\w ]+)?", job["error"])
    assert job["steps"][0]["exit_code"] == (139 if "SEGV" in command else 137)


def test_a_step_that_was_killed_is_retried_as_often_as_one_that_failed(service, tmp_path):
    mark = tmp_path / "mark"
    command = f"test -e {mark} && exit 0; touch {mark}; kill -9 $$"
    service.publish({"command": command, "tags": {"twinml.max_retries": "1"}})
    job = service.run()
    assert (job["status"], job["steps"][0]["attempt"]) == ("Completed", 2)


def test_a_killed_step_tells_the_memory_that_it_had(service):
    # The kernel counts a fork's parent in: only what is more than this process ever had is told.
    held = 700_000_000 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    program = f"import os; held = b'x' * {held}; os.kill(os.getpid(), 9)"
    service.publish(f'python -c "{program}"')
    error = service.run()["error"]
    told = re.search(r"out of memory \(one of its processes had ([\d.]+) GB\)", error)
    assert told, error
    assert abs(float(told[1]) - held / 1e9) < 0.2


def test_recovery_finishes_a_cancel_that_was_asked_for(demo):
    job_id = demo.start()
    demo.store.claim(job_id)
    assert demo.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel").status_code == 202
    demo.runner.recover()
    assert demo.store.job("demo", job_id).status == "Canceled"


def test_recovery_leaves_a_stranger_with_the_same_pid_alone(demo):
    stranger = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        job_id = demo.start()
        demo.store.claim(job_id)
        demo.call("POST", f"/pipelines/demo/jobs/{job_id}/cancel")
        files = step_folder(demo.runner.job_directory(job_id), "s").files(1)
        files.folder.mkdir(parents=True)
        files.process.write_text(json.dumps({"pid": stranger.pid, "identity": "another time"}))
        demo.runner.recover()
        assert stranger.poll() is None
        assert demo.store.job("demo", job_id).status == "Canceled"
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
        pytest.raises(Held, match="held by another process"),
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
