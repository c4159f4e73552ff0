"""Intervals of a candidate's figure without resampling: what each row adds to its variance.

The influence of a row on a metric is how far the metric moves when the row gets more weight; the
standard error is the root of the influences' mean square over the rows (Hampel; for ROC AUC the
placements of DeLong, DeLong and Clarke-Pearson).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from twinml.training.metrics import decide, row_losses
from twinml.training.result import Interval

__all__ = ["influences", "interval"]

Floats = NDArray[np.float64]
Z = 1.959964


def interval(
    metric: str, value: float, truth: NDArray[Any], predicted: Floats, threshold: float | None
) -> Interval | None:
    """Return the 95 % interval of a metric, or ``None`` where no influence is known.

    Parameters
    ----------
    value
        The metric on these rows.
    truth
        Class indices, or numbers, shape (n,).
    predicted
        Probabilities, shape (n, k), or numbers, shape (n, 1).
    """
    found = influences(metric, truth, predicted, threshold)
    if found is None or len(found) < 2 or not math.isfinite(value):
        return None
    half = Z * float(np.sqrt(np.mean(found**2) / len(found)))
    return Interval(value, value - half, value + half)


def influences(
    metric: str, truth: NDArray[Any], predicted: Floats, threshold: float | None = None
) -> Floats | None:
    """Return the influence of each row on a metric, shape (n,), with mean 0."""
    if predicted.shape[1] == 1:
        return _of_numbers(metric, truth, predicted[:, 0])
    classes = range(predicted.shape[1])
    if metric == "log_loss":
        return _centred(row_losses(truth, predicted))
    if metric == "brier":
        truths = np.eye(predicted.shape[1])[truth]
        return _centred(np.sum((predicted - truths) ** 2, axis=1) / 2.0)
    named = decide(predicted, threshold)
    if metric == "accuracy":
        return _centred((named == truth).astype(np.float64))
    if metric == "balanced_accuracy":
        parts = [_share(named[truth == k] == k, truth == k) for k in classes if (truth == k).any()]
        return np.asarray(np.mean(parts, axis=0))
    if metric == "roc_auc":
        of = [1] if predicted.shape[1] == 2 else classes
        areas = [_area(truth == k, predicted[:, k]) for k in of]
        known = [area for area in areas if area is not None]
        return np.asarray(np.mean(known, axis=0)) if len(known) == len(areas) else None
    return None


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean())


def _share(right: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Floats:
    """Return the influences on a share that some of the rows alone have."""
    found = np.zeros(len(rows))
    found[rows] = (right - right.mean()) / rows.mean()
    return found


def _area(positive: NDArray[np.bool_], scores: Floats) -> Floats | None:
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return None
    ranks = rankdata(scores)
    # The share of the other class that each row is on the right side of.
    placed = np.empty(len(scores))
    placed[positive] = (ranks[positive] - rankdata(scores[positive])) / n_negative
    placed[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / n_positive
    area = placed[positive].mean()
    shares = np.where(positive, positive.mean(), 1 - positive.mean())
    return np.asarray((placed - area) / shares)


def _of_numbers(metric: str, truth: Floats, predicted: Floats) -> Floats | None:
    errors = predicted - truth
    squares, sizes = errors**2, np.abs(errors)
    if metric == "mean_absolute_error":
        return _centred(sizes)
    if metric == "root_mean_squared_error":
        root = math.sqrt(squares.mean())
        return _centred(squares) / (2 * root) if root else np.zeros(len(truth))
    spread = (truth - truth.mean()) ** 2
    if metric == "r2_score" and spread.any():
        return np.asarray(-(squares - squares.mean() / spread.mean() * spread) / spread.mean())
    return None
