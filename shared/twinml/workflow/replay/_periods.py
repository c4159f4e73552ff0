"""Cuts rows that stand in time order into periods: the months of a campaign, or equal shares.

A month that comes back a year later is another period. Short periods are joined with the next
ones, because a figure on twenty rows says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from twinml.errors import DataError, UsageError

if TYPE_CHECKING:
    from twinml.data import Dataset

__all__ = ["Period", "by_column", "by_count", "periods_of"]


@dataclass(frozen=True)
class Period:
    """Rows ``start`` up to, but not with, ``stop``; ``number`` counts from 1."""

    number: int
    label: str
    start: int
    stop: int

    @property
    def n_rows(self) -> int:
        """Rows."""
        return self.stop - self.start


def by_column(frame: pd.DataFrame, column: str, *, min_rows: int) -> tuple[Period, ...]:
    """Return a period for each run of rows with the same value, short runs joined.

    Parameters
    ----------
    frame
        Rows in time order.
    column
        Where a new value begins a new period, such as ``month``.
    min_rows
        A period with fewer rows is joined with the next, the last one with the one before.

    Raises
    ------
    DataError
        There is no such column, or all rows have one value.

    Examples
    --------
    >>> frame = pd.DataFrame({"month": ["may", "may", "jun", "jul", "jul", "may", "may"]})
    >>> [(period.label, period.n_rows) for period in by_column(frame, "month", min_rows=2)]
    [('may', 2), ('jun-jul', 3), ('may 2', 2)]
    """
    if column not in frame.columns:
        raise DataError(
            f"there is no column '{column}'",
            hint=f"Columns: {', '.join(map(str, frame.columns))}.",
        )
    values = frame[column]
    # Nulls are equal to each other here, as they are when a person reads the rows.
    codes = pd.factorize(values, use_na_sentinel=False)[0]
    starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()] if len(frame) else []
    names = [str(values.iloc[start]) for start in starts]
    made = _joined(starts, len(frame), names, min_rows)
    if len(made) < 2:
        raise DataError(
            f"column '{column}' makes {len(made)} period of at least {min_rows} rows",
            hint="Name a column that changes with time: --period COLUMN, or rows: --period 5000.",
        )
    return made


def by_count(n_rows: int, rows: int) -> tuple[Period, ...]:
    """Return periods of ``rows`` rows; what is left over goes to the last one.

    Raises
    ------
    UsageError
        There would be fewer than two.

    Examples
    --------
    >>> [(period.label, period.n_rows) for period in by_count(25, 10)]
    [('1-10', 10), ('11-25', 15)]
    """
    count = n_rows // rows if rows > 0 else 0
    if count < 2:
        raise UsageError(
            f"{n_rows:,} rows cannot be cut into periods of {rows:,}",
            hint=f"Give 1 to {n_rows // 2:,} rows.",
        )
    stops = [rows * (place + 1) for place in range(count - 1)] + [n_rows]
    starts = [0, *stops[:-1]]
    return tuple(
        Period(number, f"{start + 1}-{stop}", start, stop)
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True), start=1)
    )


def _joined(
    starts: Sequence[int], n_rows: int, names: Sequence[str], min_rows: int
) -> tuple[Period, ...]:
    groups: list[list[int]] = []
    current: list[int] = []
    stops = [*starts[1:], n_rows]
    for place in range(len(starts)):
        current.append(place)
        if stops[place] - starts[current[0]] >= min_rows:
            groups.append(current)
            current = []
    if current and groups:
        groups[-1] += current
    elif current:
        groups.append(current)
    seen: dict[str, int] = {}
    made = []
    for number, group in enumerate(groups, start=1):
        first, last = names[group[0]], names[group[-1]]
        label = first if len(group) == 1 else f"{first}-{last}"
        seen[label] = seen.get(label, 0) + 1
        label = label if seen[label] == 1 else f"{label} {seen[label]}"
        made.append(Period(number, label, starts[group[0]], stops[group[-1]]))
    return tuple(made)


def periods_of(
    dataset: Dataset, period: str | None, *, min_rows: int
) -> tuple[tuple[Period, ...], str | None]:
    """Return the periods of a data set, and the column that makes them.

    Parameters
    ----------
    period
        The name of a column, or a number of rows.

    Raises
    ------
    UsageError
        Nothing says what a period is.
    """
    if period is None:
        raise UsageError(
            "nothing says what a period is",
            hint="Name a column that changes with time, or a number of rows: --period 5000.",
        )
    if period.isdecimal():
        return by_count(dataset.n_rows, int(period)), None
    return by_column(dataset.frame, period, min_rows=min_rows), period
