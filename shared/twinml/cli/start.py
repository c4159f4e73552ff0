"""``twinml start``: bring back what was stopped."""

from __future__ import annotations

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.errors import PlatformError, TwinmlError
from twinml.platform.abilities import InstallsServices

__all__ = ["command"]


@click.command("start", short_help="Bring back what was stopped.")
@endpoint_options("on", help="Only this endpoint.")
@json_option
@errors_in_one_line
def command(where: EndpointOptions, as_json: bool) -> None:
    """Start the endpoints, as they were when they were stopped, and the pipeline service.

    What runs is left alone, but for settings that the environment changes. One that does not
    start keeps no other from it.
    """
    platform = where.platform
    if where.name is not None:
        info = platform.start(where.name)
        emit(info, as_json=as_json, text=f"{info.name} answers at {info.scoring_uri}")
        return
    started, failures = [], []
    for each in platform.endpoints():
        try:
            started.append(platform.start(each.name))
        except TwinmlError as error:
            failures.append(f"{each.name}: {error}")
    pipelines = False
    if isinstance(platform, InstallsServices):
        try:
            pipelines = platform.start_pipelines()
        except TwinmlError as error:
            failures.append(f"pipeline service: {error}")
    lines = [f"{info.name} answers at {info.scoring_uri}" for info in started]
    lines += ["the pipeline service answers"] if pipelines else []
    if not failures or (lines and not as_json):
        emit(
            {"endpoints": started, "pipelines": pipelines, "failures": failures},
            as_json=as_json,
            text="\n".join(lines) or "nothing is deployed; to begin: twinml run",
        )
    if failures:
        raise PlatformError(
            f"did not start: {'; '.join(each.rstrip('.') for each in failures)}",
            hint="Their logs say more: twinml logs.",
        )
