"""Server time and size of the Studio's pages: ``make bench-studio``.

On the home of ``TWINML_HOME`` (or the nearest ``.twinml``), and with ``--many`` on one that is made
for it: 1,000 endpoints, 10,000 jobs and a million records of requests. A line shows the least time
of the runs, in milliseconds, that of the first, and the bytes of the page; before it the site had
prepared itself, as it does when it is started.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from flask.testing import FlaskClient

from twinml.platform import load
from twinml.registry import runs
from twinml.registry.tracking import Tracking
from twinml.settings import home
from twinml_local.server.state import DeploymentState, EndpointState, write_state
from twinml_local.studio._app import SOURCES, create_app, one_of_each, prepare
from twinml_local.telemetry import TelemetryClient

ENDPOINTS, JOBS, RECORDS = 1_000, 10_000, 1_000_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="the best of so many")
    parser.add_argument("--many", action="store_true", help="on a home that is made to be large")
    given = parser.parse_args()
    if not given.many:
        show(given.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TWINML_HOME"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        fill(Path(folder))
        show(given.runs)


def show(times: int) -> None:
    """Print a line for each page of the home."""
    app = create_app(load("local"), secret="s" * 32)
    prepare(app)
    client = app.test_client()
    print(f"{home()}, the best of {times}\n\n{'page':<44} {'first':>7} {'ms':>7} {'bytes':>9}")
    for url in one_of_each(app.extensions[SOURCES]):
        first = seconds(client, url)
        if first is None:  # leads to another page, or to what those that are made have not
            continue
        print(f"{url[:44]:<44} {1000 * first:>7.1f} "
              f"{1000 * min(seconds(client, url) or 0.0 for _ in range(times)):>7.1f} "
              f"{len(client.get(url).data):>9,}")  # fmt: skip


def seconds(client: FlaskClient, url: str) -> float | None:
    """Return how long the page takes; ``None`` where there is none."""
    began = time.perf_counter()
    reply = client.get(url)
    spent = time.perf_counter() - began
    if reply.status_code >= 500:
        raise SystemExit(f"{url}: {reply.status_code}")
    return spent if reply.status_code == 200 else None


def fill(folder: Path) -> None:
    """Make the stores: written as the product does, and then multiplied in the database."""
    print(f"making {ENDPOINTS:,} endpoints, {JOBS:,} jobs, {RECORDS:,} records …", flush=True)
    for number in range(ENDPOINTS):
        place = folder / "endpoints" / f"many-{number:04}"
        place.mkdir(parents=True)
        (place / "keys.json").write_text(json.dumps({"primary": "p", "secondary": "s"}))
        served = {
            name: DeploymentState("many", version, "0" * 64, str(folder / "model"))
            for name, version in (("blue", "1"), ("green", "2"))
        }
        state = EndpointState(place.name, "127.0.0.1", 20_000 + number, "2026-11-28",
                              served, {"blue": 90, "green": 10})  # fmt: skip
        write_state(place, state)
    with TelemetryClient(folder / "endpoints" / "many-0000") as telemetry:
        telemetry.record_request("POST /score", "/score", 200, 1.5, operation_id="a",
                                 deployment="blue", rows=1)  # fmt: skip
    multiply(
        folder / "endpoints" / "many-0000" / "telemetry.db",
        "INSERT INTO requests (timestamp, id, name, url, success, resultCode, duration, "
        "customDimensions, customMeasurements, itemCount) "
        "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', (n - ?) || ' seconds'), n, name, url, "
        "success, resultCode, 1 + n % 97, customDimensions, customMeasurements, 1 "
        "FROM requests, numbers WHERE requests.rowid = 1",
        RECORDS,
    )
    run = Tracking().begin("many", "job", {runs.MODEL_KIND: "f"}, {"test_roc_auc": 0.9})
    multiply(
        folder / "mlflow.db",
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, "
        "artifact_uri, experiment_id) "
        "SELECT 'r' || n, 'job ' || n, 'FINISHED', start_time + n - ?, "
        f"start_time + n, 'active', artifact_uri, experiment_id FROM runs, numbers "
        f"WHERE run_uuid = '{run}'",
        JOBS,
    )


def multiply(file: Path, statement: str, times: int) -> None:
    """Run a statement that inserts a row for each of the numbers up to ``times``."""
    with closing(sqlite3.connect(file)) as store:
        store.execute("CREATE TEMP TABLE numbers (n INTEGER)")
        store.execute(
            "INSERT INTO numbers WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up "
            "WHERE n < ?) SELECT n FROM up",
            (times,),
        )
        store.execute(statement, (times,))
        store.commit()


if __name__ == "__main__":
    main()
