"""Mirror traffic: nothing that happens to a copy reaches the reply."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from werkzeug.test import Client

from twinml.contract import example
from twinml_local.server import Deployment, RequestLog, Serving, create_app
from twinml_local.server.deployments.deployment import mirrored
from twinml_local.server.scoring import mirror as mirror_room
from twinml_local.server.scoring.mirror import Copy, Mirror

KEY = {"Authorization": "Bearer k"}
BODY = {"data": [{"age": 70, "balance": 1.5, "job": "admin.", "owner": True}]}


class Held:
    """A predictor that answers when it is let, and may fail."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.let = threading.Event()
        self.seen: list[pd.DataFrame] = []

    def predict(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        self.let.wait(20)
        self.seen.append(frame)
        if self.error is not None:
            raise self.error
        return np.array(["no"] * len(frame))

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        raise AssertionError("labels were asked for")


@pytest.fixture
def log(log_directory: Path) -> Iterator[RequestLog]:
    with RequestLog(log_directory) as log:
        yield log


def serve(bank: Deployment, green: Held, mirror: Mirror, share: int = 100) -> Client:
    shadow = replace(bank, name="green", predictor=green)
    now = Serving("e", {"blue": bank, "green": shadow}, {"blue": 100}, ("k",), {"green": share})
    return Client(create_app(lambda: now, mirror=mirror))


def test_a_slow_copy_holds_nobody_up(bank: Deployment) -> None:
    green, mirror = Held(), Mirror(None)
    client = serve(bank, green, mirror)
    for _ in range(5):
        response = client.post("/score", json=BODY, headers=KEY, buffered=True)
        assert response.headers["azureml-model-deployment"] == "blue"
        assert json.loads(response.get_json()) == {"result": ["yes"]}
    assert green.seen == []
    green.let.set()
    assert mirror.wait(10)
    assert [frame["age"].tolist() for frame in green.seen] == [[70]] * 5
    assert mirror.left_out == 0


def test_a_failing_copy_goes_to_the_log_of_its_deployment(
    bank: Deployment, log: RequestLog, log_directory: Path
) -> None:
    green, mirror = Held(RuntimeError("secret value")), Mirror(log)
    green.let.set()
    client = serve(bank, green, mirror)
    assert client.post("/score", json=BODY, headers=KEY, buffered=True).status_code == 200
    assert client.post("/score", json={"data": [{}]}, headers=KEY, buffered=True).status_code == 400
    assert mirror.wait(10)
    log.close()
    lines = (log_directory / "green.log").read_text()
    assert "POST /score 500" in lines
    assert "POST /score 400" in lines
    assert "RuntimeError" in lines
    assert "secret value" not in lines


def test_too_many_copies_are_left_out(
    bank: Deployment, log: RequestLog, log_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_room, "MOST_BYTES", 1000)
    green, mirror = Held(), Mirror(log)
    shadow = replace(bank, predictor=green)
    # A body that is scored, so that the first copy is held and its bytes count.
    body = json.dumps(example(bank.contract, "data")).encode().ljust(300)
    assert len(body) == 300
    copy = Copy(shadow, body, "application/json", "score", "id", None)
    for _ in range(10):
        mirror.submit(copy)
    assert mirror.left_out == 7
    many = replace(copy, body=b"")
    for _ in range(300):
        mirror.submit(many)
    assert mirror.left_out >= 190
    green.let.set()
    assert mirror.wait(10)
    mirror.submit(copy)  # there is room again
    assert mirror.wait(10)
    log.close()
    (line,) = (log_directory / "server.log").read_text().splitlines()
    assert "requests left out" in line


def test_requests_that_name_a_deployment_are_not_mirrored(bank: Deployment) -> None:
    green, mirror = Held(), Mirror(None)
    green.let.set()
    client = serve(bank, green, mirror)
    client.post("/score", json=BODY, headers=KEY | {"azureml-model-deployment": "blue"})
    client.post("/score", json=BODY)  # without a key
    client.get("/health")
    assert mirror.wait(10)
    assert green.seen == []


def test_the_share_that_is_mirrored(bank: Deployment) -> None:
    green, mirror = Held(), Mirror(None)
    green.let.set()
    client = serve(bank, green, mirror, share=20)
    for _ in range(100):
        client.post("/score", json=BODY, headers=KEY, buffered=True)
        assert mirror.wait(10)
    assert 3 <= len(green.seen) <= 45  # fails once in 10^6 runs


@pytest.mark.parametrize(
    ("share", "point", "expected"),
    [(20, 0.0, "green"), (20, 0.1999, "green"), (20, 0.2, None), (0, 0.0, None)],
)
def test_who_is_mirrored_to(share: int, point: float, expected: str | None) -> None:
    assert mirrored({"green": share}, ("blue", "green"), point=point) == expected
    assert mirrored({"green": share}, ("blue",), point=point) is None


def test_a_thread_only_for_those_who_mirror() -> None:
    before = threading.active_count()
    Mirror(None)
    time.sleep(0.05)
    assert threading.active_count() == before
