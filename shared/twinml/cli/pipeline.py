"""``twinml pipeline``: publish a pipeline, start jobs over REST, watch and schedule them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import on_option
from twinml.cli._output import (
    console,
    emit,
    errors_in_one_line,
    json_option,
    keeps,
    schedule_line,
)
from twinml.cli._types import ENDPOINT, PIPELINE, TIME
from twinml.errors import PlatformUnavailable, UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from twinml.platform import PipelineClient, PipelineJob

__all__ = ["command"]

URI_VARIABLE = "TWINML_PIPELINE_URI"
KEY_VARIABLE = "TWINML_PIPELINE_KEY"

input_option = click.option(
    "-i", "--input", "pairs", multiple=True, metavar="NAME=VALUE", help="An input."
)
file_argument = click.Path(path_type=Path)
variant_option = click.option(
    "--variant",
    type=click.Choice(["twinml", "automl"]),
    help="Who searches in the training pipeline: twinml's own step, or Azure's automl node "
    "[default: twinml].",
)


@click.group("pipeline", help="Publish, run, watch and schedule pipelines.")
def command() -> None:
    """Group the pipeline verbs."""


@command.command()
@click.argument("file", required=False, type=file_argument)
@click.option(
    "--name", help="Publish under this name [default: the file's, or training, training-automl]."
)
@variant_option
@click.option("--data", metavar="FILE", help="Data of the training pipeline, path or azureml:…")
@click.option("--target", help="Target column of the training pipeline.")
@input_option
@on_option
@json_option
@errors_in_one_line
def publish(
    file: Path | None,
    name: str | None,
    variant: str | None,
    data: str | None,
    target: str | None,
    pairs: tuple[str, ...],
    platform_name: str,
    as_json: bool,
) -> None:
    """Publish FILE, an Azure ML pipeline job in YAML, or without one the training pipeline.

    Inputs replace values in the file, for all jobs that do not give their own.
    """
    from twinml.pipeline.naming import name_of_file
    from twinml.platform import load

    inputs = _inputs(pairs)
    if file is None:
        from twinml.pipeline import VARIANTS

        file = VARIANTS[variant or "twinml"]
        name = name or ("training-automl" if variant == "automl" else "training")
        inputs |= _training_inputs(data, target)
    elif (data, target, variant) != (None, None, None):
        raise UsageError(
            "--data, --target and --variant belong to the training pipeline",
            hint="Leave them out, or leave out the file.",
        )
    info = load(platform_name).publish_pipeline(name or name_of_file(file), file, inputs=inputs)
    emit(info, as_json=as_json, text=f"{info.name} version {info.version}\n{info.uri}")


@command.command()
@click.argument("name", default="training", type=PIPELINE)
@input_option
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it completed.")
@on_option
@json_option
@errors_in_one_line
def run(name: str, pairs: tuple[str, ...], wait: bool, platform_name: str, as_json: bool) -> None:
    """Start a job of the published pipeline NAME, or of a YAML file."""
    from twinml.platform import load

    platform = load(platform_name)
    inputs = _inputs(pairs)
    if name.endswith((".yml", ".yaml")):
        job = platform.submit_pipeline(Path(name), inputs)
    else:
        job = platform.run_pipeline(name, inputs)
    if wait:
        console().print(f"job {job.id} of pipeline {job.pipeline}")
        on = "" if platform_name == "local" else f" --on {platform_name}"
        words = f"{job.pipeline} {job.id}{on}"
        keeps(
            f"The job goes on. Look at it: twinml pipeline status {words}. "
            f"End it: twinml pipeline cancel {words}."
        )
        client = _client(job.pipeline, platform_name)
        try:
            job = _watch(client, job.id)
        finally:
            client.close()
    emit(job, as_json=as_json, text=_text(job) if wait else _line(job))
    if wait and job.status != "Completed":
        sys.exit(1)


@command.command()
@click.argument("name", type=PIPELINE)
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def status(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """Show the job JOB_ID of the pipeline NAME and its steps."""
    client = _client(name, platform_name)
    try:
        job = client.job(job_id)
    finally:
        client.close()
    emit(job, as_json=as_json, text=_text(job))


@command.command("list")
@click.argument("name", required=False, type=PIPELINE)
@click.option("--status", "wanted", help="Only jobs of this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@on_option
@json_option
@errors_in_one_line
def list_jobs(
    name: str | None, wanted: str | None, limit: int, platform_name: str, as_json: bool
) -> None:
    """List the jobs of the pipeline NAME, newest first, or without one all pipelines."""
    if name is None:
        from twinml.platform import load

        found = load(platform_name).pipelines()
        lines = [f"{one.name}  version {one.version}  {one.uri}" for one in found]
        emit(found, as_json=as_json, text="\n".join(lines) or "no pipelines")
        return
    client = _client(name, platform_name)
    try:
        jobs = client.jobs(status=wanted, limit=limit)
    finally:
        client.close()
    emit(jobs, as_json=as_json, text="\n".join(map(_line, jobs)) or "no jobs")


@command.command()
@click.argument("name", type=PIPELINE)
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def logs(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """Print what the steps of a job have printed so far."""
    client = _client(name, platform_name)
    try:
        text = client.logs(job_id)
    finally:
        client.close()
    emit({"id": job_id, "logs": text}, as_json=as_json, text=text.rstrip("\n"))


@command.command()
@click.argument("name", type=PIPELINE)
@click.argument("job_id")
@on_option
@json_option
@errors_in_one_line
def cancel(name: str, job_id: str, platform_name: str, as_json: bool) -> None:
    """End the job JOB_ID."""
    client = _client(name, platform_name)
    try:
        client.cancel(job_id)
        job = client.wait(job_id, timeout=60)
    finally:
        client.close()
    emit(job, as_json=as_json, text=_line(job))


@command.command()
@click.argument("name", type=PIPELINE)
@click.argument("job_id")
@click.argument("output")
@click.option("--to", "folder", type=file_argument, default=Path(), help="Into this folder.")
@on_option
@json_option
@errors_in_one_line
def download(
    name: str, job_id: str, output: str, folder: Path, platform_name: str, as_json: bool
) -> None:
    """Fetch the output OUTPUT of a completed job."""
    client = _client(name, platform_name)
    try:
        path = client.download(job_id, output, folder)
    finally:
        client.close()
    emit({"path": path}, as_json=as_json, text=str(path))


@command.command()
@click.argument("name", type=PIPELINE)
@click.option("--cron", metavar='"M H D M W"', help='When, such as "0 6 * * 1": Mondays at six.')
@click.option("--every", metavar="TIME", help="How often, such as 30m, 6h, 1d or 1w.")
@click.option(
    "--on-drift",
    type=ENDPOINT,
    metavar="ENDPOINT",
    help="Look at this endpoint's traffic then, and start only if it drifted [every 1h].",
)
@click.option(
    "--cooldown", metavar="TIME", help="After a job, look no more for so long [default: 1d]."
)
@click.option("--timezone", default="UTC", show_default=True, help="Of the cron expression.")
@click.option("--as", "title", help="Name of the schedule [default: the pipeline's].")
@input_option
@click.option("--disable", is_flag=True, help="Keep it, but let it start nothing.")
@on_option
@json_option
@errors_in_one_line
def schedule(
    name: str,
    cron: str | None,
    every: str | None,
    on_drift: str | None,
    cooldown: str | None,
    timezone: str,
    title: str | None,
    pairs: tuple[str, ...],
    disable: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Start the pipeline NAME by itself, by cron or by interval, or when the traffic drifts.

    For example: twinml pipeline schedule training --on-drift bank-full -i endpoint=bank-full
    """
    from twinml.platform import Schedule, load

    if on_drift is not None and cron is None:
        every = every or "1h"
    if (cron is None) == (every is None):
        raise UsageError("a schedule needs one of --cron and --every", hint="Try --every 1d.")
    wanted = Schedule(
        name=title or name,
        pipeline=name,
        cron=cron,
        every=every,
        timezone=timezone,
        inputs=_inputs(pairs),
        enabled=not disable,
        on_drift=on_drift,
        cooldown=cooldown,
    )
    made = load(platform_name).schedule_pipeline(wanted)
    emit(made, as_json=as_json, text=schedule_line(made))


@command.command()
@click.argument("name", required=False, type=PIPELINE)
@on_option
@json_option
@errors_in_one_line
def schedules(name: str | None, platform_name: str, as_json: bool) -> None:
    """List the schedules of the pipeline NAME, or all."""
    from twinml.platform import load

    found = load(platform_name).schedules(name)
    text = "\n".join(map(schedule_line, found)) or "no schedules"
    emit(found, as_json=as_json, text=text)


@command.command()
@click.argument("name")
@on_option
@json_option
@errors_in_one_line
def unschedule(name: str, platform_name: str, as_json: bool) -> None:
    """Delete the schedule NAME."""
    from twinml.platform import load

    load(platform_name).unschedule_pipeline(name)
    emit({"deleted": name}, as_json=as_json, text=f"schedule {name} is deleted")


@command.command()
@click.argument("name", required=False, type=PIPELINE)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="The newest ended jobs of each pipeline stay.",
)
@click.option(
    "--older-than",
    type=TIME,
    metavar="TIME",
    help="Leave what ended more recently: 12h, 30d.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@on_option
@json_option
@errors_in_one_line
def clean(
    name: str | None,
    keep: int,
    older_than: timedelta | None,
    dry_run: bool,
    platform_name: str,
    as_json: bool,
) -> None:
    """Delete the files of ended jobs of the pipeline NAME, or of all.

    A job that runs or waits stays, and so does one whose results a job that stays has reused.
    Records of jobs, their runs in MLflow and registered models stay in any case.
    """
    from twinml.pipeline.retention import KeepsJobs
    from twinml.platform import load
    from twinml.platform.abilities import able

    platform = able(
        load(platform_name),
        KeepsJobs,  # type: ignore[type-abstract]
        "clean: its jobs leave no files here",
        "Leave out --on.",
    )
    found = platform.clean_pipelines(name, keep=keep, older_than=older_than, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    text = (
        f"{verb} the files of {len(found.jobs)} jobs, {found.n_bytes / 1e6:,.1f} MB, "
        f"and {found.results} results for reuse"
    )
    if found.referenced:
        text += f"; {len(found.referenced)} stay because a later job reused them"
    emit(found, as_json=as_json, text=text)


@command.command()
@click.argument("folder", type=file_argument)
@variant_option
@json_option
@errors_in_one_line
def stage(folder: Path, variant: str | None, as_json: bool) -> None:
    """Write the training pipeline and its code into FOLDER, for ``az ml job create -f``."""
    from twinml.pipeline import VARIANTS
    from twinml.pipeline import stage as write

    path = write(folder, definition=VARIANTS[variant or "twinml"])
    emit({"path": path}, as_json=as_json, text=str(path))


def _training_inputs(data: str | None, target: str | None) -> dict[str, Any]:
    """Return these inputs of the training pipeline, checked where they can be."""
    inputs: dict[str, Any] = {}
    if data is not None:
        if not data.startswith("azureml:"):
            _check_data(Path(data).expanduser(), target)
            data = str(Path(data).expanduser().resolve())
        inputs["data"] = data
    if target is not None:
        inputs["target"] = target
    return inputs


def _check_data(file: Path, target: str | None) -> None:
    """Refuse now what every job would fail at: a file or a target that is not there."""
    from twinml.data import read_rows
    from twinml.data.dataset import check_names

    columns = [str(column) for column in read_rows(file).columns]
    if target is not None:
        check_names(file.name, columns, target)


def _inputs(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE; the platform turns text into the input's type."""
    inputs = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not (name and found):
            raise UsageError(
                f"input '{pair}' is not NAME=VALUE", hint=f"Write -i {name or 'NAME'}=VALUE."
            )
        # A path is meant from where the command is typed.
        looks_like_path = value.startswith(("./", "../", "~/"))
        inputs[name] = str(Path(value).expanduser().resolve()) if looks_like_path else value
    return inputs


def _client(name: str, platform_name: str) -> PipelineClient:
    """Return a client of the pipeline that the environment names, else of the platform's."""
    from twinml.pipeline.client import RestPipelineClient
    from twinml.platform import load

    uri, key = os.environ.get(URI_VARIABLE), os.environ.get(KEY_VARIABLE)
    if uri and key:
        return RestPipelineClient(uri, key)
    if uri or key:
        raise PlatformUnavailable(
            f"only one of {URI_VARIABLE} and {KEY_VARIABLE} is set", hint="Set both, or neither."
        )
    return load(platform_name).pipeline_client(name)


def _watch(client: PipelineClient, job_id: str) -> PipelineJob:
    """Follow a job to its end and say on stderr what its steps do; Ctrl-C leaves it running."""
    from twinml.pipeline.client import follow

    told: dict[str, str] = {}
    for job in follow(client, job_id):
        for step in job.steps:
            state = f"{step['status']}{', reused' if step.get('reused') else ''}"
            if state != told.get(step["name"], "NotStarted"):
                told[step["name"]] = state
                console().print(f"  {step['name']}: {state}")
    return job


def _line(job: PipelineJob) -> str:
    error = f"  {job.error}" if job.error else ""
    return f"{job.id}  {job.status:<9}  {job.created}{error}"


def _text(job: PipelineJob) -> str:
    lines = [_line(job)]
    for step in job.steps:
        reused = " (reused)" if step.get("reused") else ""
        lines.append(f"  {step['name']:<20} {step['status']}{reused}")
    for key, value in job.outputs.items():
        shown = value.get("path") if isinstance(value, dict) else json.dumps(value)
        lines.append(f"  {key} = {shown}")
    return "\n".join(lines)
