"""The platform ``azure`` on a bad day, as a program: variables say where, rules what befalls it.

Prints one JSON object with what became of each verb.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from platform_session import saved_model


def main(folder: Path) -> dict[str, Any]:
    from twinml.data import load as load_data
    from twinml.errors import TwinmlError
    from twinml.platform import load
    from twinml_azure.resources import Sizes, ensure_cluster

    platform = load("azure")
    admin = requests.Session()
    admin.trust_env = False
    faults = f"{os.environ['HTTPS_PROXY']}/faults"

    def under(rule: str, action: Callable[[], Any]) -> dict[str, Any]:
        assert admin.post(faults, json={"rule": rule}, timeout=10).status_code == 201
        started = time.monotonic()
        outcome: dict[str, Any] = {}
        try:
            outcome["result"] = str(getattr(action(), "version", "done"))
        except TwinmlError as error:
            outcome |= {"kind": type(error).__name__, "text": str(error)}
        outcome["seconds"] = time.monotonic() - started
        outcome["struck"] = admin.get(faults, timeout=10).json()["faults"][-1]["struck"]
        admin.delete(faults, timeout=10)
        return outcome

    def data(name: str) -> Callable[[], Any]:
        table = folder / f"{name}.csv"
        rows = "".join(f"{n},cook,no\n{n + 40},none,yes\n" for n in range(30))
        table.write_text(f"age,job,y\n{rows}")
        return lambda: platform.register_data(load_data(table, "y", name=name))

    def cluster() -> Any:
        return ensure_cluster(platform._connection, Sizes())

    model = saved_model(folder / "model")
    version = platform.register_model(model, name="bank")

    def deploy() -> Any:
        return platform.deploy(version, endpoint="bank-ep", deployment="blue")

    seen = {
        "throttled": under("PUT */data/* 429 retry-after=1 once", data("throttled")),
        "unavailable": under("GET */datastores/* 503 2 times", data("unavailable")),
        "reset": under("PUT */data/* reset once", data("reset")),
        "slow": under("PUT */data/* slow=2 once", data("slow")),
        "expired": under("PUT */data/* token-expired once", data("expired")),
        "expired_again": under("PUT */nothing/* 500 once", data("expired")),
        "always": under("PUT */data/* 500 always", data("always")),
        "quota": under("PUT */computes/* quota once", cluster),
        "quota_again": under("PUT */computes/* operation=2 once", cluster),
        "quota_kept": under("PUT */computes/* 500 always", cluster),
        "image": under("PUT */deployments/* image-build-failure once", deploy),
    }
    seen["after_image"] = [info.name for info in platform.endpoints()]
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
