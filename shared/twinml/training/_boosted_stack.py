"""A stack whose blend is boosted: LightGBM on the members' predictions and the features.

Where the members err together, and the features say where, no linear blend of their predictions can
tell. The members' predictions are out of fold; so is what the blend itself is judged by. It is the
``passthrough`` of scikit-learn's stacks: the members' columns first, the encoded features behind.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.training._crossvalidation import FoldData, FoldFit, fit
from twinml.training._ensemble import Stack, Vote, side_by_side
from twinml.training._rounds import MOST_GROWTH, rounds_for
from twinml.training.learner import Config, Learner, Shape
from twinml.training.learners import blending
from twinml.training.tasks import Task

__all__ = ["FEWEST_ROWS", "USUAL_ROUNDS", "BoostedStack", "Join", "fit_boosted_stack", "turns"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

# Of fewer rows a second model with all features believes too much.
FEWEST_ROWS = 5_000
# Rounds times rate that a blend usually takes to its best: the members have done most already.
_REACH = 8.0
_LOWEST_RATE, _HIGHEST_RATE = 0.04, 0.2
USUAL_ROUNDS = _REACH / _LOWEST_RATE


@dataclass(frozen=True, eq=False)
class BoostedStack:
    """Boosting on the members' columns, then the features.

    Attributes
    ----------
    members
        In the order of their columns.
    rows
        Which rows of the data set it has learned from.
    data
        Their members' columns out of fold and encoded features, (n, m + p), truth and weights.
    final
        Fitted on ``data``.
    """

    members: tuple[str, ...]
    rows: Rows
    data: FoldData
    learner: Learner
    config: Config
    final: Any

    @property
    def weights(self) -> Mapping[str, float]:
        """Each member's share of what splits on the members' predictions gained."""
        gains = self.final.booster_.feature_importance("gain")
        gains = gains[: _columns(self.data, self.members)]
        shares = gains.reshape(len(self.members), -1).sum(axis=1)
        total = shares.sum()
        shares = shares / total if total > 0 else np.full(len(shares), 1.0 / len(shares))
        return dict(zip(self.members, shares.tolist(), strict=True))

    def suited(
        self, encoded: Callable[[Rows], Matrix], allowed: Rows | None = None
    ) -> BoostedStack:
        """Return it for an encoder that may give texts other codes, learned from ``allowed`` alone.

        Parameters
        ----------
        encoded
            From rows of the data set to their encoded features, (n, p).
        allowed
            Rows of the data set; ``None`` for all that it has learned from.
        """
        kept = np.arange(len(self.rows))
        if allowed is not None:
            kept = np.flatnonzero(np.isin(self.rows, allowed))
        count = _columns(self.data, self.members)
        X = np.hstack([self.data.X[kept, :count], encoded(self.rows[kept])])
        if len(kept) == len(self.rows) and np.array_equal(X, self.data.X, equal_nan=True):
            return self
        data = replace(self.data, X=X, y=self.data.y[kept], weights=self.data.weights[kept])
        return replace(
            self, rows=self.rows[kept], data=data, final=_fit(self.learner, self.config, data)
        )


Join: TypeAlias = Vote | Stack | BoostedStack


def fit_boosted_stack(
    task: Task,
    members: Mapping[str, Matrix],
    X: Matrix,
    y: NDArray[Any],
    weights: NDArray[np.float64],
    folds: Sequence[tuple[Rows, Rows]],
    shape: Shape,
    rows: Rows,
    *,
    seconds: float,
    round_seconds: float,
    jobs: int,
) -> tuple[BoostedStack, Matrix] | None:
    """Fit the blend on every fold, choose its rounds, and fit it on all rows.

    Parameters
    ----------
    members
        Out-of-fold predictions by name, each (n, k).
    X, y, weights, rows
        Encoded features (n, p), truth, weights, and which rows of the data set these are.
    folds
        Pairs of positions (train, test) among the n rows.
    seconds
        That are spare; infinite where all may take what they take.
    round_seconds
        What a round of a fold should take.

    Returns
    -------
    The stack, and its own out-of-fold predictions, (n, k); ``None`` if so few rounds fit into the
    seconds that it is not worth to begin.
    """
    each = seconds / turns(len(folds), jobs)
    rounds = each / round_seconds
    rate = rate_within(rounds)
    if rate is None:
        return None
    columns = side_by_side(list(members.values()))
    learner = blending(columns.shape[1])
    data = FoldData(np.hstack([columns, X]), y, weights, folds, shape, task)
    start = {**learner.start, "learning_rate": rate}

    def judged(fold: int) -> FoldFit:
        # Each has the same time, so that none is cut before the others have come as far.
        ends = time.monotonic() + each
        return data.fitted(learner, start, fold, lambda: time.monotonic() > ends)

    with ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,)) as pool:
        fits = list(pool.map(judged, range(len(folds))))
    predicted, chosen = data.out_of_fold(learner, fits)
    assert learner.rounds is not None
    grown = rounds_for(chosen, len(y) / len(folds[0][0]))
    config = {**start, learner.rounds.name: grown}
    final = _fit(learner, config, data)
    return BoostedStack(tuple(members), rows, data, learner, config, final), predicted


def turns(folds: int, jobs: int) -> float:
    """Return how many folds' time a blend takes: those that share the jobs, then all rows.

    Examples
    --------
    >>> turns(5, 2), turns(4, 2)
    (4.25, 3.25)
    """
    return math.ceil(folds / jobs) + MOST_GROWTH


def rate_within(rounds: float) -> float | None:
    """Return the learning rate with which a blend comes to its end in so many rounds.

    ``None`` where it would have to learn too fast.

    Examples
    --------
    >>> [rate_within(rounds) for rounds in (1e9, 200, 100, 40, 39)]
    [0.04, 0.04, 0.08, 0.2, None]
    """
    if rounds < _REACH / _HIGHEST_RATE:
        return None
    return max(_LOWEST_RATE, _REACH / rounds)


def _fit(learner: Learner, config: Config, data: FoldData) -> Any:
    return fit(learner, config, data.X, data.y, data.weights, data.shape)


def _columns(data: FoldData, members: Sequence[str]) -> int:
    """Return how many columns the members have: for two classes one each, as for numbers."""
    outputs = data.shape.n_outputs
    return len(members) * (1 if outputs == 2 else outputs)
