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
        if name.partition(".")[0] in {{"twinml", "twinml_local", "sklearn", "flaml", "numba",
                                      "numpy", "pandas", "pyarrow", "scipy", "matplotlib", {more}}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def without(emulators: Any, folder: Path, more: str = "") -> Any:
    (folder / "sitecustomize.py").write_text(WITHOUT.format(more=more))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return emulators(cold=True)


@pytest.fixture(scope="module")
def alone(emulators, tmp_path_factory) -> Any:
    return without(emulators, tmp_path_factory.mktemp("without"))


def test_without_mlflow_it_has_assets_and_refuses_jobs(emulators, tmp_path):
    base = without(emulators, tmp_path, '"mlflow", "sqlalchemy", "alembic", "flask"')
    workspace = f"{ARM}{base.workspace}"
    runs = f"https://eastus.api.azureml.ms/mlflow/v2.0{base.workspace}/api/2.0/mlflow"
    with base.signed_in() as session:

        def asked(method: str, url: str, body: Any = None) -> Any:
            return session.request(method, url, json=body, params=VERSION, timeout=30)

        data = {"properties": {"dataType": "uri_file", "dataUri": "https://example.com/x.csv"}}
        assert asked("PUT", f"{workspace}/data/d/versions/1", data).status_code in (200, 201)
        assert asked("GET", f"{workspace}/jobs").json()["value"] == []
        job = {"properties": {"jobType": "Command", "command": "true", "environmentId": "e"}}
        for refused in (asked("PUT", f"{workspace}/jobs/one", job),
                        asked("GET", f"{runs}/experiments/get-by-name")):  # fmt: skip
            assert refused.status_code == 501, refused.text
            assert "pip install 'azureml-emulator[mlflow]'" in refused.text


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
