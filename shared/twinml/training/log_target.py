"""Learning the logarithm of the target: what is skewed to the right is often easier so.

``log1p`` of the target is learned, and what is learned is turned back: predictions, losses and
intervals are in the target's own unit. Whether it helps is for the folds to say, which compare it
as a learner of its own; forests gain nothing by it (``docs/benchmarks.md``).

What is made holds objects of scikit-learn and functions of numpy only, so that a model loads where
this package is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.training._rounds import Rounds, Sample, Stop

__all__ = ["Bounds", "bounds_of", "learned_inside", "logarithmic", "of_logarithm", "worth_trying"]

F8 = NDArray[np.float64]

# Below this the folds hardly ever choose it: see ``docs/benchmarks.md``.
_LEAST_SKEW = 0.5
# What is turned back grows without limit; the largest known number times this is enough.
_BEYOND = 2.0


@dataclass(frozen=True)
class Bounds:
    """What predictions turned back are kept within."""

    low: float
    high: float

    def turned_back(self, learned: NDArray[Any]) -> NDArray[Any]:
        """Return predictions in the target's unit, of the type that was learned."""
        with np.errstate(over="ignore"):
            turned: NDArray[Any] = np.clip(np.expm1(learned), a_min=self.low, a_max=self.high)
        return turned


def worth_trying(low: float, skewness: float) -> bool:
    """Tell whether the logarithm of a target is tried: none is below zero, and it is skewed.

    Parameters
    ----------
    low
        The least number of the target.
    skewness
        The mean cube of the standardized target.

    Examples
    --------
    >>> worth_trying(0.0, 0.6), worth_trying(-0.1, 3.0), worth_trying(1.0, 0.5)
    (True, False, False)
    """
    return low >= 0 and skewness > _LEAST_SKEW


def logarithmic(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return a learner's ``build`` of what learns the logarithm."""

    def built(config: Any, X: F8, shape: Any) -> Any:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import FunctionTransformer

        limits = {"a_min": 0.0, "a_max": _BEYOND * shape.largest}
        there_and_back = Pipeline(
            [
                (
                    "range",
                    FunctionTransformer(
                        inverse_func=np.clip, inv_kw_args=limits, check_inverse=False
                    ),
                ),
                ("log", FunctionTransformer(np.log1p, np.expm1, check_inverse=False)),
            ]
        )
        return TransformedTargetRegressor(build(config, X, shape), transformer=there_and_back)

    return built


def learned_inside(member: Any) -> Any | None:
    """Return the fitted estimator of the logarithm; ``None`` of what learned the target itself."""
    if type(member).__name__ != "TransformedTargetRegressor":
        return None
    return member.regressor_


def bounds_of(member: Any) -> Bounds | None:
    """Return how a ``TransformedTargetRegressor`` turns back; ``None`` if not as made here."""
    steps = getattr(member.transformer_, "steps", ())
    if [name for name, _ in steps] != ["range", "log"]:
        return None
    kept, log = (step for _, step in steps)
    if (kept.func, kept.inverse_func) != (None, np.clip):
        return None
    if (log.func, log.inverse_func) != (np.log1p, np.expm1) or log.inv_kw_args:
        return None
    given = dict(kept.inv_kw_args or {})
    if given.keys() != {"a_min", "a_max"}:
        return None
    return Bounds(float(given["a_min"]), float(given["a_max"]))


def of_logarithm(rounds: Rounds) -> Rounds:
    """Return how boosting inside counts its rounds, with losses in the target's unit."""

    def fit(
        estimator: Any, train: Sample, test: Sample, without_gain: int, stop: Stop
    ) -> Sequence[float]:
        bounds = _planned(estimator)

        def error(truth: F8, learned: F8) -> float:
            return float(np.mean((bounds.turned_back(learned) - np.expm1(truth)) ** 2))

        inside = (replace(rows, y=np.log1p(rows.y)) for rows in (train, test))
        return rounds.fit(estimator.regressor, *inside, without_gain, stop, error)

    def predict(estimator: Any, X: F8, number: int) -> Any:
        learned = rounds.predict(estimator.regressor, X, number)
        return _planned(estimator).turned_back(learned)

    return replace(rounds, fit=fit, predict=predict)


def _planned(estimator: Any) -> Bounds:
    limits = estimator.transformer.steps[0][1].inv_kw_args
    return Bounds(limits["a_min"], limits["a_max"])
