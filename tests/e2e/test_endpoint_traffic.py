"""Several deployments in one endpoint, over real processes: traffic, keys, updates, kills."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import requests
from click.testing import CliRunner, Result
from sklearn.dummy import DummyClassifier

from azureml_runner.processes import process_identity, running
from twinml import model
from twinml.cli import main
from twinml.contract import infer_contract
from twinml.endpoint import Endpoint
from twinml.errors import EndpointError, NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.platform import LocalPlatform
from twinml_local.server import ServerSettings
from twinml_local.server.process import control
from twinml_local.server.state import read_state, write_state

pytestmark = pytest.mark.e2e

ROW = {"age": 30, "job": "services"}
NAME = "bank-test"


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a model that always gives one answer, so that answers tell models apart."""
    rows = pd.DataFrame({"age": [20, 40, 60, 80], "job": ["admin.", "services"] * 2})
    made: dict[str, Path] = {}

    def directory(answer: str) -> Path:
        if answer not in made:
            labels = pd.Series([answer, answer, answer, "other"], name="y")
            made[answer] = tmp_path_factory.mktemp("models") / answer
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fitted = DummyClassifier(strategy="most_frequent").fit(rows, labels)
                contract = infer_contract(rows, labels, name="bank-test")
                model.save(fitted, contract, made[answer])
        return made[answer]

    return directory


@pytest.fixture
def home(own_home: Path) -> Iterator[Path]:
    yield own_home
    endpoints.stop()


@pytest.fixture
def deploy(home: Path, answering: Callable[[str], Path]) -> Callable[..., EndpointInfo]:
    """Deploy the model that gives ``answer``; its name is that answer."""

    def by_answer(
        answer: str, deployment: str = "blue", settings: ServerSettings | None = None
    ) -> EndpointInfo:
        directory = answering(answer)
        return endpoints.deploy(
            NAME,
            deployment,
            directory=directory,
            model=answer,
            version="1",
            digest=model.digest(directory),
            settings=settings,
        )

    return by_answer


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


def server_pid() -> int:
    pid = running(folder() / "server.pid")
    assert pid is not None
    return pid


def workers() -> list[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(server_pid())],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(word) for word in listing.stdout.split()]


def wait_until_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 15
    while any(process_identity(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.05)


def twinml(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def answers(n: int, deployment: str | None = None) -> Counter[str]:
    with endpoints.client(NAME, deployment=deployment) as client:
        return Counter(client.score([ROW])[0] for _ in range(n))


class Load:
    """Sends requests from several connections until it is left; keeps every outcome."""

    def __init__(self, info: EndpointInfo, key: str, *, connections: int = 3) -> None:
        self.uri, self.key = info.scoring_uri, key
        self.seen: list[tuple[float, str, str]] = []
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(connections)]

    def _send(self) -> None:
        body = json.dumps({"input_data": [ROW]})
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with requests.Session() as session:
            while not self._end.is_set():
                sent = time.monotonic()
                try:
                    reply = session.post(self.uri, body, headers=headers, timeout=30)
                except requests.RequestException as error:
                    self.failures.append(repr(error))
                    continue
                if reply.status_code != 200:
                    self.failures.append(f"{reply.status_code} {reply.text}")
                else:
                    deployment = reply.headers["azureml-model-deployment"]
                    self.seen.append((sent, deployment, reply.json()[0]))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def answers(self, sent_after: float = 0.0, end: int | None = None) -> set[tuple[str, str]]:
        """Return deployments and answers of the first ``end`` requests, of those sent later."""
        return {(name, answer) for sent, name, answer in self.seen[:end] if sent > sent_after}

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted, deadline = len(self.seen) + more, time.monotonic() + 30
        while len(self.seen) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)


# Updates


def test_updates_and_a_rollback_under_load_lose_no_request(
    deploy: Callable[..., EndpointInfo],
) -> None:
    info = deploy("old")
    pids = [server_pid(), *workers()]
    with Load(info, endpoints.keys(NAME).primary) as load:
        at_first = len(load.seen)
        deploy("new")
        updated = time.monotonic()
        load.wait_for(20)
        before_rollback = len(load.seen)
        deploy("old")
        rolled_back = time.monotonic()
        load.wait_for(20)
        before_switch = len(load.seen)
        deploy("third", "green")
        endpoints.set_traffic(NAME, {"green": 100})
        switched = time.monotonic()
        load.wait_for(20)
        endpoints.delete(NAME, "blue")
        load.wait_for(20)
    assert not load.failures
    # A request that is under way while something changes may be answered before or after.
    assert load.answers(end=at_first) == {("blue", "old")}
    assert load.answers(updated, before_rollback) == {("blue", "new")}
    assert load.answers(rolled_back, before_switch) == {("blue", "old")}
    assert load.answers(switched) == {("green", "third")}
    assert [server_pid(), *workers()] == pids
    assert endpoints.info(NAME).deployments == {"green": "third:1"}


def test_several_workers_change_over_together(deploy: Callable[..., EndpointInfo]) -> None:
    info = deploy("old", settings=ServerSettings(workers=2))
    assert len(workers()) == 2
    with Load(info, endpoints.keys(NAME).primary, connections=4) as load:
        deploy("new")
        updated = time.monotonic()
        load.wait_for(40)
    assert not load.failures
    assert load.answers(updated) == {("blue", "new")}


def test_a_broken_update_changes_nothing(
    deploy: Callable[..., EndpointInfo], answering: Callable[[str], Path], tmp_path: Path
) -> None:
    info = deploy("old")
    for content in (None, b"not a pickle"):
        broken = tmp_path / f"broken-{content is None}"
        broken.mkdir()
        if content is not None:
            (broken / "data").mkdir()
            (broken / "data" / "pipeline.pkl").write_bytes(content)
            contract = (answering("old") / "contract.json").read_text()
            (broken / "contract.json").write_text(contract)
        with Load(info, endpoints.keys(NAME).primary) as load:
            for deployment in ("blue", "green"):
                with pytest.raises(PlatformError, match="did not start"):
                    endpoints.deploy(
                        NAME,
                        deployment,
                        directory=broken,
                        model="broken",
                        version="2",
                        digest="0" * 64,
                    )
            load.wait_for(10)
        assert not load.failures
        assert endpoints.info(NAME) == info
        assert read_state(folder()).staged == {}


def test_a_deploy_that_is_killed_changes_nothing(
    deploy: Callable[..., EndpointInfo], answering: Callable[[str], Path]
) -> None:
    info = deploy("old")
    # What a deploy leaves that is killed between its two steps.
    state = read_state(folder())
    staged = replace(state.deployments["blue"], digest="0" * 64, directory="/no/such/model")
    write_state(folder(), replace(state, staged={"blue": staged}))
    time.sleep(0.5)
    assert answers(3) == {"old": 3}
    endpoints.stop()
    assert endpoints.start(NAME) == info
    assert answers(3) == {"old": 3}
    assert read_state(folder()).staged == {}
    assert deploy("new").deployments == {"blue": "new:1"}
    assert answers(3) == {"new": 3}


def test_changing_workers_restarts_nothing(deploy: Callable[..., EndpointInfo]) -> None:
    first = deploy("old")
    pid = server_pid()
    deploy("old", settings=ServerSettings(max_rows=1))
    assert server_pid() == pid
    with endpoints.client(NAME) as client, pytest.raises(EndpointError, match="413"):
        client.score([ROW, ROW])
    second = deploy("old", settings=ServerSettings(workers=2))
    assert server_pid() == pid
    assert second == first
    assert len(workers()) == 2


def test_other_code_is_noticed(
    deploy: Callable[..., EndpointInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = deploy("old")
    pid = server_pid()
    assert deploy("old") == endpoints.start(NAME) == first
    assert server_pid() == pid
    with monkeypatch.context() as patch:
        patch.setattr(control, "installed_code", lambda: "changed since")
        assert deploy("old") == first
        assert server_pid() != pid
        pid = server_pid()
        assert endpoints.start(NAME) == first
        assert server_pid() != pid
    assert answers(3) == {"old": 3}


# Traffic


def test_traffic_and_the_header_that_picks(deploy: Callable[..., EndpointInfo]) -> None:
    deploy("old")
    deploy("new", "green")
    assert answers(20) == {"old": 20}
    assert answers(5, "green") == {"new": 5}
    info = endpoints.set_traffic(NAME, {"blue": 50, "green": 50})
    assert info.traffic == {"blue": 50, "green": 50}
    shared = answers(60)
    assert 10 <= shared["new"] <= 50  # fails once in 10^7 runs
    assert answers(5, "blue") == {"old": 5}
    endpoints.set_traffic(NAME, {"green": 100})
    assert endpoints.info(NAME).traffic == {"blue": 0, "green": 100}
    assert answers(20) == {"new": 20}

    endpoints.set_traffic(NAME, {})
    with endpoints.client(NAME) as client:
        response = client.post(json.dumps({"input_data": [ROW]}).encode())
    assert response.status_code == 503
    assert "no deployment of this endpoint has traffic" in response.json()["message"]
    assert answers(3, "green") == {"new": 3}


@pytest.mark.parametrize(
    ("traffic", "mirror", "error", "words"),
    [
        ({"blue": 90}, None, UsageError, "adds up to 90 %"),
        ({"blue": 90, "green": 20}, None, UsageError, "adds up to 110 %"),
        ({"blue": 110, "green": -10}, None, UsageError, "expected 0 to 100"),
        ({"red": 100}, None, NotFound, "no deployment 'red'"),
        (None, {"red": 10}, NotFound, "no deployment 'red'"),
        (None, {"green": 51}, UsageError, "at most 50"),
        (None, {"blue": 10}, UsageError, "has 100 % of the traffic"),
        ({"blue": 90, "green": 10}, {"green": 10}, UsageError, "has 10 % of the traffic"),
        (None, {"blue": 10, "green": 10}, UsageError, "expected one"),
    ],
)
def test_shares_that_cannot_be(
    own_home: Path,
    traffic: dict[str, int] | None,
    mirror: dict[str, int] | None,
    error: type[Exception],
    words: str,
) -> None:
    # A stopped endpoint will do: shares are checked before anything is asked of a server.
    from twinml_local.server.state import DeploymentState, EndpointState

    item = DeploymentState("m", "1", "0" * 64, "/no/such/model")
    before = EndpointState(
        NAME, "127.0.0.1", 5001, "", {"blue": item, "green": item}, {"blue": 100, "green": 0}
    )
    write_state(folder(), before)
    with pytest.raises(error, match=words):
        endpoints.set_traffic(NAME, traffic, mirror=mirror)
    assert read_state(folder()) == before


def test_mirror_traffic_reaches_the_mirrored_log_only(deploy: Callable[..., EndpointInfo]) -> None:
    deploy("old")
    deploy("new", "green")
    endpoints.set_traffic(NAME, None, mirror={"green": 50})
    assert answers(60) == {"old": 60}
    deadline = time.monotonic() + 10
    while not list(endpoints.logs(NAME, deployment="green")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)
    copies = list(endpoints.logs(NAME, deployment="green"))
    assert 10 <= len(copies) <= 50
    assert all("POST /score 200" in line for line in copies)
    endpoints.set_traffic(NAME, None, mirror={})
    assert endpoints.info(NAME).mirror == {}
    answers(20)
    time.sleep(0.5)
    assert len(list(endpoints.logs(NAME, deployment="green"))) == len(copies)


# Keys


def test_a_key_is_replaced_under_load_of_the_other(deploy: Callable[..., EndpointInfo]) -> None:
    info = deploy("old")
    pids = [server_pid(), *workers()]
    first = endpoints.keys(NAME)
    with Load(info, first.secondary) as load:
        renewed = endpoints.regenerate_key(NAME, "primary")
        load.wait_for(10)
    assert not load.failures
    assert renewed.secondary == first.secondary
    assert renewed.primary != first.primary
    assert endpoints.keys(NAME) == renewed
    assert (folder() / "keys.json").stat().st_mode & 0o777 == 0o600
    for key, opens in ((first.primary, False), (renewed.primary, True), (first.secondary, True)):
        with Endpoint(info.scoring_uri, key) as client:
            response = client.post(json.dumps({"input_data": [ROW]}).encode())
            assert response.status_code == (200 if opens else 401)
    assert [server_pid(), *workers()] == pids
    with pytest.raises(UsageError, match="no key 'third'"):
        endpoints.regenerate_key(NAME, "third")  # type: ignore[arg-type]


# What survives


@pytest.mark.parametrize("victim", ["server", "worker"])
def test_state_survives_a_kill(deploy: Callable[..., EndpointInfo], victim: str) -> None:
    deploy("old")
    deploy("new", "green")
    endpoints.set_traffic(NAME, {"green": 100})
    keys = endpoints.regenerate_key(NAME, "secondary")
    endpoints.set_traffic(NAME, {"blue": 100}, mirror={"green": 20})
    info = endpoints.info(NAME)
    (worker,) = workers()
    if victim == "server":
        pid = server_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until_ended([pid, worker])
        assert endpoints.info(NAME).state == "stopped"
        assert endpoints.start(NAME) == info
    else:
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 30
        with endpoints.client(NAME) as client:
            while not client.health():
                assert time.monotonic() < deadline
    assert endpoints.info(NAME) == info
    assert endpoints.keys(NAME) == keys
    assert answers(3) == {"old": 3}
    assert answers(3, "green") == {"new": 3}
    # And it can still be told what to do.
    endpoints.set_traffic(NAME, {"green": 100}, mirror={})
    assert answers(3) == {"new": 3}


def test_a_deploy_killed_at_any_moment_leaves_an_endpoint_that_works(
    deploy: Callable[..., EndpointInfo], answering: Callable[[str], Path]
) -> None:
    info = deploy("old")
    program = (
        "import sys; from pathlib import Path; from twinml import model;"
        "from twinml_local import endpoints;"
        f"d = Path(sys.argv[1]); print('go', flush=True); endpoints.deploy('{NAME}', 'blue',"
        "directory=d, model='new', version='1', digest=model.digest(d))"
    )
    for delay in (0.0, 0.03, 0.15):
        with (
            Load(info, endpoints.keys(NAME).primary) as load,
            subprocess.Popen(
                [sys.executable, "-c", program, str(answering("new"))], stdout=subprocess.PIPE
            ) as deploying,
        ):
            assert deploying.stdout is not None
            assert deploying.stdout.readline() == b"go\n"
            time.sleep(delay)
            deploying.kill()
            deploying.wait()
            load.wait_for(20)
        assert not load.failures
        assert {answer for _, _, answer in load.seen} <= {"old", "new"}
    assert deploy("new").deployments == {"blue": "new:1"}
    assert answers(3) == {"new": 3}


def test_a_model_that_vanished_fails_alone(
    deploy: Callable[..., EndpointInfo], answering: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(answering("new"), copy)
    deploy("old")
    endpoints.deploy(
        NAME, "green", directory=copy, model="new", version="1", digest=model.digest(copy)
    )
    endpoints.set_traffic(NAME, {"blue": 50, "green": 50})
    shutil.rmtree(copy)
    endpoints.stop()
    info = endpoints.start(NAME)
    assert "did not load" in info.notes["green"]
    assert answers(20) == {"old": 20}
    with endpoints.client(NAME, deployment="green") as client:
        response = client.post(json.dumps({"input_data": [ROW]}).encode())
    assert response.status_code == 503
    assert response.json()["message"] == "deployment 'green' did not load"
    assert str(tmp_path) not in response.text
    assert "did not load" in twinml("status").stdout


# Deleting


def test_deleting(deploy: Callable[..., EndpointInfo]) -> None:
    deploy("old")
    deploy("new", "green")
    endpoints.set_traffic(NAME, None, mirror={"green": 10})
    with pytest.raises(UsageError, match="has 100 % of the traffic"):
        endpoints.delete(NAME, "blue")
    with pytest.raises(UsageError, match="has 10 % of the mirror traffic"):
        endpoints.delete(NAME, "green")
    with pytest.raises(NotFound, match="no deployment 'red'"):
        endpoints.delete(NAME, "red")
    endpoints.set_traffic(NAME, {"blue": 0}, mirror={"green": 0})
    endpoints.delete(NAME, "blue")
    assert set(endpoints.info(NAME).deployments) == {"green"}
    with pytest.raises(NotFound):
        answers(1, "blue")
    endpoints.delete(NAME, "green")
    assert endpoints.info(NAME).deployments == {}
    pids = [server_pid(), *workers()]
    endpoints.delete(NAME)
    wait_until_ended(pids)
    assert endpoints.list_endpoints() == ()
    assert not folder().exists()
    with pytest.raises(NotFound):
        endpoints.delete(NAME)
    assert deploy("old").traffic == {"blue": 100}


# The command line


def test_the_verbs(deploy: Callable[..., EndpointInfo]) -> None:
    deploy("old")
    deploy("new", "green")
    result = twinml("traffic", "blue=90", "green=10", "--endpoint", NAME, "--json")
    assert json.loads(result.stdout)["traffic"] == {"blue": 90, "green": 10}
    assert twinml("traffic").stdout.splitlines() == ["blue         90 %", "green        10 %"]
    for words, said in (
        (("blue=90", "green=20"), "adds up to 110 %"),
        (("blue=90", "red=10"), "no deployment 'red'"),
        (("blue",), "'blue' is no share"),
        (("blue=x",), "'blue=x' is no share"),
        (("blue=50", "blue=50"), "named twice"),
    ):
        result = twinml("traffic", *words, "--json")
        assert result.exit_code == 1
        assert said in json.loads(result.stdout)["message"]
    assert twinml("traffic", "blue=100", "--mirror", "green=20").exit_code == 0
    assert "mirrors 20 %" in twinml("status").stdout
    assert twinml("traffic", "--mirror", "green=0").exit_code == 0

    before = endpoints.keys(NAME)
    assert before.primary in twinml("keys").stdout
    shape = json.loads(twinml("keys", "--regenerate", "secondary", "--json").stdout)
    assert shape["primary"] == before.primary
    assert shape["secondary"] == endpoints.keys(NAME).secondary != before.secondary

    assert twinml("stop", "--endpoint", NAME).stdout.strip() == f"ended endpoint {NAME}"
    assert "answers at" in twinml("start").stdout
    assert answers(3) == {"old": 3}

    result = twinml("delete", "--endpoint", NAME, "--name", "blue", "--json")
    assert result.exit_code == 1
    assert "100 % of the traffic" in json.loads(result.stdout)["message"]
    assert twinml("delete", "--endpoint", NAME, "--name", "green").exit_code == 0
    assert twinml("delete", "--endpoint", NAME, stdin="n\n").exit_code == 1
    assert endpoints.info(NAME).state == "running"
    assert twinml("delete", "--endpoint", NAME, "--yes").exit_code == 0
    assert "nothing is deployed" in twinml("status").stdout


def test_deploying_registered_models_by_the_verb(
    home: Path, answering: Callable[[str], Path]
) -> None:
    platform = LocalPlatform()
    for answer in ("old", "new"):
        platform.register_model(answering(answer), name="bank")
    first = twinml("deploy", "--model", "bank/1", "--endpoint", NAME)
    assert "as blue with 100 % of the traffic" in first.stdout, first.output
    second = twinml("deploy", "--model", "bank/2", "--endpoint", NAME, "--name", "green")
    assert "as green with 0 % of the traffic" in second.stdout, second.output
    third = twinml(
        "deploy", "--model", "bank/2", "--endpoint", NAME, "--name", "green", "--all-traffic"
    )
    assert "as green with 100 % of the traffic" in third.stdout, third.output
    assert endpoints.info(NAME).traffic == {"blue": 0, "green": 100}
    assert answers(3) == {"new": 3}


def test_servers_of_different_folders_never_share_a_port(
    home: Path, answering: Callable[[str], Path], tmp_path: Path
) -> None:
    directory = answering("old")
    program = (
        "import sys; from pathlib import Path; from twinml import model;"
        "from twinml_local import endpoints;"
        "info = endpoints.deploy('bank', 'blue', directory=Path(sys.argv[1]), model='m',"
        "version='1', digest=model.digest(Path(sys.argv[1]))); print(info.scoring_uri)"
    )
    homes = [tmp_path / f"home{number}" for number in range(3)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(directory)],
            env={**os.environ, "TWINML_HOME": str(each)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for each in homes
    ]
    try:
        uris = [racer.communicate(timeout=120)[0].strip() for racer in racers]
        assert all(uris)
        assert len(set(uris)) == 3
    finally:
        for each in homes:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TWINML_HOME", str(each))
                endpoints.stop()
