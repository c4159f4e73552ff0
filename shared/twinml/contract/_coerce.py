"""Values of a request to the types of the contract, as MLflow and Azure convert them.

Measured on both: an integer column takes ``"56"``, ``56.0``, ``56.5`` (cut to 56) and
``true``; a double column takes integers, booleans, null and numbers written as text; a
string column takes anything scalar. Both convert any number or text to a boolean, ``"false"``
to true: here a boolean column takes true, false, 0 and 1, and what :mod:`text_values
<twinml.contract.text_values>` reads as one.

What text means is said there, for files as for requests. The other way round, a number or a
boolean in a text column means the text that it would be in a file, if training saw that text:
``1`` is ``'1'``. Both real servers would score it as an unknown value, which is an answer to
another question; whatever training saw nothing like is refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

from twinml.contract import text_values
from twinml.contract._schema import Column, ColumnType
from twinml.contract._words import LARGEST, MOST_DETAILS, SMALLEST, shown, shown_text
from twinml.contract.dates import ISO, DateForm, date_text
from twinml.contract.notation import PLAIN, plain_number
from twinml.errors import Detail, PayloadError

__all__ = [
    "coerce",
    "each",
    "expected",
    "quick",
    "raise_problems",
    "reading",
]

# How values are read: as the column's type, or as one of the two that hold null as well.
Reading: TypeAlias = ColumnType | Literal["nullable boolean"]

EXPECTED: dict[ColumnType, str] = {
    "long": "an integer",
    "double": "a number",
    "string": "text",
    "boolean": "true or false",
    "datetime": "a date",
    "text": "text",
}

NAN = math.nan

Problem = tuple[int, Any]


def reading(column: Column) -> Reading:
    """Return how the values of a column are read."""
    if column.type == "boolean" and column.nullable:
        return "nullable boolean"
    return "datetime" if column.type == "datetime" else column.mlflow_type


def expected(column: Column) -> str:
    """Return what a column takes, for a message."""
    form = ""
    if column.dates is not None:
        other = f" or {column.dates}" if column.dates.form != ISO else ""
        form = f" as {DateForm(time=column.dates.time)}{other}"
    return f"{EXPECTED[column.type]}{form}{' or null' if column.nullable else ''}"


def coerce(column: Column, values: list[Any]) -> tuple[list[Any], list[Problem]]:
    """Return ``values`` as the model takes them, and the positions that cannot be."""
    wanted = reading(column)
    if column.dates is not None:
        return _converted(partial(date_text, form=column.dates), values)
    converted = quick(wanted, values)
    if converted is not None:
        return converted, []
    if column.notation != PLAIN:
        values = [
            plain_number(value, column.notation) if isinstance(value, str) else value
            for value in values
        ]
    return each(wanted, values, column.categories)


def quick(column_type: Reading, values: list[Any]) -> list[Any] | None:
    """Convert a column whose values all have a type that needs no thought, else ``None``."""
    kinds = set(map(type, values))
    if column_type == "nullable boolean":
        if kinds <= BOOLS_OR_NULL:
            return [NAN if value is None else float(value) for value in values]
        return None
    if column_type == "string":
        return values if kinds <= TEXT else None
    if column_type == "double":
        if kinds == FLOATS:
            return values
        if kinds <= NUMBERS:
            try:
                return [float(value) for value in values]
            except OverflowError:
                return None
        return None
    if column_type == "long":
        return values if kinds == INTS and _fit(values) else None
    return values if kinds == BOOLS else None


def _fit(values: list[int]) -> bool:
    """Tell whether integers have no more than 64 bits."""
    try:
        # A quarter of the time of looking for the smallest and the largest.
        struct.pack(f"{len(values)}q", *values)
    except struct.error:
        return False
    return True


TEXT = frozenset({str, type(None)})
FLOATS = frozenset({float})
NUMBERS = frozenset({float, int})
INTS = frozenset({int})
BOOLS = frozenset({bool})
BOOLS_OR_NULL = frozenset({bool, type(None)})


def each(
    column_type: Reading, values: Sequence[Any], categories: Collection[str] | None = None
) -> tuple[list[Any], list[Problem]]:
    """Convert value by value, with every position that cannot be converted."""
    convert = CONVERTERS[column_type]
    if column_type == "string" and categories is not None:
        convert = partial(to_string, known=frozenset(categories))
    return _converted(convert, values)


def _converted(
    convert: Callable[[Any], Any], values: Sequence[Any]
) -> tuple[list[Any], list[Problem]]:
    converted: list[Any] = []
    problems: list[Problem] = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except (TypeError, ValueError, OverflowError, KeyError):
            problems.append((row, value))
    return converted, problems


def to_long(value: Any) -> int:
    """Return an integer of 64 bits; a fraction is cut off, as ``astype`` does.

    >>> [to_long(value) for value in (56, "56", "5.6e1", 56.5, -56.5, True)]
    [56, 56, 56, 56, -56, 1]
    """
    if not isinstance(value, (int, float, str)):
        raise TypeError
    # An integer just below the smallest comes out of the JSON reader as the float next to it.
    if isinstance(value, float) and value <= SMALLEST:
        raise OverflowError
    number = text_values.integer(value) if isinstance(value, str) else int(value)
    if not SMALLEST <= number <= LARGEST:
        raise OverflowError
    return number


def to_double(value: Any) -> float:
    """Return a float; null becomes nan.

    >>> [to_double(value) for value in (1, "1.5", True, None, "NA")]
    [1.0, 1.5, 1.0, nan, nan]
    """
    if value is None:
        return NAN
    if isinstance(value, str):
        return NAN if text_values.is_null(value) else text_values.number(value)
    if not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def to_string(value: Any, known: frozenset[str] | None = None) -> str | None:
    """Return text; a nan becomes null, another scalar the one of its texts that is known.

    Where it is not said which texts are known, a scalar becomes the text that Python writes.

    >>> to_string(1.0, {"1", "007"}), to_string(True, {"true", "no"}), to_string(7)
    ('1', 'true', '7')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        raise TypeError
    if value != value:
        return None
    if known is None:
        return str(value)
    texts = {str(value)}
    if isinstance(value, bool):
        texts |= {str(value).lower(), str(value).upper()}
    elif isinstance(value, int):
        if abs(value) <= LARGEST:
            texts.add(str(float(value)))
    elif value.is_integer():
        texts.add(str(int(value)))
    meant = texts & known
    if len(meant) != 1:
        raise ValueError
    return meant.pop()


def to_boolean(value: Any) -> bool:
    """Return a boolean; the numbers 0 and 1 stand for false and true, as text as well.

    >>> [to_boolean(value) for value in (True, 0, "FALSE", "1")]
    [True, False, False, True]
    """
    if isinstance(value, str):
        bare = value.strip()
        return text_values.BOOLEANS[bare] if bare in text_values.BOOLEANS else BITS[bare]
    if not isinstance(value, (int, float)):
        raise TypeError
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def to_nullable_boolean(value: Any) -> float:
    """Return 1.0 for true, 0.0 for false and nan for null.

    >>> [to_nullable_boolean(value) for value in (True, "False", None, "NA")]
    [1.0, 0.0, nan, nan]
    """
    if value is None or value != value or (isinstance(value, str) and text_values.is_null(value)):
        return NAN
    return float(to_boolean(value))


BITS = {"0": False, "1": True}
CONVERTERS: dict[Reading, Callable[[Any], Any]] = {
    "long": to_long,
    "double": to_double,
    "string": to_string,
    "boolean": to_boolean,
    "nullable boolean": to_nullable_boolean,
    "text": to_string,
    "datetime": partial(date_text, form=DateForm()),
}


def _plain(value: Any) -> Any:
    """Return ``value`` for a detail: a JSON scalar that any writer can write."""
    if isinstance(value, str):
        return shown_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and SMALLEST <= value <= LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return shown(value)


def raise_problems(problems: Sequence[tuple[int, str, Any, str]]) -> None:
    """Raise for values that could not be converted.

    Parameters
    ----------
    problems
        Row, column, value and what was expected, in the order to report.

    Raises
    ------
    PayloadError
        Always: the message states the first problem and how many more there are; the
        details hold the first 20.
    """
    row, column, value, expected = problems[0]
    message = f"row {row}, column '{shown_text(column)}': found {shown(value)}, expected {expected}"
    more = len(problems) - 1
    if more:
        message += f" (and {more:,} more such value{'' if more == 1 else 's'})"
    raise PayloadError(
        message,
        hint=f"Send '{shown_text(column)}' as {expected}.",
        details=[
            Detail(row=row, column=column, value=_plain(value), expected=expected)
            for row, column, value, expected in problems[:MOST_DETAILS]
        ],
    )
