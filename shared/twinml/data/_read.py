"""From a file to a frame: compression, encoding, delimiter, shape, types.

CSV (also inside gzip, or a zip with one file) and Parquet. What a file is shows in its
first bytes, not in its name. Whatever cannot be read exactly is refused with the place.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from twinml.contract.text_values import DELIMITERS, NAMED_DELIMITER, header_names
from twinml.data._finding import Finding
from twinml.data._types import typed
from twinml.errors import DataError

__all__ = [
    "FileContent",
    "column_names",
    "csv_header",
    "file_digest",
    "near",
    "raw_bytes",
    "read",
    "read_records",
    "read_rows",
]

SNIFFED_ROWS = 50
# pyarrow takes a block size as a 32-bit integer.
LARGEST_BLOCK = 2**31 - 2


@dataclass(frozen=True)
class FileContent:
    """What a file holds: all its columns, the SHA-256 of its uncompressed bytes, remarks."""

    frame: pd.DataFrame
    digest: str
    findings: tuple[Finding, ...]


def near(name: str, names: list[str]) -> str:
    """Return the first half of a hint: the names that look like ``name``, or nothing.

    Examples
    --------
    >>> near("depost", ["age", "deposit"])
    "Did you mean 'deposit'? "
    >>> near("x", ["age", "deposit"])
    ''
    """
    lower = {candidate.strip().lower(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.strip().lower(), lower, n=3, cutoff=0.7)
    if not matches:
        return ""
    return "Did you mean " + " or ".join(f"'{lower[match]}'" for match in matches) + "? "


def read(source: Path) -> FileContent:
    """Read a CSV or Parquet file.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read exactly; the message names the place.
    """
    content = raw_bytes(source)
    frame, findings = _parsed(source.name, content, least=2)
    return FileContent(frame, hashlib.sha256(content).hexdigest(), tuple(findings))


def read_rows(source: Path | str, *, text: Collection[str] = ()) -> pd.DataFrame:
    """Read the rows of a CSV or Parquet file as ``load`` does, whatever they are for.

    Parameters
    ----------
    source
        As in ``load``; a single column is enough.
    text
        Columns whose values stay text even if all of them look like numbers or booleans.

    Returns
    -------
    All columns in file order, typed as in ``Dataset.frame``; a column without any value is
    ``float64``.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read exactly; the message names the place.
    """
    path = Path(source)
    return _parsed(path.name, raw_bytes(path), least=1, text=text)[0]


def column_names(source: Path | str) -> list[str]:
    """Return the names in the header of a file with at least two columns; no row is parsed.

    Raises
    ------
    DataError
        There is no such file, or it has no header that can be read.
    """
    path = Path(source)
    content = raw_bytes(path)
    if content.startswith(b"PAR1"):
        return _column_names(path.name, _parquet_table(path.name, content).column_names, 2)
    _, header = next(_opened(path.name, _decoded(path.name, content)).rows())
    return _column_names(path.name, header, 2)


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


def _parsed(
    name: str, content: bytes, *, least: int, text: Collection[str] = ()
) -> tuple[pd.DataFrame, list[Finding]]:
    """Parse a file of at least ``least`` columns; those of ``text`` stay text."""
    if content.startswith(b"PAR1"):
        return _parquet(name, content, least, text)
    return _csv(name, content, least, text)


def file_digest(source: Path) -> str:
    """Return the SHA-256 of a file's uncompressed bytes, hexadecimal; see ``raw_bytes``."""
    return hashlib.sha256(raw_bytes(source)).hexdigest()


def raw_bytes(source: Path) -> bytes:
    """Return the bytes of a file, without its gzip or zip wrapping."""
    if source.is_dir():
        raise DataError(f"'{source}' is a folder", hint="Name one CSV or Parquet file.")
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        beside = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(
            f"there is no file '{source}'",
            hint=near(source.name, beside) + "Name a CSV or Parquet file.",
        ) from None
    except OSError as error:
        raise DataError(
            f"'{source}' cannot be read: {error.strerror}", hint="Check its permissions."
        ) from error
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith(b"PK\x03\x04"):
            return _only_member(source.name, content)
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(
            f"'{source.name}' cannot be unpacked: {error}",
            hint="The file is cut short, damaged or encrypted; fetch it again.",
        ) from error
    return content


def _only_member(name: str, content: bytes) -> bytes:
    """Return the one file inside a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [
            member
            for member in archive.namelist()
            if not member.endswith("/") and not member.startswith("__MACOSX/")
        ]
        if "[Content_Types].xml" in members:
            raise DataError(
                f"'{name}' is an Office document", hint="Save the sheet as 'CSV UTF-8' first."
            )
        if len(members) != 1:
            shown = ", ".join(members[:5]) + (", …" if len(members) > 5 else "")
            raise DataError(
                f"'{name}' holds {len(members)} files, expected one"
                + (f": {shown}" * (shown != "")),
                hint="Unpack it and name the file that you mean.",
            )
        return archive.read(members[0])


# --- CSV ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Csv:
    """The text of a CSV file from its header on.

    ``skipped`` counts the lines above the header, so that messages name lines of the file.
    """

    name: str
    text: str
    delimiter: str
    skipped: int

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


def _csv(
    name: str, content: bytes, least: int, text: Collection[str]
) -> tuple[pd.DataFrame, list[Finding]]:
    file = _opened(name, _decoded(name, content))
    rows = file.rows()
    names = _column_names(name, next(rows)[1], least)
    if next(rows, None) is None:
        raise DataError(
            f"'{name}' has a header but no rows", hint="One line for each row must follow it."
        )
    table = _table(file, names)
    columns, findings, several_lines = {}, [], False
    for column in names:
        encoded = table.column(column).chunk(0)
        positions = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        texts = encoded.dictionary.to_pylist()
        several_lines = several_lines or any("\n" in text for text in texts)
        columns[column], remarks = typed(column, texts, positions, as_text=column in text)
        findings += remarks
    if several_lines or file.text.count('"') % 2:
        # Arrow takes an open quote to reach to the end of the file; the csv module does not.
        for _ in file.rows():
            pass
    return pd.DataFrame(columns), findings


def csv_header(name: str, text: str) -> tuple[list[str], str, int]:
    """Return the column names of a CSV file, its delimiter, and how many lines stand above.

    Parameters
    ----------
    text
        Of the file, or its first part.

    Raises
    ------
    DataError
        There is no header.
    """
    file = _opened(name, text)
    return header_names(next(file.rows())[1]), file.delimiter, file.skipped


def _opened(name: str, text: str) -> Csv:
    """Find the header and the delimiter."""
    body = text.lstrip("\r\n")
    if not body.strip():
        raise DataError(
            f"'{name}' is empty", hint="It needs a header line and one line for each row."
        )
    if body.lstrip()[0] in "{[<":
        raise DataError(
            f"'{name}' is not CSV: it looks like {_looks_like(body.lstrip()[0])}",
            hint="JSON, XML and HTML are not read; convert it to CSV or Parquet.",
        )
    named = NAMED_DELIMITER.match(body)
    delimiter = named.group(1) if named else None
    if named:
        body = body[named.end() :]
    skipped = text[: len(text) - len(body)].count("\n")
    return Csv(name, body, delimiter or _sniffed(body), skipped)


def _decoded(name: str, content: bytes) -> str:
    """Return the text of a file, or say where it is not UTF-8."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"'{name}' is UTF-16", hint="Save it as UTF-8: iconv -f UTF-16 -t UTF-8 IN > OUT."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"'{name}' is not UTF-8: byte 0x{content[error.start]:02x} at offset "
            f"{error.start:,}, line {line:,}",
            hint="Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT.",
        ) from None
    zero = text.find("\0")
    if zero >= 0:
        line = text.count("\n", 0, zero) + 1
        raise DataError(
            f"'{name}' is not text: a zero byte in line {line:,}",
            hint="Name a CSV file in UTF-8, or a Parquet file.",
        )
    return text


def _looks_like(first: str) -> str:
    return "HTML or XML" if first == "<" else "JSON"


def _sniffed(text: str) -> str:
    """Return the delimiter that splits the header and agrees best with the first rows."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            widths = [len(fields) for fields in islice(reader, SNIFFED_ROWS) if fields]
        except csv.Error:
            continue
        if widths[0] < 2:
            continue
        agreement = sum(width == widths[0] for width in widths) / len(widths)
        score = (agreement, widths[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _column_names(name: str, header: list[str], least: int) -> list[str]:
    if len(header) < least:
        known = ", ".join(DELIMITERS.values())
        raise DataError(
            f"'{name}' has a single column",
            hint=f"Features and a target are needed, split by one of: {known}.",
        )
    names = header_names(header)
    first: dict[str, int] = {}
    twice = [(first.setdefault(one, place), place) for place, one in enumerate(names, 1)]
    same = [f"{one} and {other}" for one, other in twice if one != other]
    if same:
        # By place: what is refused as data may hold anything, and errors are shown around.
        raise DataError(
            f"'{name}' gives columns the same name: {', '.join(same[:5])}",
            hint="Give every column a name of its own in the header.",
        )
    return names


def _table(file: Csv, names: list[str]) -> pa.Table:
    """Read all columns as dictionaries of texts."""
    content = file.text.encode()
    kind = pa.dictionary(pa.int32(), pa.string())
    try:
        table = pa_csv.read_csv(
            pa.py_buffer(content),
            read_options=pa_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=1,
                block_size=min(len(content) + 1, LARGEST_BLOCK),
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, kind),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        # Arrow counts rows; people look for lines.
        for line, fields in file.rows():
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


# --- Parquet -----------------------------------------------------------------------------


def _parquet_table(name: str, content: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"'{name}' is not a whole Parquet file", hint="Write it again.") from error


def _parquet(
    name: str, content: bytes, least: int, text: Collection[str]
) -> tuple[pd.DataFrame, list[Finding]]:
    table = _parquet_table(name, content)
    if table.num_rows == 0:
        raise DataError(f"'{name}' has columns but no rows", hint="Write it again with rows.")
    names = _column_names(name, table.column_names, least)
    columns, findings = {}, []
    for position, column in enumerate(names):
        values = table.column(position)
        columns[column], remarks = _parquet_column(name, column, values, as_text=column in text)
        findings += remarks
    return pd.DataFrame(columns), findings


def _parquet_column(
    name: str, column: str, values: pa.ChunkedArray, *, as_text: bool
) -> tuple[pd.Series, list[Finding]]:
    """Bring a Parquet column to one of the types that a model's contract knows."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if pa.types.is_null(kind):
        return pd.Series(np.full(len(values), np.nan), name=column), []
    if as_text and (pa.types.is_boolean(kind) or pa.types.is_integer(kind)):
        return _object(column, _texts(values)), []
    if pa.types.is_boolean(kind):
        dtype = "boolean" if values.null_count else "bool"
        return pd.Series(values.to_pylist(), dtype=dtype, name=column), []
    if pa.types.is_integer(kind):
        try:
            if values.null_count:
                values.cast(pa.float64())  # in which a model gets them
                return pd.Series(values.to_pylist(), dtype="Int64", name=column), []
            return pd.Series(values.cast(pa.int64()).to_numpy(), name=column), []
        except pa.ArrowInvalid:
            message = f"'{column}' becomes text: a number column cannot hold its values exactly"
            return _object(column, _texts(values)), [Finding("note", "codes", column, message)]
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pd.Series(values.cast(pa.float64(), safe=False).to_numpy(), name=column), []
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _object(column, values.to_pylist()), []
    if pa.types.is_temporal(kind):
        return _object(column, _texts(values)), []
    raise DataError(
        f"'{name}', column '{column}': a Parquet column of type {kind} is not tabular",
        hint="Numbers, text, booleans and dates can be used; leave it out or flatten it.",
    )


def _object(column: str, texts: list[str | None]) -> pd.Series:
    """Return a text column; null is NaN as in a column that comes from CSV."""
    values = np.array([np.nan if text is None else text for text in texts], dtype=object)
    return pd.Series(values, name=column, dtype=object)


def _texts(values: pa.ChunkedArray) -> list[str | None]:
    """Return ISO text for dates and times, ``True`` or ``False`` for booleans with nulls."""
    return [
        None
        if value is None
        else (value.isoformat() if hasattr(value, "isoformat") else str(value))
        for value in values.to_pylist()
    ]
