"""Figures of an endpoint: percentiles, counts by deployment, drift, Prometheus and the verb."""

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twinml.cli import metrics
from twinml.contract import Column, Contract
from twinml.errors import PlatformError
from twinml.traffic.metrics import EndpointMetrics, FeatureMetrics
from twinml_local.platform import LocalPlatform
from twinml_local.telemetry import (
    TelemetryClient,
    TelemetrySettings,
    prometheus_text,
    recent,
    summarize,
    totals,
)
from twinml_local.telemetry._recent import BUCKETS, LENGTHS, bucket_length
from twinml_local.telemetry._summary import percentile

BY_HAND = TelemetrySettings(flush_seconds=3600)
HOUR = timedelta(hours=1)
CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=9,
    samples=(),
    columns=(
        Column("age", "long", nullable=False, minimum=18, maximum=95),
        Column("job", "string", nullable=True, categories=("admin.",)),
    ),
)
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$')


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "bank"


@pytest.fixture
def telemetry(directory: Path) -> Iterator[TelemetryClient]:
    with TelemetryClient(directory, settings=BY_HAND) as made:
        yield made


def busy(telemetry: TelemetryClient) -> None:
    for number in range(100):
        telemetry.record_request(
            "POST /score",
            "/score",
            400 if number == 0 else 200,
            float(number + 1),
            operation_id=f"request-{number}",
            deployment="blue",
            rows=2,
            scoring_ms=0.4,
        )
    telemetry.record_request("GET /ready", "/ready", 200, 0.5, operation_id="probe")
    telemetry.record_exception(ValueError(), operation_id="request-0", deployment="blue")
    telemetry.observe_rows(
        CONTRACT, {"age": [17, 20, 30, 99], "job": ["pilot", None, "admin.", 'a"b\\c\n']},
        deployment="blue",
    )  # fmt: skip
    telemetry.flush()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([(3.0, 1)], 0.99, 3.0),
        ([(float(number), 1) for number in range(1, 101)], 0.95, 95.0),
        ([(float(number), 1) for number in range(1, 101)], 0.99, 99.0),
        ([(1.0, 99), (8.0, 1)], 0.99, 1.0),
        ([(8.0, 2), (1.0, 98)], 0.99, 8.0),
    ],
)
def test_percentiles(values: list[tuple[float, int]], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_a_summary(directory: Path, telemetry: TelemetryClient) -> None:
    busy(telemetry)
    found = summarize(directory, HOUR)
    assert found.endpoint == "bank"
    blue, other = found.deployments
    assert (blue.deployment, blue.requests, blue.failures) == ("blue", 100, 1)
    assert (blue.rows, blue.exceptions) == (200, 1)
    assert (blue.p50_ms, blue.p95_ms, blue.p99_ms) == (50.0, 95.0, 99.0)
    assert (other.deployment, other.requests, other.rows) == (None, 1, 0)
    assert found.features == (
        FeatureMetrics("blue", "age", observed=4, out_of_range=2, unseen=0, null=0),
        FeatureMetrics("blue", "job", observed=4, out_of_range=0, unseen=2, null=1),
    )


def test_what_is_older_is_left_out(directory: Path, telemetry: TelemetryClient) -> None:
    busy(telemetry)
    later = time.time() + 7200
    assert summarize(directory, HOUR, now=later).deployments == ()
    assert summarize(directory, HOUR, now=later).features == ()
    assert summarize(directory, 3 * HOUR, now=later).deployments[0].requests == 100


def test_nothing_was_recorded(directory: Path) -> None:
    assert summarize(directory, HOUR).deployments == ()
    assert all(line.startswith("#") for line in prometheus_text(directory).splitlines())
    assert not directory.exists()


def test_a_broken_database_is_an_error_of_one_line(directory: Path) -> None:
    directory.mkdir()
    (directory / "telemetry.db").write_bytes(b"x" * 4096)
    with pytest.raises(PlatformError, match="telemetry of endpoint 'bank' cannot be read"):
        summarize(directory, HOUR)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Read the text format strictly: help and type before the samples of each name."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], float] = {}
    declared: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            declared[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert declared.get(name, declared.get(family)) in ("counter", "histogram"), line
            assert (name, labels or "") not in found, line
            found[name, labels or ""] = float(value)
    return found


def test_prometheus_text(directory: Path, telemetry: TelemetryClient) -> None:
    busy(telemetry)
    found = samples(prometheus_text(directory))
    where = 'deployment="blue",operation="POST /score"'
    assert found["twinml_requests_total", f'{where},code="200"'] == 99
    assert found["twinml_requests_total", f'{where},code="400"'] == 1
    assert found["twinml_rows_total", 'deployment="blue"'] == 200
    assert found["twinml_rows_observed_total", 'deployment="blue"'] == 4
    assert found["twinml_feature_unseen_total", 'deployment="blue",feature="job"'] == 2
    assert found["twinml_exceptions_total", 'deployment="blue",type="ValueError"'] == 1
    buckets = [
        (labels.rpartition('le="')[2].rstrip('"'), value)
        for (name, labels), value in found.items()
        if name == "twinml_request_duration_seconds_bucket" and labels.startswith(where)
    ]
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert dict(buckets)["0.001"] == 1
    assert dict(buckets)["0.05"] == 50
    assert buckets[-1] == ("+Inf", 100)
    assert found["twinml_request_duration_seconds_count", where] == 100
    assert found["twinml_request_duration_seconds_sum", where] == pytest.approx(5.05)
    assert found["twinml_scoring_duration_seconds_sum", 'deployment="blue"'] == pytest.approx(0.04)


def test_counters_add_up_over_workers_and_restarts(directory: Path) -> None:
    with (
        TelemetryClient(directory, settings=BY_HAND) as one,
        TelemetryClient(directory, settings=BY_HAND) as two,
    ):
        for telemetry in (one, two):
            busy(telemetry)
    with TelemetryClient(directory, settings=BY_HAND) as three:
        busy(three)
    found = samples(prometheus_text(directory))
    assert found["twinml_rows_total", 'deployment="blue"'] == 600


def test_awkward_labels_are_escaped(directory: Path, telemetry: TelemetryClient) -> None:
    telemetry.record_request('GET /"\\\n', "/", 404, 1.0, operation_id="x")
    telemetry.flush()
    found = samples(prometheus_text(directory))
    assert found["twinml_requests_total", r'deployment="",operation="GET /\"\\\n",code="404"'] == 1


@pytest.fixture
def platform(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local platform with its endpoint's records in ``directory``."""

    def figures(self: LocalPlatform, endpoint: str, since: timedelta) -> EndpointMetrics:
        return summarize(directory, since, endpoint=endpoint)

    monkeypatch.setattr(LocalPlatform, "metrics", figures, raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(metrics.command, ["--endpoint", "bank", *arguments])


def test_the_verb_shows_tables(directory: Path, telemetry: TelemetryClient, platform: None) -> None:
    busy(telemetry)
    found = run("--last", "15m")
    assert found.exit_code == 0, found.output
    lines = [re.sub(" +", " ", line).strip() for line in found.stdout.splitlines()]
    assert lines[0].startswith("bank, ")
    assert "deployment requests failed p50 ms p95 ms p99 ms rows exceptions" in lines
    assert "blue 100 1 50.00 95.00 99.00 200 1" in lines
    assert "(no deployment) 1 0 0.50 0.50 0.50 0 0" in lines
    assert "deployment feature looked at out of range unseen null" in lines
    assert "blue age 4 2 (50.0%)" in lines
    assert "blue job 4 2 (50.0%) 1 (25.0%)" in lines


def test_the_verb_as_json(directory: Path, telemetry: TelemetryClient, platform: None) -> None:
    busy(telemetry)
    shape: dict[str, Any] = json.loads(run("--json").stdout)
    assert shape["endpoint"] == "bank"
    assert shape["deployments"][0]["p95_ms"] == 95.0
    assert shape["features"][0] == {
        "deployment": "blue",
        "feature": "age",
        "observed": 4,
        "out_of_range": 2,
        "unseen": 0,
        "null": 0,
    }


def test_the_verb_without_requests(platform: None) -> None:
    found = run()
    assert found.exit_code == 0
    assert found.stdout.endswith("UTC\nno requests\n")


@pytest.mark.parametrize("wrong", ["", "1", "h", "0h", "-1h", "1.5h", "1w", "99999999999d"])
def test_a_length_of_time_that_is_none(wrong: str) -> None:
    found = run("--last", wrong)
    assert found.exit_code == 2
    assert "is not a length of time such as 90s, 15m, 1h or 7d" in found.stderr


def test_a_platform_without_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinml.platform.load", lambda name: SimpleNamespace(name=name))
    found = run("--on", "azure")
    assert found.exit_code == 1
    assert "platform 'azure' has nothing to show metrics with" in found.stderr


def test_the_last_while_over_time_says_what_the_summary_says(
    directory: Path, telemetry: TelemetryClient
) -> None:
    busy(telemetry)
    now = time.time() + 1
    found, whole = recent(directory, HOUR, now=now), summarize(directory, HOUR, now=now)
    alike = [(one.deployment, one.requests, one.failures, one.rows, one.p50_ms, one.p95_ms,
              one.p99_ms) for one in found.deployments]  # fmt: skip
    assert alike == [(one.deployment, one.requests, one.failures, one.rows, one.p50_ms, one.p95_ms,
                      one.p99_ms) for one in whole.deployments]  # fmt: skip
    assert found.features == whole.features
    assert found.codes == {"200": 100, "400": 1}
    assert not found.cut_off
    assert sum(bucket.requests for bucket in found.buckets) == 101
    assert sum(bucket.failures for bucket in found.buckets) == 1
    starts = [bucket.start for bucket in found.buckets]
    assert starts == [starts[0] + 300 * place for place in range(len(starts))]
    assert starts[0] <= now - 3600 < starts[0] + 300
    assert starts[-1] <= now < starts[-1] + 300
    assert totals(directory) == (101, 1)


def test_no_more_records_are_read_than_asked_for(
    directory: Path, telemetry: TelemetryClient
) -> None:
    busy(telemetry)
    now = time.time() + 1
    some = recent(directory, HOUR, now=now, most_rows=5)
    assert some.cut_off
    assert some.begin > now - 60
    assert sum(one.requests for one in some.deployments) <= 5
    # All of them, to the last: nothing is left out.
    assert not recent(directory, HOUR, now=now, most_rows=102).cut_off
    assert recent(directory, timedelta(seconds=1), now=now + 600).deployments == ()


def test_nothing_recorded_is_nothing_seen(tmp_path: Path) -> None:
    assert recent(tmp_path / "none", HOUR).buckets == ()
    assert totals(tmp_path / "none") == (0, 0)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_time_has_at_most_48_buckets(length: int) -> None:
    assert bucket_length(length * BUCKETS) == length
    assert bucket_length(length * BUCKETS + 1) > length or length == LENGTHS[-1]
