"""Rows written as CSV with a header, as a browser form or a spreadsheet sends them.

An empty cell is null; what text means is said in :mod:`twinml.contract.text_values`, for a
training file as for this.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from twinml.contract._rows import check_header, refuse_ragged
from twinml.contract._schema import Contract
from twinml.contract.text_values import header_names
from twinml.errors import PayloadError

__all__ = ["read_csv"]


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
        positions = check_header(contract, header_names(header, contract.column_names))
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
        column.name: [row[position] or None for row in rows]
        for column, position in zip(contract.columns, positions, strict=True)
    }
