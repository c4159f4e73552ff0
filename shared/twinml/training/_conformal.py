"""Prediction intervals from out-of-fold residuals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twinml.contract.intervals import DEFAULT_LEVEL, PredictionIntervals

__all__ = ["coverage", "fit_intervals"]

F8 = NDArray[np.float64]

# Rows behind one knot of the spread: an absolute mean of fewer is rough.
_ROWS_A_KNOT = 50
_MOST_KNOTS = 20
# A spread is no less than this share of the overall one: some rows are predicted too well.
_LEAST_SPREAD = 0.1
# Kept of the scores: the levels between them are a five-hundredth apart.
_MOST_SCORES = 500


def fit_intervals(truth: F8, predicted: F8) -> PredictionIntervals | None:
    """Return what intervals around predictions are made of, or ``None`` for fewer than 10 rows.

    The spread follows the prediction where that makes the intervals shorter, and is one number
    where it does not: what is too long on small predictions and too short on large ones holds
    its level on average alone.

    Parameters
    ----------
    truth, predicted
        Of rows by models that never saw them, shape (n,).
    """
    if len(truth) < 10:
        return None
    absolute = np.abs(truth - predicted)
    overall = float(absolute.mean())
    if not overall > 0:
        # Every row was predicted exactly: the least number above 0 is as short as there is.
        overall = float(np.nextafter(0.0, 1.0)) * 2**52
    flat = _made(absolute, np.array([float(predicted.mean())]), np.array([overall]), predicted)
    knots, spreads = _spreads(absolute, predicted, overall)
    if len(knots) < 2:
        return flat
    local = _made(absolute, knots, spreads, predicted)
    return local if _width(local, predicted) < _width(flat, predicted) else flat


def coverage(intervals: PredictionIntervals, truth: F8, predicted: F8, level: float) -> float:
    """Return the share of rows whose true value lies in its interval, bounds included."""
    bounds = intervals.bounds(predicted, level)
    return float(np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])))


def _spreads(absolute: F8, predicted: F8, overall: float) -> tuple[F8, F8]:
    """Return the mean absolute residual of rows with about the same prediction, by prediction."""
    groups = min(_MOST_KNOTS, len(absolute) // _ROWS_A_KNOT)
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, max(groups, 1))
    knots = np.array([predicted[part].mean() for part in parts])
    spreads = np.array([max(absolute[part].mean(), _LEAST_SPREAD * overall) for part in parts])
    distinct = np.r_[True, np.diff(knots) > 0]
    return knots[distinct], spreads[distinct]


def _made(absolute: F8, knots: F8, spreads: F8, predicted: F8) -> PredictionIntervals:
    scores = np.sort(absolute / np.interp(predicted, knots, spreads))
    n = len(scores)
    if n > _MOST_SCORES:
        # Each kept one is at least what the level that it stands for asks for.
        places = np.ceil(np.arange(1, _MOST_SCORES + 1) * (n + 1) / (_MOST_SCORES + 1))
        scores = scores[np.minimum(places.astype(np.int64), n) - 1]
    return PredictionIntervals(
        tuple(knots.tolist()), tuple(spreads.tolist()), tuple(scores.tolist())
    )


def _width(intervals: PredictionIntervals, predicted: F8) -> float:
    level = min(DEFAULT_LEVEL, intervals.highest_level)
    bounds = intervals.bounds(predicted, level)
    return float(np.mean(bounds[:, 1] - bounds[:, 0]))
