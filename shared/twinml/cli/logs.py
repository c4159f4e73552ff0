"""``twinml logs``: the last requests that an endpoint answered, and what went wrong."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant

__all__ = ["command"]


@click.command("logs", short_help="Print the logs of an endpoint.")
@endpoint_option
@click.option("--deployment", metavar="NAME", help="Only what this deployment answered.")
@click.option("--lines", default=100, show_default=True, help="How many lines.")
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None,
    deployment: str | None,
    lines: int,
    platform_name: str,
    as_json: bool,
) -> None:
    """Print the last log lines of an endpoint, oldest first.

    For example: twinml logs --lines 20
    """
    from twinml.platform import load

    platform = load(platform_name)
    name = meant(platform, endpoint_name)
    found = list(platform.logs(name, deployment=deployment, lines=lines))
    emit({"endpoint": name, "lines": found}, as_json=as_json, text="\n".join(found))
