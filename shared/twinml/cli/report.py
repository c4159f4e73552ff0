"""``twinml report``: where the newest report is, and open it."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option
from twinml.report import newest
from twinml.settings import home

__all__ = ["command"]


@click.command()
@click.option(
    "--open/--no-open",
    "open_it",
    default=True,
    show_default=True,
    help="Open it in the browser, where there is a display.",
)
@json_option
@errors_in_one_line
def command(open_it: bool, as_json: bool) -> None:
    """Print the path of the newest report and open it."""
    path = newest(home() / "reports")
    opened = open_it and _has_display() and _open(path)
    emit({"report": path, "opened": opened}, as_json=as_json, text=str(path))


def _has_display() -> bool:
    """Say whether a browser window can appear; text browsers would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def _open(path: Path) -> bool:
    try:
        opened = webbrowser.open(path.as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        console.print("No browser could be started; open the file yourself.")
    return opened
