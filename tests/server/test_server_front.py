"""The lane before Flask answers as Flask does: the same status, headers in order, and bytes."""

import io
import json
import random
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from twinml_local.server.scoring.lane import EXCHANGE, Lane

from twinml.contract import example
from twinml_local.server import Deployment, RequestLog, ServerSettings, Serving
from twinml_local.server.app import app_of
from twinml_local.server.scoring.mirror import Mirror
from twinml_local.server.scoring.service import ScoringService

KEY = "primary-key-0123456789"
ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
SCORE = ("data", "inputs", "input_data")
DIALECTS = (*SCORE, "dataframe_split", "dataframe_records", "instances", "mlflow_inputs")
Reply = tuple[str, list[tuple[str, str]], bytes]


def environ(body: bytes, path: str = "/score", **changes: str | None) -> dict[str, Any]:
    """Return a request as granian hands it over; a change to ``None`` takes a header away."""
    whole: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5001",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:5001",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": f"Bearer {KEY}",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }
    whole.update(changes)
    return {name: value for name, value in whole.items() if value is not None}


def ask(app: Callable[..., Iterable[bytes]], request: dict[str, Any]) -> Reply:
    begun: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
        begun[:] = [status, headers]

    reply = app(request, start_response)
    try:
        body = b"".join(reply)
    finally:
        close = getattr(reply, "close", None)
        if close is not None:
            close()
    return begun[0], list(begun[1]), body


def without_chance(reply: Reply) -> Reply:
    """Take out the time that scoring took, and ids that were made, after a look at them."""
    status, headers, body = reply
    shown = []
    for name, value in headers:
        if name == "x-ms-run-fn-exec-ms":
            assert re.fullmatch(r"\d+\.\d{3}", value)
            value = "some"
        elif name in ("x-request-id", "x-ms-request-id"):
            try:
                uuid.UUID(value, version=4)
            except ValueError:
                pass
            else:
                body = body.replace(value.encode(), b"made")
                value = "made"
        shown.append((name, value))
    return status, shown, body


class Ways:
    """One endpoint behind the lane and behind Flask alone; counts what passed by Flask."""

    def __init__(self, now: Serving, log: RequestLog | None = None) -> None:
        self.now = now
        self.mirror = Mirror(log)
        service = ScoringService(lambda: self.now, log=log, mirror=self.mirror)
        self.flask = app_of(service).wsgi_app
        self.to_flask = 0
        self.lane = Lane(self._counted, service)

    def _counted(self, request: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.to_flask += 1
        return self.flask(request, start_response)

    def same(self, make: Callable[[], dict[str, Any]], *, seed: int = 0) -> tuple[Reply, bool]:
        """Ask both ways, with traffic falling alike; return the reply, and whether by the lane."""
        before = self.to_flask
        random.seed(seed)
        by_lane = ask(self.lane, make())
        passed_by = self.to_flask == before
        random.seed(seed)
        by_flask = ask(self.flask, make())
        assert without_chance(by_lane) == without_chance(by_flask)
        return by_lane, passed_by


@pytest.fixture(scope="module")
def serving(bank: Deployment) -> Serving:
    return Serving("bank-test", {"blue": bank}, {"blue": 100}, (KEY, "second"))


@pytest.fixture(scope="module")
def ways(serving: Serving) -> Ways:
    return Ways(serving)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("n", [1, 3])
def test_every_dialect(ways: Ways, bank: Deployment, dialect: Any, method: Any, n: int) -> None:
    body = json.dumps(example(bank.contract, dialect, n=n, method=method)).encode()
    path = "/score" if dialect in SCORE else "/invocations"
    (status, _, _), by_lane = ways.same(lambda: environ(body, path))
    assert (status, by_lane) == ("200 OK", True)


IDS = ("HTTP_X_REQUEST_ID", "HTTP_X_MS_REQUEST_ID", "HTTP_X_MS_CLIENT_REQUEST_ID", "HTTP_TRACEID")


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Vary one header at a time more often than all of them, so that the lane has its share."""
    return st.sampled_from([usual] * 4 * len(others) + list(others))


ids = st.sampled_from([None, None, "", "a", "é", "i" * 100, "i" * 101])
json_type = "application/json"
headers = st.fixed_dictionaries(
    {
        **dict.fromkeys(IDS, ids),
        "HTTP_ORIGIN": st.sampled_from([None, "https://shop.example", "https://b", "null", "[x"]),
        "HTTP_AUTHORIZATION": mostly(
            f"Bearer {KEY}", f"bearer  {KEY} ", "Bearer second", "Bearer no", "Basic x", None
        ),
        "HTTP_AZUREML_MODEL_DEPLOYMENT": mostly(None, "blue", "green", "red", ""),
        "HTTP_HOST": mostly("127.0.0.1:5001", "localhost", "", "[::1]:9", "a/b ü", None),
        "HTTP_X_TWINML_OOD_SCORE": mostly(None, "1", ""),
        "HTTP_ACCEPT": mostly(None, "text/html", json_type),
        "HTTP_COOKIE": mostly(None, "session=a; b"),
        "HTTP_EXPECT": mostly(None, "100-continue"),
        "HTTP_TRANSFER_ENCODING": mostly(None, "chunked"),
        "HTTP_CONTENT_ENCODING": mostly(None, "gzip"),
        "HTTP_X_HTTP_METHOD_OVERRIDE": mostly(None, "GET"),
        "QUERY_STRING": mostly("", "a=1", "data=%5B%5D", "method=predict_proba"),
        "SERVER_PROTOCOL": mostly("HTTP/1.1", "HTTP/1.0"),
        "CONTENT_TYPE": mostly(
            json_type,
            f"{json_type}; charset=utf-8",
            f"{json_type};charset=latin-1",
            "text/csv",
            "text/plain",
            "",
            None,
        ),
        "REQUEST_METHOD": mostly("POST", "GET", "HEAD", "OPTIONS", "PUT", "post"),
        "path": mostly("/score", "/invocations", "/score/", "//score", "/Score"),
        "n": st.integers(1, 3),
        "traffic": mostly({"blue": 100}, {"blue": 50, "green": 50}, {}),
        "mirror": st.sampled_from([{}, {"green": 50}]),
        "origins": st.sampled_from(
            [(), ("*",), ("shop.example",), ("https://shop.example", "b.example")]
        ),
        "seed": st.integers(0, 9),
    }
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=headers)
def test_every_combination_of_headers(bank: Deployment, ways: Ways, asked: dict[str, Any]) -> None:
    body = json.dumps({"data": [ROW] * asked.pop("n")}).encode()
    path, seed = asked.pop("path"), asked.pop("seed")
    ways.now = Serving(
        "bank-test",
        {"blue": bank, "green": replace(bank, name="green")},
        asked.pop("traffic"),
        (KEY, "second"),
        mirror=asked.pop("mirror"),
        settings=ServerSettings(cors_origins=asked.pop("origins")),
    )
    _, by_lane = ways.same(lambda: environ(body, path, **asked), seed=seed)
    event(f"by the lane: {by_lane}")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True),
    st.sampled_from(["admin.", "retired", "", "56", "1e3", "nan", "ü", "\x00"]),
)
columns = ("age", "balance", "job", "owner", "more")
rows = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "age": st.one_of(st.integers(0, 99), scalars),
                "balance": st.one_of(st.floats(-1e3, 1e3), scalars),
                "job": st.one_of(st.sampled_from(["admin.", "retired", None]), scalars),
                "owner": st.one_of(st.booleans(), scalars),
            }
        ),
        st.dictionaries(st.sampled_from(columns), scalars),
        st.lists(scalars, max_size=5),
        scalars,
    ),
    max_size=4,
)
splits = st.fixed_dictionaries(
    {
        "columns": st.one_of(st.just(list(columns[:4])), st.permutations(columns)),
        "data": st.lists(st.lists(scalars, min_size=3, max_size=5), max_size=3),
    }
)
keys = st.sampled_from([*SCORE, *DIALECTS, "Inputs", "inputs", "other"])
methods = st.sampled_from(["predict", "predict_proba", "x", None, 1, {}])
bodies = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(keys, st.one_of(rows, splits, scalars), min_size=1, max_size=2).map(json.dumps),
    st.tuples(keys, rows, methods).map(
        lambda t: json.dumps({t[0]: t[1], "params": {"method": t[2]}, "method": t[2]})
    ),
    st.tuples(rows, methods).map(
        lambda t: json.dumps({"Inputs": {"data": t[0]}, "GlobalParameters": {"method": t[1]}})
    ),
    st.tuples(rows, st.integers(0, 200)).map(lambda t: json.dumps({"data": t[0]})[: t[1]]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies, path=st.sampled_from(["/score", "/invocations"]))
def test_any_body(serving: Serving, ways: Ways, body: bytes | str, path: str) -> None:
    ways.now = serving
    sent = body if isinstance(body, bytes) else body.encode()
    (status, _, _), by_lane = ways.same(lambda: environ(sent, path))
    assert by_lane == (status == "200 OK")
    assert not status.startswith("5")


@pytest.mark.parametrize(
    "changes",
    [
        {"CONTENT_LENGTH": "7"},
        {"CONTENT_LENGTH": "99999"},
        {"CONTENT_LENGTH": None},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "x"},
        {"CONTENT_LENGTH": "1" * 5000},
        {"wsgi.input_terminated": False},
        {"HTTP_X_REQUEST_ID": "i" * 101},
    ],
)
def test_lengths(serving: Serving, ways: Ways, changes: dict[str, Any]) -> None:
    ways.now = serving
    ways.same(lambda: environ(json.dumps({"data": [ROW]}).encode(), **changes))


def test_limits(serving: Serving, ways: Ways) -> None:
    body = json.dumps({"data": [ROW, ROW]}).encode()
    for limits in ({"max_rows": 1}, {"max_body_bytes": 20}, {"max_body_bytes": len(body)}):
        ways.now = replace(serving, settings=ServerSettings(**limits))  # type: ignore[arg-type]
        (status, _, _), _ = ways.same(lambda: environ(body))
        assert status.startswith("200" if limits.get("max_body_bytes") == len(body) else "413")


def test_the_lane_can_be_switched_off(serving: Serving, ways: Ways) -> None:
    for lane in (True, False):
        ways.now = replace(serving, settings=ServerSettings(lane=lane))
        _, by_lane = ways.same(lambda: environ(json.dumps({"data": [ROW]}).encode()))
        assert by_lane == lane


class Failing:
    """Fails, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, frame: object) -> object:
        self.asked += 1
        raise ValueError("secret")


def test_what_fails_is_asked_once(serving: Serving, bank: Deployment) -> None:
    failing = Failing()
    now = replace(serving, deployments={"blue": replace(bank, predictor=failing)})
    request = environ(json.dumps({"data": [ROW]}).encode())
    ways = Ways(now)
    status, headers, body = ask(ways.lane, request)
    assert (status, failing.asked) == ("500 INTERNAL SERVER ERROR", 1)
    assert dict(headers)["x-ms-run-function-failed"] == "True"
    assert b"secret" not in body
    assert ask(ways.flask, environ(json.dumps({"data": [ROW]}).encode()))[0] == status


def test_traffic_is_drawn_once(
    serving: Serving, bank: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Flask goes on with was chosen by the lane: shares stay what they are.
    drawn: list[float] = []
    draw = random.random
    monkeypatch.setattr(random, "random", lambda: drawn.append(draw()) or drawn[-1])
    two = {"blue": bank, "green": replace(bank, name="green")}
    ways = Ways(replace(serving, deployments=two, traffic={"blue": 50, "green": 50}))
    request = environ(json.dumps({"data": [ROW | {"age": "x"}]}).encode())
    status, headers, _ = ask(ways.lane, request)
    assert status == "400 BAD REQUEST"
    assert ways.to_flask == len(drawn) == 1
    assert dict(headers)["azureml-model-deployment"] == request[EXCHANGE].deployment.name


def test_mirrored_copies_and_lines_come_once(
    serving: Serving, bank: Deployment, tmp_path: Path
) -> None:
    class Other:
        def predict(self, frame: Any) -> Any:
            return np.array(["no"] * len(frame))

    two = {"blue": bank, "green": replace(bank, name="green", predictor=Other())}
    now = replace(serving, deployments=two, mirror={"green": 100})
    with RequestLog(tmp_path) as log:
        ways = Ways(now, log)
        for row in (ROW, ROW | {"age": "x"}):
            ask(ways.lane, environ(json.dumps({"data": [row]}).encode()))
        assert ways.mirror.wait(10)
    assert ways.to_flask == 1
    for name in ("blue", "green"):
        lines = (tmp_path / f"{name}.log").read_text().splitlines()
        assert [line.split()[6:9] for line in lines] == [
            ["POST", "/score", "200"],
            ["POST", "/score", "400"],
        ]


@pytest.fixture(autouse=True)
def same_chance() -> Iterator[None]:
    """Leave the generator of random numbers as it was."""
    state = random.getstate()
    yield
    random.setstate(state)
