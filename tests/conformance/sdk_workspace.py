"""Puts into a workspace what the SDK's own tests find in Microsoft's: for their Python."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from azure.ai.ml import load_component
from azure.ai.ml.entities import AmlCompute

from tests.conformance.submit import client_of

COMPUTES = (
    "cpu-cluster", "gpu-cluster", "testCompute", "batch-cluster", "cpucluster",
    "automl-cpu-cluster",
)  # fmt: skip
COMPONENTS = ("helloworld_component.yml", "helloworld_component_no_paths.yml")


def main(tests: Path) -> None:
    """Make computes and components in the workspace that the variables name."""
    logging.disable(logging.CRITICAL)
    client = client_of(dict(os.environ))
    for name in COMPUTES:
        size = AmlCompute(name=name, size="Standard_DS3_v2", max_instances=4)
        client.compute.begin_create_or_update(size).result()
    for file in COMPONENTS:
        path = tests / "test_configs" / "components" / file
        if path.is_file():
            client.components.create_or_update(load_component(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
