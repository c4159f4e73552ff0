"""The endpoint client against a real HTTP server that answers as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from urllib3.exceptions import ProtocolError

from twinml.endpoint import Endpoint, request_body
from twinml.endpoint._retry import scoring_retry
from twinml.errors import EndpointError, UsageError
from twinml.settings import quiet_libraries

KEY = "sesame-4711-key"
ROWS = [{"age": 56, "job": "services"}, {"age": 41, "job": None}]


@dataclass
class Answer:
    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Asked:
    verb: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted(ThreadingHTTPServer):
    """Answers with ``answers`` in turn, the last one for ever; ``None`` hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer | None] = []
        self.asked: list[Asked] = []
        self.connections: set[object] = set()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/score"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.connections.add(self.client_address)
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers), body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            self.close_connection = True
            return
        time.sleep(answer.seconds)
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815 - named by http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def endpoint(server: Scripted) -> Iterator[Endpoint]:
    with Endpoint(server.uri, KEY, timeout=5) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("dialect", "path", "body", "reply"),
    [
        ("data", "/score", {"data": ROWS}, '{"result": ["no", "yes"]}'),
        (
            "inputs",
            "/score",
            {"Inputs": {"data": ROWS}, "GlobalParameters": {"method": "predict"}},
            {"Results": ["no", "yes"]},
        ),
        (
            "input_data",
            "/score",
            {
                "input_data": {
                    "columns": ["age", "job"],
                    "index": [0, 1],
                    "data": [[56, "services"], [41, None]],
                }
            },
            ["no", "yes"],
        ),
        (
            "dataframe_split",
            "/invocations",
            {
                "dataframe_split": {
                    "columns": ["age", "job"],
                    "index": [0, 1],
                    "data": [[56, "services"], [41, None]],
                }
            },
            {"predictions": ["no", "yes"]},
        ),
        (
            "dataframe_records",
            "/invocations",
            {"dataframe_records": ROWS},
            {"predictions": ["no", "yes"]},
        ),
        ("instances", "/invocations", {"instances": ROWS}, {"predictions": ["no", "yes"]}),
    ],
)
def test_each_dialect_has_its_body_its_route_and_its_reply(
    server: Scripted, endpoint: Endpoint, dialect: str, path: str, body: object, reply: object
) -> None:
    server.answers = [Answer(reply)]
    assert endpoint.score(ROWS, dialect=dialect) == ["no", "yes"]
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("POST", path)
    assert json.loads(asked.body) == body
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("dialect", "where"),
    [
        ("data", lambda body: body["method"]),
        ("inputs", lambda body: body["GlobalParameters"]["method"]),
        ("input_data", lambda body: body["params"]["method"]),
        ("instances", lambda body: body["params"]["method"]),
    ],
)
def test_probabilities_are_asked_for_in_the_words_of_the_dialect(
    server: Scripted, endpoint: Endpoint, dialect: str, where: object
) -> None:
    server.answers = [Answer([[0.25, 0.75], [0.5, 0.5]])]
    assert endpoint.score_proba(ROWS, dialect=dialect) == [[0.25, 0.75], [0.5, 0.5]]
    assert callable(where)
    assert where(json.loads(server.asked[0].body)) == "predict_proba"


def test_numpy_values_and_nan_become_json() -> None:
    row = {"age": np.int64(56), "balance": np.float64(1.5), "gap": float("nan"), "own": np.True_}
    assert json.loads(request_body([row], dialect="data")) == {
        "data": [{"age": 56, "balance": 1.5, "gap": None, "own": True}]
    }


@pytest.mark.parametrize(
    ("rows", "dialect", "words"),
    [
        ([], "data", "no rows"),
        (ROWS, "xml", "no payload dialect 'xml'"),
        ([{"age": 1}, {"job": "x"}], "input_data", "row 1 has other columns than row 0: age, job"),
        ([{"age": object()}], "data", "type object"),
    ],
)
def test_rows_that_cannot_be_sent_are_refused(
    rows: list[dict[str, object]], dialect: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        request_body(rows, dialect=dialect)


@pytest.mark.parametrize("uri", ["127.0.0.1:5001/score", "ftp://host/score", "score", "http://"])
def test_what_is_no_url_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of an endpoint"):
        Endpoint(uri)


def test_the_deployment_is_named_in_a_header(server: Scripted) -> None:
    server.answers = [Answer(["no", "yes"])]
    with Endpoint(server.uri, deployment="green") as endpoint:
        endpoint.score(ROWS)
        assert "green" in repr(endpoint)
    assert server.asked[0].headers["azureml-model-deployment"] == "green"
    assert "Authorization" not in server.asked[0].headers


def test_connections_are_kept(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer(["no", "yes"])]
    for _ in range(5):
        endpoint.score(ROWS)
    assert len(server.connections) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(server: Scripted, endpoint: Endpoint, status: int) -> None:
    server.answers = [Answer({"message": "busy"}, status), Answer(["no", "yes"])]
    assert endpoint.score(ROWS) == ["no", "yes"]
    assert len(server.asked) == 2


def test_a_lost_connection_is_made_again(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [None, Answer(["no", "yes"])]
    assert endpoint.score(ROWS) == ["no", "yes"]
    assert len(server.asked) == 2


def test_repeats_end(server: Scripted) -> None:
    server.answers = [Answer({"message": "still starting"}, 503)]
    with (
        Endpoint(server.uri, retries=2) as endpoint,
        pytest.raises(EndpointError, match="answered 503: still starting") as caught,
    ):
        endpoint.score(ROWS)
    assert caught.value.status == 503
    assert len(server.asked) == 3


def test_retry_after_is_honoured_in_seconds(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer({}, 429, {"Retry-After": "1"}), Answer(["no", "yes"])]
    began = time.monotonic()
    endpoint.score(ROWS)
    assert time.monotonic() - began >= 1.0


def test_retry_after_is_honoured_as_a_date(server: Scripted, endpoint: Endpoint) -> None:
    when = (datetime.now(UTC) + timedelta(seconds=3)).replace(microsecond=0)
    header = {"Retry-After": format_datetime(when, usegmt=True)}
    server.answers = [Answer({}, 503, header), Answer(["no", "yes"])]
    endpoint.score(ROWS)
    assert datetime.now(UTC) >= when


@pytest.mark.parametrize("value", ["soon", "-5", ""])
def test_a_retry_after_that_makes_no_sense_does_not_stop_the_repeat(
    server: Scripted, endpoint: Endpoint, value: str
) -> None:
    server.answers = [Answer({}, 429, {"Retry-After": value}), Answer(["no", "yes"])]
    assert endpoint.score(ROWS) == ["no", "yes"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("29", 29),
        ("30", 30),
        ("31", 30),
        ("86400", 30),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
    ],
)
def test_a_retry_after_is_bounded(value: str, seconds: float) -> None:
    assert scoring_retry(3).parse_retry_after(value) == seconds


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 0, 0), (2, 0.5, 0.75), (3, 1, 1.25), (4, 2, 2.25), (7, 16, 16.25), (8, 30, 30)],
)
def test_pauses_double(failures: int, shortest: float, longest: float) -> None:
    retry = scoring_retry(9)
    for _ in range(failures):
        retry = retry.increment("POST", "/score", error=ProtocolError("hung up"))
    assert shortest <= retry.get_backoff_time() <= longest


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_what_a_repeat_would_not_change_is_not_repeated(
    server: Scripted, endpoint: Endpoint, status: int
) -> None:
    server.answers = [
        Answer({"message": "no"}, status, {"Retry-After": "1"}),
        Answer(["no", "yes"]),
    ]
    with pytest.raises(EndpointError) as caught:
        endpoint.score(ROWS)
    assert caught.value.status == status
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "key"), (404, "URL"), (413, "chunks"), (500, "log")]
)
def test_an_error_says_what_to_do(
    server: Scripted, endpoint: Endpoint, status: int, hint: str
) -> None:
    server.answers = [Answer({"message": "because"}, status)]
    with pytest.raises(EndpointError, match="because") as caught:
        endpoint.score(ROWS)
    assert hint in str(caught.value.hint)


def test_the_servers_own_hint_and_details_are_kept(server: Scripted, endpoint: Endpoint) -> None:
    detail = {"row": 1, "column": "age", "value": "abc", "expected": "an integer"}
    server.answers = [
        Answer({"message": "row 1 is odd", "hint": "Send a number.", "details": [detail]}, 400)
    ]
    with pytest.raises(EndpointError, match="row 1 is odd") as caught:
        endpoint.score(ROWS)
    assert caught.value.to_dict()["details"] == [detail]
    assert caught.value.hint == "Send a number."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"code": "UserError", "message": "no quota"}}, "no quota"),
        ({"error": "plain words"}, "plain words"),
        (b"gateway\n down", "gateway down"),
        ([], "Bad Request"),
    ],
)
def test_other_shapes_of_errors_are_understood(
    server: Scripted, endpoint: Endpoint, body: object, words: str
) -> None:
    server.answers = [Answer(body, 400)]
    with pytest.raises(EndpointError, match=words):
        endpoint.score(ROWS)


def test_an_html_page_is_not_quoted(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer(b"<html>long page</html>", 404, {"Content-Type": "text/html"})]
    with pytest.raises(EndpointError) as caught:
        endpoint.score(ROWS)
    assert "html>" not in str(caught.value)


def test_the_key_is_never_shown(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer({"message": f"key {KEY} is wrong", "hint": f"not {KEY}"}, 401)]
    with pytest.raises(EndpointError) as caught:
        endpoint.score(ROWS)
    shown = [repr(endpoint), str(caught.value), repr(caught.value), str(caught.value.to_dict())]
    assert not [text for text in shown if KEY in text]
    assert "***" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (["no"], "1 predictions for 2 rows"),
        ({"answer": 42}, "without predictions"),
        ("plain text", "with the text 'plain text'"),
        ('{"error": "column age is odd"}', "column age is odd"),
        (b"not json", "not JSON"),
    ],
)
def test_a_reply_that_is_no_prediction_is_an_error(
    server: Scripted, endpoint: Endpoint, reply: object, words: str
) -> None:
    server.answers = [Answer(reply)]
    with pytest.raises(EndpointError, match=words) as caught:
        endpoint.score(ROWS)
    assert caught.value.status == 502


def test_a_slow_endpoint_is_not_asked_twice(server: Scripted) -> None:
    server.answers = [Answer(["no", "yes"], seconds=0.6)]
    with (
        Endpoint(server.uri, timeout=0.2) as endpoint,
        pytest.raises(EndpointError, match=r"within 0\.2 s") as caught,
    ):
        endpoint.score(ROWS)
    assert caught.value.status == 504
    assert len(server.asked) == 1


def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    quiet_libraries()
    with Endpoint("http://127.0.0.1:9/score", retries=1) as endpoint:
        assert not endpoint.health()
        with pytest.raises(EndpointError, match="cannot be reached") as caught:
            endpoint.score(ROWS)
        with pytest.raises(EndpointError, match="cannot be reached"):
            endpoint.post(b"{}")
    assert caught.value.status == 503
    assert caplog.text == ""


def test_a_redirect_is_not_followed(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer({}, 302, {"Location": "http://127.0.0.1:9/elsewhere"})]
    with pytest.raises(EndpointError, match="answered 302"):
        endpoint.score(ROWS)
    assert len(server.asked) == 1


def test_post_sends_once_and_returns_any_answer(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer({"message": "busy"}, 503)]
    response = endpoint.post(b"a,b\n1,2\n", content_type="text/csv", route="/invocations")
    assert response.status_code == 503
    (asked,) = server.asked
    assert (asked.path, asked.body) == ("/invocations", b"a,b\n1,2\n")
    assert asked.headers["Content-Type"] == "text/csv"


def test_health_asks_azures_route_where_there_is_no_other(
    server: Scripted, endpoint: Endpoint
) -> None:
    server.answers = [Answer({}, 404), Answer(b"Healthy")]
    assert endpoint.health()
    assert [asked.path for asked in server.asked] == ["/health", "/"]
    server.answers = [Answer({}, 500)]
    assert not endpoint.health()


def test_swagger(server: Scripted, endpoint: Endpoint) -> None:
    server.answers = [Answer({"openapi": "3.0.3"}), Answer([1])]
    assert endpoint.swagger() == {"openapi": "3.0.3"}
    assert server.asked[0].path == "/swagger.json?version=3"
    with pytest.raises(EndpointError, match="OpenAPI"):
        endpoint.swagger()


def test_a_netrc_does_not_replace_the_key_and_a_proxy_does_not_catch_loopback(
    server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.answers = [Answer(["no", "yes"])]
    with Endpoint(server.uri, KEY, retries=0) as endpoint:
        endpoint.score(ROWS)
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_base_uri() -> None:
    cases = {
        "http://127.0.0.1:5001/score": "http://127.0.0.1:5001",
        "http://127.0.0.1:5001/score/": "http://127.0.0.1:5001",
        "http://host/api/v1/service/bank/score": "http://host/api/v1/service/bank",
        "http://127.0.0.1:5001/invocations": "http://127.0.0.1:5001",
    }
    assert {uri: Endpoint(uri).base_uri for uri in cases} == cases
