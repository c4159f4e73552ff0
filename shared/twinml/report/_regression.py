"""What a report shows of a regression alone: pictures of predictions, words and the coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twinml.contract.intervals import DEFAULT_LEVEL
from twinml.pages.figure import Picture
from twinml.pages.figure_style import BLUE, INK, MUTED, canvas, drawn
from twinml.pages.tables import Cell, Table
from twinml.pages.wording import number, percent, quantity, shorten
from twinml.report._measures import split_name

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml.training.result import Evaluation, TrainingResult

__all__ = ["coverage", "decision", "pictures"]

MOST_DOTS = 2_000
HISTOGRAM_BINS = 40


def pictures(result: TrainingResult) -> dict[str, Picture]:
    """Return predicted against observed values, and residuals, by file name."""
    found, target = result.test, shorten(result.contract.target, 24)
    truth, predicted = found.labels, found.probabilities[:, 0]
    residual = truth - predicted
    low, middle, high = np.percentile(residual, [5, 50, 95])
    rows = f"{split_name(found).lower()}, {found.n_test:,} rows"
    within = _at_default(found)
    told = "" if within is None else f" {percent(within)} of the rows lie in the grey band."
    return {
        "predicted": Picture(
            _predicted(truth, predicted, target, result.contract),
            f"Predicted against observed {target}.{told}",
            f"Predicted against observed, {rows}. On the line a prediction is right; the grey band "
            f"is the prediction interval at {DEFAULT_LEVEL:.0%}.",
        ),
        "residuals": Picture(
            _residuals(residual, predicted, target),
            f"Residuals: 5% below {quantity(float(low))}, half below {quantity(float(middle))}, "
            f"5% above {quantity(float(high))}.",
            f"Residuals, observed less predicted, {rows}: by prediction, and how many. A bend or "
            "a funnel on the left is what the model misses.",
        ),
    }


def _at_default(found: Evaluation) -> float | None:
    return next((one.share for one in found.coverage if one.level == DEFAULT_LEVEL), None)


def decision(result: TrainingResult) -> str:
    """Say what is predicted, and how intervals are made."""
    text = f"A value of “{result.contract.target}” is predicted, in its own unit."
    intervals = result.contract.intervals
    if intervals is None:
        return text
    how = "grow with the prediction" if len(intervals.knots) > 1 else "are of one width"
    return (
        f"{text} Prediction intervals come from the residuals of rows predicted out of fold; here "
        f"they {how}."
    )


def coverage(found: Evaluation, name: str) -> Table | None:
    """Return how many rows lie in their prediction intervals, by level."""
    if not found.coverage:
        return None
    rows = tuple(
        (
            Cell(percent(one.level, 0)),
            Cell(percent(one.share), True),
            Cell(quantity(one.width), True),
        )
        for one in found.coverage
    )
    heads = (Cell("Prediction interval"), Cell("Rows inside", True), Cell("Mean width", True))
    return Table(f"Prediction intervals, {name.lower()}, {found.n_test:,} rows", heads, rows)


def _some(n: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST_DOTS])


@drawn
def _predicted(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], target: str, contract: Contract
) -> Figure:
    figure, axes = canvas(4.2)
    low = float(min(truth.min(), predicted.min()))
    high = float(max(truth.max(), predicted.max()))
    line = np.linspace(low, high, 100)
    if contract.intervals is not None and contract.intervals.highest_level >= DEFAULT_LEVEL:
        bounds = contract.intervals.bounds(line)
        axes.fill_between(line, bounds[:, 0], bounds[:, 1], color=MUTED, alpha=0.18, linewidth=0)
    axes.plot(line, line, color=INK, linewidth=1.1)
    some = _some(len(truth))
    axes.plot(predicted[some], truth[some], "o", color=BLUE, markersize=3, alpha=0.45)
    axes.set_xlabel(f"predicted {target}")
    axes.set_ylabel(f"observed {target}")
    return figure


@drawn
def _residuals(
    residual: NDArray[np.float64], predicted: NDArray[np.float64], target: str
) -> Figure:
    figure, axes = canvas(3.4)
    some = _some(len(residual))
    axes.axhline(0.0, color=INK, linewidth=1.1)
    axes.plot(predicted[some], residual[some], "o", color=BLUE, markersize=3, alpha=0.45)
    axes.set_xlabel(f"predicted {target}")
    axes.set_ylabel("observed less predicted")
    counts = axes.inset_axes((1.03, 0.0, 0.22, 1.0), sharey=axes)
    counts.hist(residual, bins=HISTOGRAM_BINS, orientation="horizontal", color=BLUE)
    counts.tick_params(labelleft=False)
    counts.set_xlabel(f"rows ({number(float(len(residual)), 0)})")
    return figure
