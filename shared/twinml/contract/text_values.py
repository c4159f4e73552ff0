"""What text means: one rule for training files, CSV bodies and texts in JSON.

* a number is written in the digits 0 to 9, with at most one sign, point and exponent, or is
  ``inf``; blanks around it are ignored. ``1_000``, ``1,000`` and digits of other scripts are
  no numbers;
* where a whole number is wanted, its value has to be whole: ``1e1`` and ``56.0`` are;
* a boolean is ``true`` or ``false``, in small letters, capitals or with a capital first;
* where a number or a boolean is wanted, ``NA``, ``N/A``, ``NaN``, ``null``, ``None`` and
  ``?`` are null;
* where text is wanted, it is itself, character by character.

Names in a header are texts as well; an empty one becomes ``Unnamed: 0``, counted from 0. Cells
are parted by one of ``DELIMITERS``; a line ``sep=;`` above the header names it, as in Excel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

__all__ = [
    "BOOLEANS",
    "DELIMITERS",
    "INTEGER",
    "NAMED_DELIMITER",
    "NULL_MARKERS",
    "header_names",
    "integer",
    "is_null",
    "is_number",
    "number",
]

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
NAMED_DELIMITER = re.compile(r"sep=(.)\r?\n")
INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
NULL_MARKERS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"})
BOOLEANS = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
MOST_DIGITS = 20  # more than any integer of 64 bits has


def is_number(text: str) -> bool:
    """Tell whether ``text`` is a number.

    >>> [is_number(text) for text in ("1e1", " 5.", "-inf", "1_000", "１２", "")]
    [True, True, True, False, False, False]
    """
    bare = text.strip()
    return bool(NUMBER.fullmatch(bare) or INFINITE.fullmatch(bare))


def is_null(text: str) -> bool:
    """Tell whether ``text`` stands for null where a number or a boolean is wanted."""
    return text.strip().lower() in NULL_MARKERS


def number(text: str) -> float:
    """Return the double nearest to a number.

    Raises
    ------
    ValueError
        It is none.
    """
    if not is_number(text):
        raise ValueError
    return float(text)


def integer(text: str) -> int:
    """Return a whole number, exactly.

    >>> [integer(text) for text in ("56", "56.0", "1e1", "9007199254740993.0")]
    [56, 56, 10, 9007199254740993]

    Raises
    ------
    ValueError
        It is no number, or not a whole one.
    OverflowError
        It has more digits than an integer of 64 bits.
    """
    bare = text.strip()
    if INTEGER.fullmatch(bare):
        if len(bare.lstrip("+-0")) > MOST_DIGITS:
            raise OverflowError
        return int(bare.lstrip("+-0") or "0") * (-1 if bare.startswith("-") else 1)
    if not NUMBER.fullmatch(bare):
        raise ValueError
    try:
        value = Decimal(bare)
    except InvalidOperation:  # the exponent itself has too many digits
        raise OverflowError from None
    if not value:
        return 0
    # Before it is written out: an exponent may stand for a million digits.
    if value.adjusted() >= MOST_DIGITS:
        raise OverflowError
    if value.adjusted() < 0 or value != value.to_integral_value():
        raise ValueError
    return int(value)


def header_names(fields: Sequence[str]) -> list[str]:
    """Return the names of columns that a header of CSV gives.

    >>> header_names(["age", "", "a,b"])
    ['age', 'Unnamed: 1', 'a,b']
    """
    return [field or f"Unnamed: {at}" for at, field in enumerate(fields)]
