"""``twinml batch``: score a file of any size with a registered model, without an endpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import (
    console,
    counting,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
    safe_csv_option,
)
from twinml.cli._types import MODEL_OR_DIRECTORY
from twinml.errors import NotFound, UsageError

if TYPE_CHECKING:
    from twinml.batch import BatchResult

__all__ = ["command"]


@click.command("batch", short_help="Score a large file with a registered model.")
@click.option("--model", type=MODEL_OR_DIRECTORY, metavar="NAME[/VERSION]|DIRECTORY",
              help="The model.")  # fmt: skip
@click.option("--champion", is_flag=True, help="The champion of the only registered model.")
@click.option(
    "--data", "source", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="CSV (.gz as well) or Parquet.",
)  # fmt: skip
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Rows with prediction and probabilities: .parquet, .csv, .json or .jsonl.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True,
    help="Where: this process, with the compiled model, or Spark.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Spark tasks at a time [default: cores].")
@click.option(
    "--chunk-rows", type=click.IntRange(1), help="Rows in memory at a time [default: 32768]."
)
@click.option("--restart", is_flag=True, help="Begin anew what an earlier run began.")
@safe_csv_option
@on_option
@json_option
@errors_in_one_line
def command(
    model: str | None,
    champion: bool,
    source: Path,
    out: Path,
    engine: str,
    workers: int | None,
    chunk_rows: int | None,
    restart: bool,
    safe_csv: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Score a file of any size in chunks; run the same command again to continue after a crash.

    For example: twinml batch --model bank-full --data big.csv --out scored.parquet
    """
    if champion == (model is not None):
        raise UsageError("say which model, once", hint="Give --model NAME or --champion.")
    if workers is not None and engine != "spark":
        raise UsageError("--workers goes with --engine spark", hint="Leave it out.")
    from twinml.batch.scoring import CHUNK_ROWS
    from twinml.registry.model_files import directory_of

    keeps(f"What was scored is kept in {out}.parts; the same command goes on from there.")

    with directory_of(model or _only_model()) as directory:
        result = _score(
            directory,
            source,
            out,
            engine,
            workers,
            chunk_rows or CHUNK_ROWS,
            restart,
            safe_csv,
            platform_name,
        )
    resumed = f", {result.resumed:,} of them before" if result.resumed else ""
    emit(
        asdict(result) | {"rows_per_second": result.rows_per_second},
        as_json=as_json,
        text=f"{result.rows:,} rows scored{resumed}: {out} ({result.rows_per_second:,.0f} rows/s, "
        f"{result.engine}, {result.form})",
    )


def _score(
    directory: Path,
    path: Path,
    out: Path,
    engine: str,
    workers: int | None,
    chunk_rows: int,
    restart: bool,
    safe_csv: bool,
    platform_name: str,
) -> BatchResult:
    from twinml import model
    from twinml.batch import ScoresBatches, scoring
    from twinml.platform import load
    from twinml.platform.abilities import able

    contract = model.load_contract(directory)
    source = scoring.source_for(path, contract)
    digest = model.digest(directory)
    with counting("rows") as progress:
        if engine == "spark":
            if contract.answer_type == "object":
                contract.check_judged("batch --engine spark")
            from twinml.batch import spark

            return spark.score_file(
                source, contract, directory, out, digest=digest, chunk_rows=chunk_rows,
                workers=workers, restart=restart, safe_csv=safe_csv, progress=progress,
            )  # fmt: skip
        hint = (
            "Leave --on out: this machine does, with the same model; or use --engine spark, or "
            "twinml score --on for its endpoint."
        )
        on = load(platform_name)
        platform = able(on, ScoresBatches, "score files with", hint)  # type: ignore[type-abstract]
        scorer = platform.scorer(directory)
        if scorer.form != "compiled":
            console().print(f"Not compiled: {scorer.form}", soft_wrap=True, markup=False)
        return scoring.score_file(
            source, contract, scorer, out, digest=digest, chunk_rows=chunk_rows,
            restart=restart, safe_csv=safe_csv, progress=progress,
        )  # fmt: skip


def _only_model() -> str:
    from twinml.registry.tracking import Tracking

    names = Tracking().names()
    if not names:
        raise NotFound("no model is registered", hint="Train one first: twinml train.")
    if len(names) > 1:
        raise UsageError(
            f"there are {len(names)} registered models: {', '.join(names)}",
            hint="Name one: --model NAME.",
        )
    return f"{names[0]}@champion"
