"""The pictures of a comparison, as PNG bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twinml.pages.figure_style import BLUE, GREY, INK, PALETTE, canvas, drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from twinml.comparison._judgement import Side

__all__ = ["changes", "latencies"]

FLOOR = 1e-17  # below the distance of neighbouring floats at 1
WIDEST_LABEL = 24


@drawn
def changes(moved: NDArray[np.float64]) -> Figure:
    """Draw how many rows differ by how much, by powers of ten; equal rows stand apart."""
    figure, axes = canvas(2.9)
    powers = np.floor(np.log10(np.maximum(moved[moved > 0], FLOOR))).astype(int)
    lowest = int(powers.min()) if len(powers) else -3
    exponents = list(range(lowest, 1))
    counts = [int((moved == 0).sum()), *(int((powers == exponent).sum()) for exponent in exponents)]
    names = ["0", *(f"$10^{{{exponent}}}$" for exponent in exponents)]
    colours = [GREY, *([BLUE] * len(exponents))]
    bars = axes.bar(range(len(counts)), counts, color=colours, width=0.85)
    axes.bar_label(
        bars, labels=[f"{n:,}" if n else "" for n in counts], color=INK, padding=2, fontsize=8.5
    )
    # Exponents are mathematics; everywhere else a dollar sign is a dollar sign.
    axes.set_xticks(range(len(names)), names, parse_math=True)
    axes.set(title="Rows by |Δp|", xlabel="|Δp|: 0, or at least …", ylabel="rows")
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.15)
    return figure


@drawn
def latencies(sides: Sequence[Side]) -> Figure:
    """Draw the share of single-row requests answered within a time, one line a side."""
    figure, axes = canvas(2.9)
    for side, colour in zip(sides, PALETTE, strict=False):
        taken = np.sort(side.latencies)
        share = np.arange(1, len(taken) + 1) / len(taken)
        name = side.name if len(side.name) <= WIDEST_LABEL else f"{side.name[:WIDEST_LABEL]}…"
        axes.step(taken, share, where="post", color=colour, linewidth=2, label=name)
        axes.axvline(float(np.median(taken)), color=colour, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set(
        title="Time of a request with one row",
        xlabel="milliseconds, dotted the median",
        ylabel="share answered",
        ylim=(0, 1.02),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(loc="upper left")
    return figure
