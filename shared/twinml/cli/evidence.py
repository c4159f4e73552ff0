"""``twinml evidence``: pictures of what was built, for those who have to show it."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._output import console, emit, errors_in_one_line, json_option
from twinml.platform.abilities import HasStudio, able

__all__ = ["command"]


@click.command("evidence", short_help="Take pictures of what was built, with a README.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("evidence"),
    show_default=True,
    metavar="FOLDER",
    help="Where the pictures and the README go.",
)
@json_option
@errors_in_one_line
def command(folder: Path, as_json: bool) -> None:
    """Take the fourteen pictures of the Azure ML course from the Studio's real pages.

    By a headless Chromium where there is one; else the pages are kept as HTML. An architecture
    diagram and a README with all of them are beside them; what is not there yet is named in it.
    """
    from twinml.platform import load

    platform = able(load("local"), HasStudio, "show a site with")  # type: ignore[type-abstract]
    with console().status("taking pictures"):
        made = platform.evidence(folder)
    emit(
        {"folder": folder, "files": made},
        as_json=as_json,
        text="\n".join(f"{folder / name}  {title}" for name, title in made.items()),
    )
