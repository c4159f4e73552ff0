"""``twinml report``: where the report of a model, or the newest one, is; and open it."""

from __future__ import annotations

from pathlib import Path

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, open_in_browser
from twinml.cli._types import MODEL
from twinml.errors import NotFound
from twinml.report import CARD, PAGE, newest
from twinml.settings import home

__all__ = ["command"]


@click.command()
@click.argument("model", required=False, type=MODEL, metavar="[NAME[/VERSION|@ALIAS]]")
@click.option(
    "--open/--no-open",
    "open_it",
    default=True,
    show_default=True,
    help="Open it in the browser, where there is a display.",
)
@click.option("--card", is_flag=True, help="The model card instead.")
@on_option
@json_option
@errors_in_one_line
def command(
    model: str | None, open_it: bool, card: bool, platform_name: str, as_json: bool
) -> None:
    """Print the path of a model's report, or without one of the newest, and open it.

    A bare name means the champion. For example: twinml report bank-full/2
    """
    file = CARD if card else PAGE
    folder = home() / "reports"
    path = _of(model, platform_name, file) if model else newest(folder).with_name(file)
    opened = open_it and open_in_browser(path.as_uri())
    emit({"report": path, "opened": opened}, as_json=as_json, text=str(path))


def _of(text: str, platform_name: str, file: str) -> Path:
    """Return the report or card of a registered model, or of one that was only trained."""
    from twinml.platform import ModelReference, load
    from twinml.registry.listing import named
    from twinml.workflow.model_report import of_version

    reference = ModelReference.parse(text)
    uri = load(platform_name).tracking_uri
    try:
        version = named(uri, reference)
    except NotFound:
        unregistered = home() / "reports" / reference.name / file
        if str(reference) != reference.name or not unregistered.is_file():
            raise
        return unregistered
    return of_version(version, uri, file)
