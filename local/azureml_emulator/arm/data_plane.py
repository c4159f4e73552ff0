"""Where ``mltable`` and ``azureml-fsspec`` look up what an ``azureml://`` address means.

Their reader is native code. It asks for a datastore, which it opens with the signature that it
gets, or for a version of data, whose address it then reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import Account
from azureml_emulator.arm.assets import datastore_uri
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Handler, Route, json_response
from azureml_emulator.storage import sas

__all__ = ["DataPlane"]

DATASTORES = f"/datastore/v1.0{WORKSPACE_PATH}/datastores"
VERSION = f"/data/v1.0{WORKSPACE_PATH}/dataversion/{{name}}/versions/{{version}}"
# As the data plane spells them.
DATA_TYPES = {"mltable": "MLTable", "uri_file": "UriFile", "uri_folder": "UriFolder"}
# As ``listSecrets`` gives.
PERMISSIONS = "rcuwdl"
_SHORT = re.compile(r"azureml://datastores/([^/]+)/paths/(.*)")


class DataPlane:
    """Answers for datastores and versions of data as the data plane has them."""

    def __init__(self, account: Account, management: Management) -> None:
        self._account, self._management = account, management

    def routes(self) -> list[Route]:
        """Return the routes."""
        table: dict[str, Handler] = {
            DATASTORES: self._list,
            f"{DATASTORES}/{{name}}": self._get,
            VERSION: self._get_version,
        }
        host = self._account.api_host
        return [Route("GET", host, path, _signed_in(handler)) for path, handler in table.items()]

    def _list(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        found = self._management.store.list(f"{workspace}/datastores")
        return json_response({"value": [self._datastore(item) for item in found]})

    def _get(self, call: Call) -> Response:
        found = self._management.require(call, "datastores", call["name"])
        return json_response(self._datastore(found))

    def _datastore(self, datastore: Resource) -> dict[str, Any]:
        """Return a datastore, with what opens it if the emulator stands in for its account."""
        properties, kind = datastore.properties, str(datastore.properties["datastoreType"])
        section: dict[str, Any] = {
            "accountName": properties.get("accountName"),
            "containerName": properties.get("containerName"),
            "endpoint": properties.get("endpoint") or "core.windows.net",
            "protocol": properties.get("protocol") or "https",
            "serviceDataAccessAuthIdentity": "None",
            # Whoever reads it has to bring a token of their own.
            "credentialType": "None",
        }
        if properties.get("accountName") == self._account.storage_account:
            token = sas.account_token(
                self._account.storage_account,
                self._account.storage_key,
                lifetime=timedelta(hours=1),
                permissions=PERMISSIONS,
            )
            section |= {"credentialType": "Sas", "credential": f"?{token}", "isSas": True}
        return {
            "name": datastore.name,
            "dataStoreType": kind,
            "hasBeenValidated": True,
            "isDefault": bool(properties.get("isDefault")),
            "tags": dict(properties.get("tags") or {}),
            "azureStorageSection": section if kind in ("AzureBlob", "AzureFile") else None,
        }

    def _get_version(self, call: Call) -> Response:
        workspace = self._management.require_workspace(call).id
        path = f"{workspace}/data/{call['name']}/versions/{call['version']}"
        found = self._management.store.get(path)
        if found is None:
            raise not_found(path)
        properties = found.properties
        uri = str(properties["dataUri"])
        short = _SHORT.fullmatch(uri)
        version = {
            "assetId": found.id,
            "dataContainerName": call["name"],
            "dataType": DATA_TYPES.get(str(properties["dataType"]), properties["dataType"]),
            "dataUri": datastore_uri(workspace, short[1], short[2]) if short else uri,
            "versionId": found.name,
            "mutableProps": {
                "description": properties.get("description"),
                "tags": dict(properties.get("tags") or {}),
                "isArchived": found.archived,
            },
            "referencedDataUris": list(properties.get("referencedUris") or []),
            "properties": dict(properties.get("properties") or {}),
        }
        times = {"createdTime": found.created, "modifiedTime": found.modified}
        return json_response(
            {
                "dataVersion": version,
                "entityMetadata": {"etag": found.etag, **times},
                # What mltable looks at: whether it was made by SDK v1, and how.
                "isV2": True,
                "legacyDataflow": None,
            }
        )


def _signed_in(handler: Handler) -> Callable[[Call], Response]:
    def checked(call: Call) -> Response:
        tokens.check(call.headers.get("authorization", ""), audience=None, error=_unauthorised)
        return handler(call)

    return checked


def _unauthorised(reason: str) -> ArmError:
    return ArmError(401, "InvalidAuthenticationToken", f"Authentication failed: {reason}.")
