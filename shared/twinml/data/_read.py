"""From a file to a frame: what it is, its text, its columns, their types.

CSV, Parquet, workbooks and JSON rows, also compressed. What a file is shows in its first bytes,
not in its name. Whatever could be read in another way is said in a finding; whatever cannot be
read exactly is refused with the place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from twinml.contract.dates import DateForm
from twinml.contract.free_text import FreeText
from twinml.contract.notation import Notation
from twinml.data._csv import check_width, csv_columns, csv_names
from twinml.data._encoding import decoded
from twinml.data._finding import Finding
from twinml.data._json import is_json, json_columns
from twinml.data._parquet import parquet_columns, parquet_names
from twinml.data._source import is_workbook, local_file, raw_bytes
from twinml.data._types import is_total, rows_with, text_kinds, typed_columns
from twinml.data._workbook import workbook_columns

__all__ = ["FileContent", "column_names", "read", "read_records", "read_rows"]


@dataclass(frozen=True)
class FileContent:
    """What a file holds.

    Attributes
    ----------
    frame
        All its columns.
    notations
        How it writes the numbers or dates of some of them, and which are free text, by column.
    findings
        How it was read.
    digest
        SHA-256 of its uncompressed bytes, hexadecimal.
    unlabelled
        Rows of the file that are not in ``frame``: their target is empty.
    """

    frame: pd.DataFrame
    notations: Mapping[str, Notation | DateForm | FreeText]
    findings: tuple[Finding, ...]
    digest: str
    unlabelled: int = 0


def read(
    source: Path,
    *,
    least: int = 2,
    text: Collection[str] = (),
    plain: Collection[str] = (),
    skip: Collection[str] = (),
    expected: Collection[str] = (),
    sheet: str | None = None,
    target: str | None = None,
) -> FileContent:
    """Read a file of at least ``least`` columns.

    Parameters
    ----------
    text
        Columns that stay text, whatever they hold.
    plain
        Columns whose numbers have to be written plainly; they stay text otherwise.
    skip
        Columns whose values are not looked at; they are null.
    expected
        Names of which one at least stands in a header.
    sheet
        Of a workbook; the first one by default.
    target
        Rows in which this column is empty are left out of text files before columns get their
        types: totals, remarks, rows of delimiters.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read exactly; the message names the place.
    """
    content, name = raw_bytes(source), source.name
    digest = hashlib.sha256(content).hexdigest()
    if content.startswith(b"PAR1"):
        series, findings = parquet_columns(name, content, text=text, skip=skip)
        check_width(name, list(series), least)
        texts = {one: series[one] for one in series if one not in {*text, *plain, *skip}}
        dates, remarks = text_kinds(texts)
        return FileContent(pd.DataFrame(series), dates, (*findings, *remarks), digest)
    delimiter = ","
    if is_workbook(content):
        columns, findings = workbook_columns(name, content, sheet, expected)
    else:
        body, findings = decoded(name, content)
        if is_json(body):
            columns, remarks = json_columns(name, body, skip)
        else:
            columns, remarks, delimiter = csv_columns(name, body, least, expected)
        findings = [*findings, *remarks]
    check_width(name, list(columns), least)
    unlabelled = 0
    if target is not None:
        if is_total(columns):
            columns = {key: each.rows(slice(-1)) for key, each in columns.items()}
            message = "the last row sums the others up and is left out"
            findings.append(Finding("note", "total", None, message, decision=True))
        columns, unlabelled = rows_with(columns, target)
    typed = typed_columns(
        columns,
        as_text={*text, *skip},
        plain=plain,
        # Where the comma is a decimal mark, spreadsheets put a semicolon between cells.
        likely="," if delimiter == ";" else ".",
    )
    findings = [*findings, *typed.findings]
    return FileContent(
        pd.DataFrame(typed.columns), typed.notations, tuple(findings), digest, unlabelled
    )


def read_rows(
    source: Path | str,
    *,
    text: Collection[str] = (),
    expected: Collection[str] = (),
    sheet: str | None = None,
    least: int = 1,
) -> pd.DataFrame:
    """Read the rows of a file as ``load`` does, whatever they are for.

    Parameters
    ----------
    source
        As in ``load``.
    text
        Columns whose values stay text even if all of them look like numbers or booleans.
    expected
        Names of which one at least stands in a header, beside those of ``text``.
    sheet
        Of a workbook; the first one by default.
    least
        Columns that it has; a file of a single one may hold blanks that part nothing.

    Returns
    -------
    All columns in file order, typed as in ``Dataset.frame``; a column without any value is
    ``float64``.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read exactly; the message names the place.
    """
    names = {*text, *expected}
    return read(local_file(source), least=least, text=text, expected=names, sheet=sheet).frame


def column_names(source: Path | str) -> list[str]:
    """Return the names in the header of a file with at least two columns.

    Raises
    ------
    DataError
        There is no such file, or it has no header that can be read.
    """
    path = local_file(source)
    content = raw_bytes(path)
    if content.startswith(b"PAR1"):
        names = parquet_names(path.name, content)
        check_width(path.name, names, 2)
        return names
    if is_workbook(content):
        return list(workbook_columns(path.name, content, None, ())[0])
    text, _ = decoded(path.name, content)
    if is_json(text):
        return list(json_columns(path.name, text, ())[0])
    return csv_names(path.name, text)


def read_records(source: Path | str, *, text: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a file as objects by column, null as ``None``; else as ``read_rows``.

    Raises
    ------
    DataError
        As ``read_rows``.
    """
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in read_rows(source, text=text).to_dict("records")
    ]
