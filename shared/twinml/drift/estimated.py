"""How well a model does on rows without labels, from the probabilities that it gave them.

If a row's probability of a class is right in the mean, then the expected accuracy, log loss and ROC
AUC of many rows follow from the probabilities alone: each row counts for every class with that
class's probability (confidence-based estimation). This holds as long as the probabilities stay
calibrated. Where the relation of features and target changes (concept drift), no look at the
features can tell, so that an estimate says whether it **knows**: it does not where

* there are too few rows, or too few of a class to be expected among them;
* chance alone would move the figure by more than is useful;
* features drifted: the model is asked about rows unlike those that it was calibrated on;
* the last rows whose labels have come were estimated wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinml.errors import DataError

__all__ = ["Estimated", "doubt", "estimate"]

Floats = NDArray[np.float64]

LEAST_ROWS = 200
LEAST_OF_CLASS = 20.0  # expected rows
# Half of the interval of the ROC AUC that chance alone makes; a wider one is of no use.
WIDEST = 0.02
# What an earlier estimate may have been off, in ROC AUC, beyond chance.
TOLERANCE = 0.02
DRAWS = 200
MOST_ROWS = 20_000
SMALLEST = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Estimated:
    """What is to be expected of rows whose labels are not known.

    Attributes
    ----------
    rows
        How many there are.
    accuracy, log_loss, roc_auc
        Expected; of more than two classes the ROC AUC is the mean of one against the rest. It is
        nan where only one class is expected.
    margin
        Half of the interval in which chance alone leaves 95 % of the ROC AUC.
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
    last_gap: float | None = None,
    last_margin: float = 0.0,
    seed: int = 0,
) -> Estimated:
    """Return the expected figures of rows, from their calibrated probabilities.

    Parameters
    ----------
    probabilities
        Shape (n, k), k of at least 2; each row sums to 1.
    drifted
        Features of these rows that drifted from those that the model learned from.
    last_gap
        True less estimated ROC AUC of the last rows whose labels have come; ``None`` where none
        have.
    last_margin
        What chance alone allows that gap.
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
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 2 or not len(given) or given.shape[1] < 2:
        raise DataError("an estimate needs rows with the probabilities of two or more classes")
    if not np.isfinite(given).all() or (given < 0).any() or abs(given.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("these are no probabilities: each row's lie in 0 to 1 and sum to 1")
    safe = np.clip(given, SMALLEST, 1.0)
    drawn_from = given[:MOST_ROWS]
    auc = roc_auc(given, given)
    margin = _margin(drawn_from, seed) * float(np.sqrt(len(drawn_from) / len(given)))
    found = Estimated(
        rows=len(given),
        accuracy=float(given.max(axis=1).mean()),
        log_loss=float(-(given * np.log(safe)).sum(axis=1).mean()),
        roc_auc=auc,
        margin=margin,
    )
    why = doubt(
        rows=found.rows,
        rarest=float(given.sum(axis=0).min()),
        margin=margin,
        drifted=drifted,
        last_gap=last_gap,
        last_margin=last_margin,
    )
    return Estimated(**{**vars(found), "doubt": why})


def doubt(
    *,
    rows: int,
    rarest: float,
    margin: float,
    drifted: Sequence[str] = (),
    last_gap: float | None = None,
    last_margin: float = 0.0,
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
    drifted, last_gap, last_margin
        As for ``estimate``.

    Examples
    --------
    >>> doubt(rows=200, rarest=20.0, margin=0.02)
    ''
    >>> doubt(rows=200, rarest=20.0, margin=0.02, last_gap=-0.03, last_margin=0.01)
    ''
    """
    if rows < LEAST_ROWS:
        return f"{rows:,} rows, at least {LEAST_ROWS} are needed"
    if rarest < LEAST_OF_CLASS:
        return (
            f"{rarest:.0f} rows of the rarest class are expected, {LEAST_OF_CLASS:.0f} are needed"
        )
    if not margin <= WIDEST:
        return f"chance alone moves the ROC AUC by {margin:.3f}"
    if drifted:
        named = ", ".join(drifted[:3]) + (f" and {len(drifted) - 3} more" if drifted[3:] else "")
        return f"{named} drifted from what the model was calibrated on"
    if last_gap is not None and abs(last_gap) > TOLERANCE + last_margin + 1e-9:
        return f"the last labels that came told {last_gap:+.3f} from what was estimated"
    return ""


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
    classes = range(scores.shape[1]) if scores.shape[1] > 2 else (1,)
    return float(np.mean([_auc(scores[:, place], weights[:, place]) for place in classes]))


def _auc(scores: Floats, positive: Floats) -> float:
    """Return the share of pairs, weighted, in which the positive row is above; ties count half."""
    order = np.argsort(scores, kind="stable")
    ranked, weight = scores[order], positive[order]
    negative = 1.0 - weight
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
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
    bounds = np.cumsum(probabilities, axis=1)[:, :-1]
    found = []
    for _ in range(DRAWS):
        drawn = (rng.random(len(probabilities))[:, None] > bounds).sum(axis=1)
        found.append(roc_auc(probabilities, np.eye(probabilities.shape[1])[drawn]))
    known = [one for one in found if np.isfinite(one)]
    if len(known) < DRAWS / 2:
        return float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(high - low) / 2
