"""The scoring app with a telemetry around it: what requests leave behind, and ``/metrics``."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, g, request
from flask.testing import FlaskClient

from twinml.contract import parse, render
from twinml.errors import TwinmlError
from twinml_local.server import Deployment
from twinml_local.telemetry import TelemetryClient, TelemetrySettings, blueprint, summarize
from twinml_local.telemetry import _schema as schema

KEY = "primary-key-0123456789"
MARKER = "4111-1111-1111-1111"
ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "bank-test"


@pytest.fixture
def telemetry(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryClient]:
    # Who waits for the database waits longer than a test may take.
    monkeypatch.setattr(schema, "BUSY_SECONDS", 3600.0)
    with TelemetryClient(directory, settings=TelemetrySettings(flush_seconds=3600)) as made:
        yield made


@pytest.fixture
def watched(bank: Deployment, telemetry: TelemetryClient, directory: Path) -> FlaskClient:
    """A server that scores and records as the package's description says."""
    app = Flask("watched")
    app.register_blueprint(blueprint(directory))

    @app.post("/score")
    def score() -> Response:
        g.begun = time.perf_counter()
        scoring = parse(
            bank.contract, request.data, content_type=request.content_type, route="score"
        )
        telemetry.observe_rows(bank.contract, scoring.columns, deployment=bank.name)
        labels, probabilities = bank.predict(scoring)
        g.scoring_ms = (time.perf_counter() - g.begun) * 1e3
        g.n_rows = scoring.n_rows
        reply = render(bank.contract, scoring, labels, probabilities)
        return Response(reply, mimetype="application/json")

    @app.errorhandler(TwinmlError)
    def refused(error: TwinmlError) -> tuple[dict[str, Any], int]:
        operation = request.headers["x-request-id"]
        telemetry.record_exception(error, operation_id=operation, contract=bank.contract)
        return error.to_dict(), error.status

    @app.after_request
    def record(response: Response) -> Response:
        scored = request.path == "/score"
        telemetry.record_request(
            f"{request.method} {request.url_rule or '(none)'}",
            request.full_path,
            response.status_code,
            (time.perf_counter() - g.get("begun", time.perf_counter())) * 1e3,
            operation_id=request.headers.get("x-request-id", "none"),
            deployment=bank.name if scored else None,
            model=bank.model,
            rows=g.get("n_rows"),
            scoring_ms=g.get("scoring_ms"),
            client_request_id=request.headers.get("x-ms-client-request-id"),
        )
        return response

    return app.test_client()


def score(client: FlaskClient, *rows: dict[str, Any], **headers: str) -> Any:
    return client.post(
        "/score?trace=" + MARKER,
        json={"data": list(rows)},
        headers={"Authorization": f"Bearer {KEY}", "x-request-id": "this-one"} | headers,
    )


def rows(directory: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(directory / "telemetry.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def test_a_scored_request_can_be_found_by_its_id(
    watched: FlaskClient, telemetry: TelemetryClient, directory: Path
) -> None:
    assert score(watched, ROW, **{"x-ms-client-request-id": "mine"}).status_code == 200
    telemetry.flush()
    (found,) = rows(directory, "requests")
    assert found["operation_Id"] == "this-one"
    assert (found["name"], found["url"]) == ("POST /score", "/score")
    assert json.loads(found["customDimensions"]) == {
        "deployment": "blue",
        "model": "bank-test:1",
        "Client Request Id": "mine",
    }
    (call,) = rows(directory, "dependencies")
    assert call["operation_ParentId"] == found["id"]
    assert 0 < call["duration"] <= found["duration"]


def test_strange_values_are_counted(
    watched: FlaskClient, telemetry: TelemetryClient, directory: Path
) -> None:
    strange = {"age": 17, "balance": None, "job": "pilot", "owner": False}
    assert score(watched, ROW, strange, strange).status_code == 200
    telemetry.flush()
    found = summarize(directory, timedelta(hours=1)).features
    assert [(each.feature, each.out_of_range, each.unseen, each.null) for each in found] == [
        ("age", 2, 0, 0),
        ("balance", 0, 0, 2),
        ("job", 0, 2, 0),
    ]
    assert {each.observed for each in found} == {3}


def test_refusals_leave_nothing_of_the_payload(
    watched: FlaskClient, telemetry: TelemetryClient, directory: Path
) -> None:
    assert score(watched, ROW | {"age": MARKER}).status_code == 400
    assert score(watched, {MARKER: 1}).status_code == 400
    assert score(watched, ROW | {"job": MARKER}).status_code == 200
    assert watched.get(f"/nothing?{MARKER}").status_code == 404
    telemetry.close()
    assert [row["resultCode"] for row in rows(directory, "requests")] == [
        "400",
        "400",
        "200",
        "404",
    ]
    assert [row["message"] for row in rows(directory, "exceptions")] == [
        "INVALID_PAYLOAD, status 400, row 0, column 'age'",
        "INVALID_PAYLOAD, status 400, column 'age'",
    ]
    for path in directory.rglob("*"):
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path
            assert KEY.encode() not in path.read_bytes(), path


def test_metrics_are_served(watched: FlaskClient, telemetry: TelemetryClient) -> None:
    assert watched.get("/metrics").status_code == 200
    score(watched, ROW)
    telemetry.flush()
    response = watched.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    line = 'twinml_requests_total{deployment="blue",operation="POST /score",code="200"} 1'
    assert line in response.text.splitlines()
    assert 'twinml_rows_total{deployment="blue"} 1' in response.text.splitlines()


def test_what_another_worker_recorded_is_served_too(
    watched: FlaskClient, telemetry: TelemetryClient, directory: Path
) -> None:
    score(watched, ROW)
    telemetry.flush()
    with TelemetryClient(directory, settings=TelemetrySettings(flush_seconds=3600)) as other:
        other.record_request(
            "POST /score", "/score", 200, 1.0, operation_id="other", deployment="blue", rows=41
        )
    assert 'twinml_rows_total{deployment="blue"} 42' in watched.get("/metrics").text
    assert summarize(directory, timedelta(hours=1)).deployments[0].rows == 42


def test_serving_does_not_wait_for_a_database_that_is_busy(
    watched: FlaskClient, telemetry: TelemetryClient, directory: Path
) -> None:
    score(watched, ROW)
    telemetry.flush()
    with closing(sqlite3.connect(directory / "telemetry.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert score(watched, ROW).status_code == 200
        # Readers do not wait for a writer either.
        assert watched.get("/metrics").status_code == 200
        other.rollback()
    telemetry.flush()
    assert len([row for row in rows(directory, "requests") if row["url"] == "/score"]) == 2
