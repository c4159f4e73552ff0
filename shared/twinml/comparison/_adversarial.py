"""Rows that two servers are likely to read differently: one cell of a real row at a time.

Every row keeps the contract, so both sides have to answer it; what it tries is in ``Case``::

    long      ends of the training range and one beyond, ends of int32 and int64, the first
              integer that a float cannot hold, zero, negative, an integer as 56.0 or as text
    double    zeros of either sign, the smallest denormal and normal, the largest float, long
              decimals, neighbours of the training range, integers, text, null
    string    unseen, unicode (accents, other scripts, emoji, combining marks), text that looks
              like a number, a boolean, a date or a null, quotes, spaces, empty, long, null
    boolean   either value, and as text
    row       every cell that may be null is, every category unseen
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinml.contract import Column, Contract
from twinml.contract.dates import DateForm, written

__all__ = ["Case", "cases"]

WHOLE_ROW = "(whole row)"
SMALLEST_DENORMAL, SMALLEST_NORMAL = 5e-324, 2.2250738585072014e-308
LARGEST = 1.7976931348623157e308
INT32_MAX, INT64_MIN, INT64_MAX = 2**31 - 1, -(2**63), 2**63 - 1

LONGS: Mapping[str, int | float] = {
    "zero": 0,
    "minus one": -1,
    "beyond int32": INT32_MAX + 1,
    "2^53 + 1": 2**53 + 1,
    "largest int64": INT64_MAX,
    "smallest int64": INT64_MIN,
}
DOUBLES: Mapping[str, int | float | None] = {
    "zero": 0.0,
    "minus zero": -0.0,
    "smallest denormal": SMALLEST_DENORMAL,
    "denormal": 1.234567890123e-310,
    "smallest normal": SMALLEST_NORMAL,
    "largest": LARGEST,
    "largest negative": -LARGEST,
    "0.1 + 0.2": 0.1 + 0.2,
    "a third": 1 / 3,
    "17 digits": 1.2345678901234567,
    "17 digits, large": 123456789.01234567,
    "exponent": 1e22,
    "small exponent": 1e-7,
    "an integer": 7,
    "2^53 + 1 as a float": float(2**53 + 1),
    "null": None,
}
TEXTS: Mapping[str, str | None] = {
    "unseen": "unseen category",
    "empty": "",
    "space": " ",
    "accents": "Straße façade ñandú",
    "combining mark": "e\u0301",
    "other script": "日本語 العربية",
    "emoji": "🚀👩‍🔬",
    "looks like an integer": "42",
    "looks like a decimal": "0.30000000000000004",
    "leading zeros": "007",
    "looks like infinity": "Infinity",
    "looks like nan": "NaN",
    "looks like null": "null",
    "looks like a boolean": "true",
    "looks like a date": "2024-02-30",
    "quotes": "\"'\\/",
    "line break": "two\nlines",
    "long": "x" * 5_000,
    "null": None,
}


@dataclass(frozen=True)
class Case:
    """One adversarial row, and what it tries: the column and the value in words."""

    column: str
    what: str
    row: dict[str, Any]


def cases(contract: Contract, base: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Return the adversarial rows of a contract, each made from one of ``base`` in turn.

    Parameters
    ----------
    base
        Real rows, at least one; their other cells stay as they are.

    Examples
    --------
    >>> contract = Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2, samples=(),
    ...     columns=(Column("owner", "boolean", nullable=False),),
    ... )
    >>> [(case.what, case.row) for case in cases(contract, [{"owner": True}])][:2]
    [('true', {'owner': True}), ('false', {'owner': False})]
    """
    made: list[Case] = []
    for column in contract.columns:
        for what, value in _values(column, base[0].get(column.name)):
            row = {name: base[len(made) % len(base)][name] for name in contract.column_names}
            made.append(Case(column.name, what, {**row, column.name: value}))
    for what, changed in _whole_rows(contract):
        made.append(Case(WHOLE_ROW, what, {**dict(base[0]), **changed}))
    return made


def _values(column: Column, real: Any) -> Iterator[tuple[str, Any]]:
    if column.type == "long":
        yield from LONGS.items()
        for what, bound, beyond in _ends(column):
            yield what, int(bound)
            yield f"beyond the {what}", int(bound) + beyond
        if isinstance(real, int) and abs(real) < 2**53:
            yield "an integer written as a float", float(real)
            yield "an integer as text", str(real)
            yield "a decimal as text", f"{real}.0"
    elif column.type == "double":
        yield from DOUBLES.items()
        yield "a number as text", "0.5"
        yield "an exponent as text", "1e3"
        for what, bound, beyond in _ends(column):
            yield what, float(bound)
            yield f"next to the {what}", math.nextafter(float(bound), beyond * math.inf)
    elif column.type == "boolean":
        yield from (("true", True), ("false", False), ("false as text", "false"))
    elif column.dates is not None:
        yield "null", None
        for what, bound, beyond in _ends(column):
            yield what, written(bound, column.dates)
            yield f"beyond the {what}", written(bound + beyond * 86_400, column.dates)
            yield f"{what} in ISO 8601", written(bound, DateForm(time=True))
            yield f"{what} with a zone", written(bound, DateForm(time=True)) + "+05:30"
    else:
        yield from TEXTS.items()


def _ends(column: Column) -> Iterator[tuple[str, float, int]]:
    if column.minimum is not None and column.maximum is not None:
        yield "minimum", column.minimum, -1
        yield "maximum", column.maximum, 1


def _whole_rows(contract: Contract) -> Iterator[tuple[str, dict[str, Any]]]:
    nulls = {column.name: None for column in contract.columns if column.nullable}
    texts = [
        column.name
        for column in contract.columns
        if column.mlflow_type == "string" and not column.dates
    ]
    doubles = [column.name for column in contract.columns if column.type == "double"]
    if nulls:
        yield "every null that is allowed", nulls
    if texts:
        yield "every category unseen", dict.fromkeys(texts, "unseen category")
    if doubles:
        yield "every double with 17 digits", dict.fromkeys(doubles, 1.2345678901234567)
