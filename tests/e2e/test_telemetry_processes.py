"""Recorders in real processes: several at once, and ended in every way."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from twinml_local.telemetry import prometheus_text, summarize

pytestmark = pytest.mark.e2e

WORKER = """
import atexit, os, signal, sys, time
from pathlib import Path
from twinml.contract import Column, Contract
from twinml_local.telemetry import TelemetryClient, TelemetrySettings

directory, count, flush_seconds, then = sys.argv[1:]
contract = Contract(
    name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=9, samples=(),
    columns=(Column("age", "long", nullable=False, minimum=18, maximum=95),),
)
settings = TelemetrySettings(flush_seconds=float(flush_seconds), collect_rate=1.0)
telemetry = TelemetryClient(Path(directory), settings=settings)
# As a worker of the server does; granian turns SIGTERM into an end of the interpreter.
atexit.register(telemetry.close)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
for number in range(int(count)):
    telemetry.record_request(
        "POST /score", "/score", 200, 1.0, operation_id=f"{os.getpid()}-{number}",
        deployment="blue", rows=1, scoring_ms=0.5,
    )
    telemetry.observe_rows(contract, {"age": [99]}, deployment="blue")
    if number % 50 == 0:
        telemetry.collect(contract, {"age": [99]}, ["no"], None, operation_id=str(number),
                         deployment="blue", model="bank:1")
        time.sleep(0.001)
print("recorded", flush=True)
if then == "wait":
    time.sleep(60)
elif then == "exit":
    sys.exit(3)
"""


def start(
    directory: Path, count: int, *, flush_seconds: float = 0.05, then: str = "end"
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory), str(count), str(flush_seconds), then],
        stdout=subprocess.PIPE,
        text=True,
    )


def recorded(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline() == "recorded\n"


def ended(worker: subprocess.Popen[str], status: int) -> None:
    worker.communicate(timeout=60)
    assert worker.returncode == status


def total(directory: Path, table: str = "requests") -> int:
    with closing(sqlite3.connect(directory / "telemetry.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = connection.execute(f"SELECT sum(itemCount) FROM {table}").fetchone()
    return int(count or 0)


def test_workers_share_a_database_and_lose_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    # They make the database at once, too.
    workers = [start(directory, 2_000, flush_seconds=0.01) for _ in range(4)]
    for worker in workers:
        ended(worker, 0)
    assert total(directory) == total(directory, "dependencies") == 8_000
    text = prometheus_text(directory).splitlines()
    assert (
        'twinml_requests_total{deployment="blue",operation="POST /score",code="200"} 8000' in text
    )
    assert 'twinml_rows_total{deployment="blue"} 8000' in text
    with closing(sqlite3.connect(directory / "telemetry.db")) as connection:
        instances = connection.execute("SELECT DISTINCT cloud_RoleInstance FROM requests")
        assert len(instances.fetchall()) == 4
    found = summarize(directory, timedelta(hours=1))
    assert found.deployments[0].requests == 8_000
    assert found.features[0].out_of_range == found.features[0].observed > 0


@pytest.mark.parametrize(
    ("then", "number", "status"),
    [
        ("end", None, 0),
        ("exit", None, 3),
        ("wait", signal.SIGTERM, 128 + signal.SIGTERM),
    ],
)
def test_what_waits_is_written_at_the_end(
    tmp_path: Path, then: str, number: signal.Signals | None, status: int
) -> None:
    directory = tmp_path / "bank"
    worker = start(directory, 500, flush_seconds=3600, then=then)
    recorded(worker)
    if number is not None:
        os.kill(worker.pid, number)
    ended(worker, status)
    assert total(directory) == 500


def test_a_kill_loses_the_last_interval_and_leaves_the_files_whole(tmp_path: Path) -> None:
    directory = tmp_path / "bank"
    first = start(directory, 500, flush_seconds=0.05, then="wait")
    recorded(first)
    deadline = time.monotonic() + 20
    while not directory.exists() or _requests(directory) < 500:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    ended(first, -signal.SIGKILL)
    assert total(directory) == 500

    # This one is killed in the middle of its work, whatever it was doing.
    second = start(directory, 10_000_000, flush_seconds=0.01, then="wait")
    deadline = time.monotonic() + 20
    while _requests(directory) < 1_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(second.pid, signal.SIGKILL)
    ended(second, -signal.SIGKILL)
    kept = total(directory)
    assert kept >= 1_000
    assert total(directory, "dependencies") == kept  # a transaction is whole
    assert f" {kept}" in prometheus_text(directory)

    # And the next one goes on with the same files.
    ended(start(directory, 100), 0)
    assert total(directory) == kept + 100
    lines = [
        line
        for path in directory.rglob("model_inputs/**/*.jsonl")
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    assert len(lines) >= 12
    assert all(line.startswith(b'{"specversion"') and line.endswith(b"}") for line in lines)


def _requests(directory: Path) -> int:
    found: Any = summarize(directory, timedelta(hours=1)).deployments
    return int(found[0].requests) if found else 0
