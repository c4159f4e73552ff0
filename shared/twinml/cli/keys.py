"""``twinml keys``: show the keys of an endpoint, or replace one."""

from __future__ import annotations

from dataclasses import asdict

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant

__all__ = ["command"]


@click.command("keys", short_help="Show or replace the keys of an endpoint.")
@endpoint_option
@click.option(
    "--regenerate",
    type=click.Choice(["primary", "secondary"]),
    help="Replace this key; the other one keeps working.",
)
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None, regenerate: str | None, platform_name: str, as_json: bool
) -> None:
    """Show the two keys of an endpoint; either opens it.

    To change keys without a pause: have all callers use the secondary key, replace the
    primary (twinml keys --regenerate primary), have them use the new one.
    """
    from twinml.platform import load

    platform = load(platform_name)
    name = meant(platform, endpoint_name)
    if regenerate is None:
        keys = platform.keys(name)
    else:
        keys = platform.regenerate_key(name, "primary" if regenerate == "primary" else "secondary")
    emit(
        {"endpoint": name, **asdict(keys)},
        as_json=as_json,
        text=f"primary    {keys.primary}\nsecondary  {keys.secondary}",
    )
