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
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.errors import TrainingError
from twinml.training._rounds import MOST_ROUNDS, Sample, Stop, best_rounds, patience
from twinml.training.learner import Learner, Shape
from twinml.training.tasks import Task, predictions

if TYPE_CHECKING:
    from twinml.training.options import TrainingOptions

__all__ = ["FoldData", "FoldFit", "Judging", "fit", "here", "judging", "never", "reason"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]


def never() -> bool:
    """Let boosting run on."""
    return False


@dataclass(frozen=True)
class FoldFit:
    """A configuration fitted on one fold.

    Attributes
    ----------
    seconds
        Of fitting, and of predicting where ``predicted`` is there.
    predicted
        Predictions of the fold's test rows, (m, k); ``None`` where the rounds are still to
        be chosen: ``estimator`` then predicts at any number of them.
    losses
        On the test rows after every round.
    slowness
        The seconds over those that this thread computed: what others on the machine take.
    """

    seconds: float
    predicted: Matrix | None = None
    estimator: Any = None
    losses: tuple[float, ...] = ()
    slowness: float = 1.0


class Judge(Protocol):
    """Fits a configuration on folds, all by default, and yields them in order.

    ``stop`` is asked after every round of boosting, where fits run in this process.
    """

    def __call__(
        self,
        learner: Learner,
        config: Mapping[str, Any],
        folds: Sequence[int] | None = None,
        stop: Stop = never,
    ) -> Iterator[FoldFit]: ...


@dataclass(frozen=True)
class FoldData:
    """What every configuration is fitted on.

    Attributes
    ----------
    X, y, weights
        Encoded rows (n, p), their truth (n,), row weights (n,).
    folds
        Pairs of positions (train, test).
    """

    X: Matrix
    y: NDArray[Any]
    weights: NDArray[np.float64]
    folds: Sequence[tuple[Rows, Rows]]
    shape: Shape
    task: Task

    def fitted(
        self, learner: Learner, config: Mapping[str, Any], fold: int, stop: Stop = never
    ) -> FoldFit:
        """Fit a configuration on the rows of a fold; rounds are at most those of ``config``."""
        started, computed = time.monotonic(), time.thread_time()
        train, test = self.folds[fold]
        if learner.rounds is None:
            X, y, weights = self.X[train], self.y[train], self.weights[train]
            estimator = fit(learner, config, X, y, weights, self.shape)
            predicted = predict(estimator, self.X[test], self.shape.n_outputs)
            return FoldFit(time.monotonic() - started, predicted)
        estimator = learner.build(config, self.X[train], self.shape)
        losses = learner.rounds.fit(
            estimator,
            self._sample(learner, train),
            self._sample(learner, test),
            patience(float(config["learning_rate"])),
            stop,
        )
        seconds = time.monotonic() - started
        slowness = max(1.0, seconds / max(time.thread_time() - computed, 1e-6))
        losses = [loss / self.task.unit for loss in losses]
        return FoldFit(seconds, None, estimator, tuple(losses), slowness)

    def predictions(self, learner: Learner, fitted: FoldFit, fold: int, rounds: int) -> Matrix:
        """Return the predictions of a fold's test rows, (m, k), by the first ``rounds``."""
        if fitted.predicted is not None or learner.rounds is None:
            assert fitted.predicted is not None
            return fitted.predicted
        X = self.X[self.folds[fold][1]]
        given = learner.rounds.predict(fitted.estimator, X, rounds)
        return _all_classes(given, fitted.estimator, self.shape.n_outputs)

    def out_of_fold(
        self, learner: Learner, fits: Sequence[FoldFit], most: int = MOST_ROUNDS
    ) -> tuple[Matrix, int]:
        """Predict the test rows of the first folds by the best number of rounds up to ``most``.

        Returns
        -------
        Predictions of all n rows, zeros where no fold has judged, and the number of rounds, 0 of
        a learner that has none.
        """
        predicted = np.zeros((len(self.y), self.shape.n_outputs))
        chosen = best_rounds([one.losses[:most] for one in fits]) if learner.rounds else 0
        for fold, fitted in enumerate(fits):
            predicted[self.folds[fold][1]] = self.predictions(learner, fitted, fold, chosen)
        return predicted, chosen

    def loss(self, rows: Rows, predicted: Matrix) -> float:
        """Return the mean loss of predictions of these rows."""
        return self.task.loss(self.y[rows], predicted, self.weights[rows])

    def _sample(self, learner: Learner, rows: Rows) -> Sample:
        even = bool(np.all(self.weights == self.weights[0]))
        X = learner.seen(self.X[rows], self.shape)
        return Sample(X, self.y[rows], None if even else self.weights[rows])


Judging: TypeAlias = Callable[[FoldData], Judge]


def fit(
    learner: Learner,
    config: Mapping[str, Any],
    X: Matrix,
    y: NDArray[Any],
    weights: NDArray[np.float64],
    shape: Shape,
) -> Any:
    """Return ``learner`` fitted on the encoded rows ``X``, shape (n, p), truth (n,)."""
    estimator = learner.build(config, X, shape)
    arguments: dict[str, Any] = {}
    if not np.all(weights == weights[0]):
        steps = getattr(estimator, "steps", None)
        arguments[f"{steps[-1][0]}__sample_weight" if steps else "sample_weight"] = weights
    estimator.fit(learner.seen(X, shape), y, **arguments)
    learner.tidy(estimator)
    return estimator


def predict(estimator: Any, X: Matrix, n_outputs: int) -> Matrix:
    """Return predictions of shape (n, n_outputs), float64."""
    return _all_classes(predictions(estimator, X), estimator, n_outputs)


def _all_classes(predicted: Any, estimator: Any, n_outputs: int) -> Matrix:
    given = np.asarray(predicted, dtype=np.float64).reshape(len(predicted), -1)
    if given.shape[1] == n_outputs:
        return given
    # A fold that lacks a class gives no column for it.
    full = np.zeros((len(given), n_outputs))
    full[:, np.asarray(estimator.classes_, dtype=np.int64)] = given
    return full


def here(data: FoldData) -> Judge:
    """Fit each fold in the calling thread when it is asked for."""

    def judge(
        learner: Learner,
        config: Mapping[str, Any],
        folds: Sequence[int] | None = None,
        stop: Stop = never,
    ) -> Iterator[FoldFit]:
        for fold in range(len(data.folds)) if folds is None else folds:
            yield data.fitted(learner, config, fold, stop)

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
                learner: Learner,
                config: Mapping[str, Any],
                folds: Sequence[int] | None = None,
                stop: Stop = never,
            ) -> Iterator[FoldFit]:
                asked = range(len(data.folds)) if folds is None else folds
                task = _Task(shared, learner, dict(config))
                for fitted, failure in context.parallelize(asked, len(asked)).map(task).collect():
                    if failure:
                        raise RemoteFailure(failure)
                    yield fitted

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

    def __call__(self, fold: int) -> tuple[FoldFit | None, str]:
        import warnings

        # As in the driver: one core a fit, and scores instead of warnings.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self.data.value.fitted(self.learner, self.config, fold), ""
            except Exception as error:  # a result of the search, as in the driver
                return None, reason(error)


def reason(error: Exception) -> str:
    """Return the kind and the first line of an error; a worker's own words as they are."""
    if isinstance(error, RemoteFailure):
        return error.message
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}".rstrip(": ")
