"""``twinml open``: the Studio site in the browser, served in the background if need be."""

from __future__ import annotations

import click

from twinml.cli._output import emit, errors_in_one_line, json_option, open_in_browser
from twinml.platform.abilities import HasStudio, able

__all__ = ["command"]


@click.command("open", short_help="Open the Studio site, started if need be.")
@click.option(
    "--browser/--no-browser",
    default=True,
    show_default=True,
    help="Open it in the browser, where there is a display.",
)
@json_option
@errors_in_one_line
def command(browser: bool, as_json: bool) -> None:
    """Print the address of the Studio site and open it; it is served until twinml stop."""
    from twinml.platform import load

    platform = able(load("local"), HasStudio, "show a site with")  # type: ignore[type-abstract]
    site = platform.start_studio()
    opened = browser and open_in_browser(site.address)
    emit(
        {"studio": site.address, "opened": opened, "renewed": site.renewed},
        as_json=as_json,
        text=("It ran an older state of twinml, and was started again.\n" if site.renewed else "")
        + f"  Studio     {site.address}",
    )
