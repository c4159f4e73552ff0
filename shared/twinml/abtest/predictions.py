"""Which of two models predicts the same labelled rows better, be they classes or numbers.

Of numbers the comparison is paired as that of classes is:

* root mean squared error and mean absolute error: paired bootstrap over the rows' losses
* which model is nearer to the truth on a row: the sign test, as McNemar's
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twinml.abtest._paired import mcnemar, resamples
from twinml.abtest.offline import ABResult, Metric, compare, difference, judge
from twinml.errors import DataError, UsageError

__all__ = ["NUMBERS", "compare_numbers", "compare_predictions"]

Floats = NDArray[np.float64]

# Of numbers: what may decide, the default first.
NUMBERS: tuple[Metric, ...] = ("root_mean_squared_error", "mean_absolute_error")
FEWEST_ROWS = 10


def compare_predictions(truth: ArrayLike, a: ArrayLike, b: ArrayLike, **options: Any) -> ABResult:
    """Compare two models by their predictions.

    Parameters
    ----------
    truth
        Classes as indices, or numbers, shape (n,).
    a, b
        Of each model: probabilities of shape (n, k), or numbers of shape (n, 1).
    options
        Those of ``twinml.abtest.offline.compare``; of numbers there is no threshold.
    """
    if np.ndim(a) == 2 and np.shape(a)[1] == 1:
        options.pop("threshold", None)
        return compare_numbers(truth, np.ravel(a), np.ravel(b), **options)
    return compare(truth, a, b, **options)


def compare_numbers(
    truth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    names: tuple[str, str] = ("A", "B"),
    n_bootstrap: int = 1000,
    seed: int = 0,
    primary: Metric | None = None,
) -> ABResult:
    """Compare two regressions on the same labelled rows.

    Parameters
    ----------
    truth, a, b
        True and predicted values, shape (n,), in the target's unit.
    primary
        The metric that decides; the root mean squared error by default.

    Raises
    ------
    UsageError
        The arrays do not fit together, or an option is out of range.
    DataError
        There are too few rows.

    Examples
    --------
    >>> values = [float(n) for n in range(100)]
    >>> near, far = ([v + e * (-1) ** n for n, v in enumerate(values)] for e in (1.0, 3.0))
    >>> compare_numbers(values, far, near).verdict.decision
    'ship B'
    """
    values, first, second = (np.asarray(one, dtype=np.float64) for one in (truth, a, b))
    n = len(values)
    if not values.ndim == 1 or not values.shape == first.shape == second.shape:
        raise UsageError(
            f"the shapes are {values.shape}, {first.shape} and {second.shape}",
            hint="Give a true value and two predictions for each row.",
        )
    if not all(np.isfinite(one).all() for one in (values, first, second)):
        raise UsageError("a value is no finite number", hint="Leave such rows out.")
    if n < FEWEST_ROWS:
        raise DataError(
            f"{n} labelled rows are too few to compare models",
            hint=f"Give at least {FEWEST_ROWS}, better hundreds.",
        )
    if n_bootstrap < 100:
        raise UsageError(f"n_bootstrap is {n_bootstrap}, expected at least 100")
    if primary not in (None, *NUMBERS):
        raise UsageError(f"primary is {primary!r}", hint=f"Choose {' or '.join(NUMBERS)}.")
    errors = np.abs(values - first), np.abs(values - second)
    drawn: dict[Metric, list[Floats]] = {metric: [] for metric in NUMBERS}
    for weights in resamples(n, n_bootstrap, seed):
        roots = [np.sqrt(weights @ one**2 / n) for one in errors]
        drawn["root_mean_squared_error"].append(roots[1] - roots[0])
        drawn["mean_absolute_error"].append(weights @ (errors[1] - errors[0]) / n)
    roots_a, roots_b = (math.sqrt(float(np.mean(one**2))) for one in errors)
    figures: dict[Metric, tuple[float, float]] = {
        "root_mean_squared_error": (roots_a, roots_b),
        "mean_absolute_error": (float(np.mean(errors[0])), float(np.mean(errors[1]))),
    }
    found = [
        difference(metric, one, other, n, np.concatenate(drawn[metric]), None)
        for metric, (one, other) in figures.items()
    ]
    chosen = primary or NUMBERS[0]
    ordered = sorted(found, key=lambda item: item.metric != chosen)
    nearer_a, nearer_b = int(np.sum(errors[0] < errors[1])), int(np.sum(errors[1] < errors[0]))
    exact, mid_p = mcnemar(nearer_a, nearer_b)
    return ABResult(
        names=names,
        n_rows=n,
        n_classes=0,
        threshold=None,
        n_bootstrap=n_bootstrap,
        seed=seed,
        primary=chosen,
        differences=tuple(ordered),
        both_right=n - nearer_a - nearer_b,
        only_a_right=nearer_a,
        only_b_right=nearer_b,
        both_wrong=0,
        mcnemar_exact=exact,
        mcnemar_mid_p=mid_p,
        verdict=judge(ordered, n, same=bool(np.array_equal(first, second))),
    )
