"""The HTML report of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twinml.benchmark import figures
from twinml.benchmark._result import PERCENTILES, BenchmarkResult
from twinml.benchmark._slo import Target, Verdict, judge
from twinml.benchmark._text import ms
from twinml.benchmark.saved import Difference
from twinml.benchmark.sweep import Sweep
from twinml.pages.figure import Picture
from twinml.pages.result_page import ResultPage, Section, Tile, rows
from twinml.pages.tables import Table

__all__ = ["result_page"]


def result_page(
    measured: Mapping[str, Sweep],
    targets: Sequence[Target] = (),
    differences: Sequence[Difference] = (),
    remarks: Sequence[str] = (),
) -> ResultPage:
    """Return the page of one or several endpoints.

    Parameters
    ----------
    measured
        By the endpoint's name; a sweep of one run where only one concurrency was tried.
    targets
        The objectives; the verdict is about the knee of each sweep.
    differences, remarks
        From ``saved.compare``.
    """
    chosen = [(name, found.knee) for name, found in measured.items()]
    verdicts = {name: judge(result, targets) for name, result in chosen}
    sections = [_side_by_side(chosen, verdicts)]
    if any(len(found.results) > 1 for found in measured.values()):
        sections.append(_steps(measured, targets))
    sections += [_run(name, result) for name, result in chosen if result.completed]
    if differences or remarks:
        sections.append(_differences(differences, remarks))
    sections.append(
        Section(
            "How to read it",
            (
                "A reply is good if its status is 2xx, it is JSON, and it holds the expected "
                "predictions. Failures are no throughput and have no latency.",
                "In a closed loop each client waits for its reply before it sends again; while "
                "the server stalls nothing is sent, so the stall counts once. The corrected "
                "percentile puts back what would have been sent. In an open loop requests are due "
                "at a fixed rate and latency counts from when they were due.",
                "The client runs on one core and its time is part of the latency.",
            ),
        )
    )
    names = " and ".join(measured)
    return ResultPage(
        title=names,
        kind="Benchmark",
        verdict=_verdict(chosen, verdicts),
        reason=" ".join(
            f"{name + ': ' if len(chosen) > 1 else ''}{doubt}"
            for name, result in chosen
            for doubt in result.doubts
        ),
        good=_is_good(chosen, verdicts),
        tiles=_tiles(*chosen[0]) if len(chosen) == 1 else (),
        sections=tuple(sections),
    )


def _is_good(
    chosen: Sequence[tuple[str, BenchmarkResult]], verdicts: Mapping[str, Sequence[Verdict]]
) -> bool:
    sound = all(result.error_share == 0 and not result.doubts for _, result in chosen)
    return sound and all(verdict.met for found in verdicts.values() for verdict in found)


def _verdict(
    chosen: Sequence[tuple[str, BenchmarkResult]], verdicts: Mapping[str, Sequence[Verdict]]
) -> str:
    parts = []
    for name, result in chosen:
        missed = [verdict.sentence for verdict in verdicts[name] if not verdict.met]
        said = (
            f"{result.requests_per_second:,.0f} good replies/s, 99% within "
            f"{ms(result.percentile(99))} ms, {result.error_share:.2%} failed"
            if result.latencies
            else "no good reply"
        )
        if verdicts[name]:
            said += f"; objectives {'missed: ' + '; '.join(missed) if missed else 'met'}"
        parts.append(f"{name}: {said}." if len(chosen) > 1 else f"{said[0].upper()}{said[1:]}.")
    return " ".join(parts)


def _tiles(name: str, result: BenchmarkResult) -> tuple[Tile, ...]:
    per_row = (
        f"{result.requests_per_second * result.rows:,.0f} rows/s" if result.rows else "good only"
    )
    return (
        Tile("Throughput", f"{result.requests_per_second:,.0f}/s", per_row),
        Tile("Median", f"{ms(result.percentile(50))} ms", f"mean {ms(result.mean)} ms"),
        Tile("99%", f"{ms(result.percentile(99))} ms", f"worst {ms(result.percentile(100))} ms"),
        Tile(
            "Failed", f"{result.error_share:.2%}", f"{result.failed + result.unfinished:,} in all"
        ),
        Tile("Client", f"{result.client_busy:.0%}", "of a core"),
    )


def _side_by_side(
    chosen: Sequence[tuple[str, BenchmarkResult]], verdicts: Mapping[str, Sequence[Verdict]]
) -> Section:
    heads = ("figure", *(name for name, _ in chosen))
    runs = [result for _, result in chosen]
    body: list[list[str]] = [
        ["address", *(run.scoring_uri for run in runs)],
        ["load", *(run.loop for run in runs)],
        ["requests", *(f"{run.completed:,} of {run.rows or '?'} row(s)" for run in runs)],
        ["seconds", *(f"{run.seconds:.2f}" for run in runs)],
        ["good replies/s", *(f"{run.requests_per_second:,.1f}" for run in runs)],
        ["failed", *(f"{run.failed:,}" for run in runs)],
        ["unfinished", *(f"{run.unfinished:,}" for run in runs)],
        *(
            [f"p{p:g}", *(f"{ms(run.percentile(p)) if run.latencies else '–'} ms" for run in runs)]
            for p in PERCENTILES
        ),
        ["longest", *(f"{ms(run.percentile(100) if run.latencies else None)} ms" for run in runs)],
    ]
    if any(run.corrected for run in runs):
        body.append(
            ["p99, corrected", *(f"{ms((run.corrected or {}).get('p99'))} ms" for run in runs)]
        )
    body += [
        ["client CPU a request", *(f"{run.client_ms:.2f} ms" for run in runs)],
        ["client busy", *(f"{run.client_busy:.0%} of a core" for run in runs)],
    ]
    tables: list[Table] = [rows("What was measured", heads, body)]
    judged = [
        [name, verdict.sentence.partition(":")[0], "met" if verdict.met else "missed",
         verdict.target.shown(verdict.found)]
        for name, found in verdicts.items()
        for verdict in found
    ]  # fmt: skip
    if judged:
        tables.append(rows("Objectives", ("endpoint", "objective", "verdict", "found"), judged))
    failures: list[list[str | int]] = [
        [name, failure.kind, failure.count, failure.message]
        for name, run in chosen
        for failure in run.failures
    ]
    if failures:
        tables.append(rows("Failures", ("endpoint", "kind", "count", "the first one"), failures))
    good = [(name, run) for name, run in chosen if run.latencies]
    pictures: tuple[Picture, ...] = ()
    if len(good) > 1:
        told = "; ".join(f"{name} p99 {ms(run.percentile(99))} ms" for name, run in good)
        pictures = (
            Picture(
                figures.percentiles(good),
                f"Latency by percentile of each endpoint: {told}.",
                "Latency that a share of the requests did not exceed, by endpoint.",
            ),
        )
    return Section("Figures", (), pictures, tuple(tables))


def _steps(measured: Mapping[str, Sweep], targets: Sequence[Target]) -> Section:
    body: list[list[str | float]] = [
        [name, run.concurrency, round(run.requests_per_second, 1), round(run.percentile(50), 2),
         round(run.percentile(99), 2), f"{run.error_share:.2%}", f"{run.client_busy:.0%}",
         "knee" if run is found.knee else ""]
        for name, found in measured.items()
        for run in found.results
    ]  # fmt: skip
    text = [
        "The knee is the lowest concurrency that reaches 95% of the best throughput; beyond it "
        "requests only wait for each other."
    ]
    for name, found in measured.items():
        text.append(f"{name}: the knee is at {found.knee.concurrency} at a time.{_still(found)}")
        if targets:
            within = found.within(targets)
            text.append(
                f"{name}: no step meets the objectives."
                if within is None
                else f"{name}: within the objectives the best is {within.requests_per_second:,.0f} "
                f"good replies/s, at {within.concurrency} at a time."
            )
    drawable = [
        (name, found) for name, found in measured.items()
        if len(found.results) > 1 and all(run.latencies for run in found.results)
    ]  # fmt: skip
    pictures: tuple[Picture, ...] = ()
    if drawable:
        pictures = (
            Picture(
                figures.steps(drawable),
                "Throughput and p99 latency over concurrency.",
                "Throughput stops to rise at the knee, latency goes on rising.",
            ),
        )
    heads = ("endpoint", "at a time", "good/s", "p50 ms", "p99 ms", "failed", "client", "")
    return Section("Steps of concurrency", tuple(text), pictures, (rows("Steps", heads, body),))


def _still(found: Sweep) -> str:
    return " Throughput was still rising at the last step: try more." if found.rising else ""


def _run(name: str, result: BenchmarkResult) -> Section:
    if not result.latencies:
        return Section(name, ("There was no good reply to draw.",))
    return Section(
        name,
        (),
        (
            Picture(
                figures.distribution(result),
                f"Histogram of {result.good:,} latencies; median {ms(result.percentile(50))} ms.",
                "How often each latency occurred.",
            ),
            Picture(
                figures.percentiles([(name, result)]),
                f"Latency by percentile; p99 {ms(result.percentile(99))} ms.",
                "Latency that a share of the requests did not exceed.",
            ),
            Picture(
                figures.timeline(result),
                "Throughput and latency over the time of the run.",
                "A gap in the throughput is a stall."
                + (" Dashed: the rate that was due." if result.rate else ""),
            ),
        ),
    )


def _differences(differences: Sequence[Difference], remarks: Sequence[str]) -> Section:
    body = [
        [
            each.run,
            each.figure,
            _figure(each.then),
            _figure(each.now),
            f"× {each.ratio:.2f}" if each.ratio is not None else "–",
        ]
        for each in differences
    ]
    tables = (
        (rows("Then and now", ("run", "figure", "then", "now", "ratio"), body),) if body else ()
    )
    return Section("Against the saved run", tuple(remarks), (), tables)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"
