"""Telemetry's rules on their bounds: what is counted, sampled, kept, and refused as a setting."""

import math
import os
import random
from pathlib import Path

import pytest

from twinml.contract import Column, Contract
from twinml.errors import UsageError
from twinml_local.telemetry import TelemetryClient, TelemetrySettings
from twinml_local.telemetry._features import FeatureChecks, sample
from twinml_local.telemetry._summary import percentile
from twinml_local.telemetry.collector import Collector

CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=9,
    samples=(),
    columns=(
        Column("age", "long", nullable=False, minimum=18, maximum=95),
        Column("free", "double", nullable=True),
        Column("job", "string", nullable=True, categories=("admin.",)),
        Column("note", "string", nullable=True),
    ),
)


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("age", 17, "out_of_range"),
        ("age", math.nextafter(18.0, 0.0), "out_of_range"),
        ("age", 18, None),
        ("age", 95, None),
        ("age", math.nextafter(95.0, 100.0), "out_of_range"),
        ("age", 96, "out_of_range"),
        ("age", math.nan, "null"),
        ("age", None, "null"),
        ("free", math.inf, None),
        ("free", -math.inf, None),
        ("free", math.nan, "null"),
        ("job", "admin.", None),
        ("job", "Admin.", "unseen"),
        ("job", None, "null"),
        ("job", math.nan, "null"),
        # Where training saw too many texts to keep, none is unseen.
        ("note", "anything", None),
    ],
)
def test_which_values_are_strange(column: str, value: object, kind: str | None) -> None:
    checks = FeatureChecks(CONTRACT)
    assert checks.count({column: [value]}) == ({(column, kind): 1} if kind else {})
    assert checks.count({column: [value] * 3}) == ({(column, kind): 3} if kind else {})
    assert checks.count({"other": [value]}) == {}


@pytest.mark.parametrize(
    ("n_rows", "most", "taken"),
    [
        (0, 2, []),
        (1, 2, [0]),
        (2, 2, [0, 1]),
        (3, 2, [0, 2]),
        (4, 2, [0, 2]),
        (5, 2, [0, 3]),
        (6, 4, [0, 2, 4]),
        (5, 1, [0]),
        (8, 4, [0, 2, 4, 6]),
    ],
)
def test_rows_are_sampled_evenly(n_rows: int, most: int, taken: list[int]) -> None:
    rows = list(range(n_rows))
    assert sample({"a": rows, "b": rows}, most) == ({"a": taken, "b": taken}, len(taken))
    assert len(taken) <= most


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([(3.0, 1)], 0.01, 3.0),
        ([(3.0, 1)], 1.0, 3.0),
        ([(2.0, 1), (1.0, 1)], 0.5, 1.0),
        ([(2.0, 1), (1.0, 1)], 0.51, 2.0),
        ([(1.0, 19), (2.0, 1)], 0.95, 1.0),
        ([(1.0, 19), (2.0, 2)], 0.95, 2.0),
        # As many as 95 % of 100 is no whole number in binary.
        ([(1.0, 95), (2.0, 5)], 0.95, 1.0),
        ([(1.0, 94), (2.0, 6)], 0.95, 2.0),
        ([(9.0, 1), (5.0, 1), (1.0, 8)], 0.9, 5.0),
        ([(9.0, 1), (5.0, 1), (1.0, 8)], 1.0, 9.0),
    ],
)
def test_percentiles(values: list[tuple[float, int]], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


@pytest.mark.parametrize(
    ("rate", "draw", "collected"),
    [
        (0.0, 0.0, False),
        (0.25, 0.0, True),
        (0.25, math.nextafter(0.25, 0.0), True),
        (0.25, 0.25, False),
        (0.25, 0.999, False),
        (1.0, 0.0, True),
        (1.0, 1 - 2**-53, True),
    ],
)
def test_a_share_of_the_requests_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, draw: float, collected: bool
) -> None:
    monkeypatch.setattr(random, "random", lambda: draw)
    settings = TelemetrySettings(flush_seconds=3600, collect_rate=rate)
    with TelemetryClient(tmp_path / "bank", settings=settings) as telemetry:
        row = {"age": [20], "free": [0.5], "job": ["admin."], "note": [None]}
        telemetry.collect(CONTRACT, row, ["no"], None, operation_id="r", deployment="blue")
    assert bool(list(tmp_path.rglob("*.jsonl"))) is collected


@pytest.mark.parametrize(("n_rows", "collected"), [(1, True), (2, True), (3, False)])
def test_as_many_rows_may_wait_as_the_setting_says(
    tmp_path: Path, n_rows: int, collected: bool
) -> None:
    settings = TelemetrySettings(flush_seconds=3600, collect_rate=1.0, collect_queue_rows=2)
    with TelemetryClient(tmp_path / "bank", settings=settings) as telemetry:
        row = {"age": [20] * n_rows, "free": [0.5] * n_rows}
        row |= {"job": ["admin."] * n_rows, "note": [None] * n_rows}
        telemetry.collect(CONTRACT, row, ["no"] * n_rows, None, operation_id="r", deployment="blue")
    assert bool(list(tmp_path.rglob("*.jsonl"))) is collected


@pytest.mark.parametrize(("age", "removed"), [(99, 0), (100, 0), (101, 1)])
def test_collected_files_go_when_they_are_older_than_the_bound(
    tmp_path: Path, age: int, removed: int
) -> None:
    file = tmp_path / "modelDataCollector" / "bank" / "blue" / "model_inputs" / "x.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("{}\n")
    os.utime(file, (10_000 - age, 10_000 - age))
    collector = Collector(tmp_path, endpoint="bank", agent="a", file_bytes=1)
    assert collector.remove_older(100, now=10_000) == removed
    assert file.exists() is (removed == 0)
    assert file.parent.exists() is (removed == 0), "empty folders go, too"


@pytest.mark.parametrize("rate", [0, 0.0, 0.5, 1, 1.0])
def test_rates_that_can_be(rate: float) -> None:
    assert TelemetrySettings(collect_rate=rate).collect_rate == rate


@pytest.mark.parametrize("rate", [-0.001, 1.001, math.nan])
def test_rates_that_cannot_be(rate: float) -> None:
    with pytest.raises(UsageError, match="the collection rate is"):
        TelemetrySettings(collect_rate=rate)


@pytest.mark.parametrize(
    "name",
    [
        "flush_seconds",
        "queue_limit",
        "max_requests_per_second",
        "max_bytes",
        "observed_rows_per_request",
        "observed_rows_per_second",
        "collect_queue_rows",
        "collect_file_bytes",
    ],
)
def test_what_has_to_be_above_zero(name: str) -> None:
    TelemetrySettings(**{name: 1})
    for value in (0, -1):
        with pytest.raises(UsageError, match=f"{name} is {value}"):
            TelemetrySettings(**{name: value})


def test_settings_that_zero_or_nothing_is_right_for() -> None:
    settings = TelemetrySettings(max_requests_per_second=None, export=False)
    assert (settings.max_requests_per_second, settings.export) == (None, False)


@pytest.mark.parametrize(
    ("per_second", "seconds", "rows"),
    [(1000, 0.5, 500), (3, 0.5, 1), (1, 0.5, 1), (1, 0.001, 1), (4, 0.5, 2), (7, 0.5, 3)],
)
def test_rows_that_are_observed_between_two_writes(
    per_second: int, seconds: float, rows: int
) -> None:
    settings = TelemetrySettings(flush_seconds=seconds, observed_rows_per_second=per_second)
    assert settings.observed_rows_per_flush == rows
