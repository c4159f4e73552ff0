"""Parquet: its columns in the types that a model's contract knows."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa

from twinml.contract.text_values import header_names
from twinml.data._finding import Finding
from twinml.data._names import named
from twinml.errors import DataError

__all__ = ["parquet_columns", "parquet_names"]


def parquet_names(name: str, content: bytes) -> list[str]:
    """Return the names of the columns."""
    return header_names(_parquet_table(name, content).column_names)


def _parquet_table(name: str, content: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        # Not read_table, which takes no two columns of one name.
        return pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"'{name}' is not a whole Parquet file", hint="Write it again.") from error


def parquet_columns(
    name: str, content: bytes, *, text: Collection[str] = (), skip: Collection[str] = ()
) -> tuple[dict[str, pd.Series], list[Finding]]:
    """Return the columns of a Parquet file.

    Parameters
    ----------
    text
        Columns that stay text, whatever they hold.
    skip
        Columns whose values are not looked at.

    Raises
    ------
    DataError
        It is no whole Parquet file, it has no rows, or a column is not tabular.
    """
    table = _parquet_table(name, content)
    if table.num_rows == 0:
        raise DataError(f"'{name}' has columns but no rows", hint="Write it again with rows.")
    header = named(table.column_names)
    columns: dict[str, pd.Series] = {}
    findings = header.findings
    for position, column in enumerate(header.names):
        if column in skip:
            columns[column] = pd.Series(np.full(table.num_rows, np.nan), name=column)
            continue
        values = table.column(position)
        columns[column], remarks = _parquet_column(name, column, values, as_text=column in text)
        findings += remarks
    return columns, findings


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
    if pa.types.is_duration(kind):
        seconds = [None if value is None else value.total_seconds() for value in values.to_pylist()]
        message = f"'{column}' holds durations and is read as numbers of seconds"
        finding = Finding("note", "duration", column, message, decision=True)
        return pd.Series(seconds, dtype=np.float64, name=column), [finding]
    if pa.types.is_temporal(kind):
        return _object(column, _texts(values)), []
    raise DataError(
        f"'{name}', column '{column}': a Parquet column of type {kind} is not tabular",
        hint=f"Numbers, text, booleans and dates can be used: leave it out with --drop "
        f"'{column}', or make columns of its parts.",
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
