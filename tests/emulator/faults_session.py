"""What the unmodified SDK does on a bad day; prints one JSON object of what became of each."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import requests


def main() -> dict[str, Any]:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import AmlCompute, Data, ManagedOnlineEndpoint
    from azure.core.exceptions import AzureError, HttpResponseError
    from azure.identity import DefaultAzureCredential

    client = MLClient(
        DefaultAzureCredential(),
        os.environ["AZUREML_ARM_SUBSCRIPTION"],
        os.environ["AZUREML_ARM_RESOURCEGROUP"],
        os.environ["AZUREML_ARM_WORKSPACE_NAME"],
        show_progress=False,
    )
    admin = requests.Session()
    admin.trust_env = False
    faults = f"{os.environ['HTTPS_PROXY']}/faults"

    def under(rule: str, action: Callable[[], Any]) -> dict[str, Any]:
        assert admin.post(faults, json={"rule": rule}, timeout=10).status_code == 201
        started = time.monotonic()
        outcome: dict[str, Any] = {}
        try:
            action()
        except HttpResponseError as error:
            outcome = {"status": error.status_code, "text": str(error)}
        except AzureError as error:
            outcome = {"status": None, "text": str(error)}
        outcome["seconds"] = time.monotonic() - started
        outcome["struck"] = admin.get(faults, timeout=10).json()["faults"][-1]["struck"]
        admin.delete(faults, timeout=10)
        return outcome

    def endpoint(name: str) -> Callable[[], Any]:
        made = ManagedOnlineEndpoint(name=name, auth_mode="key")
        return lambda: client.online_endpoints.begin_create_or_update(made).result()

    def cluster() -> Any:
        return client.compute.begin_create_or_update(
            AmlCompute(name="cluster", size="STANDARD_DS3_V2", max_instances=1)
        ).result()

    place = "azureml://datastores/workspaceblobstore/paths/x"
    data = Data(name="d", version="1", type="uri_folder", path=place)
    seen = {
        "throttled": under(
            "PUT */onlineEndpoints/* 429 retry-after=2 once", endpoint("throttled-ep")
        ),
        "unavailable": under("GET */workspaces/* 503 2 times", endpoint("unavailable-ep")),
        "conflict": under("PUT */onlineEndpoints/* 409 once", endpoint("conflict-ep")),
        "again": under("PUT */nothing/* 409 once", endpoint("conflict-ep")),
        "reset": under("GET */mfeOperationsStatus/* reset once", endpoint("reset-ep")),
        "expired": under(
            "PUT */data/* token-expired once", lambda: client.data.create_or_update(data)
        ),
        "quota": under("PUT */computes/* quota once", cluster),
        "slow": under("PUT */computes/* operation=2 once", cluster),
        "always": under("PUT */data/* 500 always", lambda: client.data.create_or_update(data)),
    }
    seen["endpoints"] = sorted(item.name for item in client.online_endpoints.list())
    return seen


if __name__ == "__main__":
    answer = main()
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
