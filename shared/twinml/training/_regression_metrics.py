"""Metrics of predicted numbers, with bootstrap intervals; names and definitions as in Azure ML.

All take the true values, shape (n,), and the predicted ones, shape (n,), in the target's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from twinml.training.result import Interval

__all__ = ["METRICS", "ON_TARGET_UNIT", "UP", "bootstrap", "score"]

F8 = NDArray[np.float64]

# In the order in which they are shown.
METRICS: tuple[str, ...] = (
    "r2_score",
    "root_mean_squared_error",
    "mean_absolute_error",
    "median_absolute_error",
    "spearman_correlation",
    "explained_variance",
    "normalized_root_mean_squared_error",
    "normalized_mean_absolute_error",
    "normalized_median_absolute_error",
    "mean_absolute_percentage_error",
)
# Higher is better.
UP = frozenset({"r2_score", "spearman_correlation", "explained_variance"})
# In the unit of the target; divided by its range they are normalised.
ON_TARGET_UNIT = ("root_mean_squared_error", "mean_absolute_error", "median_absolute_error")

Counts = F8
Measure = Callable[[Counts], F8]


def score(truth: F8, predicted: F8, span: float) -> dict[str, float]:
    """Return every metric by name.

    ``nan`` is what the rows cannot give: ``r2_score``, ``explained_variance`` and
    ``spearman_correlation`` where all true values are the same,
    ``mean_absolute_percentage_error`` where one of them is 0.

    Parameters
    ----------
    span
        The range of the target in the data, by which the normalised ones are divided.

    Examples
    --------
    >>> found = score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]), 2.0)
    >>> found["r2_score"], round(found["mean_absolute_error"], 4)
    (0.5, 0.3333)
    """
    ones = np.ones((1, len(truth)))
    measured = {name: float(of(ones)[0]) for name, of in _measures(truth, predicted, span).items()}
    return {name: measured[name] for name in METRICS}


def bootstrap(
    truth: F8, predicted: F8, span: float, *, resamples: int = 400, seed: int = 0
) -> dict[str, Interval]:
    """Return every metric with its 95 % percentile interval over resampled rows.

    A resample is held as a count per row, as those of classifiers' metrics are.
    """
    points = score(truth, predicted, span)
    n = len(truth)
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, 4_000_000 // max(n, 1)))
    drawn: dict[str, list[F8]] = {name: [] for name in METRICS}
    measures = _measures(truth, predicted, span)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64)
        for name, of in measures.items():
            drawn[name].append(of(counts))
    intervals: dict[str, Interval] = {}
    for name in METRICS:
        values = np.concatenate(drawn[name])
        values = values[np.isfinite(values)]
        known = len(values) and np.isfinite(points[name])
        low, high = np.percentile(values, [2.5, 97.5]) if known else (np.nan, np.nan)
        intervals[name] = Interval(points[name], float(low), float(high))
    return intervals


def _measures(truth: F8, predicted: F8, span: float) -> Mapping[str, Measure]:
    """Return each metric as a function of row counts, shape (resamples, n) → (resamples,)."""
    n = len(truth)
    residual = truth - predicted
    squared, absolute = residual**2, np.abs(residual)
    # Of centred values, so that large numbers far from 0 lose no digits.
    centred = truth - truth.mean()
    order = np.argsort(absolute, kind="stable")
    ordered = absolute[order]
    ranks = _Ranks(truth), _Ranks(predicted)
    percentage = absolute / np.abs(np.where(truth == 0, np.nan, truth))

    def mean(values: F8) -> Measure:
        return lambda counts: counts @ values / n

    def variance(counts: Counts, values: F8) -> F8:
        found = counts @ values**2 / n - (counts @ values / n) ** 2
        return np.asarray(np.maximum(found, 0.0))

    def r2(counts: Counts) -> F8:
        return _one_minus(counts @ squared / n, variance(counts, centred))

    def explained(counts: Counts) -> F8:
        return _one_minus(variance(counts, residual), variance(counts, centred))

    def median(counts: Counts) -> F8:
        seen = np.cumsum(counts[:, order], axis=1)
        lower = (seen <= (n - 1) // 2).sum(axis=1)
        upper = (seen <= n // 2).sum(axis=1)
        return np.asarray((ordered[lower] + ordered[upper]) / 2.0)

    def spearman(counts: Counts) -> F8:
        one, other = (each.of(counts) for each in ranks)
        middle = (n + 1) / 2.0
        one, other = one - middle, other - middle
        both = (counts * one * other).sum(axis=1)
        scale = np.sqrt((counts * one**2).sum(axis=1) * (counts * other**2).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(scale > 0, both / scale, np.nan))

    def root(counts: Counts) -> F8:
        return np.asarray(np.sqrt(counts @ squared / n))

    def normalised(of: Measure) -> Measure:
        return lambda counts: of(counts) / span if span > 0 else np.full(len(counts), np.nan)

    on_unit: dict[str, Measure] = dict(
        zip(ON_TARGET_UNIT, (root, mean(absolute), median), strict=True)
    )
    return {
        "r2_score": r2,
        "spearman_correlation": spearman,
        "explained_variance": explained,
        "mean_absolute_percentage_error": mean(percentage),
        **on_unit,
        **{f"normalized_{name}": normalised(of) for name, of in on_unit.items()},
    }


def _one_minus(part: F8, whole: F8) -> F8:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(whole > 0, 1.0 - part / whole, np.nan))


class _Ranks:
    """Values sorted once; their mean ranks in a resample."""

    def __init__(self, values: F8) -> None:
        distinct, self.group = np.unique(values, return_inverse=True)
        self.order = np.argsort(self.group, kind="stable")
        self.starts = np.searchsorted(self.group[self.order], np.arange(len(distinct)))

    def of(self, counts: Counts) -> F8:
        sizes = np.add.reduceat(counts[:, self.order], self.starts, axis=1)
        middles = np.cumsum(sizes, axis=1) - (sizes - 1.0) / 2.0
        return np.asarray(middles[:, self.group])
