"""Batch endpoints: checked on the management plane, invoked over REST, their jobs listed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import PROVIDER, Account
from azureml_emulator.arm.assets import Datastores
from azureml_emulator.arm.envelope import rendered
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Resource
from azureml_emulator.batch._invocation import (
    file_of,
    job_of_component,
    job_of_model,
    read_invocation,
    script_command,
    script_of,
)
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.schedules.arm import SubmitJob

__all__ = ["BatchEndpoints"]

CODE = Path(__file__).with_name("code")
ENDPOINT_PROPERTY, DEPLOYMENT_PROPERTY = "azureml.endpointname", "azureml.deploymentname"


class BatchEndpoints:
    """Turns invocations into jobs.

    Parameters
    ----------
    management
        Where endpoints and deployments are kept.
    datastores
        Where the scoring code is put.
    submit
        Starts a job.
    status
        Returns the status of a job, or ``None``.
    page
        Returns the address of a job's page.
    """

    def __init__(
        self,
        account: Account,
        management: Management,
        datastores: Datastores,
        submit: SubmitJob,
        status: Callable[[str], str | None],
        page: Callable[[str], str],
    ) -> None:
        self._account, self._management, self._datastores, self._submit = (
            account,
            management,
            datastores,
            submit,
        )
        self._status, self._page = status, page
        self._store = management.store
        management.before_write("batchEndpoints", self._check_endpoint)
        management.before_write("batchEndpoints/deployments", self._check_deployment)

    def routes(self) -> list[Route]:
        """Return the routes."""
        host = f"{{endpoint}}.{self._account.location}.inference.ml.azure.com"
        listed = f"/mferp/managementfrontend{WORKSPACE_PATH}/batchEndpoints/{{name}}"
        return [
            Route("POST", host, "/jobs", self._post),
            Route("GET", host, "/jobs", self._get_jobs),
            Route("GET", self._account.api_host, f"{listed}/jobs", self._list),
            Route(
                "GET",
                self._account.api_host,
                f"{listed}/deployments/{{deployment}}/jobs",
                self._list,
            ),
        ]

    # Checks

    def _check_endpoint(self, draft: Draft) -> None:
        defaults = draft.properties.get("defaults") or {}
        name = defaults.get("deploymentName")
        if name and self._store.get(f"{draft.id}/deployments/{name}") is None:
            raise ArmError(
                400, "BadArgument", f"defaults names the deployment '{name}', which is not there."
            )

    def _check_deployment(self, draft: Draft) -> None:
        properties, workspace = draft.properties, _workspace_of(draft.id)
        component = _component_of(properties)
        if component:
            self._spec(component)
        elif not _id_of(properties.get("model")):
            raise ArmError(
                400, "ValidationError", "A batch deployment needs a model or a pipeline component."
            )
        else:
            self._datastores.resolve(_id_of(properties.get("model")), workspace, kind="models")
        compute = str(properties.get("compute") or "")
        if compute.startswith("/") and self._store.get(compute) is None:
            raise not_found(compute)
        action = str(properties.get("outputAction") or "AppendRow")
        if not component and properties.get("codeConfiguration") and not script_of(properties):
            raise ArmError(400, "ValidationError", "The code configuration names no script.")
        if not component and action.lower() not in ("appendrow", "append_row", "summaryonly"):
            raise ArmError(400, "ValidationError", f"'{action}' is not an output action.")

    def _spec(self, component: str) -> Mapping[str, Any]:
        found = self._datastores.asset(component.removeprefix("azureml:"))
        if found is None:
            raise not_found(component)
        return dict(found.properties["componentSpec"])

    # Invoking

    def invoke(
        self,
        endpoint: str,
        properties: Mapping[str, Any],
        *,
        deployment: str | None = None,
        name: str | None = None,
    ) -> Resource:
        """Start the job of an invocation and return it.

        Parameters
        ----------
        endpoint
            The endpoint's ARM id.
        properties
            As in the body of an invocation: ``inputData``, ``outputData``, ``tags``,
            ``properties``.
        deployment
            By default the endpoint's own default.
        name
            The job's name; by default one is made. If it is there, it is not started again.

        Raises
        ------
        ArmError
            There is no such endpoint or deployment, or the inputs do not fit.
        """
        found = self._store.get(endpoint)
        if found is None:
            raise not_found(endpoint)
        chosen = deployment or (found.properties.get("defaults") or {}).get("deploymentName")
        if not chosen:
            raise ArmError(
                400, "BadArgument", f"Batch endpoint '{found.name}' has no default deployment."
            )
        deployed = self._store.get(f"{found.id}/deployments/{chosen}")
        if deployed is None:
            raise not_found(f"{found.id}/deployments/{chosen}")
        workspace = _workspace_of(found.id)
        name = name or f"batchjob-{uuid.uuid4()}"
        earlier = self._store.get(f"{workspace}/jobs/{name}")
        if earlier is not None:
            return earlier
        invocation = read_invocation(properties)
        component = _component_of(deployed.properties)
        if component:
            job = job_of_component(self._spec(component), deployed.properties, invocation)
        else:
            step = self._model_component(deployed, workspace)
            model = _id_of(deployed.properties.get("model"))
            kind = self._model_type(model)
            job = job_of_model(step, model, kind, deployed.properties, invocation)
        job["experimentName"] = invocation.experiment or found.name
        job["properties"] = {ENDPOINT_PROPERTY: found.name, DEPLOYMENT_PROPERTY: deployed.name}
        job["tags"] = {
            **invocation.tags,
            "azureml.batchrun": "true",
            DEPLOYMENT_PROPERTY: deployed.name,
        }
        if component:
            # Else the SDK looks for the outputs where a scoring job would have them.
            job["tags"]["azureml.jobtype"] = "azureml.pipelinejob"
        return self._submit(workspace, job, name=name)

    def _model_component(self, deployment: Resource, workspace: str) -> str:
        """Return the id of the component that scores with a deployment's model; make it once."""
        properties = deployment.properties
        model = _id_of(properties.get("model"))
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{deployment.id} {model} {deployment.etag}"))
        found = self._store.get(f"{workspace}/components/azureml_anonymous/versions/{key}")
        if found is not None:
            return found.id
        environment = _id_of(properties.get("environmentId")) or self._environment(
            model, workspace, key
        )
        spec = {
            "name": "batchscoring",
            "display_name": "batchscoring",
            "type": "command",
            "inputs": {"model": {"type": self._model_type(model)}, "data": {"type": "uri_folder"}},
            "outputs": {"score": {"type": "uri_folder"}},
            "environment": f"azureml:{environment}",
            **self._scoring(model, properties, workspace, key),
        }
        made = self._management.register(
            workspace,
            "components",
            "azureml_anonymous",
            key,
            {"componentSpec": spec, "isAnonymous": True},
        )
        return made.id

    def _scoring(
        self, model: str, properties: Mapping[str, Any], workspace: str, key: str
    ) -> dict[str, Any]:
        """Return command and code: the deployment's own script, else one for MLflow models."""
        if script_of(properties):
            code = str((properties.get("codeConfiguration") or {}).get("codeId") or "")
            name = self._datastores.resolve(model, workspace, kind="models").path.rstrip("/")
            return {
                "command": script_command(properties, name.rpartition("/")[2]),
                "code": f"azureml:{code.removeprefix('azureml:')}",
                "environment_variables": dict(properties.get("environmentVariables") or {}),
            }
        root = self._datastores.datastore(workspace, "workspaceblobstore") / f"batch-code/{key}"
        self._datastores.store(CODE, root, leave=["__pycache__"])
        uri = f"azureml://datastores/workspaceblobstore/paths/batch-code/{key}"
        stored = self._management.register(workspace, "codes", key, "1", {"codeUri": uri})
        return {
            "command": (
                "python score_mlflow.py --model ${{inputs.model}} --data ${{inputs.data}} "
                f"--score ${{{{outputs.score}}}} --file {file_of(properties)} "
                f"--most-errors {int(properties.get('errorThreshold', -1))}"
            ),
            "code": f"azureml:{stored.id}",
        }

    def _model_type(self, model: str) -> str:
        found = self._datastores.asset(model.removeprefix("azureml:"))
        return str((found.properties if found else {}).get("modelType") or "custom_model")

    def _environment(self, model: str, workspace: str, key: str) -> str:
        """Make an environment of what a model asks for, and return its id."""
        place = self._datastores.resolve(model, workspace, kind="models")
        blobs = {str(path): blob for path, blob in self._datastores.blobs_of(place)}
        conda = next((blob for path, blob in blobs.items() if path.endswith("conda.yaml")), None)
        if conda is None:
            raise ArmError(
                400,
                "BadArgument",
                "The model is no MLflow model (it has no conda.yaml): give a code configuration "
                "and an environment.",
            )
        text = b"".join(conda.pieces()).decode()
        made = self._management.register(
            workspace,
            "environments",
            f"batch-{key}",
            "1",
            {"condaFile": text, "image": "mcr.microsoft.com/azureml/mlflow-inference:latest"},
        )
        return made.id

    # Over REST

    def _found(self, call: Call) -> Resource:
        tokens.check(call.headers.get("authorization", ""), audience=None, error=_unauthorised)
        name = call["endpoint"].lower()
        plain = name.replace("-", "").isalnum()
        found = self._store.find(f"*/batchendpoints/{name}") if plain else ()
        if not found:
            raise ArmError(404, "NotFound", f"There is no batch endpoint '{call['endpoint']}'.")
        return found[0]

    def _post(self, call: Call) -> Response:
        endpoint = self._found(call)
        properties = call.json().get("properties") or {}
        if not isinstance(properties, Mapping):
            raise ArmError(400, "BadArgument", "'properties' is not an object.")
        repeated = call.headers.get("repeatability-request-id")
        job = self.invoke(
            endpoint.id,
            properties,
            deployment=call.headers.get("azureml-model-deployment"),
            # A client that lost the answer asks again with the same id: one job, not two.
            name=str(properties.get("name") or "")
            or (f"batchjob-{uuid.uuid5(uuid.NAMESPACE_URL, repeated)}" if repeated else None),
        )
        shown = self._rendered(job, status="Preparing")
        shown["properties"] |= {
            "inputData": properties.get("inputData") or properties.get("InputData") or {},
            "outputData": properties.get("outputData") or {},
        }
        return json_response(shown, 201)

    def _get_jobs(self, call: Call) -> Response:
        endpoint = self._found(call)
        return self._jobs_of(_workspace_of(endpoint.id), endpoint.name, None)

    def _list(self, call: Call) -> Response:
        endpoint = self._management.require(call, "batchEndpoints", call["name"])
        deployment = call.parameters.get("deployment")
        return self._jobs_of(_workspace_of(endpoint.id), endpoint.name, deployment)

    def _jobs_of(self, workspace: str, endpoint: str, deployment: str | None) -> Response:
        jobs = []
        for job in reversed(self._store.list(f"{workspace}/jobs")):
            marks = job.properties.get("properties") or {}
            if marks.get(ENDPOINT_PROPERTY) == endpoint and deployment in (
                None,
                marks.get(DEPLOYMENT_PROPERTY),
            ):
                jobs.append(self._rendered(job))
        return json_response({"value": jobs})

    def _rendered(self, job: Resource, status: str | None = None) -> dict[str, Any]:
        studio = self._page(job.name)
        return {
            **rendered(job),
            "type": f"{PROVIDER}/workspaces/batchEndpoints/jobs",
            "properties": {
                "name": job.name,
                "description": job.properties.get("description") or "",
                "status": status or self._status(job.name) or "NotStarted",
                "provisioningState": "Succeeded",
                "properties": {},
                "tags": {},
                "partitionId": None,
                "interactionEndpoints": {"Studio": {"endpoint": studio, "jobEndpointType": None}},
            },
        }


def _unauthorised(reason: str) -> ArmError:
    return ArmError(401, "Unauthorized", f"Authentication failed: {reason}.")


def _workspace_of(resource_id: str) -> str:
    head, mark, tail = resource_id.partition("/workspaces/")
    return f"{head}{mark}{tail.partition('/')[0]}"


def _id_of(reference: Any) -> str:
    """Return the id in a reference, whichever of its two shapes it has."""
    if isinstance(reference, Mapping):
        return str(reference.get("assetId") or "")
    return str(reference or "")


def _component_of(properties: Mapping[str, Any]) -> str:
    configuration = properties.get("deploymentConfiguration") or {}
    return _id_of(configuration.get("componentId"))
