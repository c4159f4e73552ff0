"""What a client may take of a server, through real sockets: time, bytes, connections, words."""

import gzip
import json
import resource
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from twinml_local.server import Deployment, ServerSettings, Serving, create_app
from twinml_local.server._app import app_of
from twinml_local.server.process._connection import Connection
from twinml_local.server.scoring.service import ScoringService

KEY = "primary-key-0123456789"
ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
BODY = json.dumps({"data": [ROW]}).encode()
CSV = b"age,balance,job,owner\n70,1.5,admin.,true\n30,1.5,admin.,true\n"
LONGEST_MESSAGE = 2_000


class Counting:
    """Predicts as the model does, and counts rows."""

    def __init__(self, predictor: Any) -> None:
        self.predictor, self.rows = predictor, 0

    def predict(self, frame: Any) -> Any:
        self.rows += len(frame)
        return self.predictor.predict(frame)


@pytest.fixture
def served(bank: Deployment) -> Callable[..., Any]:
    def make(predictor: Any = None, **settings: Any) -> Any:
        blue = bank if predictor is None else replace(bank, predictor=predictor)
        now = Serving(
            "bank-test", {"blue": blue}, {"blue": 100}, (KEY,), settings=ServerSettings(**settings)
        )
        return create_app(lambda: now)

    return make


def head(
    length: int | None = len(BODY),
    *,
    method: str = "POST",
    path: str = "/score",
    key: str = KEY,
    kind: str = "application/json",
    host: str | None = "127.0.0.1",
    more: str = "",
) -> bytes:
    framing = "" if length is None else f"Content-Length: {length}\r\n"
    hosts = "" if host is None else f"Host: {host}\r\n"
    return (
        f"{method} {path} HTTP/1.1\r\n{hosts}Authorization: Bearer {key}\r\n"
        f"Content-Type: {kind}\r\n{framing}{more}\r\n"
    ).encode()


def refusal(answer: Any, status: int) -> dict[str, Any]:
    """Check that an error has the one shape, and return it."""
    assert answer.status == status, answer.body
    shape = answer.json()
    assert set(shape) <= {"error_code", "message", "hint", "details"}
    assert ("Content-Type", "application/json") in answer.headers
    assert len(shape["message"]) <= LONGEST_MESSAGE
    return dict(shape)


# Time


@pytest.mark.parametrize("begun", [b"P", b"POST /score HTTP/1.1\r\nHost: 127"])
def test_a_head_that_does_not_end(listen: Any, served: Any, begun: bytes) -> None:
    wire = listen(served(), head_seconds=0.3)
    with wire.connect() as connection:
        connection.sendall(begun)
        assert "head" in refusal(answer_on(connection), 408)["message"]
        assert connection.recv(1) == b""


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_does_not_end(listen: Any, served: Any, framing: str) -> None:
    wire = listen(served(), body_seconds=0.3, body_pace=1e9)
    with wire.connect() as connection:
        if framing == "length":
            connection.sendall(head() + BODY[:-1])
        else:
            chunked = head(None, more="Transfer-Encoding: chunked\r\n")
            connection.sendall(chunked + b"5\r\n{    \r\n")
        assert "body" in refusal(answer_on(connection), 408)["message"]
    assert wire.traffic.held == 0


def test_a_body_at_the_least_pace(listen: Any, served: Any) -> None:
    # A byte is good for half an hour: whoever sends is not cut off, whatever the total.
    wire = listen(served(), body_seconds=1.5, body_pace=0.0005)
    with wire.connect() as connection:
        connection.sendall(head())
        for byte in BODY:
            connection.sendall(bytes([byte]))
            time.sleep(0.04)
        assert answer_on(connection).status == 200


def test_an_idle_connection_is_closed(listen: Any, served: Any) -> None:
    wire = listen(served(), idle_seconds=0.3)
    with wire.connect() as connection:
        connection.sendall(head() + BODY)
        assert answer_on(connection).status == 200
        assert connection.recv(1) == b""


def test_a_client_that_reads_nothing_is_let_go(listen: Any, served: Any) -> None:
    wire = listen(served(), write_seconds=0.3)
    big = json.dumps({"dataframe_records": [ROW] * 100_000, "params": {}}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", wire.port))
        for _ in range(20):  # more replies than the kernel's buffers take
            try:
                connection.sendall(head(len(big), path="/invocations") + big)
            except OSError:
                break
        until(lambda: not wire.traffic.connections, "it is still waited for")


# Bytes


def test_a_head_that_is_too_large(listen: Any, served: Any) -> None:
    wire = listen(served(), head_bytes=1000)
    refusal(wire.ask(head(more=f"X-More: {'x' * 1000}\r\n") + BODY), 431)
    refusal(wire.ask(b"GET /" + b"x" * 1000), 431)
    assert wire.ask(head(more=f"X-More: {'x' * 500}\r\n") + BODY).status == 200


def test_bodies_are_bounded_together(listen: Any, served: Any) -> None:
    wire = listen(served(max_body_bytes=4000), held_bytes=10_000)
    whole = BODY + b" " * (4000 - len(BODY))
    waiting = [wire.connect() for _ in range(3)]
    try:
        for connection in waiting[:2]:
            connection.sendall(head(4000) + whole[:3999])
        until(lambda: wire.traffic.held == 7998, "bodies are not counted")
        # By its length before it is sent, and without a length when it gets there.
        answer = wire.ask(head(4000) + whole)
        assert "moment" in refusal(answer, 503)["hint"]
        assert ("Retry-After", "1") in answer.headers
        chunked = head(None, more="Transfer-Encoding: chunked\r\n")
        refusal(wire.ask(chunked + b"7d3\r\n" + b" " * 2003 + b"\r\n0\r\n\r\n"), 503)
        assert wire.ask(head() + BODY).status == 200
        for connection in waiting[:2]:
            connection.sendall(whole[3999:])
            assert answer_on(connection).status == 200
        assert wire.traffic.held == 0
        assert wire.ask(head(4000) + whole).status == 200
        waiting[2].sendall(head(4000) + whole[:1000])
        until(lambda: wire.traffic.held == 1000, "a body is not counted")
    finally:
        for connection in waiting:
            connection.close()
    until(lambda: wire.traffic.held == 0, "a client that left still holds bytes")


def test_fifty_megabytes_with_a_wrong_key(listen: Any, served: Any) -> None:
    wire = listen(served())
    for path in ("/score", "/invocations", "/feedback"):
        with wire.connect() as connection:
            connection.sendall(head(50_000_000, key="wrong", path=path))
            first = [connection.recv(12)] if path != "/feedback" else []
            for _ in range(50):
                connection.sendall(b" " * 1_000_000)
            if first:
                # The refusal was there before the body.
                assert first == [b"HTTP/1.1 401"]
                rest = b"".join(iter(lambda: connection.recv(65536), b""))
                assert b"\r\nConnection: close\r\n" in rest
            else:
                answer = answer_on(connection)
                refusal(answer, 401)
                assert answer.closes
    assert wire.traffic.held == 0


def test_a_refusal_of_a_short_request_keeps_the_connection(listen: Any, served: Any) -> None:
    wire = listen(served())
    with wire.connect() as connection:
        connection.sendall(head(key="wrong") + BODY)
        answer = answer_on(connection)
        refusal(answer, 401)
        assert not answer.closes
        connection.sendall(head() + BODY)
        assert answer_on(connection).status == 200


def test_chunks_of_one_byte(listen: Any, served: Any) -> None:
    wire = listen(served())
    chunked = head(None, more="Transfer-Encoding: chunked\r\n")
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    assert wire.ask(chunked + pieces + b"0\r\n\r\n").status == 200


def test_gzip_is_counted_unpacked(listen: Any, served: Any) -> None:
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < 2000
    wire = listen(served(max_body_bytes=999_999))
    packed = head(len(bomb), more="Content-Encoding: gzip\r\n")
    assert "999999" in refusal(wire.ask(packed + bomb), 413)["message"]
    fits = gzip.compress(BODY)
    answer = wire.ask(head(len(fits), more="Content-Encoding: gzip\r\n") + fits)
    assert answer.status == 200
    named = wire.ask(head(len(fits), more="Content-Encoding: zstd\r\n") + fits)
    assert "'zstd'" in refusal(named, 415)["message"]


# Whole requests


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (f"Content-Length: {len(CSV)}\r\n", CSV[:-20]),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n" % (len(CSV), CSV)),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n%b" % (len(CSV), CSV)),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\nzz\r\nrest" % (len(CSV), CSV)),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n"),
        ("Transfer-Encoding: gzip\r\n", CSV),
        ("Content-Length: -1\r\n", CSV),
        ("Content-Length: x\r\n", CSV),
        (f"Content-Length: {'1' * 5000}\r\n", CSV),
        (f"Content-Length: 1\r\nContent-Length: {len(CSV)}\r\n", CSV),
        (f"Content-Length: {len(CSV)}\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    ],
)
def test_a_body_that_is_not_whole(
    listen: Any, served: Any, bank: Deployment, framing: str, sent: bytes
) -> None:
    counting = Counting(bank.predictor)
    wire = listen(served(counting))
    answer = wire.ask(head(None, kind="text/csv", more=framing) + sent, end=True)
    refusal(answer, 400)
    assert answer.closes
    assert counting.rows == 0
    # The same rows as a whole are scored.
    assert wire.ask(head(len(CSV), kind="text/csv") + CSV).status == 200
    assert counting.rows == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"post /score HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /score HTTP/3.7\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nBad name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\nnonsense\r\n\r\n",
    ],
)
def test_what_is_no_http(listen: Any, served: Any, raw: bytes) -> None:
    wire = listen(served())
    answer = wire.ask(raw, end=True)
    refusal(answer, 400)
    assert answer.closes


def test_pipelined_requests_are_answered_in_order(listen: Any, served: Any) -> None:
    wire = listen(served())
    page = b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    wrong = head(200_000, key="wrong") + b" " * 200_000
    with wire.connect() as connection:
        connection.sendall(page + head() + BODY + wrong + page + b"nonsense\r\n\r\n")
        file = connection.makefile("rb")
        assert [answer_in(file).status for _ in range(3)] == [200, 200, 401]


def test_heads_like_the_last_one(listen: Any, bank: Deployment) -> None:
    deployments, keys = {"blue": bank}, (KEY, "other-key-0123456789")
    now = [Serving("bank-test", deployments, {"blue": 100}, keys)]
    wire = listen(create_app(lambda: now[0]))
    longer = json.dumps({"data": [ROW, {**ROW, "age": 30}]}).encode()
    empty = b'{"data": []}'
    with wire.connect() as connection, connection.makefile("rb") as file:

        def ask(*pieces: bytes) -> Any:
            for piece in pieces:
                connection.sendall(piece)
            return answer_in(file)

        first = ask(head() + BODY)
        assert [ask(head() + BODY).json(), ask(head() + BODY).json()] == [first.json()] * 2
        assert json.loads(ask(head(len(longer)) + longer).json())["result"][0] in ("no", "yes")
        assert "no rows" in refusal(ask(head(len(empty)) + empty), 400)["message"]
        assert "twice" not in refusal(ask(head(1) + b"1"), 400)["message"]
        # Cut, two at once, another key, and the same bytes once that key is none any more.
        assert ask(head(), BODY).json() == first.json()
        assert ask(head() + BODY + head() + BODY).json() == answer_in(file).json() == first.json()
        ids = [dict(ask(head() + BODY).headers)["x-request-id"] for _ in range(2)]
        assert ids[0] != ids[1]
        assert ask(head(key=keys[1]) + BODY).status == 200
        refusal(ask(head(key="wrong") + BODY), 401)
        assert ask(head() + BODY).status == 200
        now[0] = Serving("bank-test", deployments, {"blue": 100}, keys[1:])
        refusal(ask(head() + BODY), 401)
        assert ask(head(key=keys[1]) + BODY).status == 200
        settings = ServerSettings(max_body_bytes=len(BODY))
        now[0] = Serving("bank-test", deployments, {"blue": 100}, keys, settings=settings)
        assert ask(head() + BODY).json() == ask(head() + BODY).json() == first.json()
        refusal(ask(head(len(longer)) + longer), 413)
    assert wire.traffic.held == 0


def test_a_known_head_is_not_parsed_again(
    listen: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    before = Connection.on_headers_complete
    monkeypatch.setattr(
        Connection,
        "on_headers_complete",
        lambda self: parsed.append(1) or before(self),  # type: ignore[func-returns-value]
    )
    wire = listen(served())
    longer = json.dumps({"data": [ROW, ROW]}).encode()
    with wire.connect() as connection, connection.makefile("rb") as file:
        for body in (BODY, BODY, longer, BODY):
            connection.sendall(head(len(body)) + body)
            assert answer_in(file).status == 200
        assert len(parsed) == 1
        for number in range(40):
            connection.sendall(head(more=f"traceparent: {number}\r\n") + BODY)
            assert answer_in(file).status == 200
        assert len(parsed) == 41


@pytest.mark.parametrize("cut", [0, 10, len(BODY)])
def test_an_upgrade_is_answered_as_if_it_were_none(listen: Any, served: Any, cut: int) -> None:
    # As curl --http2 sends it.
    more = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    wire = listen(served())
    for framing in (len(BODY), None):
        whole = BODY if framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        chunked = "" if framing else "Transfer-Encoding: chunked\r\n"
        with wire.connect() as connection:
            connection.sendall(head(framing, more=more + chunked) + whole[:cut])
            time.sleep(0.1)
            connection.sendall(whole[cut:])
            answer = answer_on(connection)
            assert (answer.status, answer.closes) == (200, True)
    answer = wire.ask(b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n")
    assert (refusal(answer, 405)["error_code"], answer.closes) == ("METHOD_NOT_ALLOWED", True)


def test_a_client_that_asks_first(listen: Any, served: Any) -> None:
    wire = listen(served())
    with wire.connect() as connection:
        connection.sendall(head(more="Expect: 100-continue\r\n"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert answer_on(connection).status == 200
    with wire.connect() as connection:
        connection.sendall(head(100_000, key="wrong", more="Expect: 100-continue\r\n"))
        assert answer_on(connection).status == 401


# Hosts


def test_hosts(listen: Any, served: Any) -> None:
    wire = listen(served())
    for host, status in (
        (None, 400),
        ("127.0.0.1", 200),
        ("127.0.0.1:5001", 200),
        ("localhost:9", 200),
        ("[::1]:5001", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:5001", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ):
        assert wire.ask(head(host=host) + BODY).status == status, host
        assert wire.ask(head(None, method="GET", path="/ping", host=host)).status == status, host
    assert "TWINML_ALLOWED_HOSTS" in refusal(wire.ask(head(host="a.example") + BODY), 403)["hint"]
    listed = listen(served(allowed_hosts=("model.example",)))
    for host, status in (("model.example", 200), ("MODEL.example.:80", 200), ("a.example", 403)):
        assert listed.ask(head(host=host) + BODY).status == status, host
    assert listen(served(allowed_hosts=("*",))).ask(head(host="a.example") + BODY).status == 200
    old = b"GET /ping HTTP/1.0\r\n\r\n"
    assert wire.ask(old).status == 200


# Connections


def test_idle_connections_make_nobody_wait(listen: Any, served: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wire = listen(served())
    idle = []
    try:
        for number in range(1500):
            connection = wire.connect()
            if number % 3:
                connection.sendall((b"POST /sco", head() + BODY[:5])[number % 2])
            idle.append(connection)
        until(lambda: len(wire.traffic.connections) == 1500, "they are not all taken")
        connection = wire.connect()
        with connection:
            connection.sendall(head() + BODY)
            assert answer_on(connection).status == 200
        assert len(wire.traffic.connections) >= 1500
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_idlest_gives_way(listen: Any, served: Any) -> None:
    wire = listen(served(), connections=3)
    taken = []
    for number in (1, 2, 3):
        taken.append(wire.connect())
        until(lambda: len(wire.traffic.connections) == number, "it is not taken")  # noqa: B023
        time.sleep(0.05)
    first, second, third = taken
    with first, second, third:
        first.sendall(head() + BODY)  # so that the second is the idlest
        assert answer_on(first).status == 200
        with wire.connect() as newcomer:
            newcomer.sendall(head() + BODY)
            assert answer_on(newcomer).status == 200
            assert second.recv(1) == b""
            # None of these is idle; of those that send a head the first one goes.
            for connection in (first, third, newcomer):
                connection.sendall(b"POST /score HT")
                time.sleep(0.1)
            assert wire.ask(head() + BODY).status == 200
            assert first.recv(1) == b""
            third.sendall(head()[14:] + BODY)
            assert answer_on(third).status == 200


# Words


@pytest.fixture
def client(served: Any) -> Client:
    return Client(served())


@pytest.fixture
def feedback(bank: Deployment, tmp_path: Path) -> Client:
    now = Serving("bank-test", {"blue": bank}, {"blue": 100}, (KEY,))
    return Client(app_of(ScoringService(lambda: now), tmp_path))


def strict(text: str) -> Any:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=no_constant)


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"input_data": {"columns": ["a"] * 40_000, "data": []}}, "more than once"),
        (
            {"input_data": {"columns": [f"a{n // 2}" for n in range(40_000)], "data": []}},
            "19,980 more",
        ),
        ({"input_data": {"columns": [LONG, LONG], "data": []}}, "more than once"),
        ({LONG: 1}, "no rows"),
        ({"data": [ROW | {"age": LONG}]}, "age"),
        ({"data": [ROW | {"age": float("nan"), "owner": float("inf")}]}, "1 more"),
        ({"data": [ROW | {"age": 10**400}]}, "age"),
        ({"data": [ROW], "method": LONG}, "method"),
        ({"data": LONG}, "data"),
    ],
)
def test_messages_have_a_length(client: Client, body: Any, word: str) -> None:
    began = time.process_time()
    reply = client.post("/score", json=body, headers={"Authorization": f"Bearer {KEY}"})
    # Of the processor's time: for 40,000 names what is quadratic takes some thirty times as much.
    assert time.process_time() - began < 2
    assert reply.status_code == 400
    shape = strict(reply.text)
    assert word in shape["message"]
    assert len(reply.text) < 3 * LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[" * 100_000, 400),
        ("[" * 100_000 + "]" * 100_000, 400),
        ('{"request_id":"a","label":NaN}', 400),
        ('{"request_id":"a","row":NaN,"label":"yes"}', 400),
        ('{"request_id":"a","row":1e999,"label":"yes"}', 400),
        (json.dumps({"request_id": "a", "row": 10**400, "label": "yes"}), 400),
        (json.dumps({"request_id": "a", "label": LONG}), 400),
        (json.dumps({"request_id": LONG, "label": "yes"}), 400),
        (json.dumps({"request_id": "a", "label": "yes"}), 200),
    ],
)
def test_feedback_that_is_none(feedback: Client, body: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    reply = feedback.post("/feedback", data=body, headers=headers)
    assert reply.status_code == status
    strict(reply.text)
    assert len(reply.text) < 2 * LONGEST_MESSAGE


@pytest.mark.parametrize("depth", [900, 960, 980, 985, 990, 1000, 5000, 100_000])
def test_deep_queries(client: Client, depth: int) -> None:
    query = {name: str(value) for name, value in ROW.items()}
    query["age"] = "[" * depth + "]" * depth
    reply = client.get("/score", query_string=query, headers={"Authorization": f"Bearer {KEY}"})
    assert reply.status_code == 400
    strict(reply.text)
    query = {"input_data": "[" * depth + "]" * depth}
    assert (
        client.get(
            "/score", query_string=query, headers={"Authorization": f"Bearer {KEY}"}
        ).status_code
        == 400
    )


# A prefix


@pytest.mark.parametrize(
    ("settings", "headers", "prefix"),
    [
        ({}, {}, ""),
        ({}, {"X-Forwarded-Prefix": "/svc"}, "/svc"),
        ({}, {"X-Forwarded-Prefix": "/svc/"}, "/svc"),
        ({"root_path": "/models/bank"}, {}, "/models/bank"),
        ({"root_path": "/models/bank"}, {"X-Forwarded-Prefix": "/svc"}, "/svc"),
        ({}, {"X-Forwarded-Prefix": "//evil.example"}, ""),
        ({}, {"X-Forwarded-Prefix": "/a/../b"}, ""),
        ({}, {"X-Forwarded-Prefix": "/<script>"}, ""),
        ({}, {"X-Forwarded-Prefix": "/" + "x" * 200}, ""),
    ],
)
def test_a_prefix(served: Any, settings: Any, headers: Any, prefix: str) -> None:
    client = Client(served(**settings))
    for version in ("3", "3.1"):
        shape = client.get(f"/swagger.json?version={version}", headers=headers).get_json()
        assert shape.get("servers", [{"url": ""}]) == [{"url": prefix}]
    shape = client.get("/swagger.json", headers=headers).get_json()
    assert shape.get("basePath", "") == prefix
    # The page's own addresses are relative: right behind any prefix.
    page = client.get("/docs/", headers=headers).text
    assert 'src="./swagger-ui-bundle.js"' in page
    assert '"../swagger.json?version=3"' in page
    moved = client.get("/docs", headers=headers)
    assert moved.headers["Location"].endswith(f"{prefix}/docs/")
    assert client.post("/score", json={"data": [ROW]}, headers={"Authorization": f"Bearer {KEY}"})


# Reading


def answer_on(connection: socket.socket) -> Any:
    with connection.makefile("rb") as file:
        return answer_in(file)


class _Answer:
    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.closes = ("Connection", "close") in headers

    def json(self) -> Any:
        return strict(self.body.decode())


def answer_in(file: Any) -> _Answer:
    line = file.readline()
    assert line, "the connection was closed without an answer"
    headers = []
    while (read := file.readline()) != b"\r\n":
        name, _, value = read.decode("latin-1").rstrip("\r\n").partition(": ")
        headers.append((name, value))
    return _Answer(
        int(line.split(b" ")[1]), headers, file.read(int(dict(headers)["Content-Length"]))
    )


def until(found: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)
