"""Write the exported folder."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import azureml_runner
import twinml
import twinml_local
from twinml.errors import UsageError
from twinml.model import load_contract
from twinml.platform import ModelVersion
from twinml.settings import home
from twinml_local.compiled import form_digest, load, save, verify
from twinml_local.endpoint_folders import check_name
from twinml_local.export._packages import SERVING, pinned
from twinml_local.export._proof import proof
from twinml_local.server.deployments import deployment as deployments
from twinml_local.server.deployments.compiling import Outcome, compiled_form
from twinml_local.server.state import DeploymentState, EndpointState, ServerSettings, write_state

if TYPE_CHECKING:
    from twinml_local.server.deployments.deployment import Deployment

__all__ = ["export_model"]

DEPLOYMENT = "blue"
PORT = 8080
USER_ID = 1000  # in a container
FILES = Path(__file__).parent / "files"
# Of a model directory: what neither scores nor is part of its digest.
LEFT_OUT = ("reference.parquet", "*.json.bak", "__pycache__")
# Of the packages: what is used where models are made, and never by a server.
_NO_SOURCE = ("__pycache__", "*.pyc", "jobs", "cli", "warm")


def export_model(
    version: ModelVersion, directory: Path, folder: Path, *, name: str
) -> dict[str, str]:
    """Write a folder that serves a model, whole or not at all; returns what is in it, by file.

    A model with a compiled form needs neither pandas nor the libraries that trained it. Others
    are served by their pipeline, with the packages that the model requires.

    Parameters
    ----------
    version, directory
        The registered model, and its files.
    folder
        Does not exist yet, or is empty.
    name
        Of the endpoint.

    Raises
    ------
    UsageError
        The folder holds something, or the name cannot be one.
    ModelError
        The files are not those of the version, or its portable form answers otherwise.
    """
    check_name(name, "endpoint")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something", hint="Name a folder that does not exist yet.")
    outcome = compiled_form(directory, version.digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".exporting-") as scratch:
        made = Path(scratch) / "folder"
        endpoint = made / "endpoint"
        shutil.copytree(directory, endpoint / "model", ignore=shutil.ignore_patterns(*LEFT_OUT))
        form = "" if outcome.refusal else _portable(outcome, version, directory, endpoint)
        item = DeploymentState(
            model=version.name,
            version=version.version,
            digest=version.digest,
            directory="model",
            compiled="compiled" if form else "",
            refusal=outcome.refusal,
            batches=outcome.batches,
            form=form,
        )
        loaded = _loaded(endpoint, item)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        settings = ServerSettings(allowed_hosts=("*",))
        state = EndpointState(
            name, "127.0.0.1", PORT, created, {DEPLOYMENT: item}, {DEPLOYMENT: 100},
            settings=settings,
        )  # fmt: skip
        write_state(endpoint, state)
        shown = json.dumps(proof(loaded), indent=1, ensure_ascii=False)
        (made / "proof.json").write_text(shown, encoding="utf-8")
        lines = pinned(SERVING)
        if not form:
            lines = sorted({*lines, *_requirements(directory)})
        (made / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _copy_packages(made / "packages")
        written = _templates(made, name, version, compiled=bool(form))
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    return {**_CONTENT, **written}


_CONTENT = {
    "endpoint/": "the model and its compiled form",
    "packages/": "the source of twinml",
    "proof.json": "requests, and the bytes that answer them",
    "requirements.txt": "packages that serve it, pinned",
}
_WRITTEN = {
    "README.md.j2": ("README.md", "how to run it"),
    "smoke_test.py": ("smoke_test.py", "asks a running server for the proof"),
    "Dockerfile.j2": ("Dockerfile", "an image of it"),
    "dockerignore": (".dockerignore", "what the image does not need"),
    "compose.yaml.j2": ("compose.yaml", "Docker Compose"),
    "kubernetes.yaml.j2": ("kubernetes.yaml", "Secret, Deployment and Service"),
    "container-app.yaml.j2": ("container-app.yaml", "Azure Container Apps"),
    "service.j2": ("{name}.service", "a unit of systemd"),
}


def _portable(outcome: Outcome, version: ModelVersion, directory: Path, endpoint: Path) -> str:
    """Write the portable form, verified against the pipeline like any other; return its digest."""
    from twinml.model import load_predictor

    own = load(Path(outcome.directory), digest=version.digest, form=outcome.form)
    form = own.made_portable(home() / "compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the learners' own, about versions and threads
        pipeline = load_predictor(directory, version.digest).pipeline
        verify(form, pipeline, load_contract(directory))
    save(form, endpoint / "compiled")
    return form_digest(endpoint / "compiled")


def _loaded(endpoint: Path, item: DeploymentState) -> Deployment:
    return deployments.load(
        DEPLOYMENT,
        endpoint / item.directory,
        model=item.model,
        digest=item.digest,
        compiled=str(endpoint / item.compiled) if item.compiled else "",
        form=item.form,
        batched=item.batches,
    )


def _requirements(directory: Path) -> list[str]:
    """Return what a model's pipeline needs, without MLflow where that only wraps it."""
    wraps = () if load_contract(directory).task == "custom" else ("mlflow",)
    lines = (directory / "requirements.txt").read_text(encoding="utf-8").split()
    return pinned(line.partition("==")[0] for line in lines if not line.startswith(wraps))


def _copy_packages(destination: Path) -> None:
    for package in (azureml_runner, twinml, twinml_local):
        source = Path(package.__path__[0])
        shutil.copytree(
            source, destination / source.name, ignore=shutil.ignore_patterns(*_NO_SOURCE)
        )


def _templates(made: Path, name: str, version: ModelVersion, *, compiled: bool) -> dict[str, str]:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=False,  # noqa: S701 - text and YAML; all that goes in was checked
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    python = ".".join(platform.python_version_tuple()[:2])
    written: dict[str, str] = {}
    for source, (target, what) in _WRITTEN.items():
        target = target.format(name=name)
        if source.endswith(".j2"):
            text = environment.get_template(source).render(
                name=name, port=PORT, python=python, machine=platform.machine(),
                model=f"{version.name}/{version.version}", digest=version.digest,
                compiled=compiled, uid=USER_ID,
            )  # fmt: skip
            (made / target).write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(FILES / source, made / target)
        written[target] = what
    return written
