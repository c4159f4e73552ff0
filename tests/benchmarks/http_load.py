"""Loading a server over HTTP, and what that gave: with wrk, or with a client that reads replies.

Every connection sends one request again and again, each as soon as the last is answered.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Load", "Served", "ask", "drive", "drive_with_wrk"]

MOST_RECONNECTS = 20  # in a row, before a server counts as one that takes nothing


@dataclass
class Served:
    """A server that answers: where, with which body, and what it took to start it."""

    port: int
    pid: int
    route: str
    body: Callable[[list[dict[str, Any]]], dict[str, Any]]
    key: str = ""
    start_seconds: float = 0.0


@dataclass
class Load:
    """What one measurement gave: good replies, and percentiles of the latency in ms.

    ``reconnects`` counts connections that the server closed: one that keeps none closes each.
    """

    seconds: float
    good: int
    errors: int
    percentiles: dict[int, float]
    reconnects: int = 0

    @property
    def rate(self) -> float:
        return self.good / self.seconds if self.seconds else float("nan")

    def at(self, per_cent: int) -> float:
        return self.percentiles.get(per_cent, float("nan"))


class Connection:
    """A connection that sends one request again and again."""

    def __init__(self, served: Served, request: bytes) -> None:
        self.port = served.port
        self.request = request
        self.received = bytearray()
        self.sent = 0.0
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.socket.close()

    def reopen(self) -> None:
        self.socket.close()
        self.open()

    def send(self) -> None:
        self.received.clear()
        self.sent = time.perf_counter()
        self.socket.sendall(self.request)

    def reply(self) -> tuple[int, bytes] | None:
        """Read what is there; return status and body once the reply is whole."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self.received += piece
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.received[:end]).lower()
        status, body = int(head.split(b" ", 2)[1]), self.received[end + 4 :]
        if b"content-length:" in head:
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            return (status, bytes(body)) if len(body) >= length else None
        return (status, bytes(body)) if body.endswith(b"0\r\n\r\n") else None


def request_of(served: Served, rows: list[dict[str, Any]]) -> bytes:
    body = json.dumps(served.body(rows)).encode()
    head = (
        f"POST {served.route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {served.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(served: Served, rows: list[dict[str, Any]]) -> tuple[int, bytes]:
    connection = Connection(served, request_of(served, rows))
    with contextlib.closing(connection):
        connection.send()
        while (reply := connection.reply()) is None:
            pass
        return reply


def drive(
    served: Served, rows: list[dict[str, Any]], expected: bytes, *, connections: int, seconds: float
) -> Load:
    """Load a server; ``expected`` is the body of a good reply, byte for byte."""
    request = request_of(served, rows)
    latencies: list[float] = []
    errors = reconnects = 0
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:

        def send_again(connection: Connection) -> int:
            """Send on a kept connection, else on a new one; return how many were opened."""
            with contextlib.suppress(OSError):
                connection.send()
                return 0
            return replaced(connection)

        def replaced(connection: Connection) -> int:
            """Open in place of a connection that the server has closed, and send."""
            for opened in range(1, MOST_RECONNECTS + 1):
                selector.unregister(connection.socket)
                connection.reopen()
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                with contextlib.suppress(OSError):
                    connection.send()
                    return opened
            raise SystemExit("the server closes every connection before it has read a request")

        for _ in range(connections):
            connection = Connection(served, request)
            stack.enter_context(contextlib.closing(connection))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            reconnects += send_again(connection)
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            for key, _ in selector.select(timeout=1):
                try:
                    reply = key.data.reply()
                except OSError:
                    reconnects += replaced(key.data)
                    continue
                if reply is None:
                    continue
                if reply == (200, expected):
                    latencies.append((time.perf_counter() - key.data.sent) * 1e3)
                else:
                    errors += 1
                reconnects += send_again(key.data)
    shown = {at: float(np.percentile(latencies or [float("nan")], at)) for at in (50, 95, 99)}
    return Load(now - began, len(latencies), errors, shown, reconnects)


WRK_SCRIPT = """
wrk.method = "POST"
wrk.path = "ROUTE"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer KEY"
local file = io.open("BODY", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %f %f %f", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50),
    latency:percentile(95), latency:percentile(99)))
end
"""


def drive_with_wrk(
    served: Served, rows: list[dict[str, Any]], *, connections: int, seconds: float
) -> Load:
    """Load a server with wrk, which counts what is not status 2xx or 3xx as an error."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder) / "body.json", Path(folder) / "wrk.lua"
        body.write_text(json.dumps(served.body(rows)))
        text = WRK_SCRIPT.replace("ROUTE", served.route).replace("BODY", str(body))
        script.touch(mode=0o600)
        script.write_text(text.replace("KEY", served.key))
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(seconds, 1):.0f}s",
            "--timeout",
            "60s",
        ]
        command += ["-s", str(script), f"http://127.0.0.1:{served.port}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [float(word) for word in said.split("RESULT ")[1].split()]
    good = int(found[0] - found[2])
    p50, p95, p99 = (value / 1e3 for value in found[3:])
    return Load(found[1] / 1e6, good, int(found[2]), {50: p50, 95: p95, 99: p99})
