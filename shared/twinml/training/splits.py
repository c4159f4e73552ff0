"""Which rows are learned from, and which are held out for the estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from twinml.errors import DataError

__all__ = ["Split", "folds_of", "ordered_split", "random_split", "time_column"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Positions of the rows on each side; ``kind`` as in ``TrainingOptions.split``."""

    kind: str
    train: Rows
    test: Rows


def random_split(labels: NDArray[np.int64], test_size: float, seed: int) -> Split:
    """Hold out a random share of every class."""
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
    labels: NDArray[np.int64], test_size: float, order: Rows | None = None, kind: str = "ordered"
) -> Split:
    """Hold out the last rows: learn from the past, predict the future.

    Parameters
    ----------
    order
        Positions in time order; ``None`` when the rows already stand in it.

    Raises
    ------
    DataError
        A class is missing on one of the sides, so nothing can be learned or measured.
    """
    rows = np.arange(len(labels)) if order is None else order
    cut = len(rows) - round(len(rows) * test_size)
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


def time_column(frame: pd.DataFrame, name: str) -> Rows:
    """Return the positions of the rows in the order of column ``name``.

    Strings that are dates are compared as dates. Ties keep the file's order.

    Raises
    ------
    DataError
        There is no such column, or it has nulls.
    """
    if name not in frame.columns:
        raise DataError(
            f"there is no column {name!r} to split by",
            hint=f"The columns are {', '.join(map(str, frame.columns))}.",
        )
    values = frame[name]
    if values.isna().any():
        raise DataError(
            f"column {name!r} has {int(values.isna().sum())} nulls, so its order is unknown",
            hint="Split by a column without nulls.",
        )
    if values.dtype == object:
        dates = pd.to_datetime(values, errors="coerce", format="mixed")
        if dates.notna().all():
            values = dates
    return np.asarray(values.argsort(kind="stable"), dtype=np.int64)


def folds_of(labels: NDArray[np.int64], folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Return stratified shuffled folds of the training rows, as many as the classes allow."""
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
