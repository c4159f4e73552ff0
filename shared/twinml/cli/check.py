"""``twinml check``: check the preconditions of a run before anything is created."""

from __future__ import annotations

from contextlib import nullcontext

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.cli._types import MODEL_OR_DIRECTORY
from twinml.platform.abilities import Checks, able

__all__ = ["command"]

COLOURS = {"ok": "green", "note": "blue", "warning": "yellow", "error": "red"}


@click.command(short_help="Look at what stands in the way of a run.")
@click.option(
    "--model",
    "reference",
    type=MODEL_OR_DIRECTORY,
    metavar="MODEL",
    help="Model to be deployed: a directory, NAME, NAME/VERSION or NAME@ALIAS.",
)
@on_option
@json_option
@errors_in_one_line
def command(reference: str | None, platform_name: str, as_json: bool) -> None:
    """Check packages, sign-in, workspace, rights, region, quota, environment and payload.

    Nothing is made or changed. The exit code is 1 if a run would fail. For example:
    twinml check --on azure --model bank-full
    """
    from twinml.platform import load
    from twinml.registry.model_files import directory_of

    platform = able(load(platform_name), Checks, "check")  # type: ignore[type-abstract]
    found = []
    with directory_of(reference) if reference else nullcontext() as directory:
        for check in platform.check(directory):
            found.append(check)
            if not as_json:
                mark = click.style(f"{check.level:<7}", fg=COLOURS[check.level])
                todo = click.style(f" → {check.todo}", dim=True) if check.todo else ""
                click.echo(f"{mark} {check.what}: {check.found}{todo}")
    errors = sum(check.level == "error" for check in found)
    warnings = sum(check.level == "warning" for check in found)
    emit(
        {"passes": not errors, "checks": found},
        as_json=as_json,
        text=f"{len(found)} checks: {errors} errors, {warnings} warnings",
    )
    if errors:
        raise SystemExit(1)
