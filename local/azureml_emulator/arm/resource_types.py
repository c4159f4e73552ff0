"""The types of resources: what a request has to hold, what the service adds.

Adding a kind here adds its routes; only what a kind does beyond create, read, update, delete
and list (``listSecrets``, keys, uploads) is written elsewhere.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azureml_emulator.account import Account
from azureml_emulator.arm.defaults import filled_component, folder_uri, with_modes
from azureml_emulator.arm.resources import Resource, timestamp
from azureml_emulator.errors import ArmError

__all__ = ["RESOURCE_TYPES", "Draft", "ResourceType", "stored_version"]

# As Microsoft's types and the service's messages have them.
_ENDPOINT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
_DEPLOYMENT_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}")
_COMPUTE_NAME = re.compile(r"[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9-]{2,23}")
_ASSET_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}")
_DATASTORE_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_WORKSPACE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}")
_VERSION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,254}")


@dataclass(frozen=True)
class Draft:
    """A resource about to be stored: what was sent, and what was there before."""

    id: str
    name: str
    body: dict[str, Any]
    old: Resource | None
    account: Account

    @property
    def properties(self) -> dict[str, Any]:
        """The properties that were sent."""
        return dict(self.body.get("properties") or {})


Fill = Callable[[Draft], dict[str, Any]]


def _as_sent(draft: Draft) -> dict[str, Any]:
    return draft.properties


@dataclass(frozen=True)
class ResourceType:
    """What is particular to one type of resource.

    Parameters
    ----------
    segment
        Its name in ids, ``data`` in ``…/workspaces/w/data/bank``.
    parent
        The segment of the kind that it belongs to, below the workspace.
    names, versions
        What it, and a version of it, may be called.
    versioned
        Whether the content is in numbered versions below it.
    dated
        Whether the next version is a moment, not a number.
    shared
        Properties of a version that its asset shows too.
    long_running
        Whether it is made and deleted by operations that a client has to poll.
    works
        Whether making it is real work, whose end nobody knows beforehand.
    created_status
        The status of the answer when it is new.
    located
        Whether it has ``location`` of its own.
    provisioned
        Whether its properties show a ``provisioningState``.
    required
        Properties that a request has to hold, though the types do not say so.
    frozen
        Properties that cannot be changed once the resource is there.
    fill
        Returns the properties to store: those sent, and what the service adds.
    """

    segment: str
    parent: str | None = None
    names: re.Pattern[str] = _ASSET_NAME
    versions: re.Pattern[str] = _VERSION
    versioned: bool = False
    dated: bool = False
    shared: tuple[str, ...] = ()
    long_running: bool = False
    works: bool = False
    created_status: int = 201
    located: bool = False
    provisioned: bool = True
    required: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    frozen_message: str = (
        "The {kind} '{name}' with version '{version}' already exists and cannot be changed; "
        "use another version."
    )
    fill: Fill = _as_sent

    @property
    def key(self) -> str:
        """What tells it from all others: ``onlineEndpoints/deployments``."""
        return f"{self.parent}/{self.segment}" if self.parent else self.segment

    def type_name(self, *, whole: bool = True) -> str:
        """Return its name in Microsoft's types; of the container of versions if not ``whole``."""
        parts = [] if self.segment == "workspaces" else [self.key]
        return "/".join(["workspaces", *parts, *(["versions"] if self.versioned and whole else [])])

    def checked(self, draft: Draft) -> dict[str, Any]:
        """Return the properties to store.

        Raises
        ------
        ArmError
            Something is missing, or was sent that cannot be changed any more.
        """
        sent = draft.properties
        for name in self.required:
            if sent.get(name) in (None, ""):
                field = name[0].upper() + name[1:]
                raise ArmError(400, "ValidationError", f"The {field} field is required.")
        filled = self.fill(draft)
        if draft.old is not None:
            before = draft.old.properties
            for name in self.frozen:
                if _comparable(name, before.get(name)) != _comparable(name, filled.get(name)):
                    raise self._conflict(draft)
        return {name: value for name, value in filled.items() if value is not None}

    def _conflict(self, draft: Draft) -> ArmError:
        segments = draft.id.split("/")
        message = self.frozen_message.format(
            kind=self.segment, name=segments[-3], version=draft.name
        )
        return ArmError(409, "UserError", message, inner="Immutable")


ANONYMOUS = "azureml_anonymous"
# What may differ between two specifications of one component version: the SDK sends some of
# what it was answered back as if it were part of the specification.
_COSMETIC = {
    "$schema", "_source", "creation_context", "description", "display_name", "id", "name",
    "tags", "version",
}  # fmt: skip


def _comparable(field: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    # A directory may hold components that an earlier version kept as they were sent.
    filled = filled_component(value) if field == "componentSpec" else value
    return {name: item for name, item in filled.items() if name not in _COSMETIC}


def stored_version(version: str, asset: str, body: Mapping[str, Any]) -> str:
    """Return the version that is stored for the one asked for.

    An anonymous component that the SDK gives no version of its own goes by its content.
    """
    if asset != ANONYMOUS or version != "1":
        return version
    content = json.dumps(body.get("properties"), sort_keys=True)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, content))


def _environment(draft: Draft) -> dict[str, Any]:
    # Only the service's own are "curated"; their names begin so, and users' may not.
    curated = draft.id.split("/")[-3].lower().startswith("azureml-")
    kind = "Curated" if curated else "UserCreated"
    return {"osType": "Linux", **draft.properties, "environmentType": kind}


def _model(draft: Draft) -> dict[str, Any]:
    return {"flavors": {}, "modelType": "custom_model", "properties": {}, **draft.properties}


def _component(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    if not isinstance(sent["componentSpec"], Mapping):
        raise ArmError(400, "ValidationError", "componentSpec is not an object.")
    spec = dict(sent["componentSpec"])
    asset = draft.id.split("/")[-3]
    # An anonymous component keeps the name and the version that it was declared with.
    named = {"name": asset, "version": draft.name}
    spec = {**named, **spec} if asset == ANONYMOUS else {**spec, **named}
    return {**sent, "componentSpec": filled_component(spec)}


def _data(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    return {**sent, "dataUri": folder_uri(str(sent["dataUri"]), str(sent["dataType"]))}


_COMPUTE_STATES: Mapping[str, Mapping[str, Any]] = {
    "AmlCompute": {"allocationState": "Steady", "currentNodeCount": 0, "targetNodeCount": 0},
    "ComputeInstance": {"state": "Running"},
}


def _compute(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    kind = sent["computeType"]
    if draft.old is not None and draft.old.properties["computeType"] != kind:
        raise ArmError(409, "UserError", f"Compute '{draft.name}' is of another type.")
    now = timestamp()
    return {
        **sent,
        "createdOn": draft.old.properties["createdOn"] if draft.old else now,
        "modifiedOn": now,
        "isAttachedCompute": kind not in _COMPUTE_STATES,
        "properties": {**(sent.get("properties") or {}), **_COMPUTE_STATES.get(kind, {})},
    }


def _endpoint(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    before = draft.old.properties if draft.old else {}
    host = f"https://{draft.name}.{draft.account.location}.inference.ml.azure.com"
    return {
        "publicNetworkAccess": "Enabled",
        "traffic": before.get("traffic", {}),
        "mirrorTraffic": before.get("mirrorTraffic", {}),
        "properties": {},
        **{name: value for name, value in sent.items() if value is not None},
        "scoringUri": f"{host}/score",
        "swaggerUri": f"{host}/swagger.json",
    }


_PROBE = {
    "initialDelay": "PT10S", "period": "PT10S", "timeout": "PT2S",
    "successThreshold": 1, "failureThreshold": 30,
}  # fmt: skip
_REQUESTS = {
    "maxConcurrentRequestsPerInstance": 1, "requestTimeout": "PT5S", "maxQueueWait": "PT0.5S",
}  # fmt: skip


def _batch_endpoint(draft: Draft) -> dict[str, Any]:
    sent = {name: value for name, value in draft.properties.items() if value is not None}
    before = draft.old.properties if draft.old else {}
    host = f"https://{draft.name}.{draft.account.location}.inference.ml.azure.com"
    return {
        "defaults": before.get("defaults", {}),
        "properties": {},
        **sent,
        "scoringUri": f"{host}/jobs",
        "swaggerUri": f"{host}/swagger.json",
    }


def _batch_deployment(draft: Draft) -> dict[str, Any]:
    sent = {name: value for name, value in draft.properties.items() if value is not None}
    configuration = sent.get("deploymentConfiguration")
    if isinstance(configuration, Mapping):
        # The SDK reads them back without looking whether they are there.
        sent["deploymentConfiguration"] = {"settings": {}, **configuration}
    return {
        "errorThreshold": -1,
        "maxConcurrencyPerInstance": 1,
        "miniBatchSize": 10,
        "outputFileName": "predictions.csv",
        **sent,
    }


def _schedule(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    trigger = {name: value for name, value in sent["trigger"].items() if value is not None}
    action = dict(sent["action"])
    if isinstance(action.get("jobDefinition"), Mapping):
        action["jobDefinition"] = with_modes(action["jobDefinition"])
    if isinstance(action.get("monitorDefinition"), Mapping):
        action["monitorDefinition"] = _spelled(action["monitorDefinition"])
    kept = {"trigger": trigger, "action": action}
    return {"isEnabled": True, "properties": {}, "tags": {}, **sent, **kept}


_TASKS = {word.lower(): word for word in ("Classification", "Regression", "QuestionAnswering")}


def _spelled(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a monitor whose target is spelled as in the types, which versions have in two ways."""
    target = definition.get("monitoringTarget")
    if not isinstance(target, Mapping):
        return dict(definition)
    word = str(target.get("taskType"))
    task = _TASKS.get(word.replace("_", "").lower(), word)
    return {**definition, "monitoringTarget": {**target, "taskType": task}}


def _online_deployment(draft: Draft) -> dict[str, Any]:
    sent = {name: value for name, value in draft.properties.items() if value is not None}
    filled = {
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        "environmentVariables": {},
        "properties": {},
        "scaleSettings": {"scaleType": "Default"},
        **sent,
    }
    defaults = {"requestSettings": _REQUESTS, "livenessProbe": _PROBE, "readinessProbe": _PROBE}
    for name, values in defaults.items():
        given = {key: value for key, value in (sent.get(name) or {}).items() if value is not None}
        filled[name] = {**values, **given}
    draft.body["sku"] = {"name": "Default", "capacity": 1, **(draft.body.get("sku") or {})}
    return filled


def _datastore(draft: Draft) -> dict[str, Any]:
    sent = draft.properties
    credentials = dict(sent["credentials"])
    credentials.pop("secrets", None)
    return {
        "tags": {},
        "properties": {},
        "serviceDataAccessAuthIdentity": "None",
        **sent,
        "credentials": credentials,
        "isDefault": draft.old.properties["isDefault"] if draft.old else False,
    }


def _workspace(draft: Draft) -> dict[str, Any]:
    account, sent = draft.account, draft.properties
    before = draft.old.properties if draft.old else {}
    return {
        "friendlyName": draft.name,
        "description": "",
        "hbiWorkspace": False,
        "publicNetworkAccess": "Enabled",
        "v1LegacyMode": False,
        "storageAccount": account.storage_id,
        **before,
        **sent,
        "discoveryUrl": f"https://{account.api_host}/discovery",
        "mlFlowTrackingUri": f"azureml://{account.api_host}/mlflow/v1.0{draft.id}",
        "tenantId": account.tenant_id,
    }


WORKSPACE = ResourceType(
    "workspaces", located=True, long_running=True, names=_WORKSPACE_NAME, fill=_workspace
)

RESOURCE_TYPES: tuple[ResourceType, ...] = (
    ResourceType(
        "datastores",
        names=_DATASTORE_NAME,
        provisioned=False,
        fill=_datastore,
    ),
    ResourceType(
        "data",
        versioned=True,
        shared=("dataType",),
        provisioned=False,
        frozen=("dataUri", "dataType"),
        frozen_message=(
            "A data version with this name and version already exists: {name}, version "
            "{version}. Its data uri cannot be changed, only description, tags and isArchived; "
            "use another name or version."
        ),
        fill=_data,
    ),
    ResourceType(
        "environments",
        versioned=True,
        frozen=("image", "condaFile", "build"),
        frozen_message=(
            "Environment {name} with version {version} is already registered and cannot be changed."
        ),
        fill=_environment,
    ),
    ResourceType("codes", versioned=True, required=("codeUri",), frozen=("codeUri",)),
    ResourceType(
        "models",
        versioned=True,
        required=("modelUri",),
        frozen=("modelUri", "modelType"),
        fill=_model,
    ),
    ResourceType(
        "components",
        versioned=True,
        required=("componentSpec",),
        frozen=("componentSpec",),
        dated=True,
        fill=_component,
    ),
    ResourceType(
        "computes",
        names=_COMPUTE_NAME,
        long_running=True,
        located=True,
        fill=_compute,
    ),
    ResourceType(
        "onlineEndpoints",
        names=_ENDPOINT_NAME,
        long_running=True,
        located=True,
        fill=_endpoint,
    ),
    ResourceType(
        "deployments",
        parent="onlineEndpoints",
        names=_DEPLOYMENT_NAME,
        long_running=True,
        works=True,
        located=True,
        fill=_online_deployment,
    ),
    ResourceType(
        "batchEndpoints",
        names=_ENDPOINT_NAME,
        long_running=True,
        located=True,
        fill=_batch_endpoint,
    ),
    ResourceType(
        "deployments",
        parent="batchEndpoints",
        names=_DEPLOYMENT_NAME,
        long_running=True,
        located=True,
        fill=_batch_deployment,
    ),
    ResourceType(
        "connections",
        provisioned=False,
        created_status=200,
        required=("category",),
    ),
    ResourceType("schedules", long_running=True, fill=_schedule),
)
