"""The picture of an explanation: from the base to the score of a row, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from twinml.pages.figure_style import BLUE, INK, MUTED, ORANGE, WIDTH, drawn
from twinml.pages.wording import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from twinml.explanation.members import Explanation

__all__ = ["contributions"]

MOST_ROWS = 3
MOST_FEATURES = 9


@drawn
def contributions(found: Explanation) -> Figure:
    """Draw the first rows as waterfalls, and with more the mean strength of every feature."""
    shown = min(len(found.base), MOST_ROWS)
    panels = shown + (len(found.base) > 1)
    bars = min(len(found.features), MOST_FEATURES) + 1
    figure = Figure(figsize=(WIDTH, panels * (0.75 + 0.2 * bars)), layout="constrained")
    for place in range(shown):
        _waterfall(figure.add_subplot(panels, 1, place + 1), found, place)
    if panels > shown:
        _strength(figure.add_subplot(panels, 1, panels), found)
    return figure


def _waterfall(axes: Axes, found: Explanation, row: int) -> None:
    strongest = found.strongest(row, MOST_FEATURES)
    rest = float(found.contributions[row].sum()) - sum(value for _, value in strongest)
    steps = [("all others", rest), *strongest[::-1]]
    if len(found.features) <= MOST_FEATURES:
        steps = steps[1:]
    at = float(found.base[row])
    for place, (_, value) in enumerate(steps):
        axes.barh(place, value, left=at, color=BLUE if value > 0 else ORANGE, height=0.65)
        axes.text(
            max(at, at + value), place, f" {value:+.2f}", va="center", fontsize=7.5, color=INK
        )
        at += value
    axes.axvline(float(found.base[row]), color=MUTED, linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(steps)), [shorten(name, 24) for name, _ in steps], fontsize=8)
    axes.use_sticky_edges = False  # room for the numbers beyond the last bar
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.set_title(
        f"row {row}: {found.told(row, digits=3, longest=16)}, "
        f"from base {found.base[row]:+.2f} to {found.score[row]:+.2f} {found.unit}"
    )


def _strength(axes: Axes, found: Explanation) -> None:
    mean = np.abs(found.contributions).mean(axis=0)
    order = np.argsort(mean)[-MOST_FEATURES:]
    axes.barh(range(len(order)), mean[order], color=BLUE, height=0.65)
    axes.set_yticks(
        range(len(order)), [shorten(found.features[place], 24) for place in order], fontsize=8
    )
    axes.grid(axis="y", visible=False)
    axes.set_title(f"mean |contribution| over {len(found.base):,} rows, {found.unit}")
