"""The pictures of the report: each function draws one and returns it as the bytes of a PNG.

All share one width, one type size and one colour-blind-safe palette: blue is the main
estimate, orange the forward-in-time one, grey what they are compared with. No global
state of matplotlib is touched beyond a style that ends with the call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from twinml.pages.figure_style import (
    BLUE,
    DASHES,
    HEAT,
    INK,
    MUTED,
    PALETTE,
    WIDTH,
    canvas,
    drawn,
)
from twinml.pages.wording import number, percent, quantity, shorten
from twinml.report._measures import Measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twinml.training.result import Evaluation

__all__ = [
    "MAX_CONFUSION_CLASSES",
    "MAX_CURVES",
    "MAX_LINES",
    "Curve",
    "Line",
    "calibration",
    "confusion",
    "dependence",
    "gain",
    "importance",
    "leaderboard",
    "lift",
    "precision_recall",
    "roc",
    "scores",
    "splits",
]

MAX_CURVES = 6
MAX_CONFUSION_CLASSES = 20
MAX_LINES = 4
MAX_BARS = 15


@dataclass(frozen=True)
class Line:
    """A candidate: its figure with the ends of its interval, NaN where it is not known."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One line of a curve picture: did the event happen, and the score given to it, by row.

    ``hit`` and ``score`` have shape (n,); ``mark`` is the pair (false, true) positive rate
    at the decision threshold with the precision there, where there is one.
    """

    name: str
    hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    mark: tuple[float, float, float] | None = None

    @property
    def drawable(self) -> bool:
        """Whether both outcomes occur, without which no curve is defined."""
        return bool(self.hit.any() and not self.hit.all())


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def _colours(n: int) -> Iterator[tuple[str, Any]]:
    return iter(zip(PALETTE[:n], DASHES[:n], strict=True))


@drawn
def splits(measures: Sequence[Measure], estimates: Sequence[tuple[str, Evaluation]]) -> Figure:
    """Draw each estimate with its 95% interval, one row a metric, above its baseline.

    Only metrics between 0 and 1 of which more is better belong on this axis.
    """
    figure, axes = canvas(1.25 + 0.52 * len(measures))
    shift = 0.17 if len(estimates) > 1 else 0.0
    for place, (_, found) in enumerate(estimates):
        colour = PALETTE[place]
        offset = (place - (len(estimates) - 1) / 2) * 2 * shift
        for row, each in enumerate(measures):
            value = found.metrics.get(each.name)
            if value is None or not math.isfinite(value.value):
                continue
            y = row + offset
            axes.plot([value.low, value.high], [y, y], color=colour, linewidth=2.4, alpha=0.55)
            axes.plot(value.value, y, "o", color=colour, markersize=6)
            axes.annotate(
                number(value.value), (value.high, y), (6, 0), textcoords="offset points",
                va="center", color=colour, fontsize=9,
            )  # fmt: skip
            base = found.baseline.get(each.name)
            if base is not None and math.isfinite(base):
                axes.plot([base, base], [y - 0.14, y + 0.14], color=MUTED, linewidth=1.8)
    axes.set(xlim=(0, 1.1), ylim=(len(measures) - 0.45, -0.55))
    axes.set_yticks(range(len(measures)), [each.label for each in measures], color=INK)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("more is better")
    handles = [
        Line2D([], [], color=PALETTE[place], marker="o", linewidth=2.4, label=name)
        for place, (name, _) in enumerate(estimates)
    ]
    handles.append(
        Line2D(
            [], [], color=MUTED, marker="|", markersize=9, markeredgewidth=1.8,
            linewidth=0, label="baseline",
        )
    )  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


@drawn
def leaderboard(lines: Sequence[Line], chosen_by: Measure, baseline: float | None) -> Figure:
    """Draw a dot a candidate, best at the top, with its interval, on an axis of their range.

    The baseline is drawn where it lies in that range, and else is a remark.
    """
    shown = [each for each in lines if math.isfinite(each.value)][:MAX_BARS]
    figure, axes = canvas(1.25 + 0.34 * max(len(shown), 1))
    ends = [end for each in shown for end in (each.value, each.low, each.high)]
    known = [end for end in ends if math.isfinite(end)] or [0.0, 1.0]
    low, high = min(known), max(known)
    room = (high - low) * 0.06 or abs(high) * 0.01 or 0.01
    for row, each in enumerate(shown):
        colour = BLUE if row == 0 else MUTED
        if math.isfinite(each.low) and math.isfinite(each.high):
            axes.plot([each.low, each.high], [row, row], color=colour, linewidth=2, alpha=0.5)
        axes.plot(each.value, row, "o", color=colour, markersize=6.5)
        axes.annotate(
            number(each.value, 4), (each.value, row), (0, 6), textcoords="offset points",
            ha="center", fontsize=8.5, color=colour,
        )  # fmt: skip
    axes.set(xlim=(low - room, high + room), ylim=(len(shown) - 0.4, -0.75))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_yticks(range(len(shown)), [shorten(each.name, 20) for each in shown], color=INK)
    axes.grid(visible=False, axis="y")
    way = "more is better" if chosen_by.higher_is_better else "less is better"
    axes.set_xlabel(f"{chosen_by.label}, out of fold ({way})")
    if baseline is not None and math.isfinite(baseline):
        if low - room <= baseline <= high + room:
            axes.axvline(baseline, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.set_title(
            f"baseline {number(baseline, 4)}", fontsize=8.5, color=MUTED, fontweight="normal"
        )
    return figure


@drawn
def roc(curves: Sequence[Curve], areas: Mapping[str, float]) -> Figure:
    """Draw receiver operating characteristics; ``areas`` by curve name, for the labels."""
    from sklearn.metrics import roc_curve

    figure, axes = canvas(4.6)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    axes.annotate("guessing", (0.56, 0.5), color=MUTED, fontsize=8.5)
    for curve, (colour, dash) in zip(curves, _colours(len(curves)), strict=False):
        false_rate, true_rate, _ = roc_curve(curve.hit, curve.score)
        label = f"{shorten(curve.name, 22)}  {number(areas[curve.name])}"
        axes.plot(false_rate, true_rate, color=colour, linestyle=dash, linewidth=2, label=label)
        if curve.mark:
            axes.plot(*curve.mark[:2], "o", color=colour, markersize=7, markeredgecolor="white")
    _unit_square(axes)
    axes.set(xlabel="share of other rows named by mistake", ylabel="share of rows found")
    axes.legend(loc="lower right", title="area under the curve", alignment="left")
    return figure


@drawn
def precision_recall(curves: Sequence[Curve], areas: Mapping[str, float]) -> Figure:
    """Draw precision against recall; a dotted line is the share of the class among the rows."""
    from sklearn.metrics import precision_recall_curve

    figure, axes = canvas(4.6)
    for curve, (colour, dash) in zip(curves, _colours(len(curves)), strict=False):
        precision, recall, _ = precision_recall_curve(
            curve.hit, curve.score, drop_intermediate=True
        )
        label = f"{shorten(curve.name, 22)}  {number(areas[curve.name])}"
        axes.plot(recall, precision, color=colour, linestyle=dash, linewidth=2, label=label)
        axes.axhline(curve.hit.mean(), color=colour, linewidth=1, linestyle=(0, (1, 3)))
        if curve.mark:
            _, found, exact = curve.mark
            axes.plot(found, exact, "o", color=colour, markersize=7, markeredgecolor="white")
    _unit_square(axes)
    axes.set(
        xlabel="recall: share of rows found", ylabel="precision: share of finds that are right"
    )
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left",
        ncols=2, title="average precision", alignment="left",
    )  # fmt: skip
    return figure


@drawn
def calibration(curves: Sequence[Curve], xlabel: str, ylabel: str, bins: int = 10) -> Figure:
    """Draw observed shares against predicted probabilities, with the rows in each bin below.

    Whiskers are 95% Wilson intervals of the observed share.
    """
    figure = Figure(figsize=(WIDTH, 4.6 + 0.55 * (len(curves) - 1)), layout="constrained")
    heights = [3.4] + [0.8] * len(curves)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    top = panels[0]
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    edges = np.linspace(0, 1, bins + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    for curve, below, (colour, dash) in zip(curves, panels[1:], _colours(len(curves)), strict=True):
        place = np.clip((curve.score * bins).astype(int), 0, bins - 1)
        rows = np.bincount(place, minlength=bins)
        used = rows > 0
        n = rows[used]
        share = np.bincount(place, curve.hit, bins)[used] / n
        mean = np.bincount(place, curve.score, bins)[used] / n
        low, high = _wilson(share, n)
        whiskers = np.clip([share - low, high - share], 0, None)
        top.errorbar(
            mean, share, whiskers, color=colour, linestyle=dash, linewidth=1.8, marker="o",
            markersize=5, elinewidth=1.1, label=shorten(curve.name, 24),
        )  # fmt: skip
        below.bar(middles, rows, width=0.85 / bins, color=colour, alpha=0.35)
        for x, count in zip(middles, rows, strict=True):
            below.annotate(
                f"{count:,}", (x, count), (0, 2), textcoords="offset points", ha="center",
                fontsize=7.5, color=MUTED,
            )  # fmt: skip
        below.set(ylim=(0, max(int(rows.max()), 1) * 1.35), yticks=[])
        below.grid(visible=False)
        below.set_ylabel("rows")
    _unit_square(top)
    top.set_ylabel(ylabel)
    panels[-1].set_xlabel(xlabel)
    if len(curves) > 1:
        top.legend(loc="upper left")
    return figure


def _wilson(
    share: NDArray[np.float64], n: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    z = 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


@drawn
def confusion(counts: NDArray[np.int64], classes: Sequence[object], title: str) -> Figure:
    """Draw a confusion matrix, shape (k, k), rows the true classes, shaded by share of the row."""
    k = len(classes)
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    figure, axes = canvas(min(2.4 + 0.55 * k, 5.6))
    axes.imshow(share, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    size = 10.5 if k <= 4 else 8 if k <= 10 else 6
    for true, named in np.ndindex(k, k):
        part = float(share[true, named])
        if k <= 6:
            text = f"{counts[true, named]:,}\n{percent(part)}"
        else:
            text = f"{100 * part:.0f}" if part >= 0.005 else ""
        axes.text(
            named, true, text, ha="center", va="center", fontsize=size,
            color="white" if part > 0.45 else INK,
        )  # fmt: skip
    names = [shorten(each, 14) for each in classes]
    turned: dict[str, Any] = {}
    if k > 4:
        turned = {"rotation": 55, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(k), names, color=INK, fontsize=9, **turned)
    axes.set_yticks(range(k), names, color=INK, fontsize=9)
    axes.set_title(shorten(title, 48))
    axes.set_xticks(np.arange(0.5, k - 1), minor=True)
    axes.set_yticks(np.arange(0.5, k - 1), minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    unit = "" if k <= 6 else " (per cent of the true class)"
    axes.set(xlabel=f"predicted{unit}", ylabel="true")
    return figure


@drawn
def scores(
    groups: Sequence[tuple[str, NDArray[np.float64]]], xlabel: str, threshold: float | None
) -> Figure:
    """Draw how scores spread in each group of rows, each group as shares of itself."""
    figure, axes = canvas(5.15)
    edges = np.linspace(0, 1, 41).tolist()
    looks = (("#6b737c", 0.35), (PALETTE[2], 0.45))
    for (name, values), (colour, alpha) in zip(groups, looks, strict=False):
        weight = np.full(len(values), 1 / max(len(values), 1))
        rows = f"{shorten(name, 20)}  ({len(values):,} rows)"
        axes.hist(values, edges, weights=weight, color=colour, alpha=alpha, label=rows)
        axes.hist(values, edges, weights=weight, color=colour, histtype="step", linewidth=1.6)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        left = threshold > 0.6
        axes.annotate(
            f"threshold {number(threshold)}", (threshold, 0.62), (-5 if left else 5, 0),
            xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="right" if left else "left", fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set(xlabel=xlabel, ylabel="share of the group")
    axes.legend(loc="upper right", labelcolor=INK)
    return figure


@drawn
def gain(curves: Sequence[Curve]) -> Figure:
    """Draw the share of a class found against the share of rows taken, best scores first."""
    figure, axes = canvas(4.0)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    for curve, (colour, dash) in zip(curves, _colours(len(curves)), strict=False):
        taken, found = cumulative(curve)
        axes.plot(
            taken, found, color=colour, linestyle=dash, linewidth=2, label=shorten(curve.name, 22)
        )
    _unit_square(axes)
    axes.set(xlabel="share of rows taken, highest scores first", ylabel="share of the class found")
    axes.legend(loc="lower right")
    return figure


def cumulative(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shares of the rows taken, from the highest score down, and of the hits among them.

    Examples
    --------
    >>> cumulative(Curve("a", np.array([False, True, False]), np.array([0.1, 0.9, 0.2])))[1]
    array([0., 1., 1., 1.])
    """
    order = np.argsort(-curve.score, kind="stable")
    found = np.concatenate([[0.0], np.cumsum(curve.hit[order])]) / max(int(curve.hit.sum()), 1)
    return np.linspace(0, 1, len(found)), found


@drawn
def lift(curves: Sequence[Curve]) -> Figure:
    """Draw, for each tenth of the rows from the highest scores down, the share over the mean."""
    figure, axes = canvas(3.2)
    width = 0.8 / max(len(curves), 1)
    for place, (curve, (colour, _)) in enumerate(zip(curves, _colours(len(curves)), strict=False)):
        at = np.arange(10) + (place - (len(curves) - 1) / 2) * width
        axes.bar(at, tenths(curve), width * 0.92, color=colour, label=shorten(curve.name, 22))
    axes.axhline(1, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.set_xticks(range(10), [str(tenth) for tenth in range(1, 11)])
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="tenth of the rows, highest scores first", ylabel="times the mean share")
    axes.legend(loc="upper right")
    return figure


def tenths(curve: Curve) -> NDArray[np.float64]:
    """Return the share of hits in each tenth of the rows over that of all rows, shape (10,)."""
    order = np.argsort(-curve.score, kind="stable")
    parts = np.array_split(curve.hit[order], 10)
    mean = max(float(curve.hit.mean()), 1e-12)
    return np.array([float(part.mean()) / mean if len(part) else math.nan for part in parts])


@drawn
def dependence(
    feature: str,
    values: Sequence[Any],
    lines: Sequence[tuple[str, NDArray[np.float64]]],
    ylabel: str,
) -> Figure:
    """Draw mean predictions at values of a column, a line a class; texts as rows of dots."""
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool)
                  for value in values)  # fmt: skip
    figure, axes = canvas(2.7 if numeric else 1.2 + 0.27 * len(values))
    for (name, given), (colour, dash) in zip(lines, _colours(len(lines)), strict=False):
        label = shorten(name, 22)
        if numeric:
            axes.plot(values, given, color=colour, linestyle=dash, marker="o", markersize=4.5,
                      linewidth=1.8, label=label)  # fmt: skip
        else:
            axes.plot(given, range(len(values)), "o", color=colour, markersize=6, label=label)
    if numeric:
        axes.set(xlabel=shorten(feature, 40), ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    else:
        axes.set_yticks(range(len(values)), [shorten(quantity(value), 20) for value in values],
                        color=INK)  # fmt: skip
        axes.set(ylim=(len(values) - 0.5, -0.5), xlabel=ylabel)
        axes.set_title(shorten(feature, 40))
    if len(lines) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


@drawn
def importance(frame: pd.DataFrame, chosen_by: Measure) -> Figure:
    """Draw the drop of the metric when a column is shuffled, most important at the top."""
    shown = frame.head(MAX_BARS)
    figure, axes = canvas(1.0 + 0.31 * max(len(shown), 1))
    mean = shown["mean"].to_numpy(float)
    spread = np.nan_to_num(shown["std"].to_numpy(float))
    place = range(len(shown))
    axes.barh(place, mean, color=BLUE, height=0.62)
    if spread.any():
        axes.errorbar(mean, place, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2)
    for row, (value, width) in enumerate(zip(mean, spread, strict=True)):
        axes.annotate(
            number(value, 4), (max(value, 0) + width, row), (5, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=MUTED,
        )  # fmt: skip
    names = [shorten(name, 24) for name in shown["feature"]]
    axes.set_yticks(place, names, color=INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    reach = float(np.max(mean + spread, initial=0.0))
    low = float(np.min(mean - spread, initial=0.0))
    axes.set_xlim(min(low * 1.1, 0), max(reach, 1e-6) * 1.2)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"worse {chosen_by.label} when the column is shuffled")
    return figure
