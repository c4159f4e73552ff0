"""A real HTTP endpoint on loopback that stalls, fails or answers wrongly when it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROWS = [{"n": number} for number in range(5)]


def label(row: dict[str, Any]) -> str:
    return "even" if row["n"] % 2 == 0 else "odd"


class Toy(ThreadingHTTPServer):
    """Labels rows; ``before`` runs ahead of each reply and may change status and labels."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, before: Callable[[int], tuple[int, list[str] | None]] | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.before = before
        self.key = "toy-key"
        self.count = 0
        self.bodies: list[Any] = []
        self.guard = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about clients that hang up."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/score"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Toy

    def do_GET(self) -> None:
        row = {"type": "object", "properties": {"n": {"type": "integer"}}}
        examples = {"data": {"value": {"data": ROWS}}}
        body = {"content": {"application/json": {"examples": examples}}}
        self._reply(
            200,
            {
                "components": {"schemas": {"Row": row, "Label": {"enum": ["even", "odd"]}}},
                "paths": {"/score": {"post": {"requestBody": body}}},
            },
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {self.server.key}":
            self._reply(401, {"message": "no"})
            return
        with self.server.guard:
            number = self.server.count
            self.server.count += 1
            self.server.bodies.append(body)
        status, labels = (200, None) if self.server.before is None else self.server.before(number)
        table = body["input_data"]
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        proba = body.get("params", {}).get("method") == "predict_proba"
        good: list[Any] = [[0.9, 0.1] if label(r) == "even" else [0.2, 0.8] for r in rows]
        if not proba:
            good = [label(row) for row in rows]
        self._reply(status, labels or good)

    def _reply(self, status: int, reply: Any) -> None:
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-ms-request-id", f"id-{self.server.count}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def toy(before: Callable[[int], tuple[int, list[str] | None]] | None = None) -> Iterator[Toy]:
    server = Toy(before)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Stall:
    """Makes every request wait that comes within ``seconds`` after the ``at``-th one."""

    def __init__(self, at: int, seconds: float) -> None:
        self.at, self.seconds = at, seconds
        self.until = 0.0

    def __call__(self, number: int) -> tuple[int, None]:
        if number == self.at:
            self.until = time.monotonic() + self.seconds
        ahead = self.until - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        return 200, None
