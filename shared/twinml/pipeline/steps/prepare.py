"""Check the data and fix what the training reads: the file as it is, and what it means."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from twinml.errors import DataError, UsageError
from twinml.pipeline.steps._command import NONE, folder_out, say, step, write_json

__all__ = ["command"]


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--target", required=True, help="Column to predict.")
@click.option("--drop", default=NONE, help="Columns to leave out, with commas.")
@click.option("--reading", default=NONE, help="As in keep=COLUMN&rare=join&sheet=NAME.")
@click.option("--name", default=NONE, help="Name of the data set and the model.")
@click.option("--prepared", type=folder_out, required=True, help="Output: file and meaning.")
@step
def command(data: Path, target: str, drop: str, reading: str, name: str, prepared: Path) -> None:
    """Check a file; the first problem that no training could survive ends it."""
    from twinml.data import load
    from twinml.data.dataset import UnknownColumn
    from twinml.data.reading import options_of

    dropped = [column.strip() for column in drop.split(",") if column.strip()]
    try:
        dataset = load(
            _file(data),
            target,
            name=None if name == NONE else name,
            drop=[] if drop == NONE else dropped,
            **options_of(reading),
        )
    except UnknownColumn as error:
        # What can be read as a table may be none: its first line stays out of the log.
        raise DataError(
            error.message, hint="`twinml data --data FILE --target COLUMN` names those that it has."
        ) from None
    for finding in dataset.findings:
        say(f"{finding.level}: {finding.message}")
    prepared.mkdir(parents=True, exist_ok=True)
    # Byte for byte: a model's figures are compared with those of others on the same file.
    shutil.copyfile(dataset.source, prepared / "data")
    write_json(
        prepared / "dataset.json",
        {
            "name": dataset.name,
            "target": target,
            "drop": list(dataset.dropped),
            "reading": reading,
            "digest": dataset.digest,
            "rows": dataset.n_rows,
            "features": dataset.features.shape[1],
            "findings": [vars(finding) for finding in dataset.findings],
        },
    )
    say(f"{dataset.name}: {dataset.n_rows:,} rows, {dataset.features.shape[1]} features")


def _file(data: Path) -> Path:
    """Return the one file that ``data`` is or holds."""
    if data.is_file():
        return data
    files = [path for path in sorted(data.iterdir()) if path.is_file()]
    if len(files) != 1:
        raise UsageError(f"'{data}' holds {len(files)} files", hint="Give one file.")
    return files[0]


if __name__ == "__main__":
    command()
