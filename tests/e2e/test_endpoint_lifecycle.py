"""Endpoints as their users meet them: real server processes, real HTTP, real signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from azureml_runner.processes import process_identity, running
from twinml import model
from twinml.cli import main
from twinml.errors import NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server import ServerSettings

pytestmark = pytest.mark.e2e

OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
YOUNG = {"age": 30, "balance": -2.0, "job": "services", "owner": False}
NAME = "bank-test"
DIGEST = "0" * 64


def deploy(
    directory: Path,
    deployment: str = "blue",
    *,
    digest: str | None = None,
    settings: ServerSettings | None = None,
) -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model=NAME,
        version="1",
        digest=digest or model.digest(directory),
        settings=settings,
    )


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


def server_pid() -> int:
    pid = running(folder() / "server.pid")
    assert pid is not None
    return pid


def workers(pid: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listing.stdout.split()]


def wait_until_ended(pids: list[int], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while any(process_identity(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.05)


@pytest.fixture
def home(own_home: Path) -> Iterator[Path]:
    """Return the test's own state folder; whatever it left running is ended."""
    yield own_home
    endpoints.stop()


def twinml(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


# Nothing there


def test_nothing_deployed(home: Path) -> None:
    assert endpoints.list_endpoints() == ()
    assert endpoints.stop() == ()
    for ask in (endpoints.info, endpoints.keys, endpoints.client, endpoints.stop, endpoints.logs):
        with pytest.raises(NotFound, match="no endpoint 'bank-test'"):
            ask(NAME)
    assert "nothing is deployed" in twinml("status").stdout
    assert "nothing was running" in twinml("stop").stdout
    assert twinml("logs").exit_code == 1


@pytest.mark.parametrize("name", ["", "ab", "../etc", "a b c", "1abc", "x" * 33, "abc-", "a/b/c"])
def test_names_that_cannot_be_used(home: Path, model_directory: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of an endpoint"):
        endpoints.deploy(
            name, "blue", directory=model_directory, model="m", version="1", digest=DIGEST
        )
    with pytest.raises(UsageError, match="cannot be the name of a deployment"):
        endpoints.deploy(
            NAME, name, directory=model_directory, model="m", version="1", digest=DIGEST
        )


# A life


def test_stopping_and_deploying_again_keeps_port_and_keys(
    home: Path, model_directory: Path
) -> None:
    first, keys = deploy(model_directory), endpoints.keys(NAME)
    pids = [server_pid(), *workers(server_pid())]
    assert endpoints.stop() == (NAME,)
    wait_until_ended(pids)
    assert endpoints.info(NAME).state == "stopped"
    assert endpoints.stop(NAME) == ()
    with endpoints.client(NAME) as client:
        assert not client.health()
    for verb in (["score", "--sample", "1"], ["benchmark"], ["score", "--deployment", "blue"]):
        sample = ["--example"] if "--deployment" in verb else []
        done = twinml(*verb, *sample, "--json")
        assert done.exit_code == 1
        error = json.loads(done.stdout)
        assert error["error_code"] == "PLATFORM_UNAVAILABLE"
        assert error["message"] == f"endpoint '{NAME}' is not running"
        assert error["hint"] == f"Start it: twinml start --endpoint {NAME}."

    assert deploy(model_directory) == first
    assert endpoints.keys(NAME) == keys
    pids = [server_pid(), *workers(server_pid())]
    assert endpoints.stop() == (NAME,)
    wait_until_ended(pids)

    # Somebody else took the port, if not by chance then here.
    port = int(first.scoring_uri.split(":")[2].split("/")[0])
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        moved = endpoints.start(NAME)
        assert moved.scoring_uri != first.scoring_uri
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]


def test_a_killed_server_is_noticed_and_brought_back(home: Path, model_directory: Path) -> None:
    first = deploy(model_directory)
    pid, children = server_pid(), workers(server_pid())
    os.kill(pid, signal.SIGKILL)
    wait_until_ended([pid])
    assert endpoints.info(NAME).state == "stopped"
    wait_until_ended(children)  # nobody ended them: they noticed
    assert deploy(model_directory) == first
    with endpoints.client(NAME) as client:
        assert client.score([OLD]) == ["yes"]


def test_a_killed_worker_is_replaced(home: Path, model_directory: Path) -> None:
    deploy(model_directory)
    (worker,) = workers(server_pid())
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 30
    with endpoints.client(NAME) as client:
        while not client.health():
            assert time.monotonic() < deadline
        assert client.score([OLD]) == ["yes"]
    assert worker not in workers(server_pid())


def test_another_process_with_the_same_pid_is_left_alone(home: Path, model_directory: Path) -> None:
    deploy(model_directory)
    endpoints.stop()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        record = {"pid": bystander.pid, "started": "at another time"}
        (folder() / "server.pid").write_text(json.dumps(record))
        assert endpoints.info(NAME).state == "stopped"
        assert endpoints.stop() == ()
        assert bystander.poll() is None
        bystander.terminate()


def test_two_deployments(home: Path, model_directory: Path) -> None:
    deploy(model_directory)
    info = deploy(model_directory, "green")
    assert info.traffic == {"blue": 100, "green": 0}
    for wanted in ("blue", "green"):
        with endpoints.client(NAME, deployment=wanted) as client:
            response = client.post(json.dumps({"data": [OLD]}).encode())
            assert response.headers["azureml-model-deployment"] == wanted
    with pytest.raises(NotFound, match="red"):
        endpoints.client(NAME, deployment="red")
    result = twinml("score", "--sample", "1", "--deployment", "green")
    assert result.stdout.strip() in ("yes", "no")
    # The request log is written in batches, now and then.
    deadline = time.monotonic() + 30
    while not list(endpoints.logs(NAME, deployment="green")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(endpoints.logs(NAME, deployment="green"))


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"format_version": 1}', "[" * 100_000])
def test_a_damaged_endpoint_is_named_and_hides_no_other(
    home: Path, model_directory: Path, damage: str
) -> None:
    """It can be stopped and deleted, and the others are shown, deployed to and stopped."""
    bad = home / "endpoints" / "bad-one" / "endpoint.json"
    bad.parent.mkdir(parents=True)
    bad.write_text(damage)
    assert (
        endpoints.deploy(
            NAME,
            "blue",
            directory=model_directory,
            model=NAME,
            version="1",
            digest=model.digest(model_directory),
        ).state
        == "running"
    )
    shown = twinml("status", "--show-keys")
    assert shown.exit_code == 0
    assert f"{NAME}  running" in shown.stdout
    assert "bad-one  damaged" in shown.stdout
    assert str(bad) in shown.stdout
    assert twinml("status", "--endpoint", "bad-one").exit_code == 1
    assert endpoints.stop("bad-one") == ()
    assert endpoints.stop() == (NAME,)
    assert twinml("delete", "--endpoint", "bad-one", "--yes").exit_code == 0
    assert endpoints.names() == (NAME,)


def test_two_deploys_race(home: Path, model_directory: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from twinml import model;"
        "from twinml_local import endpoints;"
        f"print(endpoints.deploy('{NAME}', sys.argv[1], directory=Path(sys.argv[2]),"
        f"model='{NAME}', version='1', digest=model.digest(Path(sys.argv[2]))).state)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, name, str(model_directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("blue", "green")
    ]
    results = [racer.communicate(timeout=120) for racer in racers]
    assert [out.strip() for out, _ in results] == ["running", "running"], results
    assert set(endpoints.info(NAME).deployments) == {"blue", "green"}
    assert sum(endpoints.info(NAME).traffic.values()) == 100
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True
    )
    mine = [line for line in listing.stdout.splitlines() if f"--directory {folder()}" in line]
    assert len(mine) == 2  # one server and its worker
    for name in ("blue", "green"):
        with endpoints.client(NAME, deployment=name) as client:
            assert client.score([OLD]) == ["yes"]


def test_a_model_that_does_not_load_leaves_the_endpoint_as_it_was(
    home: Path, model_directory: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(PlatformError, match=r"did not start: .*no contract\.json"):
        deploy(broken, digest="1" * 64)
    assert endpoints.list_endpoints() == ()

    first = deploy(model_directory)
    with pytest.raises(PlatformError, match="did not start"):
        deploy(broken, "green", digest="1" * 64)
    assert endpoints.info(NAME) == first
    with endpoints.client(NAME) as client:
        assert client.score([OLD]) == ["yes"]


def finish_later(port: int, key: str, stop: object) -> bytes:
    """Send half a request, let ``stop`` begin, send the rest; return the answer."""
    body = json.dumps({"data": [OLD]}).encode()
    head = (
        f"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + body[:10])
        time.sleep(0.5)  # the server is now reading the body
        assert callable(stop)
        stopping = threading.Thread(target=stop)
        stopping.start()
        deadline = time.monotonic() + 10
        while accepts(port):
            assert time.monotonic() < deadline, "new connections are still accepted"
            time.sleep(0.05)
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        stopping.join()
    return answer


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_request_in_flight_is_answered_before_the_server_ends(
    home: Path, model_directory: Path
) -> None:
    info = deploy(model_directory)
    port = int(info.scoring_uri.split(":")[2].split("/")[0])
    answer = finish_later(port, endpoints.keys(NAME).primary, endpoints.stop)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"yes" in answer
    assert endpoints.info(NAME).state == "stopped"


def test_a_request_that_never_ends_does_not_hold_up_a_stop(
    home: Path, model_directory: Path
) -> None:
    info = deploy(model_directory, settings=ServerSettings(drain_seconds=1))
    port = int(info.scoring_uri.split(":")[2].split("/")[0])
    head = (
        "POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {endpoints.keys(NAME).primary}\r\nContent-Length: 1000\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        time.sleep(0.5)
        with endpoints.client(NAME) as client:
            assert client.health()  # nor does it hold up the others
        pids = [server_pid(), *workers(server_pid())]
        # While the connection is open and the request still unfinished.
        assert endpoints.stop() == (NAME,)
        wait_until_ended(pids)


def test_waitress_stands_in_where_there_is_no_fork(home: Path, model_directory: Path) -> None:
    info = deploy(model_directory)
    endpoints.stop()
    port = int(info.scoring_uri.split(":")[2].split("/")[0])
    command = [sys.executable, "-m", "twinml_local.server", "--directory", str(folder())]
    with subprocess.Popen([*command, "--port", str(port), "--server", "waitress"]) as server:
        with endpoints.client(NAME) as client:
            deadline = time.monotonic() + 60
            while not client.health():
                assert time.monotonic() < deadline
                assert server.poll() is None
            assert client.score([OLD, YOUNG]) == ["yes", "no"]
            # One connection is idle meanwhile, and must not hold the server up.
            answer = finish_later(port, endpoints.keys(NAME).primary, server.terminate)
        assert answer.startswith(b"HTTP/1.1 200")
        assert server.wait(timeout=10) == 0


def test_the_server_says_in_one_line_why_it_cannot_start(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twinml_local.server", "--directory", str(tmp_path / "none")]
    result = subprocess.run(
        [*command, "--port", "5999"], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr.strip() == "error: there is no endpoint 'none'"


def test_deploying_needs_no_working_directory(
    home: Path, model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("TWINML_HOME", "state")
    try:
        deploy(Path(os.path.relpath(model_directory)))
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]
        assert [path.name for path in elsewhere.iterdir()] == ["state"]
    finally:
        endpoints.stop()


def test_a_body_without_a_length_is_limited_too(home: Path, model_directory: Path) -> None:
    deploy(model_directory, settings=ServerSettings(max_body_bytes=100_000))
    headers = {
        "Authorization": f"Bearer {endpoints.keys(NAME).primary}",
        "Content-Type": "application/json",
    }
    uri = endpoints.info(NAME).scoring_uri

    def chunks(n: int) -> Iterator[bytes]:
        yield b'{"data": [' + json.dumps(OLD).encode()
        for _ in range(n):
            yield b" " * 1000
        yield b"]}"

    assert requests.post(uri, data=chunks(50), headers=headers, timeout=10).status_code == 200
    assert requests.post(uri, data=chunks(120), headers=headers, timeout=10).status_code == 413
