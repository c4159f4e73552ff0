"""How well a model does on rows without labels, from the probabilities that it gave them.

If a row's probability of a class is right in the mean, then the expected accuracy, log loss and ROC
AUC of many rows follow from the probabilities alone: each row counts for every class with that
class's probability (confidence-based estimation). Models are surer than they are right, or less
sure, by about as much from one month to the next. So rows whose labels are known, those that were
held out of training or that came earlier, tell how far the estimate of the ROC AUC is off, and it
is corrected by that. Where the relation of features and target changes (concept drift), no look at
the features can tell, so that an estimate says whether it **knows**: it does not where

* no labels have told how far this model's estimates are off, or they tell different things;
* there are too few rows, or too few of a class to be expected among them;
* chance alone would move the figure by more than is useful;
* features drifted: the model is asked about rows unlike those that it was calibrated on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinml.errors import DataError

__all__ = ["Estimated", "Told", "correction", "doubt", "estimate", "told_by"]

Floats = NDArray[np.float64]

LEAST_ROWS = 200
LEAST_OF_CLASS = 20.0  # expected rows
# How far off an estimate of the ROC AUC may be that claims to know.
TOLERANCE = 0.02
# With this half interval of 95 %, four of five estimates are within the tolerance.
WIDEST = 0.03
# Earlier gaps that are looked at, and how far one may be from their mean, beyond chance.
LAST = 6
APART = 0.01
DRAWS = 200
MOST_ROWS = 20_000
SMALLEST = np.finfo(np.float64).eps
LEAST_MARGIN = 0.001  # so that no gap counts alone


@dataclass(frozen=True)
class Told:
    """What labels told of rows that had been estimated.

    Attributes
    ----------
    gap
        True less estimated ROC AUC, the estimate uncorrected.
    margin
        Half of the interval in which chance alone leaves 95 % of the gap.
    """

    gap: float
    margin: float


@dataclass(frozen=True)
class Estimated:
    """What is to be expected of rows whose labels are not known.

    Attributes
    ----------
    rows
        How many there are.
    accuracy, log_loss, roc_auc
        Expected; of more than two classes the ROC AUC is the mean of one against the rest. It is
        corrected by what earlier labels told, the others are not. It is nan where only one class is
        expected.
    margin
        Half of the interval in which chance alone, of these rows and of the earlier ones, leaves
        95 % of the ROC AUC.
    doubt
        Why the estimate does not know; empty where it does.
    """

    rows: int
    accuracy: float
    log_loss: float
    roc_auc: float
    margin: float
    doubt: str = ""

    @property
    def knows(self) -> bool:
        """Whether the estimate is to be relied on, as long as the concept stays as it was."""
        return not self.doubt


def estimate(
    probabilities: Floats,
    *,
    drifted: Sequence[str] = (),
    told: Sequence[Told] = (),
    seed: int = 0,
) -> Estimated:
    """Return the expected figures of rows, from their probabilities.

    Parameters
    ----------
    probabilities
        Shape (n, k), k of at least 2; each row sums to 1.
    drifted
        Features of these rows that drifted from those that the model learned from.
    told
        What labels told of rows that the same model never learned from, oldest first: those that
        were held out of training, and those that it answered before.
    seed
        Of the draws that tell the margin.

    Raises
    ------
    DataError
        There are no rows, or these are no probabilities.

    Examples
    --------
    >>> found = estimate(np.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> round(found.accuracy, 2), found.doubt
    (0.85, '2 rows, at least 200 are needed')
    """
    given = _checked(probabilities)
    safe = np.clip(given, SMALLEST, 1.0)
    correct = correction(told)
    gap, earlier = (correct.gap, correct.margin) if correct is not None else (0.0, 0.0)
    margin = float(np.hypot(_margin(given, seed), earlier))
    why = doubt(
        rows=len(given),
        rarest=float(given.sum(axis=0).min()),
        margin=margin,
        drifted=drifted,
        told=told,
    )
    return Estimated(
        rows=len(given),
        accuracy=float(given.max(axis=1).mean()),
        log_loss=float(-(given * np.log(safe)).sum(axis=1).mean()),
        roc_auc=float(np.clip(roc_auc(given, given) + gap, 0.0, 1.0)),
        margin=margin,
        doubt=why,
    )


def told_by(probabilities: Floats, labels: NDArray[np.integer], *, seed: int = 0) -> Told | None:
    """Return what the labels of rows tell; ``None`` where they have one class alone.

    Parameters
    ----------
    probabilities
        Shape (n, k), as the model gave them.
    labels
        Numbers of the true classes, shape (n,).
    seed
        As for ``estimate``.

    Raises
    ------
    DataError
        As for ``estimate``.

    Examples
    --------
    >>> found = told_by(np.tile([[0.9, 0.1], [0.2, 0.8]], (9, 1)), np.tile([0, 1], 9))
    >>> round(found.gap, 2)
    0.14
    """
    given = _checked(probabilities)
    gap = roc_auc(given, np.eye(given.shape[1])[labels]) - roc_auc(given, given)
    margin = _margin(given, seed)
    return Told(gap, margin) if np.isfinite(gap) and np.isfinite(margin) else None


def correction(told: Sequence[Told]) -> Told | None:
    """Return the mean of the last gaps, each weighted by how sure it is; ``None`` of none.

    Examples
    --------
    >>> correction([Told(0.01, 0.01), Told(0.02, 0.01)]).gap
    0.015
    """
    last = told[-LAST:]
    if not last:
        return None
    weights = np.array([max(one.margin, LEAST_MARGIN) ** -2.0 for one in last])
    mean = float(np.average([one.gap for one in last], weights=weights))
    return Told(mean, float(weights.sum() ** -0.5))


def doubt(
    *,
    rows: int,
    rarest: float,
    margin: float,
    drifted: Sequence[str] = (),
    told: Sequence[Told] = (),
) -> str:
    """Return why an estimate does not know; empty where it does.

    Parameters
    ----------
    rows
        How many there are.
    rarest
        Expected rows of the rarest class.
    margin
        As in ``Estimated``.
    drifted, told
        As for ``estimate``.

    Examples
    --------
    >>> doubt(rows=200, rarest=20.0, margin=0.03, told=[Told(0.01, 0.01)])
    ''
    >>> doubt(rows=200, rarest=20.0, margin=0.03)
    'no labels have told yet how far its estimates are off'
    """
    if rows < LEAST_ROWS:
        return f"{rows:,} rows, at least {LEAST_ROWS} are needed"
    if rarest < LEAST_OF_CLASS:
        return (
            f"{rarest:.0f} rows of the rarest class are expected, {LEAST_OF_CLASS:.0f} are needed"
        )
    if drifted:
        named = ", ".join(drifted[:3]) + (f" and {len(drifted) - 3} more" if drifted[3:] else "")
        return f"{named} drifted from what the model was calibrated on"
    mean = correction(told)
    if mean is None:
        return "no labels have told yet how far its estimates are off"
    if not margin <= WIDEST:
        return f"chance alone moves the ROC AUC by {margin:.3f}"
    off = [one for one in told[-LAST:] if abs(one.gap - mean.gap) > APART + one.margin + 1e-9]
    if off:
        return (
            f"labels told {off[-1].gap:+.3f} from what was estimated, {mean.gap:+.3f} in the mean"
        )
    return ""


def _checked(probabilities: Floats) -> Floats:
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 2 or not len(given) or given.shape[1] < 2:
        raise DataError("an estimate needs rows with the probabilities of two or more classes")
    if not np.isfinite(given).all() or (given < 0).any() or abs(given.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("these are no probabilities: each row's lie in 0 to 1 and sum to 1")
    return given


def roc_auc(scores: Floats, weights: Floats) -> float:
    """Return the ROC AUC where each row counts for each class with a weight.

    Parameters
    ----------
    scores
        Shape (n, k): what ranks the rows.
    weights
        Shape (n, k), each row summing to 1: probabilities, or 1 for the true class.

    Returns
    -------
    Of the second of two classes, else the mean of one against the rest; nan where a class has no
    weight, or all of it. A row is not compared with itself.

    Examples
    --------
    >>> roc_auc(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    1.0
    """
    return _Ranks(scores).roc_auc(weights)


class _Ranks:
    """Scores of rows (n, k), ranked once for many weights."""

    def __init__(self, scores: Floats) -> None:
        self._classes = range(scores.shape[1]) if scores.shape[1] > 2 else (1,)
        self._orders = [np.argsort(scores[:, place], kind="stable") for place in self._classes]
        ranked = [
            scores[order, place] for order, place in zip(self._orders, self._classes, strict=True)
        ]
        self._starts = [
            np.flatnonzero(np.concatenate(([True], one[1:] != one[:-1]))) for one in ranked
        ]

    def roc_auc(self, weights: Floats) -> float:
        """Return the ROC AUC where each row counts for each class with a weight (n, k)."""
        return float(
            np.mean(
                [
                    _auc(weights[order, place], starts)
                    for place, order, starts in zip(
                        self._classes, self._orders, self._starts, strict=True
                    )
                ]
            )
        )


def _auc(weight: Floats, starts: NDArray[np.intp]) -> float:
    """Return the share of pairs, weighted, in which the positive row is above; ties count half.

    Parameters
    ----------
    weight
        Of rows in rising order of their scores, shape (n,).
    starts
        Where each score that differs from the one before begins.
    """
    negative = 1.0 - weight
    up, down = np.add.reduceat(weight, starts), np.add.reduceat(negative, starts)
    below = np.concatenate(([0.0], np.cumsum(down)[:-1]))
    own = weight * negative  # a row with itself, which ties
    pairs = weight.sum() * negative.sum() - own.sum()
    if pairs <= 0:
        return float("nan")
    won = (up * below).sum() + 0.5 * ((up * down).sum() - own.sum())
    return float(won / pairs)


def _margin(probabilities: Floats, seed: int) -> float:
    """Return half of the interval that holds 95 % of the ROC AUC of labels drawn from these."""
    rng = np.random.default_rng(seed)
    some = probabilities[:MOST_ROWS]
    bounds = np.cumsum(some, axis=1)[:, :-1]
    ranks, classes = _Ranks(some), np.eye(some.shape[1])
    found = []
    for _ in range(DRAWS):
        drawn = (rng.random(len(some))[:, None] > bounds).sum(axis=1)
        found.append(ranks.roc_auc(classes[drawn]))
    known = [one for one in found if np.isfinite(one)]
    if len(known) < DRAWS / 2:
        return float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(high - low) / 2 * float(np.sqrt(len(some) / len(probabilities)))
