"""``twinml delete``: remove a deployment, or an endpoint with all that belongs to it."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option

__all__ = ["command"]


@click.command("delete", short_help="Delete a deployment or an endpoint.")
@click.option("--endpoint", "endpoint_name", required=True, metavar="NAME", help="The endpoint.")
@click.option("--name", "deployment", metavar="NAME", help="Only this deployment of it.")
@click.option("--yes", is_flag=True, help="Do not ask before a whole endpoint is deleted.")
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str, deployment: str | None, yes: bool, platform_name: str, as_json: bool
) -> None:
    """Delete a deployment that has no traffic, or a whole endpoint with its keys and logs.

    Registered models are kept. For example: twinml delete --endpoint bank --name green
    """
    from twinml.platform import load

    platform = load(platform_name)
    platform.endpoint_info(endpoint_name)
    if deployment is None and not yes:
        click.confirm(f"Delete endpoint {endpoint_name}, its keys and logs?", abort=True, err=True)
    platform.delete(endpoint_name, deployment)
    what = f"endpoint {endpoint_name}" if deployment is None else f"deployment {deployment}"
    emit(
        {"endpoint": endpoint_name, "deployment": deployment, "deleted": True},
        as_json=as_json,
        text=f"deleted {what}",
    )
