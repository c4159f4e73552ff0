"""What a job's steps find on this machine: assets, an interpreter, MLflow, the job's record."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from azureml_runner.engine import Asset, Control, Host, OtherNode, Step, StepEvent
from azureml_runner.engine.graph import CommandNode
from azureml_runner.files import digest_of, digest_of_parts
from twinml.errors import TwinmlError, UsageError
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs.steps.mlflow_runs import MlflowRuns
from twinml_local.jobs.warm import WarmSteps
from twinml_local.server.deployments.code_version import installed_code

if TYPE_CHECKING:
    from twinml.platform import ModelVersion

__all__ = ["JOB_MARK", "JobHost", "find", "resolve"]

JOB_MARK = "TWINML_JOB_ID"
_MODELS = ("mlflow_model", "custom_model")
_DATA_ASSET = re.compile(r"azureml:([A-Za-z0-9][\w.-]*)(?::(\w+)|@(latest))")


class JobHost(Host):
    """The surroundings of one job of the service.

    Parameters
    ----------
    home
        Twinml's own folder, for the steps' ``TWINML_HOME``.
    mlflow_runs
        The job's MLflow runs.
    changed
        Is told of every change, after MLflow.
    warm
        Forks twinml's own steps; by default every step is a process that begins anew.
    """

    refusals = (TwinmlError,)

    def __init__(
        self,
        job: JobRecord,
        *,
        home: Path,
        mlflow_runs: MlflowRuns,
        changed: Callable[[StepEvent], None],
        warm: WarmSteps | None = None,
    ) -> None:
        self._job, self._home, self._warm = job, home, warm
        self._mlflow_runs, self._changed = mlflow_runs, changed
        self._lock = threading.Lock()

    def resolve(self, asset: Asset) -> Path:
        """Return what an asset's URI means: see ``resolve``."""
        return resolve(asset)

    def environment(self, step: Step) -> Mapping[str, str]:
        """Return this process's environment, with the job, the step and its MLflow run."""
        usual = super().environment(step)
        return {
            **usual,
            **self._warmth(step, usual["PATH"]),
            "TWINML_HOME": str(self._home),
            JOB_MARK: self._job.id,
            "TWINML_PIPELINE": self._job.pipeline,
            "TWINML_STEP_NAME": step.name,
            **self._mlflow_runs.variables(step.name),
        }

    def _warmth(self, step: Step, path: str) -> Mapping[str, str]:
        node = step.node
        # Code of its own may hide ours; a variable may count only when it is there at the start.
        if self._warm is None or not isinstance(node, CommandNode):
            return {}
        if node.environment_variables or self.code(step) is not None:
            return {}
        return self._warm.environment(node.command, path, software=self._imported)

    @cached_property
    def _imported(self) -> str:
        # Steps that deploy use this package, too.
        return digest_of_parts(software=self._software, local=installed_code())

    def run_other(
        self,
        step: Step,
        inputs: Mapping[str, str | Path | None],
        outputs: Mapping[str, Path],
        *,
        log: Path,
        control: Control,
    ) -> None:
        """Run an ``automl`` node."""
        from twinml_local.jobs.automl.node import run_node

        assert isinstance(step.node, OtherNode)
        run_node(
            step.node.spec,
            inputs,
            outputs,
            log=log,
            control=control,
            variables=self._mlflow_runs.variables(step.name),
        )

    def identity(self, step: Step) -> str:
        """Return a digest of this Python, its packages, and twinml's own code."""
        return self._software

    @cached_property
    def _software(self) -> str:
        import twinml

        packages = sorted(
            f"{one.metadata['Name']}=={one.version}" for one in importlib.metadata.distributions()
        )
        # A checkout changes without its version.
        own = digest_of(Path(twinml.__file__).parent)
        return digest_of_parts(python=sys.version, packages=packages, twinml=own)

    def on_event(self, event: StepEvent) -> None:
        """Record the change."""
        with self._lock:
            self._mlflow_runs.step(event)
            self._changed(event)


def find(asset: Asset) -> Path | None:
    """Return the file or folder that an asset's URI means; ``None`` for a registered model.

    It costs no download: of a model only the version is looked for.

    Raises
    ------
    TwinmlError
        There is no such asset, file or folder.
    """
    found = _DATA_ASSET.fullmatch(asset.uri)
    if found is None or asset.type not in _MODELS:
        return resolve(asset)
    _version(found.group(1), found.group(2))
    return None


def resolve(asset: Asset) -> Path:
    """Return the file or folder that an asset's URI means on this machine.

    ``azureml:NAME:VERSION`` and ``azureml:NAME@latest`` are registered data assets, or
    models; a path and ``file://…`` are themselves.

    Raises
    ------
    TwinmlError
        There is no such asset, file or folder.
    """
    found = _DATA_ASSET.fullmatch(asset.uri)
    if found is not None:
        name, version = found.group(1), found.group(2)
        if asset.type in _MODELS:
            return _model(name, version)
        from twinml_local import assets

        return Path(assets.get(name, version).path)
    parts = urlsplit(asset.uri)
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
    elif len(parts.scheme) > 1:
        raise UsageError(
            f"'{asset.uri[:200]}' is not on this machine",
            hint="Give a path, a file:// URI, azureml:NAME:VERSION or azureml:NAME@latest.",
        )
    else:
        path = Path(asset.uri)
    if not path.exists():
        raise UsageError(f"there is no file or folder '{path}'")
    return path


def _model(name: str, version: str | None) -> Path:
    from twinml.registry.model_files import fetch_model
    from twinml.registry.tracking import Tracking
    from twinml.registry.training_run import model_folder

    found = _version(name, version)
    if not found.digest:  # not twinml's own, which is the step's business
        folder = model_folder(f"{found.name}-{found.version}")
        return Tracking().download(found.uri, folder)
    return fetch_model(Tracking(), found, model_folder(found.digest))


def _version(name: str, version: str | None) -> ModelVersion:
    from twinml.platform import ModelReference
    from twinml.registry.tracking import Tracking

    tracking = Tracking()
    if version is None:
        newest = tracking.versions(name)
        version = newest[0].version if newest else "1"
    return tracking.resolve(ModelReference(name, version))
