"""Scores a file on Spark with ``mlflow.pyfunc.spark_udf``.

The driver reads and types the file as the local engine does and lays each chunk down as a
Parquet file; a task of Spark scores one such file in one call of the model. So both engines
score the same rows in the same calls, and their results are equal to the last bit. On a cluster
the output's folder must be on storage that all workers see.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twinml.batch._parts import Parts, free
from twinml.batch._read import Source
from twinml.batch.scoring import BatchResult, identity, label_type, with_results
from twinml.data.spark_session import session

if TYPE_CHECKING:
    from twinml.contract import Contract

__all__ = ["score_file"]

# Of one chunk's Parquet file: larger than any, so that Spark cuts none and joins none.
ONE_FILE = 1 << 40
SQL_TYPES = {"string": "string", "int64": "long", "bool": "boolean", "double": "double"}


def score_file(
    source: Source,
    contract: Contract,
    directory: Path,
    out: Path,
    *,
    digest: str,
    chunk_rows: int,
    workers: int | None = None,
    restart: bool = False,
    safe_csv: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> BatchResult:
    """Score every row of ``source`` on Spark; parameters and errors as the local ``score_file``.

    Parameters
    ----------
    directory
        The model directory; its Python packages must be those of the workers.
    workers
        Tasks at a time on this machine; all cores by default.

    Raises
    ------
    UsageError
        Spark or Java is missing.
    """
    started = time.perf_counter()
    if restart:
        Parts.forget(out)
    parts = Parts(out, identity(source, digest, chunk_rows, engine="spark"), safe_csv=safe_csv)
    staged, scored = parts.folder / "staged", parts.folder / "scored"
    for left in (staged, scored):
        shutil.rmtree(left, ignore_errors=True)
    staged.mkdir()
    rows = resumed = number = 0
    row = free("row", source.names)
    for number, table in enumerate(source.chunks(chunk_rows), start=1):
        if parts.has(number - 1):
            resumed += table.num_rows
        else:
            at = pa.array(np.arange(rows, rows + table.num_rows))
            pq.write_table(table.append_column(row, at), staged / f"{number - 1:05d}.parquet")
        rows += table.num_rows
        if progress is not None:
            progress(rows, source.share / 2)
    scoring = 0.0
    if rows > resumed:
        before = time.perf_counter()
        _score(staged, scored, contract, directory, row, chunk_rows, workers)
        scoring = time.perf_counter() - before
        for file in sorted(scored.glob("*.parquet")):
            _collect(file, parts, contract, row, chunk_rows)
    parts.join(range(number))
    return BatchResult(
        out, rows, resumed, time.perf_counter() - started, scoring, "pipeline", "spark"
    )


def _score(
    staged: Path,
    scored: Path,
    contract: Contract,
    directory: Path,
    row: str,
    chunk_rows: int,
    workers: int | None,
) -> None:
    with session(
        "twinml batch",
        workers,
        spark__sql__files__maxPartitionBytes=str(ONE_FILE),
        spark__sql__files__openCostInBytes=str(ONE_FILE),
        spark__sql__execution__arrow__maxRecordsPerBatch=str(chunk_rows),
    ) as spark:
        import mlflow.pyfunc
        from pyspark.sql import functions as F  # noqa: N812 - its usual name

        def udf(method: str, result_type: str) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of MLflow and pyspark about their own ways
                return mlflow.pyfunc.spark_udf(
                    spark,
                    str(directory),
                    result_type=result_type,
                    env_manager="local",
                    params={"method": method},
                )

        features = F.struct(*(F.col(_quoted(name)) for name in contract.column_names))
        frame = spark.read.parquet(str(staged))
        (
            frame.select(
                "*",
                udf("predict", SQL_TYPES[str(label_type(contract))])(features).alias("__label"),
                *(
                    udf(method, "array<double>")(features).alias("__shares")
                    for method in contract.methods
                    if method == "predict_proba"
                ),
            ).write.parquet(str(scored))
        )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _collect(file: Path, parts: Parts, contract: Contract, row: str, chunk_rows: int) -> None:
    """Keep one file that Spark wrote, which is one chunk, as a part."""
    table = pq.read_table(file)
    if table.num_rows == 0:
        return
    rows = table.column(row).to_numpy()
    first, last = int(rows[0]), int(rows[-1])
    assert first % chunk_rows == 0, "Spark has cut a chunk"
    assert last - first + 1 == table.num_rows, "Spark has mixed chunks"
    added = [name for name in ("__label", "__shares") if name in table.column_names]
    labels = table.column("__label").to_pylist()
    shares = _flat(table.column(added[-1])).reshape(table.num_rows, -1)
    rest = table.drop_columns([row, *added])
    parts.add(first // chunk_rows, with_results(rest, contract, labels, shares))


def _flat(values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the numbers of a column, or of its lists, one after the other."""
    joined = values.combine_chunks()
    flat: NDArray[np.float64] = (
        joined.flatten() if pa.types.is_list(joined.type) else joined
    ).to_numpy()
    return flat
