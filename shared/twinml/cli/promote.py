"""``twinml promote``: make a challenger the champion, on record."""

from __future__ import annotations

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import emit, errors_in_one_line, json_option, keeps
from twinml.cli._types import ENDPOINT, MODEL_NAME
from twinml.errors import NotFound

__all__ = ["command"]


@click.command()
@click.argument("name", type=MODEL_NAME)
@click.option("--version", help="This version [default: the challenger]; an old one goes back.")
@click.option("--reason", required=True, help="Why; kept in the audit trail.")
@click.option("--by", help="Who decided [default: the user].")
@click.option(
    "--endpoint", type=ENDPOINT, help="Give it all traffic there [default: the model's, if any]."
)
@click.option("--no-endpoint", is_flag=True, help="Change the registry only.")
@on_option
@json_option
@errors_in_one_line
def command(
    name: str,
    version: str | None,
    reason: str,
    by: str | None,
    endpoint: str | None,
    no_endpoint: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Make a version of model NAME the champion, and give it all traffic.

    The registry, the endpoint and the audit trail are the platform's. Who, when, why and the
    figures of both versions go into the audit trail: twinml promotions.
    """
    from twinml.platform import endpoint_name, load
    from twinml.registry.promotion import promote
    from twinml.registry.tracking import Tracking

    keeps("The record of the promotion says how far it came; the same command completes it.")
    side = load(platform_name)
    platform = None if no_endpoint else side
    if platform is not None and endpoint is None:
        try:
            endpoint = platform.endpoint_info(endpoint_name(name)).name
        except NotFound:
            platform = None
    made = promote(
        Tracking(side.tracking_uri),
        name,
        version=version,
        reason=reason,
        by=by,
        platform=platform,
        endpoint=endpoint if platform is not None else None,
    )
    where = f", all traffic of {made.endpoint}" if made.endpoint else ""
    before = f" after version {made.previous}" if made.previous else ""
    text = f"{made.model}/{made.version} is champion{before}{where}: {made.reason}"
    emit(made, as_json=as_json, text=text)
