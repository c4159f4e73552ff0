"""Fixtures for pytest: an emulator for the session, and a workspace of its own for each test.

``azureml`` points the process's environment at the emulator; ``azureml_client`` is the SDK's client
for the same workspace. The plugin is found by pytest where the distribution ``azureml-emulator``
is installed, and otherwise named: ``-p azureml_emulator.pytest_plugin``.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from azureml_emulator.errors import EmulatorNotStarted

if TYPE_CHECKING:
    import requests

__all__ = ["Workspace", "azureml", "azureml_client", "azureml_emulator"]

ARM = "https://management.azure.com"
TEMPLATE = "/providers/Microsoft.Resources/deployments/workspace"
STOP_SECONDS = 20


@dataclass(frozen=True)
class Workspace:
    """A workspace of the emulator.

    Parameters
    ----------
    name, resource_group, subscription_id
        What ``MLClient`` takes.
    variables
        What points a process at it: proxies, certificates, credentials.
    """

    name: str
    resource_group: str
    subscription_id: str
    variables: Mapping[str, str]


@pytest.fixture(scope="session")
def azureml_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Start an emulator for the session; it is stopped, and its state removed, at the end."""
    folder = tmp_path_factory.mktemp("azureml-emulator")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "azureml_emulator", "--json", "--directory", folder / "state"],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise EmulatorNotStarted((folder / "log").read_text(errors="replace")[-2000:])
        told: dict[str, str] = json.loads(line)
        yield Workspace(
            told["AZUREML_ARM_WORKSPACE_NAME"],
            told["AZUREML_ARM_RESOURCEGROUP"],
            told["AZURE_SUBSCRIPTION_ID"],
            told,
        )
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        process.stdout.close()


@pytest.fixture(scope="session")
def _azureml_make(azureml_emulator: Workspace) -> Iterator[Callable[[], Workspace]]:
    """Return a function that makes a workspace, signed in once for the session."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        told = azureml_emulator.variables
        session.proxies = {"https": told["HTTPS_PROXY"]}
        session.verify = told["REQUESTS_CA_BUNDLE"]
        session.headers["Authorization"] = f"Bearer {_token(session, told)}"
        numbers = itertools.count(1)

        def make() -> Workspace:
            return _made(session, azureml_emulator, f"test-{next(numbers)}")

        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(make)]

            def one() -> Workspace:
                # The next one is made while the test runs that gets this one.
                made = ahead.pop().result()
                ahead.append(pool.submit(make))
                return made

            yield one


def _token(session: requests.Session, told: Mapping[str, str]) -> str:
    answer = session.post(
        f"https://login.microsoftonline.com/{told['AZURE_TENANT_ID']}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": told["AZURE_CLIENT_ID"],
            "client_secret": told["AZURE_CLIENT_SECRET"],
            "scope": f"{ARM}/.default",
        },
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def _made(session: requests.Session, emulator: Workspace, name: str) -> Workspace:
    group = f"/subscriptions/{emulator.subscription_id}/resourceGroups/{emulator.resource_group}"
    answer = session.put(
        f"{ARM}{group}{TEMPLATE}",
        params={"api-version": "2022-09-01"},
        json={"properties": {"parameters": {"workspaceName": {"value": name}}}},
        timeout=30,
    )
    answer.raise_for_status()
    variables = {**emulator.variables, "AZUREML_ARM_WORKSPACE_NAME": name}
    return replace(emulator, name=name, variables=variables)


@pytest.fixture
def azureml(_azureml_make: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workspace for one test, and point this process's environment at it."""
    made = _azureml_make()
    for name in os.environ:
        # What could lead to a real service, or to another account.
        if name.startswith(("AZURE_", "AZUREML_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture(scope="session")
def _azureml_credential(azureml_emulator: Workspace) -> Callable[[], Any]:
    """Return what makes the SDK's credential, once: it keeps its token from test to test."""

    @cache
    def made() -> Any:
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()

    return made


@pytest.fixture
def azureml_client(azureml: Workspace, _azureml_credential: Callable[[], Any]) -> Any:
    """Return ``azure.ai.ml.MLClient`` for the test's workspace."""
    with warnings.catch_warnings():
        # Those of the SDK's import, which end a test where warnings are errors.
        warnings.simplefilter("ignore")
        from azure.ai.ml import MLClient

        credential = _azureml_credential()
    return MLClient(credential, azureml.subscription_id, azureml.resource_group, azureml.name)
