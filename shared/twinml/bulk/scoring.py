"""Scores a file with a model, chunk by chunk, on this machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twinml.bulk.parts import Parts, result_columns
from twinml.bulk.read import Source, types_of

if TYPE_CHECKING:
    from twinml.contract import Contract

__all__ = ["CHUNK_ROWS", "BatchResult", "Scorer", "ScoresBatches", "score_file", "with_results"]

CHUNK_ROWS = 65_536


class Scorer(Protocol):
    """Scores tables whose columns have the contract's types."""

    form: str
    """How it scores: ``compiled``, or ``pipeline`` and why."""
    threads: int
    """How many tables it scores at a time."""

    def score(self, table: pa.Table) -> tuple[Sequence[Any], NDArray[np.float64]]:
        """Return labels, length n, and probabilities, shape (n, k), as the pipeline gives them."""
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
    parts = Parts(out, identity(source, digest, chunk_rows))
    rows = resumed = number = 0
    scoring = 0.0

    def work(number: int, table: pa.Table) -> float:
        before = time.perf_counter()
        labels, probabilities = scorer.score(table)
        took = time.perf_counter() - before
        parts.add(number, with_results(table, contract, labels, probabilities))
        return took

    # The kernel holds no lock of the interpreter's: other threads read and write meanwhile.
    with ThreadPoolExecutor(scorer.threads) as pool:
        running: deque[Future[float]] = deque()
        try:
            for number, table in enumerate(source.chunks(chunk_rows), start=1):
                rows += table.num_rows
                if parts.has(number - 1):
                    resumed += table.num_rows
                    continue
                # One chunk waits while each thread has one: no more of the file is in memory.
                while len(running) > scorer.threads:
                    scoring += running.popleft().result()
                running.append(pool.submit(work, number - 1, table))
                if progress is not None:
                    progress(rows, source.share)
            while running:
                scoring += running.popleft().result()
        finally:
            for future in running:
                future.cancel()
    parts.join(number)
    return BatchResult(out, rows, resumed, time.perf_counter() - started, scoring, scorer.form)


def identity(source: Source, digest: str, chunk_rows: int, **more: Any) -> Mapping[str, Any]:
    """Return what the parts of a scored file depend on."""
    return {"input": source.digest(), "scorer": digest, "chunk rows": chunk_rows} | more


def with_results(
    table: pa.Table,
    contract: Contract,
    labels: Sequence[Any],
    probabilities: NDArray[np.float64],
) -> pa.Table:
    """Return ``table`` with a column of labels and one of probabilities for each class."""
    label, shares = result_columns(table.column_names, contract.classes, len(contract.classes))
    table = table.append_column(label, pa.array(labels, label_type(contract)))
    for place, name in enumerate(shares):
        table = table.append_column(name, pa.array(np.ascontiguousarray(probabilities[:, place])))
    return table


def label_type(contract: Contract) -> pa.DataType:
    """Return the Arrow type of the classes."""
    return pa.array(list(contract.classes)).type


def source_for(path: Path, contract: Contract) -> Source:
    """Open ``path`` as rows of ``contract``."""
    return Source(path, types_of(contract.columns))
