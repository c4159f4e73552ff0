"""The request that comes most often: one row, its columns complete, its values of usual types.

A shortcut through ``_rows`` and ``_coerce``, which define what a request means: whatever is
not plainly one such row is left to them, and what is gives the columns that they would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from twinml.contract._coerce import Reading, reading
from twinml.contract._schema import Contract
from twinml.contract._words import LARGEST, SMALLEST
from twinml.contract.dialects import Dialect

__all__ = ["UsualRow"]

MOST_KNOWN = 1_000  # combinations of types that are remembered
NONE = type(None)
# What becomes of a value by the column's type and its own.
KEPT, AS_FLOAT, AS_NAN = range(3)
STEPS: dict[tuple[Reading, type], int] = {
    ("long", int): KEPT,
    ("double", float): KEPT,
    ("double", int): AS_FLOAT,
    ("double", NONE): AS_NAN,
    ("string", str): KEPT,
    ("string", NONE): KEPT,
    ("datetime", NONE): KEPT,
    ("boolean", bool): KEPT,
    ("nullable boolean", bool): AS_FLOAT,
    ("nullable boolean", NONE): AS_NAN,
}


class UsualRow:
    """Reads single rows of a contract.

    Examples
    --------
    >>> from twinml.contract import Column
    >>> from twinml.contract.dialects import DIALECTS
    >>> usual = UsualRow(Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2, samples=(),
    ...     columns=(Column("age", "long", False), Column("balance", "double", True)),
    ... ))
    >>> usual.columns(DIALECTS["data"], [{"balance": 1, "age": 41, "other": 0}])
    {'age': [41], 'balance': [1.0]}
    >>> usual.columns(DIALECTS["data"], [{"balance": 1, "age": "41"}]) is None
    True
    """

    def __init__(self, contract: Contract) -> None:
        self._names = contract.column_names
        self._header = list(contract.column_names)
        self._types = tuple(map(reading, contract.columns))
        self._values = itemgetter(*self._names) if len(self._names) > 1 else self._only
        self._longs = [at for at, kind in enumerate(self._types) if kind == "long"]
        self._known: dict[tuple[type, ...], tuple[tuple[int, int], ...] | None] = {}

    def columns(self, dialect: Dialect, value: Any) -> dict[str, list[Any]] | None:
        """Return converted columns of length 1, or ``None`` when this is no usual single row.

        Parameters
        ----------
        dialect
            Of the request.
        value
            What stands under the dialect's key.
        """
        rows = dialect.plain_rows(value, self._header)
        if type(rows) is not list or len(rows) != 1:
            return None
        row = rows[0]
        if type(row) is dict:
            try:
                values = self._values(row)
            except KeyError:
                return None
        elif type(row) is list and len(row) == len(self._names):
            values = row
        else:
            return None
        return self._converted(values)

    def _only(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return (row[self._names[0]],)

    def _converted(self, values: Sequence[Any]) -> dict[str, list[Any]] | None:
        types = tuple(map(type, values))
        try:
            steps = self._known[types]
        except KeyError:
            steps = self._steps(types)
            if len(self._known) < MOST_KNOWN:
                self._known[types] = steps
        if steps is None:
            return None
        for at in self._longs:
            if not SMALLEST <= values[at] <= LARGEST:
                return None
        columns = {name: [value] for name, value in zip(self._names, values, strict=True)}
        for at, step in steps:
            if step == AS_NAN:
                columns[self._names[at]] = [math.nan]
            else:
                try:
                    columns[self._names[at]] = [float(values[at])]
                except OverflowError:
                    return None
        return columns

    def _steps(self, types: tuple[type, ...]) -> tuple[tuple[int, int], ...] | None:
        """Return which values are to be changed and how, ``None`` for what is not usual."""
        steps = [STEPS.get(pair) for pair in zip(self._types, types, strict=True)]
        if None in steps:
            return None
        return tuple((at, step) for at, step in enumerate(steps) if step)
