"""Quotas, machine sizes and permissions of the subscription."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from azureml_emulator.account import ARM_HOST, PROVIDER
from azureml_emulator.arm.availability import check_location
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.routing import Call, Route, json_response

__all__ = ["Capacity"]

LOCATION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/locations/{{location}}"
PERMISSIONS = f"{WORKSPACE_PATH}/providers/Microsoft.Authorization/permissions"

# Name, family, cores, GPUs, memory in GiB: the sizes that samples use.
SIZES = (
    ("Standard_DS2_v2", "standardDSv2Family", 2, 0, 7.0),
    ("Standard_DS3_v2", "standardDSv2Family", 4, 0, 14.0),
    ("Standard_DS4_v2", "standardDSv2Family", 8, 0, 28.0),
    ("Standard_DS11_v2", "standardDSv2Family", 2, 0, 14.0),
    ("Standard_DS12_v2", "standardDSv2Family", 4, 0, 28.0),
    ("Standard_D2_v2", "standardDv2Family", 2, 0, 7.0),
    ("Standard_E4s_v3", "standardESv3Family", 4, 0, 32.0),
    ("Standard_F2s_v2", "standardFSv2Family", 2, 0, 4.0),
    ("Standard_F4s_v2", "standardFSv2Family", 4, 0, 8.0),
    ("Standard_NC6s_v3", "standardNCSv3Family", 6, 1, 112.0),
)
CORES = {"standardDSv2Family": 100, "standardNCSv3Family": 0}
OTHERS = 24


class Capacity:
    """Answers requests about the subscription's limits; nothing counts against them."""

    def __init__(self, management: Management) -> None:
        self._management = management

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", ARM_HOST, f"{LOCATION}/usages", self._usages),
            Route("GET", ARM_HOST, f"{LOCATION}/vmSizes", self._sizes),
            Route("GET", ARM_HOST, PERMISSIONS, self._permissions),
        ]

    def _usages(self, call: Call) -> Response:
        self._management.require_subscription(call)
        check_location(call["location"])
        families = sorted({family for _, family, *_ in SIZES})
        scope = LOCATION.format(**call.parameters)
        return json_response(
            {
                "value": [
                    {
                        "id": f"{scope}/usages/{family}",
                        "type": f"{PROVIDER}/usages",
                        "unit": "Count",
                        "currentValue": 0,
                        "limit": CORES.get(family, OTHERS),
                        "name": {"value": family, "localizedValue": f"{family} cluster vCPUs"},
                    }
                    for family in families
                ]
            }
        )

    def _sizes(self, call: Call) -> Response:
        self._management.require_subscription(call)
        check_location(call["location"])
        return json_response({"value": [_size(*size) for size in SIZES]})

    def _permissions(self, call: Call) -> Response:
        self._management.require_workspace(call)
        # The caller signed in as the owner of the emulated subscription.
        everything = {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
        return json_response({"value": [everything]})


def _size(name: str, family: str, cores: int, gpus: int, memory: float) -> dict[str, Any]:
    return {
        "name": name,
        "family": family,
        "vCPUs": cores,
        "gpus": gpus,
        "osVhdSizeMB": 1_047_552,
        "maxResourceVolumeMB": 28_672,
        "memoryGB": memory,
        "lowPriorityCapable": True,
        "premiumIO": True,
        "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
    }
