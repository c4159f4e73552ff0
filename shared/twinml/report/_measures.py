"""What each metric means to a reader, and how what was measured is written."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinml.pages.wording import NOTHING, number

if TYPE_CHECKING:
    from twinml.training.result import Evaluation, Interval

__all__ = ["Measure", "interval", "measure", "ordered", "rows_name", "split_name"]


@dataclass(frozen=True)
class Measure:
    """A metric for readers: its ``label``, which way is better, and what it says."""

    name: str
    label: str
    higher_is_better: bool
    meaning: str


# In the order in which tables show them.
MEASURES: tuple[Measure, ...] = (
    Measure(
        "roc_auc",
        "ROC AUC",
        True,
        "how well the scores rank: the chance that a row of the class scores above a row of "
        "another class. 0.5 is guessing, 1 is perfect. It does not depend on the threshold.",
    ),
    Measure(
        "average_precision",
        "Average precision",
        True,
        "area under the precision-recall curve. Guessing gives the share of the positive class, "
        "so it tells more than ROC AUC when that class is rare. 1 is perfect.",
    ),
    Measure(
        "accuracy",
        "Accuracy",
        True,
        "share of rows that are labelled right at the decision threshold. Compare it with the "
        "baseline: with a rare class, always naming the other one already scores high.",
    ),
    Measure(
        "balanced_accuracy",
        "Balanced accuracy",
        True,
        "the share labelled right within each class, averaged over the classes. "
        "Always naming one class gives 1 divided by the number of classes.",
    ),
    Measure(
        "f1",
        "F1",
        True,
        "harmonic mean of precision (how many of the rows named positive are) and recall (how "
        "many of the positive rows are named); with more than two classes, averaged over them.",
    ),
    Measure(
        "log_loss",
        "Log loss",
        False,
        "how far the probabilities are from what happened; confident mistakes cost most. "
        "Lower is better, 0 is perfect.",
    ),
    Measure(
        "brier",
        "Brier score",
        False,
        "mean squared distance between the probabilities and what happened. "
        "Lower is better, 0 is perfect.",
    ),
    Measure(
        "r2_score",
        "R²",
        True,
        "the share of the target's variance that the predictions explain. 0 is always giving the "
        "mean, 1 is perfect; below 0 the mean is better.",
    ),
    Measure(
        "root_mean_squared_error",
        "RMSE",
        False,
        "root of the mean squared error, in the target's unit; large errors count most.",
    ),
    Measure(
        "mean_absolute_error",
        "MAE",
        False,
        "mean absolute error, in the target's unit.",
    ),
    Measure(
        "median_absolute_error",
        "Median absolute error",
        False,
        "half of the rows are nearer than this, in the target's unit.",
    ),
    Measure(
        "spearman_correlation",
        "Spearman correlation",
        True,
        "how well the predictions rank the rows. 0 is guessing, 1 is perfect.",
    ),
    Measure(
        "explained_variance",
        "Explained variance",
        True,
        "as R², but a constant error costs nothing.",
    ),
    Measure(
        "normalized_root_mean_squared_error",
        "Normalised RMSE",
        False,
        "RMSE over the range of the target, as Azure ML has it.",
    ),
    Measure(
        "normalized_mean_absolute_error",
        "Normalised MAE",
        False,
        "MAE over the range of the target.",
    ),
    Measure(
        "normalized_median_absolute_error",
        "Normalised median absolute error",
        False,
        "the median absolute error over the range of the target.",
    ),
    Measure(
        "mean_absolute_percentage_error",
        "MAPE",
        False,
        "mean of the absolute errors, each over its true value; only where none is 0.",
    ),
)
BY_NAME = {known.name: known for known in MEASURES}


def measure(name: str) -> Measure:
    """Return what is known about a metric; one that is not known keeps its own name.

    Examples
    --------
    >>> measure("roc_auc").label
    'ROC AUC'
    >>> measure("hinge_loss").higher_is_better
    False

    """
    if name in BY_NAME:
        return BY_NAME[name]
    lower = any(word in name for word in ("loss", "error", "brier"))
    label = name.replace("_", " ").capitalize()
    direction = "Lower" if lower else "Higher"
    return Measure(name, label, not lower, f"{direction} is better.")


def ordered(names: Iterable[str], first: str | None = None) -> list[Measure]:
    """Return the metrics called ``names`` in reading order, ``first`` at the head.

    Examples
    --------
    >>> [each.name for each in ordered({"brier", "accuracy", "roc_auc"}, first="brier")]
    ['brier', 'roc_auc', 'accuracy']

    """
    present = set(names)
    known = [each.name for each in MEASURES if each.name in present]
    names_in_order = known + sorted(present.difference(known))
    if first in present:
        names_in_order.remove(first)
        names_in_order.insert(0, first)
    return [measure(name) for name in names_in_order]


def interval(found: Interval | None, digits: int = 3) -> str:
    """Write the ends of an interval, e.g. ``0.941 – 0.953``."""
    if found is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return NOTHING
    return f"{number(found.low, digits)} – {number(found.high, digits)}"


def split_name(evaluation: Evaluation) -> str:
    """Name the way in which the rows were held out, or that none were."""
    if evaluation.out_of_fold:
        return "Out of fold"
    if evaluation.split.startswith("group:"):
        return "Split by groups"
    return "Random split" if evaluation.split == "random" else "Forward in time"


def rows_name(evaluation: Evaluation) -> str:
    """Name the rows that an estimate is of."""
    return "rows out of fold" if evaluation.out_of_fold else "test rows"
