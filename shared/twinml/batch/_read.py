"""A file of rows, in chunks of typed columns: CSV and Parquet of any size.

What else training reads (workbooks, JSON rows, other packings and encodings) is read as it reads
them, and whole: memory has to hold it.

The types are known beforehand, from a contract or an endpoint's document, so that every chunk
is read alike; a cell that is not of its type is refused with its row. Columns without a known
type pass through as text (CSV) or as they are (Parquet).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from twinml.contract import Column, text_values
from twinml.contract.dates import DateForm, date_text
from twinml.contract.notation import Notation, plain_number
from twinml.data import csv_header, csv_names, near, read_rows
from twinml.errors import DataError

__all__ = ["Source"]

BLOCK = 1 << 24  # bytes of CSV parsed at a time
HEAD = 1 << 16  # bytes looked at to find the delimiter
# Of packed files and workbooks, never of text.
_BINARY = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f]")
LONGEST_NAME = 80  # characters of a name that an error repeats
TRUE = pa.array(["true", "True", "TRUE", "1"])
FALSE = pa.array(["false", "False", "FALSE", "0"])
MARKERS = pa.array(["", *sorted(text_values.NULL_MARKERS | text_values.RARE_MARKERS)])
LARGEST_WHOLE = 2.0**53  # beyond it a double does not hold every whole number


class Source:
    """A file of rows.

    Parameters
    ----------
    path
        CSV (``.gz`` as well) in UTF-8 with a header, or Parquet, read in parts; or whatever else
        ``twinml.data.load`` reads, at once.
    types
        ``long``, ``double``, ``string``, ``boolean``, ``datetime`` or ``nullable boolean`` by
        column; see ``types_of``.
    required
        Whether each column of ``types`` must be there.
    notations
        How numbers or dates of some columns are written, by column; dates all have a form.

    Raises
    ------
    DataError
        There is no such file, it is none of these, or a column is missing.
    """

    def __init__(
        self,
        path: Path,
        types: Mapping[str, str],
        *,
        required: bool = True,
        notations: Mapping[str, Notation | DateForm] | None = None,
    ) -> None:
        self.path = path
        self.types = dict(types)
        self.notations = dict(notations or {})
        try:
            with path.open("rb") as stream:
                start = stream.read(HEAD)
            self.size = path.stat().st_size
        except FileNotFoundError:
            raise DataError(
                f"there is no file '{path}'",
                hint="Name a file of CSV, Parquet, Excel or JSON lines.",
            ) from None
        except OSError as error:
            raise DataError(f"'{path}' cannot be read: {error.strerror}") from error
        self.parquet = start[:4] == b"PAR1"
        self.packed = start[:2] == b"\x1f\x8b"
        self._whole = None if self.parquet or self.packed or is_csv(start) else self._table()
        self._read_bytes = 0
        self._prepare(required)

    def digest(self) -> str:
        """Return the SHA-256 of the file, hexadecimal."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def share(self) -> float:
        """The share of the file that was read, 0 to 1."""
        return min(1.0, self._read_bytes / max(self.size, 1))

    def chunks(self, rows: int) -> Iterator[pa.Table]:
        """Yield tables of exactly ``rows`` rows, the last one shorter.

        Cuts fall on the same rows whatever the sizes of the blocks that are read, so that
        chunk number n is always the same rows.

        Raises
        ------
        DataError
            The file is damaged, or a cell is not of its type.
        """
        waiting: list[pa.Table] = []
        held, done = 0, 0
        for table in self._tables():
            waiting.append(table)
            held += table.num_rows
            while held >= rows:
                joined = pa.concat_tables(waiting)
                yield self._typed(joined.slice(0, rows), done)
                done += rows
                waiting, held = [joined.slice(rows)], held - rows
        if held:
            yield self._typed(pa.concat_tables(waiting), done)
            done += held
        if not done:
            raise DataError(f"'{self.path.name}' holds no rows", hint="Give at least one row.")

    # Reading

    def _table(self) -> pa.Table:
        """Read all at once, as training does; what is text in the contract stays text."""
        texts = [name for name, kind in self.types.items() if kind in ("string", "datetime")]
        least = min(2, len(self.types))
        frame = read_rows(self.path, text=texts, expected=self.types, least=least)
        for name in frame.columns:
            if frame[name].dtype == object:
                frame[name] = frame[name].map(_as_text, na_action="ignore")
        return pa.Table.from_pandas(frame, preserve_index=False)

    def _prepare(self, required: bool) -> None:
        if self._whole is not None:
            names = text_values.header_names(self._whole.column_names, self.types)
        elif self.parquet:
            try:
                names = text_values.header_names(pq.read_schema(self.path).names, self.types)
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(
                    f"'{self.path.name}' is not a whole Parquet file",
                    hint="Write it again.",
                ) from error
        else:
            names = self._header()
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise DataError(
                f"'{self.path.name}' names a column twice: "
                + ", ".join(repr(name[:LONGEST_NAME]) for name in twice[:5])
                + (", …" if len(twice) > 5 else ""),
                hint="Give every column a name of its own in the header.",
            )
        if self._is_unusual(names):
            self._whole = self._table()
            self._prepare(required)
            return
        missing = [name for name in self.types if name not in names]
        if missing and required:
            raise DataError(
                f"'{self.path.name}' lacks {len(missing)} of {len(self.types)} columns: "
                f"{', '.join(map(repr, missing[:5]))}{', …' if len(missing) > 5 else ''}",
                hint=near(missing[0], names) + "Every column of the model's contract is needed.",
            )
        self.names = names

    def _is_unusual(self, names: list[str]) -> bool:
        """Tell whether a CSV file has the columns, but not as its first line and delimiter say."""
        if self._whole is not None or self.parquet:
            return False
        try:
            found = csv_names(self.path.name, self._head, self.types)
        except DataError:
            return False
        return set(self.types) <= {*found} and (found != names or self.delimiter == " ")

    def _header(self) -> list[str]:
        """Read the names of a CSV file's columns and find its delimiter."""
        try:
            with pa.input_stream(str(self.path), compression="gzip" if self.packed else None) as f:
                head = f.read(HEAD)
            text = self._head = head.decode("utf-8-sig", "ignore")
        except OSError as error:
            raise DataError(
                f"'{self.path.name}' cannot be unpacked: {error}", hint="Fetch it again."
            ) from error
        if "\0" in text or text.lstrip()[:1] in ("{", "[", "<"):
            raise DataError(
                f"'{self.path.name}' is neither CSV nor Parquet",
                hint="Convert it to CSV in UTF-8, or to Parquet.",
            )
        names, self.delimiter, self.above = csv_header(self.path.name, text, self.types)
        return names

    def _tables(self) -> Iterator[pa.Table]:
        if self._whole is not None:
            self._read_bytes = self.size
            yield self._whole.rename_columns(self.names)
            return
        done = 0
        try:
            for table in self._parquet_tables() if self.parquet else self._csv_tables():
                done += table.num_rows
                yield table
        except (pa.ArrowInvalid, OSError) as error:
            rest = None if self.parquet else self._without_notes()
            if rest is not None:
                yield rest.slice(done)
                return
            raise DataError(
                f"'{self.path.name}' cannot be read to its end: {error}",
                hint="Every line must have as many fields as the header; quote those that hold "
                "a delimiter.",
            ) from error

    def _without_notes(self) -> pa.Table | None:
        """Return all rows as texts, read as training does, which leaves lines out that are none."""
        try:
            frame = read_rows(self.path, text=self.names, least=min(2, len(self.types)))
        except DataError:
            return None
        if text_values.header_names([*map(str, frame.columns)], self.types) != self.names:
            return None
        self._read_bytes = self.size
        texts = (pa.array(frame[name], pa.string(), from_pandas=True) for name in frame.columns)
        return pa.table(list(texts), self.names)

    def _csv_tables(self) -> Iterator[pa.Table]:
        with _Counted(self) as counted:
            stream: Any = pa.PythonFile(counted, mode="r")
            if self.packed:
                stream = pa.CompressedInputStream(stream, "gzip")
            reader = pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(
                    column_names=self.names,
                    skip_rows=self.above,
                    skip_rows_after_names=1,
                    block_size=BLOCK,
                    use_threads=False,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _parquet_tables(self) -> Iterator[pa.Table]:
        with pq.ParquetFile(self.path) as file:
            whole = max(file.metadata.num_rows, 1)
            read = 0
            for batch in file.iter_batches(batch_size=65_536, use_threads=False):
                read += batch.num_rows
                self._read_bytes = int(self.size * read / whole)
                yield pa.Table.from_batches([batch]).rename_columns(self.names)

    # Types

    def _typed(self, table: pa.Table, first: int) -> pa.Table:
        columns = {}
        for name in table.column_names:
            values = table.column(name).combine_chunks()
            kind = self.types.get(name)
            if pa.types.is_dictionary(values.type):
                values = values.cast(values.type.value_type)
            notation = self.notations.get(name)
            if isinstance(notation, Notation) and _is_text(values):
                values = _plain(values, notation)
            columns[name] = values if kind is None else self._cast(name, kind, values, first)
        return pa.table(columns)

    def _cast(self, name: str, kind: str, values: pa.Array, first: int) -> pa.Array:
        try:
            if kind == "string":
                return _text(values)
            if kind == "datetime":
                return self._dates(name, values)
            if kind == "boolean":
                made = _boolean(values)
            elif kind == "long":
                made = _whole(values)
            elif kind == "nullable boolean":
                return _boolean_or_null(values)
            else:
                return _double(values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            made = None
        if made is None or made.null_count:
            raise self._refusal(name, kind, values, first)
        return made

    def _dates(self, name: str, values: pa.Array) -> pa.Array:
        form = self.notations[name]
        assert isinstance(form, DateForm)
        return _from_texts(_text(values), partial(date_text, form=form), pa.string())

    def _refusal(self, name: str, kind: str, values: pa.Array, first: int) -> DataError:
        """Name the first cell that is not of its type; rows count from 1, as a reader would."""
        for place in range(len(values)):
            one = values.slice(place, 1)
            try:
                made = self._dates(name, one) if kind == "datetime" else CASTS[kind](one)
                if made.null_count and kind in ("boolean", "long"):
                    raise pa.ArrowInvalid("null")
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                found = one[0].as_py()
                return DataError(
                    f"'{self.path.name}', row {first + place + 1:,}, column '{name}': found "
                    f"{'null' if found is None else repr(found)}, expected a {kind}",
                    hint="Correct the cell, or leave the row out.",
                )
        raise AssertionError("a column that cannot be cast has a cell that cannot")


class _Counted:
    """A file that reports to its source how many bytes were read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stream = source.path.open("rb")

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._source._read_bytes = self._stream.tell()
        return content

    def close(self) -> None:
        self._stream.close()

    @property
    def closed(self) -> bool:
        return self._stream.closed


def is_csv(start: bytes) -> bool:
    r"""Tell whether a file that begins so is text in UTF-8, and no JSON.

    Examples
    --------
    >>> is_csv(b"age,job\n41,x\n"), is_csv(b'[{"age": 41}]'), is_csv(b"PK\x03\x04")
    (True, False, False)
    """
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data" or len(start) < HEAD:
            return False  # Only what was cut by us ends in the middle of a character.
        text = start[: error.start].decode("utf-8-sig")
    return "\0" not in text and not _BINARY.search(text) and text.lstrip()[:1] not in ("{", "[")


def _as_text(value: Any) -> Any:
    return value if isinstance(value, (str, bool)) else str(value)


def _text(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if pa.types.is_temporal(kind):
        return pa.array(
            [None if value is None else value.isoformat() for value in values.to_pylist()],
            pa.string(),
        )
    return values.cast(pa.string())


def _boolean(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return values
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))
    yes, no = pc.is_in(texts, TRUE), pc.is_in(texts, FALSE)
    return pc.if_else(pc.or_(yes, no), yes, None)


def _whole(values: pa.Array) -> pa.Array:
    """Cast to int64, also from ``56.0``, which spreadsheets write for a whole number."""
    kind = values.type
    if pa.types.is_boolean(kind):
        raise pa.ArrowInvalid("a boolean is no whole number")
    if _is_text(values):
        return _from_texts(values, text_values.integer, pa.int64())
    if pa.types.is_floating(values.type):
        exact = pc.less_equal(pc.abs(values), LARGEST_WHOLE)
        if not pc.all(exact, skip_nulls=True).as_py():
            raise pa.ArrowInvalid("too large, infinite or no number")
    return values.cast(pa.int64())


def _double(values: pa.Array) -> pa.Array:
    """Cast to float64; null markers become null, durations seconds as in training."""
    if pa.types.is_duration(values.type):
        seconds = [None if one is None else one.total_seconds() for one in values.to_pylist()]
        return pa.array(seconds, pa.float64())
    if not _is_text(values):
        return values.cast(pa.float64(), safe=False)
    return _from_texts(_without_markers(values), text_values.number, pa.float64())


def _boolean_or_null(values: pa.Array) -> pa.Array:
    """Cast to float64, in which a model gets booleans that may be null."""
    values = _without_markers(values) if _is_text(values) else values
    made = _boolean(values)
    if made.null_count != values.null_count:
        raise pa.ArrowInvalid("no boolean")
    return made.cast(pa.int8()).cast(pa.float64())


def _is_text(values: pa.Array) -> bool:
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


def _without_markers(values: pa.Array) -> pa.Array:
    markers = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(values)), MARKERS)
    return pc.if_else(markers, None, values)


def _plain(values: pa.Array, notation: Notation) -> pa.Array:
    """Write numbers plainly, each of the distinct ones once."""
    encoded = values.dictionary_encode()
    texts = [plain_number(text, notation) for text in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _from_texts(values: pa.Array, convert: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """Convert texts by the one rule for them, each of the distinct ones once."""
    encoded = values.dictionary_encode()
    try:
        known = pa.array([convert(text) for text in encoded.dictionary.to_pylist()], kind)
    except (ValueError, OverflowError) as error:
        raise pa.ArrowInvalid("no such number") from error
    return known.take(encoded.indices)


CASTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "boolean": _boolean,
    "long": _whole,
    "double": _double,
    "nullable boolean": _boolean_or_null,
}


def types_of(columns: Collection[Column]) -> dict[str, str]:
    """Return how the values of a contract's columns are read, by name.

    That is their type in MLflow's signature, but that dates are checked, and that a nullable
    boolean is a double only when it was read.
    """
    return {
        column.name: "nullable boolean"
        if column.type == "boolean" and column.nullable
        else "datetime"
        if column.type == "datetime"
        else column.mlflow_type
        for column in columns
    }
