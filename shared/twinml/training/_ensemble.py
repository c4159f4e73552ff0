"""Two ways to join learners, both fitted on out-of-fold predictions only.

* ``VotingEnsemble``: weights by greedy selection with replacement (Caruana et al. 2004),
  then a weighted mean of predictions.
* ``StackEnsemble``: of classes a logistic regression on the members' log-odds, of numbers
  least squares on the members' predictions without negative coefficients.

The names are Azure AutoML's. Members stay as few as the weights allow: each one costs time
at every prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from twinml.training.tasks import Task, predictions

__all__ = ["Stack", "Vote", "cross_fitted", "fit_stack", "fit_vote"]

Truth = NDArray[Any]
Predictions = NDArray[np.float64]

# A member of a vote has a share of 1/30 at least.
_ROUNDS = 30
# More members cost time at every prediction, and scikit-learn's mean of eight numbers adds them in
# an order that depends on the size of the batch: no compiled form could follow it.
_MOST_MEMBERS = 7
# A member of a stack that moves the result by less than this share is left out.
_LEAST_SHARE = 0.03
# A vote's loss that falls by no more than this is no better.
_LEAST_GAIN = 1e-7


@dataclass(frozen=True)
class Vote:
    """A weighted mean: ``weights`` sums to 1, by member name, zero weights left out."""

    weights: Mapping[str, float]

    def predict(self, members: Mapping[str, Predictions]) -> Predictions:
        """Return the weighted mean of the members' predictions, shape (n, k)."""
        total = sum(weight * members[name] for name, weight in self.weights.items())
        return np.asarray(total, dtype=np.float64)


@dataclass(frozen=True)
class Stack:
    """A linear model of the members; ``blend`` takes their columns side by side.

    ``members`` are in the order in which ``blend`` takes them. For two classes each member
    gives one column, the probability of class 1; for more, one column a class; of numbers one.
    """

    members: tuple[str, ...]
    blend: Pipeline

    @property
    def weights(self) -> Mapping[str, float]:
        """Each member's share of the summed absolute coefficients."""
        coefficients = np.abs(np.atleast_2d(self.blend[-1].coef_)).sum(axis=0)
        shares = coefficients.reshape(len(self.members), -1).sum(axis=1)
        # Of numbers all can be 0: then the mean is what is given.
        shares = shares / shares.sum() if shares.sum() > 0 else np.zeros(len(shares))
        return dict(zip(self.members, shares.tolist(), strict=True))

    def predict(self, members: Mapping[str, Predictions]) -> Predictions:
        """Return the blended predictions, shape (n, k)."""
        return predictions(self.blend, side_by_side([members[name] for name in self.members]))


def side_by_side(members: Sequence[Predictions]) -> NDArray[np.float64]:
    """Return what scikit-learn's stacks give their final estimator."""
    return np.hstack([one[:, 1:] if one.shape[1] == 2 else one for one in members])


def fit_vote(task: Task, members: Mapping[str, Predictions], truth: Truth, weights: Counts) -> Vote:
    """Select members greedily by the task's loss, with replacement.

    Parameters
    ----------
    members
        Out-of-fold predictions by name, each of shape (n, k).
    weights
        Row weights, shape (n,).
    """
    names = list(members)
    parts = task.parts(members, truth)
    row_weights = weights / weights.sum()
    picked: list[int] = []
    losses: list[float] = []
    summed = np.zeros(len(truth))
    for size in range(1, _ROUNDS + 1):
        candidates = task.losses_of((summed + parts) / size, truth, row_weights)
        if len(set(picked)) == _MOST_MEMBERS:
            candidates[[place not in picked for place in range(len(names))]] = np.inf
        picked.append(int(np.argmin(candidates)))
        losses.append(float(candidates[picked[-1]]))
        summed += parts[picked[-1]]
    best = picked[: best_round(losses)]
    counts = {name: best.count(place) for place, name in enumerate(names)}
    return Vote({name: count / len(best) for name, count in counts.items() if count})


def best_round(losses: Sequence[float]) -> int:
    """Return how many rounds to keep: up to the one with the lowest loss, the first of equals."""
    best = 0
    for place, loss in enumerate(losses):
        if loss < losses[best] - _LEAST_GAIN:
            best = place
    return best + 1


def fit_stack(
    task: Task, members: Mapping[str, Predictions], truth: Truth, weights: Counts
) -> Stack:
    """Fit the blend, then again without the members that hardly count."""
    names = tuple(members)
    stack = _fit_blend(task, names, members, truth, weights)
    kept = kept_members(stack.weights)
    return stack if kept == names else _fit_blend(task, kept, members, truth, weights)


def kept_members(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the members whose share counts; all of them where no share does."""
    kept = tuple(name for name, share in weights.items() if share >= _LEAST_SHARE)
    return kept or tuple(weights)


def _fit_blend(
    task: Task,
    names: tuple[str, ...],
    members: Mapping[str, Predictions],
    truth: Truth,
    weights: Counts,
) -> Stack:
    blend = task.blend()
    columns = side_by_side([members[name] for name in names])
    blend.fit(columns, truth, linear__sample_weight=weights)
    return Stack(names, blend)


Counts = NDArray[np.float64]
Fit = Callable[[Task, Mapping[str, Predictions], Truth, Counts], Vote | Stack]


def cross_fitted(
    task: Task,
    fit: Fit,
    members: Mapping[str, Predictions],
    truth: Truth,
    weights: Counts,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> Predictions:
    """Return an ensemble's out-of-fold predictions with its weights out-of-fold as well.

    Fitting weights on the very rows that they are judged by would favour the ensemble on
    the leaderboard over single learners.
    """
    result = np.empty((len(truth), task.n_outputs))
    for train, test in folds:
        ensemble = fit(
            task,
            {name: one[train] for name, one in members.items()},
            truth[train],
            weights[train],
        )
        result[test] = ensemble.predict({name: one[test] for name, one in members.items()})
    return result
