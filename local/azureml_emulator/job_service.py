"""The service of jobs: stores, tracking, run history and workers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_emulator.arm.assets import Datastores
from azureml_emulator.arm.management import Management
from azureml_emulator.arm.resource_types import Draft
from azureml_emulator.environments.curated import CURATED, check_known, curated_name
from azureml_emulator.environments.venvs import VenvCache
from azureml_emulator.errors import ArmError, not_found
from azureml_emulator.jobs.arm import Jobs
from azureml_emulator.jobs.environments import is_curated
from azureml_emulator.jobs.host import JobContext
from azureml_emulator.jobs.pipelines import component_of_job
from azureml_emulator.jobs.records import Records
from azureml_emulator.jobs.runs import RunStore
from azureml_emulator.jobs.workers import Workers
from azureml_emulator.mlflow.run_history import History
from azureml_emulator.mlflow.tracking import Tracking
from azureml_emulator.routing import Route
from azureml_emulator.storage.blobs import BlobStore
from azureml_emulator.storage.mirrors import Mirrors

if TYPE_CHECKING:
    from mlflow.store.model_registry.abstract_store import AbstractStore

__all__ = ["JobService"]


class JobService:
    """Accepts and runs jobs, and answers for their runs.

    Parameters
    ----------
    directory
        The emulator's state folder.
    lenient
        Whether MLflow's newer routes are served, which the real service does not have.
    mirrors
        Folders that stand for addresses elsewhere.
    """

    def __init__(
        self,
        management: Management,
        blobs: BlobStore,
        directory: Path,
        *,
        lenient: bool = False,
        mirrors: Mirrors | None = None,
    ) -> None:
        account = management.account
        self._management, self._directory = management, directory
        self._runs = RunStore(directory / "runs.sqlite")
        self.datastores = Datastores(account, management.store, blobs, self._output_uri, mirrors)
        self.tracking = Tracking(
            account, management, directory / "tracking", self._registry, lenient=lenient
        )
        self.records = Records(self._runs, self.tracking, management, self.datastores)
        self.tracking.before_get = self._begin_waiting
        self.jobs = Jobs(management, self.records, lenient=lenient)
        self._history = History(management, self.records, self.jobs)
        management.before_read("environments", self._provide_curated)
        management.before_list("environments", self._provide_all_curated)
        management.before_write("models", self._settle_address)
        management.before_write("components", self._take_from_job)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [*self.jobs.routes(), *self._history.routes(), *self.tracking.routes()]

    def start(
        self,
        variables: Mapping[str, str],
        *,
        workers: int = 2,
        automl_seconds: float = 120.0,
        build_curated: bool = True,
    ) -> None:
        """Start the workers; ``variables`` point a job's process at the emulator."""
        self.jobs.pages.base = variables["HTTPS_PROXY"]
        context = JobContext(
            self._management.account,
            self.records,
            VenvCache(),
            self._environment,
            dict(variables),
            self._directory / "cache",
            automl_seconds,
            build_curated,
        )
        self.jobs.workers = Workers(
            context, self._directory / "jobs", self.jobs.definition, count=workers
        )
        self.jobs.workers.start()

    def close(self) -> None:
        """Interrupt running jobs, which the next start resumes, and close the stores."""
        if self.jobs.workers is not None:
            self.jobs.workers.shutdown()
            self.jobs.workers.join()
        self.records.logs.close()
        self._runs.close()

    def status(self, run: str) -> str | None:
        """Return the status of a job or of a child, ``None`` if there is none."""
        found = self._runs.get(run)
        return None if found is None else found.status

    def _begin_waiting(self, workspace: str, run: str) -> None:
        found = self._runs.get(run)
        if found and found.workspace == workspace and found.status in ("NotStarted", "Queued"):
            self.records.begin(found)

    def _output_uri(self, run: str, name: str) -> str | None:
        return self._history.output_uri(run, name)

    def _registry(self, workspace: str) -> AbstractStore:
        # MLflow is imported when it is first needed: it takes seconds.
        from azureml_emulator.mlflow.registry import WorkspaceModels

        return WorkspaceModels(workspace, self._management, self.datastores)

    def _settle_address(self, draft: Draft) -> None:
        """Replace the address of a job's output by one that outlives the job."""
        properties = draft.body.get("properties") or {}
        uri = properties.get("modelUri")
        if isinstance(uri, str):
            workspace = draft.id.rpartition("/models/")[0]
            properties["modelUri"] = self.datastores.plain_uri(uri, workspace)
            job = re.match(r"azureml://jobs/([^/]+)/", uri)
            if job:
                properties.setdefault("jobName", job[1])

    def _take_from_job(self, draft: Draft) -> None:
        """Give a component that refers to a pipeline job what that job consists of."""
        spec = (draft.body.get("properties") or {}).get("componentSpec")
        if not isinstance(spec, dict):
            return
        workspace = draft.id.rpartition("/components/")[0]
        self.jobs.check_environment(workspace, spec.get("environment"))
        of_command = str(spec.get("type")).lower() == "command"
        if of_command and not str(spec.get("command") or "").strip():
            raise ArmError(400, "ValidationError", "The Command field of a command is required.")
        source = spec.get("sourceJobId")
        if not source:
            return
        name = str(source).removeprefix("azureml:").rpartition("/")[2]
        job = self._management.store.get(f"{workspace}/jobs/{name}")
        if job is None:
            raise not_found(f"{workspace}/jobs/{name}")
        if job.properties.get("jobType") != "Pipeline":
            raise ArmError(400, "UserError", f"Job '{name}' is no pipeline job.")
        spec |= component_of_job(job.properties, self.jobs.specification(job))

    def _provide_curated(self, workspace: str, name: str, version: str | None) -> None:
        """Make a curated environment when it is first asked for: its name is enough for us."""
        if not is_curated(name):
            return
        if not self.jobs.lenient:
            check_known(name)
        asset = f"{workspace}/environments/{name}"
        found = self._management.store.list(f"{asset}/versions")
        if (found and version is None) or any(item.name == version for item in found):
            return
        image = f"mcr.microsoft.com/azureml/curated/{name.lower().removeprefix('azureml-')}:1"
        self._management.register(
            workspace,
            "environments",
            name,
            version or "1",
            {"image": image, "description": "Stands for a curated environment."},
        )

    def _provide_all_curated(self, workspace: str) -> None:
        for name in CURATED:
            self._provide_curated(workspace, f"AzureML-{name}", None)

    def _environment(self, environment: Any, workspace: str) -> Mapping[str, Any] | None:
        """Return the definition of an environment; ``None`` for one of a registry, or none."""
        if not isinstance(environment, str):
            return environment if isinstance(environment, Mapping) else None
        curated = curated_name(environment)
        if curated is not None:
            return {"environmentType": "Curated", "curated": curated}
        asset = environment.removeprefix("azureml:")
        if asset.startswith("//registries/"):
            return None
        if not asset.startswith("/"):
            mark = "labels" if "@" in asset else "versions"
            name, version = asset.replace("@", ":").split(":", 1)
            asset = f"{workspace}/environments/{name}/{mark}/{version}"
        found = self.datastores.asset(asset)
        return None if found is None else found.properties
