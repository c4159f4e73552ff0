"""JSON: an array of objects, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from twinml.contract.text_values import header_names
from twinml.data._finding import Finding
from twinml.data._types import TextColumn, text_column
from twinml.errors import DataError

__all__ = ["is_json", "json_columns"]


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
    for key, column in zip(names, header_names(list(names)), strict=True):
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
    return columns, []


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, bool) else value


def _rows(name: str, text: str) -> list[dict[str, Any]]:
    """Return the objects of a file; numbers stay the texts that they are."""
    whole = text.lstrip().startswith("[")
    try:
        found = (
            _parsed(text)
            if whole
            else [_parsed(line) for line in text.splitlines() if line.strip()]
        )
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


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=lambda constant: None)
