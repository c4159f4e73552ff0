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
from numpy.typing import NDArray

from twinml.pages.figure_style import (
    BLUE,
    DASHES,
    GREY,
    HEAT,
    INK,
    MUTED,
    PALETTE,
    WIDTH,
    canvas,
    drawn,
)
from twinml.pages.wording import number, percent, shorten
from twinml.report._measures import Measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twinml.training.result import Candidate, Evaluation

__all__ = [
    "MAX_CONFUSION_CLASSES",
    "MAX_CURVES",
    "Curve",
    "calibration",
    "confusion",
    "importance",
    "leaderboard",
    "precision_recall",
    "roc",
    "scores",
    "splits",
]

MAX_CURVES = 6
MAX_CONFUSION_CLASSES = 20
MAX_BARS = 15


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
def leaderboard(
    candidates: Sequence[Candidate], chosen_by: Measure, baseline: float | None
) -> Figure:
    """Draw one bar a candidate, best at the top, with its distance from the best."""
    shown = [each for each in candidates if math.isfinite(_metric(each, chosen_by))][:MAX_BARS]
    figure, axes = canvas(1.2 + 0.36 * max(len(shown), 1))
    values = [_metric(each, chosen_by) for each in shown]
    colours = [BLUE] + [GREY] * (len(shown) - 1)
    axes.barh(range(len(shown)), values, color=colours[: len(shown)], height=0.62)
    reach = max([*values, baseline or 0.0, 1e-9])
    for row, value in enumerate(values):
        gap = value - values[0]
        text = number(value, 4) + (f"  ({gap:+.4f})".replace("-", "−") if row else "")
        axes.annotate(
            text, (value, row), (5, 0), textcoords="offset points", va="center", fontsize=9,
            color=BLUE if row == 0 else MUTED, bbox={"facecolor": "white", "lw": 0, "pad": 0.8},
        )  # fmt: skip
    if baseline is not None and math.isfinite(baseline):
        axes.axvline(baseline, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"baseline {number(baseline)}", (baseline, 1), (3, 3), fontsize=8.5, color=MUTED,
            xycoords=("data", "axes fraction"), textcoords="offset points",
        )  # fmt: skip
    axes.set(xlim=(0, reach * 1.34), ylim=(len(shown) - 0.4, -0.6))
    if chosen_by.higher_is_better and reach <= 1:
        axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(range(len(shown)), [shorten(each.name, 24) for each in shown], color=INK)
    axes.grid(visible=False, axis="y")
    way = "more is better" if chosen_by.higher_is_better else "less is better"
    axes.set_xlabel(f"{chosen_by.label}, out of fold ({way})")
    return figure


def _metric(candidate: Candidate, chosen_by: Measure) -> float:
    return float(candidate.metrics.get(chosen_by.name, math.nan))


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
def importance(frame: pd.DataFrame, chosen_by: Measure) -> Figure:
    """Draw the drop of the metric when a column is shuffled, most important at the top."""
    shown = frame.head(MAX_BARS)
    figure, axes = canvas(1.0 + 0.31 * max(len(shown), 1))
    mean = shown["mean"].to_numpy(float)
    spread = np.nan_to_num(shown["std"].to_numpy(float))
    place = range(len(shown))
    axes.barh(place, mean, color=BLUE, height=0.62)
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
