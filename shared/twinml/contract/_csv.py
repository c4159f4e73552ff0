"""Rows written as CSV with a header, as a browser form or a spreadsheet sends them.

An empty cell is null; text is taken exactly as written, ``NA`` included.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from twinml.contract._rows import check_header, refuse_ragged
from twinml.contract._schema import ColumnType, Contract
from twinml.errors import PayloadError

__all__ = ["read_csv"]

BOOLEANS: dict[str, Any] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "1": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "0": False,
}


def read_csv(contract: Contract, text: str) -> dict[str, list[Any]]:
    """Return the contract's columns of ``text``.

    Raises
    ------
    PayloadError
        There is no header, the quoting is broken, a row is ragged or columns are missing.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    try:
        header = next((line for line in reader if line), None)
        if header is None:
            raise PayloadError("the body is empty", hint="Send a header line and at least one row.")
        positions = check_header(contract, header)
        for line in reader:
            if not line:
                continue
            if len(line) != len(header):
                refuse_ragged(len(rows), len(line), len(header))
            rows.append(line)
    except csv.Error as error:
        raise PayloadError(
            f"the body is not CSV: {error} at line {reader.line_num}",
            hint="Quote cells that hold commas, quotes or line breaks.",
        ) from None
    return {
        column.name: [_value(row[position], column.type) for row in rows]
        for column, position in zip(contract.columns, positions, strict=True)
    }


def _value(cell: str, column_type: ColumnType) -> Any:
    if cell == "":
        return None
    if column_type == "boolean":
        return BOOLEANS.get(cell, cell)
    if column_type == "long" and not cell.isdigit():
        # A spreadsheet or pandas writes 56.0 for an integer once it passed through floats.
        try:
            number = float(cell)
        except ValueError:
            return cell
        return number if number.is_integer() and "." in cell else cell
    return cell
