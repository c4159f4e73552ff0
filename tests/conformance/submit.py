"""Makes each sample with the SDK, as a user would: a program for the SDK's own interpreter.

It needs nothing but the SDK, and the variables of an emulator. What a sample takes for granted
(a compute, a registered asset, a file that its scripts download, an endpoint) is made when it
turns out to be missing.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import azure.ai.ml as sdk
import yaml
from azure.ai.ml.entities import (
    AmlCompute,
    BatchEndpoint,
    Data,
    DataCollector,
    DeploymentCollection,
    Environment,
    KubernetesCompute,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
)
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential

from tests.conformance.samples import filled

SECONDS = 150
MENDS = 12
# What a name may be of; nothing in a sample says which, so one is tried after the other.
_KINDS = ("data", "model", "environment")
_NO_FILE = re.compile(r"No such file or directory: ([^\x1b\n]+)")
_NO_ASSET = re.compile(r"Asset (\S+) does not exist in workspace")
_NO_COMPUTE = re.compile(r"Compute '([^']+)' was not found|\S+/computes/([\w-]+) was not found")
_NO_VERSION = re.compile(
    r"/(models|data|environments)/([^/\s]+)/versions/([^/\s']+)(?: was not found|', which)"
)
_NO_DEPLOYMENT = re.compile(r"/onlineEndpoints/([^/\s]+)(?:/deployments/([^/\s]+))? was not found")
_CONTENT = {".py": "def init(): ...\n", ".yml": "dependencies: [python=3.11]\n", ".json": "{}\n"}
_CONTENT[".yaml"] = _CONTENT[".yml"]
_TAKEN = re.compile(r"already exists|already registered|cannot be changed")


class OutOfTimeError(Exception):
    """A sample took longer than it may."""


class Maker:
    """Makes samples below ``root``, with what they take for granted."""

    def __init__(self, client: sdk.MLClient, root: Path, *, cancel: bool = True) -> None:
        self._client, self._root, self._cancel = client, root, cancel
        self._endpoints: set[str] = set()
        self._number = 0
        # Every sample of these has the same few names; a second pass would find them taken.
        self._version = str(int(time.time()))

    def attempt(self, path: str, kind: str) -> dict[str, Any]:
        """Return what became of a sample: error, message, status, code, what was made for it."""
        self._number += 1
        row: dict[str, Any] = {"path": path, "kind": kind, "made": []}
        whole = self._root / path
        started, where = time.monotonic(), Path.cwd()
        os.chdir(whole.parent)
        signal.alarm(SECONDS)
        try:
            copy = whole.with_name(f"_filled_{whole.name}")
            text = whole.read_text("utf-8-sig", errors="replace")
            copy.write_text(filled(text, f"ep-{self._number:03}"))
            self._until_it_stands(copy, kind, row)
        except OutOfTimeError:
            row |= {"error": "Timeout", "message": f"more than {SECONDS} s"}
        finally:
            signal.alarm(0)
            os.chdir(where)
        return row | {"seconds": round(time.monotonic() - started, 1)}

    def _until_it_stands(self, path: Path, kind: str, row: dict[str, Any]) -> None:
        again = False
        for _ in range(MENDS):
            try:
                with quiet():
                    made = getattr(self, "_" + kind.replace(" ", "_"))(path, again)
            except OutOfTimeError:
                raise
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                row |= _told(error)
                if _TAKEN.search(str(error)) and not again:
                    again = True
                    continue
                if not self._mended(str(error), row["made"]):
                    return
            else:
                row |= {"error": "", "message": "", "status": None, "code": ""}
                row["name"] = str(getattr(made, "name", ""))
                return

    def _mended(self, message: str, made: list[str]) -> bool:
        """Make what an error says is missing; return whether anything was made."""
        try:
            what = self._missing(message, made)
        except OutOfTimeError:
            raise
        except Exception:
            return False
        if what is None or made.count(what) >= MENDS // 2:
            return False
        made.append(what)
        return True

    def _missing(self, message: str, made: list[str]) -> str | None:
        if match := _NO_FILE.search(message):
            path = Path(match[1].strip().strip("'\"").rstrip("."))
            _make_file(path)
            return f"file {path.name}"
        if match := _NO_COMPUTE.search(message):
            name = match[1] or match[2]
            if name == "serverless" or f"compute {name}" in made:
                return None
            self._compute_named(name)
            return f"compute {name}"
        if match := _NO_VERSION.search(message):
            self._asset(match[2], match[3], match[1].removesuffix("s"))
            return f"{match[1]} {match[2]}:{match[3]}"
        if match := _NO_DEPLOYMENT.search(message):
            self._deployment(match[1], match[2] or "main")
            return f"deployment {match[1]}"
        if match := _NO_ASSET.search(message):
            for kind in _KINDS:
                if f"{kind} {match[1]}" not in made:
                    self._asset(match[1], None, kind)
                    return f"{kind} {match[1]}"
        return None

    def _compute_named(self, name: str) -> None:
        made = AmlCompute(name=name, size="Standard_DS3_v2", max_instances=20)
        if re.search(r"(?i)k8s|kube|arc", name):
            made = KubernetesCompute(name=name, namespace="default", resource_id=_cluster_id())
        self._client.compute.begin_create_or_update(made).result()

    def _asset(self, name: str, version: str | None, kind: str) -> None:
        folder = Path("_made_asset")
        folder.mkdir(exist_ok=True)
        with quiet():
            if kind == "environment":
                self._client.environments.create_or_update(
                    Environment(name=name, version=version, image="ubuntu")
                )
            elif kind == "model":
                (folder / "MLmodel").write_text(
                    "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
                )
                self._client.models.create_or_update(
                    Model(name=name, version=version, path=folder, type="mlflow_model")
                )
            else:
                _make_table(folder)
                self._client.data.create_or_update(
                    Data(name=name, version=version, path=folder, type="mltable")
                )

    def _deployment(self, endpoint: str, name: str) -> None:
        """Begin to deploy a model with a data collector, as what is monitored has been."""
        self._asset("monitored", "1", "model")
        self._endpoint(ManagedOnlineEndpoint(name=endpoint))
        collections = {
            each: DeploymentCollection(enabled="true") for each in ("model_inputs", "model_outputs")
        }
        deployment = ManagedOnlineDeployment(
            name=name,
            endpoint_name=endpoint,
            model="azureml:monitored:1",
            instance_type="Standard_DS3_v2",
            data_collector=DataCollector(collections=collections),
        )
        self._client.online_deployments.begin_create_or_update(deployment)

    # One method a kind

    def _workspace(self, path: Path, again: bool) -> Any:
        return self._client.workspaces.begin_create(sdk.load_workspace(path)).result()

    def _connection(self, path: Path, again: bool) -> Any:
        return self._client.connections.create_or_update(_connection_of(path))

    def _compute(self, path: Path, again: bool) -> Any:
        return self._client.compute.begin_create_or_update(sdk.load_compute(path)).result()

    def _datastore(self, path: Path, again: bool) -> Any:
        return self._client.datastores.create_or_update(sdk.load_datastore(path))

    def _environment(self, path: Path, again: bool) -> Any:
        return self._versioned(sdk.load_environment(path), self._client.environments, again)

    def _data(self, path: Path, again: bool) -> Any:
        return self._versioned(sdk.load_data(path), self._client.data, again)

    def _model(self, path: Path, again: bool) -> Any:
        return self._versioned(sdk.load_model(path), self._client.models, again)

    def _component(self, path: Path, again: bool) -> Any:
        return self._versioned(sdk.load_component(path), self._client.components, again)

    def _versioned(self, asset: Any, operations: Any, again: bool) -> Any:
        if again:
            asset.version = f"{self._version}{self._number}"
        return operations.create_or_update(asset)

    def _data_import(self, path: Path, again: bool) -> Any:
        from azure.ai.ml.entities import DataImport

        body = yaml.safe_load(path.read_text())
        return self._client.data.import_data(DataImport._load(data=body, yaml_path=path))

    def _data_index(self, path: Path, again: bool) -> Any:
        return self._client.indexes.create_or_update(sdk.load_index(path))

    def _job(self, path: Path, again: bool) -> Any:
        made = self._client.jobs.create_or_update(sdk.load_job(path))
        if self._cancel:
            with contextlib.suppress(HttpResponseError):
                self._client.jobs.begin_cancel(made.name)
        return made

    def _schedule(self, path: Path, again: bool) -> Any:
        from azure.ai.ml.entities._load_functions import load_schedule

        made = self._client.schedules.begin_create_or_update(load_schedule(path)).result()
        self._client.schedules.begin_disable(made.name).result()
        return made

    def _online_endpoint(self, path: Path, again: bool) -> Any:
        endpoint = sdk.load_online_endpoint(path)
        return self._client.online_endpoints.begin_create_or_update(endpoint).result()

    def _batch_endpoint(self, path: Path, again: bool) -> Any:
        endpoint = sdk.load_batch_endpoint(path)
        return self._client.batch_endpoints.begin_create_or_update(endpoint).result()

    def _online_deployment(self, path: Path, again: bool) -> Any:
        deployment = sdk.load_online_deployment(path, params_override=self._unnamed(path))
        self._endpoint(ManagedOnlineEndpoint(name=deployment.endpoint_name))
        return self._client.online_deployments.begin_create_or_update(deployment)

    def _batch_deployment(self, path: Path, again: bool) -> Any:
        from azure.ai.ml.entities import ModelBatchDeployment, PipelineComponentBatchDeployment

        body, override = yaml.safe_load(path.read_text()), self._unnamed(path)
        kinds = {"model": ModelBatchDeployment, "pipeline": PipelineComponentBatchDeployment}
        kind = kinds.get(body.get("type"))
        if kind is None:
            deployment = sdk.load_batch_deployment(path, params_override=override)
        else:
            deployment = kind._load(data=body, yaml_path=path, params_override=override)
        self._endpoint(BatchEndpoint(name=deployment.endpoint_name))
        return self._client.batch_deployments.begin_create_or_update(deployment).result()

    def _unnamed(self, path: Path) -> list[dict[str, str]]:
        """Return what the samples' scripts give on the command line: an endpoint, and a name."""
        body = yaml.safe_load(path.read_text())
        named = [] if body.get("name") else [{"name": f"d{self._number:03}"}]
        return [{"endpoint_name": f"ep-{self._number:03}"}, *named]

    def _endpoint(self, endpoint: Any) -> None:
        operations = self._client.online_endpoints
        if isinstance(endpoint, BatchEndpoint):
            operations = self._client.batch_endpoints
        key = f"{type(endpoint).__name__} {endpoint.name}"
        if key not in self._endpoints:
            operations.begin_create_or_update(endpoint).result()
            self._endpoints.add(key)

    def _model_package(self, path: Path, again: bool) -> Any:
        from azure.ai.ml.entities import ModelPackage

        body = yaml.safe_load(path.read_text())
        self._asset("package-model", None, "model")
        package = ModelPackage._load(data=body, yaml_path=path)
        return self._client.models.package("package-model", "1", package)

    def _feature_store(self, path: Path, again: bool) -> Any:
        return self._client.feature_stores.begin_create(sdk.load_feature_store(path)).result()

    def _feature_store_entity(self, path: Path, again: bool) -> Any:
        entity = sdk.load_feature_store_entity(path)
        return self._client.feature_store_entities.begin_create_or_update(entity).result()

    def _feature_set(self, path: Path, again: bool) -> Any:
        made = sdk.load_feature_set(path)
        return self._client.feature_sets.begin_create_or_update(made).result()


def _connection_of(path: Path) -> Any:
    return (getattr(sdk, "load_connection", None) or sdk.load_workspace_connection)(path)


def _cluster_id() -> str:
    subscription = os.environ["AZUREML_ARM_SUBSCRIPTION"]
    group = os.environ["AZUREML_ARM_RESOURCEGROUP"]
    return (
        f"/subscriptions/{subscription}/resourceGroups/{group}/providers/"
        "Microsoft.ContainerService/managedClusters/k"
    )


def _make_table(folder: Path) -> None:
    (folder / "MLTable").write_text(
        "paths:\n  - file: ./a.csv\ntransformations:\n  - read_delimited:\n      delimiter: ','\n"
    )
    (folder / "a.csv").write_text("x,y\n1,2\n")


def _make_file(path: Path) -> None:
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_CONTENT.get(path.suffix, "x,y\n1,2\n"))
    else:
        path.mkdir(parents=True, exist_ok=True)
        _make_table(path)


def _told(error: BaseException) -> dict[str, Any]:
    response = error if isinstance(error, HttpResponseError) else None
    code = ""
    if response is not None:
        code = getattr(response.error, "code", "") or ""
        if found := re.search(r"Code: (\w+)", str(error)):
            code = code or found[1]
    return {
        "error": type(error).__name__,
        "message": re.sub(r"\x1b\[[0-9;]*m", "", str(error))[:2000],
        "status": response.status_code if response is not None else None,
        "code": code,
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _hold_the_worker(client: sdk.MLClient) -> None:
    """Let no job of a sample run: the one worker has a job that waits."""
    held = AmlCompute(name="held", size="Standard_DS3_v2", max_instances=1)
    client.compute.begin_create_or_update(held).result()
    environment = "azureml:AzureML-sklearn-1.5@latest"
    job = sdk.command(command="sleep 86400", environment=environment, compute="held")
    with quiet():
        name = client.jobs.create_or_update(job).name
    while client.jobs.get(name).status in ("NotStarted", "Queued", "Preparing", "Starting"):
        time.sleep(0.5)


def too_long(*_: object) -> None:
    """End a sample that takes too long."""
    raise OutOfTimeError


def client_of(environment: dict[str, str]) -> sdk.MLClient:
    """Return a client for the workspace that the variables name."""
    credential = ClientSecretCredential(
        environment["AZURE_TENANT_ID"],
        environment["AZURE_CLIENT_ID"],
        environment["AZURE_CLIENT_SECRET"],
    )
    return sdk.MLClient(
        credential,
        environment["AZUREML_ARM_SUBSCRIPTION"],
        environment["AZUREML_ARM_RESOURCEGROUP"],
        environment["AZUREML_ARM_WORKSPACE_NAME"],
        show_progress=False,
    )


def main(root: Path, items: Path, out: Path, tell: Callable[[str], Any] = print) -> None:
    """Make each of ``items``, a JSON list of path and kind; a line each goes to ``out``."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, too_long)
    client = client_of(dict(os.environ))
    _hold_the_worker(client)
    maker = Maker(client, root.resolve())
    with out.open("a") as file:
        for path, kind in json.loads(items.read_text()):
            row = maker.attempt(path, kind)
            file.write(json.dumps(row) + "\n")
            file.flush()
            said = f" {row['error']} {row['status'] or ''} {row['message'][:110]!r}"
            tell(f"{kind:20} {path}{said if row['error'] else ''}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), tell=lambda line: print(line, flush=True))  # type: ignore[arg-type]
