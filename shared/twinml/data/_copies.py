"""Rows that repeat another one in every column: copies, or what few values give by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.data.few_rows import fewest_of_class

__all__ = ["copies", "repeats"]

# Repeats are copies if the same values, dealt anew to the rows column by column, repeat less than
# this share as often.
CHANCE_SHARE = 0.5


def repeats(frame: pd.DataFrame) -> int:
    """Return how many rows repeat an earlier one in every column."""
    return int(frame.duplicated().sum())


def copies(frame: pd.DataFrame, target: str | None) -> NDArray[np.int64] | None:
    """Return for each row the number of its group of copies, or ``None``.

    A table of few categories repeats rows by nature, and each of them is a case of its own;
    where chance does not explain the repeats, somebody stored the same case twice. Where a class
    has too few different rows, a split by groups could not have it on both sides: ``None`` too.
    ``target`` is the column of the classes, ``None`` where numbers are predicted.

    Examples
    --------
    >>> table = pd.DataFrame({"y": [*[0, 1] * 7, 0], "x": [*range(14), 0], "z": [*range(14), 0]})
    >>> copies(table, "y")[-2:].tolist(), copies(table[1:], "y"), copies(table[["y"]], "y")
    ([13, 0], None, None)
    """
    found = repeats(frame)
    if not found:
        return None
    rng = np.random.default_rng(0)
    dealt = pd.DataFrame(
        {
            place: pd.factorize(frame.iloc[:, place], use_na_sentinel=False)[0]
            for place in range(frame.shape[1])
        }
    )
    groups = np.asarray(dealt.groupby(list(dealt), sort=False).ngroup(), dtype=np.int64)
    for place in dealt:
        dealt[place] = rng.permutation(dealt[place].to_numpy())
    few = False
    if target is not None:
        different = frame[target][~frame.duplicated()].value_counts()
        few = bool(different.min() < fewest_of_class(len(frame)))
    return None if few or repeats(dealt) >= CHANCE_SHARE * found else groups
