"""Text in CSV that a spreadsheet would take for a formula, marked so that it is shown as text.

Spreadsheets run what begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return. Such a
cell gets an apostrophe before it. A number is no formula and stays as it is, whatever its sign.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["safe_frame", "safe_table", "safe_text"]

FORMULA = r"^[=+\-@\t\r]"
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
MARK = "'"


def safe_text(value: str) -> str:
    """Return a cell's text, marked if it could be a formula.

    Examples
    --------
    >>> [safe_text(cell) for cell in ("=1+1", "@SUM(A1)", "+49 30", "-1.5e3", "a=b", "")]
    ["'=1+1", "'@SUM(A1)", "'+49 30", '-1.5e3', 'a=b', '']
    """
    formula = re.match(FORMULA, value) and not re.fullmatch(NUMBER[1:-1], value)
    return MARK + value if formula else value


def _safe(value: Any) -> Any:
    return safe_text(value) if isinstance(value, str) else value


def safe_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with safe cells and column names; what is no text stays as it is."""
    safe = frame.copy()
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":
            safe.isetitem(place, [_safe(value) for value in frame.iloc[:, place]])
    return safe.rename(columns=_safe)


def safe_table(table: pa.Table) -> pa.Table:
    """Return an Arrow table with safe cells and column names."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            formula = pc.and_not(
                pc.match_substring_regex(column, FORMULA), pc.match_substring_regex(column, NUMBER)
            )
            mark = pa.scalar(MARK, column.type)
            marked = pc.binary_join_element_wise(mark, column, pa.scalar("", column.type))
            column = pc.if_else(formula, marked, column)
        columns.append(column)
    return pa.table(columns, names=[safe_text(name) for name in table.column_names])
