"""``twinml teardown``: remove what twinml made on a platform, and nothing else."""

from __future__ import annotations

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import (
    changes_text,
    console,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
)
from twinml.errors import TwinmlError, UsageError
from twinml.platform.abilities import Removes, able

__all__ = ["command"]


@click.command(short_help="Remove what twinml made on a platform.")
@click.option("--plan", "plan_only", is_flag=True, help="Only list what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_option
@json_option
@errors_in_one_line
def command(plan_only: bool, yes: bool, platform_name: str, as_json: bool) -> None:
    """Remove what carries twinml's tag, and nothing else.

    Endpoints and clusters are deleted; models, data and environments, which Azure ML keeps, are
    archived. For example: twinml teardown --on azure --plan
    """
    from twinml.platform import load

    platform = able(load(platform_name), Removes, "remove")  # type: ignore[type-abstract]
    with console().status("looking"):
        changes = platform.removable()
    if plan_only or not changes:
        emit(changes, as_json=as_json, text=changes_text(changes))
        return
    if not yes:
        if as_json:
            raise UsageError(f"{len(changes)} things would be removed", hint="Say so with --yes.")
        console().print(changes_text(changes), highlight=False, markup=False, soft_wrap=True)
        click.confirm(f"Remove these {len(changes)}?", abort=True, err=True)
    keeps("What was not removed yet is still there; the same command goes on.")
    failed: TwinmlError | None = None
    done = []
    for change in changes:
        try:
            with console().status(f"removing {change.kind} {change.name}"):
                platform.remove(change)
        except TwinmlError as error:
            # The others are removed all the same: whatever stays may cost money.
            console().print(f"{change.kind} {change.name}: {error}", markup=False, soft_wrap=True)
            failed = failed or error
        else:
            done.append(change)
    emit(done, as_json=as_json, text=f"removed {len(done)} of {len(changes)}")
    if failed is not None:
        raise SystemExit(1)
