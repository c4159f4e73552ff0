"""In what order are the rows? Evidence from the table alone.

In shuffled rows, a value agrees with the value in the row before as often as chance has it:
the sum of the squared shares of the values. In rows that were written down as they came,
some columns (a month, a rate) agree far more often. Numbers are compared by decile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.contract.dates import DateForm, moment
from twinml.data._finding import Finding
from twinml.data._left_out import is_key

__all__ = ["Order", "codes_of", "direction", "evidence"]

# Both must hold: far beyond what the best of a hundred shuffled columns reaches by luck,
# and large enough to matter when there are very many rows.
STANDARD_ERRORS = 6.0
EXCESS = 0.05
# A column in one sequence is evidence enough unless its values are nearly all the same.
SEQUENCE_STANDARD_ERRORS = 3.0
BINS = 10
# Dates that are looked at, spread over the rows, and different ones of which an order is no chance.
MOST_DATES = 1000
FEWEST_DATES = 10
_NONE: Mapping[str, DateForm] = {}


@dataclass(frozen=True)
class Order:
    """What the rows' order looks like, and the finding that goes with it, if any.

    ``chronological`` is for rows in the order of their dates, the earliest first.
    """

    note: str
    findings: tuple[Finding, ...] = ()
    chronological: bool = False


@dataclass(frozen=True)
class Agreement:
    """How often a row agrees with the row before: found, by chance, and the excess (0 to 1)."""

    found: float
    chance: float
    excess: float
    standard_errors: float


def evidence(
    frame: pd.DataFrame,
    target: str,
    left_out: pd.DataFrame | None = None,
    dates: Mapping[str, DateForm] = _NONE,
) -> Order:
    """Say what order the rows seem to be in.

    Dates say it by themselves; what else rises may be no time.

    A number of the rows is no order of its own, and hides none: the other columns are looked
    at first, as they stand and in the order of a number that the model does without.

    Parameters
    ----------
    left_out
        Columns that are not in ``frame``, of the same rows.
    dates
        How columns of dates are written.

    Examples
    --------
    >>> frame = pd.DataFrame({"month": ["may"] * 60 + ["jun"] * 60, "y": [0, 1] * 60})
    >>> evidence(frame, "y").note
    "rows are sorted by 'month'; if that is time, pass --split ordered"
    """
    labels = pd.factorize(frame[target])[0]
    # Numbers that all differ never come back, in whatever order they stand.
    apart = labels.max() + 1 == len(labels) and not _in_one_sequence(frame[target])
    if np.count_nonzero(np.diff(labels)) == labels.max() and not apart:
        note = (
            f"rows are sorted by the target '{target}': an ordered split would hold out rows "
            "of one class, so split at random"
        )
        return Order(note, (Finding("warning", "sorted-by-target", target, note),))
    for name, form in dates.items():
        way = direction(_some_moments(frame[name], form))
        if way > 0:
            return Order(f"rows are in the order of the dates in '{name}'", chronological=True)
        if way < 0:
            return Order(
                f"rows are in the order of the dates in '{name}', the last ones first; "
                f"--split column:{name} holds out the latest"
            )
    columns = [str(column) for column in frame.columns if column != target]
    numbers = [name for name in columns if _numbers_rows(name, frame[name])]
    others = [name for name in columns if name not in numbers]
    note = _order_of(frame[others])
    if note:
        return Order(f"{note}; if that is time, pass --split ordered")
    in_order = [name for name in numbers if _in_one_sequence(frame[name])]
    if in_order:
        return Order(
            f"rows are numbered by '{in_order[0]}', and look shuffled in the other columns; if the "
            "numbers go with time, pass --split ordered"
        )
    without = pd.DataFrame(index=frame.index) if left_out is None else left_out
    given = {name: frame[name] for name in numbers}
    given |= {
        str(name): without[name] for name in without if _numbers_rows(str(name), without[name])
    }
    for name, values in given.items():
        note = _order_of(frame[others].iloc[np.argsort(values.to_numpy(), kind="stable")])
        if note:
            return Order(
                f"in the order of '{name}' {note}; if that is time, pass --split column:{name}"
            )
    return Order(
        "rows look shuffled: in no column does a row agree with the row before more often "
        "than chance has it"
    )


def direction(moments: Sequence[float]) -> int:
    """Tell whether moments only rise (1), only fall (-1), or neither (0).

    Examples
    --------
    >>> days = [86400.0 * day for day in range(10)]
    >>> direction(days), direction(days[::-1]), direction(days[:9]), direction([*days, 0.0])
    (1, -1, 0, 0)
    """
    if len(set(moments)) < FEWEST_DATES:
        return 0
    steps = np.diff(np.asarray(moments))
    return int((steps >= 0).all()) - int((steps <= 0).all())


def _some_moments(values: pd.Series, form: DateForm) -> list[float]:
    """Return the moments of rows spread over a column; none where a date is missing."""
    places = np.linspace(0, len(values) - 1, min(len(values), MOST_DATES)).astype(np.int64)
    some = values.iloc[places]
    return [] if some.isna().any() else [moment(str(text), form) for text in some]


def _numbers_rows(name: str, values: pd.Series) -> bool:
    """Tell whether whole numbers only count the rows, in whatever order these stand."""
    if values.dtype.kind != "i":
        return False
    distinct = values.nunique()
    return distinct == len(values) and is_key(name, values, distinct)


def _order_of(frame: pd.DataFrame) -> str:
    """Say by which column the rows are sorted or look ordered; empty if they look shuffled."""
    columns = [str(column) for column in frame.columns]
    runs = [column for column in columns if _in_one_sequence(frame[column])]
    if runs:
        column = max(runs, key=lambda name: frame[name].nunique())
        return f"rows are sorted by '{column}'"
    found = {column: agreement(codes_of(frame[column])) for column in columns}
    ordered = {
        column: value
        for column, value in found.items()
        if value.standard_errors > STANDARD_ERRORS and value.excess > EXCESS
    }
    if not ordered:
        return ""
    column = max(ordered, key=lambda name: ordered[name].excess)
    best = ordered[column]
    return (
        f"rows look ordered by '{column}' (a row agrees with the row before in "
        f"{best.found:.1%} of cases, by chance {best.chance:.1%})"
    )


def agreement(codes: NDArray[np.int64]) -> Agreement:
    """Measure how often a row has the value of the row before.

    Parameters
    ----------
    codes
        Values as whole numbers from 0; shape (n_rows,).
    """
    shares = np.bincount(codes) / len(codes)
    chance = float((shares**2).sum())
    if chance >= 1 or len(codes) < 2:
        return Agreement(1.0, 1.0, 0.0, 0.0)
    found = float(np.mean(codes[1:] == codes[:-1]))
    error = float(np.sqrt(chance * (1 - chance) / (len(codes) - 1)))
    return Agreement(found, chance, (found - chance) / (1 - chance), (found - chance) / error)


def codes_of(values: pd.Series) -> NDArray[np.int64]:
    """Return values as small whole numbers: deciles of numbers, positions of texts."""
    if values.dtype.kind in "if":
        rank = values.rank(pct=True).to_numpy()
        deciles = np.minimum(np.floor(rank * BINS), BINS - 1)
        return np.where(np.isnan(deciles), BINS, deciles).astype(np.int64)
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    return codes.astype(np.int64)


def _in_one_sequence(values: pd.Series) -> bool:
    """Tell whether a column only rises, only falls, or never comes back to an earlier value."""
    distinct = values.nunique()
    if distinct < 2 or values.isna().any():
        return False
    monotonic = bool(values.is_monotonic_increasing or values.is_monotonic_decreasing)
    if distinct == len(values):
        return monotonic
    if values.dtype.kind in "if" and distinct > 2:
        in_sequence = monotonic
    else:
        changes = np.count_nonzero(np.diff(pd.factorize(values)[0]))
        in_sequence = changes == distinct - 1
    return in_sequence and (agreement(codes_of(values)).standard_errors > SEQUENCE_STANDARD_ERRORS)
