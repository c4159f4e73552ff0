"""The benchmark against real HTTP servers on loopback: good ones, wrong ones, broken ones."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from twinml import benchmark
from twinml.benchmark._load import Check, Worker
from twinml.benchmark._text import in_ab_style
from twinml.benchmark.figures import overview
from twinml.endpoint import Endpoint
from twinml.errors import EndpointError, UsageError

BODIES = [json.dumps({"rows": [number]}).encode() for number in range(3)]
ANSWERS = [[f"label {number}"] for number in range(3)]


def right(body: bytes) -> bytes:
    (number,) = json.loads(body)["rows"]
    return json.dumps({"predictions": ANSWERS[number]}).encode()


class Server(ThreadingHTTPServer):
    """Answers with what ``reply`` makes of the number of the request and its body."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply: Callable[[int, bytes], tuple[int, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.lock = threading.Lock()
        self.count = 0
        self.seen: list[dict[str, str]] = []
        self.clients: set[tuple[str, int]] = set()
        self.close_silently_every = 0
        self.delay = 0.0
        self.drip = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: clients that hang up are part of these tests."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/score"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "toy/1"
    sys_version = ""
    # Headers and body go out in two writes; waiting for the first to be acknowledged takes 40 ms.
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            number = server.count
            server.count += 1
            server.seen.append(dict(self.headers))
            server.clients.add(self.client_address)
        if server.delay:
            time.sleep(server.delay)
        status, reply = server.reply(number, body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if server.drip:
            for byte in reply:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
            return
        self.wfile.write(reply)
        # Hang up without having said so in a header, as a server with a short keep-alive does.
        every = server.close_silently_every
        self.close_connection = bool(every) and number % every == every - 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(reply: Callable[[int, bytes], tuple[int, bytes]]) -> Iterator[Server]:
    server = Server(reply)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def raw_server(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Hand every connection, its first request read, to ``handle``."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    threads = []

    def serve(connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                received = connection.recv(65536)
                if not received:
                    return
                data += received
            handle(connection)

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            thread.start()
            threads.append(thread)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/score"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join(5)


def test_every_reply_of_a_good_endpoint_counts_and_connections_are_kept():
    with serving(lambda number, body: (200, right(body))) as server:
        with Endpoint(server.uri, "the-key", deployment="blue") as endpoint:
            calls: list[tuple[int, int]] = []
            result = benchmark.run(
                endpoint,
                BODIES,
                ANSWERS,
                requests=60,
                concurrency=3,
                warmup=6,
                progress=lambda done, of: calls.append((done, of)),
            )
        # 60 counted, 6 to warm up, 1 by the endpoint's own client on its own connection.
        assert server.count == 67
        assert len(server.clients) == 4
        for headers in server.seen:
            assert headers["Authorization"] == "Bearer the-key"
            assert headers["azureml-model-deployment"] == "blue"
            assert headers["Content-Type"] == "application/json"
    assert (result.good, result.failed, result.completed) == (60, 0, 60)
    assert result.stopped is None
    assert result.reconnects == 0
    assert result.server == "toy/1"
    assert calls[-1] == (60, 60)
    assert result.bytes_sent == 20 * sum(len(body) for body in BODIES)
    assert result.bytes_received == 20 * sum(len(right(body)) for body in BODIES)
    assert result.requests_per_second == pytest.approx(60 / result.seconds)
    # Closed loop: three workers are never idle, so latencies fill about three times the time.
    assert sum(result.latencies) / 1000 <= 3 * result.seconds
    assert 0 < result.percentile(50) <= result.percentile(90) <= result.percentile(99)
    assert result.percentile(100) == max(result.latencies)
    assert 0 < result.client_ms < max(result.latencies)
    assert "the-key" not in repr(result) + json.dumps(result.to_dict()) + in_ab_style(result)


def test_failures_are_counted_by_kind_with_the_first_message():
    def reply(number: int, body: bytes) -> tuple[int, bytes]:
        if number % 5 == 1:
            return 400, b'{"message": "row 0, column age: found abc"}'
        if number % 5 == 2:
            return 200, b'["label 99"]'
        if number % 5 == 3:
            return 200, b"<html>sorry</html>"
        return 200, right(body)

    with serving(reply) as server, Endpoint(server.uri) as endpoint:
        # The first request of all, number 0, is the endpoint's own.
        result = benchmark.run(endpoint, BODIES, ANSWERS, requests=50, concurrency=1, warmup=4)
    assert {failure.kind: failure.count for failure in result.failures} == {
        "HTTP 400": 10,
        "different": 10,
        "undecodable": 10,
    }
    messages = {failure.kind: failure.message for failure in result.failures}
    assert messages["HTTP 400"] == '{"message": "row 0, column age: found abc"}'
    assert 'expected ["label' in messages["different"]
    assert 'got ["label 99"]' in messages["different"]
    assert "<html>sorry</html>" in messages["undecodable"]
    assert (result.good, result.failed, result.non_2xx) == (20, 30, 10)
    assert len(result.latencies) == 20
    assert result.requests_per_second == pytest.approx(20 / result.seconds)
    text = in_ab_style(result)
    assert "Complete requests:      50" in text
    assert "Failed requests:        30" in text
    assert "Non-2xx responses:      10" in text
    assert "First failure, HTTP 400: " in text


def test_an_endpoint_that_refuses_everything_has_no_throughput():
    refuse = serving(lambda number, body: (401, b'{"message": "no"}'))
    with refuse as server, Endpoint(server.uri) as endpoint:
        result = benchmark.run(endpoint, BODIES, requests=8, concurrency=2, warmup=0)
    assert (result.good, result.requests_per_second) == (0, 0.0)
    shape = result.to_dict()
    assert set(shape["latency_ms"].values()) == {None}
    assert {"p50", "p90", "p95", "p99", "max", "mean"} <= set(shape["latency_ms"])
    json.dumps(shape, allow_nan=False)
    assert "Failed requests:        8" in in_ab_style(result)
    with pytest.raises(UsageError, match="no good reply"):
        overview(result)


def test_a_dropped_kept_connection_is_opened_anew_and_is_no_failure():
    with serving(lambda number, body: (200, right(body))) as server:
        server.close_silently_every = 4
        with Endpoint(server.uri) as endpoint:
            result = benchmark.run(endpoint, BODIES, ANSWERS, requests=40, concurrency=1, warmup=3)
    assert (result.good, result.failed) == (40, 0)
    assert result.reconnects == 10


def test_a_slow_endpoint_times_out_and_the_run_goes_on():
    def reply(number: int, body: bytes) -> tuple[int, bytes]:
        if number == 2:
            time.sleep(0.6)
        return 200, right(body)

    with serving(reply) as server, Endpoint(server.uri) as endpoint:
        result = benchmark.run(
            endpoint, BODIES, ANSWERS, requests=10, concurrency=1, warmup=0, timeout=0.2
        )
    (failure,) = result.failures
    assert (failure.kind, failure.count) == ("timeout", 1)
    assert failure.message == "no whole reply within 0.2 s"
    assert result.good == 9


def test_a_reply_that_drips_is_cut_at_the_timeout():
    answer = serving(lambda number, body: (200, right(body)))
    with answer as server, Endpoint(server.uri) as endpoint:
        server.drip = True
        # 27 bytes, one every 0.05 s: never silent for 0.3 s, and never done within it.
        result = benchmark.run(
            endpoint, BODIES, ANSWERS, requests=2, concurrency=2, warmup=0, timeout=0.3
        )
    assert {failure.kind: failure.count for failure in result.failures} == {"timeout": 2}


def test_the_run_ends_when_the_time_is_over_and_leaves_no_thread():
    with serving(lambda number, body: (200, right(body))) as server:
        server.delay = 0.05
        # Threads of other tests' libraries may come and go: only new clients count.
        before = set(threading.enumerate())
        with Endpoint(server.uri) as endpoint:
            result = benchmark.run(
                endpoint, BODIES, ANSWERS, requests=10_000, concurrency=2, warmup=0, max_seconds=0.5
            )
        # At most: each client begins one every 0.05 s, on a busy machine fewer.
        assert result.completed <= 20
        assert (result.completed, result.failed) == (result.good, 0)
        assert result.stopped == "0.5 s were over"
        assert "Stopped early: 0.5 s were over" in in_ab_style(result)
        workers = [t for t in set(threading.enumerate()) - before if isinstance(t, Worker)]
        assert not workers


def test_a_connection_closed_in_the_middle_of_a_reply_is_a_failure():
    def half(connection: socket.socket) -> None:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n["label')

    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"
    first = threading.Lock()

    def handle(connection: socket.socket) -> None:
        if first.acquire(blocking=False):
            connection.sendall(good)  # to the endpoint's own client
        else:
            half(connection)

    with raw_server(handle) as uri, Endpoint(uri) as endpoint:
        result = benchmark.run(endpoint, BODIES, requests=6, concurrency=2, warmup=0)
    (failure,) = result.failures
    assert (failure.kind, failure.count) == ("connection", 6)
    assert "IncompleteRead" in failure.message


def test_a_reset_connection_is_a_failure_and_half_closed_ones_still_answer():
    count = Counter[str]()

    def handle(connection: socket.socket) -> None:
        count["all"] += 1
        if count["all"] % 2 == 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return  # closing now sends a reset
        # Half closed: our side ends the stream, there is no Content-Length.
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n[1]")
        connection.shutdown(socket.SHUT_WR)

    with raw_server(handle) as uri, Endpoint(uri) as endpoint:
        result = benchmark.run(endpoint, BODIES, requests=9, concurrency=1, warmup=0)
    assert result.good == 4
    (failure,) = result.failures
    assert (failure.kind, failure.count) == ("connection", 5)


def test_an_endpoint_that_is_not_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = pytest.raises(EndpointError, match="cannot be reached")
    with Endpoint(f"http://127.0.0.1:{port}/score") as endpoint, gone:
        benchmark.run(endpoint, BODIES, requests=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"requests": 0}, "requests is 0, expected at least 1"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"bodies": []}, "the number of bodies is 0"),
        ({"expected": [1]}, "3 bodies and 1 expected"),
        ({"max_seconds": 0}, "max_seconds 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str):
    arguments: dict[str, Any] = {"bodies": BODIES, "expected": None} | options
    bodies, expected = arguments.pop("bodies"), arguments.pop("expected")
    with Endpoint("http://127.0.0.1:1/score") as endpoint, pytest.raises(UsageError, match=message):
        benchmark.run(endpoint, bodies, expected, **arguments)


@pytest.mark.parametrize(
    "reply",
    [
        b'["yes", "no"]',
        b'{"predictions": ["yes", "no"]}',
        b'{"Results": ["yes", "no"]}',
        b'"{\\"result\\": [\\"yes\\", \\"no\\"]}"',
    ],
)
def test_the_wrapping_of_a_dialect_is_no_difference(reply: bytes):
    check = Check([["yes", "no"]])
    assert check.fault(0, 200, reply) is None
    assert check.fault(0, 200, reply) is None  # known by its bytes now
    fault = check.fault(0, 200, reply.replace(b"yes", b"yet"))
    assert fault is not None
    assert fault[0] == "different"


def test_percentiles_are_nearest_rank():
    result = made(tuple(float(ms) for ms in range(100, 0, -1)))
    assert [result.percentile(p) for p in (1, 50, 95, 99.5, 100)] == [1, 50, 95, 100, 100]
    assert result.mean == 50.5
    with pytest.raises(UsageError, match="percentile is 0"):
        result.percentile(0)


def test_the_text_has_the_lines_of_ab():
    text = in_ab_style(made((1.0, 2.0, 3.0, 40.0)))
    for line in (
        "Server Hostname:        127.0.0.1",
        "Server Port:            5001",
        "Document Path:          /score",
        "Concurrency Level:      2",
        "Complete requests:      4",
        "Requests per second:    2.00 [#/sec] (mean, good replies)",
        "Time per request:       11.500 [ms] (mean)",
        "  50%      2.000",
        " 100%     40.000 (longest request)",
    ):
        assert line in text.splitlines()


def test_the_picture_is_a_png_even_of_one_reply():
    for latencies in ((5.0,), tuple(1 + (n % 97) / 50 for n in range(2000))):
        assert overview(made(latencies)).startswith(b"\x89PNG\r\n")


def made(latencies: tuple[float, ...]) -> benchmark.BenchmarkResult:
    return benchmark.BenchmarkResult(
        scoring_uri="http://127.0.0.1:5001/score",
        server="toy/1",
        requests=len(latencies),
        concurrency=2,
        warmup=0,
        rows=1,
        completed=len(latencies),
        seconds=2.0,
        latencies=latencies,
        client_ms=0.1,
        bytes_sent=100,
        bytes_received=200,
        reply_bytes=50,
        reconnects=0,
        non_2xx=0,
        failures=(),
        stopped=None,
    )
