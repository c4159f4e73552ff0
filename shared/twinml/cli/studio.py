"""``twinml studio``: serve the Studio site in this process."""

from __future__ import annotations

import click

from twinml.cli._output import emit, errors_in_one_line, json_option, keeps
from twinml.platform.abilities import HasStudio, able

__all__ = ["command"]


@click.command("studio", short_help="Serve the Studio site: data, jobs, models, endpoints.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Where to listen [default: as before, the first time 5080 or another that is free].",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Elsewhere than on loopback the site asks for a sign-in key, which is printed.",
)
@json_option
@errors_in_one_line
def command(port: int | None, host: str, as_json: bool) -> None:
    """Serve the Studio site until Ctrl+C: what is registered, trained, deployed and measured here.

    For example: twinml studio --port 5080. In the background, with a browser: twinml open.
    """
    from twinml.platform import load

    keeps("")  # Ctrl+C is how it is meant to end.

    def ready(address: str, key: str | None) -> None:
        lines = [f"Studio      {address}", *([f"Sign-in key {key}"] if key else [])]
        emit({"studio": address, "key": key}, as_json=as_json, text="\n".join(lines))

    platform = able(load("local"), HasStudio, "show a site with")  # type: ignore[type-abstract]
    platform.serve_studio(host=host, port=port, ready=ready)
