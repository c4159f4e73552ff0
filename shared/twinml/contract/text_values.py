"""What text means: one rule for training files, CSV bodies and texts in JSON.

* a number is written in the digits 0 to 9, with at most one sign, point and exponent, or is
  ``inf``; blanks around it are ignored. ``1_000``, ``1,000`` and digits of other scripts are
  no numbers;
* where a whole number is wanted, its value has to be whole: ``1e1`` and ``56.0`` are;
* a boolean is ``true`` or ``false``, in small letters, capitals or with a capital first;
* where a number, a boolean or a date is wanted, ``NA``, ``N/A``, ``NaN``, ``null``, ``None`` and
  ``?`` are null, so are blanks, dashes, dots, the error values of spreadsheets and what else
  ``RARE_MARKERS`` lists;
* where text is wanted, it is itself, character by character.

Names in a header are texts as well; an empty one becomes ``Unnamed: 0``, counted from 0. Cells
are parted by one of ``DELIMITERS``; a line ``sep=;`` above the header names it, as in Excel.
Numbers that a file writes in another notation are in :mod:`twinml.contract.notation`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
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
# What databases, statistics and spreadsheets write beside these, and dates that are none. Not in
# here: words such as unknown.
RARE_MARKERS = frozenset({
    "#na", "n.a.", "n.a", "(null)", "\\n", "nil", "-", "--", "---", "\u2013", "\u2014", ".", "..",
    "...", "#div/0!", "#ref!", "#value!", "#num!", "#name?", "#null!", "0000-00-00",
    "0000-00-00 00:00:00",
})  # fmt: skip
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
    """Tell whether ``text`` stands for null where a number, a boolean or a date is wanted.

    >>> [is_null(text) for text in ("NA", " n/a ", "-", "  ", "", "unknown")]
    [True, True, True, True, False, False]
    """
    bare = text.strip().lower()
    return bare in NULL_MARKERS or bare in RARE_MARKERS or bool(text and not bare)


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


def header_names(fields: Sequence[str], known: Collection[str] | None = None) -> list[str]:
    """Return the names of columns that a header gives: no two alike, without blanks around.

    Parameters
    ----------
    known
        Names of a model's columns: one of them stays as it is, and of names that come again
        only those are numbered that are known so. By default all are.

    >>> header_names(["age", "", " a,b ", "age", "age"])
    ['age', 'Unnamed: 1', 'a,b', 'age.1', 'age.2']
    >>> header_names([" a", "b", "b"], {" a", "b"})
    [' a', 'b', 'b']
    """
    names: list[str] = []
    given: set[str] = set()
    taken = {field.strip() for field in fields}
    for at, field in enumerate(fields):
        bare = field.strip()
        name = field if known is not None and field in known else bare or f"Unnamed: {at}"
        if name in given:
            number = 1
            while f"{name}.{number}" in taken or f"{name}.{number}" in given:
                number += 1
            if known is None or f"{name}.{number}" in known:
                name = f"{name}.{number}"
        names.append(name)
        given.add(name)
    return names
