"""Routes, keys, headers, traffic and the log of the scoring server."""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pandas as pd
import pytest
from werkzeug.test import Client, TestResponse

from twinml_local.server import Deployment, RequestLog, Serving, create_app
from twinml_local.server import _request_log as log
from twinml_local.server.deployments.deployment import choose

KEY = "primary-key-0123456789"
SECOND_KEY = "secondary-key-0123456789"
BODY = {"data": [{"age": 70, "balance": 1.5, "job": "admin.", "owner": True}]}

Serve = Callable[..., Client]


def post(client: Client, path: str = "/score", **headers: str) -> TestResponse:
    sent = {"Authorization": f"Bearer {KEY}"} | headers
    return client.post(path, json=BODY if path == "/score" else None, headers=sent)


def shape_of_error(response: TestResponse, status: int) -> dict[str, object]:
    """Check the one shape that every error has, and return it."""
    assert response.status_code == status
    assert response.mimetype == "application/json"
    shape = response.get_json()
    assert set(shape) <= {"error_code", "message", "hint", "details", "request_id"}
    assert re.fullmatch(r"[A-Z_]+", shape["error_code"])
    assert shape["message"]
    return dict(shape)


# Routes


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_answers_as_mlflow_does(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.data, response.mimetype) == (
        200,
        b"\n",
        "application/json",
    )


def test_the_root_answers_as_azure_does(client: Client) -> None:
    response = client.get("/")
    assert (response.status_code, response.text, response.mimetype) == (200, "Healthy", "text/html")
    assert client.head("/").status_code == 200


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("POST", "/", "GET"),
        ("PUT", "/score", "POST"),
        ("GET", "/invocations", "POST"),
        ("DELETE", "/health", "GET"),
    ],
)
def test_a_wrong_method_says_which_are_right(
    client: Client, verb: str, path: str, allowed: str
) -> None:
    response = client.open(path, method=verb)
    shape = shape_of_error(response, 405)
    assert shape["error_code"] == "METHOD_NOT_ALLOWED"
    assert allowed in response.headers["Allow"]


def test_options_on_score(client: Client) -> None:
    response = client.options("/score")
    assert response.status_code == 200
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/nothing", "/docs/nothing.js", "/docs/..%2f__init__.py"])
def test_an_unknown_route(client: Client, path: str) -> None:
    assert shape_of_error(client.get(path), 404)["error_code"] == "ENDPOINT_NOT_FOUND"


def test_the_version_is_mlflows(client: Client) -> None:
    response = client.get("/version")
    assert response.status_code == 200
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", response.text)


def test_ready_says_what_is_loaded(client: Client) -> None:
    assert client.get("/ready").get_json() == {
        "endpoint": "bank-test",
        "deployments": {"blue": {"model": "bank-test:1", "digest": "d" * 64}},
        "traffic": {"blue": 100},
    }


@pytest.mark.parametrize(
    ("query", "name", "begins"),
    [
        ("", "swagger", "2.0"),
        ("?version=2", "swagger", "2.0"),
        ("?version=3", "openapi", "3.0"),
        ("?version=3.1", "openapi", "3.1"),
    ],
)
def test_swagger_comes_in_three_versions(
    client: Client, query: str, name: str, begins: str
) -> None:
    for _ in range(2):  # made, then kept
        response = client.get(f"/swagger.json{query}")
        assert response.status_code == 200
        assert response.get_json()[name].startswith(begins)
        assert {"/score", "/invocations"} <= set(response.get_json()["paths"])


@pytest.mark.parametrize("version", ["1", "4", "latest", "3.2", "", "x" * 1000])
def test_an_unsupported_swagger_version(client: Client, version: str) -> None:
    message = shape_of_error(client.get(f"/swagger.json?version={version}"), 404)["message"]
    assert message == f"Swagger version [{version[:20]}] is not supported"


def test_every_documented_route_is_there(client: Client) -> None:
    document = client.get("/swagger.json?version=3").get_json()
    for path, verbs in document["paths"].items():
        for verb in verbs:
            assert client.open(path, method=verb.upper()).status_code not in (404, 405), path


def test_the_docs_need_nothing_from_outside(client: Client) -> None:
    assert client.get("/docs").status_code == 308
    page = client.get("/docs/")
    assert page.status_code == 200
    assert "../swagger.json?version=3" in page.text
    assert not re.findall(r"https?://", page.text)
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        with client.get(urljoin("/docs/", asset)) as response:
            assert response.status_code == 200, asset
            assert len(response.data) > 100


# Keys


@pytest.mark.parametrize("key", [KEY, SECOND_KEY])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_either_key_opens(client: Client, scheme: str, key: str) -> None:
    response = client.post("/score", json=BODY, headers={"Authorization": f"{scheme} {key}"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY}{SECOND_KEY}",
        f"Basic {KEY}",
        KEY,
        "Bearer clé",
    ],
)
@pytest.mark.parametrize("path", ["/score", "/invocations"])
def test_nothing_else_opens(client: Client, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = client.post(path, json=BODY, headers=headers)
    assert shape_of_error(response, 401)["error_code"] == "UNAUTHENTICATED"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "x-ms-run-fn-exec-ms" not in response.headers


def test_the_key_is_asked_for_before_the_body_is_read(serve: Serve) -> None:
    client = serve(max_body_bytes=10)
    assert client.post("/score", data=b"x" * 100).status_code == 401


@pytest.mark.parametrize("path", ["/swagger.json", "/docs/"])
def test_documents_can_be_closed(serve: Serve, path: str) -> None:
    assert serve().get(path).status_code == 200
    client = serve(documents_need_key=True)
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert client.get("/health").status_code == 200


# Headers


def test_the_headers_of_a_prediction(client: Client) -> None:
    headers = post(client).headers
    assert headers["x-ms-run-function-failed"] == "False"
    assert re.fullmatch(r"\d+\.\d{3}", headers["x-ms-run-fn-exec-ms"])
    assert re.fullmatch(r"twinml/\d+\.\d+\.\d+", headers["x-ms-server-version"])
    assert headers["azureml-model-deployment"] == "blue"
    assert str(uuid.UUID(headers["x-request-id"])) == headers["x-request-id"]
    assert headers["x-ms-request-id"] == headers["x-request-id"]
    assert "x-ms-client-request-id" not in headers
    assert "TraceId" not in headers


def test_every_prediction_has_its_own_id(client: Client) -> None:
    assert len({post(client).headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"x-request-id": "a"}, {"x-request-id": "a", "x-ms-request-id": "a"}),
        ({"x-ms-request-id": "b"}, {"x-ms-request-id": "b"}),
        (
            {"x-ms-client-request-id": "c"},
            {"x-ms-client-request-id": "c", "x-ms-request-id": "c"},
        ),
        (
            {"x-request-id": "a", "x-ms-request-id": "b", "x-ms-client-request-id": "c"},
            {"x-request-id": "a", "x-ms-request-id": "b", "x-ms-client-request-id": "c"},
        ),
        ({"TraceId": "t"}, {"TraceId": "t"}),
        ({"x-request-id": "i" * 100}, {"x-request-id": "i" * 100}),
    ],
)
def test_ids_come_back(client: Client, sent: dict[str, str], answered: dict[str, str]) -> None:
    headers = post(client, **sent).headers
    assert {name: headers[name] for name in answered} == answered


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-request-id", "x-ms-client-request-id"])
def test_long_ids_are_refused(client: Client, name: str) -> None:
    response = post(client, **{name: "i" * 101})
    assert shape_of_error(response, 431)["message"] == f"{name} must not exceed 100 characters"
    assert not [value for value in response.headers.values() if "iii" in value]


def test_errors_carry_the_request_id_too(client: Client) -> None:
    response = client.post("/score", headers={"x-request-id": "mine"})
    assert response.headers["x-request-id"] == "mine"


# Traffic


@pytest.fixture
def two(bank: Deployment) -> dict[str, Deployment]:
    return {"blue": bank, "green": replace(bank, name="green")}


def test_traffic_decides(serve: Serve, two: dict[str, Deployment]) -> None:
    client = serve(deployments=two, traffic={"blue": 0, "green": 100})
    assert {post(client).headers["azureml-model-deployment"] for _ in range(10)} == {"green"}


def test_traffic_is_shared(serve: Serve, two: dict[str, Deployment]) -> None:
    client = serve(deployments=two, traffic={"blue": 50, "green": 50})
    # All on one side in 60 requests: once in 10^17 runs.
    names = {post(client).headers["azureml-model-deployment"] for _ in range(60)}
    assert names == {"blue", "green"}


def test_a_request_can_name_its_deployment(serve: Serve, two: dict[str, Deployment]) -> None:
    client = serve(deployments=two, traffic={"blue": 100, "green": 0})
    response = post(client, **{"azureml-model-deployment": "green"})
    assert response.headers["azureml-model-deployment"] == "green"


@pytest.mark.parametrize("path", ["/score", "/swagger.json"])
def test_an_unknown_deployment(client: Client, path: str) -> None:
    headers = {"azureml-model-deployment": "red", "Authorization": f"Bearer {KEY}"}
    response = client.open(path, method="POST" if path == "/score" else "GET", headers=headers)
    shape = shape_of_error(response, 404)
    assert shape["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert "red" in str(shape["message"])
    assert "blue" in str(shape["hint"])


def test_no_traffic_at_all(serve: Serve) -> None:
    client = serve(traffic={"blue": 0})
    assert shape_of_error(post(client), 503)["error_code"] == "PLATFORM_UNAVAILABLE"
    assert client.get("/swagger.json").status_code == 200


@pytest.mark.parametrize("point", np.linspace(0, 0.999, 200))
def test_a_share_is_as_wide_as_its_per_cent(point: float) -> None:
    names = ["blue", "green", "red"]
    expected = "blue" if point < 0.9 else "red"
    assert choose({"blue": 90, "green": 0, "red": 10}, names, wanted=None, point=point) == expected


# Failures


class Failing:
    """Fails as a library does: with a part of the payload in its message."""

    def predict(self, frame: pd.DataFrame) -> object:
        raise ValueError(f"cannot use {frame.to_dict('records')} in /home/someone/model.pkl")


def test_a_500_says_nothing_but_where_to_look(serve: Serve, log_directory: Path) -> None:
    client = serve(predictor=Failing())
    response = post(client, **{"x-request-id": "look-for-me"})
    shape = shape_of_error(response, 500)
    assert shape["message"] == "scoring failed"
    assert shape["request_id"] == "look-for-me"
    assert response.headers["x-ms-run-function-failed"] == "True"
    for word in ("admin.", "/home", "Traceback", "ValueError"):
        assert word not in response.text
    log = read_when(log_directory / "blue.log", "look-for-me failed", "POST /score 500")
    assert "builtins.ValueError" in log
    assert "in predict" in log
    assert "admin." not in log


class Short:
    """Forgets a row."""

    def predict(self, frame: list[object]) -> object:
        return np.array(["yes"] * (len(frame) - 1))


def test_a_wrong_number_of_predictions_is_a_500(serve: Serve) -> None:
    assert shape_of_error(post(serve(predictor=Short())), 500)["message"] == "scoring failed"


def test_labels_and_probabilities_come_from_the_same_predictor(serve: Serve) -> None:
    called: list[str] = []

    class Counting:
        def predict(self, frame: object) -> object:
            called.append("predict")
            return np.array(["no"])

        def predict_proba(self, frame: object) -> object:
            called.append("predict_proba")
            return np.array([[0.25, 0.75]])

    client = serve(predictor=Counting())
    assert post(client).get_json() == '{"result": ["no"]}'
    asked = client.post(
        "/score",
        json={"Inputs": BODY, "GlobalParameters": {"method": "predict_proba"}},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert asked.get_json() == {"Results": [[0.25, 0.75]]}
    assert called == ["predict", "predict_proba"]


# The log


def read_when(path: Path, *words: str) -> str:
    """Return a log once it holds ``words``: it is written by a thread."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = path.read_text() if path.exists() else ""
        if all(word in text for word in words):
            return text
        time.sleep(0.01)
    raise AssertionError(f"{path.name} never held {words}")


LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [IE] \[\d+\] azmlinfsrv - "
    r"[A-Z]+ \S+ \d{3} \d+\.\dms (\d+|N/A)"
)


def test_one_line_a_request_in_azures_form(client: Client, log_directory: Path) -> None:
    response = post(client)
    client.get("/health")
    (line,) = read_when(log_directory / "blue.log", "POST /score").splitlines()
    assert LINE.fullmatch(line)
    assert line.endswith(f" {len(response.data)}")
    (line,) = read_when(log_directory / "server.log", "GET /health").splitlines()
    assert LINE.fullmatch(line)


def test_the_log_is_in_utc(
    client: Client, log_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        before = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() - 5))
        post(client)
        line = read_when(log_directory / "blue.log", "POST /score")
        after = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        assert before <= line[:16] <= after
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_log_never_holds_payload_query_or_key(client: Client, log_directory: Path) -> None:
    secrets = [KEY, SECOND_KEY, "retired-secret"]
    row = {"age": "retired-secret", "balance": 1, "job": "retired-secret", "owner": True}
    headers = {"Authorization": f"Bearer {KEY}", "x-request-id": "retired-secret"}
    client.post("/score", json={"data": [row]}, headers=headers)
    client.post("/score", data=b"retired-secret", headers=headers)
    client.post(f"/score?key={KEY}", json=BODY, headers=headers)
    client.get("/health?key=retired-secret")
    read_when(log_directory / "blue.log", " 200 ")
    read_when(log_directory / "server.log", "/health")
    text = "".join(path.read_text() for path in log_directory.iterdir())
    assert text.count("/score") == 3
    assert not [secret for secret in secrets if secret in text]


def test_a_path_cannot_forge_a_line(client: Client, log_directory: Path) -> None:
    client.get("/x%0a2026-01-01 00:00:00,000 I [1] azmlinfsrv - POST /score 200 1.0ms 6")
    client.get("/" + "y" * 5000)
    client.get("/health")
    lines = read_when(log_directory / "server.log", "/health").splitlines()
    assert len(lines) == 3
    assert all(LINE.fullmatch(line) for line in lines)
    assert max(map(len, lines)) < 400


def test_logs_rotate_and_workers_share_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 10_000)
    with RequestLog(tmp_path) as first, RequestLog(tmp_path) as second:
        for number in range(300):
            (first, second)[number % 2].request("blue", "POST", f"/score/{number}", 200, 1.0, 6)
    files = sorted(path.name for path in tmp_path.glob("blue.log*"))
    assert files == ["blue.log", "blue.log.1", "blue.log.2"]
    lines = "".join(path.read_text() for path in tmp_path.iterdir()).splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert {int(line.split("/score/")[1].split()[0]) for line in lines} == set(range(300))


def test_closing_the_log_writes_what_waits(tmp_path: Path) -> None:
    writer = RequestLog(tmp_path)
    for _ in range(1000):
        writer.request("blue", "POST", "/score", 200, 1.0, 6)
    writer.close()
    writer.close()
    assert len((tmp_path / "blue.log").read_text().splitlines()) == 1000


def test_an_app_without_a_log(bank: Deployment) -> None:
    now = Serving("e", {"blue": bank}, {"blue": 100}, (KEY,))
    app = create_app(lambda: now)
    assert json.loads(post(Client(app)).get_json()) == {"result": ["yes"]}
