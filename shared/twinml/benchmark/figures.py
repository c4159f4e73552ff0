"""The pictures of a benchmark, as bytes of PNG files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twinml.benchmark._result import BenchmarkResult
from twinml.benchmark.sweep import Sweep
from twinml.errors import UsageError
from twinml.pages.figure_style import BLUE, DASHES, GREY, INK, ORANGE, PALETTE, WIDTH, canvas, drawn

__all__ = ["distribution", "overview", "percentiles", "steps", "timeline"]

Named = Sequence[tuple[str, BenchmarkResult]]
MARKS = ((50, INK, "-"), (95, ORANGE, "--"), (99, "#96407f", ":"))
TICKS = {1: "0", 2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99", 100_000: "99.999"}


def _histogram(axes: Axes, result: BenchmarkResult) -> None:
    ordered = result.ordered
    # A few stragglers would press all the rest into one bar: they are counted in the label.
    edge = max(result.percentile(99) * 1.25, ordered[0] * 1.05)
    beyond = sum(value > edge for value in ordered)
    axes.hist(
        [value for value in ordered if value <= edge],
        bins=min(50, max(10, result.good // 10)),
        color=BLUE,
    )
    for percent, colour, dash in MARKS:
        value = result.percentile(percent)
        axes.axvline(
            value, color=colour, linestyle=dash, linewidth=1.5, label=f"p{percent} {value:.3g} ms"
        )
    axes.legend(frameon=False, fontsize=8)
    note = f" ({beyond} beyond {edge:.3g} ms not shown)" if beyond else ""
    axes.set(xlabel=f"latency in ms{note}", ylabel="requests", title="How often")
    axes.set_xlim(left=0)


def _by_percentile(axes: Axes, runs: Named) -> None:
    """Draw latency over percentile; the distance from 100 % on a log scale gives the tail room."""
    most = 2
    for place, (name, result) in enumerate(runs):
        good = result.good
        most = max(most, good)
        axes.plot(
            [good / (good - rank) for rank in range(good)],
            result.ordered,
            color=PALETTE[place % len(PALETTE)],
            linestyle=DASHES[place % len(DASHES)],
            drawstyle="steps-post",
            label=name,
        )
    axes.set_xscale("log")
    shown = {at: name for at, name in TICKS.items() if at <= most}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.minorticks_off()
    axes.set(xlabel="per cent of requests", ylabel="latency in ms", title="At most")
    axes.set_ylim(bottom=0)


@drawn
def distribution(result: BenchmarkResult) -> Figure:
    """Draw how often each latency occurred."""
    figure, axes = canvas(3.4)
    _histogram(axes, result)
    return figure


@drawn
def percentiles(runs: Named) -> Figure:
    """Draw latency by percentile, a line for each run."""
    figure, axes = canvas(3.4)
    _by_percentile(axes, runs)
    if len(runs) > 1:
        axes.legend(loc="upper left")
    return figure


@drawn
def overview(result: BenchmarkResult) -> Figure:
    """Draw how often each latency occurred beside latency by percentile.

    Raises
    ------
    UsageError
        There was no good reply to draw.
    """
    if not result.latencies:
        raise UsageError(
            "there is no good reply to draw", hint="Look at the failures and try again."
        )
    figure = Figure(figsize=(1.6 * WIDTH, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _histogram(left, result)
    _by_percentile(right, [("", result)])
    figure.suptitle(
        f"{result.good:,} good replies, {result.failed:,} failures, concurrency "
        f"{result.concurrency}: {result.requests_per_second:,.0f} requests/s",
        fontsize=11,
    )
    return figure


@drawn
def timeline(result: BenchmarkResult) -> Figure:
    """Draw throughput and failures over time, and below them the median and p99 latency."""
    moments = result.timeline()
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
    width = moments[0].seconds
    middle = [moment.at + width / 2 for moment in moments]
    upper.bar(
        middle, [moment.good / width for moment in moments], width=width, color=BLUE, label="good"
    )
    if any(moment.failed for moment in moments):
        upper.bar(
            middle,
            [moment.failed / width for moment in moments],
            bottom=[moment.good / width for moment in moments],
            width=width,
            color=ORANGE,
            label="failed",
        )
        upper.legend(loc="lower right")
    if result.rate is not None:
        upper.axhline(result.rate, color=INK, linewidth=1.1, linestyle="--")
    upper.set(ylabel="replies/s", title="Throughput")
    gap = np.nan
    for label, colour, values in (
        ("median", BLUE, [gap if m.p50 is None else m.p50 for m in moments]),
        ("p99", ORANGE, [gap if m.p99 is None else m.p99 for m in moments]),
    ):
        lower.plot(middle, values, color=colour, marker="o", markersize=2.5, label=label)
    lower.legend(loc="upper right")
    lower.set(xlabel="seconds", ylabel="ms", title="Latency of the replies that came then")
    lower.set_ylim(bottom=0)
    return figure


@drawn
def steps(named: Sequence[tuple[str, Sweep]]) -> Figure:
    """Draw throughput and p99 over concurrency, the knee of each endpoint marked."""
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for place, (name, sweep) in enumerate(named):
        colour, dash = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
        at = [result.concurrency for result in sweep.results]
        upper.plot(
            at,
            [result.requests_per_second for result in sweep.results],
            color=colour, linestyle=dash, marker="o", label=name,
        )  # fmt: skip
        lower.plot(
            at,
            [result.percentile(99) for result in sweep.results],
            color=colour, linestyle=dash, marker="o",
        )  # fmt: skip
        knee = sweep.knee
        for axes in (upper, lower):
            axes.axvline(knee.concurrency, color=GREY if len(named) == 1 else colour, linewidth=1)
        upper.annotate(
            "knee", (knee.concurrency, 0), xytext=(3, 3), textcoords="offset points", color=INK
        )
    upper.set(ylabel="good replies/s", title="Throughput")
    upper.set_ylim(bottom=0)
    lower.set(xlabel="requests under way at a time", ylabel="ms", title="p99 latency")
    lower.set_ylim(bottom=0)
    lower.set_xscale("log", base=2)
    ticks = sorted({result.concurrency for _, sweep in named for result in sweep.results})
    lower.set_xticks(ticks, [str(tick) for tick in ticks])
    if len(named) > 1:
        upper.legend(loc="lower right")
    return figure
