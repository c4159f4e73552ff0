"""Online deployments on the management plane, and their endpoints' scoring addresses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, Account
from azureml_emulator.arm.assets import Datastores
from azureml_emulator.arm.durations import seconds
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.refusals import check_machine
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Operation, Resource
from azureml_emulator.environments.curated import check_known
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.faults.plan import FaultPlan
from azureml_emulator.identity import tokens
from azureml_emulator.inference._collector import DataCollector
from azureml_emulator.inference._fleet import DeploymentFailed, Fleet
from azureml_emulator.inference._front import (
    Answer,
    Deployment,
    Endpoint,
    Front,
    FrontRefusal,
    Question,
)
from azureml_emulator.inference._image import Order
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["KIND", "OnlineDeployments"]

KIND = "onlineEndpoints/deployments"
MOST_WORKERS = 8
TAIL = 100
_AAD_AUDIENCE = "https://ml.azure.com"

_log = logging.getLogger("azureml_emulator.inference.arm")


class OnlineDeployments:
    """Makes deployments run, and scores with them.

    Parameters
    ----------
    management
        Where endpoints and deployments are kept.
    datastores
        Where models and code are found.
    fleet
        Runs them.
    faults
        May say that an environment cannot be built.
    """

    def __init__(
        self,
        account: Account,
        management: Management,
        datastores: Datastores,
        fleet: Fleet,
        faults: FaultPlan,
    ) -> None:
        self._faults = faults
        self._account, self._management, self._datastores, self._fleet = (
            account,
            management,
            datastores,
            fleet,
        )
        self._front = Front(fleet)
        self._collector = DataCollector(datastores)
        management.before_write(KIND, self._check)
        management.before_delete(KIND, self._check_idle_of_traffic)
        management.do_work(KIND, self._work)
        management.after_delete(KIND, self._ended)
        management.after_delete("onlineEndpoints", self._ended)

    def routes(self) -> list[Route]:
        """Return the routes beyond create, read, update and delete."""
        deployment = f"{WORKSPACE_PATH}/onlineEndpoints/{{parent}}/deployments/{{name}}"
        host = f"{{endpoint}}.{self._account.location}.inference.ml.azure.com"
        scoring = [Route(method, host, "/score", self._score) for method in ("GET", "POST")]
        return [
            *self._collector.routes(),
            Route("POST", ARM_HOST, f"{deployment}/getLogs", self._get_logs),
            Route("GET", ARM_HOST, f"{deployment}/skus", self._skus),
            *scoring,
            Route("OPTIONS", host, "/score", self._score),
            Route("GET", host, "/swagger.json", self._score),
        ]

    def recover(self, port: int) -> None:
        """Start again what was running, or being made, when the last process ended.

        ``port`` is where servers find the emulator.
        """
        self._collector.port = port
        store = self._management.store
        open_operations = {item.resource.lower(): item for item in store.open_operations()}
        for resource in store.find("*/onlineendpoints/*/deployments/*"):
            operation = open_operations.get(resource.id.lower())
            if operation is not None and operation.effect == "work":
                self._begin(partial(self._work, resource, operation))
            elif resource.properties.get("provisioningState") == "Succeeded":
                self._begin(partial(self._bring_back, resource))

    def close(self) -> None:
        """End all servers."""
        self._front.close()
        self._fleet.close()
        self._collector.close()

    @staticmethod
    def _begin(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    # Checks

    def _check(self, draft: Draft) -> None:
        """Refuse what cannot become a deployment before anything is stored."""
        properties = draft.properties
        workspace = _workspace_of(draft.id)
        if not properties.get("instanceType") and properties["endpointComputeType"] == "Managed":
            raise ArmError(400, "ValidationError", "The InstanceType field is required.")
        if properties["endpointComputeType"] == "Managed":
            check_machine(properties["instanceType"])
        capacity = (draft.body.get("sku") or {}).get("capacity", 1)
        if not isinstance(capacity, int) or capacity < 1:
            raise ArmError(400, "ValidationError", f"sku.capacity is {capacity!r}, not 1 or more.")
        if properties.get("model"):
            self._datastores.resolve(str(properties["model"]), workspace, kind="models")
        code = properties.get("codeConfiguration") or {}
        if code and not code.get("scoringScript"):
            raise ArmError(400, "ValidationError", "The ScoringScript field is required.")
        if code.get("codeId"):
            self._datastores.resolve(str(code["codeId"]), workspace)
        if properties.get("environmentId"):
            self._environment(properties["environmentId"])
        elif code:
            raise ArmError(
                400, "BadArgument", "A deployment with code of its own needs an environment."
            )

    def _check_idle_of_traffic(self, resource: Resource) -> None:
        endpoint = self._management.store.get(_endpoint_of(resource.id))
        share = (endpoint.properties.get("traffic") or {}).get(resource.name) if endpoint else 0
        if share:
            raise ArmError(
                400,
                "BadArgument",
                f"Deployment '{resource.name}' still gets {share} % of the traffic of its "
                "endpoint: set that to 0 before it is deleted.",
            )

    def _environment(self, environment: str) -> Mapping[str, Any]:
        if "/registries/" in environment:
            check_known(environment)
            return {}  # one of Azure's own images: what it holds is not known here
        found = self._datastores.asset(environment.removeprefix("azureml:"))
        if found is None:
            raise not_found(environment)
        return found.properties

    # Work

    def _work(self, resource: Resource, operation: Operation) -> None:
        """Start one deployment, and finish its operation with the result."""
        error = None
        try:
            self._rehearse_failure(resource)
            self._fleet.deploy(resource.id, partial(self._fetch, resource))
        except DeploymentFailed as failure:
            error = {"code": failure.code, "message": failure.message}
        except ArmError as failure:
            error = {"code": failure.code, "message": failure.message}
        except Exception:
            _log.exception("failed: deployment %s", resource.name)
            error = {"code": "InternalServerError", "message": "The emulator's log says why."}
        self._management.store.finish(operation.id, error)
        self._stop_if_gone(resource)

    def _stop_if_gone(self, resource: Resource) -> None:
        """End a deployment that was deleted, itself or with its endpoint, while it was made."""
        above = (resource.id, _endpoint_of(resource.id))
        found = [self._management.store.get(each) for each in above]
        if any(item is None or _is_going(item) for item in found):
            self._fleet.stop(resource.id)

    def _rehearse_failure(self, resource: Resource) -> None:
        rule = self._faults.build_fails(ARM_HOST, resource.id)
        if rule is not None:
            raise DeploymentFailed(
                "ImageBuildFailure", f"The environment could not be built. Injected fault: {rule}"
            )

    def _bring_back(self, resource: Resource) -> None:
        try:
            self._fleet.deploy(resource.id, partial(self._fetch, resource))
        except (DeploymentFailed, ArmError) as failure:
            _log.warning("deployment %s does not come back: %s", resource.name, failure)
        self._stop_if_gone(resource)

    def _fetch(self, resource: Resource, folder: Path, log: Callable[[str], None]) -> Order:
        """Download model and code, as Azure's storage initializer does."""
        # As it is now: it may have been changed since this was asked for.
        resource = self._management.store.get(resource.id) or resource
        properties, workspace = resource.properties, _workspace_of(resource.id)
        model, name, version = None, "", ""
        if properties.get("model"):
            reference = str(properties["model"])
            place = self._datastores.resolve(reference, workspace, kind="models")
            asset = self._datastores.asset(reference.removeprefix("azureml:"))
            if asset is not None:
                name, version = asset.id.split("/")[-3], asset.name
            model = folder / "azureml-models" / (name or "model") / (version or "1")
            log(f"Downloading model {name}:{version}")
            found = self._datastores.blobs_of(place)
            single = len(found) == 1 and found[0][1].name == place.path
            target = model if single else model / place.path.rpartition("/")[2]
            self._datastores.fetch(place, target)
            log(f"Downloaded {len(found)} files of the model")
        code = properties.get("codeConfiguration") or {}
        source = None
        if code.get("codeId"):
            source = self._datastores.fetch(
                self._datastores.resolve(str(code["codeId"]), workspace), folder / "code"
            )
            log("Downloaded the code")
        conda = None
        if properties.get("environmentId"):
            conda = self._environment(properties["environmentId"]).get("condaFile")
        probe = properties.get("livenessProbe") or {}
        patience = seconds(probe.get("initialDelay"), 10.0)
        patience += seconds(probe.get("period"), 10.0) * int(probe.get("failureThreshold", 30))
        variables = {
            str(key): str(value)
            for key, value in (properties.get("environmentVariables") or {}).items()
        }
        per_instance = variables.get("WORKER_COUNT", "1")
        instances = int((resource.body.get("sku") or {}).get("capacity", 1))
        workers = instances * (int(per_instance) if per_instance.isdecimal() else 1)
        return Order(
            id=resource.id,
            endpoint=_endpoint_of(resource.id).rpartition("/")[2],
            name=resource.name,
            model=model,
            model_name=name,
            model_version=version,
            code=source,
            script=code.get("scoringScript"),
            conda=conda,
            variables={
                **variables,
                "SERVICE_NAME": resource.name,
                "AML_APP_INSIGHTS_ENABLED": str(bool(properties.get("appInsightsEnabled"))).lower(),
                **self._collector.enrol(resource, workspace, folder, version),
            },
            workers=max(1, min(workers, MOST_WORKERS)),
            start_seconds=patience,
        )

    def _ended(self, resource: Resource) -> None:
        # Requests under way may take a while to end: nobody has to wait for them.
        self._begin(partial(self._fleet.stop, resource.id))

    # Logs and sizes

    def _deployment(self, call: Call) -> Resource:
        return self._management.require(
            call, "onlineEndpoints", call["parent"], "deployments", call["name"]
        )

    def _get_logs(self, call: Call) -> Response:
        deployment, body = self._deployment(call), call.json()
        lines = body.get("tail") or TAIL
        if not isinstance(lines, int) or lines < 1:
            raise ArmError(400, "ValidationError", f"tail is {lines!r}, not a number of lines.")
        container = body.get("containerType") or "InferenceServer"
        if container not in ("InferenceServer", "StorageInitializer", "ModelDataCollector"):
            raise ArmError(400, "ValidationError", f"containerType is '{container}'.")
        if container == "ModelDataCollector":
            return json_response({"content": ""})
        storage = container == "StorageInitializer"
        content = self._fleet.logs(deployment.id, storage=storage, lines=lines)
        return json_response({"content": content})

    def _skus(self, call: Call) -> Response:
        self._deployment(call)
        capacity = {"default": 1, "minimum": 1, "maximum": MOST_WORKERS, "scaleType": "Manual"}
        sku = {"name": "Default", "tier": "Standard"}
        return json_response(
            {
                "value": [
                    {
                        "resourceType": "Microsoft.MachineLearning.Services/endpoints/deployments",
                        "capacity": capacity,
                        "sku": sku,
                    }
                ]
            }
        )

    # Scoring

    def _score(self, call: Call) -> Response:
        try:
            query = call.request.query_string.decode()
            answer = self._front.answer(
                self._endpoint(call["endpoint"]),
                Question(
                    call.request.method,
                    call.path + (f"?{query}" if query else ""),
                    call.headers,
                    call.request.get_data(),
                ),
            )
        except FrontRefusal as refusal:
            answer = Answer(
                refusal.status,
                {"Content-Type": "text/plain", **refusal.headers},
                refusal.message.encode(),
            )
        return Response(answer.body, status=answer.status, headers=dict(answer.headers))

    def _endpoint(self, name: str) -> Endpoint:
        store = self._management.store
        plain = name.replace("-", "").isalnum()
        found = store.find(f"*/onlineendpoints/{name.lower()}") if plain else ()
        if not found:
            raise FrontRefusal(404, f"there is no online endpoint '{name}'")
        endpoint = found[0]
        properties = endpoint.properties
        deployments = store.list(f"{endpoint.id}/deployments")
        return Endpoint(
            endpoint.name,
            partial(self._problem, endpoint),
            {item.name: _limits(item) for item in deployments},
            properties.get("traffic") or {},
            properties.get("mirrorTraffic") or {},
        )

    def _problem(self, endpoint: Resource, given: str) -> str | None:
        """Return why a value of ``Authorization`` opens nothing here, or ``None``."""
        scheme, _, word = given.partition(" ")
        if scheme.lower() != "bearer" or not word:
            return "key_auth_bad_header_format"
        mode = endpoint.properties["authMode"].lower()
        if mode == "key":
            keys = self._management.store.secret(endpoint.id) or {}
            return None if tokens.same(word, keys.values()) else "key_auth_access_denied"
        meant_for = _AAD_AUDIENCE if mode == "aadtoken" else endpoint.properties["scoringUri"]
        try:
            tokens.check(given, audience=meant_for, error=lambda why: ArmError(401, "", why))
        except ArmError as error:
            return f"jwt_auth_access_denied: {error.message}"
        return None


def _limits(deployment: Resource) -> Deployment:
    settings = deployment.properties.get("requestSettings") or {}
    instances = int((deployment.body.get("sku") or {}).get("capacity", 1))
    return Deployment(
        deployment.id,
        deployment.name,
        seconds(settings.get("requestTimeout"), 5.0),
        2 * int(settings.get("maxConcurrentRequestsPerInstance") or 1) * instances,
    )


def _is_going(resource: Resource) -> bool:
    return resource.properties.get("provisioningState") == "Deleting"


def _workspace_of(resource_id: str) -> str:
    return resource_id[: resource_id.lower().index("/onlineendpoints/")]


def _endpoint_of(deployment_id: str) -> str:
    return deployment_id.rpartition("/deployments/")[0]
