"""``twinml start``: bring back an endpoint that was stopped."""

from __future__ import annotations

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option

__all__ = ["command"]


@click.command("start", short_help="Bring back an endpoint that was stopped.")
@endpoint_options("on")
@json_option
@errors_in_one_line
def command(where: EndpointOptions, as_json: bool) -> None:
    """Start the server of an endpoint, with the deployments, traffic and keys that it had.

    One that runs is left alone.
    """
    info = where.platform.start(where.endpoint)
    emit(info, as_json=as_json, text=f"{info.name} answers at {info.scoring_uri}")
