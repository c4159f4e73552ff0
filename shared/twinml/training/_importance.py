"""Permutation importance on encoded rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.training import metrics
from twinml.training.tasks import Task

__all__ = ["REPEATS", "affordable_repeats", "permutation_importance", "spread"]

REPEATS = 5
FEWEST_ROWS = 500


def affordable_repeats(once: float, allowed: float, rows: int) -> tuple[int, int]:
    """Return how often to permute how many of the rows.

    Repeats matter more than rows, down to ``FEWEST_ROWS``; then they become fewer.

    Parameters
    ----------
    once
        Seconds that permuting every feature once takes on all rows.
    allowed
        Seconds for all repeats.

    Examples
    --------
    >>> affordable_repeats(1.0, 5.0, 2000), affordable_repeats(1.0, 1.0, 2000)
    ((5, 2000), (4, 500))
    """
    share = allowed / max(once, 1e-9)
    size = min(rows, max(FEWEST_ROWS, int(rows * share / REPEATS)))
    return int(np.clip(share * rows / size, 1, REPEATS)), size


def spread(losses: Sequence[float]) -> float:
    """Return the standard deviation of repeats, NaN of one alone."""
    return float(np.std(losses, ddof=1)) if len(losses) > 1 else float("nan")


def permutation_importance(
    task: Task,
    predict: Callable[[NDArray[Any]], NDArray[np.float64]],
    X: NDArray[Any],
    y: NDArray[Any],
    names: Sequence[str],
    *,
    metric: str,
    threshold: float | None,
    orders: Sequence[NDArray[np.int64]],
    jobs: int,
) -> pd.DataFrame:
    """Permute one feature at a time and see what the metric loses.

    The encoded rows are permuted, all columns that come from a feature together, so that every
    row is encoded once.

    Parameters
    ----------
    predict
        From such rows to predictions, shape (n, k).
    X, y
        Encoded rows (n, p) and their truth (n,).
    names
        Of the feature that each of the p columns comes from.
    orders
        Permutations of the n rows, one a repeat.

    Returns
    -------
    Columns ``feature``, ``mean`` and ``std`` of the loss over the repeats, largest first; one
    repeat has no spread, and ``std`` is NaN.
    """
    sign = 1.0 if metrics.HIGHER_IS_BETTER[metric] else -1.0

    def value(predicted: NDArray[np.float64]) -> float:
        return sign * task.score(y, predicted, threshold)[metric]

    reference = value(predict(X))

    columns = {name: [at for at, one in enumerate(names) if one == name] for name in names}

    def losses(places: list[int]) -> list[float]:
        # All repeats at once: of few rows a prediction takes no longer than of many.
        permuted = np.tile(X, (len(orders), 1))
        permuted[:, places] = np.concatenate([X[order][:, places] for order in orders])
        return [reference - value(each) for each in np.split(predict(permuted), len(orders))]

    with ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,)) as pool:
        given = list(pool.map(losses, columns.values()))
    table = pd.DataFrame(
        {
            "feature": list(columns),
            "mean": [float(np.mean(each)) for each in given],
            "std": [spread(each) for each in given],
        }
    )
    return table.sort_values("mean", ascending=False, ignore_index=True)
