"""``twinml delete``: remove a deployment, or an endpoint with all that belongs to it."""

from __future__ import annotations

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.cli._types import DEPLOYMENT
from twinml.errors import NotFound, PlatformError

__all__ = ["command"]


@click.command("delete", short_help="Delete a deployment or an endpoint.")
@endpoint_options("on", help="The endpoint.", required=True)
@click.option("--name", "name", type=DEPLOYMENT, metavar="NAME", help="Only this deployment of it.")
@click.option("--yes", is_flag=True, help="Do not ask before a whole endpoint is deleted.")
@json_option
@errors_in_one_line
def command(where: EndpointOptions, name: str | None, yes: bool, as_json: bool) -> None:
    """Delete a deployment that has no traffic, or a whole endpoint with its keys and logs.

    Registered models are kept. For example: twinml delete --endpoint bank --name green
    """
    endpoint = where.endpoint
    try:
        where.info()
    except NotFound:
        raise
    except PlatformError:
        pass  # Its file is damaged, which is a reason to delete it.
    if name is None and not yes:
        click.confirm(f"Delete endpoint {endpoint}, its keys and logs?", abort=True, err=True)
    where.platform.delete(endpoint, name)
    what = f"endpoint {endpoint}" if name is None else f"deployment {name}"
    emit(
        {"endpoint": endpoint, "deployment": name, "deleted": True},
        as_json=as_json,
        text=f"deleted {what}",
    )
