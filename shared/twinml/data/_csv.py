"""CSV: what stands above the header, the delimiter, the cells of every column."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from twinml.contract.text_values import DELIMITERS, NAMED_DELIMITER, header_names
from twinml.data._finding import Finding
from twinml.data._names import header_of
from twinml.data._types import TextColumn
from twinml.errors import DataError

__all__ = ["csv_columns", "csv_header", "csv_names"]

BLANK = " "
SNIFFED_ROWS = 50
MOST_ABOVE = 20  # lines above a header
LAST_LOOKED_AT = 4096  # characters in which a note below the table ends
# pyarrow takes a block size as a 32-bit integer.
LARGEST_BLOCK = 2**31 - 2


@dataclass(frozen=True)
class Csv:
    """The text of a CSV file from its header on.

    ``skipped`` counts the lines above the header, so that messages name lines of the file;
    ``words`` of them are not empty.
    """

    name: str
    text: str
    delimiter: str
    skipped: int
    words: int = 0

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line in the file and the fields of each row, the header first."""
        reader = csv.reader(
            io.StringIO(self.text, newline=""), delimiter=self.delimiter, strict=True
        )
        while True:
            line = self.skipped + reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(
                    f"'{self.name}', line {line:,}: {error}",
                    hint='Quote a field that holds a quote, and double it: "a ""b"" c".',
                ) from None
            if fields:
                yield line, fields

    def first_rows(self) -> list[list[str]]:
        """Return the header and the rows after it, as many as are looked at."""
        return [fields for _, fields in islice(self.rows(), SNIFFED_ROWS)]


def csv_columns(
    name: str, text: str, least: int, expected: Collection[str]
) -> tuple[dict[str, TextColumn], list[Finding], str]:
    """Return the columns of a CSV file, remarks, and the delimiter.

    Raises
    ------
    DataError
        It cannot be read exactly; the message names the line.
    """
    file = opened(name, text, least)
    rows = file.first_rows()
    header = header_of(rows, expected)
    check_width(name, header.names, least)
    if len(rows) == 1:
        raise DataError(
            f"'{name}' has a header but no rows", hint="One line for each row must follow it."
        )
    findings = header.findings
    if file.words:
        lines = "1 line" if file.words == 1 else f"{file.words} lines"
        verb = "is" if file.words == 1 else "are"
        message = f"{lines} above the header of '{name}' {verb} left out"
        findings = [Finding("note", "above-header", None, message, decision=True), *findings]
    file, notes = _without_notes(file, len(header.names))
    table = _table(file, header.names, header.lines)
    findings = [*findings, *notes]
    columns, several_lines = {}, False
    for place, column in enumerate(header.names):
        encoded = table.column(place).chunk(0)
        positions = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        texts = encoded.dictionary.to_pylist()
        several_lines = several_lines or any("\n" in text for text in texts)
        columns[column] = TextColumn(texts, positions)
    if several_lines or file.text.count('"') % 2:
        # Arrow takes an open quote to reach to the end of the file; the csv module does not.
        for _ in file.rows():
            pass
    return columns, findings, file.delimiter


def csv_names(name: str, text: str, expected: Collection[str] = ()) -> list[str]:
    """Return the names of the columns of a file with at least two; no other row is parsed."""
    names = header_of(opened(name, text, 2).first_rows(), expected).names
    check_width(name, names, 2)
    return names


def csv_header(
    name: str, text: str, known: Collection[str] | None = None
) -> tuple[list[str], str, int]:
    """Return the column names of a CSV file, its delimiter, and how many lines stand above.

    Parameters
    ----------
    text
        Of the file, or its first part.
    known
        See :func:`~twinml.contract.text_values.header_names`.

    Raises
    ------
    DataError
        There is no header.
    """
    file = opened(name, text, 1 if known is None else min(2, len(known)))
    return header_names(next(file.rows())[1], known), file.delimiter, file.skipped


def opened(name: str, text: str, least: int) -> Csv:
    """Find the header and the delimiter of a file with at least ``least`` columns."""
    body = text.lstrip("\r\n")
    if not body.strip():
        raise DataError(
            f"'{name}' is empty", hint="It needs a header line and one line for each row."
        )
    if body.lstrip()[0] in "{[<":
        kind = "HTML or XML" if body.lstrip()[0] == "<" else "JSON"
        raise DataError(
            f"'{name}' is not CSV: it looks like {kind}",
            hint="Of JSON an array of objects, or an object a line, is read; convert others.",
        )
    named = NAMED_DELIMITER.match(body)
    if named:
        body = body[named.end() :]
        return Csv(name, body, named.group(1), _lines(text, body))
    above, delimiter = _sniffed(body)
    words = 0
    if above:
        words = sum(1 for line in body.splitlines()[:above] if line.strip())
        body = "".join(body.splitlines(keepends=True)[above:]).lstrip("\r\n")
    skipped = _lines(text, body)
    if delimiter is None and least > 1 and _blanks_delimit(body):
        if '"' not in body:
            body = "".join(" ".join(line.split()) + "\n" for line in body.splitlines())
        delimiter = BLANK
    return Csv(name, body, delimiter or ",", skipped, words)


def _lines(text: str, body: str) -> int:
    """Return how many lines of ``text`` stand above ``body``, its end."""
    return text[: len(text) - len(body)].count("\n")


def _sniffed(text: str) -> tuple[int, str | None]:
    """Return how many lines stand above the header, and the delimiter, if there is one.

    It is the one that splits the header and agrees best with the first rows. With decimal commas
    the comma may part all rows alike too, but for the header.
    """
    best: tuple[int, str | None] = (0, None)
    best_score = (0.0, 0, 0)
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            rows = [(reader.line_num, fields) for fields in islice(reader, SNIFFED_ROWS) if fields]
        except csv.Error:
            continue
        # line_num is the last line of a row: the lines above the next one.
        widths = [len(fields) for _, fields in rows]
        above = _rows_above([fields for _, fields in rows])
        widths = widths[above:]
        if widths[0] < 2:
            continue
        agreement = sum(width == widths[0] for width in widths) / len(widths)
        score = (agreement, -above, widths[0])
        if score > best_score:
            best, best_score = (rows[above - 1][0] if above else 0, delimiter), score
    return best


def _rows_above(rows: list[list[str]]) -> int:
    """Return how many of the first rows are comments or a title above the table.

    >>> table = [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]
    >>> _rows_above(table), _rows_above([["# made in 2024"], *table])
    (0, 1)
    >>> _rows_above([["Sales"], ["by day"], *table]), _rows_above([["Sales", "", ""], *table])
    (2, 1)
    >>> _rows_above([["Sales"], *table, ["by us"]]), _rows_above([["Sales"], *table, ["cut"]])
    (1, 0)
    """
    above = 0
    while above < min(len(rows) - 1, MOST_ABOVE) and rows[above][0].startswith("#"):
        above += 1
    if above and len(rows[above]) != len(rows[above - 1]):
        return above
    above = 0
    # A spreadsheet fills a line of one cell up with delimiters.
    while above < min(len(rows) - 2, MOST_ABOVE) and sum(bool(c.strip()) for c in rows[above]) < 2:
        above += 1
    # A single column may hold any delimiter here and there; a table does in every row.
    width, end = len(rows[above]), len(rows)
    while end > above + 2 and _is_note(rows[end - 1]):
        end -= 1
    return above if width > 2 and all(len(row) == width for row in rows[above:end]) else 0


def _is_note(row: list[str]) -> bool:
    """Tell whether a row is a remark below a table; a word alone may be a row that was cut off."""
    return len(row) == 1 and len(row[0].split()) > 1


def _without_notes(file: Csv, width: int) -> tuple[Csv, list[Finding]]:
    """Return a file without comments between its rows and notes of one field below them.

    Other lines of the wrong width stay, and are refused. Lines keep their numbers.
    """
    last = file.text[-LAST_LOOKED_AT:].rstrip().rpartition("\n")[2]
    if width < 3 or not ("\n#" in file.text or file.delimiter not in last):
        return file, []
    lines = list(io.StringIO(file.text, newline=""))
    rows = [(line - file.skipped, fields) for line, fields in file.rows()]
    dropped = {line for line, fields in rows if len(fields) < width and fields[0][:1] == "#"}
    while rows[-1][0] in dropped or _is_note(rows[-1][1]):
        dropped.add(rows.pop()[0])
    if not dropped:
        return file, []
    first = lines[min(dropped) - 1].strip()
    for line in dropped:
        lines[line - 1] = "\n"
    what = "1 line" if len(dropped) == 1 else f"{len(dropped)} lines"
    verb = "is" if len(dropped) == 1 else "are"
    message = f"{what} between or below the rows of '{file.name}' {verb} left out: '{first[:40]}'"
    note = Finding("note", "notes", None, message, decision=True)
    return replace(file, text="".join(lines)), [note]


def _blanks_delimit(text: str) -> bool:
    """Tell whether the first lines all have the same number of words, two at least.

    The header may have one less, as R writes it. Where there are quotes, every blank delimits.
    """
    lines = islice(io.StringIO(text), SNIFFED_ROWS)
    try:
        quoted = csv.reader(lines, delimiter=BLANK, strict=True) if '"' in text else None
        widths = [len(fields) for fields in quoted or map(str.split, lines)]
    except csv.Error:
        return False
    rest = {width for width in widths[1:] if width}
    return len(rest) == 1 and min(rest) > 1 and min(rest) - widths[0] in (0, 1)


def check_width(name: str, names: list[str], least: int) -> None:
    """Refuse a table with fewer columns than ``least``."""
    if len(names) < least:
        known = ", ".join([*DELIMITERS.values(), "blank"])
        raise DataError(
            f"'{name}' has a single column",
            hint=f"Features and a target are needed: in CSV split by one of {known}; in a workbook "
            "on one sheet, --sheet NAME.",
        )


def _table(file: Csv, names: list[str], header_lines: int) -> pa.Table:
    """Read all columns as dictionaries of texts."""
    content = file.text.encode()
    kind = pa.dictionary(pa.int32(), pa.string())
    places = list(map(str, range(len(names))))
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(content),
            read_options=pa_csv.ReadOptions(
                column_names=places,
                skip_rows_after_names=header_lines,
                block_size=min(len(content) + 1, LARGEST_BLOCK),
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(places, kind),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        # Arrow counts rows; people look for lines.
        for line, fields in islice(file.rows(), header_lines, None):
            if len(fields) != len(names):
                found = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
                delimiter = DELIMITERS.get(file.delimiter, "delimiter")
                raise DataError(
                    f"'{file.name}', line {line:,}: {found}, the header has {len(names)}",
                    hint=f"Quote fields that hold a {delimiter}, and leave no field out.",
                ) from None
        raise DataError(
            f"'{file.name}' is not CSV that can be read exactly",
            hint="Write it again as CSV in UTF-8.",
        ) from error
    return table.unify_dictionaries().combine_chunks()
