"""Scores a file with a model, chunk by chunk, on this machine."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twinml.batch._parts import Parts, free, result_columns
from twinml.batch._read import Source, types_of
from twinml.contract.intervals import DEFAULT_LEVEL
from twinml.errors import DataError

if TYPE_CHECKING:
    from twinml.contract import AnswerType, Contract

__all__ = [
    "CHUNK_ROWS",
    "BatchResult",
    "Scorer",
    "ScoresBatches",
    "as_json",
    "as_written",
    "score_file",
    "with_results",
]

# Small enough that threads which end at different times leave little idle.
CHUNK_ROWS = 32_768
ABANDONED = -1
# What a custom model answers, in a column and in Python; objects are written as JSON.
ANSWER_TYPES: Mapping[AnswerType, pa.DataType] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "object": pa.string(),
}
PYTHON: Mapping[str, Any] = {"long": int, "double": (int, float), "string": str, "boolean": bool}
# Of a regression: columns of the prediction interval.
BOUNDS = ("prediction_lower", "prediction_upper")

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class Scorer(Protocol):
    """Scores tables whose columns have the contract's types."""

    form: str
    """How it scores: ``compiled``, or ``pipeline`` and why."""
    threads: int
    """How many tables it scores at a time."""

    def score(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        """Return labels, length n, and probabilities, shape (n, k), as the pipeline gives them.

        Of a regression the numbers, both times: length n, and shape (n, 1).
        """
        ...


@runtime_checkable
class ScoresBatches(Protocol):
    """A platform that scores tables in this process."""

    def scorer(self, model_directory: Path) -> Scorer:
        """Return a scorer of a model directory."""
        ...


@dataclass(frozen=True)
class BatchResult:
    """What came of scoring a file.

    Attributes
    ----------
    rows, resumed
        Rows written, and how many of them an earlier run of the same command had scored.
    seconds, scoring_seconds
        Wall time of all, and of the scoring alone, summed over threads.
    form
        How the model scored.
    """

    out: Path
    rows: int
    resumed: int
    seconds: float
    scoring_seconds: float
    form: str
    engine: str = "local"

    @property
    def rows_per_second(self) -> float:
        """Rows scored in this run by its wall time: reading, scoring, writing."""
        return (self.rows - self.resumed) / self.seconds if self.seconds else 0.0


def score_file(
    source: Source,
    contract: Contract,
    scorer: Scorer,
    out: Path,
    *,
    digest: str,
    chunk_rows: int = CHUNK_ROWS,
    restart: bool = False,
    safe_csv: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> BatchResult:
    """Score every row of ``source`` and write rows, labels and probabilities to ``out``.

    Parameters
    ----------
    source
        With the contract's types.
    digest
        Of the model.
    restart
        Begin anew, even if an earlier run left parts of the same output.
    safe_csv
        As for ``Parts``.
    progress
        Called with the rows done and the share of the file that was read.

    Raises
    ------
    DataError
        The file cannot be read, or ``out`` cannot be written.
    """
    started = time.perf_counter()
    if restart:
        Parts.forget(out)
    parts = Parts(out, identity(source, digest, chunk_rows), safe_csv=safe_csv)
    rows = resumed = 0
    scoring = 0.0

    def work(number: int, table: pa.Table) -> tuple[int, float]:
        before = time.perf_counter()
        labels, probabilities = scorer.score(table)
        took = time.perf_counter() - before
        parts.add(number, with_results(table, contract, labels, probabilities))
        return number, took

    def start(chunk: tuple[int, pa.Table]) -> Future[tuple[int, float]]:
        nonlocal rows, resumed
        number, table = chunk
        rows += table.num_rows
        if parts.has(number):
            resumed += table.num_rows
            known: Future[tuple[int, float]] = Future()
            known.set_result((number, 0.0))
            return known
        if progress is not None:
            progress(rows, source.share)
        return pool.submit(work, number, table)

    # The kernel holds no lock of the interpreter's: other threads read and write meanwhile, and
    # what is scored is joined while the rest is being scored.
    done: SimpleQueue[int | None] = SimpleQueue()
    with ThreadPoolExecutor(scorer.threads) as pool, ThreadPoolExecutor(1) as joiner:
        joined = joiner.submit(parts.join, _coming(done))
        # One chunk waits while each thread has one: no more of the file is in memory.
        chunks = enumerate(source.chunks(chunk_rows))
        results = in_order(chunks, start, most=scorer.threads + 1)
        try:
            with closing(results):
                for number, seconds in results:
                    scoring += seconds
                    done.put(number)
            done.put(None)
        except BaseException:
            done.put(ABANDONED)
            raise
        joined.result()
    return BatchResult(out, rows, resumed, time.perf_counter() - started, scoring, scorer.form)


def in_order(
    chunks: Iterable[Chunk], start: Callable[[Chunk], Future[Result]], *, most: int
) -> Generator[Result]:
    """Start work on every chunk, with ``most`` in flight at most; yield results in order.

    A chunk is in flight until its result is yielded. What has not begun when this is closed,
    or work fails, is cancelled.
    """
    running: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            while len(running) >= most:
                yield running.popleft().result()
            running.append(start(chunk))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _coming(done: SimpleQueue[int | None]) -> Iterator[int]:
    """Yield the numbers of parts as they are done; raise if the rest will not come."""
    while (number := done.get()) is not None:
        if number == ABANDONED:
            raise CancelledError
        yield number


def identity(source: Source, digest: str, chunk_rows: int, **more: Any) -> Mapping[str, Any]:
    """Return what the parts of a scored file depend on."""
    return {"input": source.digest(), "scorer": digest, "chunk rows": chunk_rows} | more


def with_results(
    table: pa.Table,
    contract: Contract,
    labels: Sequence[Any],
    probabilities: NDArray[np.float64],
) -> pa.Table:
    """Return ``table`` with a column of labels and one of probabilities for each class.

    Of a regression, with the numbers and the bounds of their intervals at the default level.
    """
    label, shares = result_columns(table.column_names, contract.classes, len(contract.classes))
    table = table.append_column(label, pa.array(labels, label_type(contract)))
    columns = dict(zip(shares, probabilities.T, strict=False))
    intervals = contract.intervals
    if intervals is not None and intervals.highest_level >= DEFAULT_LEVEL:
        bounds = intervals.bounds(labels)
        columns = {free(name, table.column_names): bounds[:, at] for at, name in enumerate(BOUNDS)}
    for name, values in columns.items():
        table = table.append_column(name, pa.array(np.ascontiguousarray(values)))
    return table


def label_type(contract: Contract) -> pa.DataType:
    """Return the Arrow type of the classes, of numbers, or of what a custom model answers."""
    if contract.answer_type is not None:
        return ANSWER_TYPES[contract.answer_type]
    return pa.array(list(contract.classes) or [0.0]).type


def as_json(answer: Any) -> str:
    """Return an object as a column of text holds it."""
    return json.dumps(answer, ensure_ascii=False)


def as_written(contract: Contract, answers: Sequence[Any]) -> list[Any]:
    """Return what a custom model answers as one column holds it: objects as JSON.

    Raises
    ------
    DataError
        An answer is of another type than those were that the model was imported with.
    """
    kind = contract.answer_type
    if kind == "object":
        return [as_json(answer) for answer in answers]
    for row, answer in enumerate(answers):
        if answer is not None and not isinstance(answer, PYTHON[kind or "string"]):
            raise DataError(
                f"row {row} of a chunk is answered {answer!r:.100}, expected a {kind}",
                hint="Import the model with --data FILE, rows that show all it may answer.",
            )
    return list(answers)


def source_for(path: Path, contract: Contract) -> Source:
    """Open ``path`` as rows of ``contract``."""
    notations = {column.name: column.dates or column.notation for column in contract.columns}
    return Source(path, types_of(contract.columns), notations=notations)
