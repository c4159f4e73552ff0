"""From ``twinml collect`` on a running endpoint to labels, drift and a score of odd rows."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import requests
from click.testing import CliRunner, Result

from azureml_runner.processes import running
from tests.conftest import make_table
from twinml import model
from twinml.cli import main
from twinml.traffic.collected import read
from twinml.traffic.feedback import GroundTruth
from twinml_local import endpoint_folders, endpoints
from twinml_local.server.process.control import PID_FILE
from twinml_local.telemetry.collector import FOLDER

pytestmark = pytest.mark.e2e

NAME = "shop"


@pytest.fixture
def home(own_home: Path) -> Iterator[Path]:
    yield own_home
    endpoints.stop()


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--json"])


def ask(row: dict[str, object], request_id: str) -> requests.Response:
    info, key = endpoints.info(NAME), endpoints.keys(NAME).primary
    with requests.Session() as session:
        session.trust_env = False
        reply = session.post(
            info.scoring_uri,
            json={"Inputs": {"data": [row]}, "GlobalParameters": {"method": "predict_proba"}},
            headers={"Authorization": f"Bearer {key}", "x-request-id": request_id},
            timeout=60,
        )
    reply.raise_for_status()
    return reply


def test_traffic_is_kept_labelled_and_compared(home: Path, described_model: Path, tmp_path: Path):
    endpoints.deploy(
        NAME,
        "blue",
        directory=described_model,
        model=NAME,
        version="1",
        digest=model.digest(described_model),
    )
    table = make_table(60, seed=10).dropna()
    rows = table.drop(columns="y").to_dict("records")
    ask(rows[0], "before")
    assert run("collect", "--rate", "1").exit_code == 0
    for number, row in enumerate(rows):
        assert "x-twinml-ood-score" not in ask(row, f"r{number}").headers
    deadline = time.monotonic() + 30
    while (kept := json.loads(run("collect").stdout)["rows"]) < len(rows):
        assert time.monotonic() < deadline, kept
        time.sleep(0.2)
    assert kept == len(rows)  # what came before was not asked for

    outcomes = tmp_path / "outcomes.csv"
    labels = [f"r{number},{label}" for number, label in enumerate(table["y"])]
    outcomes.write_text("\n".join(["request_id,label", *labels]) + "\n", encoding="utf-8")
    done = json.loads(run("feedback", "--labels", outcomes).stdout)
    assert (done["new"], done["unmatched"]) == (len(rows), 0)
    report = json.loads(run("drift", "--model", described_model).stdout)
    assert report["n_current"] == len(rows)
    assert {"age", "(prediction)"} <= {one["feature"] for one in report["features"]}

    # Following a setting of the server's own needs no restart.
    process = running(endpoint_folders.folder_of(NAME) / PID_FILE)
    assert run("collect", "--ood-scores").exit_code == 0
    assert ask(rows[0] | {"age": 999}, "odd").headers["x-twinml-ood-score"] == "1.0000"
    assert running(endpoint_folders.folder_of(NAME) / PID_FILE) == process


def test_another_rate_loses_no_request_and_holds_once_told(home: Path, described_model: Path):
    """Four clients never pause while the rate goes up and down: same process, all answered."""
    endpoints.deploy(
        NAME,
        "blue",
        directory=described_model,
        model=NAME,
        version="1",
        digest=model.digest(described_model),
    )
    process = running(endpoint_folders.folder_of(NAME) / PID_FILE)
    info, key = endpoints.info(NAME), endpoints.keys(NAME).primary
    row = make_table(5, seed=10).dropna().drop(columns="y").to_dict("records")[0]
    done = Event()

    def client(number: int) -> list[tuple[str, int]]:
        answers = []
        with requests.Session() as session:
            session.trust_env = False
            while not done.is_set():
                name = f"c{number}-{len(answers)}"
                reply = session.post(
                    info.scoring_uri,
                    json={"input_data": [row]},
                    headers={"Authorization": f"Bearer {key}", "x-request-id": name},
                    timeout=60,
                )
                answers.append((name, reply.status_code))
        return answers

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            for rate in ("1", "0.5", "0", "1", "0"):
                assert run("collect", "--rate", rate).exit_code == 0
        finally:
            done.set()
        answers = [answer for each in clients for answer in each.result()]
    assert len(answers) > 20
    assert {status for _, status in answers} == {200}
    ask(row, "while-off")
    assert run("collect", "--rate", "1").exit_code == 0
    ask(row, "while-on")
    assert running(endpoint_folders.folder_of(NAME) / PID_FILE) == process
    folder = home / "endpoints" / NAME / FOLDER
    deadline = time.monotonic() + 30
    while "while-on" not in (kept := {request.id for request in read(folder).requests}):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "while-off" not in kept
    assert kept - {"while-on"} <= {name for name, _ in answers}


def test_labels_are_told_over_rest_and_kept_where_the_verb_keeps_them(
    home: Path, described_model: Path, tmp_path: Path
):
    endpoints.deploy(
        NAME,
        "blue",
        directory=described_model,
        model=NAME,
        version="1",
        digest=model.digest(described_model),
    )
    info, key = endpoints.info(NAME), endpoints.keys(NAME).primary
    address = info.scoring_uri.replace("/score", "/feedback")

    def tell(body: object, *, as_key: str = key) -> requests.Response:
        headers = {"Authorization": f"Bearer {as_key}", "Content-Type": "application/json"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with requests.Session() as session:
            session.trust_env = False
            return session.post(address, data=data, headers=headers, timeout=60)

    both = [
        {"request_id": "r1", "label": "yes"},
        {"request_id": "r1", "row": 1, "label": "no"},
    ]
    assert tell(both).json() == {"new": 2, "known": 0, "corrected": 0}
    assert tell(both).json() == {"new": 0, "known": 2, "corrected": 0}
    other = {"request_id": "r1", "row": 1, "label": "yes"}
    assert tell(other).json() == {"new": 0, "known": 0, "corrected": 1}
    assert tell(both, as_key="wrong").status_code == 401
    for bad in (
        b"{",
        [],
        [1],
        {"request_id": "r1"},
        {"request_id": "r1", "label": "perhaps"},
        {"request_id": "r1", "label": None},
        {"request_id": " ", "label": "yes"},
        {"request_id": "x" * 101, "label": "yes"},
        {"request_id": "r1", "label": "yes", "row": -1},
        {"request_id": "r1", "label": "yes", "row": True},
        {"request_id": "r1", "label": "yes", "more": 1},
        [{"request_id": "new", "label": "yes"}, {"request_id": "new", "label": "no"}],
        [{"request_id": "new", "label": "yes"}, {"request_id": "new", "row": 1, "label": 0}],
    ):
        refused = tell(bad)
        assert refused.status_code == 400, bad
        assert refused.json()["hint"]
    # Nothing of a request that was refused was kept, and the verb sees what was told.
    outcomes = tmp_path / "outcomes.csv"
    outcomes.write_text("request_id,row,label\nr1,0,yes\nr1,1,yes\nnew,0,no\n")
    done = json.loads(run("feedback", "--labels", outcomes).stdout)
    assert (done["new"], done["known"], done["corrected"]) == (1, 2, 0)
    # Once answered a label survives the end of the process, however it comes.
    assert tell({"request_id": "late", "label": "no"}).json()["new"] == 1
    process = running(endpoint_folders.folder_of(NAME) / PID_FILE)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    assert GroundTruth(home / "endpoints" / NAME / FOLDER).labels()["late", 0] == "no"
