"""Long-running operations: accepted with an address to poll, asked after, and their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER, Account
from azureml_emulator.arm.resources import Effect, Operation, Resource, ResourceStore, timestamp
from azureml_emulator.errors import not_found
from azureml_emulator.faults.plan import OPERATION_SECONDS
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["Operations", "extra_seconds"]

PATH = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/locations/{{location}}"
# The SDK takes ``Retry-After: 0`` for "no header" and then waits 30 seconds.
POLL_MILLISECONDS = 50
WORK_POLL_MILLISECONDS = 250

Answer = Callable[[Resource, int], Response]


class Operations:
    """Begins operations and answers for them.

    Parameters
    ----------
    store
        Where they are kept.
    answer
        Makes an answer of a resource and a status.
    seconds
        How long an operation takes that has no work to do.
    """

    def __init__(
        self, account: Account, store: ResourceStore, answer: Answer, *, seconds: float
    ) -> None:
        self._account, self._store, self._answer, self._seconds = account, store, answer, seconds

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", ARM_HOST, f"{PATH}/mfeOperationsStatus/{{id}}", self._status),
            Route("GET", ARM_HOST, f"{PATH}/mfeOperationsResults/{{id}}", self._result),
        ]

    def begin(self, call: Call, resource: Resource, effect: Effect) -> Operation:
        """Accept an operation on a resource."""
        return self._store.begin(resource.id, effect, self._seconds + extra_seconds(call))

    def polled(self, call: Call, resource: Resource, operation: Operation, status: int) -> Response:
        """Return the answer that tells where to ask after an operation."""
        version = call.query.get("api-version", "2023-04-01-preview")
        place = PATH.format(
            subscription=self._account.subscription_id, location=self._account.location
        )
        base = f"https://{ARM_HOST}{place}"
        response = Response(status=status) if status == 202 else self._answer(resource, status)
        response.headers["Azure-AsyncOperation"] = (
            f"{base}/mfeOperationsStatus/{operation.id}?api-version={version}"
        )
        if status == 202:
            response.headers["Location"] = (
                f"{base}/mfeOperationsResults/{operation.id}?api-version={version}"
            )
        response.headers["x-ms-async-operation-timeout"] = "PT1H"
        response.headers["x-ms-retry-after-ms"] = _pause(operation)
        return response

    def _required(self, call: Call) -> Operation:
        operation = self._store.operation(call["id"])
        if operation is None:
            raise not_found(call.path)
        return operation

    def _status(self, call: Call) -> Response:
        operation = self._required(call)
        body: dict[str, Any] = {
            "id": call.path,
            "name": operation.id,
            "startTime": timestamp(operation.started),
            "status": _status_of(operation),
            "percentComplete": 100.0 if operation.done else 0.0,
        }
        if operation.done:
            body["endTime"] = timestamp(operation.ends)
        if operation.error:
            body["error"] = dict(operation.error)
        return json_response(body, headers={"x-ms-retry-after-ms": _pause(operation)})

    def _result(self, call: Call) -> Response:
        operation = self._required(call)
        if not operation.done:
            headers = {
                "Location": f"https://{ARM_HOST}{call.path}?{urlencode(call.query)}",
                "x-ms-retry-after-ms": _pause(operation),
            }
            return Response(status=202, headers=headers)
        resource = self._store.get(operation.resource)
        return Response(status=204) if resource is None else self._answer(resource, 200)


def extra_seconds(call: Call) -> float:
    """Return how much longer a fault rule makes the operation of a request."""
    return float(call.request.environ.get(OPERATION_SECONDS, 0.0))


def _pause(operation: Operation) -> str:
    return str(WORK_POLL_MILLISECONDS if operation.effect == "work" else POLL_MILLISECONDS)


def _status_of(operation: Operation) -> str:
    if not operation.done:
        return "InProgress"
    return "Failed" if operation.error else "Succeeded"
