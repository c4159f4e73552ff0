"""Whether a target is one of some classes or a number to be predicted, told from its values."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from twinml.data._words import count
from twinml.data.few_rows import FEWEST_ROWS
from twinml.errors import DataError

__all__ = [
    "TASKS",
    "TaskKind",
    "check_numbers",
    "check_rows",
    "choose_task",
    "is_number",
    "maybe_numbers",
]

TaskKind: TypeAlias = Literal["classification", "regression"]
TASKS: tuple[TaskKind, ...] = ("classification", "regression")
# Numbers with at most so many different values are taken for classes.
MOST_NUMBER_CLASSES = 20
# Of a short table: fractions that repeat less often than this are no classes.
ROWS_A_CLASS = 4
# The largest number of a target; squares and sums of squares stay far from the ends of a double.
SMALLEST_NUMBER, LARGEST_NUMBER = 1e-100, 1e100


def is_number(values: pd.Series) -> bool:
    """Tell whether a column holds numbers, with or without nulls."""
    return bool(is_numeric_dtype(values) and not is_bool_dtype(values))


def maybe_numbers(frame: pd.DataFrame, target: str) -> bool:
    """Tell whether a target of text may be numbers in another notation: many, with digits."""
    if target not in frame.columns or frame[target].dtype != object:
        return False
    known = frame[target].dropna()
    digits = known.map(lambda text: any(map(str.isdigit, text)))
    return bool(known.nunique() > MOST_NUMBER_CLASSES and digits.all())


def choose_task(labels: pd.Series, asked: TaskKind | None, file: str) -> tuple[TaskKind, str]:
    """Return the task of a target and why, a sentence without a full stop.

    Parameters
    ----------
    labels
        Without nulls, shape (n,).
    asked
        What somebody who knows said.

    Raises
    ------
    DataError
        A regression is asked for of what is no number.

    Examples
    --------
    >>> choose_task(pd.Series([0, 1, 1], name="y"), None, "a.csv")
    ('classification', "'y' has 2 different values")
    >>> choose_task(pd.Series([0.5 * n for n in range(30)], name="y"), None, "a.csv")
    ('regression', "'y' holds 30 different numbers with fractions")
    """
    name = str(labels.name)
    number = labels.dtype.kind in "if"
    if asked is not None:
        if asked == "regression" and not number:
            raise DataError(
                f"the target '{name}' of '{file}' holds {_what(labels)}, and a regression predicts "
                "a number",
                hint="Name a target of numbers, or ask for a classification.",
            )
        return asked, f"--task {asked}"
    distinct = labels.nunique()
    values = f"'{name}' has {count(distinct, 'different value', 'different values')}"
    if not number:
        return "classification", f"'{name}' holds {_what(labels)}"
    finite = labels[np.isfinite(labels)]
    fractions = bool((finite % 1 != 0).any())
    many = distinct > MOST_NUMBER_CLASSES
    if many or (fractions and distinct * ROWS_A_CLASS > len(labels)):
        kind = "different numbers with fractions" if fractions else "different whole numbers"
        return "regression", f"'{name}' holds {distinct:,} {kind}"
    return "classification", values


def _what(labels: pd.Series) -> str:
    return "booleans" if labels.dtype.kind == "b" else "text"


def check_rows(rows: int, file: str) -> None:
    """Refuse a table with too few rows, whatever the task.

    Raises
    ------
    DataError
        There are fewer than ``FEWEST_ROWS``.
    """
    if rows < FEWEST_ROWS:
        raise DataError(
            f"'{file}' has {count(rows, 'row', 'rows')}, expected at least {FEWEST_ROWS}",
            hint="Figures of fewer rows would be chance; add rows.",
        )


def check_numbers(labels: pd.Series, file: str) -> None:
    """Refuse a target of numbers that no regression can be trained and tested on."""
    name = str(labels.name)
    check_rows(len(labels), file)
    infinite = int((~np.isfinite(labels.to_numpy(dtype=np.float64))).sum())
    if infinite:
        raise DataError(
            f"the target '{name}' is infinite in {count(infinite, 'row', 'rows')}",
            hint="Leave these rows out, or write a number there.",
        )
    if labels.nunique() == 1:
        raise DataError(
            f"the target '{name}' is {labels.iloc[0]} in all rows",
            hint="A regression needs values that differ; name another target or add rows.",
        )
    largest = float(np.abs(labels.to_numpy(dtype=np.float64)).max())
    if not SMALLEST_NUMBER <= largest <= LARGEST_NUMBER:
        raise DataError(
            f"the target '{name}' reaches {largest:.3g}: squared errors of such numbers are beyond "
            "what can be computed",
            hint="Write it in another unit, for example divided by a power of ten.",
        )
