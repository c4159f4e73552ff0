"""The rows that a probe sends: real rows with one feature moved out of what training saw.

``perturbations`` goes through a contract and yields an ``Attempt`` for every feature and probe that
changes at least one row::

    numeric   below and above the training range by 1 and 10 widths, zero, negated, huge;
              the largest integer for long; infinities and null for double
    string    unseen category, empty, very long, other case, whitespace around, null;
              of months and weekdays the next one, and the one half a year (or week) on
    row       two columns of one type swapped; null in every column that takes it; two values
              that training rows never hold together (``twinml.probe._unseen_pairs``)

A boolean has no value that training did not know, so none is sent.
"""

from __future__ import annotations

import calendar
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twinml.contract import Column, Contract
from twinml.contract.dates import DateForm, moment, written
from twinml.data.json_rows import native
from twinml.errors import DataError
from twinml.probe._unseen_pairs import unseen_pairs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROBES", "WHOLE_ROW", "Attempt", "Row", "choose", "perturbations", "short"]

Row = Mapping[str, Any]
Change = Callable[[Any], Any]

# In the order of the table and the picture.
LATER = {"next day": 1, "next month": 30, "next year": 365}
PROBES = (
    "below range",
    "far below",
    "above range",
    "far above",
    "zero",
    "negated",
    "huge",
    "largest integer",
    "infinity",
    "-infinity",
    "null",
    "unseen category",
    "empty",
    "very long",
    "other case",
    "whitespace",
    "next in calendar",
    "half a turn on",
    *LATER,
    "swapped",
    "impossible pair",
)
# Probes that change the value that is there, so that there must be one.
OF_THE_VALUE = frozenset(
    {"negated", "other case", "whitespace", "next in calendar", "half a turn on", *LATER}
)
CALENDARS = (
    tuple(name.lower() for name in calendar.month_abbr[1:]),
    tuple(name.lower() for name in calendar.month_name[1:]),
    tuple(name.lower() for name in calendar.day_abbr),
    tuple(name.lower() for name in calendar.day_name),
)
WHOLE_ROW = "(whole row)"
FAR = 10  # widths of the training range
HUGE = 10**15
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
LONG_TEXT = "x" * 10_000


@dataclass(frozen=True)
class Attempt:
    """Rows to be sent for one feature and probe; ``positions`` are those of their base rows."""

    feature: str
    probe: str
    sent: str
    positions: tuple[int, ...]
    rows: tuple[dict[str, Any], ...]
    outside: int


def choose(contract: Contract, rows: Sequence[Row], n: int, seed: int) -> list[dict[str, Any]]:
    """Return at most ``n`` of ``rows``, features only, NaN as ``None``."""
    if not rows:
        raise DataError("there are no rows to probe with", hint="Give at least one row.")
    drawn = np.random.default_rng(seed).permutation(len(rows))[:n]
    chosen = []
    for place in sorted(drawn.tolist()):
        missing = [name for name in contract.column_names if name not in rows[place]]
        if missing:
            raise DataError(
                f"row {place} has no column '{missing[0]}'", hint="Give rows with every feature."
            )
        chosen.append({name: native(rows[place][name]) for name in contract.column_names})
    return chosen


def perturbations(
    contract: Contract, base: Sequence[Row], reference: pd.DataFrame | None = None
) -> Iterator[Attempt]:
    """Yield every attempt that changes at least one of the ``base`` rows.

    ``reference`` holds training rows; without them no impossible pairs are known.
    """
    for column in contract.columns:
        for probe, sent, change in changes(column):
            replace = one_value(column.name, change, keeps_null=probe in OF_THE_VALUE)
            yield from make(column.name, probe, sent, base, replace, [column])
    for kind in ("long", "double"):
        columns = [column for column in contract.columns if column.type == kind]
        for one, other in itertools.pairwise(columns):
            yield from make(
                one.name,
                "swapped",
                f"with {other.name}",
                base,
                swapped(one.name, other.name),
                [one, other],
            )
    if reference is not None:
        for pair in unseen_pairs(contract, reference):
            new = {pair.first: pair.first_value, pair.second: pair.second_value}
            sent = f"{pair.first_value}, {pair.second}={pair.second_value}"
            for attempt in make(pair.first, "impossible pair", sent, base, constantly(new), []):
                # Each value is known; that they come together is what training never saw.
                yield dataclasses.replace(attempt, outside=len(attempt.rows))
    nullable = [column for column in contract.columns if column.nullable]
    nothing = {column.name: None for column in nullable}
    if nothing:
        yield from make(
            WHOLE_ROW, "null", f"{len(nothing)} nulls", base, lambda _: nothing, nullable
        )


def constantly(new: Row) -> Callable[[Row], Row]:
    """Return what puts the same values into every row."""
    return lambda _: new


def swapped(one: str, other: str) -> Callable[[Row], Row | None]:
    """Return what exchanges the values of two columns, neither of them null."""

    def replace(row: Row) -> Row | None:
        pair = {one: row[other], other: row[one]}
        return None if None in pair.values() else pair

    return replace


def one_value(name: str, change: Change, *, keeps_null: bool) -> Callable[[Row], Row | None]:
    """Return what changes the value of one column; null cannot be negated or spelt otherwise."""

    def replace(row: Row) -> Row | None:
        return None if keeps_null and row[name] is None else {name: change(row[name])}

    return replace


def changes(column: Column) -> Iterator[tuple[str, str, Change]]:
    """Yield probe, what it sends in words, and how it changes a value; None leaves it out."""
    if column.type in ("long", "double"):
        yield from numeric_changes(column)
    elif column.dates is not None:
        for probe, days in LATER.items():
            yield probe, f"{days} day{'' if days == 1 else 's'} later", later(column.dates, days)
    elif column.mlflow_type == "string":
        unseen = "unseen category"
        while column.categories and unseen in column.categories:
            unseen += "_"
        yield constant("unseen category", unseen)
        yield constant("empty", "", "''")
        yield constant("very long", LONG_TEXT, f"{len(LONG_TEXT):,} characters")
        yield "other case", "the value in other case", lambda value: value.swapcase()
        yield "whitespace", "the value between spaces", lambda value: f" {value} "
        for names in CALENDARS:
            if column.categories and {one.lower() for one in column.categories} <= set(names):
                yield "next in calendar", "the next one", turned(names, 1)
                yield "half a turn on", "the one half a turn on", turned(names, len(names) // 2)
                break
    if column.nullable:
        yield constant("null", None, "null")


def later(form: DateForm, days: int) -> Change:
    """Return what moves a date on, written in its form.

    Examples
    --------
    >>> later(DateForm(), 7)("2024-12-30")
    '2025-01-06'
    """
    return lambda value: written(moment(value, form) + days * 86_400, form)


def turned(names: Sequence[str], steps: int) -> Change:
    """Return what moves a month or weekday on, spelt as the value is; others stay.

    Examples
    --------
    >>> turned(("jan", "feb", "mar"), 1)("Mar")
    'Jan'
    """

    def change(value: Any) -> Any:
        if str(value).lower() not in names:
            return value
        new = names[(names.index(value.lower()) + steps) % len(names)]
        return new.upper() if value.isupper() else new.title() if value[0].isupper() else new

    return change


def numeric_changes(column: Column) -> Iterator[tuple[str, str, Change]]:
    """Yield the changes of a numeric column, as ``changes`` does."""
    whole = column.type == "long"

    def number(value: float) -> float:
        return max(INT64_MIN, min(INT64_MAX, round(value))) if whole else float(value)

    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        width = (high - low) or max(1, abs(high))
        yield constant("below range", number(low - width))
        yield constant("far below", number(low - FAR * width))
        yield constant("above range", number(high + width))
        yield constant("far above", number(high + FAR * width))
    yield constant("zero", number(0))
    yield "negated", "the value times -1", lambda value: -value
    yield constant("huge", number(HUGE), f"{HUGE:.0e}")
    if whole:
        yield constant("largest integer", INT64_MAX)
    else:
        yield constant("infinity", math.inf)
        yield constant("-infinity", -math.inf)


def constant(probe: str, value: Any, words: str | None = None) -> tuple[str, str, Change]:
    """Return a change that puts ``value`` into every row."""
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return probe, shown if words is None else words, lambda _: value


def make(
    feature: str,
    probe: str,
    sent: str,
    base: Sequence[Row],
    replace: Callable[[Row], Row | None],
    columns: Sequence[Column],
) -> Iterator[Attempt]:
    """Yield the attempt, unless it changes no row. ``replace`` gives the new values of a row."""
    positions, rows, outside = [], [], 0
    for position, row in enumerate(base):
        new = replace(row)
        if new is None or all(new[name] == row[name] for name in new):
            continue
        positions.append(position)
        rows.append({**row, **new})
        outside += any(is_outside(column, new[column.name]) for column in columns)
    if rows:
        yield Attempt(feature, probe, sent, tuple(positions), tuple(rows), outside)


def is_outside(column: Column, value: Any) -> bool:
    """Whether training cannot have seen ``value``, as far as the contract tells."""
    if value is None:
        return True
    if column.dates is not None:
        low, high = column.minimum, column.maximum
        return low is None or high is None or not low <= moment(value, column.dates) <= high
    if column.mlflow_type == "string":
        return column.categories is not None and value not in column.categories
    if column.minimum is None or column.maximum is None:
        return column.type != "boolean"
    return not column.minimum <= value <= column.maximum


def short(text: str, width: int) -> str:
    """Return ``text`` on one line of at most ``width`` characters.

    >>> short("a long name", 7)
    'a long…'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
