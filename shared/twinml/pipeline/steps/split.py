"""Hold out rows of the prepared data; the rest becomes the table that Azure's AutoML reads."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.pipeline.steps._command import folder_in, folder_out, read_json, say, step

__all__ = ["TABLE_FILE", "command"]

TABLE_FILE = "rows.parquet"
MLTABLE = f"""\
$schema: https://azuremlschemas.azureedge.net/latest/MLTable.schema.json
type: mltable
paths:
  - file: ./{TABLE_FILE}
transformations:
  - read_parquet
"""


@click.command()
@click.option("--prepared", type=folder_in, required=True, help="From the step prepare.")
@click.option("--split", default="random", help="random, ordered, column:NAME or group:NAME.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0)
@click.option("--table", type=folder_out, required=True, help="Output: an MLTable.")
@click.option("--holdout", type=click.Path(path_type=Path), required=True, help="Output: rows.")
@step
def command(prepared: Path, split: str, seed: int, table: Path, holdout: Path) -> None:
    """Hold out the same rows as a training with the same split and seed."""
    from twinml.contract import model_frame
    from twinml.data import load
    from twinml.data.reading import options_of
    from twinml.training import TrainingOptions
    from twinml.training.splits import hold_out, split_column
    from twinml.training.tasks import task_of

    described = read_json(prepared / "dataset.json")
    target, name = described["target"], described["name"]
    reading = options_of(described["reading"])
    dataset = load(prepared / "data", target, name=name, drop=described["drop"], **reading)
    options = TrainingOptions(split=split, seed=seed)
    task = task_of(dataset.labels, dataset.task)
    labels = task.divided(task.truth(dataset.labels), split)
    sides = hold_out(dataset.features, labels, split, options.test_size, seed, dataset.copies)
    column = split_column(split)
    rows = dataset.frame if column is None else dataset.frame.drop(columns=column)
    table.mkdir(parents=True, exist_ok=True)
    model_frame(rows.iloc[sides.train]).to_parquet(table / TABLE_FILE, index=False)
    (table / "MLTable").write_text(MLTABLE, encoding="utf-8")
    holdout.parent.mkdir(parents=True, exist_ok=True)
    # With the columns that were left out, too: the champion may need them.
    everything = load(prepared / "data", target, name=name, **reading | {"keep": "all"})
    everything.frame.iloc[sides.test].to_parquet(holdout, index=False)
    say(f"{len(sides.train):,} rows to learn from, {len(sides.test):,} held out ({split})")


if __name__ == "__main__":
    command()
