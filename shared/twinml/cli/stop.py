"""``twinml stop``: end what was left running."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option

__all__ = ["command"]


@click.command("stop", short_help="End what was left running.")
@click.option("--endpoint", "endpoint_name", metavar="NAME", help="Only this endpoint.")
@on_option
@json_option
@errors_in_one_line
def command(endpoint_name: str | None, platform_name: str, as_json: bool) -> None:
    """End the servers that a platform left running; requests in flight are answered first.

    State, keys and ports are kept: twinml start brings an endpoint back as it was.
    """
    from twinml.platform import load

    ended = load(platform_name).stop(endpoint_name)
    text = "\n".join(f"ended {name}" for name in ended) or "nothing was running"
    emit({"ended": ended}, as_json=as_json, text=text)
