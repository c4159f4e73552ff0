"""Pipelines in a workspace: Azure ML's own YAML behind a batch endpoint, over REST.

::

    pipeline.yml ─▶ pipeline component (version = digest of its content)
                       └▶ deployment of a batch endpoint ─▶ POST …/jobs with a token
    schedule     ─▶ a job of that component, by cron or interval

A component's input cannot have a path as its default, so the paths that a pipeline was
published with are kept as a tag of the endpoint and sent with each job that names no other.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from twinml.errors import NotFound, PlatformError, UsageError
from twinml.pipeline import VARIANTS, stage
from twinml.platform import PipelineInfo, PipelineJob, Schedule
from twinml_azure.pipeline_jobs import AzurePipelineClient, component_name, described
from twinml_azure.resources import TAG, Sizes, ensure_cluster, get, is_ours

if TYPE_CHECKING:
    from twinml_azure.connection import Connection

__all__ = ["PipelineComponent", "Pipelines", "component_of", "with_inputs"]

DEPLOYMENT = "current"
LITERALS = {bool: "boolean", int: "integer", float: "number", str: "string"}
COMPONENT_INPUT = ("type", "description", "default", "min", "max", "enum", "optional")
UNITS = {"m": "minute", "h": "hour", "d": "day", "w": "week"}


def component_of(job: Mapping[str, Any], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the pipeline component that a pipeline job file stands for, and its paths.

    Literals become defaults. A path cannot be one, so those are returned by input name.

    Examples
    --------
    >>> component, paths = component_of(
    ...     {"inputs": {"budget": "60s", "data": {"type": "uri_file", "path": "azureml:bank:1"}},
    ...      "jobs": {}}, "training")
    >>> component["inputs"]
    {'budget': {'type': 'string', 'default': '60s'}, 'data': {'type': 'uri_file'}}
    >>> paths
    {'data': 'azureml:bank:1'}
    """
    inputs: dict[str, Any] = {}
    paths: dict[str, str] = {}
    for key, given in (job.get("inputs") or {}).items():
        if isinstance(given, Mapping):
            inputs[key] = {part: value for part, value in given.items() if part in COMPONENT_INPUT}
            if "path" in given:
                paths[key] = str(given["path"])
        else:
            inputs[key] = {"type": LITERALS.get(type(given), "string"), "default": given}
    outputs = {
        key: {"type": (given or {}).get("type", "uri_folder")}
        for key, given in (job.get("outputs") or {}).items()
    }
    return {
        "$schema": "https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json",
        "type": "pipeline",
        "name": name,
        "display_name": str(job.get("display_name") or name),
        **({"description": job["description"]} if job.get("description") else {}),
        "inputs": inputs,
        "outputs": outputs,
        "jobs": job.get("jobs") or {},
    }, paths


@dataclass(frozen=True)
class PipelineComponent:
    """A pipeline as a component file: its version covers all that the file refers to.

    ``paths`` are the inputs that a component cannot have as defaults.
    """

    file: Path
    version: str
    paths: Mapping[str, str]


class Pipelines:
    """The pipelines of one workspace.

    Parameters
    ----------
    platform
        Its name, for the step that deploys.
    """

    def __init__(self, connection: Connection, sizes: Sizes, platform: str) -> None:
        self._connection, self._sizes, self._platform = connection, sizes, platform

    @property
    def _client(self) -> Any:
        return self._connection.client

    # Publishing

    def publish(
        self, name: str, definition: Path, inputs: Mapping[str, Any] | None
    ) -> PipelineInfo:
        """Publish a pipeline job file as a batch endpoint; unchanged keeps its version."""
        from azure.ai.ml import load_component
        from azure.ai.ml.entities import BatchEndpoint, PipelineComponentBatchDeployment

        cluster = ensure_cluster(self._connection, self._sizes)
        with (
            self.component(name, definition, inputs or {}) as made,
            self._connection.errors(f"to publish pipeline '{name}'"),
        ):
            version = made.version
            component = get(self._client.components, component_name(name), version=version)
            if component is None:
                loaded = load_component(str(made.file))
                loaded.tags = {TAG: "pipeline"}
                component = self._client.components.create_or_update(loaded)
            endpoint, wanted = self.endpoint_name(name), json.dumps(made.paths, sort_keys=True)
            found = get(self._client.batch_endpoints, endpoint)
            if found is not None and not is_ours(found):
                raise PlatformError(
                    f"the batch endpoint '{endpoint}' is there, and twinml did not make it"
                )
            tags = {TAG: "pipeline", "pipeline": name, "paths": wanted, "version": version}
            if found is None:
                self._client.batch_endpoints.begin_create_or_update(
                    BatchEndpoint(name=endpoint, tags=tags)
                ).result()
            present = get(self._client.batch_deployments, DEPLOYMENT, endpoint_name=endpoint)
            if present is None or (present.tags or {}).get("version") != version:
                self._client.batch_deployments.begin_create_or_update(
                    PipelineComponentBatchDeployment(
                        name=DEPLOYMENT,
                        endpoint_name=endpoint,
                        component=component,
                        settings=_settings(cluster),
                        tags={TAG: "pipeline", "version": version},
                    )
                ).result()
            current = self._client.batch_endpoints.get(endpoint)
            default = getattr(current.defaults, "deployment_name", None)
            if default != DEPLOYMENT or (current.tags or {}) != tags:
                current.tags = tags
                current.defaults = {"deployment_name": DEPLOYMENT}
                self._client.batch_endpoints.begin_create_or_update(current).result()
                current = self._client.batch_endpoints.get(endpoint)
        return PipelineInfo(name=name, version=version, uri=str(current.scoring_uri))

    @contextmanager
    def component(
        self, name: str, definition: Path, inputs: Mapping[str, Any]
    ) -> Iterator[PipelineComponent]:
        """Give the component of a pipeline job file, in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory() as scratch:
            path = self._staged(definition, Path(scratch) / "pipeline")
            content, paths = component_of(with_inputs(_read(path), inputs), component_name(name))
            version = _digest(path.parent, content)
            file = path.with_name(f".{path.stem}.twinml.component.yml")
            file.write_text(
                yaml.safe_dump({**content, "version": version}, sort_keys=False), encoding="utf-8"
            )
            try:
                yield PipelineComponent(file, version, paths)
            finally:
                # A definition of the user's own lies in their folder.
                file.unlink(missing_ok=True)

    def _staged(self, definition: Path, folder: Path) -> Path:
        """Return the file, with the code of its steps beside it where it is twinml's own."""
        if definition not in VARIANTS.values():
            return definition
        address = self._connection.address
        return stage(
            folder,
            definition=definition,
            packages=("twinml", "twinml_azure"),
            variables={
                "TWINML_PLATFORM": self._platform,
                "AZUREML_ARM_SUBSCRIPTION": address.subscription_id,
                "AZUREML_ARM_RESOURCEGROUP": address.resource_group,
                "AZUREML_ARM_WORKSPACE_NAME": address.workspace_name,
            },
        )

    def endpoint_name(self, pipeline: str) -> str:
        """Return the batch endpoint of a pipeline: such names are shared by a whole region."""
        mark = hashlib.sha256(self._connection.address.resource_id.lower().encode()).hexdigest()
        word = re.sub(r"[^a-z0-9]+", "-", pipeline.lower()).strip("-") or "pipeline"
        return f"p-{word[:22].rstrip('-')}-{mark[:6]}"

    def list(self) -> tuple[PipelineInfo, ...]:
        """Describe all published pipelines, by name."""
        with self._connection.errors("to list pipelines"):
            found = [each for each in self._client.batch_endpoints.list() if is_ours(each)]
        infos = [_info(each) for each in found if "pipeline" in (each.tags or {})]
        return tuple(sorted(infos, key=lambda info: info.name))

    def client(self, name: str) -> AzurePipelineClient:
        """Return a client of a published pipeline; ``NotFound`` if it is not published."""
        with self._connection.errors(f"to look for pipeline '{name}'"):
            found = get(self._client.batch_endpoints, self.endpoint_name(name))
        if found is None:
            raise NotFound(
                f"there is no pipeline '{name}' in the workspace",
                hint="Publish it: twinml pipeline publish --on azure.",
            )
        return AzurePipelineClient(self._connection, name, found)

    # Jobs of a file

    def submit(self, definition: Path, inputs: Mapping[str, Any] | None) -> PipelineJob:
        """Start a job of a file, as ``az ml job create -f`` does."""
        from azure.ai.ml import load_job

        cluster = ensure_cluster(self._connection, self._sizes)
        with (
            tempfile.TemporaryDirectory() as scratch,
            self._connection.errors(f"to start a job of '{definition.name}'"),
        ):
            path = self._staged(definition, Path(scratch) / "pipeline")
            content = with_inputs(_read(path), inputs or {})
            # A job's name is its id in Azure ML: the file's would be taken by the first one.
            content.pop("name", None)
            made = path.with_name(f".{path.stem}.twinml.yml")
            try:
                made.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
                job: Any = load_job(str(made))
            finally:
                made.unlink(missing_ok=True)
            job.settings.default_compute = cluster
            job.tags = {**(job.tags or {}), TAG: "pipeline job"}
            started = self._client.jobs.create_or_update(job)
        return described(started, str(content.get("display_name") or definition.stem))

    # Schedules

    def schedule(self, wanted: Schedule) -> Schedule:
        """Make a schedule, or replace the one of that name."""
        if wanted.on_drift is not None:
            raise UsageError(
                f"schedule '{wanted.name}': on Azure nothing here watches '{wanted.on_drift}'",
                hint="Let a model monitor look, or schedule by --cron or --every.",
            )
        from azure.ai.ml import Input, dsl
        from azure.ai.ml.entities import CronTrigger, JobSchedule, RecurrenceTrigger

        client = self.client(wanted.pipeline)
        cluster = ensure_cluster(self._connection, self._sizes)
        with self._connection.errors(f"to schedule pipeline '{wanted.pipeline}'"):
            component = self._client.components.get(component_name(wanted.pipeline), client.version)
            declared = client.inputs()
            values = {
                key: Input(type=declared[key]["type"], path=value) if key in client.paths else value
                for key, value in {**client.paths, **wanted.inputs}.items()
            }

            @dsl.pipeline(None, name=f"{component.name}_{wanted.name}", default_compute=cluster)
            def scheduled() -> None:
                component(**values)

            trigger: Any
            if wanted.cron is not None:
                trigger = CronTrigger(expression=wanted.cron, time_zone=wanted.timezone)
            else:
                number, unit = _interval(str(wanted.every))
                trigger = RecurrenceTrigger(frequency=unit, interval=number)
            self._client.schedules.begin_create_or_update(
                JobSchedule(
                    name=wanted.name,
                    trigger=trigger,
                    create_job=scheduled(),
                    tags=_schedule_tags(wanted),
                )
            ).result()
        return wanted

    def unschedule(self, name: str) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name."""
        with self._connection.errors(f"to delete schedule '{name}'"):
            found = self._client.schedules.get(name)
            if found.is_enabled:
                self._client.schedules.begin_disable(name).result()
            self._client.schedules.begin_delete(name).result()

    def schedules(self, pipeline: str | None) -> tuple[Schedule, ...]:
        """Describe the schedules that twinml made, by name."""
        with self._connection.errors("to list schedules"):
            found = [each for each in self._client.schedules.list() if is_ours(each)]
        made = [_schedule(each) for each in found]
        return tuple(
            sorted(
                (each for each in made if pipeline in (None, each.pipeline)),
                key=lambda each: each.name,
            )
        )


def _settings(cluster: str) -> dict[str, Any]:
    return {"default_compute": cluster, "continue_on_step_failure": False}


def with_inputs(job: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline job with some of its inputs replaced.

    Raises
    ------
    UsageError
        It has no such input.
    """
    inputs = dict(job.get("inputs") or {})
    for key, value in values.items():
        if key not in inputs:
            raise UsageError(
                f"the pipeline has no input '{key}'", hint=f"It has {', '.join(inputs) or 'none'}."
            )
        old = inputs[key]
        if isinstance(old, Mapping) and not isinstance(value, Mapping):
            value = {**old, "path": str(value)}
        inputs[key] = value
    return {**job, "inputs": inputs}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"'{path}' cannot be read as YAML") from error
    if not isinstance(content, dict) or content.get("type") != "pipeline":
        raise UsageError(f"'{path}' is no pipeline job", hint="Its type must be pipeline.")
    return content


def _digest(folder: Path, content: Mapping[str, Any]) -> str:
    """Return a digest of a definition and the files beside it."""
    whole = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            whole.update(path.relative_to(folder).as_posix().encode())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


def _info(endpoint: Any) -> PipelineInfo:
    tags = endpoint.tags or {}
    return PipelineInfo(
        name=str(tags["pipeline"]), version=str(tags.get("version", "")),
        uri=str(endpoint.scoring_uri),
    )  # fmt: skip


def _interval(every: str) -> tuple[int, str]:
    """Read a number and a unit.

    >>> _interval("30m")
    (30, 'minute')
    """
    match = re.fullmatch(r"(\d+)([mhdw])", every)
    if match is None:
        raise UsageError(f"the interval is '{every}'", hint="Write it like 30m, 6h, 1d or 2w.")
    return int(match[1]), UNITS[match[2]]


def _schedule_tags(wanted: Schedule) -> dict[str, str]:
    return {
        TAG: "schedule",
        "pipeline": wanted.pipeline,
        **({"cron": wanted.cron} if wanted.cron else {"every": str(wanted.every)}),
        "timezone": wanted.timezone,
        "inputs": json.dumps(dict(wanted.inputs), sort_keys=True),
    }


def _schedule(found: Any) -> Schedule:
    tags = found.tags or {}
    return Schedule(
        name=str(found.name),
        pipeline=str(tags.get("pipeline", "")),
        cron=tags.get("cron"),
        every=tags.get("every"),
        timezone=str(tags.get("timezone", "UTC")),
        inputs=json.loads(tags.get("inputs") or "{}"),
        enabled=bool(found.is_enabled),
    )
