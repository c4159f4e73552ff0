"""Two ways to join learners, both fitted on out-of-fold predictions only.

* ``VotingEnsemble``: weights by greedy selection with replacement (Caruana et al. 2004),
  then a weighted mean of probabilities.
* ``StackEnsemble``: a logistic regression on the members' log-odds.

The names are Azure AutoML's. Members stay as few as the weights allow: each one costs time
at every prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

__all__ = ["Stack", "Vote", "cross_fitted", "fit_stack", "fit_vote"]

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]

# A member of a vote has a share of 1/30 at least.
_ROUNDS = 30
# A member of a stack that moves the result by less than this share is left out.
_LEAST_SHARE = 0.03
# A vote's loss that falls by no more than this is no better.
_LEAST_GAIN = 1e-7
# Probabilities of 0 and 1 from a forest would be infinite log-odds.
_CLIP = 1e-4


@dataclass(frozen=True)
class Vote:
    """A weighted mean: ``weights`` sums to 1, by member name, zero weights left out."""

    weights: Mapping[str, float]

    def predict_proba(self, members: Mapping[str, Probabilities]) -> Probabilities:
        """Return the weighted mean of the members' probabilities, shape (n, k)."""
        total = sum(weight * members[name] for name, weight in self.weights.items())
        return np.asarray(total, dtype=np.float64)


@dataclass(frozen=True)
class Stack:
    """A logistic regression on log-odds; ``blend`` takes the members' columns side by side.

    ``members`` are in the order in which ``blend`` takes them. For two classes each member
    gives one column, the probability of class 1; for more, one column a class.
    """

    members: tuple[str, ...]
    blend: Pipeline

    @property
    def weights(self) -> Mapping[str, float]:
        """Each member's share of the summed absolute coefficients."""
        coefficients = np.abs(self.blend[-1].coef_).sum(axis=0)
        shares = coefficients.reshape(len(self.members), -1).sum(axis=1)
        return dict(zip(self.members, (shares / shares.sum()).tolist(), strict=True))

    def predict_proba(self, members: Mapping[str, Probabilities]) -> Probabilities:
        """Return the blended probabilities, shape (n, k)."""
        columns = side_by_side([members[name] for name in self.members])
        return np.asarray(self.blend.predict_proba(columns), dtype=np.float64)


def side_by_side(members: Sequence[Probabilities]) -> NDArray[np.float64]:
    """Return what scikit-learn's ``StackingClassifier`` gives its final estimator."""
    return np.hstack([one[:, 1:] if one.shape[1] == 2 else one for one in members])


def log_losses(truth: NDArray[np.float64], stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss of each of m predictions; ``stack`` is (m, n): the true class's share."""
    return np.asarray(-np.log(np.clip(stack, 1e-15, 1.0)) @ truth)


def fit_vote(members: Mapping[str, Probabilities], labels: Labels, weights: Counts) -> Vote:
    """Select members greedily by log loss, with replacement.

    Parameters
    ----------
    members
        Out-of-fold probabilities by name, each of shape (n, k).
    weights
        Row weights, shape (n,).
    """
    names = list(members)
    rows = np.arange(len(labels))
    # Only the probability of the true class enters the log loss of a mean.
    share = np.stack([members[name][rows, labels] for name in names])
    row_weights = weights / weights.sum()
    picked: list[int] = []
    losses: list[float] = []
    summed = np.zeros(len(labels))
    for size in range(1, _ROUNDS + 1):
        candidates = log_losses(row_weights, (summed + share) / size)
        picked.append(int(np.argmin(candidates)))
        losses.append(float(candidates[picked[-1]]))
        summed += share[picked[-1]]
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


def fit_stack(members: Mapping[str, Probabilities], labels: Labels, weights: Counts) -> Stack:
    """Fit the logistic blend, then again without the members that hardly count."""
    names = tuple(members)
    stack = _fit_blend(names, members, labels, weights)
    kept = kept_members(stack.weights)
    return stack if kept == names else _fit_blend(kept, members, labels, weights)


def kept_members(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the members whose share counts; all of them where no share does."""
    kept = tuple(name for name, share in weights.items() if share >= _LEAST_SHARE)
    return kept or tuple(weights)


def _fit_blend(
    names: tuple[str, ...], members: Mapping[str, Probabilities], labels: Labels, weights: Counts
) -> Stack:
    blend = Pipeline(
        [
            # Functions of numpy and scipy, by name: the model loads without this package.
            ("clip", FunctionTransformer(np.clip, kw_args={"a_min": _CLIP, "a_max": 1 - _CLIP})),
            ("log_odds", FunctionTransformer(logit)),
            ("logistic", LogisticRegression(C=1.0, max_iter=500)),
        ]
    )
    columns = side_by_side([members[name] for name in names])
    blend.fit(columns, labels, logistic__sample_weight=weights)
    return Stack(names, blend)


Counts = NDArray[np.float64]
Fit = Callable[[Mapping[str, Probabilities], Labels, Counts], Vote | Stack]


def cross_fitted(
    fit: Fit,
    members: Mapping[str, Probabilities],
    labels: Labels,
    weights: Counts,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> Probabilities:
    """Return an ensemble's out-of-fold probabilities with its weights out-of-fold as well.

    Fitting weights on the very rows that they are judged by would favour the ensemble on
    the leaderboard over single learners.
    """
    n_classes = next(iter(members.values())).shape[1]
    result = np.empty((len(labels), n_classes))
    for train, test in folds:
        ensemble = fit(
            {name: one[train] for name, one in members.items()}, labels[train], weights[train]
        )
        result[test] = ensemble.predict_proba({name: one[test] for name, one in members.items()})
    return result
