"""The page of a probe: what moved predictions, how they answer to each feature, and who is near."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from twinml.pages.figure import Picture
from twinml.pages.figure_style import BLUE, INK, MUTED, ORANGE, WIDTH, drawn
from twinml.pages.result_page import ResultPage, Section, Tile, rows
from twinml.pages.wording import shorten
from twinml.probe._perturbations import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from twinml.probe._neighbours import Neighbour
    from twinml.probe._response_curves import ResponseCurve
    from twinml.probe.run import ProbeResult, Shift

__all__ = ["result_page"]

MOST_CURVES = 8


def result_page(
    result: ProbeResult,
    responses: Sequence[ResponseCurve],
    neighbours: Sequence[tuple[Shift, Neighbour]],
    remarks: Sequence[str],
) -> ResultPage:
    """Return the page; ``remarks`` say what was compared with."""
    counts = result.counts
    broken = [one for one in responses if one.violations]
    bad = counts["failed"] or counts["broken"] or broken
    sections = [_changes(result)]
    if responses:
        sections.append(_responses(responses))
    declared = [one for one in responses if one.declared]
    if declared:
        sections.append(_monotonic(declared, result.n_base))
    if neighbours:
        sections.append(_nearest(neighbours))
    told = [
        f"{counts['failed']} probes made the model fail" if counts["failed"] else "",
        f"{counts['broken']} rows got what is no prediction" if counts["broken"] else "",
        f"{', '.join(one.feature for one in broken)} broke what was declared" if broken else "",
    ]
    return ResultPage(
        f"{result.name}: rows that training never saw",
        kind="Probe",
        verdict=(
            "; ".join(part for part in told if part).capitalize() + "."
            if bad
            else "Every probe was answered or refused with a reason."
        ),
        reason=" ".join(remarks),
        good=not bad,
        tiles=(
            Tile("probes", f"{counts['probes']}", f"of {len(result.features)} features"),
            Tile("answered", f"{counts['answered']}"),
            Tile("refused", f"{counts['refused']}", "with a reason"),
            Tile("labels flipped", f"{counts['flips']:,}", f"of {counts['rows']:,} rows"),
        ),
        sections=tuple(sections),
    )


def _changes(result: ProbeResult) -> Section:
    worst = result.worst(25)
    with tempfile.TemporaryDirectory() as scratch:
        png = result.picture(Path(scratch) / "probe.png").read_bytes()
    told = ", ".join(f"{one.feature} {one.probe} {_number(one.mean_change)}" for one in worst[:8])
    table = rows(
        "The worst probes: failures, then the largest mean change",
        (
            "feature",
            "probe",
            "sent",
            f"mean {result.change}",
            f"max {result.change}",
            "labels flipped",
            "OOD score",
        ),
        [
            (
                one.feature,
                one.probe,
                short(one.sent, 40),
                _number(one.mean_change) if one.outcome == "answered" else one.outcome,
                _number(one.max_change),
                f"{one.flips} of {one.rows}",
                _number(one.ood),
            )
            for one in worst
        ],
    )
    return Section(
        "How far predictions move",
        (
            "An OOD score of 1 says that the model's own scorer sees that training never had such "
            "a row; probes with a low score and a large change deserve a look.",
        ),
        (
            Picture(
                png,
                f"Mean change of the prediction by feature and probe. Worst: {told}.",
                "Mean absolute change of the prediction when one feature is changed.",
            ),
        ),
        (table,),
    )


def _responses(responses: Sequence[ResponseCurve]) -> Section:
    shown = responses[:MOST_CURVES]
    told = "; ".join(
        f"{one.feature}: mean prediction {min(one.mean):.2f} to {max(one.mean):.2f}"
        for one in shown
    )
    table = rows(
        "All features, by how far the mean prediction goes inside the training range",
        ("feature", "lowest mean", "highest mean", "reach in range", "rows that flip in range %"),
        [
            (one.feature, min(one.mean), max(one.mean), one.reach, 100 * one.flipping)
            for one in responses
        ],
    )
    picture = Picture(
        curves(shown),
        f"Answers to single features. {told}.",
        "Probability of the last class, or the predicted number, while one feature changes and "
        "the others stay: mean and 10th to 90th percentile of the rows. Grey: beyond what "
        "training had.",
    )
    return Section("How predictions answer to each feature", pictures=(picture,), tables=(table,))


def _monotonic(declared: Sequence[ResponseCurve], n_base: int) -> Section:
    table = rows(
        "Declared directions",
        ("feature", "declared", "rows against it", "largest step against it"),
        [
            (
                one.feature,
                "never falls" if one.declared == "+" else "never rises",
                f"{one.violations} of {n_base}",
                one.worst,
            )
            for one in declared
        ],
    )
    return Section("Monotonic where declared", tables=(table,))


def _nearest(neighbours: Sequence[tuple[Shift, Neighbour]]) -> Section:
    table = rows(
        "Gower's distance, 0 (equal) to 1, of a row that a probe sent to the nearest row kept with "
        "the model, whose values are those of training rows that are alike",
        ("feature", "probe", "sent", "distance", "differs in"),
        [
            (
                shift.feature,
                shift.probe,
                short(shift.sent, 40),
                one.distance,
                short(", ".join(one.differs) or "nothing", 60),
            )
            for shift, one in neighbours
        ],
    )
    return Section("Nearest training rows", tables=(table,))


@drawn
def curves(responses: Sequence[ResponseCurve]) -> Figure:
    """Draw mean and spread of the probability over each feature, two panels a line."""
    lines = -(-len(responses) // 2)
    figure = Figure(figsize=(WIDTH, 0.2 + 1.75 * lines), layout="constrained")
    panels = np.atleast_1d(figure.subplots(lines, 2)).ravel()
    for axes, one in zip(panels, responses, strict=False):
        _draw(axes, one)
    for axes in panels[len(responses) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, one: ResponseCurve) -> None:
    inside, mean = np.array(one.inside), np.array(one.mean)
    numeric = all(isinstance(value, (int, float)) for value in one.values) and len(one.values) > 2
    places = np.array(one.values, dtype=np.float64) if numeric else np.arange(len(one.values))
    if numeric:
        axes.fill_between(places, one.low, one.high, color=BLUE, alpha=0.15, lw=0)
        axes.plot(places, mean, color=ORANGE if one.violations else BLUE, linewidth=1.5)
        for beyond in (places[inside].min(), places[inside].max()):
            axes.axvline(beyond, color=MUTED, linewidth=0.7, linestyle=(0, (3, 2)))
        axes.axvspan(places[0], places[inside].min(), color=MUTED, alpha=0.12, lw=0)
        axes.axvspan(places[inside].max(), places[-1], color=MUTED, alpha=0.12, lw=0)
    else:
        spread = [mean - np.array(one.low), np.array(one.high) - mean]
        axes.errorbar(
            places, mean, np.maximum(spread, 0), fmt="o", color=BLUE, ecolor="#9dc3dd", ms=4
        )
        axes.set_xticks(
            places, [shorten(value, 11) for value in one.values], rotation=45, ha="right"
        )
    axes.set_ylim(-0.03, 1.03)
    axes.tick_params(labelsize=7)
    axes.set_title(shorten(one.feature, 24), color=INK, fontsize=9)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
