"""Estimates without a hold-out: where rows are few, each is judged by models of the others.

The rows are divided into folds several times: the search chooses configurations by one division,
the leaderboard is of another, and the figures are of further ones, so that nothing is judged by
the division that it was chosen by. The division whose loss is the median stands for these: a
mean of their predictions would be a better model than the one that is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.training._conformal import coverage, fit_intervals
from twinml.training._crossvalidation import predict
from twinml.training._ensemble import Stack, Vote, cross_fitted, fit_stack, fit_vote
from twinml.training._recipe import Fitted
from twinml.training.learner import Learner
from twinml.training.result import Coverage
from twinml.training.tasks import Task, predictions

__all__ = [
    "DIVISIONS",
    "Division",
    "Folds",
    "coverage_of",
    "drawn",
    "few_rows_first",
    "median_of",
    "pooled",
    "sources",
]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]
Folds = Sequence[tuple[Rows, Rows]]

# Odd, so that one of them is the median.
DIVISIONS = 3


@dataclass(frozen=True)
class Division:
    """Folds that together test every row once, and the recipe fitted on each."""

    folds: Folds
    fitted: Sequence[Fitted]

    def members(self, task: Task, names: Iterable[str], frame: pd.DataFrame) -> dict[str, Matrix]:
        """Return what each of the members says of all rows, (n, k), without having seen them."""
        found = {name: np.empty((len(frame), task.n_outputs)) for name in names}
        for (_, test), fitted in zip(self.folds, self.fitted, strict=True):
            X = np.asarray(fitted.encoder.transform(frame.iloc[test]), dtype=np.float64)
            for name, given in found.items():
                given[test] = predict(fitted.members[name], X, task.n_outputs)
        return found

    def predictions(
        self,
        task: Task,
        join: Vote | Stack,
        frame: pd.DataFrame,
        y: NDArray[Any],
        weights: NDArray[np.float64],
    ) -> Matrix:
        """Return predictions of all rows, (n, k), of members that did not see them.

        How the members are joined is learned from the other folds as well.

        Parameters
        ----------
        frame, y, weights
            Raw features of the n rows, their truth and their weights.
        """
        members = self.members(task, join.weights, frame)
        if len(members) == 1 and isinstance(join, Vote):
            return next(iter(members.values()))
        fit = fit_vote if isinstance(join, Vote) else fit_stack
        return cross_fitted(task, fit, members, y, weights, self.folds)


def few_rows_first(found: Sequence[Learner]) -> list[Learner]:
    """Return learners in the order in which few rows call for them: no boosting, cheap ones.

    Examples
    --------
    >>> from twinml.training.learners import LEARNERS
    >>> [one.name for one in few_rows_first(LEARNERS)][:4]
    ['LogisticRegression', 'Ridge', 'RidgeLog', 'RandomForest']
    """
    return sorted(found, key=lambda one: (one.rounds is not None, one.work(one.start)))


def median_of(losses: Sequence[float]) -> int:
    """Return the place of the median, the lower one of two in the middle, the first of equals.

    Examples
    --------
    >>> median_of([0.5, 0.1, 0.3]), median_of([0.4, 0.1, 0.2, 0.3]), median_of([0.2, 0.2, 0.1])
    (2, 2, 0)
    """
    return sorted(range(len(losses)), key=losses.__getitem__)[(len(losses) - 1) // 2]


def pooled(folds: Folds, pipelines: Sequence[Any], frame: pd.DataFrame) -> Callable[[Rows], Matrix]:
    """Return what predicts each row by the pipeline of the fold that tests it.

    It takes a matrix as ``sources`` gives it, perhaps with its columns permuted, or several of
    them one below the other.
    """

    def predicted(places: Rows) -> Matrix:
        starts = np.arange(0, len(places), len(frame))
        rows = [np.add.outer(starts, test).ravel() for _, test in folds]
        made = drawn(frame, places)
        given = [
            predictions(pipeline, made.iloc[each])
            for each, pipeline in zip(rows, pipelines, strict=True)
        ]
        return np.asarray(np.concatenate(given)[np.argsort(np.concatenate(rows))])

    return predicted


def sources(frame: pd.DataFrame) -> Rows:
    """Return for each value of a frame the row that it is of: what ``drawn`` takes.

    Examples
    --------
    >>> sources(pd.DataFrame({"a": [1, 2], "b": [3, 4]})).tolist()
    [[0, 0], [1, 1]]
    """
    return np.tile(np.arange(len(frame), dtype=np.int64)[:, None], frame.shape[1])


def drawn(frame: pd.DataFrame, places: Rows) -> pd.DataFrame:
    """Return a frame whose values are those of the rows ``places``, (n, p).

    Examples
    --------
    >>> drawn(pd.DataFrame({"a": [1, 2], "b": [3, 4]}), np.array([[1, 0], [0, 1]]))
       a  b
    0  2  3
    1  1  4
    """
    columns: Mapping[Any, Any] = {
        name: frame[name].iloc[places[:, place]].array for place, name in enumerate(frame.columns)
    }
    return pd.DataFrame(columns)


def coverage_of(
    folds: Folds, truth: Matrix, predicted: Matrix, levels: Sequence[float]
) -> tuple[Coverage, ...]:
    """Return what prediction intervals cover, each row by intervals made of the other folds' rows.

    Parameters
    ----------
    truth, predicted
        Numbers, shape (n,).
    """
    made = [(test, fit_intervals(truth[train], predicted[train])) for train, test in folds]
    found = []
    for level in levels:
        inside, width = 0.0, 0.0
        for test, intervals in made:
            if intervals is None or level > intervals.highest_level:
                break
            bounds = intervals.bounds(predicted[test], level)
            inside += len(test) * coverage(intervals, truth[test], predicted[test], level)
            width += float(np.sum(bounds[:, 1] - bounds[:, 0]))
        else:
            found.append(Coverage(level, inside / len(truth), width / len(truth)))
    return tuple(found)
