"""What a recipe did on rows that it never saw: figures, importance, partial dependence."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.contract.intervals import PredictionIntervals
from twinml.training._conformal import coverage, fit_intervals
from twinml.training._dependence import partial_dependence
from twinml.training._ensemble import Stack, Vote
from twinml.training._importance import REPEATS, affordable_repeats, permutation_importance
from twinml.training._out_of_fold import Division, coverage_of, median_of, pooled, sources
from twinml.training._recipe import Fitted
from twinml.training.encoded import encoded_columns
from twinml.training.options import TrainingOptions
from twinml.training.result import Coverage, Dependence, Evaluation
from twinml.training.splits import Split, stratified_sample
from twinml.training.tasks import Task, predictions

__all__ = ["DEPENDENCE_SHARE", "IMPORTANCE_SHARE", "Evaluator", "Table"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

_IMPORTANCE_ROWS = 1_200
# Of the budget: repeats and rows become fewer where they would take more.
IMPORTANCE_SHARE = 0.04
# Of the budget, the same for partial dependence.
DEPENDENCE_SHARE = 0.02
# At which the coverage of prediction intervals is measured.
_LEVELS = (0.5, 0.8, 0.9, 0.95)
_RESAMPLED_ROWS = 8_000_000


@dataclass
class Table:
    """Features and truth of a data set, and which rows are whose."""

    features: pd.DataFrame
    labels: pd.Series[Any]
    task: Task
    y: NDArray[Any]
    strata: Rows
    split: Split
    copies: Rows | None


class Evaluator:
    """Measures fitted pipelines on the rows of a table.

    Parameters
    ----------
    metric, threshold
        By which importance is measured; the decision threshold of figures at one.
    """

    def __init__(
        self, table: Table, options: TrainingOptions, metric: str, threshold: float | None
    ) -> None:
        self._table, self._options = table, options
        self._metric, self._threshold = metric, threshold
        self._folds: tuple[Division, Vote | Stack] | None = None

    def predicted(self, pipeline: Any, rows: Rows) -> Matrix:
        """Return the predictions of rows, (n, k)."""
        return predictions(pipeline, self._table.features.iloc[rows])

    def held_out(
        self, split: Split, pipeline: Any, intervals: PredictionIntervals | None
    ) -> Evaluation:
        """Return the figures of a pipeline on the rows that a split holds out."""
        predicted = self.predicted(pipeline, split.test)
        found = self._figures(split, predicted)
        if intervals is None:
            return found
        truth = self._table.y[split.test]
        return replace(found, coverage=_coverage(intervals, truth, predicted[:, 0]))

    def out_of_fold(
        self,
        divisions: Sequence[Division],
        joins: Sequence[Vote | Stack],
        weights: NDArray[np.float64],
    ) -> tuple[Evaluation, PredictionIntervals | None, list[Matrix]]:
        """Return the figures of the first join out of fold, its intervals, and others' predictions.

        They are of the division in which its loss is the median; so are the predictions of the
        other joins, to be compared with it.
        """
        table = self._table

        def given(division: Division, join: Vote | Stack) -> Matrix:
            return division.predictions(table.task, join, table.features, table.y, weights)

        each = [given(division, joins[0]) for division in divisions]
        place = median_of([table.task.loss(table.y, one) for one in each])
        division, predicted = divisions[place], each[place]
        self._folds = division, joins[0]
        found = replace(self._figures(table.split, predicted), out_of_fold=True)
        intervals = None
        if table.task.kind == "regression":
            numbers = predicted[:, 0]
            intervals = fit_intervals(table.y, numbers)
            covered = coverage_of(division.folds, table.y, numbers, _LEVELS)
            found = replace(found, coverage=covered)
        return found, intervals, [given(division, join) for join in joins[1:]]

    def _figures(self, split: Split, predicted: Matrix) -> Evaluation:
        task, y = self._table.task, self._table.y
        y_train, y_test = y[split.train], y[split.test]
        return Evaluation(
            split=split.kind,
            n_train=len(y_train),
            n_test=len(y_test),
            metrics=task.bootstrap(
                y_test,
                predicted,
                self._threshold,
                # Of many rows the intervals are narrow, and resamples take long.
                resamples=int(np.clip(_RESAMPLED_ROWS // len(y_test), 100, 400)),
                seed=self._options.seed,
            ),
            baseline=task.score(y_test, task.baseline(y_train, len(y_test))),
            confusion=task.confusion(y_test, predicted, self._threshold),
            labels=y_test,
            probabilities=predicted,
            rows=split.test,
        )

    def dependence(self, pipeline: Any, importance: pd.DataFrame) -> tuple[Dependence, ...]:
        """Return the partial dependence of the most important columns, on rows to test on."""
        table = self._table
        rows = np.random.default_rng(self._options.seed).permutation(table.split.test)
        allowed = math.inf if self._options.reproducible else self._options.budget
        return partial_dependence(
            lambda frame: predictions(pipeline, frame),
            table.features.iloc[rows],
            importance["feature"].tolist(),
            DEPENDENCE_SHARE * allowed,
        )

    def importance(self, fitted: Fitted, pipeline: Any) -> pd.DataFrame:
        """Return the permutation importance of the columns on rows to test on.

        Where no rows are held out, each row is predicted by the models of the folds without it.
        """
        table = self._table
        rng = np.random.default_rng(self._options.seed)
        if self._folds is not None:
            division, join = self._folds
            pipelines = [one.pipeline(join, self._threshold) for one in division.fitted]
            names = [str(name) for name in table.features.columns]
            X: NDArray[Any] = sources(table.features)
            y = table.y
            predict = pooled(division.folds, pipelines, table.features)
        else:
            rows = stratified_sample(rng, table.strata, table.split.test, _IMPORTANCE_ROWS)
            frame = table.features.iloc[rows]
            names = encoded_columns(fitted.encoder.named_steps["columns"])
            whole = pipeline if hasattr(pipeline, "named_steps") else pipeline.estimator.estimator
            model = whole.named_steps["model"]
            X, y = np.asarray(fitted.encoder.transform(frame), dtype=np.float64), table.y[rows]

            def predict(places: NDArray[Any]) -> Matrix:
                return predictions(model, places)

        repeats = REPEATS
        if not self._options.reproducible:
            started = time.monotonic()
            predict(X)
            once = (time.monotonic() - started) * len(set(names)) / self._options.jobs
            allowed = IMPORTANCE_SHARE * self._options.budget
            repeats, size = affordable_repeats(once, allowed, len(X))
            if size < len(X):
                kept = rng.permutation(len(X))[:size]
                X, y = X[kept], y[kept]
        return permutation_importance(
            table.task,
            predict,
            X,
            y,
            names,
            metric=self._metric,
            threshold=self._threshold,
            orders=[rng.permutation(len(X)) for _ in range(repeats)],
            jobs=self._options.jobs,
        )


def _coverage(
    intervals: PredictionIntervals, truth: Matrix, predicted: Matrix
) -> tuple[Coverage, ...]:
    found = []
    for level in _LEVELS:
        if level <= intervals.highest_level:
            bounds = intervals.bounds(predicted, level)
            width = float(np.mean(bounds[:, 1] - bounds[:, 0]))
            found.append(Coverage(level, coverage(intervals, truth, predicted, level), width))
    return tuple(found)
