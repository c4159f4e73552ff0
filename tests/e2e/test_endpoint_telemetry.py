"""What a running endpoint records: counters for Prometheus, rows in its database, payloads."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from twinml.errors import EndpointError
from twinml.platform import EndpointInfo
from twinml_local import endpoints
from twinml_local.server import ServerSettings

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
ODD = {"age": 999, "balance": None, "job": "payload-secret", "owner": True}


def folder() -> Path:
    return Path(os.environ["TWINML_HOME"]) / "endpoints" / NAME


@pytest.fixture
def home(own_home: Path) -> Iterator[Path]:
    yield own_home
    endpoints.stop()


def deploy(directory: Path, deployment: str = "blue", **settings: float) -> EndpointInfo:
    return endpoints.deploy(
        NAME,
        deployment,
        directory=directory,
        model=NAME,
        version="1",
        digest="0" * 64,
        settings=ServerSettings(**settings),  # type: ignore[arg-type]
    )


def metrics_when(info: EndpointInfo, *words: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        text = requests.get(info.scoring_uri.replace("/score", "/metrics"), timeout=10).text
        if all(word in text for word in words):
            return text
        assert time.monotonic() < deadline, [word for word in words if word not in text] + [text]
        time.sleep(0.2)


def test_requests_errors_and_odd_values_are_counted(home: Path, model_directory: Path) -> None:
    deploy(model_directory)
    info = deploy(model_directory, "green")
    endpoints.set_traffic(NAME, None, mirror={"green": 50})
    with endpoints.client(NAME, deployment="blue") as client:
        client.score([OLD, ODD])
        with pytest.raises(EndpointError):
            client.score([OLD | {"age": "payload-secret"}])
    with endpoints.client(NAME) as client:
        for _ in range(30):
            client.score([OLD])
    text = metrics_when(
        info,
        'deployment="green"',
        'code="400"',
        "twinml_feature_unseen_total{",
        "twinml_feature_out_of_range_total{",
        "twinml_exceptions_total{",
    )
    scored = [
        line
        for line in text.splitlines()
        if line.startswith("twinml_requests_total{")
        and 'deployment="blue"' in line
        and 'code="200"' in line
    ]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in scored) == 31
    assert 'operation="GET /health"' not in text

    endpoints.stop()
    with closing(sqlite3.connect(folder() / "telemetry.db")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
    assert "requests" in tables
    assert not (folder() / "modelDataCollector").exists()
    key = endpoints.keys(NAME).primary.encode()
    for path in folder().glob("telemetry.db*"):
        assert b"payload-secret" not in path.read_bytes()
        assert key not in path.read_bytes()


def test_payloads_are_written_when_collection_is_on(home: Path, model_directory: Path) -> None:
    deploy(model_directory, collect_rate=1.0)
    with endpoints.client(NAME) as client:
        client.score([OLD, ODD])
    endpoints.stop()  # which writes what waits
    files = [path for path in (folder() / "modelDataCollector").rglob("*") if path.is_file()]
    assert any("payload-secret" in path.read_text() for path in files)
