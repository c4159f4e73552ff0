"""Open loops, objectives, steps and saved runs, against a real server on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.unit.toy_endpoint import ROWS, Stall, label, toy
from twinml import benchmark
from twinml.benchmark import figures, judge, parse_slo, saved
from twinml.benchmark._result import PERCENTILES, BenchmarkResult, corrected_percentiles
from twinml.benchmark.sweep import parse_steps, sweep
from twinml.cli import main
from twinml.endpoint import Endpoint, request_body
from twinml.errors import UsageError

BODIES = [request_body([row]) for row in ROWS]
RIGHT = [[label(row)] for row in ROWS]


def made(latencies: list[float], **changed: Any) -> BenchmarkResult:
    """Return a result with these latencies, one reply every 10 ms."""
    plain: dict[str, Any] = {
        "scoring_uri": "http://127.0.0.1:5001/score", "server": "toy", "requests": len(latencies),
        "concurrency": 2, "warmup": 0, "rows": 1, "completed": len(latencies),
        "seconds": len(latencies) / 100, "latencies": tuple(latencies), "client_ms": 0.2,
        "bytes_sent": 1, "bytes_received": 1, "reply_bytes": 1, "reconnects": 0, "non_2xx": 0,
        "failures": (), "stopped": None,
        "arrivals": tuple((n + 1) / 100 for n in range(len(latencies))),
    }  # fmt: skip
    return BenchmarkResult(**plain | changed)


def test_an_open_loop_sees_the_requests_that_a_stall_would_have_hidden() -> None:
    stall = 1.2
    with toy(Stall(60, stall)) as server, Endpoint(server.uri, server.key) as endpoint:
        result = benchmark.run(
            endpoint, BODIES, RIGHT, rate=100, seconds=3.0, requests=None, concurrency=4, warmup=0
        )
    assert (result.good, result.failed, result.unfinished) == (300, 0, 0)
    # 120 of 300 requests were due while the server stood still: the user's view.
    assert result.percentile(75) > 100 * stall
    assert result.percentile(90) > 400 * stall
    # What was measured from sending on shows four slow requests: the coordinated omission. Of
    # those that waited 72 were due early enough; a busy machine adds to both.
    slow, felt = (
        sum(each > 400 * stall for each in times) for times in (result.service, result.latencies)
    )
    assert 1 <= slow <= felt - 30
    # Due at a fixed rate, so the run lasts as long whatever happened in it.
    assert result.seconds >= 2.9


def test_a_closed_loop_puts_back_what_it_did_not_send() -> None:
    stall = 3.0  # far above what a busy machine does to the other requests
    with toy(Stall(100, stall)) as server, Endpoint(server.uri, server.key) as endpoint:
        result = benchmark.run(endpoint, BODIES, RIGHT, requests=300, concurrency=2, warmup=0)
    assert result.percentile(99) < 500 * stall  # two slow requests of 300
    assert result.corrected is not None
    assert result.corrected["p99"] > 500 * stall


def test_what_is_due_but_not_answered_in_time_is_no_success() -> None:
    with toy(Stall(10, 30.0)) as server, Endpoint(server.uri, server.key) as endpoint:
        result = benchmark.run(
            endpoint, BODIES, RIGHT, rate=50, requests=1000, concurrency=2, warmup=0,
            max_seconds=1.0,
        )  # fmt: skip
    # One of the ten before the stall is the request that looks whether the endpoint is there.
    assert result.good == 9
    assert result.unfinished == 50 - 9
    assert result.stopped == "1 s were over"
    assert not judge(result, parse_slo("errors=0"))[0].met


def test_requests_under_way_at_the_end_are_waited_for() -> None:
    with toy(Stall(5, 0.8)) as server, Endpoint(server.uri, server.key) as endpoint:
        result = benchmark.run(
            endpoint, BODIES, RIGHT, requests=None, seconds=0.4, concurrency=1, warmup=0
        )
    assert (result.good, result.unfinished, result.stopped) == (5, 0, None)
    assert result.percentile(100) > 700


def test_a_busy_client_says_so() -> None:
    with toy() as server, Endpoint(server.uri, server.key) as endpoint:
        # A million a second are due; no Python client sends that.
        result = benchmark.run(
            endpoint, BODIES, RIGHT, rate=1e6, requests=1500, concurrency=8, warmup=0
        )
    assert result.client_busy > 0.1
    assert "was the bottleneck" in " ".join(made([1.0], client_busy=0.97).doubts)
    assert "left 12.0 ms late" in " ".join(made([1.0], late_ms=12.0).doubts)
    assert made([1.0], client_busy=0.3, late_ms=0.4).doubts == ()


@pytest.mark.parametrize(
    ("latencies", "expected", "stands_for"),
    [
        ([1.0] * 90 + [100.0] * 10, 10.0, [1.0] * 90 + [*range(10, 101, 10)] * 10),
        ([100.0], 10.0, range(10, 101, 10)),
        # Twice the time between two requests is one more request; a little less is none.
        ([20.0], 10.0, [20.0, 10.0]),
        ([19.999], 10.0, [19.999]),
        ([10.0, 9.0], 10.0, [10.0, 9.0]),
        ([0.0, 0.002], 0.0, [0.0, 0.001, 0.002]),
    ],
)
def test_a_latency_stands_for_the_requests_that_were_not_sent(
    latencies: list[float], expected: float, stands_for: Iterable[float]
) -> None:
    found = corrected_percentiles(latencies, expected)
    filled = np.array(list(stands_for), dtype=float)
    for p in PERCENTILES:
        assert found[f"p{p:g}"] == np.percentile(filled, p, method="inverted_cdf"), p


def test_the_timeline_has_every_reply_once() -> None:
    result = made([1.0] * 100, failed_at=(0.005, 0.5))
    moments = result.timeline(10)
    assert len(moments) == 10
    assert sum(moment.good for moment in moments) == 100
    assert sum(moment.failed for moment in moments) == 2
    assert {moment.p99 for moment in moments} == {1.0}
    assert made([]).timeline() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99", "is no objective"),
        ("p99=50", "is no objective"),
        ("p0=5ms", "is no objective"),
        ("p101=5ms", "is no objective"),
        ("p99=-5ms", "is no objective"),
        ("errors=101%", "is no objective"),
        ("rps=0", "is no objective"),
        ("speed=3ms", "is no objective"),
        ("p99=e-ms", "is no number"),
        ("p99=5ms,p99=6ms", "twice"),
    ],
)
def test_what_is_no_objective_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_slo(text)


def test_objectives_are_judged_by_the_figures() -> None:
    result = made([1.0] * 98 + [20.0, 30.0])
    judged = judge(result, parse_slo("p98=1ms, p99=0.01s, max=30ms, errors=0, rps=100, mean=1ms"))
    assert [verdict.met for verdict in judged] == [True, False, True, True, True, False]
    assert judged[1].sentence == "p99 at most 10 ms: missed, 20 ms"
    nothing = judge(made([]), parse_slo("p99=1s,rps=1,errors=50%"))
    assert [verdict.met for verdict in nothing] == [False, False, False]


def test_the_knee_is_the_least_concurrency_with_the_best_throughput() -> None:
    rates = {1: 100.0, 2: 190.0, 4: 300.0, 8: 301.0, 16: 299.0, 32: 290.0}
    asked = []

    def measure(concurrency: int) -> BenchmarkResult:
        asked.append(concurrency)
        return made(
            [float(concurrency)] * 100, concurrency=concurrency, seconds=100 / rates[concurrency]
        )

    found = sweep(measure)
    assert found.knee.concurrency == 4
    assert asked == [1, 2, 4, 8, 16]  # two without gain end it
    best = found.within(parse_slo("p99=3ms"))
    assert best is not None
    assert best.concurrency == 2
    assert found.within(parse_slo("p99=0.5ms")) is None
    assert parse_steps("1,2,4") == (1, 2, 4)
    for wrong in ("4,2", "0,1", "x", "1,1", "512"):
        with pytest.raises(UsageError, match="no steps"):
            parse_steps(wrong)


def test_a_saved_run_is_compared_figure_by_figure(tmp_path: Path) -> None:
    path = tmp_path / "new" / "before.json"
    saved.save(path, [("local", made([2.0] * 100))])
    differences, remarks = saved.compare(saved.load(path), [("local", made([4.0] * 100))])
    ratios = {each.figure: each.ratio for each in differences}
    assert ratios["p99 ms"] == pytest.approx(2.0, rel=2e-3)
    assert ratios["requests per second"] == pytest.approx(1.0)
    assert remarks == []
    _, remarks = saved.compare(saved.load(path), [("local", made([4.0] * 100, concurrency=9))])
    assert remarks == ["local, 9 at a time: concurrency was 2, is 9: the runs are not alike."]
    path.write_text('{"format": "other"}')
    with pytest.raises(UsageError, match="no saved benchmark"):
        saved.load(path)
    with pytest.raises(UsageError, match="cannot be read"):
        saved.load(tmp_path / "none.json")


def run_verb(*words: str, key: str = "toy-key") -> Result:
    return CliRunner(env={"TOY_KEY": key}).invoke(main, ["benchmark", *words])


def test_the_verb_measures_saves_compares_and_reports(tmp_path: Path) -> None:
    page, before = tmp_path / "page.html", tmp_path / "before.json"
    with toy() as server:
        by_url = (server.uri, "--key-env", "TOY_KEY", "--requests", "60", "--warmup", "2")
        first = run_verb(*by_url, "--save", str(before), "--report", str(page), "--json")
        assert first.exit_code == 0, first.output
        run = json.loads(first.stdout)["runs"][0]
        assert (run["good"], run["failed"], run["requests"]) == (60, 0, 60)
        second = run_verb(*by_url, "--against", str(before), "--no-report", "--slo", "p50=60s")
        assert second.exit_code == 0, second.output
        assert "p99 ms" in second.stdout
        assert "p50 at most 6e+04 ms: met" in second.stdout
        missed = run_verb(*by_url, "--no-report", "--slo", "p50=1us", "--format", "ab")
        assert missed.exit_code == 1
        assert "p50 at most 0.001 ms: missed" in missed.stdout
        assert "Percentage of the requests served within a certain time (ms)" in missed.stdout
        swept = run_verb(
            server.uri, "--key-env", "TOY_KEY", "--steps", "1,2", "--seconds", "0.4",
            "--report", str(page),
        )  # fmt: skip
        assert swept.exit_code == 0, swept.output
        assert "◀ the knee" in swept.stdout
        assert "toy-key" not in first.output + second.output + missed.output + swept.output
    text = page.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/png') == 4
    assert "toy-key" not in text
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)


def test_two_endpoints_get_the_same_requests_and_a_wrong_answer_is_a_failure(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.html"
    wrong_now_and_then = lambda number: (200, ["wrong"] if number % 10 == 9 else None)  # noqa: E731
    with toy() as good, toy(wrong_now_and_then) as bad:
        result = run_verb(
            good.uri, bad.uri, "--key-env", "TOY_KEY", "--key-env", "TOY_KEY",
            "--requests", "50", "--warmup", "0", "--concurrency", "1",
            "--report", str(page), "--json",
        )  # fmt: skip
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)["runs"]
    assert (first["good"], first["failed"]) == (50, 0)
    assert second["good"] == 45
    assert [failure["kind"] for failure in second["failures"]] == ["different"]
    assert "Latency by percentile of each endpoint" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", "1,2", "--rate", "5"), "--steps goes with neither"),
        (("http://a/score", "http://b/score", "--key-env", "K"), "2 URLs and 1 times --key-env"),
        (("http://a/score", "http://a/score"), "named twice"),
        (("http://a/score", "--url", "http://b/score"), "got --url and names"),
        (("--rows", "0"), "--rows is 0"),
        (("--any-reply", "--model", "m"), "got both --model and --any-reply"),
        (("--slo", "p99=fast"), "no objective"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    words: tuple[str, ...], message: str
) -> None:
    result = run_verb(*words)
    assert result.exit_code == 1
    assert message in result.output


def test_every_picture_is_drawn_of_few_replies() -> None:
    for png in (
        figures.timeline(made([1.0, 2.0], failed_at=(0.01,), rate=100.0)),
        figures.distribution(made([1.0])),
        figures.overview(made([1.0])),
        figures.percentiles([("a", made([1.0])), ("b", made([2.0, 3.0]))]),
    ):
        assert png.startswith(b"\x89PNG")
