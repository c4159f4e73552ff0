"""Schedules on the management plane, and the jobs that they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.routing import Call, Route, json_response
from azureml_emulator.schedules._clock import ScheduleClock
from azureml_emulator.schedules._monitor import monitor_job
from azureml_emulator.schedules._trigger import check

__all__ = ["InvokeBatch", "Schedules", "SubmitJob"]

# The actions, and where each has its definition.
ACTIONS = {
    "CreateJob": "jobDefinition",
    "CreateMonitor": "monitorDefinition",
    "InvokeBatchEndpoint": "endpointInvocationDefinition",
}
# What the service notes down of a job; a new one from the same definition has its own.
_OF_ONE_JOB = ("services", "status", "sourceJobId", "isArchived")


class SubmitJob(Protocol):
    """Accepts a job in a workspace and returns it."""

    def __call__(
        self, workspace: str, properties: Mapping[str, Any], *, name: str | None = None
    ) -> Resource:
        """Submit the job; raises ``ArmError`` if it is refused."""
        ...


class InvokeBatch(Protocol):
    """Invokes a batch endpoint and returns the job."""

    def __call__(
        self,
        endpoint: str,
        properties: Mapping[str, Any],
        *,
        deployment: str | None = None,
        name: str | None = None,
    ) -> Resource:
        """Invoke the endpoint; raises ``ArmError`` if it refuses."""
        ...


class Schedules:
    """Keeps schedules and fires them.

    Parameters
    ----------
    management
        Where schedules are kept.
    check
        Raises ``ArmError`` for a job, in a workspace, that would be refused.
    submit, invoke
        Start a job, by its definition or by a batch endpoint.
    """

    def __init__(
        self,
        management: Management,
        check: Callable[[str, Mapping[str, Any]], None],
        submit: SubmitJob,
        invoke: InvokeBatch,
    ) -> None:
        self._management, self._submit, self._invoke = management, submit, invoke
        self._check_job = check
        self._store = management.store
        self._clock = ScheduleClock(management.store, self._fire)
        management.before_write("schedules", self._check)
        management.before_delete("schedules", self._check_disabled)
        management.after_write("schedules", lambda _: self._clock.changed())
        management.after_delete("schedules", lambda _: self._clock.changed())

    def routes(self) -> list[Route]:
        """Return the routes beyond create, read, update and delete."""
        path = f"{WORKSPACE_PATH}/schedules/{{name}}/trigger"
        return [Route("POST", ARM_HOST, path, self._trigger)]

    def start(self) -> None:
        """Start firing."""
        self._clock.start()

    def close(self) -> None:
        """Stop firing."""
        self._clock.stop()

    @staticmethod
    def _check_disabled(schedule: Resource) -> None:
        if schedule.properties.get("isEnabled", True):
            raise ArmError(
                400,
                "UserError",
                f"Cannot delete an active trigger: disable the schedule '{schedule.name}' first.",
            )

    def _check(self, draft: Draft) -> None:
        properties = draft.properties
        trigger, action = properties["trigger"], properties["action"]
        check(trigger)
        kind = action.get("actionType")
        if kind not in ACTIONS:
            raise ArmError(
                400,
                "NotImplementedByEmulator",
                f"The emulator knows the actions {', '.join(ACTIONS)}, not '{kind}'.",
            )
        needed = ACTIONS[kind]
        if not isinstance(action.get(needed), Mapping):
            raise ArmError(400, "ValidationError", f"The {needed} of the action is missing.")
        workspace = draft.id.rpartition("/schedules/")[0]
        if kind == "CreateJob":
            self._check_job(workspace, self._definition(workspace, action[needed]))
        elif kind == "CreateMonitor":
            self._check_monitor(draft, action[needed])
        elif self._store.get(_endpoint(workspace, dict(action[needed]))) is None:
            raise not_found(_endpoint(workspace, dict(action[needed])))

    def _check_monitor(self, draft: Draft, definition: Mapping[str, Any]) -> None:
        target = dict(definition.get("monitoringTarget") or {})
        for name in ("deploymentId", "modelId"):
            asset = str(target.get(name) or "").removeprefix("azureml:")
            if asset.startswith("/subscriptions") and self._store.get(asset) is None:
                raise not_found(asset)
        job = monitor_job(draft.name, definition, datetime.now(UTC), {})
        self._check_job(draft.id.rpartition("/schedules/")[0], job)

    def _fire(self, schedule: Resource, moment: datetime) -> None:
        self._start_job(schedule, moment)

    def _start_job(self, schedule: Resource, moment: datetime, suffix: str = "") -> Resource:
        """Start the job of a schedule unless it was started before."""
        workspace = schedule.id.rpartition("/schedules/")[0]
        name = f"{schedule.name}_{moment:%Y%m%d%H%M%S}{suffix}"
        found = self._store.get(f"{workspace}/jobs/{name}")
        if found is not None:
            return found
        action = schedule.properties["action"]
        mark = {"azureml.scheduleId": schedule.name}
        if action["actionType"] == "InvokeBatchEndpoint":
            definition = dict(action["endpointInvocationDefinition"])
            endpoint = _endpoint(workspace, definition)
            deployment = definition.pop("deploymentName", None)
            return self._invoke(endpoint, definition, deployment=deployment, name=name)
        if action["actionType"] == "CreateMonitor":
            job = monitor_job(schedule.name, action["monitorDefinition"], moment, mark)
            return self._submit(workspace, job, name=name)
        properties = self._definition(workspace, action["jobDefinition"])
        properties["properties"] = {**(properties.get("properties") or {}), **mark}
        return self._submit(workspace, properties, name=name)

    def _definition(self, workspace: str, definition: Mapping[str, Any]) -> dict[str, Any]:
        """Return the properties of a job: as defined, or as those of the job it refers to."""
        source = definition.get("sourceJobId")
        base: Mapping[str, Any] = {}
        if source:
            job = self._store.get(f"{workspace}/jobs/{str(source).rpartition('/')[2]}")
            if job is None:
                raise not_found(str(source))
            base = job.properties
        given = {name: value for name, value in definition.items() if value not in (None, "", {})}
        merged = {**base, **given}
        return {name: value for name, value in merged.items() if name not in _OF_ONE_JOB}

    def _trigger(self, call: Call) -> Response:
        schedule = self._management.require(call, "schedules", call["name"])
        given = str(call.json().get("scheduleTime") or datetime.now(UTC).isoformat())
        try:
            moment = datetime.fromisoformat(given)
        except ValueError as error:
            raise ArmError(400, "ValidationError", f"scheduleTime is '{given}'.") from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        job = self._start_job(schedule, moment, "_once")
        return json_response({"scheduleActionType": "CreateJob", "submissionId": job.name})


def _endpoint(workspace: str, definition: dict[str, Any]) -> str:
    """Take the batch endpoint out of the definition of an invocation, and return its ARM id."""
    named = [str(definition.pop(name, None) or "") for name in ("endpoint", "endpointName")]
    endpoint = named[0] or named[1]
    return endpoint if "/" in endpoint else f"{workspace}/batchEndpoints/{endpoint}"
