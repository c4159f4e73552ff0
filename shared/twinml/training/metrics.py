"""Metrics of class probabilities, with bootstrap intervals, for any number of classes.

All take labels as class indices of shape (n,) and probabilities of shape (n, k).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from twinml.training import _regression_metrics
from twinml.training.result import Interval

__all__ = [
    "AUTO",
    "HIGHER_IS_BETTER",
    "METRICS",
    "beats",
    "bootstrap",
    "chosen_metric",
    "confusion",
    "decide",
    "exact_ends",
    "is_better",
    "log_loss",
    "score",
    "ties",
    "title",
    "tune_threshold",
]

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

# In the order in which they are shown.
METRICS: tuple[str, ...] = (
    "roc_auc",
    "log_loss",
    "accuracy",
    "balanced_accuracy",
    "average_precision",
    "f1",
    "brier",
)
# Chosen by ``chosen_metric``.
AUTO = "auto"
TITLES = {
    "roc_auc": "ROC AUC",
    "r2_score": "R²",
    "root_mean_squared_error": "RMSE",
    "mean_absolute_error": "MAE",
    "spearman_correlation": "Spearman correlation",
    "mean_absolute_percentage_error": "MAPE",
}
AREAS = ("roc_auc", "average_precision")
SAME_AREA = 0.0005
# Those that are 1 exactly when every row is right, or ranked rightly.
SHARES = ("roc_auc", "accuracy", "balanced_accuracy", "average_precision", "f1")
HIGHER_IS_BETTER: Mapping[str, bool] = {
    **{name: name not in ("log_loss", "brier") for name in METRICS},
    **{name: name in _regression_metrics.UP for name in _regression_metrics.METRICS},
}


def title(metric: str) -> str:
    """Return a metric's name as it is written in a line of text.

    Examples
    --------
    >>> title("roc_auc"), title("log_loss")
    ('ROC AUC', 'log loss')
    """
    return TITLES.get(metric, metric.replace("_", " "))


def is_better(metric: str, new: float, old: float, min_gain: float = 0.0) -> bool:
    """Tell whether ``new`` is better than ``old`` by more than ``min_gain``, 0 or more.

    Equal is not better, and a figure that is not finite shows nothing.
    """
    gain = new - old if HIGHER_IS_BETTER[metric] else old - new
    return math.isfinite(gain) and gain > min_gain


def ties(metric: str, new: float, old: float) -> bool:
    """Tell whether two areas are the same in the three digits that matter: log loss decides.

    Examples
    --------
    >>> ties("roc_auc", 0.9374, 0.9371), ties("roc_auc", 0.9374, 0.9368)
    (True, False)
    """
    return metric in AREAS and abs(new - old) <= SAME_AREA


def beats(
    metric: str, new: Mapping[str, float], old: Mapping[str, float], min_gain: float = 0.0
) -> tuple[bool, str]:
    """Tell whether the figures ``new`` are better than ``old``, and by which metric.

    A tie of areas is decided by log loss, unless more than any gain is asked for.
    """
    tied = min_gain == 0 and ties(metric, new[metric], old[metric])
    by = "log_loss" if tied else metric
    return is_better(by, new[by], old[by], min_gain), by


def chosen_metric(asked: str, n_classes: int, areas: Sequence[float] = ()) -> str:
    """Return the metric that chooses and is the headline: what was asked for, if anything.

    Else ROC AUC; log loss where it tells little, with more than two classes or where the area
    of more than half of the learners is the best one.

    Parameters
    ----------
    areas
        ROC AUC of the learners, out of fold.

    Examples
    --------
    >>> chosen_metric("auto", 2, [0.93, 0.92]), chosen_metric("auto", 2, [0.9999, 0.9998])
    ('roc_auc', 'log_loss')
    """
    if asked != AUTO:
        return asked
    alike = sum(ties("roc_auc", area, max(areas)) for area in areas)
    flat = len(areas) > 1 and alike > len(areas) / 2
    return "log_loss" if n_classes > 2 or flat else "roc_auc"


def decide(probabilities: Probabilities, threshold: float | None) -> Labels:
    """Return the predicted class indices, shape (n,).

    Binary with a threshold other than 0.5: class 1 where its probability is at least
    ``threshold``, as scikit-learn's ``FixedThresholdClassifier`` does; else the most probable
    class, the first of equals.
    """
    if threshold not in (None, 0.5) and probabilities.shape[1] == 2:
        return np.asarray(probabilities[:, 1] >= threshold, dtype=np.int64)
    return np.asarray(np.argmax(probabilities, axis=1), dtype=np.int64)


def row_losses(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return minus the logarithm of the true class's probability, shape (n,)."""
    held = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(held, np.finfo(np.float64).eps, 1.0)))


def log_loss(
    labels: Labels, probabilities: Probabilities, weights: NDArray[np.float64] | None = None
) -> float:
    """Return the mean log loss, weighted if ``weights`` of shape (n,) are given.

    scikit-learn's warns where the 32-bit probabilities of XGBoost miss a sum of 1 by 1e-7.
    """
    return float(np.average(row_losses(labels, probabilities), weights=weights))


def confusion(labels: Labels, predicted: Labels, n_classes: int) -> NDArray[np.int64]:
    """Return counts of shape (n_classes, n_classes); rows are the true classes."""
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def score(
    labels: Labels, probabilities: Probabilities, threshold: float | None = None
) -> dict[str, float]:
    """Return every metric by name.

    Multi-class: ``roc_auc`` is one-vs-rest, ``average_precision`` and ``f1`` are macro means,
    ``brier`` is the mean squared distance to the one-hot truth, halved, so that the binary
    case is the usual one. A metric that the rows cannot give (one class only) is ``nan``.
    """
    n_classes = probabilities.shape[1]
    predicted = decide(probabilities, threshold)
    truth = np.eye(n_classes)[labels]
    every_class = len(np.unique(labels)) == n_classes
    if not every_class:
        auc = precision = float("nan")
    elif n_classes == 2:
        auc = float(roc_auc_score(labels, probabilities[:, 1]))
        precision = float(average_precision_score(labels, probabilities[:, 1]))
    else:
        auc = float(roc_auc_score(truth, probabilities, average="macro"))
        precision = float(average_precision_score(truth, probabilities, average="macro"))
    average = "binary" if n_classes == 2 else "macro"
    # balanced_accuracy_score warns about predicted classes that no row has; recall of the
    # classes that there are is what is meant.
    present = np.unique(labels)
    recalls = [float(np.mean(predicted[labels == index] == index)) for index in present]
    balanced = (
        float(np.mean(recalls))
        if len(present) < n_classes
        else float(balanced_accuracy_score(labels, predicted))
    )
    return {
        "roc_auc": auc,
        "log_loss": log_loss(labels, probabilities),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": balanced,
        "average_precision": precision,
        "f1": float(f1_score(labels, predicted, average=average, zero_division=0.0)),
        "brier": float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)) / 2.0),
    }


def bootstrap(
    labels: Labels,
    probabilities: Probabilities,
    threshold: float | None = None,
    *,
    resamples: int = 400,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return every metric with its 95 % percentile interval over resampled rows.

    A resample is held as a count per row, so the sorts behind AUC and average precision are
    done once: 400 resamples of 9,000 rows take well under a second.
    """
    points = score(labels, probabilities, threshold)
    n = len(probabilities)
    rng = np.random.default_rng(seed)
    # Blocks bound the memory: at most about 4 million counts at a time.
    block = max(1, min(resamples, 4_000_000 // max(n, 1)))
    measure = _measures(labels, probabilities, threshold)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in METRICS}
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64)
        for name, function in measure.items():
            drawn[name].append(function(counts))
    intervals = {}
    for name in METRICS:
        values = np.concatenate(drawn[name])
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
        intervals[name] = exact_ends(
            name, Interval(points[name], float(low), float(high)), np.bincount(labels)
        )
    return intervals


def exact_ends(name: str, interval: Interval, counts: NDArray[np.int64]) -> Interval:
    """Return an interval whose end is exact where resampling cannot give one.

    Where every row is right, so is every resample. Then 0.025 ** (1 / n) is the lowest true
    share with which n independent rows are all right in 2.5 % of cases (Clopper and Pearson).
    For accuracy n is the number of rows. Metrics by class see no more independent cases than
    the smallest class has rows, or pairs of a row of it with one of another: n is its size.

    Parameters
    ----------
    counts
        Rows of each class, those without rows too.

    >>> round(exact_ends("accuracy", Interval(1.0, 1.0, 1.0), np.array([30, 39])).low, 4)
    0.9479
    >>> exact_ends("accuracy", Interval(0.9, 0.8, 1.0), np.array([30, 39])).low
    0.8
    """
    known = counts[counts > 0]
    if name not in SHARES or not len(known):
        return interval
    n = int(known.sum() if name == "accuracy" else known.min())
    if interval.value == 1.0:
        return Interval(1.0, min(interval.low, 0.025 ** (1 / n)), 1.0)
    if interval.value == 0.0:
        return Interval(0.0, 0.0, max(interval.high, 1 - 0.025 ** (1 / n)))
    return interval


Counts = NDArray[np.float64]
Measure = Callable[[Counts], NDArray[np.float64]]


def _measures(
    labels: Labels, probabilities: Probabilities, threshold: float | None
) -> dict[str, Measure]:
    """Return each metric as a function of row counts, shape (resamples, n) → (resamples,)."""
    n, n_classes = probabilities.shape
    predicted = decide(probabilities, threshold)
    truth = np.eye(n_classes)[labels]
    row_loss = row_losses(labels, probabilities)
    row_brier = np.sum((probabilities - truth) ** 2, axis=1) / 2.0
    right = (predicted == labels).astype(np.float64)
    shown = [1] if n_classes == 2 else list(range(n_classes))

    def mean_of(values: NDArray[np.float64]) -> Measure:
        return lambda counts: counts @ values / n

    def recalls(counts: Counts) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            each = (counts @ (truth * right[:, None])) / (counts @ truth)
        return np.asarray(np.nanmean(each, axis=1))

    def f1(counts: Counts) -> NDArray[np.float64]:
        said = np.eye(n_classes)[predicted]
        both = counts @ (truth * said)
        total = counts @ truth + counts @ said
        with np.errstate(invalid="ignore", divide="ignore"):
            each = np.where(total > 0, 2.0 * both / total, 0.0)
        return np.asarray(each[:, shown].mean(axis=1))

    ranked = [_Ranked(truth[:, index], probabilities[:, index]) for index in shown]
    return {
        "roc_auc": lambda counts: np.mean([one.auc(counts) for one in ranked], axis=0),
        "log_loss": mean_of(row_loss),
        "accuracy": mean_of(right),
        "balanced_accuracy": recalls,
        "average_precision": lambda counts: np.mean(
            [one.average_precision(counts) for one in ranked], axis=0
        ),
        "f1": f1,
        "brier": mean_of(row_brier),
    }


class _Ranked:
    """One class against the rest, sorted once by descending score, ties grouped."""

    def __init__(self, positive: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self.positive = positive[self.order]
        self.last_of_tie = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]

    def _cumulated(self, counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = counts[:, self.order]
        hits = np.cumsum(weights * self.positive, axis=1)[:, self.last_of_tie]
        seen = np.cumsum(weights, axis=1)[:, self.last_of_tie]
        return hits, seen

    def auc(self, counts: Counts) -> NDArray[np.float64]:
        hits, seen = self._cumulated(counts)
        misses = seen - hits
        zeros = np.zeros((len(hits), 1))
        hits, misses = np.hstack([zeros, hits]), np.hstack([zeros, misses])
        with np.errstate(invalid="ignore", divide="ignore"):
            area = np.sum(np.diff(misses) * (hits[:, 1:] + hits[:, :-1]) / 2.0, axis=1)
            return np.asarray(area / (hits[:, -1] * misses[:, -1]))

    def average_precision(self, counts: Counts) -> NDArray[np.float64]:
        hits, seen = self._cumulated(counts)
        steps = np.diff(np.hstack([np.zeros((len(hits), 1)), hits]))
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(seen > 0, hits / seen, 0.0)
            return np.asarray(np.sum(steps * precision, axis=1) / hits[:, -1])


def tune_threshold(labels: Labels, positive: NDArray[np.float64], metric: str) -> float:
    """Return the threshold on the positive class with the best ``metric`` out-of-fold.

    Takes the middle between the two neighbouring scores, so that it stands on no row.

    Parameters
    ----------
    positive
        Out-of-fold probabilities of class 1, shape (n,).
    metric
        ``accuracy``, ``balanced_accuracy`` or ``f1``.
    """
    order = np.argsort(-positive, kind="stable")
    ordered, truth = positive[order], labels[order]
    last_of_tie = np.r_[np.flatnonzero(np.diff(ordered)), len(ordered) - 1]
    hits = np.cumsum(truth)[last_of_tie].astype(np.float64)
    said = (last_of_tie + 1).astype(np.float64)
    positives, negatives = float(truth.sum()), float(len(truth) - truth.sum())
    correct_rejections = negatives - (said - hits)
    if metric == "accuracy":
        gain = (hits + correct_rejections) / len(truth)
    elif metric == "balanced_accuracy":
        gain = (hits / positives + correct_rejections / negatives) / 2.0
    else:
        gain = 2.0 * hits / (said + positives)
    best = int(np.argmax(gain))
    at = float(ordered[last_of_tie[best]])
    below = float(ordered[last_of_tie[best + 1]]) if best + 1 < len(last_of_tie) else 0.0
    return float(np.clip((at + below) / 2.0, 1e-6, 1.0 - 1e-6))
