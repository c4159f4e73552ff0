"""Checks of the preconditions of a run on Azure, before anything is created.

Each look is a function that yields ``Check``s; one that cannot look says so and the others go
on. Nothing is created, and nothing but public facts and the caller's own rights is read.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import PlatformError, PlatformUnavailable, TwinmlError
from twinml.platform.abilities import Check
from twinml_azure.resources import DATE_NAMES, word

if TYPE_CHECKING:
    from twinml.contract import Contract
    from twinml_azure.connection import Connection
    from twinml_azure.resources import Sizes

__all__ = ["checks"]

SDK_PACKAGES = ("azure-ai-ml", "azure-identity", "azureml-mlflow")
# What a run does, as ARM names it; each is looked for in the caller's permissions.
SERVICE = "Microsoft.MachineLearningServices/workspaces"
ACTIONS = {
    f"{SERVICE}/data/versions/write": "register data",
    f"{SERVICE}/models/versions/write": "register models",
    f"{SERVICE}/computes/write": "make a cluster",
    f"{SERVICE}/jobs/write": "submit jobs",
    f"{SERVICE}/onlineEndpoints/write": "make endpoints",
    f"{SERVICE}/onlineEndpoints/deployments/write": "deploy models",
    f"{SERVICE}/onlineEndpoints/listKeys/action": "read endpoint keys",
    f"{SERVICE}/batchEndpoints/write": "publish pipelines",
}
ROLE = "AzureML Data Scientist"
PERMISSIONS_VERSION = "2022-04-01"
# Azure keeps a fifth of a deployment's cores free to exchange it without a break.
DEPLOYMENT_SHARE = 1.2
RESOLVE_SECONDS = 300.0
INFERENCE_SERVER = "azureml-inference-server-http"
LARGEST_EXACT = 2**53


def checks(connection: Connection, sizes: Sizes, model: Path | None) -> Iterator[Check]:
    """Yield every check, from the cheap and local to what asks Azure or a package index."""
    yield from _packages()
    if model is not None:
        yield from _guarded("payload", lambda: _payload(model))
        yield from _guarded("model environment", lambda: _environment(model))
    try:
        region = yield from _workspace(connection)
    except PlatformError as error:
        yield Check("error", "workspace", error.message, error.hint or "")
        return
    yield from _guarded("permissions", lambda: _permissions(connection))
    yield from _guarded("region and quota", lambda: _capacity(connection, sizes, region))


def _guarded(what: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Run a check; turn an error into a warning that it could not be run."""
    try:
        yield from look()
    except TwinmlError as error:
        yield Check("warning", what, f"cannot be looked at: {error.message}", error.hint or "")


# Packages


def _packages() -> Iterator[Check]:
    found = {}
    for name in SDK_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            yield Check("error", "packages", f"{name} is missing", "pip install 'twinml[azure]'")
    broken = list(_unmet(found))
    for name, requirement, present in broken:
        yield Check(
            "error",
            "packages",
            f"{name} {found[name]} needs {requirement}, found {present}",
            "Install what resolves together: pip install 'twinml[azure]'",
        )
    if found and not broken:
        text = ", ".join(
            f"{name} {held}" for name, held in {**found, "mlflow": version("mlflow")}.items()
        )
        yield Check("ok", "packages", text)


def _unmet(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield package, requirement and version found for what is required and not met."""
    from packaging.requirements import Requirement

    for name in names:
        for line in requires(name) or ():
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            try:
                present = version(wanted.name)
            except PackageNotFoundError:
                yield name, str(wanted), "nothing"
                continue
            if not wanted.specifier.contains(present, prereleases=True):
                yield name, str(wanted), present


# Workspace


def _workspace(connection: Connection) -> Generator[Check, None, str]:
    """Sign in and look at the workspace; returns its region."""
    address = connection.address
    with connection.errors("to look at the workspace"):
        found = connection.client.workspaces.get(address.workspace_name)
    region = str(found.location)
    yield Check("ok", "sign-in", f"signed in; the workspace is from {address.source}")
    state = word(getattr(found, "provisioning_state", None)) or "Succeeded"
    if state.lower() == "succeeded":
        yield Check("ok", "workspace", f"{address.workspace_name} in {region}")
    else:
        yield Check(
            "error", "workspace", f"{address.workspace_name} is {state}", "See the Azure portal."
        )
    return region


def _permissions(connection: Connection) -> Iterator[Check]:
    given = _read_permissions(connection)
    missing = {action: does for action, does in ACTIONS.items() if not _allowed(action, given)}
    if missing:
        yield Check(
            "error",
            "permissions",
            f"you may not {', '.join(missing.values())} ({', '.join(missing)})",
            f"Ask an owner of the workspace for the role '{ROLE}'"
            + (
                ", and for the right to make computes"
                if "make a cluster" in missing.values()
                else ""
            )
            + ".",
        )
    else:
        yield Check("ok", "permissions", f"all {len(ACTIONS)} that a run takes")


def _read_permissions(connection: Connection) -> list[Mapping[str, Any]]:
    import requests

    from twinml_azure.connection import MANAGEMENT_SCOPE

    with connection.errors("to read your permissions"):
        token = connection.credential.get_token(MANAGEMENT_SCOPE).token
    url = (
        f"https://management.azure.com{connection.address.resource_id}"
        f"/providers/Microsoft.Authorization/permissions?api-version={PERMISSIONS_VERSION}"
    )
    found: list[Mapping[str, Any]] = []
    while url:
        try:
            answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
            shape = answer.json() if answer.ok else None
        except (requests.RequestException, ValueError) as error:
            raise PlatformUnavailable(f"no answer ({type(error).__name__})") from error
        if shape is None:
            raise PlatformError(f"the service answered {answer.status_code}")
        found += shape.get("value", [])
        url = shape.get("nextLink") or ""
    return found


def _allowed(action: str, given: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any of the caller's permissions grants ``action`` and does not take it back.

    >>> _allowed("A/b/write", [{"actions": ["A/*"], "notActions": ["A/*/delete"]}])
    True
    >>> _allowed("A/b/delete", [{"actions": ["A/*"], "notActions": ["A/*/delete"]}])
    False
    """

    def fits(patterns: Iterable[str]) -> bool:
        return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)

    return any(
        fits(each.get("actions") or ()) and not fits(each.get("notActions") or ()) for each in given
    )


# Region and quota


def _capacity(connection: Connection, sizes: Sizes, region: str) -> Iterator[Check]:
    with connection.errors("to read sizes and quotas"):
        known = {str(size.name).lower(): size for size in connection.client.compute.list_sizes()}
        usages = {_family(usage): usage for usage in connection.client.compute.list_usage()}
    wanted = {
        "cluster": (sizes.cluster_size, float(sizes.cluster_nodes), "TWINML_AZURE_CLUSTER_SIZE"),
        "deployment": (sizes.instance_type, DEPLOYMENT_SHARE, "TWINML_AZURE_INSTANCE_TYPE"),
    }
    for what, (name, times, variable) in wanted.items():
        size = known.get(name.lower())
        if size is None:
            yield Check(
                "error",
                f"region for the {what}",
                f"{region} has no {name}",
                f"Choose a size that it has: {variable}=…",
            )
            continue
        each = float(_field(size, "v_cp_us", "vCPUs"))
        cores = math.ceil(each * times)
        usage = usages.get(str(size.family).lower())
        if usage is None:
            yield Check("note", f"quota for the {what}", f"{size.family}: Azure does not say")
            continue
        free = int(usage.limit) - int(_field(usage, "current_value", "currentValue"))
        if free >= cores:
            yield Check(
                "ok", f"quota for the {what}", f"{cores} of {free} free cores, {size.family}"
            )
        else:
            yield Check(
                "error" if free < each else "warning",
                f"quota for the {what}",
                f"{cores} cores of {size.family} needed, {free} free of {usage.limit}",
                f"Ask for more in the portal (Quotas), or choose another size: {variable}=…",
            )


def _field(item: Any, *names: str) -> Any:
    """Return the first of the fields that is set.

    The SDK fills these entities from the REST body by its own names, so that the attributes
    of its documentation stay ``None`` (azure-ai-ml 1.35).
    """
    return next((vars(item)[name] for name in names if vars(item).get(name) is not None), 0)


def _family(usage: Any) -> str:
    name = usage.name
    found = name.get("value") if isinstance(name, Mapping) else getattr(name, "value", name)
    return str(found).lower()


# The model's environment


def _environment(model: Path) -> Iterator[Check]:
    """Resolve the model's requirements, as the image's build would, without installing them."""
    import yaml

    from twinml.model.azure_requirements import MONITORING

    conda = yaml.safe_load((model / "conda.yaml").read_text(encoding="utf-8"))
    python = next(
        (
            str(each).partition("=")[2].lstrip("=")
            for each in conda["dependencies"]
            if isinstance(each, str) and each.startswith("python=")
        ),
        "",
    )
    pins = [
        line
        for line in (model / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    reason = _unresolved([*pins, MONITORING, INFERENCE_SERVER], python)
    if reason is None:
        yield Check(
            "ok", "model environment", f"{len(pins)} requirements resolve for Python {python}"
        )
    else:
        yield Check(
            "error",
            "model environment",
            reason,
            "Save the model with versions that are published for this Python.",
        )


def _unresolved(lines: Sequence[str], python: str) -> str | None:
    """Return why requirements do not resolve, in a line; ``None`` if they do."""
    program = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.in"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if program:
            words = [program, "pip", "compile", "--quiet", "--no-header", str(wanted)]
            words += ["--python-platform", "x86_64-manylinux_2_28"]
            words += ["--python-version", python] if python else []
        else:
            words = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
            words += ["--ignore-installed", "--requirement", str(wanted)]
        try:
            done = subprocess.run(
                words,
                env=_without_emulator(os.environ),
                capture_output=True,
                text=True,
                timeout=RESOLVE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformUnavailable(
                f"the resolver did not end ({type(error).__name__})"
            ) from error
    if done.returncode == 0:
        return None
    said = " ".join(done.stderr.split())
    return (said or f"the resolver ended with {done.returncode}")[:400]


def _without_emulator(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without a proxy on this machine: the emulator knows no package index.

    >>> _without_emulator({"HTTPS_PROXY": "http://127.0.0.1:8", "REQUESTS_CA_BUNDLE": "/ca.pem"})
    {}
    >>> _without_emulator({"HTTPS_PROXY": "http://proxy.example:8", "A": "b"})
    {'HTTPS_PROXY': 'http://proxy.example:8', 'A': 'b'}
    """
    if "127.0.0.1" not in environ.get("HTTPS_PROXY", ""):
        return dict(environ)
    names = (
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT"),
    )
    return {name: value for name, value in environ.items() if name.upper() not in names}


# The payload


def _payload(model: Path) -> Iterator[Check]:
    """Send the model's samples the way Azure's server reads them, without a server."""
    from twinml.comparison.parsing import changed_cells, read_as_pandas
    from twinml.model import digest, load_contract, load_predictor

    contract = load_contract(model)
    rows = list(contract.samples)
    yield from _columns(contract)
    if not rows:
        yield Check("warning", "payload", "the model has no sample rows to try")
        return
    try:
        json.dumps(rows, allow_nan=False)
        frame = read_as_pandas(contract, rows)
        answers = load_predictor(model, digest(model)).predict(frame)
    except (ValueError, TypeError, OverflowError) as error:
        yield Check(
            "error",
            "payload",
            f"the sample rows are refused: {str(error).splitlines()[0]}",
            "See which column it is, and train with values that JSON and pandas can hold.",
        )
        return
    moved = changed_cells(contract, rows, frame)
    if moved:
        cell = moved[0]
        yield Check(
            "note",
            "payload",
            f"{len(moved)} cells of {len(rows)} sample rows are read as other numbers, such as "
            f"{cell.column}: {cell.sent!r} as {cell.became!r}",
            "Predictions may differ in the last digits; twinml compare tells these apart.",
        )
    else:
        yield Check("ok", "payload", f"{len(answers)} sample rows are read and scored")


def _columns(contract: Contract) -> Iterator[Check]:
    for column in contract.columns:
        if DATE_NAMES.fullmatch(column.name) and column.type != "boolean":
            yield Check(
                "error" if column.type == "datetime" else "warning",
                "payload",
                f"'{column.name}' is named like a date, and Azure's server reads it as one",
                "Rename the column before training.",
            )
        bounds = (column.minimum or 0, column.maximum or 0)
        if column.type == "long" and any(abs(bound) > LARGEST_EXACT for bound in bounds):
            yield Check(
                "warning",
                "payload",
                f"'{column.name}' holds integers beyond 2^53, which many JSON writers round",
                "Leave it out if it is an id: --drop.",
            )
