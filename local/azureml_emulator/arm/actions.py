"""Actions of codes, computes and endpoints, such as upload addresses and keys."""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import timedelta
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, Account
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.refusals import (
    check_cluster,
    check_deletable,
    check_environment,
    check_unused,
)
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.storage import sas
from azureml_emulator.storage.blobs import BlobStore

__all__ = ["Actions"]

UPLOAD_HOURS = 24
UPLOAD_PERMISSIONS = "racwl"
INSTANCE_STATES = {"start": "Running", "stop": "Stopped", "restart": "Running"}


class Actions:
    """Serves the actions, and the checks that belong to them."""

    def __init__(self, account: Account, management: Management, blobs: BlobStore) -> None:
        self._account, self._management, self._blobs = account, management, blobs
        management.before_write("onlineEndpoints", self._check_endpoint)
        management.before_write("computes", check_cluster)
        management.before_write("environments", check_environment)
        for kind in ("codes", "components", "environments", "models"):
            management.before_delete(kind, self._check_unused)
        management.before_delete("datastores", check_deletable)

    def routes(self) -> list[Route]:
        """Return the routes."""
        compute = f"{WORKSPACE_PATH}/computes/{{name}}"
        endpoint = f"{WORKSPACE_PATH}/onlineEndpoints/{{name}}"
        table = [
            ("POST", f"{WORKSPACE_PATH}/codes/{{name}}/versions/{{version}}/startPendingUpload",
             self._start_upload),
            ("POST", f"{compute}/listNodes", self._nodes),
            ("POST", f"{compute}/{{action}}", self._power),
            ("POST", f"{endpoint}/listKeys", self._list_keys),
            ("POST", f"{endpoint}/regenerateKeys", self._regenerate_keys),
            ("POST", f"{endpoint}/token", self._endpoint_token),
        ]  # fmt: skip
        return [Route(method, ARM_HOST, path, handler) for method, path, handler in table]

    def _check_unused(self, asset: Resource) -> None:
        """Refuse to delete what a deployment is made of."""
        users = [
            item.name
            for kind in ("onlineendpoints", "batchendpoints")
            for item in self._management.store.find(f"*/{kind}/*/deployments/*")
            if _names(item.properties, asset.id.lower())
        ]
        check_unused(f"'{asset.name}'", users)

    # Codes

    def _start_upload(self, call: Call) -> Response:
        """Give a container of its own to a code asset that is about to be uploaded."""
        self._management.require_workspace(call)
        container = f"code-{uuid.uuid4()}"
        self._blobs.create_container(container)
        token = sas.container_token(
            self._account.storage_account,
            self._account.storage_key,
            container,
            lifetime=timedelta(hours=UPLOAD_HOURS),
            permissions=UPLOAD_PERMISSIONS,
        )
        address = f"https://{self._account.blob_host}/{container}"
        return json_response(
            {
                "pendingUploadId": str(uuid.uuid4()),
                "pendingUploadType": "TemporaryBlobReference",
                "blobReferenceForConsumption": {
                    "blobUri": address,
                    "storageAccountArmId": self._account.storage_id,
                    "credential": {"credentialType": "SAS", "sasUri": f"{address}?{token}"},
                },
            }
        )

    # Computes

    def _power(self, call: Call) -> Response:
        action = call["action"].lower()
        if action not in INSTANCE_STATES:
            raise not_found(call.path)
        store = self._management.store
        with store.transaction():
            compute = self._management.require(call, "computes", call["name"])
            properties = compute.properties
            if properties["computeType"] != "ComputeInstance":
                raise ArmError(
                    400,
                    "BadArgument",
                    f"Compute '{compute.name}' is of type {properties['computeType']}; only a "
                    f"ComputeInstance can {action}.",
                )
            details = {**properties["properties"], "state": INSTANCE_STATES[action]}
            changed = {**properties, "properties": details}
            stored, _ = store.put(compute.id, {**compute.body, "properties": changed})
            return self._management.accepted(call, stored, "none", 202)

    def _nodes(self, call: Call) -> Response:
        """List the nodes of a cluster: none, because jobs run on this machine."""
        self._management.require(call, "computes", call["name"])
        return json_response({"nodes": []})

    # Online endpoints

    def _check_endpoint(self, draft: Draft) -> None:
        """Keep the keys that were sent, or make some; refuse traffic to what is not there."""
        properties = draft.body.setdefault("properties", {})
        sent = properties.pop("keys", None) or {}
        store = self._management.store
        if sent or draft.old is None:
            made = {"primaryKey": _new_key(), "secondaryKey": _new_key()}
            kept = store.secret(draft.id) or made
            given = {name: value for name, value in sent.items() if value}
            store.set_secret(draft.id, {**kept, **given})
        for field in ("traffic", "mirrorTraffic"):
            shares = properties.get(field) or {}
            if not isinstance(shares, dict) or not all(
                isinstance(share, int) and 0 <= share <= 100 for share in shares.values()
            ):
                raise ArmError(
                    400,
                    "ValidationError",
                    f"{field} does not map deployments to whole per cent, 0 to 100.",
                )
            self._check_traffic(draft, field, shares)

    def _check_traffic(self, draft: Draft, field: str, traffic: dict[str, Any]) -> None:
        for deployment in traffic:
            if self._management.store.get(f"{draft.id}/deployments/{deployment}") is None:
                raise ArmError(
                    400,
                    "BadArgument",
                    f"{field} names the deployment '{deployment}', which endpoint "
                    f"'{draft.name}' does not have.",
                )
        total = sum(traffic.values())
        if field == "traffic" and total not in (0, 100):
            raise ArmError(400, "BadArgument", f"traffic adds up to {total}, not to 0 or 100.")
        if field == "mirrorTraffic" and total > 50:
            raise ArmError(400, "BadArgument", f"mirrorTraffic is {total}, the most is 50.")

    def _endpoint(self, call: Call) -> Resource:
        return self._management.require(call, "onlineEndpoints", call["name"])

    def _keys(self, endpoint: Resource) -> dict[str, Any]:
        mode = endpoint.properties["authMode"]
        if mode.lower() != "key":
            raise ArmError(
                400, "BadArgument", f"Endpoint '{endpoint.name}' has no keys: authMode is {mode}."
            )
        return self._management.store.secret(endpoint.id) or {}

    def _list_keys(self, call: Call) -> Response:
        return json_response(self._keys(self._endpoint(call)))

    def _regenerate_keys(self, call: Call) -> Response:
        body = call.json()
        which = str(body.get("keyType", "")).lower()
        if which not in ("primary", "secondary"):
            raise ArmError(
                400, "BadArgument", f"keyType is '{body.get('keyType')}', not Primary or Secondary."
            )
        store = self._management.store
        with store.transaction():
            endpoint = self._endpoint(call)
            keys = self._keys(endpoint)
            # The SDK sends the key as it is, and expects another one afterwards.
            wanted = body.get("keyValue")
            keys[f"{which}Key"] = wanted if wanted not in (None, *keys.values()) else _new_key()
            store.set_secret(endpoint.id, keys)
            return self._management.accepted(call, endpoint, "none", 202)

    def _endpoint_token(self, call: Call) -> Response:
        endpoint = self._endpoint(call)
        if endpoint.properties["authMode"].lower() == "key":
            raise ArmError(
                400, "BadArgument", f"Endpoint '{endpoint.name}' has no tokens: authMode is Key."
            )
        now = int(time.time())
        lifetime = tokens.LIFETIME_SECONDS
        return json_response(
            {
                "accessToken": tokens.issue(self._account, endpoint.properties["scoringUri"]),
                "expiryTimeUtc": now + lifetime,
                "refreshAfterTimeUtc": now + lifetime // 2,
                "tokenType": "Bearer",
            }
        )


def _new_key() -> str:
    return secrets.token_urlsafe(48)


def _names(value: Any, asset: str) -> bool:
    """Whether a body names an asset, or a version of it, anywhere."""
    if isinstance(value, dict):
        return any(_names(item, asset) for item in value.values())
    return isinstance(value, str) and f"{value.lower()}/".removeprefix("azureml:").startswith(
        f"{asset}/"
    )
