"""Rows written as CSV with a header, as a browser form or a spreadsheet sends them.

An empty cell is null; what text means, and what parts the cells, is said in
:mod:`twinml.contract.text_values`, for a training file as for this. Here the columns are known:
the delimiter is the one by which the header names most of them.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from twinml.contract._rows import check_header, refuse_ragged
from twinml.contract._schema import Contract
from twinml.contract.text_values import DELIMITERS, NAMED_DELIMITER, header_names
from twinml.errors import PayloadError

__all__ = ["read_csv"]


def read_csv(contract: Contract, text: str) -> dict[str, list[Any]]:
    """Return the contract's columns of ``text``.

    Raises
    ------
    PayloadError
        There is no header, the quoting is broken, a row is ragged or columns are missing.
    """
    named = NAMED_DELIMITER.match(text)
    text = text[named.end() :] if named else text
    reader = _reader(text, named.group(1) if named else ",")
    rows: list[list[str]] = []
    try:
        header = _header(reader) if named else _header_or_none(reader)
        known = set(contract.column_names)
        if not named and not known <= set(header_names(header, known)):
            delimiter = max(DELIMITERS, key=lambda one: _n_known(_reader(text, one), known))
            reader = _reader(text, delimiter)
            header = _header(reader)
        if not header:
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
            hint="Quote cells that hold delimiters, quotes or line breaks.",
        ) from None
    return {
        column.name: [row[position] or None for row in rows]
        for column, position in zip(contract.columns, positions, strict=True)
    }


def _reader(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _header(reader: Any) -> list[str]:
    return next((line for line in reader if line), [])


def _header_or_none(reader: Any) -> list[str]:
    """Return the header, or nothing where the delimiter is another one and its cells are quoted."""
    try:
        return _header(reader)
    except csv.Error:
        return []


def _n_known(reader: Any, known: set[str]) -> int:
    """Return how many of the known columns the header names."""
    return len(known & set(header_names(_header_or_none(reader), known)))
