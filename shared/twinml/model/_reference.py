"""What is kept of the training rows for comparison: their columns, and how values go together.

::

    sample of rows ──▶ groups of rows that are alike ──▶ each column shuffled within each group

Every column keeps its distribution exactly, and what goes together goes together still, because
the values of a row come from rows that are alike; but no row is as it was. The shuffle has no
seed, so that nobody can turn it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["groups_alike", "shuffled_within"]

LEAST_ALIKE = 4  # rows of a group, where there are so many
MOST_CATEGORIES = 20  # of a column that count for likeness
ATTEMPTS = 20  # shuffles of a group, for one that leaves no row as it was
STEPS = 8  # of the power iteration


def shuffled_within(rows: pd.DataFrame, groups: list[NDArray[np.int64]]) -> pd.DataFrame:
    """Return the rows with each column shuffled within each group, in no order.

    Parameters
    ----------
    rows
        n of them.
    groups
        Positions; together each of the n once.
    """
    import pandas as pd

    random = np.random.default_rng()
    codes = np.column_stack(
        [pd.factorize(rows[name], use_na_sentinel=False)[0] for name in rows.columns]
    )
    source = np.empty(codes.shape, dtype=np.int64)
    for group in groups:
        source[group] = _shuffle(codes, group, random)
    order = random.permutation(len(rows))
    return pd.DataFrame(
        {
            name: rows[name].array.take(source[order, place])
            for place, name in enumerate(rows.columns)
        }
    )


def _shuffle(
    codes: NDArray[Any], group: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return from which row each cell gets its value, shape (len(group), n_columns)."""
    columns = np.arange(codes.shape[1])
    were = codes[group]
    best, fewest = np.tile(group[:, None], len(columns)), len(group) + 1
    for _ in range(ATTEMPTS):
        tried = random.permuted(np.tile(group[:, None], len(columns)), axis=0)
        become = codes[tried, columns]
        whole = int((become[:, None] == were[None, :]).all(axis=2).any(axis=1).sum())
        if whole < fewest:
            best, fewest = tried, whole
        if not whole:
            break
    return best


def groups_alike(rows: pd.DataFrame) -> list[NDArray[np.int64]]:
    """Return positions of rows in groups that are alike, at least ``LEAST_ALIKE`` in each.

    The rows are parted in two where their first principal component has its widest valley, and
    the parts again.
    """
    matrix = _encoded(rows)
    found, open_parts = [], [np.arange(len(rows))]
    while open_parts:
        part = open_parts.pop()
        if len(part) < 2 * LEAST_ALIKE:
            found.append(part)
            continue
        values = _component(matrix[part])
        order = np.argsort(values, kind="stable")
        ordered, cut = part[order], _valley(values[order])
        open_parts += [ordered[:cut], ordered[cut:]]
    return found


def _component(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first principal component's value of each row, by power iteration."""
    centred = matrix - matrix.mean(axis=0)
    direction = centred[np.argmax((centred**2).sum(axis=1))]
    for _ in range(STEPS):
        direction = (centred @ direction) @ centred
        direction = direction / max(float(np.linalg.norm(direction)), 1e-30)
    return np.asarray(centred @ direction)


def _valley(values: NDArray[np.float32]) -> int:
    """Return where to cut ascending values so that the two parts differ most (Otsu 1979)."""
    n = len(values)
    left = np.arange(LEAST_ALIKE, n - LEAST_ALIKE + 1)
    sums = np.cumsum(values, dtype=np.float64)
    apart = sums[left - 1] / left - (sums[-1] - sums[left - 1]) / (n - left)
    return int(left[np.argmax(left * (n - left) * apart**2)])


def _encoded(rows: pd.DataFrame) -> NDArray[np.float32]:
    """Return rows as numbers, so that two values of a column are at most about 1 apart."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    parts: list[Any] = []
    for name in rows.columns:
        column = rows[name]
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            parts.append(column.rank(pct=True).fillna(-0.5).to_numpy()[:, None])
            continue
        text = column.astype(str)
        frequent = text.value_counts().index[:MOST_CATEGORIES]
        parts.append((text.to_numpy()[:, None] == frequent.to_numpy()[None, :]) / np.sqrt(2))
    return np.concatenate(parts, axis=1).astype(np.float32)
