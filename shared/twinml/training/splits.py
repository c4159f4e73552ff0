"""Which rows are learned from, and which are held out for the estimate."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from twinml.data.few_rows import holds_out
from twinml.errors import DataError

__all__ = [
    "FORMS",
    "Split",
    "divide",
    "folds_of",
    "group_split",
    "groups_of",
    "hold_out",
    "is_forward",
    "is_split",
    "ordered_split",
    "random_split",
    "split_column",
    "stratified_sample",
    "time_column",
    "without_groups",
]

Rows = NDArray[np.int64]

FORMS = "random, ordered, column:NAME or group:NAME"
# Dividing many groups takes long: they are first joined to so many bundles at random.
MOST_GROUPS = 1_000


def split_column(split: str) -> str | None:
    """Return the column that a split is made by, which then is no feature.

    Examples
    --------
    >>> split_column("group:customer"), split_column("column:day"), split_column("ordered")
    ('customer', 'day', None)
    """
    match = re.fullmatch(r"(?:column|group):(.+)", split, re.DOTALL)
    return match[1] if match else None


def is_forward(split: str) -> bool:
    """Tell whether the rows held out so are later than those learned from."""
    return split == "ordered" or split.startswith("column:")


def is_split(split: str) -> bool:
    """Tell whether ``split`` is one of ``FORMS``."""
    return split in ("random", "ordered") or split_column(split) is not None


@dataclass(frozen=True)
class Split:
    """Positions of the rows on each side; ``kind`` as in ``TrainingOptions.split``.

    ``groups`` number the group of every row of the table where groups stay on one side. Where
    no rows are held out, all of them are on both sides, and ``out_of_fold`` is true.
    """

    kind: str
    train: Rows
    test: Rows
    groups: Rows | None = None
    out_of_fold: bool = False


def divide(
    features: pd.DataFrame,
    labels: NDArray[np.int64],
    split: str,
    test_size: float,
    seed: int,
    copies: Callable[[], Rows | None],
) -> Split:
    """Hold out rows as ``hold_out`` does, or none where they are too few for that."""
    if holds_out(len(labels), forward=is_forward(split)):
        return hold_out(features, labels, split, test_size, seed, copies)
    every = np.arange(len(labels), dtype=np.int64)
    column = split_column(split)
    groups = None if column is None else groups_of(features, column)
    return Split(split, every, every, groups, out_of_fold=True)


def hold_out(
    features: pd.DataFrame,
    labels: NDArray[np.int64],
    split: str,
    test_size: float,
    seed: int,
    copies: Callable[[], Rows | None],
) -> Split:
    """Hold out rows as ``TrainingOptions.split`` says.

    Parameters
    ----------
    features
        With the column to split by.
    labels
        Class indices, shape (n,).
    copies
        Gives for each row the number of its group of copies, for a random split.

    Raises
    ------
    DataError
        The rows cannot be split so.
    """
    if split == "random":
        return random_split(labels, test_size, seed, copies())
    if split == "ordered":
        return ordered_split(labels, test_size)
    if split.startswith("group:"):
        groups = groups_of(features, split.removeprefix("group:"))
        return group_split(labels, test_size, seed, groups, split)
    order, times = time_column(features, split.removeprefix("column:"))
    return ordered_split(labels, test_size, order, split, times)


def random_split(
    labels: NDArray[np.int64], test_size: float, seed: int, groups: Rows | None = None
) -> Split:
    """Hold out a random share of every class.

    Parameters
    ----------
    groups
        Rows with the same number are copies, of one class, and stay on one side.

    Raises
    ------
    DataError
        There are too few rows.
    """
    if groups is not None:
        firsts, members = _members(groups)
        sides = random_split(labels[firsts], test_size, seed)
        train, test = (_joined(members, side) for side in (sides.train, sides.test))
        return Split("random", train, test)
    n_classes = len(np.unique(labels))
    if round(len(labels) * test_size) < n_classes:
        raise DataError(
            f"{len(labels)} rows are too few to hold out {test_size:.0%} with every class in it",
            hint="Give more rows.",
        )
    train, test = train_test_split(
        np.arange(len(labels)), test_size=test_size, stratify=labels, random_state=seed
    )
    return Split("random", np.sort(train), np.sort(test))


def ordered_split(
    labels: NDArray[np.int64],
    test_size: float,
    order: Rows | None = None,
    kind: str = "ordered",
    values: NDArray[Any] | None = None,
) -> Split:
    """Hold out the last rows: learn from the past, predict the future.

    Parameters
    ----------
    order
        Positions in time order; ``None`` when the rows already stand in it.
    values
        The times of the rows in that order; rows of the same time stay on one side.

    Raises
    ------
    DataError
        A class is missing on one of the sides, so nothing can be learned or measured.
    """
    rows = np.arange(len(labels)) if order is None else order
    cut = len(rows) - round(len(rows) * test_size)
    if values is not None:
        same = np.flatnonzero(values == values[cut])
        # The whole tie goes to the test, unless that would leave nothing to learn from.
        cut = int(same[0]) if same[0] > 0 else int(same[-1]) + 1
        if not 0 < cut < len(rows):
            raise DataError("the column to split by has one value only", hint="Use --split random.")
    train, test = rows[:cut], rows[cut:]
    classes = np.unique(labels)
    for side, name in ((train, "first"), (test, "last")):
        missing = np.setdiff1d(classes, np.unique(labels[side]))
        if len(missing):
            raise DataError(
                f"split in order, the {name} rows lack {len(missing)} of the classes: "
                "the rows seem to be sorted by the target",
                hint="Use --split random.",
            )
    return Split(kind, np.asarray(train, np.int64), np.asarray(test, np.int64))


# Tried when the text is not ISO 8601; with and without a time of day.
_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d")
_TIMES = ("", " %H:%M", " %H:%M:%S")


def time_column(frame: pd.DataFrame, name: str) -> tuple[Rows, NDArray[Any]]:
    """Return the positions of the rows in the order of column ``name``, and its values so.

    Numbers are ordered as they are. Text must be dates, all in one form. Ties keep the
    file's order.

    Raises
    ------
    DataError
        There is no such column, it has nulls, or its text is no date or an ambiguous one.
    """
    values = _column(frame, name)
    if values.isna().any():
        raise DataError(
            f"column {name!r} has {int(values.isna().sum())} nulls, so its order is unknown",
            hint="Split by a column without nulls.",
        )
    if not is_numeric_dtype(values):
        values = _dates(values, name)
    order = np.asarray(values.argsort(kind="stable"), dtype=np.int64)
    return order, np.asarray(values)[order]


def groups_of(frame: pd.DataFrame, name: str) -> Rows:
    """Return for each row the number of its group: the rows with its value of column ``name``.

    A row without a value is a group of its own.

    Raises
    ------
    DataError
        There is no such column.

    Examples
    --------
    >>> groups_of(pd.DataFrame({"customer": ["b", "a", None, "b", None]}), "customer").tolist()
    [0, 1, 2, 0, 3]
    """
    groups = np.asarray(pd.factorize(_column(frame, name))[0], dtype=np.int64)
    alone = groups < 0
    groups[alone] = groups.max() + 1 + np.arange(int(alone.sum()))
    return groups


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise DataError(
            f"there is no column {name!r} to split by",
            hint=f"The columns are {', '.join(map(str, frame.columns))}.",
        )
    return frame[name]


def group_split(
    labels: NDArray[np.int64], test_size: float, seed: int, groups: Rows, kind: str
) -> Split:
    """Hold out about a share ``test_size`` of the rows, all rows of a group on one side.

    Parameters
    ----------
    groups
        Number of each row's group, shape (n,).

    Raises
    ------
    DataError
        There are too few groups, or a class is missing on one of the sides.
    """
    parts = _group_folds(labels, round(1 / test_size), seed, groups)
    # The seed shuffles equal groups alone: it also chooses the part.
    train, test = parts[seed % len(parts)]
    missing = len(np.unique(labels)) - len(np.unique(labels[test]))
    if missing:
        raise DataError(
            f"divided by groups, the rows to test on lack {missing} of the classes: too few groups "
            "have them",
            hint="Use --split random, or leave the rows of these classes out.",
        )
    return Split(kind, train, test, groups)


def without_groups(split: Split, groups: Rows) -> Split:
    """Return the split without training rows whose group has rows in the test."""
    known = np.isin(groups[split.train], groups[split.test])
    return Split(split.kind, split.train[~known], split.test, groups)


def _group_folds(
    labels: NDArray[np.int64], folds: int, seed: int, groups: Rows
) -> list[tuple[Rows, Rows]]:
    """Return folds with whole groups in each, the shares of the classes kept as well as can be."""
    _, codes = np.unique(groups, return_inverse=True)
    found = int(codes.max()) + 1
    if found < folds:
        raise DataError(
            f"{found} groups are too few to divide the rows into {folds} parts",
            hint="Use a column with more values, or --split random.",
        )
    bundles = np.random.default_rng(seed).permutation(found) % MOST_GROUPS
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    sides = [
        (train.astype(np.int64), test.astype(np.int64))
        for train, test in splitter.split(np.zeros(len(labels)), labels, bundles[codes])
    ]
    n_classes = len(np.unique(labels))
    missing = n_classes - min(len(np.unique(labels[train])) for train, _ in sides)
    if missing:
        raise DataError(
            f"divided by groups, the rows to learn from lack {missing} of the {n_classes} classes: "
            "too few groups have them",
            hint="Use --split random, or leave the rows of these classes out.",
        )
    return sides


def _dates(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    parsed = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
    if parsed.notna().all():
        return parsed
    readings = []
    for form in (day + time for day in _DATES for time in _TIMES):
        reading = pd.to_datetime(values, format=form, utc=True, errors="coerce")
        if reading.notna().all():
            readings.append(reading)
    orders = {tuple(reading.argsort(kind="stable")) for reading in readings}
    if len(orders) == 1:
        return readings[0]
    example = values[parsed.isna()].iloc[0]
    if orders:
        raise DataError(
            f"column {name!r} holds dates that can be read in {len(readings)} ways, "
            f"for example {example!r}",
            hint="Write them as YYYY-MM-DD.",
        )
    raise DataError(
        f"column {name!r} holds text that is no date, for example {example!r}, "
        "so its order is unknown",
        hint="Write dates as YYYY-MM-DD, or split by a column of numbers.",
    )


def _members(groups: Rows) -> tuple[Rows, list[Rows]]:
    """Return the first row of each group and the rows of each."""
    _, firsts, codes = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    return firsts.astype(np.int64), [rows.astype(np.int64) for rows in members]


def _joined(members: list[Rows], chosen: Rows) -> Rows:
    return np.sort(np.concatenate([members[group] for group in chosen]))


def folds_of(
    labels: NDArray[np.int64],
    folds: int,
    seed: int,
    copies: Rows | None = None,
    groups: Rows | None = None,
) -> list[tuple[Rows, Rows]]:
    """Return stratified shuffled folds of the training rows, as many as the classes allow.

    Rows with the same number in ``copies``, of one class, or in ``groups`` stay in one fold.
    """
    if groups is not None:
        return _group_folds(labels, min(folds, len(np.unique(groups))), seed, groups)
    if copies is not None:
        firsts, members = _members(copies)
        return [
            (_joined(members, train), _joined(members, test))
            for train, test in folds_of(labels[firsts], folds, seed)
        ]
    rarest = int(np.bincount(labels).min())
    if rarest < 2:
        raise DataError(
            f"the rarest class has {rarest} training row(s), too few to cross-validate",
            hint="Give more rows of it, or leave it out.",
        )
    splitter = StratifiedKFold(min(folds, rarest), shuffle=True, random_state=seed)
    return [
        (train.astype(np.int64), test.astype(np.int64))
        for train, test in splitter.split(np.zeros(len(labels)), labels)
    ]


def stratified_sample(rng: np.random.Generator, y: Rows, rows: Rows, size: int) -> Rows:
    """Return at most about ``size`` of ``rows`` with the shares of the classes kept."""
    if size >= len(rows):
        return rows
    kept = []
    for label in np.unique(y[rows]):
        members = rows[y[rows] == label]
        wanted = min(len(members), max(2, round(size * len(members) / len(rows))))
        kept.append(rng.choice(members, wanted, replace=False))
    return np.sort(np.concatenate(kept))
