"""``twinml stop``: end what was left running."""

from __future__ import annotations

from contextlib import suppress

import click

from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.cli._types import ENDPOINT, PLATFORM
from twinml.errors import PlatformUnavailable, UsageError

__all__ = ["command"]


@click.command("stop", short_help="End what was left running.")
@click.option(
    "--endpoint", "endpoint_name", type=ENDPOINT, metavar="NAME", help="Only this endpoint."
)
@click.option("--on", "platform_name", type=PLATFORM, metavar="PLATFORM",
              help="Only what this one left.")  # fmt: skip
@json_option
@errors_in_one_line
def command(endpoint_name: str | None, platform_name: str | None, as_json: bool) -> None:
    """End what was left running here; requests in flight are answered first.

    State, keys and ports are kept: twinml start brings an endpoint back as it was. Without --on
    and --endpoint, a rehearsal that was kept is ended too.
    """
    from twinml.platform import load

    ended = load(platform_name or "local").stop(endpoint_name)
    if platform_name is None and endpoint_name is None:
        with suppress(UsageError, PlatformUnavailable):
            ended += load("rehearsal").stop()
    text = "\n".join(f"ended {name}" for name in ended) or "nothing was running"
    emit({"ended": ended}, as_json=as_json, text=text)
