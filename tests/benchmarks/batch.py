"""Throughput of ``twinml batch`` against the kernel alone and the pipeline, in one process.

Run: ``make bench-batch ARGS="--model bank-full --rows 1000000"``. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from twinml import model
from twinml.batch import scoring
from twinml.data import bundled
from twinml.registry.model_files import directory_of
from twinml_local.batch import TableScorer, _frame, matrix


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
            found.append(
                ("kernel alone", rate(lambda: compiled.score(X, chunk.num_rows), chunk.num_rows))
            )
            found.append(("encoding and kernel", rate(lambda: scorer.score(chunk), chunk.num_rows)))
        pipeline = model.load_predictor(directory, model.digest(directory))
        frame = _frame(chunk, types)

        def both() -> None:
            pipeline.predict(frame)
            pipeline.predict_proba(frame)

        found.append(("pipeline, labels and probabilities", rate(both, chunk.num_rows)))
        for ending in (".parquet", ".csv"):
            out = Path(folder) / f"out{ending}"

            def whole(out: Path = out) -> None:
                source = scoring.source_for(big, contract)
                scoring.score_file(source, contract, scorer, out, digest="bench")

            found.append((f"batch, CSV to {ending[1:]}", rate(whole, given.rows, times=1)))
        if given.spark:
            from twinml.batch import spark

            done = spark.score_file(
                scoring.source_for(big, contract), contract, directory, Path(folder) / "s.parquet",
                digest="bench", chunk_rows=scoring.CHUNK_ROWS,
            )  # fmt: skip
            found.append(("batch on Spark, CSV to parquet", (done.rows_per_second, float("nan"))))
    print(f"{given.rows:,} rows of {given.data.name}, {scorer.form}\n")
    print("| what | rows/s | of the first | rows per CPU second | of the first |")
    print("|---|--:|--:|--:|--:|")
    first = found[0][1]
    for what, (wall, cpu) in found:
        print(
            f"| {what} | {wall:,.0f} | {wall / first[0]:.0%} | {cpu:,.0f} | {cpu / first[1]:.0%} |"
        )


def rate(work: Callable[[], object], rows: int, times: int = 3) -> tuple[float, float]:
    """Return rows per second of wall time and of this process's CPU time, the best of a few."""
    wall = cpu = float("inf")
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall = min(wall, time.perf_counter() - started)
        cpu = min(cpu, time.process_time() - used)
    return rows / wall, rows / cpu


if __name__ == "__main__":
    main()
