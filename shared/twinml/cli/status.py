"""``twinml status``: what is deployed, whether it runs, and how to reach it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option, schedule_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twinml.platform import EndpointInfo, Keys, PipelineInfo, Schedule

__all__ = ["command"]

STOPPED = "stopped"


@click.command("status", short_help="Show what is deployed and running.")
@endpoint_options("on", help="Only this endpoint.")
@click.option("--show-keys", is_flag=True, help="Print the keys too.")
@json_option
@errors_in_one_line
def command(where: EndpointOptions, show_keys: bool, as_json: bool) -> None:
    """Show the endpoints of a platform, their deployments and traffic, and its pipelines.

    For example, to call an endpoint with other tools: twinml status --show-keys
    """
    platform = where.platform
    infos = platform.endpoints() if where.name is None else (where.info(),)
    shown = [info for info in infos if show_keys and not info.problem]
    keys = {info.name: platform.keys(info.name) for info in shown}
    # Who asks for one endpoint does not ask for pipelines.
    published = platform.pipelines() if where.name is None else ()
    schedules = platform.schedules() if published else ()
    parts = [_text(info, keys.get(info.name)) for info in infos]
    parts += [_pipeline(one, schedules) for one in published]
    emit(
        {
            "endpoints": [_shape(info, keys.get(info.name)) for info in infos],
            "pipelines": [
                asdict(one)
                | {"schedules": [asdict(each) for each in schedules if each.pipeline == one.name]}
                for one in published
            ],
        },
        as_json=as_json,
        text="\n\n".join(parts) or "nothing is deployed; to begin: twinml run",
    )


def _pipeline(info: PipelineInfo, schedules: Sequence[Schedule]) -> str:
    lines = [f"pipeline {info.name}  version {info.version}, {info.state}"]
    lines.append(f"  {'jobs':<12} {info.uri}")
    for each in schedules:
        if each.pipeline == info.name:
            lines.append(f"  {'schedule':<12} {schedule_line(each, stopped=info.state == STOPPED)}")
    if info.state == STOPPED:
        lines.append(f"  {'':<12} the next job brings it back: twinml pipeline run {info.name}")
    return "\n".join(lines)


def _shape(info: EndpointInfo, keys: Keys | None) -> dict[str, Any]:
    return asdict(info) | ({} if keys is None else {"keys": asdict(keys)})


def _text(info: EndpointInfo, keys: Keys | None) -> str:
    lines = [f"{info.name}  {info.state}"]
    if info.problem:
        return f"{lines[0]}\n  {'':<12} {info.problem}"
    for deployment, model in info.deployments.items():
        lines.append(
            f"  {deployment:<12} {model}, {info.traffic.get(deployment, 0)} % of the traffic"
        )
        if deployment in info.mirror:
            lines[-1] += f", mirrors {info.mirror[deployment]} %"
        if deployment in info.notes:
            lines.append(f"  {'':<12} {info.notes[deployment]}")
    if info.state == STOPPED:
        lines.append(f"  {'':<12} bring it back: twinml start --endpoint {info.name}")
    shown = {"scoring": info.scoring_uri, "documents": info.docs_uri}
    if keys is None:
        shown["keys"] = "twinml keys"
    else:
        shown |= {"key": keys.primary, "second key": keys.secondary}
    return "\n".join(lines + [f"  {name:<12} {value}" for name, value in shown.items()])
