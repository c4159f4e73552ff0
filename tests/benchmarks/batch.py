"""Throughput of ``twinml batch`` against the kernel alone and the pipeline, in one process.

Run: ``make bench-batch ARGS="--model bank-full --rows 1000000"``. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from twinml import model
from twinml.bulk import scoring
from twinml.cli._models import directory_of
from twinml.data import bundled
from twinml_local.bulk import TableScorer, _frame, matrix


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="bank-full")
    parser.add_argument("--data", type=Path, default=bundled())
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--spark", action="store_true")
    given = parser.parse_args()
    with directory_of(given.model) as directory, tempfile.TemporaryDirectory() as folder:
        contract = model.load_contract(directory)
        types = {column.name: column.type for column in contract.columns}
        once = pa.concat_tables(scoring.source_for(given.data, contract).chunks(1 << 30))
        copies = -(-given.rows // once.num_rows)
        big = Path(folder) / "big.csv"
        pa_csv.write_csv(pa.concat_tables([once] * copies).slice(0, given.rows), big)
        scorer = TableScorer(directory)
        chunk = once.slice(0, scoring.CHUNK_ROWS)
        compiled = scorer._compiled
        found = []
        if compiled is not None:
            X = matrix(compiled, chunk)
            compiled.score(X, chunk.num_rows)
            found.append(("kernel alone", rate(lambda: compiled.score(X, chunk.num_rows), chunk)))
            found.append(("encoding and kernel", rate(lambda: scorer.score(chunk), chunk)))
        pipeline = model.load_predictor(directory)
        frame = _frame(chunk, types)

        def both() -> None:
            pipeline.predict(frame)
            pipeline.predict_proba(frame)

        found.append(("pipeline, labels and probabilities", rate(both, chunk)))
        for ending in (".parquet", ".csv"):
            done = scoring.score_file(
                scoring.source_for(big, contract), contract, scorer, Path(folder) / f"out{ending}",
                digest="bench",
            )  # fmt: skip
            found.append((f"batch, CSV to {ending[1:]}", done.rows_per_second))
        if given.spark:
            from twinml.bulk import spark

            done = spark.score_file(
                scoring.source_for(big, contract), contract, directory, Path(folder) / "s.parquet",
                digest="bench", chunk_rows=scoring.CHUNK_ROWS,
            )  # fmt: skip
            found.append(("batch on Spark, CSV to parquet", done.rows_per_second))
    print(f"{given.rows:,} rows of {given.data.name}, {scorer.form}\n")
    print("| what | rows/s | of the first |\n|---|--:|--:|")
    for what, rows in found:
        print(f"| {what} | {rows:,.0f} | {rows / found[0][1]:.0%} |")


def rate(work: object, chunk: pa.Table, times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        work()  # type: ignore[operator]
        best = min(best, time.perf_counter() - started)
    return chunk.num_rows / best


if __name__ == "__main__":
    main()
