"""``twinml pipeline``: publish a pipeline, start jobs over REST and watch them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.errors import PlatformUnavailable, UsageError

if TYPE_CHECKING:
    from twinml.pipeline.client import PipelineClient
    from twinml.pipeline.definition import PipelineDefinition
    from twinml.platform import PipelineJob

__all__ = ["PipelineHost", "command"]

URI_VARIABLE = "TWINML_PIPELINE_URI"
KEY_VARIABLE = "TWINML_PIPELINE_KEY"


@runtime_checkable
class PipelineHost(Protocol):
    """A platform that can hand out a REST client of a pipeline that it publishes."""

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return the client, key included."""
        ...


@click.group("pipeline", help="Publish, run and watch pipelines.")
def command() -> None:
    """Group the pipeline verbs."""


@command.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="Publish under this name instead of the definition's.")
@click.option("--data", type=click.Path(path_type=Path), help="Default data of the training.")
@click.option("--target", help="Default target column of the training.")
@on_option
@json_option
@errors_in_one_line
def publish(
    file: Path | None,
    name: str | None,
    data: Path | None,
    target: str | None,
    platform_name: str,
    as_json: bool,
) -> None:
    """Publish the pipeline defined in FILE (JSON), or without one the training pipeline."""
    from twinml.platform import load

    definition = _definition(file, name, data, target)
    info = load(platform_name).publish_pipeline(definition.name, definition.to_dict())
    emit(info, as_json=as_json, text=f"{info.name} version {info.version}\n{info.uri}")


@command.command()
@click.argument("name", default="training")
@click.option("-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it completed.")
@on_option
@json_option
@errors_in_one_line
def run(name: str, pairs: tuple[str, ...], wait: bool, platform_name: str, as_json: bool) -> None:
    """Start a job of the pipeline NAME."""
    from twinml.platform import load

    job = load(platform_name).run_pipeline(name, _inputs(pairs, name, platform_name))
    if wait:
        with _client(name, platform_name) as client:
            if not as_json:
                console.print(f"job {job.id} of pipeline {name}")
            job = client.wait(job.id)
    emit(job, as_json=as_json, text=_line(job))
    if wait and job.status != "Completed":
        sys.exit(1)


@command.command()
@click.argument("name")
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def status(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """Show the job JOB_ID of the pipeline NAME."""
    from twinml.platform import load

    job = load(platform_name).pipeline_job(name, job_id)
    lines = [_line(job)]
    lines += [f"  {key} = {value}" for key, value in job.outputs.items()]
    emit(job, as_json=as_json, text="\n".join(lines))


@command.command("list")
@click.argument("name")
@click.option("--status", "wanted", help="Only jobs of this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@on_option
@json_option
@errors_in_one_line
def list_jobs(name: str, wanted: str | None, limit: int, platform_name: str, as_json: bool) -> None:
    """List the jobs of the pipeline NAME, newest first."""
    with _client(name, platform_name) as client:
        jobs = client.jobs(status=wanted, limit=limit)
    emit(jobs, as_json=as_json, text="\n".join(map(_line, jobs)) or "no jobs")


@command.command()
@click.argument("name")
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def logs(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """Print what the steps of a job have printed so far."""
    with _client(name, platform_name) as client:
        text = client.logs(job_id)
    emit({"id": job_id, "logs": text}, as_json=as_json, text=text.rstrip("\n"))


@command.command()
@click.argument("name")
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def cancel(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """End the job JOB_ID."""
    with _client(name, platform_name) as client:
        client.cancel(job_id)
        job = client.wait(job_id, timeout=30)
    emit(job, as_json=as_json, text=_line(job))


def _definition(
    file: Path | None, name: str | None, data: Path | None, target: str | None
) -> PipelineDefinition:
    from twinml.pipeline import PipelineDefinition, training_pipeline

    if file is None:
        if data is not None:
            _check_data(data.expanduser(), target)
        return training_pipeline(name or "training", data=data, target=target)
    if data is not None or target is not None:
        raise UsageError(
            "--data and --target belong to the training pipeline",
            hint="Leave them out, or leave out the file.",
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{file}': {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"'{file}' is not JSON: {error}") from error
    return PipelineDefinition.from_dict(content, name=name)


def _check_data(file: Path, target: str | None) -> None:
    """Refuse now what every job would fail at: a file or a target that is not there."""
    from twinml.data import read_rows
    from twinml.data.dataset import check_names

    columns = [str(column) for column in read_rows(file).columns]
    if target is not None:
        check_names(file.name, columns, target)


def _inputs(pairs: tuple[str, ...], pipeline: str, platform_name: str) -> dict[str, Any]:
    """Read NAME=VALUE; the service turns text into the input's type."""
    inputs = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not (name and found):
            raise UsageError(
                f"input '{pair}' is not NAME=VALUE", hint=_example(name, pipeline, platform_name)
            )
        inputs[name] = value
    return inputs


def _example(wanted: str, pipeline: str, platform_name: str) -> str:
    """Return a hint with the input ``wanted`` of a pipeline, or else with its first one."""
    try:
        with _client(pipeline, platform_name) as client:
            inputs = client.definition().inputs
    except PlatformUnavailable:
        return f"Write -i {wanted or 'NAME'}=VALUE."
    if not inputs:
        return f"Leave it out: pipeline '{pipeline}' has no inputs."
    shown = next((item for item in inputs if item.name == wanted), inputs[0])
    value = json.dumps(shown.default) if isinstance(shown.default, bool) else shown.default
    return f"Write -i {shown.name}={shown.type.upper() if value is None else value}."


def _client(name: str, platform_name: str) -> PipelineClient:
    """Return a client of the pipeline that the environment names, else of the platform's."""
    from twinml.pipeline.client import PipelineClient
    from twinml.platform import load

    uri, key = os.environ.get(URI_VARIABLE), os.environ.get(KEY_VARIABLE)
    if uri and key:
        return PipelineClient(uri, key)
    platform = load(platform_name)
    if not isinstance(platform, PipelineHost):
        raise PlatformUnavailable(
            f"platform '{platform_name}' gives no client of pipeline '{name}'",
            hint=f"Set {URI_VARIABLE} and {KEY_VARIABLE}.",
        )
    return platform.pipeline_client(name)


def _line(job: PipelineJob) -> str:
    error = f"  {job.error}" if job.error else ""
    return f"{job.id}  {job.status:<9}  {job.created}{error}"
