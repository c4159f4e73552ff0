"""A new workspace's storage and datastores, and the secrets of datastores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER, Account
from azureml_emulator.arm.envelope import rendered
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.resource_types import WORKSPACE, Draft
from azureml_emulator.errors import ArmError
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.storage import sas
from azureml_emulator.storage.blobs import BlobStore

__all__ = ["Workspaces"]

TYPE = f"{PROVIDER}/workspaces"
DEFAULT_DATASTORE = "workspaceblobstore"
ALL_PERMISSIONS = "rcuwdl"
MOST_HOURS = 7 * 24


class Workspaces:
    """Creates workspaces with their datastores, and serves their storage's secrets.

    Parameters
    ----------
    management
        Where the workspaces and datastores are kept.
    blobs
        Gets the containers of the datastores.
    """

    def __init__(self, account: Account, management: Management, blobs: BlobStore) -> None:
        self._account, self._management, self._blobs = account, management, blobs
        management.before_write("workspaces", self._furnish)
        management.before_write("datastores", self._keep_secrets)
        management.before_write("connections", self._keep_credentials)

    def routes(self) -> list[Route]:
        """Return the routes beyond create, read, update and delete."""
        return [
            Route(
                "POST",
                ARM_HOST,
                f"{WORKSPACE_PATH}/datastores/{{name}}/listSecrets",
                self._list_secrets,
            ),
            Route("POST", ARM_HOST, f"{WORKSPACE_PATH}/listStorageAccountKeys", self._storage_keys),
            Route("POST", ARM_HOST, f"{WORKSPACE_PATH}/listKeys", self._storage_keys),
            Route("POST", ARM_HOST, f"{WORKSPACE_PATH}/resyncKeys", self._resync_keys),
            Route(
                "POST",
                ARM_HOST,
                f"{WORKSPACE_PATH}/connections/{{name}}/listsecrets",
                self._connection_with_secrets,
            ),
            Route("GET", self._account.api_host, "/discovery", self._discovery),
        ]

    def make_default(self) -> None:
        """Make the workspace of the account unless it is there."""
        if self._management.store.get(self._account.workspace_id) is None:
            self.make(self._account.resource_group, self._account.workspace)

    def make(
        self,
        group: str,
        name: str,
        *,
        kind: str = "Default",
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a workspace, or change the one of that name.

        Raises
        ------
        ArmError
            It cannot have that name.
        """
        account, store = self._account, self._management.store
        if not WORKSPACE.names.fullmatch(name):
            raise ArmError(400, "ValidationError", f"'{name}' is not a name for a workspace.")
        resource_id = WORKSPACE_PATH.format(
            subscription=account.subscription_id, group=group, workspace=name
        )
        with store.transaction():
            old = store.get(resource_id)
            draft = Draft(resource_id, name, {"properties": dict(properties or {})}, old, account)
            self._furnish(draft)
            filled = {**WORKSPACE.checked(draft), "provisioningState": "Succeeded"}
            store.put(
                resource_id,
                {
                    "type": TYPE,
                    "location": account.location,
                    "kind": kind,
                    "sku": {"name": "Basic", "tier": "Basic"},
                    "tags": dict(tags or {}),
                    "identity": {
                        "type": "SystemAssigned",
                        "principalId": account.client_id,
                        "tenantId": account.tenant_id,
                    },
                    "properties": filled,
                },
            )

    def _furnish(self, draft: Draft) -> None:
        """Give a new workspace its default datastores and their containers."""
        if draft.old is not None:
            return
        for name in (DEFAULT_DATASTORE, "workspaceartifactstore"):
            container = f"azureml-{name.removeprefix('workspace')}-{draft.name.lower()}"
            self._blobs.create_container(container)
            self._management.store.put(
                f"{draft.id}/datastores/{name}",
                {
                    "type": f"{TYPE}/datastores",
                    "properties": {
                        "datastoreType": "AzureBlob",
                        "accountName": self._account.storage_account,
                        "containerName": container,
                        "endpoint": "core.windows.net",
                        "protocol": "https",
                        # The service says this too, and still hands out signatures only.
                        "credentials": {"credentialsType": "AccountKey"},
                        "serviceDataAccessAuthIdentity": "None",
                        "isDefault": name == DEFAULT_DATASTORE,
                        "properties": {},
                        "tags": {},
                    },
                },
            )

    def _keep_secrets(self, draft: Draft) -> None:
        credentials = draft.properties.get("credentials")
        if not isinstance(credentials, dict) or "credentialsType" not in credentials:
            raise ArmError(400, "ValidationError", "The CredentialsType field is required.")
        if credentials.get("secrets"):
            self._management.store.set_secret(draft.id, credentials["secrets"])

    def _list_secrets(self, call: Call) -> Response:
        datastore = self._management.require(call, "datastores", call["name"])
        if datastore.properties.get("accountName") == self._account.storage_account:
            hours = call.json().get("expireAfterHours") or 1
            if not isinstance(hours, int):
                raise ArmError(400, "ValidationError", "expireAfterHours is not a whole number.")
            token = sas.account_token(
                self._account.storage_account,
                self._account.storage_key,
                lifetime=timedelta(hours=min(hours, MOST_HOURS)),
                permissions=ALL_PERMISSIONS,
            )
            return json_response({"secretsType": "Sas", "sasToken": f"?{token}"})
        secret = self._management.store.secret(datastore.id)
        if secret is None:
            raise ArmError(
                400, "UserError", f"Datastore '{datastore.name}' was made without secrets."
            )
        return json_response(secret)

    def _storage_keys(self, call: Call) -> Response:
        self._management.require_workspace(call)
        return json_response({"userStorageKey": self._account.storage_key})

    def _resync_keys(self, call: Call) -> Response:
        return self._management.accepted(
            call, self._management.require_workspace(call), "none", 202
        )

    def _keep_credentials(self, draft: Draft) -> None:
        """Take the credentials out of a connection; only ``listsecrets`` shows them."""
        properties = draft.body.get("properties") or {}
        credentials = properties.pop("credentials", None)
        if credentials:
            self._management.store.set_secret(draft.id, credentials)

    def _connection_with_secrets(self, call: Call) -> Response:
        connection = self._management.require(call, "connections", call["name"])
        shown = rendered(connection)
        credentials = self._management.store.secret(connection.id)
        shown["properties"] = {**shown["properties"], "credentials": credentials}
        return json_response(shown)

    def _discovery(self, call: Call) -> Response:
        base = f"https://{self._account.api_host}"
        names = ("api", "catalog", "experimentation", "gallery", "history", "hyperdrive")
        more = ("labeling", "modelmanagement", "pipelines")
        services = dict.fromkeys((*names, *more), base)
        return json_response({**services, "studio": "https://ml.azure.com"})
