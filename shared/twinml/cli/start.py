"""``twinml start``: bring back an endpoint that was stopped."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant

__all__ = ["command"]


@click.command("start", short_help="Bring back an endpoint that was stopped.")
@endpoint_option
@on_option
@json_option
@errors_in_one_line
def command(endpoint_name: str | None, platform_name: str, as_json: bool) -> None:
    """Start the server of an endpoint, with the deployments, traffic and keys that it had.

    One that runs is left alone.
    """
    from twinml.platform import load

    platform = load(platform_name)
    info = platform.start(meant(platform, endpoint_name))
    emit(info, as_json=as_json, text=f"{info.name} answers at {info.scoring_uri}")
