"""Boosting that counts its rounds: stopped by rows held out or by a clock, cut to any round.

The search fits a fold once, with the loss on the fold's test rows after every round, and chooses
afterwards how many rounds to keep: one number for all folds. A model of these rounds fitted
anew is the same as the longer one cut there, so that a configuration with the chosen number is
exactly what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MOST_GROWTH",
    "MOST_ROUNDS",
    "Rounds",
    "Sample",
    "Stop",
    "best_rounds",
    "patience",
    "rate_for",
    "rounds_for",
]

Matrix = NDArray[np.float64]
# Whether to stop now; asked after every round.
Stop: TypeAlias = Callable[[], bool]
# From the truth and what was predicted to the loss, where it is not the library's own.
Error: TypeAlias = Callable[[Any, Any], float]

MOST_ROUNDS = 1_000
# Rounds times rate that boosting usually takes to its best.
_REACH = 24.0
# Rounds times rate without a gain after which no more are added.
_PATIENCE = 3.0
_HIGHEST_RATE = 0.1
# A refit on more rows takes this much more rounds at most.
MOST_GROWTH = 1.25
_USUAL_ROUNDS = 100


@dataclass(frozen=True)
class Sample:
    """Rows to fit or to measure: encoded (n, p), truth (n,), weights (n,) or ``None``."""

    X: Matrix
    y: NDArray[Any]
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class Rounds:
    """How one library counts rounds.

    Attributes
    ----------
    name
        The parameter that holds their number.
    fit
        From an unfitted estimator, rows to fit, rows to measure, the rounds without a gain to
        end after and ``Stop`` to the loss on the measured rows after every round: log loss, or
        the mean squared error, or what an ``Error`` says, if one is given.
    predict
        From the fitted estimator, rows and a number of rounds to probabilities or numbers.
    """

    name: str
    fit: Callable[..., Sequence[float]]
    predict: Callable[[Any, Matrix, int], Any]


def best_rounds(curves: Sequence[Sequence[float]]) -> int:
    """Return the number of rounds with the lowest mean loss, the first of equals.

    Parameters
    ----------
    curves
        Of each fold the loss after every round, one at least; only what all folds reached counts.
    """
    reached = min(len(curve) for curve in curves)
    mean = np.mean([curve[:reached] for curve in curves], axis=0)
    return int(np.argmin(mean)) + 1


def rounds_for(rounds: int, share: float) -> int:
    """Return how many rounds to fit on ``share`` times the rows on which ``rounds`` were best.

    More rows take more rounds before boosting fits what is chance: by the root of the share. That
    is taken by a quarter at most, since every round costs time, but where a small sample was
    searched up to what the library's defaults would take.
    """
    grown = rounds * math.sqrt(share)
    return max(1, round(max(min(grown, rounds * MOST_GROWTH), min(grown, _USUAL_ROUNDS))))


def patience(rate: float) -> int:
    """Return after how many rounds without a gain boosting at this rate ends."""
    return max(1, round(_PATIENCE / rate))


def rate_for(rate: float, rounds: float) -> float:
    """Return the rate to take where only so many rounds fit: higher than ``rate``, to a limit.

    ``rate`` itself where it needs no more rounds, or is higher than the limit.
    """
    needed = _REACH / max(rounds, 1.0)
    return max(rate, min(needed, _HIGHEST_RATE))


def _lightgbm(
    estimator: Any,
    train: Sample,
    test: Sample,
    without_gain: int,
    stop: Stop,
    error: Error | None = None,
) -> list[float]:
    from lightgbm import early_stopping, record_evaluation
    from lightgbm.callback import EarlyStopException

    found: dict[str, dict[str, list[float]]] = {}

    def ask(moment: Any) -> None:
        if stop():
            raise EarlyStopException(moment.iteration, moment.evaluation_result_list)

    ask.order = 40  # type: ignore[attr-defined]  # after the loss is on record
    own = None
    if error is not None:
        estimator.set_params(metric="None")

        def own(truth: Any, predicted: Any) -> tuple[str, float, bool]:
            return "error", error(truth, predicted), False

    estimator.fit(
        train.X,
        train.y,
        sample_weight=train.weights,
        eval_set=[(test.X, test.y)],
        eval_metric=own,
        eval_sample_weight=None if test.weights is None else [test.weights],
        callbacks=[
            record_evaluation(found),
            early_stopping(without_gain, verbose=False),
            ask,
        ],
    )
    (losses,) = next(iter(found.values())).values()
    return losses


def _xgboost(
    estimator: Any,
    train: Sample,
    test: Sample,
    without_gain: int,
    stop: Stop,
    error: Error | None = None,
) -> list[float]:
    from xgboost.callback import TrainingCallback

    class Ask(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return stop()

    estimator.set_params(callbacks=[Ask()], early_stopping_rounds=without_gain)
    if error is not None:
        estimator.set_params(eval_metric=error, disable_default_eval_metric=True)
    estimator.fit(
        train.X,
        train.y,
        sample_weight=train.weights,
        eval_set=[(test.X, test.y)],
        sample_weight_eval_set=None if test.weights is None else [test.weights],
        verbose=False,
    )
    ((metric, losses),) = next(iter(estimator.evals_result().values())).items()
    # What belongs to this function is no part of what a worker sends back.
    estimator.set_params(callbacks=None)
    if error is not None:
        estimator.set_params(eval_metric=None)
    return _squared(metric, losses)


def _catboost(
    estimator: Any, train: Sample, test: Sample, without_gain: int, stop: Stop
) -> list[float]:
    from catboost import Pool

    class Ask:
        def after_iteration(self, moment: Any) -> bool:
            return not stop()

    estimator.fit(
        Pool(train.X, train.y, weight=train.weights),
        eval_set=Pool(test.X, test.y, weight=test.weights),
        early_stopping_rounds=without_gain,
        use_best_model=False,
        callbacks=[Ask()],
    )
    losses = estimator.get_evals_result()["validation"]
    metric = next(iter(losses))
    return _squared(metric, losses[metric])


def _squared(metric: str, losses: Sequence[float]) -> list[float]:
    """Return losses with a root mean squared error as the mean squared one."""
    return [loss**2 for loss in losses] if metric.lower() == "rmse" else list(losses)


def _predict(model: Any) -> Callable[..., Any]:
    return getattr(model, "predict_proba", None) or model.predict  # type: ignore[no-any-return]


LIGHTGBM = Rounds(
    "n_estimators", _lightgbm, lambda model, X, n: _predict(model)(X, num_iteration=n)
)
XGBOOST = Rounds(
    "n_estimators", _xgboost, lambda model, X, n: _predict(model)(X, iteration_range=(0, n))
)
CATBOOST = Rounds("iterations", _catboost, lambda model, X, n: _predict(model)(X, ntree_end=n))
