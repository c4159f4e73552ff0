"""JSON: an array of objects, one object a line, or a table as pandas writes it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from twinml.contract.text_values import header_names
from twinml.data._finding import Finding
from twinml.data._names import named
from twinml.data._types import TextColumn, text_column
from twinml.errors import DataError

__all__ = ["is_json", "json_columns", "rows_of"]


def is_json(text: str) -> bool:
    """Tell whether a text begins as JSON does and a header does not."""
    return text.lstrip()[:1] in ("{", "[")


def json_columns(
    name: str, text: str, skip: Collection[str]
) -> tuple[dict[str, TextColumn], list[Finding]]:
    """Return the columns of JSON rows, with values as the texts that stand in the file.

    Parameters
    ----------
    skip
        Columns whose values are not looked at.

    Raises
    ------
    DataError
        It is not JSON of this form, or a value is a list or an object.
    """
    rows = _rows(name, text)
    if not rows:
        raise DataError(f"'{name}' holds no rows", hint="Write one object for each row.")
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns: dict[str, TextColumn] = {}
    header = named(list(names))
    for key, column in zip(names, header.names, strict=True):
        values = [row.get(key) for row in rows]
        if column in skip:
            values = [None] * len(rows)
        for place, value in enumerate(values):
            if isinstance(value, (list, dict)):
                kind = "a list" if isinstance(value, list) else "an object"
                raise DataError(
                    f"'{name}', column '{column}', row {place + 1:,}: found {kind}, expected a "
                    "number, text, true, false or null",
                    hint=f"Leave it out with --drop '{column}', or make columns of its parts.",
                )
        columns[column] = text_column([_text(value) for value in values])
    return columns, header.findings


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, bool) else value


def _rows(name: str, text: str) -> list[dict[str, Any]]:
    """Return the objects of a file; numbers stay the texts that they are."""
    try:
        found = _table(text)
        if found is None:
            found = [_parsed(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"'{name}' is neither an array of JSON objects nor one object a line: {error}",
            hint='Write [{"a": 1}, …] or {"a": 1} in a line of its own for each row.',
        ) from None
    wrong = next((place for place, row in enumerate(found, 1) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise DataError(
            f"'{name}', row {wrong:,} is no JSON object",
            hint="Write every row as an object of column names and values.",
        )
    return found


def _table(text: str) -> list[Any] | None:
    """Return the rows of a text that is one array or one table of pandas, else ``None``."""
    try:
        return rows_of(_parsed(text))
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":  # an object a line
            raise
        return None


def rows_of(whole: Any) -> list[Any] | None:
    """Return the rows of a document that is an array or a table of pandas, else ``None``.

    Tables are ``{"columns": [...], "data": [[...], ...]}``, ``{"data": [{...}, ...]}`` with
    any key beside it but a list, and ``{"age": {"0": 41, ...}, ...}`` or the same with lists.

    Raises
    ------
    ValueError
        A row has not as many values as there are columns.

    Examples
    --------
    >>> rows_of({"columns": ["a"], "index": [0], "data": [[1]]}), rows_of({"a": {"0": 1}})
    ([{'a': 1}], [{'a': 1}])
    >>> rows_of({"meta": {}, "rows": [{"a": 1}]}), rows_of({"a": 1})
    ([{'a': 1}], None)
    """
    if not isinstance(whole, dict):
        return whole if isinstance(whole, list) else None
    names, data = whole.get("columns"), whole.get("data")
    if isinstance(names, list) and isinstance(data, list):
        keys = header_names([str(name) for name in names])
        return [dict(zip(keys, row, strict=True)) for row in data]
    lists = [value for value in whole.values() if isinstance(value, list)]
    if len(lists) == 1 and lists[0] and all(isinstance(row, dict) for row in lists[0]):
        return lists[0]
    columns = list(whole.values())
    if len(lists) == len(columns) and len({len(column) for column in columns}) == 1:
        return [dict(zip(whole, row, strict=True)) for row in zip(*columns, strict=True)]
    if columns and all(isinstance(column, dict) for column in columns):
        keys = list(dict.fromkeys(key for column in columns for key in column))
        return [{name: column.get(key) for name, column in whole.items()} for key in keys]
    return None


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=lambda constant: None)
