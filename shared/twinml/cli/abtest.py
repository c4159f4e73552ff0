"""``twinml abtest``: compare two models on labelled rows, or two deployments on live traffic."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._collected import collected_options
from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option
from twinml.errors import DataError, ModelError, NotFound, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.data import Dataset

__all__ = ["command", "fitting_frame"]

CHUNK_ROWS = 5000
OFFLINE = ("roc_auc", "log_loss", "accuracy")
ONLINE = ("log_loss", "accuracy", "brier")


@click.command(short_help="Compare two models, or two deployments on live traffic.")
@click.option("--online", is_flag=True, help="Judge collected traffic with later labels.")
@click.option("--plan", is_flag=True, help="Say how many labelled requests --online needs.")
@click.option(
    "--labels",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with features and true labels, rows that neither model was trained on.",
)
@click.option("--target", metavar="COLUMN", help="The column of true labels.")
@click.option("--a", "first", metavar="A", help="Today's model or deployment.")
@click.option("--b", "second", metavar="B", help="The one that may replace it.")
@endpoint_option
@click.option("--url", metavar="SCORING_URI", help="An endpoint by its address instead.")
@click.option("--key-env", metavar="VAR", help="Environment variable with --url's key.")
@click.option(
    "--metric",
    type=click.Choice(["roc_auc", "log_loss", "accuracy", "brier"]),
    help="The metric that decides [default: roc_auc, with more than two classes log_loss; online "
    "log_loss, without probabilities accuracy].",
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
@collected_options
@click.option(
    "--expected", metavar="A/B", help="Split of the requests, such as 90/10 [default: the traffic]."
)
@click.option("--mirrored", is_flag=True, help="Online: compare what both scored (mirror traffic).")
@click.option("--alpha", default=0.05, show_default=True, help="Online: chance of a wrong verdict.")
@click.option(
    "--tuned-for",
    default=2000,
    show_default=True,
    help="Online: labelled requests at which the interval is narrowest; see --plan.",
)
@click.option("--effect", type=float, help="The smallest difference that matters.")
@click.option(
    "--slowdown", default=1.2, show_default=True, help="How many times A's p95 B's may be."
)
@click.option("--baseline", type=float, help="Plan: A's accuracy.")
@click.option("--deviation", type=float, help="Plan: the metric's deviation over requests.")
@click.option("--power", default=0.8, show_default=True, help="Plan: chance to find the effect.")
@click.option("--per-day", type=float, help="Plan: labelled requests a day, to say how long.")
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
    online: bool,
    plan: bool,
    file: Path | None,
    target: str | None,
    first: str | None,
    second: str | None,
    endpoint_name: str | None,
    url: str | None,
    key_env: str | None,
    metric: Any,
    threshold: float,
    bootstrap: int,
    seed: int,
    folder: Path | None,
    last: timedelta,
    expected: str | None,
    mirrored: bool,
    alpha: float,
    tuned_for: int,
    effect: float | None,
    slowdown: float,
    baseline: float | None,
    deviation: float | None,
    power: float,
    per_day: float | None,
    out: Path | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Compare A and B and say: ship B, keep A or not yet.

    \b
    On labelled rows, models by directory, NAME, NAME/VERSION or NAME@ALIAS:
      twinml abtest --labels rows.csv --target y --a bank@champion --b bank@challenger
    On labelled rows, deployments of an endpoint:
      twinml abtest --labels rows.csv --target y --endpoint bank --a blue --b green
    On live traffic (twinml collect, twinml traffic, twinml feedback):
      twinml abtest --plan --baseline 0.90 --effect 0.02
      twinml abtest --online --a blue --b green
    """  # noqa: D301 - click's mark for lines that stay as they are
    if plan:
        from twinml.cli._plan import planned, text

        found = planned(
            effect=effect,
            baseline=baseline,
            deviation=deviation,
            split=expected or "50/50",
            alpha=alpha,
            power=power,
        )
        emit(found, as_json=as_json, text=text(found, per_day))
        return
    if first is None or second is None:
        raise UsageError("say what to compare", hint="Give --a and --b.")
    if metric is not None and metric not in (ONLINE if online else OFFLINE):
        raise UsageError(
            f"{metric} cannot decide here",
            hint=f"Choose {', '.join(ONLINE if online else OFFLINE)}.",
        )
    if online:
        if file is not None or url is not None:
            raise UsageError(
                "online the rows and labels are those that were collected",
                hint="Leave out --labels and --url; record labels with twinml feedback.",
            )
        from twinml.cli._online import compared

        live = compared(
            platform_name,
            endpoint_name,
            folder,
            last,
            (first, second),
            expected,
            metric=metric,
            threshold=threshold,
            alpha=alpha,
            tuned_for=tuned_for,
            effect=effect,
            mirrored=mirrored,
            slowdown=slowdown,
        )
        _show(live, "online", out, as_json)
        return
    if file is None or target is None:
        raise UsageError(
            "say which labelled rows to compare on",
            hint="Give --labels FILE and --target COLUMN, or --online.",
        )
    from twinml.abtest.offline import compare
    from twinml.data import load

    dataset = load(file, target)
    with tempfile.TemporaryDirectory() as scratch:
        if endpoint_name is not None or url is not None:
            sides = [
                answered(name, dataset, platform_name, endpoint_name, url, key_env)
                for name in (first, second)
            ]
        else:
            sides = [
                predicted(name, dataset, Path(scratch) / side)
                for name, side in ((first, "a"), (second, "b"))
            ]
    (classes, prob_a), (classes_b, prob_b) = sides
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
    _show(result, "offline", out, as_json)


def _show(result: Any, mode: str, out: Path | None, as_json: bool) -> None:
    text = result.text()
    if out is not None:
        from twinml.abtest import page as trials
        from twinml.pages.result_page import write

        write(getattr(trials, mode)(result), out)
        text += f"\n\nPage: {out}"
    emit(result.to_dict() | {"page": out}, as_json=as_json, text=text)


def predicted(reference: str, dataset: Dataset, scratch: Path) -> tuple[tuple[Any, ...], Any]:
    """Return a model's classes and its probabilities of all rows, shape (n, k)."""
    from twinml.model import digest, load_contract, load_predictor

    directory = Path(reference)
    if not directory.is_dir():
        from twinml.registry.tracking import Tracking

        tracking = Tracking()
        try:
            found = tracking.resolve(reference)
        except NotFound as error:
            raise NotFound(
                error.message,
                hint=f"{error.hint or ''} Of a deployment name the endpoint: --endpoint NAME.",
            ) from error
        directory = tracking.fetch(found, scratch)
    contract = load_contract(directory)
    console.print(f"scoring {dataset.n_rows:,} rows with {reference}", markup=False)
    frame = fitting_frame(contract, dataset)
    return contract.classes, load_predictor(directory, digest(directory)).predict_proba(frame)


def answered(
    deployment: str,
    dataset: Dataset,
    platform_name: str,
    endpoint_name: str | None,
    url: str | None,
    key_env: str | None,
) -> tuple[tuple[Any, ...], Any]:
    """Return a deployment's classes and the probabilities that it answers, shape (n, k)."""
    import numpy as np

    from twinml.cli._endpoints import connect
    from twinml.cli._rows import facts_of

    frame: Any = dataset.features.astype(object)
    rows = frame.where(dataset.features.notna(), None).to_dict("records")
    with connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint:
        classes = tuple(facts_of(endpoint).classes)
        if not classes:
            raise ModelError(
                f"deployment '{deployment}' does not tell its classes",
                hint="Compare the models instead: --a NAME/VERSION --b NAME/VERSION.",
            )
        console.print(f"scoring {dataset.n_rows:,} rows with {deployment}", markup=False)
        found: list[list[float]] = []
        for start in range(0, len(rows), CHUNK_ROWS):
            found += endpoint.score_proba(rows[start : start + CHUNK_ROWS])
    return classes, np.array(found)


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
    from twinml.contract.dialects import RECORDS
    from twinml.endpoint import request_body

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
    body = request_body(frame.to_dict("records"), dialect=RECORDS.name)
    return parse(contract, body, content_type="application/json", route="score").frame()


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
