"""``twinml replay``: the loop of drift, training and promotion on data in time order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from twinml.cli._output import console, emit, errors_in_one_line, json_option, keeps
from twinml.cli._training import DataOptions, data_options

if TYPE_CHECKING:
    from twinml.workflow.replay import Entry

__all__ = ["command"]

BUNDLED_PERIOD = "month"
# The day of a call is a date like its month: it moves on whatever the clients do.
BUNDLED_IGNORED = ("day",)
# Two learners of different kinds that train and compile in a second or two.
LEARNERS = {"classification": "LightGBM,LogisticRegression", "regression": "LightGBM,Ridge"}


@click.command(short_help="Show the loop at work on data in time order.")
@data_options
@click.option(
    "--period",
    metavar="COLUMN|ROWS",
    help="A new value of this column begins a period, or so many rows make one "
    f"[default: {BUNDLED_PERIOD}, for the bundled data].",
)
@click.option(
    "--min-rows",
    type=click.IntRange(20),
    default=200,
    show_default=True,
    help="Shorter periods are joined.",
)
@click.option(
    "--start",
    type=int,
    default=3,
    show_default=True,
    help="Periods that the first model learns from.",
)
@click.option(
    "--window",
    type=int,
    default=5000,
    show_default=True,
    help="Rows, the newest, that a challenger learns from; 0 for all.",
)
@click.option(
    "--share",
    type=int,
    default=10,
    show_default=True,
    help="Per cent of the traffic that a challenger gets.",
)
@click.option(
    "--pause",
    type=int,
    default=0,
    show_default=True,
    help="Periods after a training without another one.",
)
@click.option("--last", type=click.IntRange(1), help="Stop after this many periods.")
@click.option("--budget", default="5s", show_default=True, help="Time for each training.")
@click.option("--trials", type=int, help="Try this many configurations each time instead.")
@click.option(
    "--learners",
    metavar="A,B,…",
    help=f"Search these only [default: {' or '.join(LEARNERS.values())}].",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="COLUMN",
    help="Leave a column out of the drift report; may be repeated.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@json_option
@errors_in_one_line
def command(
    source: DataOptions,
    period: str | None,
    min_rows: int,
    start: int,
    window: int,
    share: int,
    pause: int,
    last: int | None,
    budget: str,
    trials: int | None,
    learners: str | None,
    ignore: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Feed the data to an endpoint in their order, period by period, labels arriving later.

    Drift is detected, the published pipeline trains a challenger, which takes traffic and is
    promoted or not. The report draws what that was worth against a model that never learns
    again. Works on an endpoint, a pipeline and a model of its own, NAME-replay.
    """
    dataset = source.load()

    from rich.markup import escape

    from twinml import settings
    from twinml.pages.result_page import write
    from twinml.platform import load
    from twinml.registry.tracking import Tracking
    from twinml.training import TrainingOptions, parse_seconds
    from twinml.workflow.replay import periods_of
    from twinml.workflow.replay.loop import Replay, ReplayOptions, ReplayWatcher
    from twinml.workflow.replay.page import curves, result_page

    training = TrainingOptions(
        budget=parse_seconds(budget),
        trials=trials,
        seed=seed,
        # Probabilities are what goes wrong in time: search and loop follow one measure.
        metric="log_loss" if dataset.task == "classification" else "root_mean_squared_error",
        learners=tuple(
            name.strip() for name in (learners or LEARNERS[dataset.task]).split(",") if name.strip()
        ),
    )
    if period is None and source.data is None:
        period = BUNDLED_PERIOD
    periods, column = periods_of(dataset, period, min_rows=min_rows)
    loop = ReplayOptions(
        start=start,
        window=window,
        share=share,
        pause=pause,
        ignored=(
            *((column,) if column else ()),
            *(ignore or (BUNDLED_IGNORED if source.data is None else ())),
        ),
    )
    if last is not None:
        periods = periods[: start + last]

    loss = "log loss" if dataset.task == "classification" else "RMSE"

    class Printed(ReplayWatcher):
        """Prints a line for each period when it ends, and what takes long."""

        def says(self, text: str) -> None:
            console().print(f"        [dim]{escape(text)} …[/]", soft_wrap=True)

        def ended(self, entry: Entry) -> None:
            console().print(_line(entry, len(periods), loss), soft_wrap=True)

    keeps("The endpoint, the pipeline and the model NAME-replay stay as they are: twinml stop.")
    history = Replay(
        load("local"), Tracking(), dataset, periods, loop, training, watcher=Printed()
    ).run()
    folder = settings.home() / "reports" / dataset.name
    page = write(result_page(history), folder / "replay.html")
    picture = folder / "replay.png"
    picture.write_bytes(curves(history))
    emit(
        {**history.to_dict(), "report": str(page), "picture": str(picture)},
        as_json=as_json,
        text="\n".join(
            [
                "",
                history.verdict,
                f"{history.retrainings} trainings, {history.promotions} promotions, "
                f"{history.seconds:.0f} s.",
                f"  Report     {page}",
                f"  Picture    {picture}",
                f"  Who was promoted, when and why: twinml promotions {dataset.name}-replay",
            ]
        ),
    )


def _line(entry: Entry, total: int, loss: str) -> str:
    from rich.markup import escape

    happened = ""
    if entry.decision == "promoted":
        happened = f" [green]{entry.challenger} promoted[/]"
    elif entry.challenger is not None:
        happened = f" [dim]{entry.challenger} waits[/]"
    if entry.proposed is not None:
        happened += f" [yellow]{entry.proposed} proposed[/]"
    return (
        f"[bold]{entry.number:>2}/{total}[/] {escape(entry.label):<9} {entry.n_rows:>6,} rows  "
        f"{loss} {entry.kept.loss:.3f}, never again {entry.first.loss:.3f}{happened} "
        f"[dim]({entry.seconds:.1f} s)[/]"
    )
