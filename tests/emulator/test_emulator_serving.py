"""Models served by Microsoft's own server, deployed by the unmodified SDK and asked over HTTP."""

import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.test import Client, TestResponse

from tests.emulator.azure_payloads import PAYLOADS, Payload
from tests.emulator.contract import held
from twinml.model import Scorer
from twinml.registry.importing._import import brought
from twinml.registry.importing._source import mlflow_model
from twinml_local.server import Deployment, ServerSettings, Serving, create_app

pytestmark = pytest.mark.e2e

ARM = "https://management.azure.com"
VERSION = {"api-version": "2023-04-01-preview"}
HOST = "https://bank-ep.eastus.inference.ml.azure.com"


@pytest.fixture(scope="module")
def served(
    emulators, run_program, small_model: Path, tmp_path_factory
) -> tuple[Any, dict[str, Any]]:
    """Return an emulator with a deployed model, and what the SDK saw on the way."""
    folder = tmp_path_factory.mktemp("serving")
    emulator = emulators(record=True)
    return emulator, run_program(emulator, "serving_session.py", small_model, folder)


@pytest.fixture(scope="module")
def seen(served) -> dict[str, Any]:
    return served[1]


@pytest.fixture
def http(served) -> Iterator[requests.Session]:
    with served[0].signed_in() as session:
        yield session


Score = Callable[..., requests.Response]


@pytest.fixture
def score(served, http: requests.Session) -> Iterator[Score]:
    """Return a function that scores with a client's key."""
    emulator = served[0]
    endpoint = f"{ARM}{emulator.workspace}/onlineEndpoints/bank-ep"
    key = http.post(f"{endpoint}/listKeys", params=VERSION, timeout=10).json()["primaryKey"]
    with emulator.session() as client:
        client.headers["Authorization"] = f"Bearer {key}"

        def send(body: Any = None, *, path: str = "/score", **headers: str) -> requests.Response:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(body, Payload):
                kind = {"Content-Type": body.content_type} if body.content_type else {}
                verb = "GET" if body.body is None else "POST"
                url = f"{HOST}{body.path}"
                return client.request(
                    verb, url, data=body.body, headers=kind | body.headers, timeout=60
                )
            if body is None:
                return client.get(f"{HOST}{path}", headers=names, timeout=60)
            return client.post(f"{HOST}{path}", json=body, headers=names, timeout=60)

        yield send


DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"
BEGIN, END = "<!-- azure: begin -->\n", "<!-- azure: end -->"


@pytest.fixture(scope="module")
def ours(small_model: Path) -> Callable[[bool], Client]:
    """Make a client of our server, strict or not, with the model that Azure's serves."""
    made = brought(mlflow_model(small_model), name="bank", trust=True)
    blue = Deployment("blue", made.contract, Scorer(made.pipeline))

    def client(strict: bool) -> Client:
        settings = ServerSettings(strict=strict)
        serving = Serving("bank", {"blue": blue}, {"blue": 100}, ["key"], settings=settings)
        return Client(create_app(lambda: serving))

    return client


def test_what_azure_takes_otherwise_is_flagged_and_refused_when_strict(
    score: Score, ours: Callable[[bool], Client]
) -> None:
    """Ask both sides, and hold the table of the documents to it (make azure-table writes it)."""
    lenient, strict = ours(False), ours(True)
    lines = [
        "| request | Azure ML | here | `x-twinml-azure` | `--strict` |",
        "|---|---|---|---|---|",
    ]
    wrong = {}
    for name, payload in PAYLOADS.items():
        theirs = score(payload)
        mine, refused = asked(lenient, payload), asked(strict, payload)
        flag = mine.headers.get("x-twinml-azure", "")
        same = theirs.status_code == 200 and theirs.json() == mine.json
        expected = "" if same else "differs" if theirs.status_code == 200 else "refused"
        if mine.status_code == 200 and refused.status_code != strictly(
            theirs.status_code, expected
        ):
            wrong[name, "strict"] = (theirs.status_code, refused.status_code)
        if mine.status_code == 200 and flag.partition(";")[0] != expected:
            wrong[name] = (theirs.status_code, theirs.text, mine.status_code, flag)
        cells = (
            name,
            strictly(theirs.status_code, ""),
            mine.status_code,
            flag,
            refused.status_code,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    assert not wrong
    table = "\n".join(lines) + "\n"
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    held, after = rest.split(END)
    if os.environ.get("WRITE_TABLE"):
        DOCUMENT.write_text(before + BEGIN + table + END + after)
    assert held == table, "make azure-table"


def strictly(theirs: int, expected: str) -> int:
    """Return the status of a strict endpoint; the emulator says 501 of routes that Azure lacks."""
    if expected == "differs":
        return 400
    return 404 if theirs == 501 else theirs


def asked(client: Client, payload: Payload) -> TestResponse:
    headers = {"Authorization": "Bearer key", **payload.headers}
    if payload.body is None:
        return client.get(payload.path, headers=headers)
    return client.post(
        payload.path, data=payload.body, headers=headers, content_type=payload.content_type
    )


def rows(*data: list[Any], **more: Any) -> dict[str, Any]:
    return {"input_data": {"columns": ["age", "rate", "job"], "data": list(data), **more}}


def test_a_model_without_code_is_served_in_its_own_environment(seen):
    assert seen["blue"] == {
        "state": "Succeeded",
        "traffic": {"blue": 100},
        "answer": ["yes", "yes"],
        "listed": ["blue"],
    }
    server, storage = seen["logs"]["server"], seen["logs"]["storage"]
    assert "Azure ML Inferencing HTTP server v1.5.1" in server
    assert "azmlinfsrv - POST /score 200" in server
    assert "Downloading model bank:1" in storage


def test_what_a_deployment_collects_is_monitored(seen):
    monitor = seen["monitor"]
    assert monitor["status"] == "Completed"
    assert monitor["collected"].endswith("/modelDataCollector/bank-ep/blue/model_inputs/")
    alarms = {
        (signal, row["feature_name"]): row["beyond"]
        for signal, rows in monitor["figures"].items()
        for row in rows
    }
    assert alarms == {
        ("drift", "age"): True,
        ("drift", "rate"): False,
        ("drift", "job"): True,
        ("quality", "age"): False,
        ("quality", "rate"): False,
        ("quality", "job"): True,
        ("predictions", "y"): True,
    }


def test_code_and_environment_of_ones_own_are_served_too(seen):
    assert seen["green"] == {
        "state": "Succeeded",
        "timeout": 20_000,
        "probe": 20,
        "answer": {"greeting": "hello world", "given": {"a": 1}},
    }
    assert seen["scaled"] == 2


def test_a_model_that_does_not_ask_for_the_monitoring_package_crashes_as_on_azure(seen):
    assert seen["bare"]["state"] == "Failed"
    text = seen["bare"]["text"]
    assert text.startswith("(ResourceNotReady) User container has crashed or terminated")
    assert "502" in text
    assert "ModuleNotFoundError: No module named 'azureml'" in text
    assert "Worker failed to boot" in seen["bare"]["log"]


def test_an_environment_that_cannot_be_built_fails_with_the_installers_words(seen):
    assert seen["impossible"]["state"] == "Failed"
    assert seen["impossible"]["text"].startswith("(ImageBuildFailure)")
    assert "scikit-learn==0.0.0" in seen["impossible"]["text"]


def test_a_deployment_with_traffic_is_not_deleted(seen):
    assert seen["busy"]["status"] == 400
    assert "100 % of the traffic" in seen["busy"]["text"]
    assert seen["left"] == ["blue", "green", "impossible"]


def test_an_endpoint_with_tokens_is_served_and_deleted(seen):
    assert seen["token"] == ["yes", "yes"]
    assert seen["endpoints"] == ["bank-ep"]


def test_every_body_keeps_to_the_types_of_its_api_version(served, arm_types):
    found = held(served[0].directory.with_name("record.jsonl"), arm_types)
    assert found.unknown == set()
    assert found.checked["request workspaces/onlineEndpoints/deployments"] >= 6


def test_answers_are_those_of_azures_server(score: Score):
    answer = score(rows([20, 0.5, "a"], [70, 0.5, "b"], index=[7, 8]))
    assert (answer.status_code, answer.json()) == (200, ["no", "yes"])
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["x-ms-server-version"] == "azmlinfsrv/1.5.1"
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) > 0
    uuid.UUID(answer.headers["x-request-id"])
    # Without an index, with more keys, in another order: as Microsoft's own script does.
    body = {"columns": ["job", "age", "rate"], "data": [["a", 20, 0.5]]}
    assert score({"input_data": body, "params": {}, "more": 1}).json() == ["no"]


@pytest.mark.parametrize(
    "body",
    [
        {"input_data": {"columns": ["age"], "data": [[1]]}},
        {"input_data": {"columns": ["age", "rate", "job"], "data": [["x", 1.0, "a"]]}},
        {"input_data": {"columns": ["age", "rate", "job"], "data": []}},
        {"other": 1},
        [],
    ],
)
def test_what_the_server_refuses_is_a_model_error_at_the_endpoint(score: Score, body: Any):
    answer = score(body)
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] in ("400", "500")
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert set(answer.json()) == {"message"}


def test_ids_are_kept_or_made_as_azure_does(score: Score):
    given = str(uuid.uuid4())
    answer = score(rows([20, 0.5, "a"]), x_request_id=given, x_ms_client_request_id="mine!" * 20)
    assert answer.headers["x-request-id"] == given
    assert answer.headers["x-ms-client-request-id"] == ("mine" * 10)
    assert score(rows([20, 0.5, "a"]), x_request_id="short").headers["x-request-id"] != "short"


def test_who_has_no_key_gets_nothing(served):
    with served[0].session() as stranger:
        for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer wrong"}):
            for method, path in (("POST", "/score"), ("GET", "/swagger.json")):
                answer = stranger.request(method, f"{HOST}{path}", headers=headers, timeout=10)
                assert answer.status_code == 401
                assert answer.text.startswith("key_auth_")


def test_a_deployment_can_be_asked_by_name(score: Score):
    answer = score({"b": 2}, azureml_model_deployment="green")
    assert answer.json() == {"greeting": "hello world", "given": {"b": 2}}
    assert answer.headers["azureml-model-deployment"] == "green"
    assert score({"fail": True}, azureml_model_deployment="green").status_code == 424
    assert score({}, azureml_model_deployment="purple").status_code == 404
    assert score({}, azureml_model_deployment="impossible").status_code == 503


def test_the_swagger_file_is_the_servers(score: Score):
    document = score(path="/swagger.json?version=3").json()
    assert document["openapi"].startswith("3.")
    assert score(path="/swagger.json?version=9").status_code == 424


def test_traffic_is_split_and_mirrored_as_set(served, http: requests.Session, score: Score):
    emulator = served[0]
    endpoint = f"{ARM}{emulator.workspace}/onlineEndpoints/bank-ep"

    def set_traffic(traffic: dict[str, int], mirror: dict[str, int]) -> None:
        body = http.get(endpoint, params=VERSION, timeout=10).json()
        body["properties"] |= {"traffic": traffic, "mirrorTraffic": mirror}
        put = http.put(endpoint, json=body, params=VERSION, timeout=10)
        wait_for_operation(http, put)

    question = rows([20, 0.5, "a"])
    set_traffic({"blue": 50, "green": 50}, {})
    split = Counter(score(question).headers["azureml-model-deployment"] for _ in range(60))
    assert min(split["blue"], split["green"]) > 10

    def mirrored() -> int:
        logs = f"{endpoint}/deployments/green/getLogs"
        answer = http.post(logs, json={"tail": 10_000}, params=VERSION, timeout=10)
        return str(answer.json()["content"]).count("azmlinfsrv - POST /score")

    set_traffic({"blue": 100}, {"green": 50})
    before = mirrored()
    for _ in range(40):
        assert score(question).headers["azureml-model-deployment"] == "blue"
    wait_until(lambda: mirrored() > before + 5)
    assert mirrored() < before + 36
    set_traffic({"blue": 100}, {})


def test_more_requests_at_once_than_a_deployment_takes_are_refused(score: Score):
    # Two instances with one request each: four may be on their way.
    def ask(_: int) -> int:
        return score(rows(*[[20, 0.5, "a"]] * 20_000)).status_code

    with ThreadPoolExecutor(12) as pool:
        found = Counter(pool.map(ask, range(12)))
    assert found[429] >= 1
    assert found[200] >= 1


def test_a_build_fails_by_rule_and_the_next_one_does_not(served, http: requests.Session):
    emulator = served[0]
    endpoint = f"{ARM}{emulator.workspace}/onlineEndpoints/bank-ep"
    rule = {"rule": "PUT */deployments/doomed image-build-failure once"}
    assert requests.post(f"{emulator.variables['HTTPS_PROXY']}/faults", json=rule, timeout=10).ok
    body = http.get(f"{endpoint}/deployments/green", params=VERSION, timeout=10).json()
    asked = {name: body[name] for name in ("location", "sku", "properties")}
    address = f"{endpoint}/deployments/doomed"
    put = http.put(address, json=asked, params=VERSION, timeout=10)
    operation = put.headers["Azure-AsyncOperation"]
    wait_until(lambda: http.get(operation, timeout=10).json()["status"] == "Failed")
    assert http.get(operation, timeout=10).json()["error"]["code"] == "ImageBuildFailure"
    failed = http.get(address, params=VERSION, timeout=10).json()
    assert failed["properties"]["provisioningState"] == "Failed"
    wait_for_operation(http, http.put(address, json=asked, params=VERSION, timeout=10))
    again = http.get(address, params=VERSION, timeout=10).json()
    assert again["properties"]["provisioningState"] == "Succeeded"


def test_servers_die_with_the_emulator_and_come_back_with_it(served, score: Score):
    emulator = served[0]
    before = servers_of(emulator)
    assert len(before) >= 4
    with emulator.signed_in() as http:
        address = f"{ARM}{emulator.workspace}/onlineEndpoints/bank-ep/deployments/green"
        body = http.get(address, params=VERSION, timeout=10).json()
        asked = {name: body[name] for name in ("location", "sku", "properties")}
        put = http.put(address, json=asked, params=VERSION, timeout=10)
        assert put.json()["properties"]["provisioningState"] == "Updating"
    emulator.kill()
    wait_until(lambda: not servers_of(emulator))
    emulator.start()
    with emulator.signed_in() as http:
        endpoint = f"{ARM}{emulator.workspace}/onlineEndpoints/bank-ep"
        key = http.post(f"{endpoint}/listKeys", params=VERSION, timeout=10).json()["primaryKey"]
        headers = {"Authorization": f"Bearer {key}"}

        def answered() -> bool:
            reply = http.post(f"{HOST}/score", json=rows([70, 1, "a"]), headers=headers, timeout=60)
            return reply.status_code == 200 and reply.json() == ["yes"]

        wait_until(answered)
        # What was being made is made by the next process, and its operation ends.
        wait_for_operation(http, put)
        wait_for_operation(http, http.delete(endpoint, params=VERSION, timeout=10))
        wait_until(lambda: not servers_of(emulator))
        assert http.get(endpoint, params=VERSION, timeout=10).status_code == 404
        reply = http.post(f"{HOST}/score", json={}, headers=headers, timeout=10)
        assert reply.status_code == 404


def servers_of(emulator: Any) -> list[int]:
    """Return the processes that serve from an emulator's folder."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    )
    folder = str(emulator.directory / "deployments")
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if folder in line]


def wait_for_operation(http: requests.Session, answer: requests.Response) -> None:
    assert answer.status_code in (200, 201, 202), answer.text
    address = answer.headers["Azure-AsyncOperation"]
    wait_until(lambda: http.get(address, timeout=10).json()["status"] == "Succeeded")


def wait_until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)
