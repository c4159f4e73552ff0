"""What the verbs decide, each as a table: loads, verdicts, shares, tables, hints, schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest

from twinml.abtest.collected import share_of_b
from twinml.benchmark import BenchmarkResult, Failure, Sweep, parse_slo
from twinml.benchmark.endpoints import Load, Measured, chunks
from twinml.cli import _output
from twinml.cli._output import schedule_line, table
from twinml.cli._types import TIME
from twinml.cli.run import _hints
from twinml.errors import UsageError
from twinml.platform import EndpointInfo, PipelineInfo, Schedule
from twinml.workflow import WorkflowResult

OPEN: dict[str, Any] = {
    "steps": None, "swept": False, "concurrency": None, "requests": None, "seconds": None,
    "rate": None, "rows": 1, "limits": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"steps": (4,), "requests": 200, "seconds": None}),
        ({"concurrency": 1}, {"steps": (1,), "requests": 200, "seconds": None}),
        ({"requests": 7}, {"steps": (4,), "requests": 7, "seconds": None}),
        ({"seconds": 3.0}, {"steps": (4,), "requests": None, "seconds": 3.0}),
        ({"rate": 50.0}, {"steps": (64,), "requests": 200, "seconds": None}),
        ({"rate": 50.0, "concurrency": 8}, {"steps": (8,), "requests": 200, "seconds": None}),
        ({"swept": True}, {"steps": None, "requests": None, "seconds": 5.0}),
        ({"swept": True, "steps": (1, 2)}, {"steps": (1, 2), "requests": None, "seconds": 5.0}),
        ({"swept": True, "seconds": 1.0}, {"steps": None, "requests": None, "seconds": 1.0}),
    ],
)
def test_what_a_load_leaves_open_is_filled_in(given: dict[str, Any], found: Any) -> None:
    load = Load.of(**OPEN | given)
    assert {key: getattr(load, key) for key in found} == found


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"rows": 0}, "--rows is 0"),
        ({"swept": True, "rate": 1.0}, "neither --rate nor --requests"),
        ({"swept": True, "requests": 1}, "neither --rate nor --requests"),
    ],
)
def test_a_load_that_contradicts_itself_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Load.of(**OPEN | given)


@pytest.mark.parametrize(
    ("rows", "size", "found"),
    [
        (3, 1, [[0], [1], [2]]),
        (3, 2, [[0, 1], [2, 0]]),
        (2, 2, [[0, 1]]),
        (1, 3, [[0, 0, 0]]),
    ],
)
def test_bodies_use_every_row(rows: int, size: int, found: list[list[int]]) -> None:
    pool = [{"n": n} for n in range(rows)]
    assert [[row["n"] for row in chunk] for chunk in chunks(pool, size)] == found


def test_bodies_are_not_without_end() -> None:
    assert len(chunks([{"n": n} for n in range(51)], 1)) == 50


def result(good: int, failed: int) -> BenchmarkResult:
    return BenchmarkResult(
        scoring_uri="http://127.0.0.1:5001/score", server="toy/1", requests=good + failed,
        concurrency=2, warmup=0, rows=1, completed=good + failed, seconds=2.0,
        latencies=(10.0,) * good, client_ms=0.1, bytes_sent=1, bytes_received=1, reply_bytes=1,
        reconnects=0, non_2xx=0, stopped=None,
        failures=(Failure("status 500", failed, ""),) if failed else (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("good", "failed", "slo", "passes"),
    [
        (9, 0, "", True),
        (9, 1, "", False),
        (0, 0, "", False),
        (9, 1, "errors=10%", True),
        (9, 1, "errors=9%", False),
        (0, 1, "errors=100%", False),
        (9, 0, "p99=10ms", True),
        (9, 0, "p99=9ms", False),
        (9, 1, "p99=10ms", False),
    ],
)
def test_what_passes_a_benchmark(good: int, failed: int, slo: str, passes: bool) -> None:
    sweeps = {"one": Sweep((result(9, 0),)), "two": Sweep((result(good, failed),))}
    assert Measured(sweeps, parse_slo(slo) if slo else (), False).passes is passes


SHARED = {"blue": 60, "green": 20, "red": 20}


@pytest.mark.parametrize(
    ("expected", "mirrored", "traffic", "share"),
    [
        (None, False, SHARED, 0.25),
        ("90/10", False, SHARED, 0.1),
        ("90/10", True, SHARED, 0.1),
        ("90/10", False, None, 0.1),
        (None, True, SHARED, None),
        (None, True, None, None),
    ],
)
def test_which_share_b_should_have(
    expected: str | None, mirrored: bool, traffic: dict[str, int] | None, share: float | None
) -> None:
    found = share_of_b(("blue", "green"), expected=expected, mirrored=mirrored, traffic=traffic)
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("traffic", [None, {"blue": 100, "green": 0}, {"green": 100}, {}])
def test_no_share_without_traffic_to_both(traffic: dict[str, int] | None) -> None:
    with pytest.raises(UsageError, match="traffic"):
        share_of_b(("blue", "green"), expected=None, mirrored=False, traffic=traffic)


def test_a_table_is_as_wide_as_its_cells() -> None:
    long = "x" * 300
    lines = table(("a", "n"), [(long, "1"), ("two\nlines", "200")], right="n").splitlines()
    assert lines == [f"{'a':<300}    n", f"{long}    1", f"{'two lines':<300}  200"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)]
)
def test_a_length_of_time(text: str, seconds: int) -> None:
    assert TIME.convert(text, None, None).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0s", "1", "s", "1.5h", "-1h", "1w", "12345678s", "1２s"])
def test_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not a length of time"):
        TIME.convert(text, None, None)


@pytest.mark.parametrize(
    ("enabled", "stopped", "end"),
    [
        (True, False, "next 2026"),
        (True, True, "stopped"),
        (False, False, "disabled"),
        (False, True, "disabled"),
    ],
)
def test_a_schedule_that_cannot_fire_has_no_next_time(
    enabled: bool, stopped: bool, end: str
) -> None:
    one = Schedule("nightly", "training", every="1d", next="2026", enabled=enabled)
    assert schedule_line(one, stopped=stopped) == f"nightly  training  every 1d  {end}"


ENDPOINT = EndpointInfo(
    "bank", "http://h/score", "http://h/swagger.json", "http://h/docs/", "running"
)


@pytest.mark.parametrize(
    ("platform", "alone", "keys", "last"),
    [
        ("local", True, "keys", "stop"),
        ("local", False, "keys --endpoint bank", "stop --endpoint bank"),
        ("azure", True, "keys --on azure", "teardown --on azure"),
        ("azure", False, "keys --endpoint bank --on azure", "teardown --on azure"),
    ],
)
@pytest.mark.parametrize("program", ["twinml", ".venv/bin/twinml"])
def test_the_last_hints_of_a_run_can_be_typed(
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    platform: str,
    alone: bool,
    keys: str,
    last: str,
) -> None:
    monkeypatch.setattr("twinml.cli.run.program", lambda: program)
    asset: Any = None
    done = WorkflowResult((), asset, asset, ENDPOINT, None, None, None, 1.0)
    hints = _hints(done, platform, alone=alone)
    assert f"  Keys       {program} {keys}" in hints
    assert hints[-1].endswith(f"{program} {last}")
    assert hints[-2].endswith(f"{program} score --sample 3{keys.removeprefix('keys')}")
    assert "make" not in " ".join(hints)
    info = PipelineInfo("training", "1", "http://h/jobs")
    assert "  Pipeline   http://h/jobs" in _hints(
        replace(done, pipeline=info), platform, alone=True
    )


def test_the_program_is_named_as_it_is_called(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "twinml"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_output.sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _output.program() == "bin/twinml"
    monkeypatch.setenv("PATH", str(script.parent))
    assert _output.program() == "twinml"
    monkeypatch.setattr(_output.sys, "argv", ["/somewhere/__main__.py"])
    assert _output.program() == "twinml"
