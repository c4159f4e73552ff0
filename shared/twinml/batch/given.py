"""The input of ``score``: a request body to post as it is, or rows of a file or a stream."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinml.batch._read import Source
from twinml.batch.remote import FileRows, HeldRows, Rows
from twinml.contract.dialects import ROUTES
from twinml.data import read_records, rows_of
from twinml.endpoint.document import Facts
from twinml.errors import DataError

__all__ = ["opened"]

# A JSON object with one of these keys is a request in some dialect, not a row.
BODY_KEYS = frozenset().union(*ROUTES.values())
# Of a table as pandas writes it; no request has both.
SPLIT = frozenset({"columns", "data"})
LINES = frozenset({".jsonl", ".ndjson"})


@contextmanager
def opened(source: str, facts: Facts) -> Iterator[bytes | Rows]:
    """Yield the body or the rows that ``source`` holds; ``-`` is standard input.

    Standard input may be a request body, a JSON list of rows, JSON lines, or CSV: its first
    character tells. A CSV is kept in a file meanwhile.

    Raises
    ------
    DataError
        It cannot be read, or is none of these.
    """
    if source != "-":
        path = Path(source)
        if path.suffix == ".json" or path.suffix in LINES:
            yield _json(_content(path), path.name)
        else:
            yield _table(path, facts)
        return
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise DataError("nothing came on standard input", hint="Pipe CSV or JSON into it.")
    if content.lstrip()[:1] in b"{[":
        yield _json(content, "standard input")
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "standard-input.csv"
        kept.write_bytes(content)
        yield _table(kept, facts)


def _table(path: Path, facts: Facts) -> Rows:
    if facts.types:
        return FileRows(Source(path, facts.types, notations=facts.notations))
    # Nobody told the types: they are found by looking at all rows.
    return HeldRows(read_records(path, text=facts.text_columns))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _json(content: bytes, name: str) -> bytes | Rows:
    try:
        whole = json.loads(content)
    except ValueError:
        return HeldRows(_lines(content, name))
    if isinstance(whole, dict) and not (BODY_KEYS.isdisjoint(whole) or whole.keys() >= SPLIT):
        return content
    try:
        rows = rows_of(whole)
    except ValueError as error:
        raise DataError(
            f"{name} is no table of pandas: {error}", hint="Give every row a value a column."
        ) from None
    if rows is None and isinstance(whole, dict):
        rows = [whole]
    if rows and all(type(row) is dict and row for row in rows):
        return HeldRows(rows)
    return content


def _lines(content: bytes, name: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{name}, line {number:,}: not JSON: {error}",
                hint="Give one JSON document, or one row as a JSON object a line.",
            ) from None
        if type(row) is not dict:
            raise DataError(
                f"{name}, line {number:,}: found {str(row)[:40]!r}, expected an object",
                hint='Write each row as {"column": value, …}.',
            )
        rows.append(row)
    return rows
