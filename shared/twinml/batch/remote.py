"""Scores many rows with an endpoint, a request a chunk, in parts that survive a crash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from twinml.batch._parts import Parts, free, result_columns
from twinml.batch._read import Source
from twinml.batch.scoring import as_json
from twinml.endpoint import Endpoint
from twinml.errors import DataError

__all__ = ["CHUNK_ROWS", "FileRows", "HeldRows", "Rows", "Scored", "ask", "score_rows"]

CHUNK_ROWS = 5000


class Rows(Protocol):
    """Rows that can be gone through in chunks, again and again alike."""

    @property
    def share(self) -> float:
        """The share of the rows that was read, 0 to 1."""
        ...

    def digest(self) -> str:
        """Return a digest of all of them."""
        ...

    def pairs(self, rows: int) -> Iterator[tuple[list[dict[str, Any]], pa.Table | None]]:
        """Yield what is sent, and what is kept of it in the output (``None``: the same)."""
        ...


class FileRows:
    """The rows of a file; columns that the endpoint does not know are kept but not sent."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def share(self) -> float:
        """The share of the file that was read, 0 to 1."""
        return self._source.share

    def digest(self) -> str:
        """Return the file's digest."""
        return self._source.digest()

    def pairs(self, rows: int) -> Iterator[tuple[list[dict[str, Any]], pa.Table | None]]:
        """Yield rows to send and the table that they are from."""
        for table in self._source.chunks(rows):
            yield table.select(list(self._source.types)).to_pylist(), table


class HeldRows:
    """Rows in memory: of standard input, of JSON lines, or samples; what some lack is null."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(name for row in rows for name in row)
        self._rows = [{name: row.get(name) for name in names} for row in rows]
        self._done = 0

    @property
    def share(self) -> float:
        """How many were gone through, 0 to 1."""
        return self._done / max(1, len(self._rows))

    def digest(self) -> str:
        """Return a digest of their JSON."""
        return hashlib.sha256(json.dumps(self._rows, default=str).encode()).hexdigest()

    def pairs(self, rows: int) -> Iterator[tuple[list[dict[str, Any]], pa.Table | None]]:
        """Yield rows to send; the table is made of all rows, so that all parts have its types."""
        try:
            whole = pa.Table.from_pylist(self._rows)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            whole = None  # a column of several types: the endpoint will say which
        for start in range(0, len(self._rows), rows):
            self._done = min(start + rows, len(self._rows))
            table = None if whole is None else whole.slice(start, rows)
            yield self._rows[start : start + rows], table


@dataclass(frozen=True)
class Scored:
    """What an endpoint answered to a chunk.

    ``probabilities`` is ``None`` if they were not asked for; ``request_ids`` holds one id for
    each request that the chunk took, ``None`` where the endpoint tells none.
    """

    labels: list[Any]
    probabilities: list[list[float]] | None
    request_ids: tuple[str | None, ...]


def ask(
    endpoint: Endpoint, rows: Sequence[Mapping[str, Any]], *, dialect: str, proba: bool
) -> Scored:
    """Return labels, and with ``proba`` probabilities, which take a request of their own."""
    labels = endpoint.answer(rows, dialect=dialect)
    if not proba:
        return Scored(labels.predictions, None, (labels.request_id,))
    shares = endpoint.answer(rows, dialect=dialect, method="predict_proba")
    return Scored(labels.predictions, shares.predictions, (labels.request_id, shares.request_id))


def score_rows(
    rows: Rows,
    endpoint: Endpoint,
    out: Path,
    *,
    classes: Sequence[Any],
    dialect: str,
    proba: bool,
    chunk_rows: int = CHUNK_ROWS,
    restart: bool = False,
    safe_csv: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[int, int]:
    """Score all rows and write them to ``out`` with predictions and request ids.

    Parameters
    ----------
    classes
        The endpoint's, in the order of the probabilities; empty if it does not tell.
    restart
        Begin anew, even if an earlier run left parts of the same output.
    safe_csv
        As for ``Parts``.
    progress
        Called with the rows done and the share of all.

    Returns
    -------
    Rows written, and how many of them an earlier run of the same command had scored.

    Raises
    ------
    DataError
        The rows cannot be read, or ``out`` cannot be written.
    EndpointError
        The endpoint failed or refused; what was scored before is kept in parts.
    """
    if restart:
        Parts.forget(out)
    parts = Parts(
        out,
        identity(rows, endpoint, dialect, proba=proba, chunk_rows=chunk_rows),
        safe_csv=safe_csv,
    )
    done = resumed = number = 0
    for number, (chunk, table) in enumerate(rows.pairs(chunk_rows), start=1):
        if parts.has(number - 1):
            resumed += len(chunk)
        else:
            scored = ask(endpoint, chunk, dialect=dialect, proba=proba)
            parts.add(number - 1, _with_answers(table, chunk, scored, classes))
        done += len(chunk)
        if progress is not None:
            progress(done, rows.share)
    if not number:
        raise DataError("there are no rows to score", hint="Give at least one row.")
    parts.join(range(number))
    return done, resumed


def identity(
    rows: Rows, endpoint: Endpoint, dialect: str, *, proba: bool, chunk_rows: int
) -> Mapping[str, Any]:
    """Return what the parts of rows that an endpoint scored depend on."""
    return {
        "input": rows.digest(),
        "endpoint": endpoint.scoring_uri,
        "deployment": endpoint.deployment,
        "dialect": dialect,
        "probabilities": proba,
        "chunk rows": chunk_rows,
    }


def _with_answers(
    table: pa.Table | None,
    chunk: Sequence[Mapping[str, Any]],
    scored: Scored,
    classes: Sequence[Any],
) -> pa.Table:
    if table is None:
        # Accepted by the endpoint although a column holds several types: kept as text.
        names = list(dict.fromkeys(name for row in chunk for name in row))
        table = pa.table({name: [_text(row.get(name)) for row in chunk] for name in names})
    shares = scored.probabilities
    width = None if shares is None else len(shares[0])
    label, names = result_columns(table.column_names, classes, width)
    kind = pa.array(list(classes)).type if classes else None
    given = [as_json(each) if isinstance(each, (dict, list)) else each for each in scored.labels]
    try:
        labels = pa.array(given, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        labels = pa.array([_text(value) for value in given])
    table = table.append_column(label, labels)
    for place, name in enumerate(names):
        column = [row[place] for row in shares or ()]
        table = table.append_column(name, pa.array(column, pa.float64()))
    for name, told in zip(("request_id", "request_id_proba"), scored.request_ids, strict=False):
        column = pa.array([told] * len(chunk), pa.string())
        table = table.append_column(free(name, table.column_names), column)
    return table


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
