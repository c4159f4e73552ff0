"""The options that ``train`` and ``run`` share, and what they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from twinml.data import Dataset, Rare, TaskKind

__all__ = ["DataOptions", "data_options", "training_options"]

F = TypeVar("F", bound=Callable[..., Any])

BUNDLED_TARGET = "y"


@dataclass(frozen=True)
class DataOptions:
    """What the options say of the data: the file, and how it is read."""

    data: str | None = None
    target: str | None = None
    name: str | None = None
    drop: tuple[str, ...] = ()
    keep_column: tuple[str, ...] = ()
    rare: Rare = "drop"
    sheet: str | None = None
    strict: bool = False
    task: TaskKind | None = None

    def load(self, split_by: str | None = None) -> Dataset:
        """Load the file, the bank marketing data by default.

        Parameters
        ----------
        split_by
            A column that stays although it looks like a key, to split the rows by.
        """
        from twinml.data import bundled, load
        from twinml.errors import UsageError

        if self.data is not None and self.target is None:
            raise UsageError("the column to predict is not named", hint="Name it: --target COLUMN.")
        return load(
            bundled() if self.data is None else self.data,
            self.target or BUNDLED_TARGET,
            name=self.name,
            drop=_columns(self.drop),
            keep=[*_columns(self.keep_column), *([split_by] if split_by else [])],
            rare=self.rare,
            sheet=self.sheet,
            strict=self.strict,
            task=self.task,
        )

    def words(self) -> list[str]:
        """Return the options as they are written on a command line."""
        names = ("data", "target", "name", "sheet", "task")
        named = {name: getattr(self, name) for name in names}
        return [
            *(word for key, value in named.items() if value for word in (f"--{key}", value)),
            *(word for column in self.drop for word in ("--drop", column)),
            *(word for column in self.keep_column for word in ("--keep-column", column)),
            *("--rare", self.rare),
            *(["--strict"] if self.strict else []),
        ]


def _columns(options: tuple[str, ...]) -> list[str]:
    return [column.strip() for each in options for column in each.split(",") if column.strip()]


def data_options(function: F) -> F:
    """Add the options of ``DataOptions``; the command gets one object, ``source``."""

    @functools.wraps(function)
    def taken(*args: Any, **options: Any) -> Any:
        given = {one.name: options.pop(one.name) for one in fields(DataOptions)}
        return function(*args, source=DataOptions(**given), **options)

    decorated: Any = taken
    for option in (
        click.option(
            "--strict", is_flag=True, help="Refuse a file that could be read in another way."
        ),
        click.option("--sheet", metavar="NAME", help="Sheet of a workbook [default: the first]."),
        click.option(
            "--rare",
            type=click.Choice(["drop", "join", "refuse"]),
            default="drop",
            show_default=True,
            help="Classes too rare to learn: leave their rows out, join them, or stop.",
        ),
        click.option(
            "--keep-column",
            multiple=True,
            metavar="COLUMN",
            help="Keep a column although it looks like a key; several as with --drop.",
        ),
        click.option(
            "--drop",
            multiple=True,
            metavar="COLUMN",
            help="Leave a column out; may be repeated, or name several with commas.",
        ),
        click.option(
            "--task",
            type=click.Choice(["classification", "regression"]),
            help="What the target is [default: told from it; many different numbers are a "
            "regression].",
        ),
        click.option("--name", help="Name of the data set and the model [default: the file's]."),
        click.option("--target", metavar="COLUMN", help="Column to predict."),
        click.option(
            "--data",
            metavar="FILE",
            help="CSV, Parquet, Excel or JSON lines, a path or an address "
            "[default: the bank marketing data, target y].",
        ),
    ):
        decorated = option(decorated)
    return cast(F, decorated)


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
            metavar="random|ordered|column:NAME|group:NAME",
            help="How the test rows are held out.",
        ),
        click.option(
            "--metric",
            default="auto",
            show_default=True,
            help="Chooses the best candidate; auto: ROC AUC, log loss where that tells little, R² "
            "of numbers.",
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
