"""``twinml check``: look at what stands in the way of a run, before anything is made."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.platform.abilities import Checks, able

__all__ = ["command"]

MARKS = {"ok": "[green]ok[/]", "note": "[blue]note[/]", "warning": "[yellow]warning[/]",
         "error": "[bold red]error[/]"}  # fmt: skip


@click.command(short_help="Look at what stands in the way of a run.")
@click.option(
    "--model",
    "reference",
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

    platform = able(load(platform_name), Checks, "check")  # type: ignore[type-abstract]
    directory = _directory(reference) if reference else None
    found = []
    for check in platform.check(directory):
        found.append(check)
        if not as_json:
            todo = f" [dim]→ {escape(check.todo)}[/]" if check.todo else ""
            console.print(
                f"{MARKS[check.level]:<18} {escape(check.what)}: {escape(check.found)}{todo}",
                soft_wrap=True,
            )
    errors = sum(check.level == "error" for check in found)
    warnings = sum(check.level == "warning" for check in found)
    emit(
        {"passes": not errors, "checks": found},
        as_json=as_json,
        text=f"{len(found)} checks: {errors} errors, {warnings} warnings",
    )
    if errors:
        raise SystemExit(1)


def _directory(reference: str) -> Path:
    if Path(reference).is_dir():
        return Path(reference)
    from twinml.registry.tracking import Tracking
    from twinml.registry.training_run import model_folder

    tracking = Tracking()
    version = tracking.resolve(reference)
    return tracking.fetch(version, model_folder(version.digest))
