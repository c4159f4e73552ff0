"""``twinml run``: the whole workflow, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import (
    changes_text,
    console,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
    live,
    program,
)
from twinml.cli._training import DataOptions, data_options, training_options
from twinml.cli._types import ENDPOINT
from twinml.errors import UsageError
from twinml.platform.abilities import TRAIN_HERE, Plans, able

if TYPE_CHECKING:
    from twinml.training import Progress
    from twinml.workflow import WorkflowResult

__all__ = ["command"]


@click.command()
@data_options
@training_options
@click.option("--again", is_flag=True, help="Train even if the same run was done before.")
@click.option(
    "--train",
    "train",
    default=TRAIN_HERE,
    show_default=True,
    metavar="WHERE",
    help="Who trains: local, this machine; job or automl, the platform's machines, with "
    "twinml's search or with the platform's own.",
)
@click.option(
    "--endpoint", type=ENDPOINT, metavar="NAME",
    help="Where [default: made from the model's name].",
)  # fmt: skip
@click.option(
    "--pipeline/--no-pipeline",
    "pipeline",
    default=True,
    show_default=True,
    help="Publish and run the pipeline, which trains once more.",
)
@click.option(
    "--plan", "plan_only", is_flag=True, help="Only list what would be created, changed and kept."
)
@on_option
@json_option
@errors_in_one_line
def command(
    source: DataOptions,
    again: bool,
    train: str,
    endpoint: str | None,
    pipeline: bool,
    plan_only: bool,
    platform_name: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Run all eleven steps: from a data file to an endpoint, a report and a pipeline.

    What is left running answers until ``twinml stop``.
    """
    from twinml.platform import load
    from twinml.training import TrainingOptions

    wanted = TrainingOptions.parse(**options)

    platform = load(platform_name)
    trainers = (TRAIN_HERE, *getattr(platform, "trainers", ()))
    if train not in trainers:
        raise UsageError(
            f"platform '{platform.name}' cannot train '{train}'",
            hint=f"Choose from {', '.join(trainers)}.",
        )
    dataset = source.load(wanted.split_column)
    if plan_only:
        from twinml.registry.tracking import Tracking
        from twinml.registry.training_run import known

        planner = able(platform, Plans, "plan")  # type: ignore[type-abstract]
        changes = planner.plan(
            dataset,
            wanted,
            train=train,
            endpoint=endpoint,
            pipeline=pipeline,
            digest=None if again else known(dataset, wanted, Tracking()),
        )
        emit(changes, as_json=as_json, text=changes_text(changes))
        return

    from rich.markup import escape

    from twinml.registry.tracking import Tracking
    from twinml.workflow import STEPS, Step, Watcher, Workflow

    class Printed(Watcher):
        """Prints each step when it ends, and the search while it runs."""

        def __init__(self, training: Callable[[Progress], None]) -> None:
            self._training = training

        def training(self, moment: Progress) -> None:
            self._training(moment)

        def waiting(self, what: str) -> None:
            console().print(f"        [dim]{escape(what)}[/]", soft_wrap=True)

        def begins(self, number: int, name: str) -> None:
            console().print(f"[bold]{number:>2}/{len(STEPS)}[/] {name} …", soft_wrap=True)

        def ended(self, step: Step) -> None:
            console().print(
                f"      [green]✓[/] {escape(step.summary)} [dim]({step.seconds:.1f} s)[/]",
                soft_wrap=True,
            )

    keeps("Steps that ended are kept; the same command goes on from there.")
    with live() as progress:
        result = Workflow(
            platform,
            Tracking(),
            dataset,
            wanted,
            watcher=Printed(progress),
            again=again,
            train=train,
            endpoint=endpoint,
            pipeline=pipeline,
        ).run()
    endpoints = [info.name for info in platform.endpoints()]
    emit(
        result,
        as_json=as_json,
        text="\n".join(
            [
                "",
                f"All {len(result.steps)} steps in {result.seconds:.0f} s.",
                *_hints(result, platform_name, alone=len(endpoints) == 1),
            ]
        ),
    )


def _hints(result: WorkflowResult, platform_name: str, *, alone: bool) -> list[str]:
    """Return where everything is and what to type next, as it works from the current folder.

    ``alone`` says whether the endpoint is the only one, so that it need not be named.
    """
    answers = result.endpoint
    on = "" if platform_name == "local" else f" --on {platform_name}"
    which = ("" if alone else f" --endpoint {answers.name}") + on
    call = program()
    return [
        f"  Endpoint   {answers.scoring_uri}",
        f"  Swagger    {answers.docs_uri}",
        *([f"  Pipeline   {result.pipeline.uri}"] if result.pipeline else []),
        *([f"  Report     {result.report}"] if result.report else []),
        f"  Keys       {call} keys{which}",
        f"  Try        {call} score --sample 3{which}",
        f"  End it     {call} stop{which}"
        if platform_name == "local"
        else f"  Remove it  {call} teardown{on}",
    ]
