"""What is kept of the training rows for comparison: their columns, and how values go together.

::

    sample of rows ──▶ groups of rows that are alike ──▶ each column shuffled within each group

Every column keeps its distribution, and what goes together goes together still, because the
values of a row come from rows that are alike; but no row is as it was. The few rows are left out
that would hold two values which never came together, or that no shuffle changes. The shuffle has
no seed, so that nobody can turn it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["groups_alike", "shuffled", "sound"]

LEAST_ALIKE = 4  # rows of a group, where there are so many
MOST_CATEGORIES = 20  # of a column that count for likeness
ATTEMPTS = 20  # shuffles of a group, for one that leaves no row as it was
STEPS = 8  # of the power iteration
# Of values that are looked at for never coming together, as the probe does.
LEAST_SHARE = 0.02
LEAST_EXPECTED = 10.0  # rows with both, were they independent
MOST_VALUES = 2_000
FEW = 0.01  # of the rows: so many may be left out because they are as they were


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each column shuffled among rows that are alike, in no order.

    Rows that come out as one was, because those of their group differ in one column only, are
    shuffled again among each other, as long as that helps.
    """
    random = np.random.default_rng()
    codes = _codes(rows)
    columns = np.arange(codes.shape[1])
    source = np.tile(np.arange(len(rows))[:, None], len(columns))
    left, before = np.arange(len(rows)), len(rows) + 1
    while 1 < len(left) < before:
        before = len(left)
        for group in groups_alike(_taken(rows, source[left])):
            source[left[group]] = _shuffle(codes, source[left[group]], random)
        left = np.nonzero(_among(codes[source, columns], codes))[0]
    return _taken(rows, source[random.permutation(len(rows))])


def _codes(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number for each distinct value of a column, null too, shape (n_rows, n_columns)."""
    import pandas as pd

    columns = [pd.factorize(rows[name], use_na_sentinel=False)[0] for name in rows.columns]
    return np.column_stack(columns).astype(np.int64)


def _taken(rows: pd.DataFrame, source: NDArray[np.int64]) -> pd.DataFrame:
    """Return rows made of cells; ``source`` says from which row each cell comes."""
    import pandas as pd

    return pd.DataFrame(
        {name: rows[name].array.take(source[:, at]) for at, name in enumerate(rows.columns)}
    )


def _among(rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows are among others."""
    whole = np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))
    one, other = (np.ascontiguousarray(each).view(whole)[:, 0] for each in (rows, others))
    return np.isin(one, other)


def _shuffle(
    codes: NDArray[np.int64], source: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return a group's sources, each column shuffled, that leave fewest rows as they were."""
    columns = np.arange(codes.shape[1])
    were = codes[source, columns]
    best, fewest = source, len(source) + 1
    for _ in range(ATTEMPTS):
        tried = random.permuted(source, axis=0)
        whole = int(_among(codes[tried, columns], were).sum())
        if whole < fewest:
            best, fewest = tried, whole
        if not whole:
            break
    return best


def sound(rows: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``made`` but those that should not be.

    That is rows with two frequent values that no row of ``rows`` has, and rows as they were;
    the latter only if they are few: where every combination occurs, they give nobody away.

    Parameters
    ----------
    rows
        As they were.
    made
        As they became; the same columns.
    """
    import pandas as pd

    values: list[tuple[float, int, str, Any]] = []
    for column, name in enumerate(rows.columns):
        shares = rows[name].value_counts(normalize=True)
        values += [
            (float(share), column, str(name), value)
            for value, share in shares.items()
            if share >= LEAST_SHARE
        ]
    values = sorted(values, key=lambda one: (-one[0], one[1]))[:MOST_VALUES]
    place = np.array([one[1] for one in values], dtype=np.int64)
    were, become = (
        np.array([frame[name] == value for _, _, name, value in values], dtype=np.float32)
        .reshape(len(values), len(frame))
        .T
        for frame in (rows, made)
    )
    expected = np.outer(were.sum(axis=0), were.sum(axis=0)) / len(rows)
    apart = (were.T @ were == 0) & (expected >= LEAST_EXPECTED) & (place[:, None] != place)
    wrong = np.asarray(((become @ apart.astype(np.float32)) * become).any(axis=1))
    codes = _codes(pd.concat([rows, made]))
    whole = _among(codes[len(rows) :], codes[: len(rows)])
    if whole.sum() <= FEW * len(rows):
        wrong |= whole
    return made.loc[~wrong].reset_index(drop=True)


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
