"""The options that ``train`` and ``run`` share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from twinml.data import Dataset

__all__ = ["data_options", "dataset_from", "training_options"]

F = TypeVar("F", bound=Callable[..., Any])

BUNDLED_TARGET = "y"


def data_options(function: F) -> F:
    """Add ``--data``, ``--target``, ``--drop`` and ``--name``."""
    for option in (
        click.option("--name", help="Name of the data set and the model [default: the file's]."),
        click.option(
            "--drop",
            multiple=True,
            metavar="COLUMN",
            help="Leave a column out; may be repeated, or name several with commas.",
        ),
        click.option("--target", metavar="COLUMN", help="Column to predict."),
        click.option(
            "--data",
            type=click.Path(),
            metavar="FILE",
            help="CSV or Parquet [default: the bank marketing data, target y].",
        ),
    ):
        function = option(function)
    return function


def training_options(function: F) -> F:
    """Add the options of ``TrainingOptions``."""
    for option in (
        click.option("--jobs", type=int, help="Configurations tried at a time [default: cores]."),
        click.option("--workers", type=int, help="The same for --engine spark: tasks at a time."),
        click.option(
            "--engine",
            type=click.Choice(["local", "spark"]),
            default="local",
            show_default=True,
            help="Where configurations are fitted.",
        ),
        click.option(
            "--learners", metavar="A,B,…", default="", help="Search these only [default: all]."
        ),
        click.option(
            "--refit",
            type=click.Choice(["all", "train"]),
            default="all",
            show_default=True,
            help="Rows that the model learns from at last; the figures leave the test rows out.",
        ),
        click.option(
            "--threshold",
            default="0.5",
            show_default=True,
            help="Decision threshold: a number, accuracy, balanced_accuracy or f1 to tune it.",
        ),
        click.option(
            "--class-weight",
            type=click.Choice(["none", "balanced"]),
            default="none",
            show_default=True,
            help="Weigh rows inversely to the share of their class.",
        ),
        click.option(
            "--split",
            default="random",
            show_default=True,
            metavar="random|ordered|column:NAME",
            help="How the test rows are held out.",
        ),
        click.option(
            "--metric", default="roc_auc", show_default=True, help="Chooses the best candidate."
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**31 - 1),
            default=0,
            show_default=True,
            help="Random seed.",
        ),
        click.option(
            "--trials", type=int, help="Try this many configurations instead: reproducible."
        ),
        click.option(
            "--budget",
            default="60s",
            show_default=True,
            help="Time for search, ensemble, refit and evaluation together.",
        ),
    ):
        function = option(function)
    return function


def dataset_from(
    data: str | None, target: str | None, drop: tuple[str, ...], name: str | None
) -> Dataset:
    """Load what the data options name."""
    from twinml.data import bundled, load
    from twinml.errors import UsageError

    dropped = [column.strip() for each in drop for column in each.split(",") if column.strip()]
    if data is None:
        return load(bundled(), target or BUNDLED_TARGET, name=name, drop=dropped)
    if target is None:
        raise UsageError("the column to predict is not named", hint="Name it: --target COLUMN.")
    return load(Path(data), target, name=name, drop=dropped)
