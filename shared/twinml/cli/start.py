"""``twinml start``: bring back what was stopped."""

from __future__ import annotations

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.errors import PlatformError, TwinmlError
from twinml.platform import load
from twinml.platform.abilities import InstallsServices

__all__ = ["command"]


@click.command("start", short_help="Bring back what was stopped.")
@click.option("--endpoint", "endpoint_name", metavar="NAME", help="Only this endpoint.")
@on_option
@json_option
@errors_in_one_line
def command(endpoint_name: str | None, platform_name: str, as_json: bool) -> None:
    """Start the endpoints, as they were when they were stopped, and the pipeline service.

    What runs is left alone, but for settings that the environment changes. One that does not
    start keeps no other from it.
    """
    platform = load(platform_name)
    if endpoint_name is not None:
        info = platform.start(endpoint_name)
        emit(info, as_json=as_json, text=f"{info.name} answers at {info.scoring_uri}")
        return
    started, failures = [], []
    for each in platform.endpoints():
        try:
            started.append(platform.start(each.name))
        except TwinmlError as error:
            failures.append(f"{each.name}: {error.message}")
    pipelines = False
    if isinstance(platform, InstallsServices):
        try:
            pipelines = platform.start_pipelines()
        except TwinmlError as error:
            failures.append(f"pipeline service: {error.message}")
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
            f"did not start: {'; '.join(failures)}", hint="Their logs say more: twinml logs."
        )
