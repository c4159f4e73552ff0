"""What is around the properties of a resource: type, place, identity, versions, its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from azureml_emulator.account import Account
from azureml_emulator.arm.defaults import moment
from azureml_emulator.arm.resource_types import ResourceType
from azureml_emulator.arm.resources import Resource, ResourceStore

__all__ = ["asset_of", "enveloped", "number_versions", "rendered", "type_of"]

# Parts of a body that are stored beside the properties.
_PARTS = ("location", "tags", "sku", "kind", "identity")


def enveloped(
    kind: ResourceType,
    path: str,
    body: Mapping[str, Any],
    properties: dict[str, Any],
    account: Account,
) -> dict[str, Any]:
    """Return what is stored of a resource: its properties, and what was sent beside them."""
    content: dict[str, Any] = {name: body[name] for name in _PARTS if body.get(name)}
    if kind.located:
        content.setdefault("location", account.location)
    identity = content.get("identity")
    if isinstance(identity, Mapping) and "SystemAssigned" in str(identity.get("type")):
        content["identity"] = {
            "principalId": account.client_id,
            "tenantId": account.tenant_id,
            **identity,
        }
    content["type"] = type_of(path)
    content["properties"] = properties
    return content


def number_versions(store: ResourceStore, asset: str, kind: ResourceType) -> None:
    """Bring a versioned asset's latest and next version up to date; make it if missing."""
    versions = store.list(f"{asset}/versions")
    numbers = [int(item.name) for item in versions if item.name.isdecimal()]
    found = store.get(asset)
    properties: dict[str, Any] = found.properties if found else {"isArchived": False}
    if kind.provisioned:
        properties["provisioningState"] = "Succeeded"
    following = str(max(numbers, default=0) + 1)
    properties["nextVersion"] = moment(datetime.now(UTC)) if kind.dated and versions else following
    properties.pop("latestVersion", None)
    if versions:
        properties["latestVersion"] = versions[-1].name
        for name in kind.shared:
            properties[name] = versions[-1].properties[name]
    body = dict(found.body) if found else {"type": type_of(asset)}
    store.put(asset, {**body, "properties": properties})


def rendered(resource: Resource) -> dict[str, Any]:
    """Return a resource as ARM shows it."""
    return {
        "id": resource.id,
        "name": resource.name,
        **resource.body,
        "systemData": {
            "createdAt": resource.created,
            "createdBy": "emulator",
            "createdByType": "User",
            "lastModifiedAt": resource.modified,
            "lastModifiedBy": "emulator",
            "lastModifiedByType": "User",
        },
    }


def asset_of(version_id: str) -> str:
    """Return the id of the asset that a version is of."""
    return version_id.rpartition("/versions/")[0]


def type_of(path: str) -> str:
    """Return the type of a resource from its id: every other segment after the provider.

    Examples
    --------
    >>> type_of("/subscriptions/s/resourceGroups/g/providers/P/workspaces/w/data/d/versions/1")
    'P/workspaces/data/versions'
    """
    segments = path.partition("/providers/")[2].split("/")
    return "/".join([segments[0], *segments[1::2]])
