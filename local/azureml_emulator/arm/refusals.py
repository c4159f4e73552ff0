"""What the service refuses beyond what a type says: sizes, counts, and what is in use. Pure.

Each function raises ``ArmError`` in the service's shape, or returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError

__all__ = [
    "check_cluster",
    "check_datastore",
    "check_deletable",
    "check_environment",
    "check_instances",
    "check_same_job",
]

# Family, cores, features and version: Standard_DS3_v2, Standard_NC24ads_A100_v4, Standard_E4-2s_v5.
_SIZE = re.compile(
    r"(standard|basic)_[a-z]{1,4}\d+(-\d+)?[a-z]*(_[a-z]+\d+[a-z]*)?(_v\d+)?(_promo)?",
    re.IGNORECASE,
)
_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/.+/workspaces/[^/]+/)?datastores/([^/]+)/paths/", re.IGNORECASE
)
# What a job of a kind consists of; a request that repeats a name has to repeat it.
_CONTENT = ("jobType", "command")


def _refused(message: str, status: int = 400) -> ArmError:
    return ArmError(status, "UserError", message)


def check_cluster(draft: Draft) -> None:
    """Refuse a machine that there is not, an impossible count of nodes, and another size."""
    sent = draft.properties
    if sent.get("computeType") not in ("AmlCompute", "ComputeInstance"):
        return
    wanted = sent.get("properties") or {}
    size = wanted.get("vmSize")
    if size and not _SIZE.fullmatch(str(size)):
        raise _refused(f"'{size}' is not a size of virtual machine that the region has.")
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


def check_environment(draft: Draft) -> None:
    """Refuse an environment that is made of nothing."""
    sent = draft.properties
    if not any(sent.get(name) for name in ("image", "build", "condaFile")):
        raise _refused("An environment needs an image or a build context.")


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
    """Refuse a job that asks for more nodes than its cluster may have."""
    scale = ((cluster or {}).get("properties") or {}).get("scaleSettings") or {}
    most = scale.get("maxNodeCount")
    if most is not None and str(count or 1).isdecimal() and int(count or 1) > int(most):
        raise _refused(f"The job asks for {count} instances, and its cluster has {most} at most.")


def check_same_job(name: str, before: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Refuse a name that another job has: what a job consists of cannot be changed."""
    for field in _CONTENT:
        if sent.get(field) is not None and sent[field] != before.get(field):
            raise ArmError(
                409,
                "UserError",
                f"A job '{name}' is there already, and its {field} cannot be changed; use another "
                "name.",
                inner="Immutable",
            )
