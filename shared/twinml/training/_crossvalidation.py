"""Fits one configuration on every fold: in this process, or on Spark.

The search asks for the predictions of fold after fold and stops asking when a configuration is
hopeless. In this process a fold is fitted when it is asked for. On Spark all folds of a
configuration are one job with a task for each; those not asked for were fitted in vain, but
what the search sees is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.errors import TrainingError
from twinml.training.learners import Learner, Shape

if TYPE_CHECKING:
    from twinml.training.options import TrainingOptions

__all__ = ["FoldData", "Judging", "fit", "here", "judging", "reason"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]
# From a learner and a configuration to each fold's predictions and the seconds they took.
Judge: TypeAlias = Callable[[Learner, Mapping[str, Any]], Iterator[tuple[Matrix, float]]]


@dataclass(frozen=True)
class FoldData:
    """What every configuration is fitted on.

    Attributes
    ----------
    X, y, weights
        Encoded rows (n, p), labels 0 … k-1 (n,), row weights (n,).
    folds
        Pairs of positions (train, test).
    """

    X: Matrix
    y: Rows
    weights: NDArray[np.float64]
    folds: Sequence[tuple[Rows, Rows]]
    shape: Shape

    def predictions(
        self, learner: Learner, config: Mapping[str, Any], fold: int
    ) -> tuple[Matrix, float]:
        """Return the probabilities of a fold's test rows, (m, k), and the seconds they took."""
        started = time.monotonic()
        train, test = self.folds[fold]
        estimator = fit(
            learner, config, self.X[train], self.y[train], self.weights[train], self.shape
        )
        predicted = predict_proba(estimator, self.X[test], self.shape.n_classes)
        return predicted, time.monotonic() - started


Judging: TypeAlias = Callable[[FoldData], Judge]


def fit(
    learner: Learner,
    config: Mapping[str, Any],
    X: Matrix,
    y: Rows,
    weights: NDArray[np.float64],
    shape: Shape,
) -> Any:
    """Return ``learner`` fitted on the encoded rows ``X``, shape (n, p), labels 0 … k-1."""
    estimator = learner.build(config, X, shape)
    arguments: dict[str, Any] = {}
    if not np.all(weights == weights[0]):
        name = "logisticregression__sample_weight" if hasattr(estimator, "steps") else None
        arguments[name or "sample_weight"] = weights
    estimator.fit(X, y, **arguments)
    learner.tidy(estimator)
    return estimator


def predict_proba(estimator: Any, X: Matrix, n_classes: int) -> Matrix:
    """Return probabilities of shape (n, n_classes), float64, rows summing to 1."""
    given = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    if given.shape[1] == n_classes:
        return given
    # A fold that lacks a class gives no column for it.
    full = np.zeros((len(X), n_classes))
    full[:, np.asarray(estimator.classes_, dtype=np.int64)] = given
    return full


def here(data: FoldData) -> Judge:
    """Fit each fold in the calling thread when it is asked for."""

    def judge(learner: Learner, config: Mapping[str, Any]) -> Iterator[tuple[Matrix, float]]:
        for fold in range(len(data.folds)):
            yield data.predictions(learner, config, fold)

    return judge


@contextmanager
def judging(options: TrainingOptions) -> Iterator[Judging]:
    """Yield what fits configurations where ``options`` say; a Spark session lives as long.

    Raises
    ------
    UsageError
        Spark or Java is missing.
    """
    if options.engine == "local":
        yield here
        return
    from twinml.data.spark_session import session

    with session("twinml train", options.jobs) as spark:
        context = spark.sparkContext

        def on_spark(data: FoldData) -> Judge:
            shared = context.broadcast(data)

            def judge(
                learner: Learner, config: Mapping[str, Any]
            ) -> Iterator[tuple[Matrix, float]]:
                folds = range(len(data.folds))
                task = _Task(shared, learner, dict(config))
                for predicted, seconds, failure in (
                    context.parallelize(folds, len(folds)).map(task).collect()
                ):
                    if failure:
                        raise RemoteFailure(failure)
                    yield predicted, seconds

            return judge

        yield on_spark


class RemoteFailure(TrainingError):
    """A configuration could not be fitted by a worker; the message is the worker's."""


@dataclass(frozen=True)
class _Task:
    """Fits one fold in a worker of Spark."""

    data: Any
    learner: Learner
    config: Mapping[str, Any]

    def __call__(self, fold: int) -> tuple[Matrix | None, float, str]:
        import warnings

        # As in the driver: one core a fit, and scores instead of warnings.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return (*self.data.value.predictions(self.learner, self.config, fold), "")
            except Exception as error:  # a result of the search, as in the driver
                return None, 0.0, reason(error)


def reason(error: Exception) -> str:
    """Return the kind and the first line of an error; a worker's own words as they are."""
    if isinstance(error, RemoteFailure):
        return error.message
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}".rstrip(": ")
