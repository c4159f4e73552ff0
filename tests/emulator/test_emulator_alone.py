"""The emulator without twinml: it imports, starts, answers and runs jobs; AutoML it refuses."""

import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

ARM = "https://management.azure.com"
VERSION = {"api-version": "2024-04-01"}
# Read by the emulator's interpreter at its start, as if these packages were not installed.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"twinml", "twinml_local", "sklearn", "flaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def alone(emulators, tmp_path_factory) -> Any:
    folder: Path = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(WITHOUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return emulators(cold=True)


@pytest.fixture(scope="module")
def jobs(alone):
    with alone.signed_in() as session:
        base = f"{ARM}{alone.workspace}"
        assert session.get(base, params=VERSION, timeout=10).json()["name"] == "emulator"
        yield session, f"{base}/jobs"


def test_it_runs_a_command_job(jobs, alone):
    session, base = jobs
    body = {"properties": {"jobType": "Command", "command": "echo ${AZUREML_RUN_ID}"}}
    body["properties"]["environmentId"] = (
        "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"
    )
    made = session.put(f"{base}/one", json=body, params=VERSION, timeout=10)
    assert made.status_code == 201, made.text
    deadline = time.monotonic() + 300
    while True:
        job = session.get(f"{base}/one", params=VERSION, timeout=10).json()["properties"]
        if job["status"] in ("Completed", "Failed", "Canceled"):
            break
        assert time.monotonic() < deadline, alone.log.read_text()[-2000:]
        time.sleep(0.2)
    assert job["status"] == "Completed", alone.log.read_text()[-2000:]


def test_it_refuses_an_automl_job_by_name(jobs):
    session, base = jobs
    data = {"jobInputType": "mltable", "uri": "azureml://datastores/workspaceblobstore/paths/t"}
    task = {"taskType": "Classification", "targetColumnName": "y", "trainingData": data}
    body = {"properties": {"jobType": "AutoML", "taskDetails": task}}
    refused = session.put(f"{base}/two", json=body, params=VERSION, timeout=10)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "NotImplementedByEmulator")
    assert error["message"].startswith("AutoML jobs are run by a package that is not installed")
