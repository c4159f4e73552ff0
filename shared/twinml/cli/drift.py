"""``twinml drift``: compare collected traffic, or a file, with the training rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options, last_option
from twinml.cli._output import console, emit, errors_in_one_line, json_option
from twinml.cli._types import MODEL_OR_DIRECTORY, TIME
from twinml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract

__all__ = ["command"]


@click.command(short_help="Compare collected traffic with the training rows.")
@endpoint_options("on", "deployment", "collected")
@last_option
@click.option(
    "--current",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge the rows of this CSV or Parquet file instead of collected traffic.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet to compare with [default: the training rows kept with the model].",
)
@click.option(
    "--model",
    type=MODEL_OR_DIRECTORY,
    metavar="MODEL",
    help="Model directory, NAME, NAME/VERSION or NAME@ALIAS [default: the deployed one].",
)
@click.option(
    "--window",
    type=TIME,
    metavar="TIME",
    help="Compare stretches of time of this length as well: 1h, 1d.",
)
@click.option(
    "--alpha", default=0.05, show_default=True, help="Share of wrong alarms that is accepted."
)
@click.option(
    "--min-psi", default=0.1, show_default=True, help="A smaller PSI is never called drift."
)
@click.option(
    "--fail-on",
    type=click.Choice(["drift", "major"]),
    help="Exit code 3 if a feature drifted, or drifted with a PSI of 0.25 or more.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="HTML",
    help="Write a page with pictures.",
)
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    last: timedelta,
    current: Path | None,
    reference: Path | None,
    model: str | None,
    window: timedelta | None,
    alpha: float,
    min_psi: float,
    fail_on: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say which features, and whether the predictions, are no longer like in training.

    For example: twinml drift --last 7d --window 1d --out drift.html --fail-on drift
    """
    from twinml import drift
    from twinml.drift.predictions import PREDICTION, with_predictions
    from twinml.model import load_contract, load_reference

    if current is not None and (where.folder is not None or window is not None):
        raise UsageError(
            "a file of rows has no times and needs no --collected",
            hint="Leave out --window and --collected, or --current.",
        )
    if model is None and (current or where.folder) and where.name is None:
        console().print("comparing with the model that is deployed here")
    with where.model_directory(model) as directory:
        contract = load_contract(directory)
        before = load_reference(directory) if reference is None else _rows_of(reference, contract)
        times: list[datetime] = []
        if current is not None:
            now = _rows_of(current, contract)
            source = current.name
        else:
            source = where.collected_folder().parent.name
            traffic = where.traffic(last, [where.deployment] if where.deployment else None)
            now, times = traffic.frame(), traffic.times()
            now, before = with_predictions(now, traffic, before, directory, contract)
            if PREDICTION not in before:
                console().print("answers are labels and probabilities: they are not compared")
    names = [name for name in (*contract.column_names, PREDICTION) if name in before]
    before = before[names]
    report = drift.compare(before, now, alpha=alpha, min_psi=min_psi)
    windows = (
        drift.windows(before, now, times, length=window, alpha=alpha, min_psi=min_psi)
        if window is not None
        else ()
    )
    text = "\n\n".join([report.text(), *([drift.windows_text(windows)] if windows else [])])
    if out is not None:
        from twinml.drift.page import result_page
        from twinml.pages.result_page import write

        write(
            result_page(f"{source} against the training rows of {contract.name}", report, windows),
            out,
        )
        text += f"\n\nPage: {out}"
    shape = report.to_dict() | {"windows": [one.to_dict() for one in windows], "page": out}
    emit(shape, as_json=as_json, text=text)
    failing = [one for one in report.features if one.drifted]
    if fail_on == "major":
        failing = [one for one in failing if one.level == "major"]
    if fail_on and (failing or report.missing):
        raise SystemExit(3)


def _rows_of(file: Path, contract: Contract) -> pd.DataFrame:
    from twinml.contract import model_frame
    from twinml.data import read_rows

    text = [column.name for column in contract.columns if column.mlflow_type == "string"]
    return model_frame(read_rows(file, text=text))
