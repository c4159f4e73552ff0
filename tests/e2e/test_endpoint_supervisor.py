"""A server comes back by itself: its workers are killed, and its supervisor, and it is changed."""

import collections
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from azureml_runner.processes import process_identity, running
from twinml import model
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server.deployments.watch import reports
from twinml_local.server.state import read_state, write_state

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
PATIENCE = 120  # seconds, of which a machine that has nothing else to do needs one or two


def until(found: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


def supervisor() -> int:
    pid = running(folder() / "server.pid")
    assert pid is not None
    return pid


def children(pid: int) -> set[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    rows = [line.split() for line in listing.stdout.splitlines()]
    return {int(pid) for pid, state in rows if not state.startswith("Z")}


def port_of(info: EndpointInfo) -> int:
    return int(info.scoring_uri.split(":")[2].split("/")[0])


def request_of(key: str, body: bytes) -> bytes:
    return (
        f"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def asked(port: int, raw: bytes) -> str:
    """Ask on a connection of its own; return the status, or where the request got lost."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    except OSError:
        return "refused"
    with connection:
        try:
            connection.sendall(raw)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return "in flight"
    return answer[9:12].decode() if answer else "in flight"


@pytest.fixture
def deployed(own_home: Path, model_directory: Path) -> Iterator[EndpointInfo]:
    yield endpoints.deploy(
        NAME,
        "blue",
        directory=model_directory,
        model=NAME,
        version="1",
        digest=model.digest(model_directory),
    )
    endpoints.stop()


def test_a_killed_worker_costs_what_was_in_flight(deployed: EndpointInfo) -> None:
    body = json.dumps({"data": [OLD]}).encode()
    port, raw = port_of(deployed), request_of(endpoints.keys(NAME).primary, body)
    outcomes: collections.Counter[str] = collections.Counter()
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            outcomes[asked(port, raw)] += 1

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            before = outcomes["200"]
            until(lambda: outcomes["200"] > before + 5, "nobody is answered")  # noqa: B023
            (worker,) = until(lambda: children(supervisor()), "there is no worker")
            os.kill(worker, signal.SIGKILL)
            until(lambda: children(supervisor()) - {worker}, "it does not come back")  # noqa: B023
        before = outcomes["200"]
        until(lambda: outcomes["200"] > before + 5, "nobody is answered after the kills")
    finally:
        done.set()
        for client in clients:
            client.join()
    assert set(outcomes) <= {"200", "in flight"}, outcomes
    assert outcomes["in flight"] <= 3 * len(clients)


# A hundred deaths with the pauses of a second's fraction: what is looked at is that it goes on.
SHORT_PAUSES = """
import sys
from twinml_local.server.process import _supervisor as supervisor
supervisor.FIRST_PAUSE, supervisor.LONGEST_PAUSE = 0.001, 0.02
from twinml_local.server.__main__ import main
main()
"""


def test_a_hundred_deaths(deployed: EndpointInfo, tmp_path: Path) -> None:
    endpoints.stop()
    port, key = port_of(deployed), endpoints.keys(NAME).primary
    raw = request_of(key, json.dumps({"data": [OLD]}).encode())
    command = [sys.executable, "-c", SHORT_PAUSES, "--directory", str(folder())]
    with (
        (tmp_path / "output").open("wb") as output,
        subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=output) as server,
    ):
        try:
            until(lambda: asked(port, raw) == "200", "it does not start")
            killed: set[int] = set()
            for _ in range(100):
                (worker,) = until(lambda: children(server.pid) - killed, "it does not come back")
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
            assert server.poll() is None
            assert asked(port, raw) == "200"
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0
    assert len(killed) == 100


def test_the_number_of_workers_follows(deployed: EndpointInfo) -> None:
    pid, first = supervisor(), children(supervisor())
    for wanted in (3, 1):
        endpoints.configure(NAME, workers=wanted)
        until(lambda: len(children(pid)) == wanted, f"there are not {wanted}")  # noqa: B023
        until(lambda: len(reports(folder())) == wanted, "reports do not follow")  # noqa: B023
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]
    assert supervisor() == pid
    assert len(first) == 1


def test_deploying_with_another_number_of_workers_restarts_nothing(
    deployed: EndpointInfo, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = supervisor()
    monkeypatch.setenv("WORKER_COUNT", "2")
    endpoints.deploy(
        NAME,
        "blue",
        directory=model_directory,
        model=NAME,
        version="1",
        digest=model.digest(model_directory),
    )
    assert supervisor() == pid
    assert len(reports(folder())) == 2


def test_workers_end_with_their_supervisor(deployed: EndpointInfo) -> None:
    pid = supervisor()
    workers = children(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(process_identity, workers)), "a worker holds the port for nobody")
    assert asked(port_of(deployed), b"") == "refused"


def test_a_model_that_does_not_load_is_tried_again(
    deployed: EndpointInfo, model_directory: Path, tmp_path: Path
) -> None:
    state = read_state(folder())
    model = Path(state.deployments["blue"].directory)
    endpoints.stop()
    # A copy, so that it can be taken away.
    copy, away = tmp_path / "copy", tmp_path / "away"
    shutil.copytree(model, copy)
    item = replace(state.deployments["blue"], directory=str(copy))
    write_state(folder(), replace(state, deployments={"blue": item}))
    endpoints.start(NAME)
    ready = deployed.scoring_uri.replace("/score", "/ready")
    assert requests.get(ready, timeout=PATIENCE).status_code == 200

    copy.rename(away)
    other = replace(item, version="2")  # to be loaded anew
    write_state(folder(), replace(state, deployments={"blue": other}))
    said_ready = "it says that it is ready"
    until(lambda: requests.get(ready, timeout=PATIENCE).status_code == 503, said_ready)
    reply = requests.get(ready, timeout=PATIENCE)
    assert list(reply.json()["failed"]) == ["blue"]
    assert str(copy) not in reply.text
    headers = {"Authorization": f"Bearer {endpoints.keys(NAME).primary}"}
    shown = requests.get(ready, headers=headers, timeout=PATIENCE).json()["failed"]["blue"]
    assert re.search(r"contract\.json|no model|does not exist", shown), shown
    assert "did not load" in endpoints.info(NAME).notes["blue"]
    reply = requests.post(deployed.scoring_uri, json={"data": [OLD]}, headers=headers, timeout=60)
    assert reply.status_code == 503
    assert reply.headers["Content-Type"] == "application/json"
    # A worker that takes the place of another one tells the same.
    (worker,) = children(supervisor())
    os.kill(worker, signal.SIGKILL)
    until(lambda: children(supervisor()) - {worker}, "it does not come back")
    assert requests.get(ready, timeout=PATIENCE).status_code == 503

    away.rename(copy)
    until(lambda: requests.get(ready, timeout=PATIENCE).status_code == 200, "it is not tried again")
    with endpoints.client(NAME) as client:
        assert client.score([OLD]) == ["yes"]


def test_two_servers_on_one_port(deployed: EndpointInfo) -> None:
    command = [sys.executable, "-m", "twinml_local.server", "--directory", str(folder())]
    for server in ("workers", "waitress"):
        second = subprocess.run(
            [*command, "--port", str(port_of(deployed)), "--server", server],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert second.returncode == 1
        assert second.stderr.startswith(f"error: port {port_of(deployed)} of '127.0.0.1' cannot")
    with endpoints.client(NAME) as client:
        assert client.score([OLD]) == ["yes"]


def test_what_it_writes_is_its_owners(
    own_home: Path, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        monkeypatch.setenv("TWINML_SERVER_COLLECT_RATE", "1.0")
        endpoints.deploy(
            NAME,
            "blue",
            directory=model_directory,
            model=NAME,
            version="1",
            digest=model.digest(model_directory),
        )
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]
        until(lambda: list(folder().glob("modelDataCollector/**/*.jsonl")), "nothing is collected")
        endpoints.stop()
        written = {folder(), *folder().rglob("*")}
        for name in ("telemetry.db", "blue.log", "console.log", "endpoint.json"):
            assert any(path.name == name for path in written), name
        for path in written:
            allowed = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o777 & ~allowed == 0, path
    finally:
        os.umask(before)
        endpoints.stop()
