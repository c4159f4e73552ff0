"""``twinml drift``: compare collected traffic, or a file, with the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._collected import collected_folder, collected_options, traffic_of
from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import model_directory
from twinml.cli._endpoints import endpoint_option
from twinml.cli.metrics import length_of_time
from twinml.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.traffic.collected import Traffic

__all__ = ["command"]

PREDICTION = "(prediction)"


@click.command(short_help="Compare collected traffic with the training rows.")
@endpoint_option
@collected_options
@click.option("--deployment", metavar="NAME", help="Only what this deployment answered.")
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
    metavar="MODEL",
    help="Model directory, NAME, NAME/VERSION or NAME@ALIAS [default: the deployed one].",
)
@click.option(
    "--window",
    callback=lambda ctx, param, value: length_of_time(ctx, param, value) if value else None,
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
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None,
    folder: Path | None,
    last: timedelta,
    deployment: str | None,
    current: Path | None,
    reference: Path | None,
    model: str | None,
    window: timedelta | None,
    alpha: float,
    min_psi: float,
    fail_on: str | None,
    out: Path | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Say which features, and whether the predictions, are no longer like in training.

    For example: twinml drift --last 7d --window 1d --out drift.html --fail-on drift
    """
    from twinml import drift
    from twinml.model import load_contract

    if current is not None and (folder is not None or window is not None):
        raise UsageError(
            "a file of rows has no times and needs no --collected",
            hint="Leave out --window and --collected, or --current.",
        )
    url = None
    if model is None and (current is not None or folder is not None) and endpoint_name is None:
        console.print("comparing with the model that is deployed here")
    with model_directory(platform_name, endpoint_name, deployment, url, model) as directory:
        contract = load_contract(directory)
        before = _reference(directory, reference, contract)
        times: list[datetime] = []
        if current is not None:
            now = _rows_of(current, contract)
            source = current.name
        else:
            place = collected_folder(platform_name, endpoint_name, folder)
            traffic = traffic_of(place, last, [deployment] if deployment else None)
            now, times, source = traffic.frame(), traffic.times(), place.parent.name
            now, before = _with_predictions(now, traffic, before, directory, contract)
    names = [name for name in (*contract.column_names, PREDICTION) if name in before]
    before = before[names]
    report = drift.compare(before, now, alpha=alpha, min_psi=min_psi)
    windows = (
        drift.windows(before, now, times, length=window, alpha=alpha, min_psi=min_psi)
        if window is not None
        else ()
    )
    text = "\n\n".join([report.text(), *([_over_time(windows)] if windows else [])])
    if out is not None:
        from twinml.drift.page import sheet
        from twinml.pages.result_page import write

        write(sheet(f"{source} against the training rows of {contract.name}", report, windows), out)
        text += f"\n\nPage: {out}"
    shape = report.to_dict() | {"windows": [one.to_dict() for one in windows], "page": out}
    emit(shape, as_json=as_json, text=text)
    failing = [one for one in report.features if one.drifted]
    if fail_on == "major":
        failing = [one for one in failing if one.level == "major"]
    if fail_on and (failing or report.missing):
        raise SystemExit(3)


def _over_time(windows: Sequence[Any]) -> str:
    lines = [f"{'window, UTC':<17} {'rows':>8}  drifted"]
    for one in windows:
        found = ", ".join(one.report.drifted) or "-"
        lines.append(
            f"{one.start:%Y-%m-%d %H:%M} {one.report.n_current:>8,}  "
            f"{found if one.report.enough else 'too few rows'}"
        )
    return "\n".join(lines)


def _reference(directory: Path, file: Path | None, contract: Contract) -> pd.DataFrame:
    from twinml.model import load_reference

    return load_reference(directory) if file is None else _rows_of(file, contract)


def _rows_of(file: Path, contract: Contract) -> pd.DataFrame:
    from twinml.data import read_rows

    text = [column.name for column in contract.columns if column.type == "string"]
    return read_rows(file, text=text)


def _with_predictions(
    now: pd.DataFrame,
    traffic: Traffic,
    before: pd.DataFrame,
    directory: Path,
    contract: Contract,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add what was answered, and what the model answers for the reference rows."""
    import numpy as np

    from twinml.model import digest, load_predictor

    outputs = [output for request in traffic.requests for output in request.outputs]
    names = [str(label) for label in contract.classes]
    scorer = load_predictor(directory, digest(directory))
    features = before[list(contract.column_names)]
    if outputs and all(names[-1] in output for output in outputs):
        shares = np.array([[output[name] for name in names] for output in outputs])
        was = np.asarray(scorer.predict_proba(features))
        if len(names) == 2:
            values, predicted = shares[:, 1], was[:, 1]
        else:
            values, predicted = (
                np.array(names, dtype=object)[part.argmax(axis=1)] for part in (shares, was)
            )
    elif outputs and all(contract.target in output for output in outputs):
        values = np.array([output[contract.target] for output in outputs], dtype=object)
        predicted = scorer.predict(features)
    else:
        console.print("answers are labels in part and probabilities in part: not compared")
        return now, before
    return now.assign(**{PREDICTION: values}), before.assign(**{PREDICTION: predicted})
