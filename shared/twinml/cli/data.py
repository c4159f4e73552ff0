"""``twinml data``: check a file, register it as a data asset, or fetch a public one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, table
from twinml.cli._training import DataOptions, data_options
from twinml.errors import UsageError

__all__ = ["command"]

SHOWN_CLASSES = 10
HEADINGS = ("feature", "type", "nulls", "distinct", "min", "median", "max", "most frequent")
COLOURS = {"warning": "yellow"}


# \b keeps click from joining the lines of the examples.
HELP = """Check a data file and show what is in it; with --register store it as a data asset.

\b
twinml data
twinml data --data calls.csv --target answer --drop id --register
twinml data --fetch bank-additional-full --to data
"""


@click.command(name="data", help=HELP)
@data_options
@click.option("--register", is_flag=True, help="Store the file as a version of its name.")
@on_option
@click.option(
    "--fetch", "wanted", metavar="NAME", help="Download bank-additional-full or bank-full."
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default=True,
    metavar="DIR",
    help="Where --fetch puts the file.",
)
@json_option
@errors_in_one_line
def command(
    source: DataOptions,
    register: bool,
    platform_name: str,
    wanted: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Run the verb; its help is ``HELP``."""
    from twinml import data

    if wanted is not None:
        if source.data is not None or register:
            raise UsageError(
                "--fetch only downloads, it goes with neither --data nor --register",
                hint="Fetch first, then call 'twinml data' again with --data.",
            )
        path = data.fetch(wanted, folder)
        digest = data.file_digest(path)
        emit({"path": str(path), "digest": digest}, as_json=as_json, text=str(path))
        return
    dataset = source.load()
    asset = None
    if register:
        from twinml import platform

        asset = platform.load(platform_name).register_data(dataset)
    lines = _lines(dataset)
    if asset is not None:
        lines.append(f"registered as {asset.name} version {asset.version}: {asset.path}")
    emit(_described(dataset, asset), as_json=as_json, text="\n".join(lines))


def _described(dataset: Any, asset: Any) -> dict[str, Any]:
    """Return what ``--json`` prints; figures that do not apply are null."""
    profile = [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        for row in dataset.profile().to_dict("records")
    ]
    return {
        "name": dataset.name,
        "source": str(dataset.source),
        "digest": dataset.digest,
        "n_rows": dataset.n_rows,
        "target": dataset.target,
        "classes": {str(k): int(v) for k, v in dataset.labels.value_counts().items()},
        "chronological": dataset.chronological,
        "order_note": dataset.order_note,
        "leaks": dict(dataset.leaks),
        "dropped": list(dataset.dropped),
        "features": profile,
        "findings": list(dataset.findings),
        "asset": asset,
    }


def _lines(dataset: Any) -> list[str]:
    """Return the profile and the findings as text."""
    counts = dataset.labels.value_counts()
    shares = [f"{label} {count / dataset.n_rows:.1%}" for label, count in counts.items()]
    classes = ", ".join(shares[:SHOWN_CLASSES]) + (", …" if len(shares) > SHOWN_CLASSES else "")
    rows = [
        (
            row["feature"],
            row["type"],
            f"{row['nulls']:,}",
            f"{row['distinct']:,}",
            *(_figure(row[key]) for key in ("minimum", "median", "maximum")),
            row["top"],
        )
        for row in dataset.profile().to_dict("records")
    ]
    return [
        f"{dataset.name}: {dataset.n_rows:,} rows, target {dataset.target}: {classes}",
        f"SHA-256 {dataset.digest}",
        table(HEADINGS, rows, right="nulls|distinct|min|median|max"),
        f"Order: {dataset.order_note}.",
        *(
            f"{click.style(finding.level, fg=COLOURS.get(finding.level, 'cyan'))}: "
            f"{finding.message}."
            for finding in dataset.findings
        ),
    ]


def _figure(value: float) -> str:
    """Return a number with up to six digits, nothing for NaN."""
    return "" if math.isnan(value) else f"{value:,.6g}"
