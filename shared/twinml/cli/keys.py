"""``twinml keys``: show the keys of an endpoint, or replace one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option

__all__ = ["command"]


@click.command("keys", short_help="Show or replace the keys of an endpoint.")
@endpoint_options("on")
@click.option(
    "--regenerate",
    type=click.Choice(["primary", "secondary"]),
    help="Replace this key; the other one keeps working.",
)
@json_option
@errors_in_one_line
def command(where: EndpointOptions, regenerate: str | None, as_json: bool) -> None:
    """Show the two keys of an endpoint; either opens it.

    To change keys without a pause: have all callers use the secondary key, replace the
    primary (twinml keys --regenerate primary), have them use the new one.
    """
    name = where.endpoint
    if regenerate is None:
        keys = where.platform.keys(name)
    else:
        which: Literal["primary", "secondary"] = (
            "primary" if regenerate == "primary" else "secondary"
        )
        keys = where.platform.regenerate_key(name, which)
    emit(
        {"endpoint": name, **asdict(keys)},
        as_json=as_json,
        text=f"primary    {keys.primary}\nsecondary  {keys.secondary}",
    )
