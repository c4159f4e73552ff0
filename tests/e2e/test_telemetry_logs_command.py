"""``twinml logs`` as a process against a running endpoint: followed, filtered, interrupted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinml import model
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

NAME = "bank-test"
ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}


@pytest.fixture
def endpoint(own_home: Path, model_directory: Path) -> Iterator[None]:
    endpoints.deploy(
        NAME,
        "blue",
        directory=model_directory,
        model=NAME,
        version="1",
        digest=model.digest(model_directory),
    )
    yield
    endpoints.stop()


def twinml(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "twinml", *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    )


def post(body: object) -> int:
    with endpoints.client(NAME) as client:
        return int(client.post(json.dumps(body).encode()).status_code)


def test_failures_are_followed_until_interrupted(endpoint: None) -> None:
    assert post({"data": [{**ROW, "age": "4111-1111"}]}) == 400
    printed: list[str] = []
    with twinml("logs", "--follow", "--errors", "--deployment", "blue") as following:
        assert following.stdout is not None
        reader = threading.Thread(target=printed.extend, args=(following.stdout,), daemon=True)
        reader.start()
        for expected in (1, 2):
            deadline = time.monotonic() + 60
            while len(printed) < expected:
                assert time.monotonic() < deadline, printed
                time.sleep(0.05)
            if expected == 1:
                assert post({"data": [ROW]}) == 200
                assert post({"data": "nothing"}) == 400
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=60) == 130
        reader.join(timeout=60)
    assert len(printed) == 2
    assert all("POST /score 400" in line for line in printed)
    assert "4111" not in "".join(printed)

    with twinml("logs", "--errors", "--lines", "1", "--json") as once:
        out, _ = once.communicate(timeout=60)
    assert once.returncode == 0
    (line,) = json.loads(out)["lines"]
    assert line == printed[1].rstrip("\n")
