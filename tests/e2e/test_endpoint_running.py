"""A running endpoint and the command line that talks to it: real process, real HTTP."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pandas as pd
import pytest
import requests
from click.testing import CliRunner, Result

from azureml_runner.processes import running
from twinml import model
from twinml.cli import main
from twinml.contract.dialects import written
from twinml.endpoint import Endpoint
from twinml.errors import EndpointError, NotFound
from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
YOUNG = {"age": 30, "balance": -2.0, "job": "services", "owner": False}
NAME = "bank-test"


def deploy(directory: Path, deployment: str = "blue", digest: str | None = None) -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model=NAME,
        version="1",
        digest=digest or model.digest(directory),
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


@pytest.fixture(scope="module")
def shared_home(model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one running endpoint, for tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("home")
        patch.setenv("TWINML_HOME", str(directory))
        deploy(model_directory)
        yield directory
        endpoints.stop()


@pytest.fixture
def deployed(own_home: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> EndpointInfo:
    monkeypatch.setenv("TWINML_HOME", str(shared_home))
    return endpoints.info(NAME)


def twinml(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


@pytest.mark.parametrize("dialect", written())
def test_every_dialect_over_real_http(deployed: EndpointInfo, dialect: str) -> None:
    with endpoints.client(NAME) as client:
        assert client.score([OLD, YOUNG], dialect=dialect) == ["yes", "no"]
        (old, young) = client.score_proba([OLD, YOUNG], dialect=dialect)
    assert old[1] > 0.5 > young[1]


def test_csv_over_real_http(deployed: EndpointInfo) -> None:
    with endpoints.client(NAME) as client:
        response = client.post(
            b"age,balance,job,owner\n70,1.5,admin.,true\n30,,services,false\n",
            content_type="text/csv",
            route="/invocations",
        )
    assert response.json() == {"predictions": ["yes", "no"]}


def test_info_says_how_to_reach_it(deployed: EndpointInfo) -> None:
    assert deployed.state == "running"
    assert deployed.traffic == {"blue": 100}
    assert deployed.deployments == {"blue": "bank-test:1"}
    for uri in (deployed.swagger_uri, deployed.docs_uri):
        assert requests.get(uri, timeout=10).status_code == 200
    with endpoints.client(NAME) as client:
        assert client.scoring_uri == deployed.scoring_uri
        assert client.health()
        assert client.swagger("3.1")["openapi"].startswith("3.1")


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_bad_key(deployed: EndpointInfo, key: str | None) -> None:
    with Endpoint(deployed.scoring_uri, key) as client:
        with pytest.raises(EndpointError, match="401") as caught:
            client.score([OLD])
        assert "key" in str(caught.value.hint)
        assert client.health()


def test_both_keys_open(deployed: EndpointInfo) -> None:
    keys = endpoints.keys(NAME)
    assert keys.primary != keys.secondary
    assert min(len(keys.primary), len(keys.secondary)) >= 40
    for key in (keys.primary, keys.secondary):
        with Endpoint(deployed.scoring_uri, key) as client:
            assert client.score([OLD]) == ["yes"]


def test_the_courses_benchmark_and_client_work_unmodified(deployed: EndpointInfo) -> None:
    body = json.dumps({"data": [OLD, YOUNG]})
    key = endpoints.keys(NAME).primary
    host, _, port = deployed.scoring_uri.removeprefix("http://").split("/")[0].partition(":")
    # As `ab -p data.json -T application/json -H "Authorization: Bearer KEY"` writes it.
    request = (
        f"POST /score HTTP/1.0\r\nContent-length: {len(body)}\r\n"
        f"Content-type: application/json\r\nAuthorization: Bearer {key}\r\n"
        f"Host: {host}:{port}\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n{body}"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, content = answer.partition("\r\n\r\n")
    assert head.split()[1] == "200"
    assert "content-length" in head.lower()
    assert json.loads(json.loads(content)) == {"result": ["yes", "no"]}

    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    reply = requests.post(deployed.scoring_uri, body, headers=headers, timeout=10)
    assert reply.json() == '{"result": ["yes", "no"]}'


def test_a_body_over_the_limit_is_refused_without_reading_it(deployed: EndpointInfo) -> None:
    host, _, port = deployed.scoring_uri.removeprefix("http://").split("/")[0].partition(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.putrequest("POST", "/score")
    connection.putheader("Authorization", f"Bearer {endpoints.keys(NAME).primary}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders(b'{"data": [')
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    connection.close()


def test_secrets_stay_secret(deployed: EndpointInfo) -> None:
    keys = endpoints.keys(NAME)
    with endpoints.client(NAME) as client:
        client.score([OLD])
        client.post(b"{}")
    with Endpoint(deployed.scoring_uri, "wrong") as client, pytest.raises(EndpointError):
        client.score([OLD])
    assert "POST /score 200" in wait_for_log("POST /score 401")
    key_file = folder() / "keys.json"
    assert key_file.stat().st_mode & 0o777 == 0o600
    pids = [server_pid(), *workers(server_pid())]
    places = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
    places += [path for path in folder().rglob("*") if path.is_file() and path != key_file]
    assert len(pids) == 2
    assert len(places) > 6
    for place in places:
        content = place.read_bytes()
        assert keys.primary.encode() not in content, place
        assert keys.secondary.encode() not in content, place
    assert keys.primary not in repr(keys)


def wait_for_log(words: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = "\n".join(endpoints.logs(NAME))
        if words in text:
            return text
        time.sleep(0.05)
    raise AssertionError(f"the log never held {words!r}")


def test_logs_are_merged_by_time_and_cut(deployed: EndpointInfo) -> None:
    with endpoints.client(NAME) as client:
        client.score([OLD])
        client.health()
        client.score([OLD])
    wait_for_log("GET /health")
    time.sleep(0.3)  # the last line may still be waiting to be written
    lines = list(endpoints.logs(NAME, lines=3))
    assert [line.split(" - ")[1].split()[:2] for line in lines] == [
        ["POST", "/score"],
        ["GET", "/health"],
        ["POST", "/score"],
    ]
    assert all("/health" not in line for line in endpoints.logs(NAME, deployment="blue"))
    with pytest.raises(NotFound, match="no deployment 'green'"):
        endpoints.logs(NAME, deployment="green")


def test_one_thread_for_the_learners(deployed: EndpointInfo) -> None:
    for pid in (server_pid(), *workers(server_pid())):
        assert b"OMP_NUM_THREADS=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_only_loopback_listens(deployed: EndpointInfo) -> None:
    port = int(deployed.scoring_uri.split(":")[2].split("/")[0])
    listing = Path("/proc/net/tcp").read_text().splitlines()
    listening = [
        line.split()[1]
        for line in listing
        if line.split()[1].endswith(f":{port:04X}") and " 0A " in line
    ]
    assert listening
    assert all(address.startswith("0100007F") for address in listening)


def test_deploying_the_same_again_changes_nothing(
    deployed: EndpointInfo, model_directory: Path
) -> None:
    before = server_pid()
    assert deploy(model_directory) == deployed
    assert server_pid() == before


# The command line


def test_score_sample_and_example(deployed: EndpointInfo, tmp_path: Path) -> None:
    result = twinml("score", "--sample", "3", "--json")
    assert result.exit_code == 0, result.output
    shape = json.loads(result.stdout)
    assert shape["n_rows"] == len(shape["predictions"]) == 3
    assert set(shape["predictions"]) <= {"yes", "no"}

    body = tmp_path / "data.json"
    assert twinml("score", "--example", "--out", str(body)).exit_code == 0
    assert set(json.loads(body.read_text())) == {"data"}
    result = twinml("score", "--data", str(body))
    assert result.exit_code == 0
    assert len(json.loads(json.loads(result.stdout))["result"]) == 2


@pytest.mark.parametrize("dialect", written())
def test_an_example_in_any_dialect_is_taken_from_stdin(
    deployed: EndpointInfo, dialect: str
) -> None:
    body = twinml("score", "--example", "--dialect", dialect, "--proba", "--out", "-").stdout
    result = twinml("score", "--data", "-", stdin=body)
    assert result.exit_code == 0, result.output
    assert "0." in result.stdout or "1.0" in result.stdout


def test_score_a_table(deployed: EndpointInfo, tmp_path: Path) -> None:
    frame = pd.DataFrame([OLD, YOUNG] * 3000)
    frame.loc[1, "job"] = None
    frame.assign(note="007").to_csv(tmp_path / "rows.csv", index=False, sep=";")
    frame.to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "scored.csv"
    result = twinml("score", "--data", str(tmp_path / "rows.csv"), "--out", str(out))
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(out, dtype={"note": str})
    assert scored["prediction"].tolist() == ["yes", "no"] * 3000
    assert list(scored) == [*frame, "note", "prediction", "request_id"]
    assert scored["request_id"].nunique() == 2  # a request for 5,000 rows, and one for the rest

    for source in ("rows.csv", "rows.parquet"):
        result = twinml("score", "--data", str(tmp_path / source), "--proba", "--out", str(out))
        assert result.exit_code == 0, result.output
        scored = pd.read_csv(out)
        added = ["prediction", "probability_no", "probability_yes", "request_id"]
        assert list(scored)[-5:] == [*added, "request_id_proba"]
        assert (scored["probability_yes"] > 0.5).tolist() == [True, False] * 3000


def test_score_by_url(deployed: EndpointInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_KEY", endpoints.keys(NAME).secondary)
    command = ("score", "--url", deployed.scoring_uri, "--sample", "1")
    result = twinml(*command, "--key-env", "BANK_KEY")
    assert result.stdout.strip() in ("yes", "no")
    result = twinml(*command, "--json")
    assert result.exit_code == 1
    assert "401" in json.loads(result.stdout)["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to score"),
        (("--sample", "1", "--example"), "say what to score"),
        (("--data", "nowhere.csv"), "there is no file 'nowhere.csv'"),
        (("--data", "nowhere.json"), "nowhere.json cannot be read"),
        (("--data", "-", "--proba"), "says itself"),
        (("--sample", "1", "--endpoint", "other"), "no endpoint 'other'"),
        (("--sample", "1", "--deployment", "red"), "no deployment 'red'"),
        (("--sample", "1", "--key-env", "X"), "goes with --url"),
        (("--sample", "1", "--url", "http://127.0.0.1:9", "--key-env", "NO_SUCH"), "is empty"),
        (("--sample", "1", "--url", "nonsense"), "is not the URL"),
    ],
)
def test_wrong_ways_to_score(
    deployed: EndpointInfo, arguments: tuple[str, ...], words: str
) -> None:
    result = twinml("score", *arguments, "--json", stdin="{}")
    assert result.exit_code == 1
    assert words in json.loads(result.stdout)["message"]


def test_a_refused_body_is_explained(deployed: EndpointInfo) -> None:
    body = json.dumps({"data": [OLD | {"age": "abc"}]})
    result = twinml("score", "--data", "-", "--json", stdin=body)
    assert result.exit_code == 1
    assert "column 'age'" in json.loads(result.stdout)["message"]


def test_status_and_logs(deployed: EndpointInfo) -> None:
    key = endpoints.keys(NAME).primary
    result = twinml("status")
    assert deployed.scoring_uri in result.stdout
    assert "running" in result.stdout
    assert key not in result.stdout
    assert key in twinml("status", "--show-keys").stdout
    (shape,) = json.loads(twinml("status", "--json").stdout)["endpoints"]
    assert "keys" not in shape
    assert shape["traffic"] == {"blue": 100}
    (shape,) = json.loads(twinml("status", "--json", "--show-keys").stdout)["endpoints"]
    assert shape["keys"]["primary"] == key
    shape = json.loads(twinml("logs", "--json", "--lines", "2").stdout)
    assert shape["endpoint"] == NAME
    assert len(shape["lines"]) == 2
    assert "azmlinfsrv" in twinml("logs", "--endpoint", NAME).stdout
