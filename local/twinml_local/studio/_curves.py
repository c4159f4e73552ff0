"""Curves of a model on held-out rows: ROC, precision and recall, calibration, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from twinml.pages.charts import Series, lines
from twinml.pages.wording import shorten

if TYPE_CHECKING:
    from twinml.report.held_out_rows import HeldOutRows

__all__ = ["curves"]

Floats = NDArray[np.float64]
MOST_POINTS = 100
MOST_CLASSES = 5
MOST_DOTS = 400
BINS = 10


def curves(rows: HeldOutRows) -> list[tuple[str, Markup]]:
    """Return the charts of held-out rows, each with its title.

    Of more than two classes each of the five most frequent is told from the rest; of numbers there
    are predicted and true values, and residuals.
    """
    if not rows.classes:
        return _of_numbers(rows.truth, rows.predicted[:, 0])
    if len(rows.classes) == 2:
        shown = [1]
    else:
        counts = np.bincount(rows.truth, minlength=len(rows.classes))
        shown = [int(one) for one in np.argsort(-counts, kind="stable")[:MOST_CLASSES]]
    sides = [
        (shorten(rows.classes[one], 24), rows.truth == one, rows.predicted[:, one]) for one in shown
    ]
    sides = [side for side in sides if 0 < side[1].sum() < len(side[1])]
    if not sides:
        return []
    found = rows.name[0].lower() + rows.name[1:]
    return [
        (
            "ROC curve",
            lines(
                [*(Series(name, roc(truth, score)) for name, truth, score in sides),
                 Series("chance", [(0.0, 0.0), (1.0, 1.0)])],
                title=f"ROC curve, {found}: the further above the diagonal, the better",
                x="share of the others that is taken for it",
                y="share of the class that is found",
            ),
        ),
        (
            "Precision and recall",
            lines(
                [Series(name, precision_recall(truth, score)) for name, truth, score in sides],
                title=f"Precision at each recall, {found}",
                x="recall: share of the class that is found",
                y="precision: share of what is found that is right",
                from_zero=True,
            ),
        ),
        (
            "Calibration",
            lines(
                [*(Series(name, calibration(truth, score)) for name, truth, score in sides),
                 Series("perfect", [(0.0, 0.0), (1.0, 1.0)])],
                title=f"Share that is of the class, by the probability of it, {found}",
                x="probability that the model gave, mean of a tenth of the rows",
                y="share that is of the class",
            ),
        ),
    ]  # fmt: skip


def roc(truth: NDArray[np.bool_], score: Floats) -> list[tuple[float, float]]:
    """Return false and true positive rates at falling thresholds, from (0, 0) to (1, 1).

    Examples
    --------
    >>> roc(np.array([False, True, True]), np.array([0.2, 0.2, 0.9]))
    [(0.0, 0.0), (0.0, 0.5), (1.0, 1.0)]
    """
    right, wrong = _found(truth, score)
    return _thin([(0.0, 0.0), *zip(wrong / (~truth).sum(), right / truth.sum(), strict=True)])


def precision_recall(truth: NDArray[np.bool_], score: Floats) -> list[tuple[float, float]]:
    """Return recall and precision at falling thresholds.

    Examples
    --------
    >>> precision_recall(np.array([False, True, True]), np.array([0.2, 0.2, 0.9]))
    [(0.5, 1.0), (1.0, 0.6666666666666666)]
    """
    right, wrong = _found(truth, score)
    return _thin(list(zip(right / truth.sum(), right / (right + wrong), strict=True)))


def calibration(truth: NDArray[np.bool_], score: Floats) -> list[tuple[float, float]]:
    """Return mean score and share of positives of tenths of the rows, by rising score.

    Examples
    --------
    >>> calibration(np.array([False, True]), np.array([0.25, 0.75]))
    [(0.25, 0.0), (0.75, 1.0)]
    """
    parts = np.array_split(np.argsort(score, kind="stable"), min(BINS, len(score)))
    return [(float(score[part].mean()), float(truth[part].mean())) for part in parts]


def _of_numbers(truth: Floats, predicted: Floats) -> list[tuple[str, Markup]]:
    some = np.unique(np.linspace(0, len(truth) - 1, MOST_DOTS).astype(int))
    order = np.argsort(truth, kind="stable")[some]
    true, given = truth[order], predicted[order]
    ends = [(float(true.min()),) * 2, (float(true.max()),) * 2]
    across = [(float(given.min()), 0.0), (float(given.max()), 0.0)]
    return [
        (
            "Predicted and true",
            lines(
                [Series("perfect", ends), Series("row", _pairs(true, given), dots=True)],
                title="Predicted by true values of held-out rows",
                x="true", y="predicted",
            ),
        ),
        (
            "Residuals",
            lines(
                [Series("none", across), Series("row", _pairs(given, true - given), dots=True)],
                title="What is left of held-out rows, true less predicted, by predicted values",
                x="predicted", y="true less predicted",
            ),
        ),
    ]  # fmt: skip


def _found(truth: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Return how many are taken rightly and wrongly at each threshold, the highest first."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    right = np.cumsum(truth[order], dtype=np.float64)[last]
    return right, last + 1.0 - right


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most so many of the points, the ends among them."""
    places = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
    return [(float(points[place][0]), float(points[place][1])) for place in places]


def _pairs(across: Floats, up: Floats) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(across, up, strict=True)]
