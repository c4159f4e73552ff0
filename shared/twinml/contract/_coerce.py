"""Values of a request to the types of the contract, as MLflow and Azure convert them.

Measured on both: an integer column takes ``"56"``, ``56.0``, ``56.5`` (cut to 56) and
``true``; a double column takes integers, booleans, null and numbers written as text; a
string column takes anything scalar. Both convert any number or text to a boolean, ``"false"``
to true: here a boolean column takes true, false, 0 and 1.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from twinml.contract._schema import ColumnType
from twinml.errors import Detail, PayloadError

__all__ = ["EXPECTED", "MOST_DETAILS", "coerce", "each", "kind", "quick", "raise_problems", "shown"]

EXPECTED: dict[ColumnType, str] = {
    "long": "an integer",
    "double": "a number or null",
    "string": "text or null",
    "boolean": "true or false",
}

LONGEST_VALUE = 80
MOST_DETAILS = 20
SMALLEST, LARGEST = -(2**63), 2**63 - 1
NAN = math.nan

Problem = tuple[int, Any]


def coerce(
    column_type: ColumnType, values: list[Any], *, as_text: bool = False
) -> tuple[list[Any], list[Problem]]:
    """Return ``values`` as ``column_type``, and the positions that cannot be.

    ``as_text`` turns what is not text in a string column into text, as MLflow does for
    ``instances`` and ``inputs`` but not for the ``dataframe_*`` keys.
    """
    converted = quick(column_type, values)
    if converted is not None:
        return converted, []
    return each(column_type, values, as_text=as_text)


def quick(column_type: ColumnType, values: list[Any]) -> list[Any] | None:
    """Convert a column whose values all have a type that needs no thought, else ``None``."""
    kinds = set(map(type, values))
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


def each(
    column_type: ColumnType, values: Sequence[Any], *, as_text: bool = False
) -> tuple[list[Any], list[Problem]]:
    """Convert value by value, with every position that cannot be converted."""
    convert = TEXT_CONVERTER if as_text and column_type == "string" else CONVERTERS[column_type]
    converted: list[Any] = []
    problems: list[Problem] = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except (TypeError, ValueError, OverflowError):
            problems.append((row, value))
    return converted, problems


def to_long(value: Any) -> int:
    """Return an integer of 64 bits; a fraction is cut off, as ``astype`` does.

    >>> [to_long(value) for value in (56, "56", 56.5, -56.5, True)]
    [56, 56, 56, -56, 1]
    """
    if not isinstance(value, (int, float, str)):
        raise TypeError
    # An integer just below the smallest comes out of the JSON reader as the float next to it.
    if isinstance(value, float) and value <= SMALLEST:
        raise OverflowError
    number = int(value)
    if not SMALLEST <= number <= LARGEST:
        raise OverflowError
    return number


def to_double(value: Any) -> float:
    """Return a float; null becomes nan.

    >>> [to_double(value) for value in (1, "1.5", True, None)]
    [1.0, 1.5, 1.0, nan]
    """
    if value is None:
        return NAN
    if not isinstance(value, (int, float, str)):
        raise TypeError
    return float(value)


def to_string(value: Any) -> Any:
    """Return a scalar as it is; a nan becomes null."""
    if isinstance(value, (list, dict)):
        raise TypeError
    return None if value != value else value


def to_text(value: Any) -> str | None:
    """Return a scalar as text; a nan becomes null."""
    value = to_string(value)
    return value if value is None or isinstance(value, str) else str(value)


def to_boolean(value: Any) -> bool:
    """Return a boolean; the numbers 0 and 1 stand for false and true."""
    if not isinstance(value, (int, float)):
        raise TypeError
    if value not in (0, 1):
        raise ValueError
    return bool(value)


CONVERTERS: dict[ColumnType, Callable[[Any], Any]] = {
    "long": to_long,
    "double": to_double,
    "string": to_string,
    "boolean": to_boolean,
}
TEXT_CONVERTER = to_text


def shown(value: Any) -> str:
    """Return ``value`` for a message: as JSON writes it, at most 80 characters, valid UTF-8.

    >>> shown("abc"), shown(None), shown(True), shown(float("nan")), shown([1, "x"])
    ("'abc'", 'null', 'true', 'NaN', '[1,"x"]')
    """
    if isinstance(value, str):
        return f"'{_short(value)}'"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return f"an integer of {value.bit_length()} bits"
    try:
        return _short(orjson.dumps(value).decode())
    except TypeError:
        # Deep nesting or integers beyond 64 bits inside.
        return "an array" if isinstance(value, list) else "an object"


def kind(value: Any) -> str:
    """Return the JSON type of ``value`` for a message."""
    kinds = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _short(text: str) -> str:
    if len(text) > LONGEST_VALUE:
        text = f"{text[:LONGEST_VALUE]}…"
    if text.isprintable():
        return text
    # A line break in a message would start a line of its own in a log.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:
    """Return ``value`` for a detail: a JSON scalar that any writer can write."""
    if isinstance(value, str):
        return _short(value)
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
    message = f"row {row}, column '{_short(column)}': found {shown(value)}, expected {expected}"
    more = len(problems) - 1
    if more:
        message += f" (and {more:,} more such value{'' if more == 1 else 's'})"
    raise PayloadError(
        message,
        hint=f"Send '{_short(column)}' as {expected}.",
        details=[
            Detail(row=row, column=column, value=_plain(value), expected=expected)
            for row, column, value, expected in problems[:MOST_DETAILS]
        ],
    )
