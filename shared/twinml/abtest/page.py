"""Pages of A/B tests: offline on labelled rows, and online as labels come in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from twinml.abtest._request_losses import METRICS
from twinml.abtest.offline import HIGHER_IS_BETTER, METRIC_NAMES, ABResult, Difference, small
from twinml.abtest.offline import RULE as OFFLINE_RULE
from twinml.pages.figure import Picture
from twinml.pages.figure_style import BLUE, GREY, INK, MUTED, ORANGE, WIDTH, drawn
from twinml.pages.result_page import ResultPage, Section, Tile, rows
from twinml.pages.wording import shorten

if TYPE_CHECKING:
    from twinml.abtest.online import OnlineResult
    from twinml.abtest.sequential import Track

__all__ = ["offline", "online"]

MOST_POINTS = 600


def online(result: OnlineResult) -> ResultPage:
    """Return the page of an online test: effect over time, arms, checks and guardrails."""
    a, b = result.arms
    title = METRICS[result.metric]
    sections = []
    if result.track is not None and np.isfinite(result.track.low).any():
        told = (
            f"B minus A in {title}: {result.difference:+.5f}, interval {result.low:+.5f} to "
            f"{result.high:+.5f} after {int(result.track.n[-1]):,} labelled requests."
        )
        sections.append(
            Section(
                "Effect over time",
                (
                    f"The band is the {1 - result.alpha:.0%} confidence sequence: it holds at "
                    "every request at once, so that one may look any time and stop when it leaves "
                    "the dotted line.",
                ),
                (
                    Picture(effect(result.track, title, result.effect), told, told),
                    Picture(
                        means(result.track, title, (a.deployment, b.deployment)),
                        f"{title} so far: A {a.value:.5f}, B {b.value:.5f}.",
                        f"{title.capitalize()} of each deployment so far.",
                    ),
                ),
            )
        )
    sections += [
        Section(
            "Deployments",
            tables=(
                rows(
                    "Collected requests",
                    ("", "deployment", "requests", "labelled", title, "standard deviation"),
                    [
                        (letter, arm.deployment, arm.requests, arm.labelled,
                         _or_dash(arm.value), _or_dash(arm.deviation))
                        for letter, arm in zip("AB", result.arms, strict=True)
                    ],
                ),
            ),
        ),
        Section(
            "Checks", (ONLINE_NOTE,), tables=(rows("What must hold", CHECKS, _checks(result)),)
        ),
    ]  # fmt: skip
    return ResultPage(
        f"{a.deployment} (A) against {b.deployment} (B)",
        kind="Online A/B test",
        verdict=_capital(result.verdict.decision) + ".",
        reason=_capital(result.verdict.reason) + ".",
        good=result.verdict.decision == "ship B",
        tiles=(
            Tile(f"B - A, {title}", _signed(result.difference)),
            Tile("confidence sequence", f"{_signed(result.low)} to {_signed(result.high)}"),
            Tile("always-valid p", small(result.p_value)),
            Tile("labelled requests", f"{a.labelled + b.labelled:,}",
                 f"of {a.requests + b.requests:,}"),
        ),
        sections=tuple(sections),
    )  # fmt: skip


ONLINE_NOTE = (
    "A comparison is only as good as the way requests came to A and B. Requests that name a "
    "deployment themselves are not shared out by chance."
)
CHECKS = ("check", "found", "passed")


def _checks(result: OnlineResult) -> list[tuple[str, str, str]]:
    lines = []
    if result.mismatch_p is not None and result.expected_share is not None:
        requests = sum(arm.requests for arm in result.arms)
        share = result.arms[1].requests / max(requests, 1)
        lines.append(
            (
                "sample ratio",
                f"{share:.1%} of the requests went to B, expected {result.expected_share:.1%} "
                f"(p {small(result.mismatch_p)})",
                "no" if result.mismatch_p < 0.001 else "yes",
            )
        )
    shares = [arm.labelled / max(arm.requests, 1) for arm in result.arms]
    lines.append(
        (
            "labels",
            f"known for {shares[0]:.1%} of A and {shares[1]:.1%} of B (p {small(result.labels_p)})",
            "no" if result.labels_p < 0.001 else "yes",
        )
    )
    lines += [
        (rail.name, rail.told, {True: "no", False: "yes", None: "cannot say"}[rail.broken])
        for rail in result.guardrails
    ]
    return lines


def offline(result: ABResult) -> ResultPage:
    """Return the page of a paired comparison: every difference with its interval."""
    told = "; ".join(
        f"{METRIC_NAMES[one.metric]} {one.difference:+.5f} ({one.low:+.5f} to {one.high:+.5f})"
        for one in result.differences
    )
    table = rows(
        f"{result.n_rows:,} labelled rows, both models on every row",
        ("metric", "A", "B", "B - A", "low", "high", "interval", "p", "test", "rows needed"),
        [
            (
                METRIC_NAMES[one.metric], one.a, one.b, one.difference, one.low, one.high,
                one.interval_method, "" if one.p_value is None else small(one.p_value), one.test,
                "" if one.required_rows is None else f"{one.required_rows:,}",
            )
            for one in result.differences
        ],
    )  # fmt: skip
    what = "Right on a row (McNemar" if result.n_classes else "Nearer on a row (sign test"
    agreement = rows(
        f"{what}: exact p {small(result.mcnemar_exact)}, mid-p {small(result.mcnemar_mid_p)})",
        ("both", "only A", "only B", "neither"),
        [(result.both_right, result.only_a_right, result.only_b_right, result.both_wrong)],
    )
    picture = Picture(
        differences(result.differences),
        f"B minus A with 95% intervals. {told}.",
        "B minus A with its 95% interval; right of the line B is better.",
    )
    return ResultPage(
        f"{result.names[0]} (A) against {result.names[1]} (B)",
        kind="Offline A/B test",
        verdict=_capital(result.verdict.decision) + ".",
        reason=_capital(result.verdict.reason) + ".",
        good=result.verdict.decision == "ship B",
        tiles=tuple(
            Tile(METRIC_NAMES[one.metric], _signed(one.difference), f"{one.a:.4f} to {one.b:.4f}")
            for one in result.differences
        ),
        sections=(Section("Differences", (OFFLINE_RULE,), (picture,), (table, agreement)),),
    )


@drawn
def effect(track: Track, title: str, smallest: float | None) -> Figure:
    """Draw the difference and its confidence sequence over labelled requests."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    shown = _spread(track)
    n = track.n[shown]
    axes.fill_between(n, track.low[shown], track.high[shown], color=BLUE, alpha=0.18, lw=0)
    axes.plot(n, track.difference[shown], color=BLUE, linewidth=1.6)
    axes.axhline(0, color=INK, linewidth=0.9, linestyle=":")
    for bound in () if smallest is None else (-smallest, smallest):
        axes.axhline(bound, color=ORANGE, linewidth=0.9, linestyle=(0, (4, 2)))
    # The first intervals are wide enough to hide all that follows.
    late = shown[len(shown) // 8 :]
    low, high = float(np.nanmin(track.low[late])), float(np.nanmax(track.high[late]))
    margin = 0.05 * (high - low or 1)
    axes.set_ylim(min(low, 0) - margin, max(high, 0) + margin)
    axes.set_xlabel("labelled requests of both")
    axes.set_ylabel(f"B - A, {title}")
    return figure


@drawn
def means(track: Track, title: str, names: tuple[str, str]) -> Figure:
    """Draw the metric of each arm so far."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    axes = figure.add_subplot()
    shown = _spread(track)
    for values, colour, letter, name in zip(
        (track.a, track.b), (MUTED, BLUE), "AB", names, strict=True
    ):
        axes.plot(track.n[shown], values[shown], color=colour, label=f"{letter}: {shorten(name)}")
    axes.set_xlabel("labelled requests of both")
    axes.set_ylabel(title)
    axes.legend()
    return figure


@drawn
def differences(given: tuple[Difference, ...]) -> Figure:
    """Draw each difference with its interval, turned so that right is better for B."""
    figure = Figure(figsize=(WIDTH, 0.95 * len(given) + 0.3), layout="constrained")
    for place, one in enumerate(given):
        axes = figure.add_subplot(len(given), 1, place + 1)
        sign = 1 if one.metric in HIGHER_IS_BETTER else -1
        low, high = sorted((sign * one.low, sign * one.high))
        colour = GREY if not one.significant else BLUE if one.gain > 0 else ORANGE
        axes.plot([low, high], [0, 0], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(one.gain, 0, "o", color=colour, markersize=7)
        axes.axvline(0, color=INK, linewidth=0.9, linestyle=":")
        reach = 1.15 * max(abs(low), abs(high), 1e-9)
        axes.set_xlim(-reach, reach)
        axes.set_yticks([0], [METRIC_NAMES[one.metric]])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.4f}")
        axes.tick_params(axis="x", labelsize=7.5)
    return figure


def _spread(track: Track) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return positions that have an interval, at most a few hundred, the last among them."""
    usable = np.flatnonzero(np.isfinite(track.low))
    chosen = np.unique(np.linspace(0, len(usable) - 1, MOST_POINTS).astype(np.int64))
    return usable[chosen]


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "–"


def _or_dash(value: float) -> float | str:
    return value if math.isfinite(value) else "–"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
