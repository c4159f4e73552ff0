"""Workbooks of Excel and LibreOffice: one sheet, its cells as the texts that CSV would hold."""

from __future__ import annotations

import datetime
import io
from collections.abc import Collection
from itertools import islice
from typing import Any

from twinml.data._finding import Finding
from twinml.data._names import header_of
from twinml.data._source import near
from twinml.data._types import TextColumn, text_column
from twinml.errors import DataError

__all__ = ["workbook_columns"]

LOOKED_AT = 50
# Beyond this a cell, which holds a double, does not hold every whole number.
EXACT_IN_DOUBLE = 2**53
ERRORS = frozenset({"#N/A", "#DIV/0!", "#REF!", "#NAME?", "#NULL!", "#NUM!", "#VALUE!"})


def workbook_columns(
    name: str, content: bytes, sheet: str | None, expected: Collection[str]
) -> tuple[dict[str, TextColumn], list[Finding]]:
    """Return the columns of a sheet, the first one by default.

    Raises
    ------
    DataError
        It is no whole workbook, there is no such sheet, or the sheet holds no rows.
    """
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = list(book.sheet_names)
        chosen = sheet if sheet is not None else next(iter(sheets), "")
        if chosen not in sheets:
            raise DataError(
                f"'{name}' has no sheet '{chosen}'",
                hint=f"{near(chosen, sheets)}Sheets: {', '.join(sheets[:20])}.",
            )
        cells = book.get_sheet_by_name(chosen).to_python()
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise DataError(
            f"'{name}' is no whole workbook: {error}", hint="Save it again, or save it as CSV."
        ) from error
    rows = [row for row in ([_text(cell) for cell in cells_of] for cells_of in cells) if any(row)]
    above = 0
    # A title stands in one cell above a table of several columns.
    while above < len(rows) - 2 and len(rows[0]) > 2 and sum(map(bool, rows[above])) == 1:
        above += 1
    rows = rows[above:]
    if len(rows) < 2:
        raise DataError(
            f"sheet '{chosen}' of '{name}' holds no rows",
            hint=f"A header and rows are needed. Sheets: {', '.join(sheets[:20])}.",
        )
    header = header_of(list(islice(rows, LOOKED_AT)), expected)
    findings = list(header.findings)
    if above:
        message = f"{above} row{'' if above == 1 else 's'} above the header of '{chosen}' left out"
        findings.insert(0, Finding("note", "above-header", None, message, decision=True))
    if len(sheets) > 1 and sheet is None:
        message = f"'{name}' has {len(sheets)} sheets, the first one, '{chosen}', is read"
        findings.insert(0, Finding("note", "sheet", None, message, decision=True))
    columns = list(zip(*rows[header.lines :], strict=True))
    return {
        column: text_column([cell or None for cell in values])
        for column, values in zip(header.names, columns, strict=True)
    }, findings


def _text(cell: Any) -> str:
    """Return what a cell's value is in CSV; an error of a formula is nothing.

    >>> [_text(cell) for cell in (3.0, 0.1, True, "007", "#DIV/0!", datetime.date(2024, 1, 2))]
    ['3', '0.1', 'True', '007', '', '2024-01-02']
    """
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < EXACT_IN_DOUBLE else repr(cell)
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return repr(cell.total_seconds())
    return "" if cell in ERRORS else str(cell)
