"""``twinml abtest``: compare two models on labelled rows, or two deployments on live traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options, last_option
from twinml.cli._output import console, emit, errors_in_one_line, json_option
from twinml.cli._types import SIDE
from twinml.errors import NotFound, UsageError

if TYPE_CHECKING:
    from twinml.abtest.labelled import Scored
    from twinml.data import Dataset

__all__ = ["command"]

OFFLINE = (
    "roc_auc", "log_loss", "accuracy", "root_mean_squared_error", "mean_absolute_error",
)  # fmt: skip
ONLINE = ("log_loss", "accuracy", "brier", "squared_error", "absolute_error")


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
@click.option("--a", "first", type=SIDE, metavar="A", help="Today's model or deployment.")
@click.option("--b", "second", type=SIDE, metavar="B", help="The one that may replace it.")
@endpoint_options("on", "url", "collected")
@click.option(
    "--metric",
    type=click.Choice(list(dict.fromkeys([*OFFLINE, *ONLINE]))),
    help="The metric that decides [default: roc_auc, with more than two classes log_loss; online "
    "log_loss, without probabilities accuracy; of numbers the squared error].",
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
@last_option
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
@json_option
@errors_in_one_line
def command(
    online: bool,
    plan: bool,
    file: Path | None,
    target: str | None,
    first: str | None,
    second: str | None,
    where: EndpointOptions,
    metric: Any,
    threshold: float,
    bootstrap: int,
    seed: int,
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
        from twinml.abtest.sample_size import planned, text

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
        if file is not None or where.url is not None:
            raise UsageError(
                "online the rows and labels are those that were collected",
                hint="Leave out --labels and --url; record labels with twinml feedback.",
            )
        from twinml.abtest.collected import compare_collected, share_of_b

        pair = (first, second)
        here = where.folder is None
        live = compare_collected(
            where.traffic(last, pair),
            where.collected_folder(),
            pair,
            share=share_of_b(
                pair,
                expected=expected,
                mirrored=mirrored,
                traffic=where.info().traffic if here else None,
            ),
            measured=where.metrics(last) if here else (),
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
    from twinml.abtest.labelled import compare_scored
    from twinml.data import load

    # The models say which columns they need, and no row may be missing from a verdict.
    dataset = load(file, target, keep="all", rare="refuse")
    a, b = (_scored(name, dataset, where) for name in (first, second))
    options = {"n_bootstrap": bootstrap, "seed": seed, "threshold": threshold, "primary": metric}
    result = compare_scored(dataset, a, b, names=(first, second), **options)
    _show(result, "offline", out, as_json)


def _scored(name: str, dataset: Dataset, where: EndpointOptions) -> Scored:
    """Score all rows with a deployment, where an endpoint is named, else with a model."""
    from twinml.abtest.labelled import scored_by_endpoint, scored_by_model
    from twinml.registry.model_files import directory_of

    said = f"scoring {dataset.n_rows:,} rows with {name}"
    if where.name is not None or where.url is not None:
        with replace(where, deployment=name).connect() as endpoint:
            console().print(said, markup=False)
            return scored_by_endpoint(endpoint, dataset)
    try:
        with directory_of(name) as directory:
            console().print(said, markup=False)
            return scored_by_model(directory, dataset)
    except NotFound as error:
        raise NotFound(
            error.message,
            hint=f"{error.hint or ''} Of a deployment name the endpoint: --endpoint NAME.",
        ) from error


def _show(result: Any, mode: str, out: Path | None, as_json: bool) -> None:
    text = result.text()
    if out is not None:
        from twinml.abtest import page
        from twinml.pages.result_page import write

        write(getattr(page, mode)(result), out)
        text += f"\n\nPage: {out}"
    emit(result.to_dict() | {"page": out}, as_json=as_json, text=text)
