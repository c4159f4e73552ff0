"""What the service refuses beyond what a type says: sizes, counts, and what is in use. Pure.

Each function raises ``ArmError`` in the service's shape, or returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azureml_emulator.arm._sizes import is_size
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError

__all__ = [
    "check_cluster",
    "check_counts",
    "check_datastore",
    "check_deletable",
    "check_environment",
    "check_experiment",
    "check_instances",
    "check_machine",
    "check_own_name",
    "check_same_job",
    "check_unused",
]

_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/.+/workspaces/[^/]+/)?datastores/([^/]+)/paths/", re.IGNORECASE
)
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,254}")
# The least that numbers can be, which the types leave open.
_LEAST = {
    "limits.maxTotalTrials": 1, "limits.maxConcurrentTrials": 1, "limits.maxTrials": 1,
    "taskDetails.limitSettings.maxTrials": 1, "taskDetails.limitSettings.maxConcurrentTrials": 1,
    "taskDetails.nCrossValidations.value": 2,
    "distribution.processCountPerInstance": 1, "distribution.workerCount": 1,
    "requestSettings.maxConcurrentRequestsPerInstance": 1, "livenessProbe.failureThreshold": 1,
    "livenessProbe.successThreshold": 1, "readinessProbe.failureThreshold": 1,
    "readinessProbe.successThreshold": 1, "scaleSettings.minInstances": 0,
    "scaleSettings.maxInstances": 1, "miniBatchSize": 1, "maxConcurrencyPerInstance": 1,
    "errorThreshold": -1, "retrySettings.maxRetries": 0, "resources.instanceCount": 1,
}  # fmt: skip
# What a job of a kind consists of; a request that repeats a name has to repeat it.
_CONTENT = (
    "jobType", "command", "codeId", "environmentId", "computeId", "componentId", "experimentName",
    "inputs",
)  # fmt: skip


def _refused(message: str, status: int = 400) -> ArmError:
    return ArmError(status, "UserError", message)


def check_cluster(draft: Draft) -> None:
    """Refuse a machine that there is not, an impossible count of nodes, and another size."""
    sent = draft.properties
    if sent.get("computeType") not in ("AmlCompute", "ComputeInstance"):
        return
    wanted = sent.get("properties") or {}
    size = wanted.get("vmSize")
    check_machine(size)
    scale = wanted.get("scaleSettings") or {}
    least, most = scale.get("minNodeCount") or 0, scale.get("maxNodeCount")
    if most is not None and not 0 <= least <= most:
        raise _refused(
            f"A cluster of {least} to {most} nodes cannot be: the least is above the most."
        )
    if least < 0:
        raise _refused(f"minNodeCount is {least}, below 0.")
    before = ((draft.old.properties.get("properties") if draft.old else None) or {}).get("vmSize")
    if before and size and str(size).lower() != str(before).lower():
        raise _refused(f"The size of '{draft.name}' is {before} and cannot be changed to {size}.")


def check_own_name(segment: str, name: str) -> None:
    """Refuse a name that the service keeps for its own environments."""
    if segment == "environments" and name.lower().startswith("azureml-"):
        raise _refused(f"'{name}' begins with 'AzureML-', which only Azure's own environments do.")


def check_environment(draft: Draft) -> None:
    """Refuse an environment that is made of nothing."""
    sent = draft.properties
    if not any(sent.get(name) for name in ("image", "build", "condaFile")):
        raise _refused("An environment needs an image or a build context.")


def check_machine(size: Any) -> None:
    """Refuse a size of virtual machine that Azure does not have."""
    if size and not is_size(str(size)):
        raise _refused(f"'{size}' is not a size of virtual machine that the region has.")


def check_datastore(uri: Any, known: Callable[[str], bool]) -> None:
    """Refuse an address on a datastore that there is not."""
    match = _DATASTORE.match(str(uri or ""))
    if match and not known(match[1]):
        raise _refused(f"The datastore '{match[1]}' was not found in the workspace.", 404)


def check_deletable(datastore: Resource) -> None:
    """Refuse to delete the default datastore."""
    if datastore.properties.get("isDefault"):
        raise _refused(f"'{datastore.name}' is the default datastore and cannot be deleted.")


def check_instances(count: Any, cluster: Mapping[str, Any] | None) -> None:
    """Refuse a job that asks for no node, or for more than its cluster may have."""
    if count is None or not str(count).removeprefix("-").isdecimal():
        return
    if int(count) < 1:
        raise _refused(f"The job asks for {count} instances, and needs 1 or more.")
    scale = ((cluster or {}).get("properties") or {}).get("scaleSettings") or {}
    most = scale.get("maxNodeCount")
    if most is not None and int(count) > int(most):
        raise _refused(f"The job asks for {count} instances, and its cluster has {most} at most.")


def check_same_job(name: str, before: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Refuse a name that another job has: what a job consists of cannot be changed."""
    for field in _CONTENT:
        if sent.get(field) is not None and _plain(sent[field]) != _plain(before.get(field)):
            raise ArmError(
                409,
                "UserError",
                f"A job '{name}' is there already, and its {field} cannot be changed; use another "
                "name.",
                inner="Immutable",
            )


def _plain(value: Any) -> Any:
    """Return a value without what may be spelled in two ways: nulls, modes, ``azureml:`` of ids."""
    if isinstance(value, Mapping):
        kept = {name: item for name, item in value.items() if name != "mode" and item is not None}
        return {name: _plain(item) for name, item in kept.items()}
    if isinstance(value, str) and value.lower().startswith("azureml:/subscriptions"):
        return value[len("azureml:") :].lower()
    return value.lower() if isinstance(value, str) and value.startswith("/subscr") else value


def check_experiment(name: Any) -> None:
    """Refuse a name that no experiment of a job has."""
    if name is not None and not _EXPERIMENT.fullmatch(str(name)):
        raise _refused(
            f"'{name}' is not a name for an experiment: letters, digits, blanks, '-' and "
            "'_', at most 255, the first a letter or digit."
        )


def check_counts(properties: Mapping[str, Any]) -> None:
    """Refuse numbers of a job, an endpoint's deployment or their limits that cannot be."""
    for place, least in _LEAST.items():
        value: Any = properties
        for name in place.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int) and value < least:
            raise _refused(f"{place} is {value}, below {least}.")


def check_unused(what: str, users: Sequence[str]) -> None:
    """Refuse to delete what others need."""
    if users:
        raise ArmError(409, "Conflict", f"{what} is in use by {', '.join(sorted(users))}.")
