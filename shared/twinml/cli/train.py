"""``twinml train``: search, ensemble, evaluate, log to MLflow and register."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import (
    console,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
    live,
    table,
)
from twinml.cli._training import DataOptions, data_options, training_options
from twinml.contract.intervals import DEFAULT_LEVEL

__all__ = ["command"]


@click.command()
@data_options
@training_options
@click.option("--register/--no-register", default=True, show_default=True, help="Into MLflow.")
@click.option("--again", is_flag=True, help="Train even if the same run was done before.")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Leave model and result there instead: nothing is logged or registered.",
)
@on_option
@json_option
@errors_in_one_line
def command(
    source: DataOptions,
    register: bool,
    again: bool,
    folder: Path | None,
    platform_name: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Search for the best model, join the best and register the result.

    Ctrl-C ends the search early and goes on with the best so far.
    """
    from twinml.training import TrainingOptions

    # The options are checked before the data are read: a typo shows at once.
    wanted = TrainingOptions.parse(**options)
    dataset = source.load(wanted.split_column)

    from twinml.registry import training_run

    if folder is not None:
        with live() as progress:
            saved = training_run.train_into(dataset, wanted, folder, progress)
        emit(
            {"best": saved.best.name, "folder": folder},
            as_json=as_json,
            text=f"{saved.best.name}: {folder}",
        )
        return
    from twinml.platform import load
    from twinml.registry.tracking import Tracking
    from twinml.workflow.model_report import write_for

    platform = load(platform_name)
    tracking = Tracking()
    keeps("Nothing was registered.")
    with live() as progress:
        done = training_run.run(dataset, wanted, tracking, again=again, progress=progress)
    result = done.searched()
    version = None
    if register:
        version = platform.register_model(done.directory, name=dataset.name, run_id=done.run_id)
    with console().status("writing the report"):
        report = write_for(done, dataset, tracking, version)
    emit(
        {
            "model": dataset.name,
            "version": version.version if version else None,
            "aliases": version.aliases if version else (),
            "run_id": done.run_id,
            "digest": done.digest,
            "directory": done.directory,
            "best": result.best.name,
            "metric": result.metric,
            result.test.prefix: {key: vars(value) for key, value in result.test.metrics.items()},
            "forward": (
                {key: vars(value) for key, value in result.forward.metrics.items()}
                if result.forward
                else None
            ),
            "reused": done.reused,
            "interrupted": result.interrupted,
            "report": report,
        },
        as_json=as_json,
        text="\n".join(
            [
                "Leaderboard, out-of-fold",
                leaderboard(result),
                *_remarks(result, done.reused, dataset.task, dataset.task_reason),
                f"Report: {report}",
                str(version.reference) if version else f"run {done.run_id}",
            ]
        ),
    )


def leaderboard(result: Any) -> str:
    """Return the leaderboard as text."""
    from twinml.training.tasks import figure, task_of_model

    shown = task_of_model(result.contract).shown
    rows = [
        (
            candidate.name,
            *(figure(candidate.metrics[metric]) for metric in shown),
            str(candidate.trials or ""),
        )
        for candidate in result.leaderboard
    ]
    numbers = "|".join([*shown.values(), "trials"])
    return table(("candidate", *numbers.split("|")), rows, right=numbers)


def _judged(found: Any) -> str:
    """Say by which rows an estimate is."""
    if found.out_of_fold:
        return f"Out of fold ({found.split} folds, all {found.n_test:,} rows)"
    return f"Test rows ({found.split} split, {found.n_test:,})"


def _remarks(result: Any, reused: bool, kind: str, reason: str) -> list[str]:
    from twinml.training.tasks import figure, task_of_model

    task = task_of_model(result.contract)
    rows = "the rows, out of fold" if result.test.out_of_fold else "the test rows"
    lines = [
        *([f"The task is {kind}: {reason}."] if reason else []),
        *result.notes,
        f"The model learned from {result.learned_from}.",
        f"{_judged(result.test)}: {task.line(result.test, result.metric)}",
        *(
            f"Prediction intervals at {one.level:g} hold {one.share:.1%} of {rows}; "
            f"their mean width is {figure(one.width)}."
            for one in result.test.coverage
            if one.level == DEFAULT_LEVEL
        ),
    ]
    if result.forward is not None and result.forward is not result.test:
        lines.append(
            f"Forward in time: {task.line(result.forward, result.metric)}: "
            "expect this next month, not the random-split figure"
        )
    if result.interrupted:
        lines.append("The search was interrupted; this is the best so far.")
    if reused:
        lines.append("The same run was done before and is used again; --again trains anew.")
    return lines
