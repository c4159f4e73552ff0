"""The pictures of a drift report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from twinml.drift._compare import MAJOR, MODERATE, DriftReport, FeatureDrift
from twinml.drift._windows import Window
from twinml.pages.figure_style import BLUE, GREY, HEAT, INK, MUTED, ORANGE, WIDTH, canvas, drawn
from twinml.pages.wording import shorten

__all__ = ["histograms", "over_time", "stability"]

MOST_FEATURES = 25
MOST_HISTOGRAMS = 6
MOST_PARTS = 12


@drawn
def stability(report: DriftReport) -> Figure:
    """Draw the PSI of each feature as a bar, with the usual bounds."""
    shown = report.features[:MOST_FEATURES][::-1]
    figure, axes = canvas(height=1.1 + 0.24 * len(shown))
    values = [one.psi for one in shown]
    colours = [ORANGE if one.drifted else GREY for one in shown]
    axes.barh(range(len(shown)), values, color=colours, height=0.7)
    axes.set_yticks(range(len(shown)), [shorten(one.feature, 28) for one in shown])
    axes.set_xlim(0, max(0.3, max(values, default=0) * 1.12))
    for bound, name in ((MODERATE, "moderate"), (MAJOR, "major")):
        axes.axvline(bound, color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.text(bound, len(shown) - 0.35, f" {name}", color=MUTED, fontsize=8, va="bottom")
    axes.set_xlabel("population stability index (orange: drifted)")
    axes.grid(axis="y", visible=False)
    return figure


@drawn
def over_time(windows: Sequence[Window], order: Sequence[str]) -> Figure:
    """Draw the PSI of each feature in each window as a heat map; a dot marks drift."""
    features = list(order)[:MOST_FEATURES]
    grid = np.full((len(features), len(windows)), np.nan)
    for column, window in enumerate(windows):
        for one in window.report.features:
            if one.feature in features and window.report.enough:
                row = features.index(one.feature)
                grid[row, column] = one.psi
    figure, axes = canvas(height=1.4 + 0.24 * len(features))
    image = axes.imshow(
        np.ma.masked_invalid(grid), cmap=HEAT, vmin=0, vmax=2 * MAJOR, aspect="auto"
    )
    for column, window in enumerate(windows):
        for one in window.report.features:
            if one.drifted and one.feature in features:
                axes.plot(column, features.index(one.feature), "o", color=ORANGE, markersize=4)
    every = -(-len(windows) // 8)
    axes.set_xticks(
        range(0, len(windows), every),
        [f"{window.start:%m-%d %H:%M}" for window in windows[::every]],
        rotation=30,
        ha="right",
    )
    axes.set_yticks(range(len(features)), [shorten(name, 28) for name in features])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="PSI", shrink=0.8, pad=0.02)
    return figure


@drawn
def histograms(features: Sequence[FeatureDrift]) -> Figure:
    """Draw reference and current shares side by side, a panel a feature."""
    shown = features[:MOST_HISTOGRAMS]
    lines = -(-len(shown) // 2)
    figure = Figure(figsize=(WIDTH, 0.3 + 1.9 * lines), layout="constrained")
    panels = np.atleast_1d(figure.subplots(lines, 2)).ravel()
    for axes, one in zip(panels, shown, strict=False):
        places = np.arange(min(len(one.labels), MOST_PARTS))
        axes.bar(places - 0.2, one.reference[:MOST_PARTS], 0.4, color=GREY, label="training")
        axes.bar(places + 0.2, one.current[:MOST_PARTS], 0.4, color=BLUE, label="now")
        axes.set_title(f"{shorten(one.feature, 22)}  {one.psi:.2f}", color=INK)
        axes.set_xticks(
            places,
            [shorten(name, 12) for name in one.labels[:MOST_PARTS]],
            rotation=40,
            ha="right",
            fontsize=6.5,
        )
        axes.tick_params(axis="y", labelsize=7.5)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.grid(axis="x", visible=False)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return figure
