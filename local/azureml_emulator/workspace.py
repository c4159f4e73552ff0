"""What a workspace has from the start: storage, datastores; and the secrets of datastores."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator import sas
from azureml_emulator.blobs import BlobStore
from azureml_emulator.errors import ArmError
from azureml_emulator.kinds import Draft
from azureml_emulator.management import WORKSPACE_PATH, Management
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.site import ARM_HOST, PROVIDER, Site

__all__ = ["Workspaces"]

TYPE = f"{PROVIDER}/workspaces"
DEFAULT_DATASTORE = "workspaceblobstore"
ALL_PERMISSIONS = "rcuwdl"
MOST_HOURS = 7 * 24


class Workspaces:
    """Furnishes workspaces, and answers for their storage.

    Parameters
    ----------
    management
        Where the workspaces and datastores are kept.
    blobs
        Gets the containers of the datastores.
    """

    def __init__(self, site: Site, management: Management, blobs: BlobStore) -> None:
        self._site, self._management, self._blobs = site, management, blobs
        management.before_write("workspaces", self._furnish)
        management.before_write("datastores", self._keep_secrets)

    def routes(self) -> list[Route]:
        """Return the table of what goes beyond create, read, update and delete."""
        return [
            Route(
                "POST",
                ARM_HOST,
                f"{WORKSPACE_PATH}/datastores/{{name}}/listSecrets",
                self._list_secrets,
            ),
            Route("POST", ARM_HOST, f"{WORKSPACE_PATH}/listStorageAccountKeys", self._storage_keys),
            Route("GET", self._site.api_host, "/discovery", self._discovery),
        ]

    def make_default(self) -> None:
        """Make the workspace of the site unless it is there."""
        site, store = self._site, self._management.store
        with store.transaction():
            if store.get(site.workspace_id) is not None:
                return
            draft = Draft(site.workspace_id, site.workspace, {"properties": {}}, None, site)
            self._furnish(draft)
            properties = self._workspace_properties(draft)
            store.put(
                site.workspace_id,
                {
                    "type": TYPE,
                    "location": site.location,
                    "kind": "Default",
                    "sku": {"name": "Basic", "tier": "Basic"},
                    "tags": {},
                    "identity": {
                        "type": "SystemAssigned",
                        "principalId": site.client_id,
                        "tenantId": site.tenant_id,
                    },
                    "properties": properties,
                },
            )

    @staticmethod
    def _workspace_properties(draft: Draft) -> dict[str, Any]:
        from azureml_emulator.kinds import WORKSPACE

        return {**WORKSPACE.checked(draft), "provisioningState": "Succeeded"}

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
                        "accountName": self._site.storage_account,
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
        if datastore.properties.get("accountName") == self._site.storage_account:
            hours = call.json().get("expireAfterHours") or 1
            if not isinstance(hours, int):
                raise ArmError(400, "ValidationError", "expireAfterHours is not a whole number.")
            token = sas.account_token(
                self._site.storage_account,
                self._site.storage_key,
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
        return json_response({"userStorageKey": self._site.storage_key})

    def _discovery(self, call: Call) -> Response:
        base = f"https://{self._site.api_host}"
        names = ("api", "catalog", "experimentation", "gallery", "history", "hyperdrive")
        more = ("labeling", "modelmanagement", "pipelines")
        services = dict.fromkeys((*names, *more), base)
        return json_response({**services, "studio": "https://ml.azure.com"})
