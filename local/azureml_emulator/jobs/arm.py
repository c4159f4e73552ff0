"""Jobs over the management plane: accepted, shown, listed, canceled, archived, deleted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER
from azureml_emulator.arm import listing
from azureml_emulator.arm.contract import fitted
from azureml_emulator.arm.defaults import filled_job
from azureml_emulator.arm.envelope import rendered
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.refusals import (
    check_counts,
    check_experiment,
    check_instances,
    check_same_job,
    check_unused,
)
from azureml_emulator.arm.resources import Resource
from azureml_emulator.environments.curated import check_known, curated_name
from azureml_emulator.errors import ArmError, not_found, not_from_registry
from azureml_emulator.jobs._definitions import Definition, read_job
from azureml_emulator.jobs._page import RunPages
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_emulator.jobs.workers import Workers
from azureml_emulator.routing import Call, Route, json_response
from azureml_runner.engine import make_plan
from azureml_runner.errors import RunnerError

__all__ = ["Jobs"]

TYPE = f"{PROVIDER}/workspaces/jobs"
SERVERLESS = "serverless"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_KINDS = {
    "Command": "azureml.commandrun",
    "AutoML": "automl",
    "Pipeline": "azureml.PipelineRun",
    "Sweep": "hyperdrive",
}
# What a job that is there can be told; the rest of a request is what it was told before.
_CHANGEABLE = ("description", "displayName", "isArchived", "tags", "properties")


class Jobs:
    """Serves jobs, and takes them from other parts of the emulator (``submit``)."""

    def __init__(self, management: Management, records: Records, *, lenient: bool = False) -> None:
        self._management, self._records, self.lenient = management, records, lenient
        management.before_delete("computes", self._check_idle)
        self._store, self._runs = management.store, records.runs
        self.workers: Workers | None = None
        self.pages = RunPages(management.account, records)

    def routes(self) -> list[Route]:
        """Return the routes."""
        item = f"{WORKSPACE_PATH}/jobs/{{name}}"
        table = [
            ("GET", f"{WORKSPACE_PATH}/jobs", self._list),
            ("GET", item, self._get),
            ("PUT", item, self._put),
            ("DELETE", item, self._delete),
            ("POST", f"{item}/cancel", self._cancel),
        ]
        rows = [Route(method, ARM_HOST, path, handler) for method, path, handler in table]
        return [*self.pages.routes(), *rows]

    # Submitting

    def submit(
        self, workspace: str, properties: Mapping[str, Any], *, name: str | None = None
    ) -> Resource:
        """Accept a job; it is on disk when this returns, and runs as soon as it can.

        Parameters
        ----------
        workspace
            The workspace's ARM id.
        properties
            As in the body of a request: ``jobType`` and what belongs to it.
        name
            The job's name; by default one is made.

        Raises
        ------
        ArmError
            It is of a kind that is not run here, or names something that is not there.
        """
        name = name or f"job_{uuid.uuid4().hex[:12]}"
        if not _NAME.fullmatch(name):
            raise ArmError(400, "ValidationError", f"'{name}' is not a name for a job.")
        self.check(workspace, properties)
        sent = filled_job(properties, workspace)
        kind = str(sent["jobType"])
        display = str(sent.get("displayName") or name)
        experiment = str(sent.get("experimentName") or "Default")
        details = {
            "properties": _texts(sent.get("properties")),
            "tags": _texts(sent.get("tags")),
            "target": _target(sent),
            "description": sent.get("description"),
        }
        stored = {
            "tags": {},
            "properties": {},
            **sent,
            "displayName": display,
            "experimentName": experiment,
            "isArchived": bool(sent.get("isArchived")),
        }
        # The run first: a run without its resource is what a crash in between leaves, and
        # nobody was told of it.
        self._runs.remove(name)
        run = self._runs.add(
            name,
            workspace=workspace,
            kind=_KINDS[kind],
            experiment=experiment,
            display=display,
            details=details,
        )
        resource, _ = self._store.put(
            f"{workspace}/jobs/{name}", {"type": TYPE, "properties": stored}
        )
        for warning in _warnings(sent):
            self._records.warn(run, warning)
        self._runs.jobs.add(name, {})
        if self.workers is not None:
            self.workers.wake()
        return resource

    def definition(self, run: Run) -> Definition:
        """Return what a job consists of; ``ArmError`` if it cannot be understood any more."""
        resource = self._store.get(f"{run.workspace}/jobs/{run.id}")
        if resource is None:
            raise not_found(run.id)
        return self._definition(run.workspace, resource.properties)

    def specification(self, job: Resource) -> Mapping[str, Any] | None:
        """Return the specification of the component that a job runs, ``None`` if it has none."""
        component = job.properties.get("componentId")
        workspace = job.id.rpartition("/jobs/")[0]
        return self._component(workspace, str(component)) if component else None

    def _definition(self, workspace: str, properties: Mapping[str, Any]) -> Definition:
        try:
            definition = read_job(
                properties, lambda component: self._component(workspace, component)
            )
            # Whatever makes it impossible to run is said now.
            make_plan(definition.graph, definition.values, run="job", strict=False)
        except KeyError as error:
            raise ArmError(400, "ValidationError", f"The job lacks {error}.") from error
        except RunnerError as error:
            raise ArmError(400, "UserError", error.message) from error
        return definition

    def _component(self, workspace: str, component: str) -> Mapping[str, Any]:
        asset = component.removeprefix("azureml:")
        if asset.startswith("//registries/"):
            raise not_from_registry(component)
        if not asset.startswith("/"):
            name, mark, version = re.split(r"([:@])", asset, maxsplit=1)
            below = "labels" if mark == "@" else "versions"
            asset = f"{workspace}/components/{name}/{below}/{version}"
        found = self._records.datastores.asset(asset)
        if found is None:
            raise not_found(asset)
        return dict(found.properties["componentSpec"])

    def check(self, workspace: str, properties: Mapping[str, Any]) -> None:
        """Refuse a job that names what is not there, as the service does before it runs it.

        Raises
        ------
        ArmError
            It would not be taken.
        """
        from azureml_emulator.jobs._automl import check_task

        self._records.tracking.check_installed()
        kind = properties.get("jobType")
        if kind is None:
            raise ArmError(400, "ValidationError", "The JobType field is required.")
        check_counts(properties)
        check_experiment(properties.get("experimentName"))
        self._definition(workspace, properties)
        for compute in _ids(properties, "computes"):
            if compute.rpartition("/")[2].lower() == SERVERLESS:
                continue
            if self._store.get(compute) is None:
                raise ArmError(
                    404,
                    "UserError",
                    f"Compute '{compute.rpartition('/')[2]}' was not found in the workspace.",
                    inner="NotFoundError",
                )
        cluster = self._store.get(str(properties.get("computeId") or ""))
        count = (properties.get("resources") or {}).get("instanceCount")
        check_instances(count, cluster.properties if cluster else None)
        commands = (properties, properties.get("trial") or {})
        for field, command in product(("environmentId", "codeId"), commands):
            self.check_environment(workspace, command.get("environmentId"))
            asset = str(command.get(field) or "").removeprefix("azureml:")
            if asset.startswith("/subscriptions") and self._records.datastores.asset(asset) is None:
                raise not_found(asset)
        if kind == "AutoML":
            check_task(properties["taskDetails"])
        for name, item in (properties.get("inputs") or {}).items():
            uri = str((item or {}).get("uri") or "").removeprefix("azureml:")
            if uri.startswith("//registries/"):
                raise not_from_registry(f"azureml:{uri}")
            if uri.startswith("/subscriptions") and self._records.datastores.asset(uri) is None:
                raise ArmError(
                    404, "UserError", f"Input '{name}' names '{uri}', which is not there."
                )

    def check_environment(self, workspace: str, environment: Any) -> None:
        """Refuse the name of an environment that there is not."""
        if not isinstance(environment, str) or "${{" in environment:
            return
        if not self.lenient:
            check_known(environment)
        named = re.fullmatch(r"azureml:([^:/@]+)([:@])([^:/@]+)", environment)
        if named and curated_name(environment) is None:
            below = "labels" if named[2] == "@" else "versions"
            asset = f"{workspace}/environments/{named[1]}/{below}/{named[3]}"
            if self._records.datastores.asset(asset) is None:
                raise not_found(asset)

    def _check_idle(self, compute: Resource) -> None:
        workspace = compute.id.rpartition("/computes/")[0]
        name = compute.id.lower()
        users = [
            job.name
            for job in self._store.list(f"{workspace}/jobs")
            if name in (each.lower() for each in _ids(job.properties, "computes"))
            and (run := self._runs.get(job.name)) is not None
            and not run.over
        ]
        check_unused(f"Compute '{compute.name}'", users)

    # Showing

    def _put(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        properties = fitted("workspaces/jobs", call.json())["properties"]
        found = self._store.get(f"{workspace}/jobs/{call['name']}")
        if found is None:
            return self._answer(self.submit(workspace, properties, name=call["name"]), 201)
        check_same_job(found.name, found.properties, properties)
        change = {name: properties[name] for name in _CHANGEABLE if name in properties}
        return self._answer(self.change(found, change))

    def change(self, job: Resource, change: Mapping[str, Any]) -> Resource:
        """Change what can be changed of a job that is there."""
        with self._store.transaction():
            changed = {**job.properties, **{k: v for k, v in change.items() if v is not None}}
            stored, _ = self._store.put(job.id, {**job.body, "properties": changed})
        self._runs.change(
            job.name,
            display=change.get("displayName"),
            tags=change.get("tags"),
            properties=change.get("properties"),
            description=change.get("description"),
        )
        return stored

    def _get(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        resource_id = f"{workspace}/jobs/{call['name']}"
        resource = self._store.get(resource_id)
        if resource is not None:
            return self._answer(resource)
        run = self._runs.get(call["name"])
        if run is None or run.workspace.lower() != workspace.lower():
            raise not_found(resource_id)
        # The service keeps no resources of children: clients take this for "ask run history".
        return json_response({"id": resource_id, "name": run.id, "type": TYPE, "properties": None})

    def _list(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        found = self._store.list(f"{workspace}/jobs")
        query = dict(call.query)
        kind, tag = query.pop("jobType", None), query.pop("tag", None)
        schedule = query.pop("scheduleId", None)
        wanted = [
            job
            for job in found
            if (kind is None or job.properties["jobType"].lower() == kind.lower())
            and (tag is None or tag.partition("=")[0] in (job.properties.get("tags") or {}))
            and (
                schedule is None
                or (job.properties.get("properties") or {}).get("azureml.scheduleId") == schedule
            )
        ]
        # Newest first, as the service answers.
        query.setdefault("$orderBy", "createdtime desc")
        page = listing.page(wanted, query)
        tags = self._records.tracking.tags(workspace, [job.name for job in page.items])
        return self._management.paged(
            call, [self._rendered(job, tags.get(job.name, {})) for job in page.items], page
        )

    def _answer(self, resource: Resource, status: int = 200) -> Response:
        workspace = resource.id.rpartition("/jobs/")[0]
        run = self._runs.get(resource.name)
        tags: dict[str, str] = {}
        if run is not None and run.status != "NotStarted":
            tags = self._records.tracking.tags(workspace, [resource.name]).get(resource.name, {})
        return json_response(
            self._rendered(resource, tags), status, headers={"ETag": f'"{resource.etag}"'}
        )

    def _rendered(self, resource: Resource, logged: Mapping[str, str]) -> dict[str, Any]:
        run = self._runs.get(resource.name)
        shown = rendered(resource)
        properties = dict(shown["properties"])
        workspace = resource.id.rpartition("/jobs/")[0]
        account = self._management.account
        properties["services"] = {
            "Tracking": {
                "jobServiceType": "Tracking",
                "endpoint": f"azureml://{account.api_host}/mlflow/v1.0{workspace}?",
            },
            "Studio": {
                "jobServiceType": "Studio",
                "endpoint": self.pages.address(resource.name),
            },
            **(properties.get("services") or {}),
        }
        if run is not None:
            properties["status"] = run.status
            properties["displayName"] = run.display
            properties["tags"] = {**(run.details.get("tags") or {}), **logged}
            properties["properties"] = dict(run.details.get("properties") or {})
            made = run.details.get("outputs") or {}
            outputs = {
                name: {
                    **item,
                    "uri": made[name]["uri"] if name in made else item.get("uri"),
                }
                for name, item in (properties.get("outputs") or {}).items()
                if isinstance(item, Mapping)
            }
            properties["outputs"] = {
                name: {key: value for key, value in item.items() if value is not None}
                for name, item in outputs.items()
            }
        return {**shown, "properties": properties}

    # Ending

    def _cancel(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        run = self._runs.get(call["name"])
        if run is None or run.workspace.lower() != workspace.lower():
            raise not_found(f"{workspace}/jobs/{call['name']}")
        if run.over and run.kind == _KINDS["Pipeline"]:
            raise ArmError(
                400,
                "UserError",
                f"The pipeline run {run.id} is in terminal status, it can't be canceled.",
                inner="BadArgument",
            )
        if run.over:
            return Response(status=200)
        if self.workers is not None:
            self.workers.cancel_run(run)
        root = self._store.get(f"{workspace}/jobs/{run.root}")
        assert root is not None
        return self._management.accepted(call, root, "none", 202)

    def _delete(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        resource = self._store.get(f"{workspace}/jobs/{call['name']}")
        if resource is None:
            return Response(status=204)
        run = self._runs.get(resource.name)
        if run is not None and not run.over:
            raise ArmError(
                409, "Conflict", f"Job '{resource.name}' is {run.status}; cancel it first."
            )
        self._store.delete(resource.id)
        self._runs.remove(resource.name)
        return Response(status=200)


def _texts(items: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (items or {}).items() if value is not None}


def _target(properties: Mapping[str, Any]) -> str:
    """Return the name of the compute of a job."""
    settings = properties.get("settings") or {}
    compute = properties.get("computeId") or settings.get("default_compute") or "serverless"
    return str(compute).rpartition("/")[2]


def _ids(value: Any, segment: str) -> Sequence[str]:
    """Return the ARM ids of a kind that a body holds anywhere."""
    found: list[str] = []
    if isinstance(value, Mapping):
        for item in value.values():
            found += _ids(item, segment)
    elif isinstance(value, str) and re.fullmatch(rf"/subscriptions/.+/{segment}/[^/]+", value):
        found.append(value)
    return found


def _warnings(properties: Mapping[str, Any]) -> list[str]:
    warnings = []
    count = (properties.get("resources") or {}).get("instanceCount") or 1
    distribution = properties.get("distribution") or {}
    processes = distribution.get("processCountPerInstance") or distribution.get("workerCount") or 1
    if int(count) > 1 or int(processes) > 1:
        warnings.append(
            f"{count} nodes with {processes} processes each were asked for: the emulator runs one "
            "process, with RANK 0 of WORLD_SIZE 1."
        )
    return warnings
