"""The subscription, its resource groups, and templates that create workspaces.

The SDK makes a workspace by sending a template with everything that Azure needs beside it.
Here the workspace alone is made of it; its storage is there anyway.
"""

from __future__ import annotations

import uuid
from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER
from azureml_emulator.arm.management import GROUP_PATH, WORKSPACE_PATH, Management
from azureml_emulator.arm.resources import timestamp
from azureml_emulator.arm.workspace import Workspaces
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["Subscription"]

SUBSCRIPTION = "/subscriptions/{subscription}"
TEMPLATES = f"{GROUP_PATH}/providers/Microsoft.Resources/deployments"
# ResourceType of which there are none here, listed as such.
EMPTY = ("marketplaceSubscriptions", "outboundRules", "serverlessEndpoints")


class Subscription:
    """Serves the subscription and its resource groups."""

    def __init__(self, management: Management, workspaces: Workspaces) -> None:
        self._management, self._workspaces = management, workspaces

    def routes(self) -> list[Route]:
        """Return the routes."""
        registries = f"/providers/{PROVIDER}/registries"
        table = [
            ("GET", "/subscriptions", self._list),
            ("GET", SUBSCRIPTION, self._get),
            ("GET", f"{SUBSCRIPTION}/resourceGroups", self._groups),
            ("GET", GROUP_PATH, self._group),
            ("PUT", f"{TEMPLATES}/{{template}}", self._deploy),
            ("GET", f"{TEMPLATES}/{{template}}", self._deployed),
            ("POST", f"{TEMPLATES}/{{template}}/validate", self._validate),
            ("GET", f"{GROUP_PATH}/deployments/{{template}}/operations", self._nothing),
            ("GET", f"{GROUP_PATH}{registries}", self._nothing),
            ("GET", f"{SUBSCRIPTION}{registries}", self._nothing),
            *(("GET", f"{WORKSPACE_PATH}/{kind}", self._nothing) for kind in EMPTY),
        ]
        return [Route(method, ARM_HOST, path, handler) for method, path, handler in table]

    def _shown(self) -> dict[str, Any]:
        account = self._management.account
        return {
            "id": f"/subscriptions/{account.subscription_id}",
            "subscriptionId": account.subscription_id,
            "tenantId": account.tenant_id,
            "displayName": "Emulator",
            "state": "Enabled",
        }

    def _list(self, call: Call) -> Response:
        return json_response({"value": [self._shown()]})

    def _get(self, call: Call) -> Response:
        self._management.require_subscription(call)
        return json_response(self._shown())

    def _shown_group(self, name: str) -> dict[str, Any]:
        account = self._management.account
        return {
            "id": f"/subscriptions/{account.subscription_id}/resourceGroups/{name}",
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": account.location,
            "properties": {"provisioningState": "Succeeded"},
        }

    def _groups(self, call: Call) -> Response:
        self._management.require_subscription(call)
        return json_response(
            {"value": [self._shown_group(self._management.account.resource_group)]}
        )

    def _group(self, call: Call) -> Response:
        self._management.require_subscription(call)
        name = self._management.account.resource_group
        if call["group"].lower() != name.lower():
            raise ArmError(
                404,
                "ResourceGroupNotFound",
                f"Resource group '{call['group']}' could not be found.",
            )
        return json_response(self._shown_group(name))

    def _nothing(self, call: Call) -> Response:
        self._management.require_subscription(call)
        return json_response({"value": []})

    # Templates

    def _deploy(self, call: Call) -> Response:
        """Make the workspace that a template is about."""
        self._management.require_subscription(call)
        parameters = (call.json().get("properties") or {}).get("parameters") or {}
        given = {
            name: item.get("value") for name, item in parameters.items() if isinstance(item, dict)
        }
        name = given.get("workspaceName")
        if not name:
            raise ArmError(
                400,
                "InvalidTemplate",
                "The emulator knows templates with a parameter workspaceName only.",
            )
        shown = ("friendlyName", "description", "publicNetworkAccess", "imageBuildCompute")
        self._workspaces.make(
            call["group"],
            str(name),
            kind=str(given.get("kind") or "Default"),
            tags=given.get("tagValues") or {},
            properties={field: given[field] for field in shown if given.get(field)},
        )
        return json_response(self._template(call), 201)

    def _validate(self, call: Call) -> Response:
        """Tell whether the assets of a template would be taken."""
        self._management.require_subscription(call)
        template = (call.json().get("properties") or {}).get("template") or {}
        problems = []
        for item in template.get("resources") or []:
            workspace, *names = str(item.get("name", "")).split("/")
            where = GROUP_PATH.format(subscription=call["subscription"], group=call["group"])
            above = f"{where}/providers/{PROVIDER}/workspaces/{workspace}"
            segment = str(item.get("type", "")).removesuffix("/versions").rpartition("/")[2]
            try:
                self._management.validate(above, segment, names, item)
            except ArmError as error:
                target = "properties/componentSpec"
                problems.append({"code": error.code, "message": error.message, "target": target})
        if problems:
            error_body = {**problems[0], "code": "InvalidTemplateDeployment", "details": problems}
            return json_response({"error": error_body}, 400)
        return json_response(self._template(call))

    def _deployed(self, call: Call) -> Response:
        raise not_found(call.path)

    @staticmethod
    def _template(call: Call) -> dict[str, Any]:
        return {
            "id": call.path,
            "name": call["template"],
            "type": "Microsoft.Resources/deployments",
            "properties": {
                "provisioningState": "Succeeded",
                "correlationId": str(uuid.uuid4()),
                "timestamp": timestamp(),
                "duration": "PT1S",
                "mode": "Incremental",
                "outputs": {},
                "outputResources": [],
                "providers": [],
                "dependencies": [],
            },
        }
