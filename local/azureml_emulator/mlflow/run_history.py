"""Run history: what clients ask about runs beyond their resources; and the runs' artifacts.

A run is a job, a child of one, or a run that somebody began with MLflow alone. Artifacts are
blobs of the workspace's artifact store, handed out as addresses with a signature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Response

from azureml_emulator.arm.assets import ARTIFACT_STORE, DatastorePath, artifact_prefix
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.resources import timestamp
from azureml_emulator.arm.workspace import DEFAULT_DATASTORE
from azureml_emulator.errors import not_found
from azureml_emulator.identity import tokens
from azureml_emulator.jobs.arm import Jobs
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import Run
from azureml_emulator.mlflow.tracking import unauthorised
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.storage import sas

__all__ = ["History"]

LINK_HOURS = 24
_LOG = re.compile(r"(user_logs|logs|azureml-logs|system_logs)/")
_STATUS = {
    "RUNNING": "Running", "SCHEDULED": "NotStarted", "FINISHED": "Completed",
    "FAILED": "Failed", "KILLED": "Canceled",
}  # fmt: skip

Handler = Callable[[Call, str], Response]


class History:
    """Serves run history of all workspaces."""

    def __init__(self, management: Management, records: Records, jobs: Jobs) -> None:
        self._account, self._management = management.account, management
        self._records, self._jobs, self._runs = records, jobs, records.runs

    def routes(self) -> list[Route]:
        """Return the routes."""
        base = f"/history/v1.0{WORKSPACE_PATH}"
        table: list[tuple[str, str, Handler]] = [("POST", f"{base}/rundata", self._run_data)]
        runs = ("runs", "experiments/{experiment}/runs", "experimentids/{experiment}/runs")
        for place in (f"{base}/{each}/{{run}}" for each in runs):
            table += [
                ("GET", place, self._run),
                ("PATCH", place, self._change),
                ("GET", f"{place}/details", self._details),
                ("GET", f"{place}/children", self._children),
                ("GET", f"{place}/serviceinstances/{{node}}", self._services),
                ("POST", f"{place}/cancel", self._cancel),
                ("GET", f"{place}/artifacts", self._list),
                ("GET", f"{place}/artifacts/path", self._list),
                ("GET", f"{place}/artifacts/contentinfo", self._content),
                ("GET", f"{place}/artifacts/artifacturi", self._address),
                ("GET", f"{place}/artifacts/prefix/contentinfo", self._contents),
                ("POST", f"{place}/artifacts/batch/metadata", self._begin_upload),
            ]
        artifacts = f"/artifact/v2.0{WORKSPACE_PATH}/artifacts/{{origin}}/{{container}}"
        table += [
            ("POST", f"{artifacts}/batch/metadata", self._begin_upload),
            ("GET", artifacts, self._list),
            ("GET", f"{artifacts}/contentinfo", self._content),
            ("POST", f"/data/v1.0{WORKSPACE_PATH}/dataversion/batchGetResolvedUris", self._uris),
        ]
        return [
            Route(method, self._account.api_host, path, self._signed_in(handler))
            for method, path, handler in table
        ]

    def _signed_in(self, handler: Handler) -> Callable[[Call], Response]:
        def checked(call: Call) -> Response:
            tokens.check(call.headers.get("authorization", ""), audience=None, error=unauthorised)
            return handler(call, self._management.require_workspace(call).id)

        return checked

    # Runs

    def _run(self, call: Call, workspace: str) -> Response:
        return json_response(self._shown(call["run"], workspace))

    def _run_data(self, call: Call, workspace: str) -> Response:
        return json_response({"runMetadata": self._shown(str(call.json().get("runId")), workspace)})

    def _children(self, call: Call, workspace: str) -> Response:
        self._shown(call["run"], workspace)
        children = [self._dto(child) for child in self._runs.children(call["run"])]
        return json_response({"value": children, "continuationToken": None, "nextLink": None})

    def _services(self, call: Call, workspace: str) -> Response:
        self._shown(call["run"], workspace)
        return json_response({"instances": {}})

    def _details(self, call: Call, workspace: str) -> Response:
        shown = self._shown(call["run"], workspace)
        place = self._artifacts(call["run"], workspace)
        logs = {
            str(path): self._link(DatastorePath(place.container, blob.name), "r")
            for path, blob in self._records.datastores.blobs_of(place)
            if _LOG.match(str(path))
        }
        names = ("runId", "runUuid", "parentRunUuid", "rootRunUuid", "status", "startTimeUtc")
        more = ("endTimeUtc", "error", "warnings", "tags", "properties")
        return json_response(
            {
                **{name: shown.get(name) for name in (*names, *more)},
                "target": (shown.get("compute") or {}).get("target"),
                "inputDatasets": [],
                "outputDatasets": [],
                "runDefinition": {},
                "logFiles": logs,
                "submittedBy": "emulator",
            }
        )

    def _change(self, call: Call, workspace: str) -> Response:
        body = call.json()
        run = self._known(call["run"], workspace)
        if run is None:
            raise not_found(call["run"])
        job = self._management.store.get(f"{workspace}/jobs/{run.id}")
        change = {
            "displayName": body.get("displayName"),
            "description": body.get("description"),
            "tags": body.get("tags"),
            "properties": body.get("properties"),
            "isArchived": body.get("hidden"),
        }
        if job is not None:
            merged = {
                name: {**(job.properties.get(name) or {}), **value}
                for name in ("tags", "properties")
                if isinstance(value := change[name], Mapping)
            }
            self._jobs.change(job, {**change, **merged})
        else:
            self._runs.change(
                run.id,
                display=body.get("displayName"),
                description=body.get("description"),
                tags=body.get("tags"),
                properties=body.get("properties"),
            )
        if body.get("tags"):
            self._records.begin(run)
            self._records.tracking.log(workspace, run.id, tags=body["tags"])
        return json_response(self._shown(run.id, workspace))

    def _cancel(self, call: Call, workspace: str) -> Response:
        run = self._known(call["run"], workspace)
        if run is None:
            raise not_found(call["run"])
        if not run.over and self._jobs.workers is not None:
            self._jobs.workers.cancel_run(run)
        return json_response(self._shown(run.id, workspace))

    def _known(self, run: str, workspace: str) -> Run | None:
        found = self._runs.get(run)
        return found if found and found.workspace.lower() == workspace.lower() else None

    def _shown(self, run: str, workspace: str) -> dict[str, Any]:
        found = self._known(run, workspace)
        if found is not None:
            return self._dto(found)
        logged = self._records.tracking.find(workspace, run)
        if logged is None:
            raise not_found(run)
        return self._logged_dto(logged, workspace)

    def _dto(self, run: Run) -> dict[str, Any]:
        details = run.details
        tags = dict(details.get("tags") or {})
        experiment_id = "0"
        if run.status != "NotStarted":
            tags |= self._records.tracking.tags(run.workspace, [run.id]).get(run.id, {})
            experiment_id = self._records.tracking.experiment_id(run.workspace, run.experiment)
        outputs = {
            name: {"assetId": item["asset"], "type": item["type"]}
            for name, item in (details.get("outputs") or {}).items()
        }
        job = self._management.store.get(f"{run.workspace}/jobs/{run.id}")
        return {
            "runId": run.id,
            "runUuid": run.id,
            "rootRunId": run.root,
            "rootRunUuid": run.root,
            "parentRunId": run.parent,
            "parentRunUuid": run.parent,
            "experimentId": experiment_id,
            "runNumber": run.number,
            "status": run.status,
            "createdUtc": run.created,
            "startTimeUtc": run.started,
            "endTimeUtc": run.ended,
            "lastModifiedUtc": run.ended or run.started or run.created,
            "displayName": run.display,
            "description": details.get("description"),
            "runType": run.kind,
            "properties": details.get("properties") or {},
            "tags": tags,
            "hidden": bool(job and job.archived),
            "createdBy": {"userName": "emulator"},
            "lastModifiedBy": {"userName": "emulator"},
            "compute": {"target": details.get("target") or "serverless"},
            "inputs": {},
            "outputs": outputs,
            "error": details.get("error"),
            "warnings": [
                {"source": "emulator", "message": text} for text in details.get("warnings") or []
            ],
        }

    def _logged_dto(self, logged: Any, workspace: str) -> dict[str, Any]:
        info = logged.info
        parent = logged.data.tags.get("mlflow.parentRunId")
        ended = None if info.end_time is None else timestamp(info.end_time / 1000)
        started = timestamp(info.start_time / 1000)
        shown = {name: value for name, value in logged.data.tags.items() if "mlflow." not in name}
        return {
            "runId": info.run_id,
            "runUuid": info.run_id,
            "rootRunId": parent or info.run_id,
            "parentRunId": parent,
            "experimentId": info.experiment_id,
            "status": _STATUS.get(info.status, "Running"),
            "createdUtc": started,
            "startTimeUtc": started,
            "endTimeUtc": ended,
            "displayName": info.run_name,
            "runType": None,
            "properties": {},
            "tags": shown,
            "hidden": info.lifecycle_stage == "deleted",
            "createdBy": {"userName": info.user_id},
            "inputs": {},
            "outputs": {},
        }

    def _uris(self, call: Call, workspace: str) -> Response:
        """Resolve ids of assets that ``rundata`` gave as outputs."""
        values = {}
        for asset_id in call.json().get("values") or []:
            match = re.search(r"/data/azureml_(.+)_output_data_(.+)/versions/1$", asset_id)
            uri = self.output_uri(match[1], match[2]) if match else None
            kind = "uri_folder"
            if uri is None:
                name, _, version = asset_id.partition("/data/")[2].partition("/versions/")
                found = self._management.store.get(f"{workspace}/data/{name}/versions/{version}")
                if found is None:
                    raise not_found(asset_id)
                uri, kind = found.properties["dataUri"], found.properties["dataType"]
            values[asset_id] = {"uri": uri, "type": kind}
        return json_response({"values": values})

    def output_uri(self, run: str, name: str) -> str | None:
        """Return the address of a run's named output."""
        found = self._runs.get(run)
        output = ((found.details.get("outputs") if found else None) or {}).get(name)
        return None if output is None else str(output["uri"])

    # Artifacts

    def _artifacts(self, run: str, workspace: str) -> DatastorePath:
        return self._records.datastores.datastore(workspace, ARTIFACT_STORE) / artifact_prefix(run)

    def _root(self, call: Call, workspace: str) -> tuple[DatastorePath, str, str]:
        """Return where the artifacts of a request are, their origin and their container."""
        if "run" in call.parameters:
            if not self._records.tracking.has_model(workspace, call["run"]):
                self._shown(call["run"], workspace)
            return self._artifacts(call["run"], workspace), "ExperimentRun", f"dcid.{call['run']}"
        origin, container = call["origin"], call["container"]
        places = self._records.datastores
        root = places.datastore(workspace, ARTIFACT_STORE) / f"{origin}/{container}"
        if not places.blobs_of(root):
            # What ``azure-ai-ml`` uploads, and what jobs write, is in the other store.
            root = places.datastore(workspace, DEFAULT_DATASTORE) / f"{origin}/{container}"
        return root, origin, container

    def _link(self, place: DatastorePath, permissions: str) -> str:
        token = sas.container_token(
            self._account.storage_account,
            self._account.storage_key,
            place.container,
            lifetime=timedelta(hours=LINK_HOURS),
            permissions=permissions,
        )
        return f"https://{self._account.blob_host}/{place.container}/{quote(place.path)}?{token}"

    def _list(self, call: Call, workspace: str) -> Response:
        root, origin, container = self._root(call, workspace)
        value = [
            {
                "artifactId": f"{origin}/{container}/{path}",
                "origin": origin,
                "container": container,
                "path": str(path),
                "createdTime": timestamp(blob.created),
            }
            for path, blob in self._records.datastores.blobs_of(root)
            if str(path).startswith(call.query.get("path", ""))
        ]
        return json_response({"value": value, "continuationToken": None, "nextLink": None})

    def _described(
        self, root: DatastorePath, origin: str, container: str, path: str, permissions: str
    ) -> dict[str, Any]:
        return {
            "origin": origin,
            "container": container,
            "path": path,
            "contentUri": self._link(root / path, permissions),
        }

    def _content(self, call: Call, workspace: str) -> Response:
        root, origin, container = self._root(call, workspace)
        path = call.query.get("path", "")
        place = root / path
        if not path or self._records.datastores.blobs.get(place.container, place.path) is None:
            raise not_found(f"{container}/{path}")
        return json_response(self._described(root, origin, container, path, "r"))

    def _address(self, call: Call, workspace: str) -> Response:
        root, *_ = self._root(call, workspace)
        return json_response(self._link(root / call.query.get("path", ""), "r"))

    def _contents(self, call: Call, workspace: str) -> Response:
        root, origin, container = self._root(call, workspace)
        prefix = call.query.get("path", "")
        value = [
            self._described(root, origin, container, str(path), "r")
            for path, _ in self._records.datastores.blobs_of(root)
            if str(path).startswith(prefix)
        ]
        return json_response({"value": value, "continuationToken": None, "nextLink": None})

    def _begin_upload(self, call: Call, workspace: str) -> Response:
        root, origin, container = self._root(call, workspace)
        paths = [str(item["path"]) for item in call.json().get("paths") or []]
        return json_response(
            {
                "artifacts": {
                    path: {
                        "artifactId": f"{origin}/{container}/{path}",
                        "origin": origin,
                        "container": container,
                        "path": path,
                    }
                    for path in paths
                },
                "artifactContentInformation": {
                    path: self._described(root, origin, container, path, "rcw") for path in paths
                },
                "errors": {},
            }
        )
