"""``twinml deploy``: serve a registered model."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option

__all__ = ["command"]


@click.command()
@click.option(
    "--model", "reference", required=True, metavar="NAME[/VERSION|@ALIAS]", help="What to serve."
)
@click.option("--endpoint", metavar="NAME", help="Where [default: made from the model's name].")
@click.option("--name", "deployment", default="blue", show_default=True, help="The deployment.")
@on_option
@json_option
@errors_in_one_line
def command(
    reference: str, endpoint: str | None, deployment: str, platform_name: str, as_json: bool
) -> None:
    """Deploy a registered model to an endpoint; its champion, unless told otherwise."""
    from twinml.platform import load
    from twinml.tracking import Tracking
    from twinml.workflow import endpoint_name

    version = Tracking().resolve(reference)
    info = load(platform_name).deploy(
        version, endpoint=endpoint or endpoint_name(version.name), deployment=deployment
    )
    emit(
        info,
        as_json=as_json,
        text=f"{version.name}/{version.version} answers at {info.scoring_uri} as {deployment}",
    )
