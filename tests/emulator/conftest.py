"""A real emulator process, its clients, and Microsoft's types to hold its bodies to."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.test import Client, TestResponse

from azureml_emulator.app import Emulator
from azureml_emulator.identity import tokens
from tests.emulator.warm import Cold, Warm

# Programs that tests start: written as a user would, not to be imported.
collect_ignore_glob = ["*_session.py", "small_model.py", "azure_payloads.py"]

TYPES = Path(__file__).resolve().parents[3] / "shared" / "azure-wire" / "bicep-types"
ARM_VERSION = "2023-04-01-preview"
# How often the SDK asks while it streams a log.
QUICK = {
    "AZUREML_RUN_POLLING_INTERVAL_MIN": "1",
    "AZUREML_RUN_POLLING_INTERVAL_MAX": "2",
    "OMP_NUM_THREADS": "1",
}
REQUIRED, READ_ONLY, WRITE_ONLY = 1, 2, 4


class ArmTypes:
    """The official types of one api-version; ``deviations`` walks a body along them."""

    def __init__(self, path: Path) -> None:
        self._types: list[dict[str, Any]] = json.loads(path.read_text())
        self._bodies = {
            item["name"].split("@")[0].lower(): item["body"]
            for item in self._types
            if item["$type"] == "ResourceType"
        }

    def knows(self, kind: str) -> bool:
        return kind.lower() in self._bodies

    def deviations(self, kind: str, name: str, body: Any, *, response: bool) -> list[str]:
        """List what in ``body`` breaks the type of resource ``kind``, as ``path: what``.

        The name is in the address, and a request need not repeat it.
        """
        found: list[str] = []
        whole = body if response else {"name": name, **body}
        self._check(self._bodies[kind.lower()], whole, "", response, found)
        return found

    def _resolve(self, reference: dict[str, Any]) -> dict[str, Any]:
        return self._types[int(reference["$ref"].rpartition("/")[2])]

    def _check(
        self, reference: dict[str, Any], value: Any, path: str, response: bool, found: list[str]
    ) -> None:
        kind = self._resolve(reference)
        name = kind["$type"]
        if value is None or name == "AnyType":
            return
        plain = {"StringType": str, "IntegerType": int, "BooleanType": bool}
        if name in plain:
            fits = isinstance(value, plain[name]) and (
                name != "IntegerType" or not isinstance(value, bool)
            )
            if not fits:
                found.append(f"{path}: {value!r} is not a {name}")
            elif kind.get("pattern") and not re.search(kind["pattern"], value):
                found.append(f"{path}: {value!r} does not match {kind['pattern']}")
        elif name == "StringLiteralType":
            if value != kind["value"]:
                found.append(f"{path}: {value!r} is not {kind['value']!r}")
        elif name == "UnionType":
            self._check_union(kind, value, path, found)
        elif name == "ArrayType":
            if not isinstance(value, list):
                found.append(f"{path}: {value!r} is not an array")
                return
            for i, item in enumerate(value):
                self._check(kind["itemType"], item, f"{path}/{i}", response, found)
        else:
            self._check_object(kind, value, path, response, found)

    def _check_union(self, kind: dict[str, Any], value: Any, path: str, found: list[str]) -> None:
        # Open enumerations are a union with plain text; a value beyond them is a deviation
        # all the same, because nobody could know what it means.
        literals = [
            element["value"]
            for element in map(self._resolve, kind["elements"])
            if element["$type"] == "StringLiteralType"
        ]
        if value not in literals:
            found.append(f"{path}: {value!r} is none of {literals}")

    def _check_object(
        self, kind: dict[str, Any], value: Any, path: str, response: bool, found: list[str]
    ) -> None:
        if not isinstance(value, dict):
            found.append(f"{path}: {value!r} is not an object")
            return
        known = {**kind.get("properties", {}), **kind.get("baseProperties", {})}
        others = kind.get("additionalProperties")
        if kind["$type"] == "DiscriminatedObjectType":
            chosen = kind["elements"].get(value.get(kind["discriminator"]))
            if chosen is None:
                which = value.get(kind["discriminator"])
                found.append(f"{path}/{kind['discriminator']}: {which!r} is unknown")
                return
            element = self._resolve(chosen)
            known |= element.get("properties", {})
            others = others or element.get("additionalProperties")
        for name, item in known.items():
            flags = item["flags"]
            there = value.get(name) is not None
            if flags & REQUIRED and not there and not (response and flags & WRITE_ONLY):
                found.append(f"{path}/{name}: missing")
            if not response and flags & READ_ONLY and there:
                found.append(f"{path}/{name}: read-only, but sent")
            if response and flags & WRITE_ONLY and there:
                found.append(f"{path}/{name}: write-only, but answered")
        for name, item in value.items():
            if name in known:
                self._check(known[name]["type"], item, f"{path}/{name}", response, found)
            elif others is not None:
                self._check(others, item, f"{path}/{name}", response, found)
            else:
                found.append(f"{path}/{name}: unknown")


@pytest.fixture(scope="session")
def arm_types() -> Callable[[str], ArmTypes]:
    """Return the types of an api-version; skips where Microsoft's types are not at hand."""
    if not TYPES.is_dir():
        pytest.skip(f"Microsoft's types are not at {TYPES}")

    @lru_cache
    def load(version: str) -> ArmTypes:
        return ArmTypes(TYPES / f"{version}.types.json")

    return load


class EmulatorProcess:
    """``python -m azureml_emulator`` on a folder; it can be killed and started again."""

    def __init__(self, starter: Warm | Cold, directory: Path, *options: str) -> None:
        self._starter, self.directory, self._options = starter, directory, options
        self.log = directory.with_name(f"{directory.name}.log")
        self.variables: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        told, tell = os.pipe()
        with open(tell, "wb"), self.log.open("ab") as log:
            # Jobs need no more than what is installed here, so nothing is built for them.
            options = ("--directory", str(self.directory), "--curated", "own", *self._options)
            self.process = self._starter.start(
                ["-m", "azureml_emulator", "--json", "-v", *options],
                env=os.environ,
                stdout=tell,
                stderr=log.fileno(),
            )
        with open(told, encoding="utf-8") as said:
            line = said.readline()
        assert line, self.log.read_text()
        self.variables = json.loads(line)

    def kill(self) -> None:
        """End it as the kernel would: no handler runs."""
        self.process.send_signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def _wait(self) -> int:
        return self.process.wait(timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, pointed at the emulator and at nothing else."""
        mine = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AZURE", "HTTP", "MSI_", "IDENTITY_"))
        }
        return {**mine, **self.variables}

    @property
    def workspace(self) -> str:
        group = self.variables["AZUREML_ARM_RESOURCEGROUP"]
        return (
            f"/subscriptions/{self.variables['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{group}"
            "/providers/Microsoft.MachineLearningServices/workspaces/"
            f"{self.variables['AZUREML_ARM_WORKSPACE_NAME']}"
        )

    def session(self) -> requests.Session:
        """Return a client that goes through the proxy and trusts its certificates."""
        session = requests.Session()
        session.trust_env = False
        proxy = self.variables["HTTPS_PROXY"]
        session.proxies = {"https": proxy, "http": proxy}
        session.verify = self.variables["REQUESTS_CA_BUNDLE"]
        return session

    def token(self, session: requests.Session, **changes: str) -> requests.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.variables["AZURE_CLIENT_ID"],
            "client_secret": self.variables["AZURE_CLIENT_SECRET"],
            "scope": "https://management.azure.com/.default",
            **changes,
        }
        tenant = self.variables["AZURE_TENANT_ID"]
        address = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
        return session.post(address, data=form, timeout=10)

    def signed_in(self) -> requests.Session:
        """Return a client with a token for the management plane."""
        session = self.session()
        token = self.token(session).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        return session


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Return what starts Python programs in forks of a process that has imported libraries."""
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def run_program(warm: Warm) -> Callable[..., Any]:
    """Return a function that runs a program of this folder as a user of an emulator.

    It returns what the program printed last, as JSON; with ``quiet`` it must print no more.
    ``environ`` is added to its environment.
    """

    def run(
        emulator: EmulatorProcess, script: str, *words: Any, quiet: bool = False, **environ: str
    ) -> Any:
        done = warm.run(
            Path(__file__).with_name(script),
            *words,
            env={**emulator.environment, **QUICK, **environ},
            cwd=emulator.directory.parent,
        )
        assert done.returncode == 0, done.stderr[-3000:] + emulator.log.read_text()[-2000:]
        *others, last = done.stdout.splitlines()
        assert not (quiet and others), others
        return json.loads(last)

    return run


@pytest.fixture(scope="session")
def emulators(
    warm: Warm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., EmulatorProcess]]:
    """Return a function that starts an emulator process on a folder of its own.

    With ``record`` the exchanges are in ``record.jsonl`` beside the folder; a ``cold`` one is no
    fork of a warm process.
    """
    started: list[EmulatorProcess] = []

    def start(*options: str, record: bool = False, cold: bool = False) -> EmulatorProcess:
        folder = tmp_path_factory.mktemp("emulator")
        if record:
            options = (*options, "--record", str(folder / "record.jsonl"))
        started.append(EmulatorProcess(Cold() if cold else warm, folder / "state", *options))
        return started[-1]

    yield start
    for emulator in started:
        if emulator.process.poll() is None:
            emulator.kill()


@pytest.fixture(scope="session")
def small_model(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small MLflow model with its own, pinned requirements, as a user would save one."""
    path = tmp_path_factory.mktemp("model") / "model"
    done = warm.run(Path(__file__).with_name("small_model.py"), path, env=os.environ)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def emulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """An emulator in this process; its parameter is how many seconds an operation takes."""
    made = Emulator(tmp_path / "state", operation_seconds=getattr(request, "param", 0.05))
    yield made
    made.close()


@pytest.fixture
def ask(emulator: Emulator) -> Callable[..., TestResponse]:
    """Return a function that sends a request as the proxy would hand it on."""
    client = Client(emulator)
    token = tokens.issue(emulator.account, "https://management.azure.com/.default")

    def send(
        method: str,
        path: str,
        body: Any = None,
        *,
        host: str = "management.azure.com",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> TestResponse:
        sent = {"authorization": f"Bearer {token}", **(headers or {})}
        whole = emulator.account.workspace_id + path if path.startswith("/~") is False else path[2:]
        return client.open(
            whole,
            method=method,
            json=body,
            data=data,
            headers=sent,
            query_string={"api-version": ARM_VERSION, **(query or {})},
            environ_overrides={
                "azureml_emulator.host": host,
                "azureml_emulator.path": whole,
                "azureml_emulator.headers": [(k.lower(), v) for k, v in sent.items()],
            },
        )

    return send
