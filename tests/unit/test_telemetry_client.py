"""What is recorded is in the database, under Application Insights' names, and nothing else is."""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from twinml.contract import Column, Contract
from twinml.errors import Detail, PayloadError, UsageError
from twinml_local.telemetry import TelemetryClient, TelemetrySettings, prometheus_text, summarize
from twinml_local.telemetry._flush import spread
from twinml_local.telemetry._schema import connect
from twinml_local.telemetry._store import Store

MARKER = "4111-1111-1111-1111"
CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=100,
    samples=(),
    columns=(
        Column("age", "long", nullable=False, minimum=18, maximum=95),
        Column("balance", "double", nullable=True, minimum=-10.0, maximum=10.0),
        Column("job", "string", nullable=True, categories=("admin.", "services")),
        Column("city", "string", nullable=True),  # too many to list
        Column("owner", "boolean", nullable=False),
    ),
)
# Never by itself: tests flush when they want to look.
BY_HAND = TelemetrySettings(flush_seconds=3600)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "bank"


@pytest.fixture
def telemetry(directory: Path) -> Iterator[TelemetryClient]:
    with TelemetryClient(directory, settings=BY_HAND) as made:
        yield made


def rows(directory: Path, table: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(directory / "telemetry.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def counters(directory: Path) -> dict[tuple[str, str], float]:
    return {(row["name"], row["labels"]): row["value"] for row in rows(directory, "counters")}


def score(telemetry: TelemetryClient, number: int = 0, **given: Any) -> None:
    telemetry.record_request(
        "POST /score",
        "/score",
        given.pop("status", 200),
        given.pop("milliseconds", 4.0),
        operation_id=f"request-{number}",
        deployment=given.pop("deployment", "blue"),
        **given,
    )


def test_a_request_and_its_scoring(directory: Path, telemetry: TelemetryClient) -> None:
    before = time.time()
    score(telemetry, model="bank:3", rows=2, scoring_ms=1.5, client_request_id="mine")
    telemetry.flush()
    (request,) = rows(directory, "requests")
    assert request["name"] == request["operation_Name"] == "POST /score"
    assert request["url"] == "/score"
    assert (request["success"], request["resultCode"]) == ("True", "200")
    assert request["duration"] == 4.0
    assert request["performanceBucket"] == "<250ms"
    assert request["operation_Id"] == "request-0"
    assert (request["itemType"], request["itemCount"]) == ("request", 1)
    assert request["cloud_RoleName"] == "bank"
    assert request["cloud_RoleInstance"]
    assert request["sdkVersion"].startswith("twinml:")
    assert json.loads(request["customDimensions"]) == {
        "deployment": "blue",
        "model": "bank:3",
        "Client Request Id": "mine",
    }
    assert json.loads(request["customMeasurements"]) == {"rows": 2}
    started = time.strptime(request["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(started) - time.mktime(time.gmtime(before))) <= 2
    assert request["timestamp"].endswith("Z")
    (dependency,) = rows(directory, "dependencies")
    assert dependency["operation_Id"] == "request-0"
    assert dependency["operation_ParentId"] == request["id"]
    assert dependency["id"] != request["id"]
    assert (dependency["name"], dependency["type"]) == ("score", "InProc")
    assert (dependency["success"], dependency["resultCode"]) == ("True", "0")
    assert dependency["timestamp"] == request["timestamp"]
    assert dependency["target"] == "bank:3"
    assert dependency["duration"] == 1.5


@pytest.mark.parametrize(
    ("milliseconds", "bucket"),
    [(249.9, "<250ms"), (250, "250ms-500ms"), (2999, "1sec-3sec"), (300_000, ">=5min")],
)
def test_performance_buckets(
    directory: Path, telemetry: TelemetryClient, milliseconds: float, bucket: str
) -> None:
    score(telemetry, milliseconds=milliseconds)
    telemetry.flush()
    assert rows(directory, "requests")[0]["performanceBucket"] == bucket


def test_trace_and_metric(directory: Path, telemetry: TelemetryClient) -> None:
    telemetry.record_trace("serving blue", severity=2)
    for value in (1.0, 4.0):
        telemetry.record_metric("queue_length", value, dimensions={"deployment": "blue"})
    telemetry.flush()
    (trace,) = rows(directory, "traces")
    assert (trace["message"], trace["severityLevel"]) == ("serving blue", 2)
    metrics = rows(directory, "customMetrics")
    # Both fall in one minute unless it ended between them.
    assert sum(metric["valueCount"] for metric in metrics) == 2
    assert sum(metric["value"] for metric in metrics) == 5.0
    assert min(metric["valueMin"] for metric in metrics) == 1.0
    assert max(metric["valueMax"] for metric in metrics) == 4.0
    assert metrics[0]["timestamp"].endswith(":00.000Z")
    assert json.loads(metrics[0]["customDimensions"]) == {"deployment": "blue"}


def test_metrics_of_a_minute_add_up_over_flushes_and_workers(directory: Path) -> None:
    store = Store(directory, retention_days=1, max_bytes=10**9)
    from twinml_local.telemetry._flush import Batch, Origin

    for value in (3.0, -2.0):
        batch = Batch(Origin("bank", "host:1", "twinml:0"))
        batch.add_metric(120.0, "m", value, {})
        store.write(batch)
    store.close()
    (metric,) = rows(directory, "customMetrics")
    assert (metric["valueCount"], metric["valueSum"]) == (2, 1.0)
    assert (metric["valueMin"], metric["valueMax"]) == (-2.0, 3.0)


def raise_chained() -> None:
    try:
        float(MARKER)
    except ValueError as error:
        raise RuntimeError(f"cannot score {MARKER}") from error


def test_an_exception_is_stored_without_what_it_quotes(
    directory: Path, telemetry: TelemetryClient
) -> None:
    with pytest.raises(RuntimeError) as caught:
        raise_chained()
    telemetry.record_exception(caught.value, operation_id="request-2", deployment="blue")
    telemetry.flush()
    (row,) = rows(directory, "exceptions")
    assert (row["type"], row["outerType"], row["innermostType"]) == (
        "RuntimeError",
        "RuntimeError",
        "ValueError",
    )
    assert row["message"] == "RuntimeError"
    assert row["problemId"] == "ValueError at raise_chained"
    assert row["operation_Id"] == "request-2"
    details = json.loads(row["details"])
    assert [detail["type"] for detail in details] == ["RuntimeError", "ValueError"]
    innermost = details[0]["parsedStack"][0]
    assert innermost["method"] == "raise_chained"
    assert innermost["fileName"] == __file__
    assert innermost["line"] > 0
    assert MARKER not in json.dumps(row)


def test_a_payload_error_keeps_row_and_known_column_only(
    directory: Path, telemetry: TelemetryClient
) -> None:
    for column in ("age", MARKER):
        error = PayloadError(
            f"row 2, column {column!r}: found {MARKER!r}",
            details=[Detail(row=2, column=column, value=MARKER, expected="an integer")],
        )
        telemetry.record_exception(error, operation_id="request-3", contract=CONTRACT)
    telemetry.flush()
    messages = [row["message"] for row in rows(directory, "exceptions")]
    assert messages == [
        "INVALID_PAYLOAD, status 400, row 2, column 'age'",
        "INVALID_PAYLOAD, status 400, row 2",
    ]


def test_features_are_counted(directory: Path, telemetry: TelemetryClient) -> None:
    telemetry.observe_rows(
        CONTRACT,
        {
            "age": [17, 18, 95, 96],
            "balance": [float("nan"), -10.0, 10.5, float("inf")],
            "job": ["admin.", "pilot", None, 3],
            "city": ["Oslo", None, "Rome", "Bern"],
            "owner": [True, False, True, True],
        },
        deployment="blue",
    )
    telemetry.flush()
    found = {
        (name.removeprefix("twinml_"), json.loads(labels).get("feature")): value
        for (name, labels), value in counters(directory).items()
    }
    assert found == {
        ("rows_observed_total", None): 4,
        ("feature_out_of_range_total", "age"): 2,
        ("feature_out_of_range_total", "balance"): 2,
        ("feature_null_total", "balance"): 1,
        ("feature_unseen_total", "job"): 2,
        ("feature_null_total", "job"): 1,
        ("feature_null_total", "city"): 1,
    }


def test_long_requests_are_observed_by_a_sample(directory: Path) -> None:
    settings = TelemetrySettings(flush_seconds=3600, observed_rows_per_request=100)
    with TelemetryClient(directory, settings=settings) as telemetry:
        columns = {"age": [99] * 10_000}
        telemetry.observe_rows(CONTRACT, columns, deployment="blue")
    found = counters(directory)
    observed = found["twinml_rows_observed_total", '{"deployment":"blue"}']
    assert 50 <= observed <= 100
    assert (
        found["twinml_feature_out_of_range_total", '{"deployment":"blue","feature":"age"}']
        == observed
    )


def test_no_more_rows_are_observed_than_may_be(directory: Path) -> None:
    settings = TelemetrySettings(flush_seconds=3600, observed_rows_per_second=1)
    with TelemetryClient(directory, settings=settings) as telemetry:
        for _ in range(50):
            telemetry.observe_rows(CONTRACT, {"age": [99] * 150}, deployment="blue")
    observed = counters(directory)["twinml_rows_observed_total", '{"deployment":"blue"}']
    assert 3600 <= observed < 3600 + 150


def test_a_record_that_makes_no_sense_harms_no_other(
    directory: Path, telemetry: TelemetryClient, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.observe_rows(CONTRACT, {"age": ["not", "numbers"]}, deployment="blue")
    score(telemetry)
    telemetry.flush()
    assert len(rows(directory, "requests")) == 1
    telemetry.flush()
    assert counters(directory)["twinml_telemetry_failed_total", "{}"] == 1
    assert len(caplog.records) == 1


def test_nothing_of_payloads_or_secrets_is_stored(
    directory: Path, telemetry: TelemetryClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert not telemetry.collects
    columns = {"age": [17], "balance": [1.0], "job": [MARKER], "city": [MARKER], "owner": [True]}
    telemetry.record_request(
        "POST /score", f"/score?key={MARKER}", 400, 1.0, operation_id="request-4"
    )
    telemetry.record_request(f"GET /x?{MARKER}", f"/x?{MARKER}", 404, 1.0, operation_id="request-5")
    telemetry.observe_rows(CONTRACT, columns, deployment="blue")
    telemetry.collect(
        CONTRACT, columns, [MARKER], None, operation_id="request-4", deployment="blue"
    )
    telemetry.record_exception(ValueError(MARKER), operation_id="request-4")
    telemetry.record_exception(KeyError(MARKER), operation_id="request-4", contract=CONTRACT)
    telemetry.close()
    assert len(rows(directory, "requests")) == 2
    assert counters(directory)[
        "twinml_feature_unseen_total", '{"deployment":"blue","feature":"job"}'
    ]
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert any(path.name == "telemetry.db" for path in files)
    for path in files:
        assert MARKER.encode() not in path.read_bytes(), path
    assert MARKER not in caplog.text


def test_a_full_queue_drops_and_counts(directory: Path) -> None:
    settings = TelemetrySettings(flush_seconds=3600, queue_limit=10)
    with TelemetryClient(directory, settings=settings) as telemetry:
        threads = [
            threading.Thread(target=lambda: [score(telemetry) for _ in range(100)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        telemetry.observe_rows(CONTRACT, {"age": [1]})
        telemetry.record_exception(ValueError(), operation_id="x")
        telemetry.record_trace("x")
    stored = len(rows(directory, "requests"))
    # Threads may look at the length at once: each may add one more.
    assert 10 <= stored <= 14
    assert counters(directory)["twinml_telemetry_dropped_total", "{}"] == 403 - stored


def test_beyond_a_rate_rows_stand_for_several_and_counters_stay_exact(directory: Path) -> None:
    # A flush stands for 50 seconds, however soon it is asked for.
    settings = TelemetrySettings(flush_seconds=50, max_requests_per_second=1)
    with TelemetryClient(directory, settings=settings) as telemetry:
        for number in range(1000):
            score(telemetry, number, status=500 if number % 100 == 0 else 200, rows=3)
        telemetry.flush()
    stored = rows(directory, "requests")
    assert len(stored) == 50
    assert sum(row["itemCount"] for row in stored) == 1000
    failures = [row for row in stored if row["success"] == "False"]
    assert [row["itemCount"] for row in failures] == [1] * 10
    found = counters(directory)
    labels = '{"deployment":"blue","operation":"POST /score","code":"%d"}'
    assert found["twinml_requests_total", labels % 200] == 990
    assert found["twinml_requests_total", labels % 500] == 10
    assert found["twinml_rows_total", '{"deployment":"blue"}'] == 3000


@pytest.mark.parametrize("n_failed", [0, 1, 30, 99, 100])
@pytest.mark.parametrize("most", [1, 2, 50, 99, 100, 200])
@pytest.mark.parametrize("offset", [0.0, 0.999])
def test_what_is_kept_stands_for_all(n_failed: int, most: int, offset: float) -> None:
    failed = [place < n_failed for place in range(100)]
    kept = spread(failed, most, offset=offset)
    assert sum(weight for _, weight in kept) == 100
    assert sum(weight for place, weight in kept if failed[place]) == n_failed
    assert len({place for place, _ in kept}) == len(kept) <= max(most, 2)
    assert all(weight > 0 for _, weight in kept)


def test_a_scan_for_routes_does_not_fill_the_counters(
    directory: Path, telemetry: TelemetryClient
) -> None:
    for number in range(500):
        telemetry.record_request(f"GET /{number}", f"/{number}", 404, 0.1, operation_id="x")
    telemetry.flush()
    series = [name for name, _ in counters(directory) if name == "twinml_requests_total"]
    assert len(series) == 201
    assert '"operation":"other"' in json.dumps(
        [labels for _, labels in counters(directory)]
    ).replace('\\"', '"')


def test_it_is_written_without_asking_and_at_the_end(directory: Path) -> None:
    with TelemetryClient(directory, settings=TelemetrySettings(flush_seconds=0.02)) as telemetry:
        score(telemetry, 1)
        deadline = time.monotonic() + 10
        while not summarize(directory, timedelta(minutes=1)).deployments:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for number in range(2, 600):
            score(telemetry, number)
    assert sum(row["itemCount"] for row in rows(directory, "requests")) == 599
    telemetry.close()  # a second time does nothing


def test_a_busy_database_loses_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("twinml_local.telemetry._schema.BUSY_SECONDS", 0.05)
    with TelemetryClient(directory, settings=BY_HAND) as telemetry:
        score(telemetry, 1)
        telemetry.flush()
        with closing(sqlite3.connect(directory / "telemetry.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in (2, 3):
                score(telemetry, number)
                telemetry.flush()
            other.rollback()
        score(telemetry, 4)
        telemetry.flush()
    stored = [row["operation_Id"] for row in rows(directory, "requests")]
    assert stored == ["request-1", "request-2", "request-3", "request-4"]
    assert [record.getMessage() for record in caplog.records] == [
        "telemetry cannot be written: OperationalError (database is locked)"
    ]


def test_a_database_that_is_none_is_said_once_and_serving_goes_on(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.mkdir()
    (directory / "telemetry.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with (
        caplog.at_level(logging.WARNING),
        TelemetryClient(directory, settings=BY_HAND) as telemetry,
    ):
        for number in range(3):
            score(telemetry, number)
            telemetry.flush()
    assert len(caplog.records) == 1
    assert "file is not a database" in caplog.text


def test_a_database_of_a_later_version_is_left_alone(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(connect(directory)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with TelemetryClient(directory, settings=BY_HAND) as telemetry:
        score(telemetry)
    assert rows(directory, "requests") == []
    assert "telemetry.db has format 99, this version writes 1" in caplog.text


def test_old_rows_go_and_young_ones_stay(directory: Path) -> None:
    with TelemetryClient(directory, retention_days=1, settings=BY_HAND) as telemetry:
        score(telemetry, 1, scoring_ms=1.0)
        telemetry.record_exception(ValueError(), operation_id="x")
        telemetry.record_trace("x")
        telemetry.observe_rows(CONTRACT, {"age": [1]})
        telemetry.flush()
        store = Store(directory, retention_days=1, max_bytes=10**9)
        assert store.maintain(time.time() + 86_000) == 0
        score(telemetry, 2)
        telemetry.flush()
        with closing(sqlite3.connect(directory / "telemetry.db")) as connection:
            connection.execute(
                "UPDATE requests SET timestamp = '2020-01-01T00:00:00.000Z' "
                "WHERE operation_Id = 'request-1'"
            )
            connection.commit()
        assert store.maintain() == 1
        assert [row["operation_Id"] for row in rows(directory, "requests")] == ["request-2"]
        before = prometheus_text(directory)
        # request 2, a dependency, an exception, a trace and two metrics: all are old by then.
        assert store.maintain(time.time() + 90_000) == 6
        store.close()
    assert all(rows(directory, table) == [] for table in ("requests", "customMetrics"))
    assert prometheus_text(directory) == before


def test_old_rows_go_without_asking(directory: Path) -> None:
    with TelemetryClient(directory, settings=BY_HAND) as telemetry:
        score(telemetry)
    second = 1 / 86_400
    settings = TelemetrySettings(flush_seconds=0.02)
    time.sleep(0.05)
    with TelemetryClient(directory, retention_days=second * 0.01, settings=settings):
        deadline = time.monotonic() + 10
        while rows(directory, "requests"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_oldest_rows_go_when_there_are_too_many(directory: Path) -> None:
    settings = TelemetrySettings(flush_seconds=3600, max_requests_per_second=None)
    with TelemetryClient(directory, settings=settings) as telemetry:
        for number in range(20_000):
            score(telemetry, number)
        telemetry.flush()
    path = directory / "telemetry.db"
    full = path.stat().st_size
    limit = full // 2
    store = Store(directory, retention_days=30, max_bytes=limit)
    assert store.maintain() > 5_000
    assert store.maintain() == 0
    store.close()
    assert path.stat().st_size < limit
    left = [row["operation_Id"] for row in rows(directory, "requests")]
    assert left[-1] == "request-19999"
    assert "request-0" not in left


@pytest.mark.parametrize(
    "wrong",
    [{"collect_rate": 1.5}, {"collect_rate": -1}, {"flush_seconds": 0}, {"queue_limit": -5}],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"."):
        TelemetrySettings(**wrong)
