"""Partial dependence: what a model predicts, in the mean, when one column is set to a value."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from twinml.training.result import Dependence

__all__ = ["partial_dependence", "places"]

ROWS = 150
POINTS = 10
LEVELS = (np.arange(POINTS) + 0.5) / POINTS
MOST_COLUMNS = 6

Predict = Callable[[pd.DataFrame], NDArray[np.float64]]


def places(values: pd.Series[Any]) -> list[Any]:
    """Return the values at which a column is looked at, without nulls.

    Numbers at the middles of ten parts with equally many rows, or all of them if they are no more
    than ten; text and booleans at the most frequent ten values.

    Examples
    --------
    >>> places(pd.Series(["b", "a", "b", None])), places(pd.Series([3, 1, 3]))
    (['b', 'a'], [1, 3])
    """
    known = values.dropna()
    distinct = known.unique()
    if is_numeric_dtype(values) and not is_bool_dtype(values):
        if len(distinct) <= POINTS:
            return sorted(distinct.tolist())
        found = set(known.quantile(LEVELS, interpolation="nearest").tolist())
        if len(found) < POINTS / 2:
            # One value has most rows: the others are looked at too.
            found |= set(pd.Series(distinct).quantile(LEVELS[::2], interpolation="nearest"))
        return sorted(found)
    return list(known.value_counts().index[:POINTS])


def partial_dependence(
    predict: Predict, frame: pd.DataFrame, columns: Sequence[str], seconds: float = float("inf")
) -> tuple[Dependence, ...]:
    """Return the mean prediction at values of each column, of the first ``MOST_COLUMNS``.

    Parameters
    ----------
    predict
        From rows to predictions, shape (n, k).
    frame
        Rows that the model did not learn from, in random order: the first ``ROWS`` are used.
    columns
        Most important first.
    seconds
        No column is begun after so long.
    """
    started = time.monotonic()
    rows = frame.head(ROWS)
    found = []
    for column in columns[:MOST_COLUMNS]:
        if time.monotonic() - started > seconds:
            break
        at = places(frame[column])
        if len(at) < 2 or not len(rows):
            continue
        tried = pd.concat([rows] * len(at), ignore_index=True)
        tried[column] = pd.Series(np.repeat(np.array(at, dtype=object), len(rows))).astype(
            frame[column].dtype
        )
        predicted = predict(tried).reshape(len(at), len(rows), -1)
        found.append(Dependence(column, tuple(at), predicted.mean(axis=1), len(rows)))
    return tuple(found)
