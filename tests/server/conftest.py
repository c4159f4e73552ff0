"""A served model whose answers can be told from its rows."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import uvloop
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier
from werkzeug.test import Client

from twinml.contract import infer_contract
from twinml_local.server import Deployment, RequestLog, ServerSettings, Serving, create_app
from twinml_local.server.process._connection import Connection
from twinml_local.server.process._traffic import Limits, Traffic
from twinml_local.server.scoring.front import Front

KEY = "primary-key-0123456789"
SECOND_KEY = "secondary-key-0123456789"

Serve = Callable[..., Client]


@pytest.fixture(scope="session")
def bank() -> Deployment:
    """Predicts ``yes`` for those over 60 and for the retired."""
    rng = np.random.default_rng(7)
    n = 400
    rows = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "balance": rng.normal(1000, 500, n).round(2),
            "job": rng.choice(["admin.", "services", "retired"], n),
            "owner": rng.random(n) < 0.5,
        }
    )
    labels = pd.Series(
        np.where((rows["age"] > 60) | (rows["job"] == "retired"), "yes", "no"), name="y"
    )
    encode = ColumnTransformer(
        [("job", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["job"])],
        remainder="passthrough",
    )
    tree = DecisionTreeClassifier(max_depth=5, random_state=0)
    pipeline = Pipeline([("encode", encode), ("tree", tree)]).fit(rows, labels)
    contract = infer_contract(rows, labels, name="bank-test")
    return Deployment("blue", contract, pipeline, model="bank-test:1", digest="d" * 64)


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def serve(bank: Deployment, log_directory: Path) -> Iterator[Serve]:
    """Make a client of an app; ``predictor`` and settings can be given."""
    log = RequestLog(log_directory)

    def client(
        *,
        deployments: dict[str, Deployment] | None = None,
        traffic: dict[str, int] | None = None,
        predictor: object = None,
        **settings: object,
    ) -> Client:
        blue = bank if predictor is None else replace(bank, predictor=predictor)
        now = Serving(
            endpoint="bank-test",
            deployments=deployments or {"blue": blue},
            traffic=traffic or {"blue": 100},
            keys=(KEY, SECOND_KEY),
            settings=ServerSettings(**settings),  # type: ignore[arg-type]
        )
        return Client(create_app(lambda: now, log=log))

    yield client
    log.close()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve()


class Wire:
    """A front on the event loop of a worker, in a thread, asked over sockets."""

    def __init__(self, front: Front, limits: Limits) -> None:
        self.ticking = True
        self._ready, self._end = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(front, limits))
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self, front: Front, limits: Limits) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(front, limits))

    async def _serve(self, front: Front, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            pools = [stack.enter_context(ThreadPoolExecutor(size)) for size in (2, 8, 2)]
            self.traffic = Traffic(front, self._loop, *pools, limits=limits)
            server = await self._loop.create_server(
                lambda: Connection(self.traffic), "127.0.0.1", 0, backlog=2048
            )
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            while not self._end.is_set():
                self.traffic.tick()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._end.wait(), 0.05)
            server.close()
            for connection in list(self.traffic.connections):
                connection.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, raw: bytes, *, end: bool = False, head_only: bool = False) -> "Answer":
        """Send bytes on a new connection; with ``end`` no more than they can come."""
        with self.connect() as connection:
            connection.sendall(raw)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return Answer(connection, head_only=head_only)


class Answer:
    """One reply, read from a connection."""

    def __init__(self, connection: socket.socket, *, head_only: bool = False) -> None:
        with connection.makefile("rb") as file:
            line = file.readline()
            if line.startswith(b"HTTP/1.1 100"):
                assert file.readline() == b"\r\n"
                line = file.readline()
            assert line, "the connection was closed without an answer"
            self.status = int(line.split(b" ")[1])
            self.headers: list[tuple[str, str]] = []
            while (line := file.readline()) != b"\r\n":
                name, _, value = line.decode("latin-1").rstrip("\r\n").partition(": ")
                self.headers.append((name, value))
            length = int(dict(self.headers)["Content-Length"])
            self.body = b"" if head_only else file.read(length)
            assert head_only or len(self.body) == length

    @property
    def closes(self) -> bool:
        return ("Connection", "close") in self.headers

    def json(self) -> Any:
        return json.loads(self.body)


Listen = Callable[..., Wire]


@pytest.fixture(scope="session")
def listen() -> Iterator[Listen]:
    """Return what puts a front on an event loop."""
    wires: list[Wire] = []

    def make(front: Front, **limits: Any) -> Wire:
        wires.append(Wire(front, Limits(**limits)))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()
