"""Azure's management plane for the emulated types: create, read, update, delete, list, poll."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER, Account
from azureml_emulator.arm import listing
from azureml_emulator.arm._conditions import conditions_hold
from azureml_emulator.arm._operations import Operations, extra_seconds
from azureml_emulator.arm.availability import check_location
from azureml_emulator.arm.contract import fitted
from azureml_emulator.arm.envelope import (
    asset_of,
    enveloped,
    number_versions,
    rendered,
    type_of,
)
from azureml_emulator.arm.refusals import check_counts, check_datastore, check_own_name
from azureml_emulator.arm.resource_types import (
    RESOURCE_TYPES,
    WORKSPACE,
    Draft,
    ResourceType,
    stored_version,
)
from azureml_emulator.arm.resources import Effect, Operation, Resource, ResourceStore
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["GROUP_PATH", "WORKSPACE_PATH", "Management"]

GROUP_PATH = "/subscriptions/{subscription}/resourceGroups/{group}"
WORKSPACES_PATH = f"{GROUP_PATH}/providers/{PROVIDER}/workspaces"
WORKSPACE_PATH = f"{WORKSPACES_PATH}/{{workspace}}"
# What the SDK asks for where a component is named without a version.
DEFAULT_VERSION = "azureml_default"
BUSY = {"Creating", "Updating", "Deleting"}

CheckHook = Callable[[Draft], None]
FindHook = Callable[[str, str, str | None], None]
ResourceHook = Callable[[Resource], None]
WorkHook = Callable[[Resource, Operation], None]


class Management:
    """Serves the types of ``azureml_emulator.arm.resource_types`` from a resource store.

    Parameters
    ----------
    account
        Whom the emulator pretends to be.
    store
        Where the resources are.
    operation_seconds
        How long making or deleting a long-running resource takes.
    """

    def __init__(
        self, account: Account, store: ResourceStore, *, operation_seconds: float = 0.2
    ) -> None:
        self.account, self.store = account, store
        self._operations = Operations(account, store, self.answer, seconds=operation_seconds)
        self._checks: dict[str, CheckHook] = {}
        self._providers: dict[str, Callable[[str], None]] = {}
        self._finders: dict[str, FindHook] = {}
        self._written: dict[str, ResourceHook] = {}
        self._delete_checks: dict[str, ResourceHook] = {}
        self._deleted: dict[str, list[ResourceHook]] = {}
        self._workers: dict[str, WorkHook] = {}

    def before_write(self, key: str, check: CheckHook) -> None:
        """Have ``check`` look at each resource of a kind before it is stored."""
        self._checks[key] = check

    def after_write(self, key: str, hook: ResourceHook) -> None:
        """Call ``hook`` when a resource of a kind has been stored."""
        self._written[key] = hook

    def before_delete(self, key: str, check: ResourceHook) -> None:
        """Have ``check`` look at each resource of a kind before its deletion is accepted."""
        self._delete_checks[key] = check

    def after_delete(self, key: str, hook: ResourceHook) -> None:
        """Call ``hook`` when the deletion of a resource of a kind has been accepted."""
        self._deleted.setdefault(key, []).append(hook)

    def do_work(self, key: str, worker: WorkHook) -> None:
        """Have ``worker`` create each resource of a type in a thread, and finish its operation."""
        self._workers[key] = worker

    def before_list(self, segment: str, provide: Callable[[str], None]) -> None:
        """Have ``provide`` create what the service itself provides before a list.

        It gets the workspace's id.
        """
        self._providers[segment] = provide

    def before_read(self, segment: str, find: FindHook) -> None:
        """Have ``find`` create what the service itself provides before a read.

        It gets the workspace's id, the asset's name and the version, if one was asked for.
        """
        self._finders[segment] = find

    def _look(self, call: Call, segment: str) -> None:
        find = self._finders.get(segment)
        if find is not None:
            workspace = self.require_workspace(call).id
            find(workspace, call["name"], call.parameters.get("version"))

    def routes(self) -> list[Route]:
        """Return the routes of the workspace, of every resource type and of operations."""
        table = [
            self._route("GET", WORKSPACES_PATH, self._list_workspaces),
            self._route(
                "GET",
                f"/subscriptions/{{subscription}}/providers/{PROVIDER}/workspaces",
                self._list_workspaces,
            ),
            *self._operations.routes(),
            *self._item_routes(WORKSPACE, WORKSPACE_PATH),
        ]
        for kind in RESOURCE_TYPES:
            above = f"/{kind.parent}/{{parent}}" if kind.parent else ""
            collection = f"{WORKSPACE_PATH}{above}/{kind.segment}"
            item = f"{collection}/{{name}}"
            table.append(self._route("GET", collection, partial(self._list, kind)))
            table += self._item_routes(kind, item)
            if kind.versioned:
                versions = f"{item}/versions"
                table.append(self._route("GET", versions, partial(self._list_versions, kind)))
                table += self._item_routes(kind, f"{versions}/{{version}}")
        return table

    @staticmethod
    def _route(method: str, path: str, handler: Callable[[Call], Response]) -> Route:
        return Route(method, ARM_HOST, path, handler)

    def _item_routes(self, kind: ResourceType, path: str) -> list[Route]:
        return [
            self._route("GET", path, partial(self._get, kind)),
            self._route("PUT", path, partial(self._put, kind)),
            self._route("PATCH", path, partial(self._patch, kind)),
            self._route("DELETE", path, partial(self._delete, kind)),
        ]

    # Reading

    def require_workspace(self, call: Call) -> Resource:
        """Return the workspace that a request is about; ``ArmError`` if there is none."""
        self.require_subscription(call)
        path = WORKSPACE_PATH.format(
            subscription=call["subscription"], group=call["group"], workspace=call["workspace"]
        )
        workspace = self.store.get(path)
        if workspace is None:
            if call["group"].lower() != self.account.resource_group.lower():
                raise ArmError(
                    404,
                    "ResourceGroupNotFound",
                    f"Resource group '{call['group']}' could not be found.",
                )
            raise ArmError(
                404,
                "ResourceNotFound",
                f"The Resource '{PROVIDER}/workspaces/{call['workspace']}' under resource group "
                f"'{call['group']}' was not found. The emulator has "
                f"'{self.account.workspace}'.",
            )
        return workspace

    def require_subscription(self, call: Call) -> None:
        """Raise ``ArmError`` unless the request is about the emulated subscription."""
        if call["subscription"].lower() != self.account.subscription_id.lower():
            raise ArmError(
                404,
                "SubscriptionNotFound",
                f"The subscription '{call['subscription']}' could not be found.",
            )

    def require(self, call: Call, *segments: str) -> Resource:
        """Return the resource below the workspace at ``segments``."""
        workspace = self.require_workspace(call)
        resource_id = "/".join((workspace.id, *segments))
        resource = self.store.get(resource_id)
        if resource is None:
            raise not_found(resource_id)
        return resource

    def _get(self, kind: ResourceType, call: Call) -> Response:
        if self._is_workspace(call):
            return self.answer(self.require_workspace(call))
        self._look(call, kind.segment)
        self.require_workspace(call)
        resource = self.store.get(call.path)
        if resource is None and call.parameters.get("version") == DEFAULT_VERSION:
            versions = self.store.list(call.path.rpartition("/")[0])
            resource = next((item for item in reversed(versions) if not item.archived), None)
        if resource is None:
            raise not_found(call.path)
        return self.answer(resource)

    def _list_workspaces(self, call: Call) -> Response:
        self.require_subscription(call)
        group = call.parameters.get("group", self.account.resource_group)
        path = WORKSPACES_PATH.format(subscription=self.account.subscription_id, group=group)
        return self._page(call, listing.workspaces(self.store.list(path), call.query))

    def _list(self, kind: ResourceType, call: Call) -> Response:
        provide = self._providers.get(kind.segment)
        if provide is not None:
            provide(self.require_workspace(call).id)
        return self._page(call, self.store.list(self._collection(kind, call)))

    def _collection(self, kind: ResourceType, call: Call) -> str:
        """Return the id that a kind's resources are under; what is above has to be there."""
        if kind.parent is None:
            return f"{self.require_workspace(call).id}/{kind.segment}"
        return f"{self.require(call, kind.parent, call['parent']).id}/{kind.segment}"

    def _list_versions(self, kind: ResourceType, call: Call) -> Response:
        self._look(call, kind.segment)
        collection = f"{self.require_workspace(call).id}/{kind.segment}"
        if kind.segment == "codes" and "hash" in call.query:
            # Under whichever name: the SDK makes a name up, and asks for the content.
            everywhere = self.store.find("*/codes/*/versions/*")
            found = [
                one for one in everywhere if one.id.lower().startswith(f"{collection}/".lower())
            ]
        else:
            found = self.store.list(f"{collection}/{call['name']}/versions")
        return self._page(call, found)

    def _page(self, call: Call, found: list[Resource]) -> Response:
        page = listing.page(found, call.query)
        return self.paged(call, [rendered(item) for item in page.items], page)

    def paged(self, call: Call, rendered: list[dict[str, Any]], page: listing.Page) -> Response:
        """Return a part of a list as an answer, with the address of the rest."""
        body: dict[str, Any] = {"value": rendered}
        if page.next_token is not None:
            query = urlencode({**call.query, "$skip": page.next_token}, safe="$")
            body["nextLink"] = f"https://{ARM_HOST}{call.path}?{query}"
        return json_response(body)

    # Writing

    @staticmethod
    def _is_workspace(call: Call) -> bool:
        return "name" not in call.parameters

    def _put(self, kind: ResourceType, call: Call) -> Response:
        body = call.json()
        with self.store.transaction():
            response, begun = self._write(kind, call, body)
        self._set_to_work(kind, call, begun)
        return response

    def _patch(self, kind: ResourceType, call: Call) -> Response:
        change = call.json()
        with self.store.transaction():
            if not self._is_workspace(call):
                self.require_workspace(call)
            resource = self.store.get(call.path)
            if resource is None:
                raise not_found(call.path)
            merged = listing.merged(resource.body, change)
            response, begun = self._write(kind, call, merged)
        self._set_to_work(kind, call, begun)
        return response

    def _set_to_work(
        self, kind: ResourceType, call: Call, begun: tuple[Resource, Operation] | None
    ) -> None:
        """Start the work of an accepted request, which is on disk."""
        written = self._written.get(kind.key)
        if written is not None and begun is not None:
            written(begun[0])
        worker = self._workers.get(kind.key)
        if worker is not None and begun is not None:
            timer = threading.Timer(extra_seconds(call), worker, begun)
            timer.daemon = True
            timer.start()

    def _write(
        self, kind: ResourceType, call: Call, body: dict[str, Any]
    ) -> tuple[Response, tuple[Resource, Operation] | None]:
        resource_id = self._writable_id(kind, call, body)
        old = self.store.get(resource_id)
        self._check_conditions(call, old)
        self._check_idle(old)
        is_container = kind.versioned and "version" not in call.parameters
        body = fitted(kind.type_name(whole=not is_container), body)
        check_location(body.get("location"))
        check_own_name(kind.segment, call.parameters.get("name", ""))
        self._check_content(resource_id, body.get("properties") or {})
        draft = Draft(resource_id, resource_id.rpartition("/")[2], body, old, self.account)
        if is_container:
            properties = {"isArchived": False, **draft.properties}
        else:
            check = self._checks.get(kind.key)
            if check is not None:
                check(draft)
            properties = kind.checked(draft)
        long_running = kind.long_running
        if kind.provisioned:
            state = ("Updating" if old else "Creating") if long_running else "Succeeded"
            properties["provisioningState"] = state
        stored, new = self.store.put(
            resource_id, enveloped(kind, call.path, body, properties, self.account)
        )
        if kind.versioned:
            number_versions(
                self.store, resource_id if is_container else asset_of(resource_id), kind
            )
            stored = self.store.get(resource_id) or stored
        status = kind.created_status if new else 200
        if not long_running:
            return self.answer(stored, status), None
        operation = self._operations.begin(call, stored, "work" if kind.works else "succeed")
        return self._operations.polled(call, stored, operation, status), (stored, operation)

    def register(
        self,
        workspace: str,
        segment: str,
        name: str,
        version: str | None,
        properties: Mapping[str, Any],
    ) -> Resource:
        """Make a version of an asset on behalf of the service itself, such as a job's output.

        Parameters
        ----------
        workspace
            The workspace's ARM id.
        version
            ``None`` takes the next number.

        Raises
        ------
        ArmError
            The version is there and is another one, or something is missing.
        """
        kind = next(each for each in RESOURCE_TYPES if each.segment == segment)
        asset = f"{workspace}/{segment}/{name}"
        with self.store.transaction():
            if version is None:
                container = self.store.get(asset)
                version = str(container.properties["nextVersion"]) if container else "1"
            resource_id = f"{asset}/versions/{version}"
            sent = {"isAnonymous": False, "isArchived": False, **properties}
            draft = Draft(
                resource_id,
                version,
                fitted(kind.type_name(), {"properties": sent}),
                self.store.get(resource_id),
                self.account,
            )
            check = self._checks.get(segment)
            if check is not None:
                check(draft)
            filled = kind.checked(draft)
            if kind.provisioned:
                filled["provisioningState"] = "Succeeded"
            stored, _ = self.store.put(
                resource_id, {"type": type_of(resource_id), "properties": filled}
            )
            number_versions(self.store, asset, kind)
        return stored

    def validate(
        self, workspace: str, segment: str, names: list[str], body: Mapping[str, Any]
    ) -> None:
        """Check a version of an asset as if it were written, and leave everything as it is.

        Raises
        ------
        ArmError
            It would not be taken.
        """
        kind = next((each for each in RESOURCE_TYPES if each.segment == segment), None)
        if kind is None or not kind.versioned or len(names) != 2:
            raise ArmError(
                400, "InvalidTemplate", f"The emulator does not validate resources of '{segment}'."
            )
        name, version = names
        resource_id = f"{workspace}/{segment}/{name}/versions/{version}"
        for value, allowed in ((name, kind.names), (version, kind.versions)):
            if not allowed.fullmatch(value):
                raise ArmError(400, "ValidationError", f"'{value}' is not a name.")
        read = fitted(kind.type_name(), body)
        draft = Draft(resource_id, version, read, self.store.get(resource_id), self.account)
        check = self._checks.get(kind.key)
        if check is not None:
            check(draft)
        kind.checked(draft)

    def _check_content(self, resource_id: str, properties: Mapping[str, Any]) -> None:
        """Refuse numbers that cannot be, and addresses on datastores that are not there."""
        check_counts(properties)
        above, _, rest = resource_id.partition("/workspaces/")
        stores = f"{above}/workspaces/{rest.partition('/')[0]}/datastores"
        for name in ("dataUri", "modelUri", "codeUri"):
            check_datastore(
                properties.get(name), lambda store: self.store.get(f"{stores}/{store}") is not None
            )

    def _writable_id(self, kind: ResourceType, call: Call, body: Mapping[str, Any]) -> str:
        """Return the id under which a request stores: with the workspace's own spelling."""
        if self._is_workspace(call):
            self.require_subscription(call)
            name = call["workspace"]
            resource_id = WORKSPACE_PATH.format(
                subscription=self.account.subscription_id, group=call["group"], workspace=name
            )
        else:
            name = call["name"]
            resource_id = f"{self._collection(kind, call)}/{name}"
            if "version" in call.parameters:
                resource_id += f"/versions/{stored_version(call['version'], name, body)}"
        version = call.parameters.get("version", "1")
        for value, allowed in ((name, kind.names), (version, kind.versions)):
            if not allowed.fullmatch(value):
                raise ArmError(
                    400,
                    "ValidationError",
                    f"'{value}' is not a name that a resource of '{kind.segment}' can have: it "
                    f"has to match {allowed.pattern}.",
                )
        return resource_id

    @staticmethod
    def _check_conditions(call: Call, old: Resource | None) -> None:
        headers = call.headers
        etag = None if old is None else old.etag
        if not conditions_hold(headers.get("if-match"), headers.get("if-none-match"), etag):
            raise ArmError(
                412,
                "PreconditionFailed",
                "The resource is not in the state that the request was made for.",
            )

    @staticmethod
    def _check_idle(old: Resource | None) -> None:
        state = None if old is None else old.properties.get("provisioningState")
        if old is not None and state in BUSY:
            raise ArmError(
                409,
                "Conflict",
                f"'{old.name}' is in provisioning state '{state}'; wait for its operation to end.",
            )

    def _delete(self, kind: ResourceType, call: Call) -> Response:
        with self.store.transaction():
            if not self._is_workspace(call):
                self.require_workspace(call)
            resource = self.store.get(call.path)
            if resource is None:
                return Response(status=204)
            self._check_conditions(call, resource)
            self._check_idle(resource)
            check = self._delete_checks.get(kind.key)
            if check is not None:
                check(resource)
            if kind.long_running:
                state = {**resource.properties, "provisioningState": "Deleting"}
                stored, _ = self.store.put(resource.id, {**resource.body, "properties": state})
                for hook in self._deleted.get(kind.key, []):
                    hook(stored)
                return self.accepted(call, stored, "delete", 202)
            self.store.delete(resource.id)
            if "version" in call.parameters:
                number_versions(self.store, asset_of(resource.id), kind)
        return Response(status=200)

    def accepted(self, call: Call, resource: Resource, effect: Effect, status: int) -> Response:
        """Begin an operation on a resource and return the answer that tells where to poll."""
        operation = self._operations.begin(call, resource, effect)
        return self._operations.polled(call, resource, operation, status)

    # Answers

    def answer(self, resource: Resource, status: int = 200) -> Response:
        """Return a resource as an answer, with its etag."""
        return json_response(rendered(resource), status, headers={"ETag": f'"{resource.etag}"'})
