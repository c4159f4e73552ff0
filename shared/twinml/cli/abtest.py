"""``twinml abtest``: compare two models on labelled rows, offline."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option
from twinml.errors import DataError, ModelError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.data import Dataset

__all__ = ["command", "fitting_frame"]


@click.command(short_help="Compare two models on labelled rows.")
@click.option(
    "--labels",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with features and true labels, rows that neither model was trained on.",
)
@click.option("--target", required=True, metavar="COLUMN", help="The column of true labels.")
@click.option(
    "--a", "first", required=True, metavar="MODEL", help="Today's model: see below for how to name."
)
@click.option("--b", "second", required=True, metavar="MODEL", help="The one that may replace it.")
@click.option(
    "--metric",
    type=click.Choice(["roc_auc", "log_loss", "accuracy"]),
    help="The metric that decides [default: roc_auc; log_loss with more than two classes].",
)
@click.option(
    "--threshold", type=float, default=0.5, show_default=True, help="Of the decision, two classes."
)
@click.option("--bootstrap", default=1000, show_default=True, help="Bootstrap resamples.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the bootstrap.",
)
@json_option
@errors_in_one_line
def command(
    file: Path,
    target: str,
    first: str,
    second: str,
    metric: Any,
    threshold: float,
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare models A and B on the same labelled rows and say: ship B, keep A or not yet.

    A model is a model directory, or NAME, NAME/VERSION or NAME@ALIAS of a registered one.
    """
    from twinml.abtest import compare
    from twinml.data import load

    dataset = load(file, target)
    with tempfile.TemporaryDirectory() as scratch:
        classes, prob_a = predicted(first, dataset, Path(scratch) / "a")
        classes_b, prob_b = predicted(second, dataset, Path(scratch) / "b")
    if set(classes) != set(classes_b):
        raise ModelError(
            f"A predicts {list(classes)}, B predicts {list(classes_b)}",
            hint="Compare models of the same target.",
        )
    result = compare(
        indices(dataset.labels.tolist(), classes),
        prob_a,
        prob_b[:, [classes_b.index(label) for label in classes]],
        names=(first, second),
        n_bootstrap=bootstrap,
        seed=seed,
        threshold=threshold,
        primary=metric,
    )
    emit(result.to_dict(), as_json=as_json, text=result.text())


def predicted(reference: str, dataset: Dataset, scratch: Path) -> tuple[tuple[Any, ...], Any]:
    """Return a model's classes and its probabilities of all rows, shape (n, k)."""
    from twinml.model import load_contract, load_predictor

    directory = Path(reference)
    if not directory.is_dir():
        from twinml.tracking import Tracking

        tracking = Tracking()
        directory = tracking.download(tracking.resolve(reference).uri, scratch)
    contract = load_contract(directory)
    console.print(f"scoring {dataset.n_rows:,} rows with {reference}", markup=False)
    frame = fitting_frame(contract, dataset)
    return contract.classes, load_predictor(directory).predict_proba(frame)


def fitting_frame(contract: Contract, dataset: Dataset) -> pd.DataFrame:
    """Return the features of ``dataset`` with the columns and types of a contract.

    They go through the contract's own parser, so that a file is read here as a request is.

    Raises
    ------
    DataError
        The file lacks columns; the message names them all.
    PayloadError
        A value does not fit; the message says where.
    """
    from twinml.contract import parse

    features = dataset.features
    # Reading a file leaves out columns that are wholly empty.
    missing = [
        name
        for name in contract.column_names
        if name not in features and name not in dataset.dropped
    ]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing)
        raise DataError(
            f"'{dataset.source.name}' lacks features of model '{contract.name}': "
            f"{named} {'is' if len(missing) == 1 else 'are'} missing",
            hint="A verdict needs every feature that the models were trained on.",
        )
    plain: Any = features.astype(object)
    frame = plain.where(features.notna(), None)
    for name in contract.column_names:
        if name not in frame:
            frame[name] = None
    split = {"columns": [str(name) for name in frame], "data": frame.to_numpy().tolist()}
    body = json.dumps({"dataframe_split": split}).encode()
    request = parse(contract, body, content_type="application/json", route="invocations")
    return request.frame()


def indices(labels: list[Any], classes: tuple[Any, ...]) -> list[int]:
    """Return the position of each label among the classes; a class may be spelt as text."""
    positions: dict[Any, int] = {str(label): place for place, label in enumerate(classes)}
    positions |= {label: place for place, label in enumerate(classes)}
    found = []
    for row, label in enumerate(labels):
        place = positions.get(label, positions.get(str(label)))
        if place is None:
            raise DataError(
                f"row {row} has the label {label!r}, which the models do not know",
                hint=f"Their classes: {', '.join(map(str, classes))}.",
            )
        found.append(place)
    return found
