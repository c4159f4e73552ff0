"""``twinml run``: the whole workflow, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._progress import live
from twinml.cli._training import data_options, dataset_from, options_from, training_options

if TYPE_CHECKING:
    from twinml.training import Progress

__all__ = ["command"]


@click.command()
@data_options
@training_options
@click.option("--again", is_flag=True, help="Train even if the same run was done before.")
@on_option
@json_option
@errors_in_one_line
def command(
    data: str | None,
    target: str | None,
    drop: tuple[str, ...],
    name: str | None,
    again: bool,
    platform_name: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Run all eleven steps: from a data file to an endpoint, a report and a pipeline.

    What is left running answers until ``twinml stop``.
    """
    wanted = options_from(**options)

    from twinml.platform import load

    platform = load(platform_name)
    dataset = dataset_from(data, target, drop, name)

    from twinml.tracking import Tracking
    from twinml.workflow import STEPS, Step, Watcher, Workflow

    class Printed(Watcher):
        """Prints each step when it ends, and the search while it runs."""

        def __init__(self, training: Callable[[Progress], None]) -> None:
            self._training = training

        def training(self, moment: Progress) -> None:
            self._training(moment)

        def begins(self, number: int, name: str) -> None:
            console.print(f"[bold]{number:>2}/{len(STEPS)}[/] {name} …", soft_wrap=True)

        def ended(self, step: Step) -> None:
            console.print(
                f"      [green]✓[/] {escape(step.summary)} [dim]({step.seconds:.1f} s)[/]",
                soft_wrap=True,
            )

    with live() as progress:
        result = Workflow(
            platform, Tracking(), dataset, wanted, watcher=Printed(progress), again=again
        ).run()
    endpoint = result.endpoint
    emit(
        result,
        as_json=as_json,
        text="\n".join(
            [
                "",
                f"All {len(result.steps)} steps in {result.seconds:.0f} s.",
                f"  Endpoint   {endpoint.scoring_uri}   (keys: twinml status --show-keys)",
                f"  Swagger    {endpoint.docs_uri}",
                f"  Pipeline   {result.pipeline.uri}",
                f"  Report     {result.report}   (make report)",
                "  Try        twinml score --sample 3      End it   make stop",
            ]
        ),
    )
