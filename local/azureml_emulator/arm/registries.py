"""The registry ``azureml``, as far as the emulator has it: its curated environments."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import PROVIDER, Account
from azureml_emulator.environments.curated import CURATED
from azureml_emulator.errors import ArmError, not_found, not_from_registry
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["Registries"]

BUILT_IN = "azureml"
DISCOVERY = "/registrymanagement/v1.0/registries/{registry}/discovery"
BASE = (
    "/mferp/managementfrontend/subscriptions/{subscription}/resourceGroups/{group}"
    f"/providers/{PROVIDER}/registries/{{registry}}"
)
VERSION = "1"


class Registries:
    """Answers for the registry; whatever else is asked for is refused by its name."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        """Return the routes."""
        host = self._account.api_host
        table = {
            DISCOVERY: self._discover,
            f"{BASE}/environments": self._list,
            f"{BASE}/environments/{{name}}": self._get,
            f"{BASE}/environments/{{name}}/versions": self._list_versions,
            f"{BASE}/environments/{{name}}/versions/{{version}}": self._get_version,
            f"{BASE}/{{kind}}": self._nothing,
            f"{BASE}/{{kind}}/{{name}}": self._refuse,
            f"{BASE}/{{kind}}/{{name}}/versions": self._refuse,
            f"{BASE}/{{kind}}/{{name}}/versions/{{version}}": self._refuse,
        }
        return [Route("GET", host, path, handler) for path, handler in table.items()]

    def _require(self, call: Call) -> None:
        if call["registry"].lower() != BUILT_IN:
            raise ArmError(
                404,
                "RegistryNotFound",
                f"The emulator has the registry '{BUILT_IN}' alone, and not '{call['registry']}'.",
            )

    def _discover(self, call: Call) -> Response:
        self._require(call)
        account, address = self._account, f"https://{self._account.api_host}/"
        return json_response(
            {
                "registryName": BUILT_IN,
                "primaryRegion": account.location,
                "primaryRegionResourceProviderUri": address,
                "subscriptionId": account.subscription_id,
                "resourceGroup": account.resource_group,
                "regions": [account.location],
                "registryFqdns": {account.location: {"uri": address}},
            }
        )

    def _list(self, call: Call) -> Response:
        self._require(call)
        return json_response({"value": [self._container(call, name) for name in CURATED]})

    def _get(self, call: Call) -> Response:
        return json_response(self._container(call, self._known(call)))

    def _list_versions(self, call: Call) -> Response:
        return json_response({"value": [self._version(call, self._known(call))]})

    def _get_version(self, call: Call) -> Response:
        return json_response(self._version(call, self._known(call)))

    def _known(self, call: Call) -> str:
        self._require(call)
        name = call["name"]
        if name.lower() not in CURATED or call.parameters.get("version", VERSION) != VERSION:
            raise not_found(call.path)
        return name.lower()

    def _container(self, call: Call, name: str) -> dict[str, Any]:
        latest = {"latestVersion": VERSION, "nextVersion": "2", "isArchived": False}
        return self._resource(call, name, "environments", name, latest)

    def _version(self, call: Call, name: str) -> dict[str, Any]:
        properties = {
            "image": f"mcr.microsoft.com/azureml/curated/{name}:{VERSION}",
            "environmentType": "Curated",
            "osType": "Linux",
            "isAnonymous": False,
            "isArchived": False,
            "description": "Stands for a curated environment.",
        }
        below = f"{name}/versions/{VERSION}"
        return self._resource(call, below, "environments/versions", VERSION, properties)

    def _resource(
        self, call: Call, below: str, kind: str, name: str, properties: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": f"azureml://registries/{BUILT_IN}/environments/{below}",
            "name": name,
            "type": f"{PROVIDER}/registries/{kind}",
            "properties": {"tags": {}, "properties": {}, "provisioningState": "Succeeded"}
            | properties,
            "systemData": {"createdBy": "Microsoft", "createdByType": "Application"},
        }

    def _nothing(self, call: Call) -> Response:
        self._require(call)
        return json_response({"value": []})

    def _refuse(self, call: Call) -> Response:
        self._require(call)
        raise not_from_registry(f"azureml://registries/{BUILT_IN}/{call['kind']}/{call['name']}")
