"""The result of a training run: values only, so that reports, models and tests can take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.contract import Contract
from twinml.training.estimates import OUT_OF_FOLD, TEST, WORDS

__all__ = [
    "Candidate",
    "Coverage",
    "Dependence",
    "Evaluation",
    "FittedCandidate",
    "Interval",
    "TrainingResult",
    "Trial",
]


@dataclass(frozen=True)
class Trial:
    """One configuration that the search tried.

    ``loss`` is the search metric turned so that lower is better (mean over the folds);
    ``None`` when the trial was stopped early or failed, with the reason in ``note``.
    """

    number: int
    learner: str
    config: Mapping[str, Any]
    loss: float | None
    seconds: float
    folds: int
    note: str = ""


@dataclass(frozen=True)
class Candidate:
    """One line of the leaderboard: a learner's best configuration, or an ensemble of them.

    ``metrics`` are out-of-fold on the training rows: every row is predicted by models that
    never saw it. ``weights`` maps member names to their share; empty for a single learner.
    ``interval`` is that of the metric that chose, where its standard error is known.
    """

    name: str
    kind: str
    metrics: Mapping[str, float]
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    trials: int = 0
    seconds: float = 0.0
    note: str = ""
    interval: Interval | None = None


@dataclass(frozen=True)
class Interval:
    """A 95 % bootstrap percentile interval around a point estimate."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Coverage:
    """How many rows lie in their prediction intervals.

    Attributes
    ----------
    level
        The share that was promised.
    share
        The share of the measured rows.
    width
        The mean width of the intervals, in the target's unit.
    """

    level: float
    share: float
    width: float


@dataclass(frozen=True)
class Dependence:
    """What a model predicts in the mean when a column is set to a value.

    Attributes
    ----------
    values
        Of the column, m of them: ascending numbers, or the most frequent texts first.
    predictions
        Means over the rows, shape (m, k).
    rows
        Of the test that were set so.
    """

    feature: str
    values: tuple[Any, ...]
    predictions: NDArray[np.float64]
    rows: int


@dataclass(frozen=True)
class Evaluation:
    """How the chosen recipe did on rows that it never saw.

    Attributes
    ----------
    split
        How the rows were divided: ``random``, ``ordered``, ``column:NAME`` or ``group:NAME``.
    out_of_fold
        Whether no rows were held out: each was predicted by models of the folds without it, and
        all rows are both learned from and measured on.
    n_train, n_test
        Rows that the measured model learned from, and that it was measured on.
    metrics
        By name, with intervals; of classes ``accuracy``, ``balanced_accuracy``, ``roc_auc``,
        ``average_precision``, ``log_loss``, ``f1``, ``brier``, of numbers those of
        ``twinml.training.tasks.Regression``.
    baseline
        The same metrics, without intervals, for a model that always gives the class shares
        of the training rows, or their mean.
    confusion
        Counts, shape (n_classes, n_classes), rows are the true classes in contract order; of
        numbers shape (0, 0).
    labels
        True classes as indices into the contract's classes, or the true numbers, shape (n_test,).
    probabilities
        Shape (n_test, n_classes); of a regression the predicted numbers, shape (n_test, 1).
    rows
        Positions of the test rows in the data set, shape (n_test,).
    coverage
        Of a regression: what became of the prediction intervals on these rows, by level.
    """

    split: str
    n_train: int
    n_test: int
    metrics: Mapping[str, Interval]
    baseline: Mapping[str, float]
    confusion: NDArray[np.int64]
    labels: NDArray[Any]
    probabilities: NDArray[np.float64]
    rows: NDArray[np.int64]
    coverage: tuple[Coverage, ...] = ()
    out_of_fold: bool = False

    @property
    def prefix(self) -> str:
        """What the names of its figures begin with, where they are kept: no row, no test."""
        return OUT_OF_FOLD if self.out_of_fold else TEST

    @property
    def how(self) -> str:
        """How the rows were divided, in a word or two."""
        if not self.out_of_fold:
            return self.split
        return WORDS[OUT_OF_FOLD] + (f", {self.split}" if self.split != "random" else "")


@dataclass(frozen=True)
class FittedCandidate:
    """A line of the leaderboard with its model.

    Attributes
    ----------
    pipeline
        Fitted on the rows that ``TrainingResult.pipeline`` learned from.
    labels
        True classes of the rows judged out of fold as indices, shape (n_judged,).
    out_of_fold
        Probabilities of these training rows by models that never saw them, shape
        (n_judged, n_classes).
    """

    candidate: Candidate
    pipeline: Any
    labels: NDArray[Any]
    out_of_fold: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingResult:
    """Everything that a training run found.

    Attributes
    ----------
    contract
        The promise of the model: columns, classes, ranges, sample rows.
    pipeline
        The fitted scikit-learn pipeline of the winner; takes the raw feature frame. It learned
        from all rows, unless ``TrainingOptions.refit`` said otherwise.
    measured
        The same recipe fitted on the training rows: what ``test`` measured, and what is
        compared with another model on the test rows. ``None`` where that is ``pipeline``.
    measured_apart
        Whether ``pipeline`` learned from more rows than what ``test`` measured.
    runner_up
        The fitted pipeline of the best single learner when an ensemble won, else of the
        next candidate; ``None`` when there is only one. For the A/B step.
    runner_up_test
        Its probabilities on the rows of ``test``, shape (n_test, n_classes).
    leaderboard
        Best first by ``metric``.
    metric
        The name of the metric that chose.
    threshold
        Decision threshold on the positive class; ``None`` for multi-class (argmax).
    test
        The estimate on the main split.
    forward
        The forward-in-time estimate, or ``None`` with the reason in ``forward_note``.
    importance
        Permutation importance on test rows: columns ``feature``, ``mean``, ``std`` (drop of
        the metric), most important first.
    timings
        Seconds by phase.
    notes
        What the search sampled or left out, and why.
    trained_on
        Positions in the data set of the rows that the pipeline learned from, ascending.
    dependence
        Partial dependence of the most important columns.
    candidates
        All lines of the leaderboard with their models, if they were asked for.
    """

    contract: Contract
    pipeline: Any
    runner_up: Any | None
    runner_up_name: str | None
    leaderboard: tuple[Candidate, ...]
    trials: tuple[Trial, ...]
    metric: str
    threshold: float | None
    test: Evaluation
    forward: Evaluation | None
    forward_note: str
    importance: pd.DataFrame
    timings: Mapping[str, float]
    options: Mapping[str, Any]
    runner_up_test: NDArray[np.float64] | None = None
    interrupted: bool = False
    trained_on: NDArray[np.int64] | None = None
    candidates: tuple[FittedCandidate, ...] = ()
    measured: Any | None = None
    measured_apart: bool = False
    notes: tuple[str, ...] = ()
    dependence: tuple[Dependence, ...] = ()

    @property
    def best(self) -> Candidate:
        """The winner."""
        return self.leaderboard[0]

    @property
    def learned_from(self) -> str:
        """Which rows ``pipeline`` learned from, in words; the figures are of the recipe."""
        if self.test.out_of_fold:
            return "all rows; figures out of fold"
        if self.measured_apart:
            return "all rows; figures of its recipe, fitted without the test rows"
        return "the training rows"

    def without_models(self) -> TrainingResult:
        """Return the result without the fitted pipelines, as it is kept."""
        return replace(self, pipeline=None, runner_up=None, measured=None, candidates=())
