"""MLflow tracking under the address that ``azureml-mlflow`` uses: MLflow's own server, mounted.

Each workspace has a SQLite store of its own. A job is a run with the job's name as its id.
Where the real service has a gap, so has this: ``/logged-models`` answers 404 with an empty
body, unless the emulator is lenient.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from azureml_emulator.account import Account
from azureml_emulator.arm.management import WORKSPACE_PATH, Management
from azureml_emulator.environments.venvs import cache_directory
from azureml_emulator.errors import ArmError
from azureml_emulator.identity import tokens
from azureml_emulator.routing import Call, Route
from azureml_runner.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.store.model_registry.abstract_store import AbstractStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

__all__ = ["Tracking", "unauthorised"]

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
STATUS = {
    "NotStarted": "SCHEDULED", "Queued": "SCHEDULED", "Preparing": "SCHEDULED",
    "Provisioning": "SCHEDULED", "Running": "RUNNING", "Finalizing": "RUNNING",
    "CancelRequested": "RUNNING", "Completed": "FINISHED", "Failed": "FAILED",
    "Canceled": "KILLED", "NotResponding": "RUNNING",
}  # fmt: skip
_GAPS = re.compile(r"/mlflow/logged-models(/|$)")
_ASYNC = re.compile(r"/api/2\.0/preview/mlflow/runs/(log-batch-async|get-run-data-status)$")

# Which workspace's store MLflow's handlers are to use: a request is served in one thread.
_current: ContextVar[_Stores] = ContextVar("azureml_emulator_stores")


@cache
def _installed() -> bool:
    # What is imported from it needs all of them.
    try:
        return all(find_spec(name) for name in ("mlflow", "sqlalchemy", "alembic", "flask"))
    except ModuleNotFoundError:  # of a finder that hides one
        return False


class _Stores:
    """The stores of one workspace."""

    def __init__(self, runs: SqlAlchemyStore, models: AbstractStore) -> None:
        self.runs, self.models = runs, models


class Tracking:
    """The tracking servers of all workspaces.

    Parameters
    ----------
    management
        Knows the workspaces.
    directory
        Where the stores are.
    registry
        Makes the store of registered models of a workspace, by its ARM id.
    lenient
        Whether ``/logged-models`` is served, which the real service does not.
    """

    def __init__(
        self,
        account: Account,
        management: Management,
        directory: Path,
        registry: Callable[[str], AbstractStore],
        *,
        lenient: bool = False,
    ) -> None:
        self._account, self._management, self._directory = account, management, directory
        self._registry, self._lenient = registry, lenient
        self._stores: dict[str, _Stores] = {}
        # Makes the run of a job that is still waiting, when somebody asks for it.
        self.before_get: Callable[[str, str], None] | None = None
        self._lock = threading.RLock()

    def routes(self) -> list[Route]:
        """Return the routes."""
        path = f"/mlflow/{{version}}{WORKSPACE_PATH}/{{names:rest}}"
        return [Route(method, self._account.api_host, path, self._serve) for method in METHODS]

    def _serve(self, call: Call) -> Response:
        tokens.check(call.headers.get("authorization", ""), audience=None, error=unauthorised)
        workspace = self._management.require_workspace(call).id
        path = f"/{call['rest']}"
        if _GAPS.search(path) and not self._lenient:
            return Response(status=404)
        if match := _ASYNC.search(path):
            if match[1] == "get-run-data-status":
                return Response(b'{"is_complete": true}', content_type="application/json")
            path = "/api/2.0/mlflow/runs/log-batch"
        if path.endswith("/mlflow/runs/get") and self.before_get is not None:
            self.before_get(workspace, call.query.get("run_id", ""))
        with self._using(workspace):
            import mlflow.server

            body = call.request.get_data()
            environ = {
                **call.request.environ,
                "PATH_INFO": path,
                "SCRIPT_NAME": "",
                # MLflow answers to names of this machine only.
                "HTTP_HOST": "localhost",
                "SERVER_NAME": "localhost",
                "wsgi.input": BytesIO(body),
                "CONTENT_LENGTH": str(len(body)),
            }
            return Response.from_app(mlflow.server.app, environ, buffered=True)

    @contextmanager
    def _using(self, workspace: str) -> Iterator[_Stores]:
        stores = self._of(workspace)
        token = _current.set(stores)
        try:
            yield stores
        finally:
            _current.reset(token)

    def _of(self, workspace: str) -> _Stores:
        """Return the stores of a workspace, opened at their first use.

        Whoever needs something of MLflow imports it after this: its modules import each other
        in circles, and two threads that begin at the same time end in a deadlock.
        """
        key = workspace.lower()
        with self._lock:
            if key not in self._stores:
                self.check_installed()
                _mount()
                self._stores[key] = _Stores(self._open_runs(workspace), self._registry(workspace))
            return self._stores[key]

    def _open_runs(self, workspace: str) -> SqlAlchemyStore:
        from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlLoggedModel
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        class Store(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
            """MLflow's store, with artifacts where ``azureml-mlflow`` expects them."""

            def _get_artifact_location(self, experiment_id: int) -> str:
                return f"{self.artifact_root_uri}/{experiment_id}/runs"

            def create_logged_model(self, *args: Any, **details: Any) -> Any:
                """Give a model a place of its own that ``azureml-mlflow`` takes for a run's."""
                model = super().create_logged_model(*args, **details)
                place = f"{self._get_artifact_location(int(model.experiment_id))}/{model.model_id}"
                with self.ManagedSessionMaker(read_only=False) as session:
                    session.query(SqlLoggedModel).filter_by(model_id=model.model_id).update(
                        {"artifact_location": f"{place}/artifacts"}
                    )
                return self.get_logged_model(model.model_id)

        self._directory.mkdir(parents=True, exist_ok=True)
        group, _, name = workspace.partition("/resourceGroups/")[2].partition("/providers/")
        path = self._directory / f"{group}.{name.rpartition('/')[2]}.sqlite".lower()
        root = f"azureml://{self._account.api_host}/mlflow/v2.0{workspace}/experiments"
        if not path.exists():
            self._copy_empty_store(path)
        store = Store(f"sqlite:///{path}", root)
        with store.ManagedSessionMaker(read_only=False) as session:
            session.query(SqlExperiment).filter(SqlExperiment.experiment_id == 0).update(
                {"artifact_location": f"{root}/0/runs"}
            )
        return store

    @staticmethod
    def _copy_empty_store(path: Path) -> None:
        """Begin with a copy of an empty store: MLflow takes many seconds to make one."""
        import mlflow
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        empty = cache_directory().parent / f"mlflow-{mlflow.__version__}.sqlite"
        with locked(empty.with_suffix(".lock")):
            if not empty.exists():
                half = empty.with_name(f".{empty.name}.{os.getpid()}")
                half.unlink(missing_ok=True)
                SqlAlchemyStore(f"sqlite:///{half}", "azureml://empty").engine.dispose()
                half.rename(empty)
        copy = path.with_suffix(".copy")
        shutil.copyfile(empty, copy)
        copy.rename(path)

    # Runs of jobs

    @staticmethod
    def check_installed() -> None:
        """Raise ``ArmError`` where MLflow, which keeps the runs of jobs, is not installed."""
        if not _installed():
            raise ArmError(
                501,
                "NotImplementedByEmulator",
                "Jobs and their runs are kept by MLflow, which is not installed: "
                "pip install 'azureml-emulator[mlflow]'.",
            )

    def experiment_id(self, workspace: str, name: str) -> str:
        """Return the id of an experiment, made if it is not there."""
        with self._lock:
            store = self._of(workspace).runs
            found = store.get_experiment_by_name(name)
            return str(found.experiment_id if found else store.create_experiment(name))

    def ensure_run(
        self,
        workspace: str,
        run: str,
        *,
        experiment: str,
        display: str,
        tags: Mapping[str, str],
    ) -> str:
        """Make the run of a job unless it is there; returns the id of its experiment."""
        store = self._of(workspace).runs
        from mlflow.entities import LifecycleStage, RunStatus, SourceType
        from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag

        experiment_id = self.experiment_id(workspace, experiment)
        location = store.get_experiment(experiment_id).artifact_location
        with self._lock, store.ManagedSessionMaker(read_only=False) as session:
            if session.query(SqlRun).filter(SqlRun.run_uuid == run).count() == 0:
                # MLflow makes ids itself; the service gives a run the name of its job.
                row = SqlRun(
                    name=display,
                    artifact_uri=f"{location}/{run}/artifacts",
                    run_uuid=run,
                    experiment_id=int(experiment_id),
                    source_type=SourceType.to_string(SourceType.JOB),
                    source_name="",
                    entry_point_name="",
                    user_id="emulator",
                    status=RunStatus.to_string(RunStatus.SCHEDULED),
                    start_time=int(time.time() * 1000),
                    end_time=None,
                    deleted_time=None,
                    source_version="",
                    lifecycle_stage=LifecycleStage.ACTIVE,
                )
                named = {"mlflow.runName": display, "mlflow.user": "emulator", **tags}
                row.tags = [SqlTag(key=key, value=value) for key, value in named.items()]
                session.add(row)
        return experiment_id

    def set_status(self, workspace: str, run: str, status: str) -> None:
        """Give a run the status that belongs to a job's."""
        store = self._of(workspace).runs
        from mlflow.entities import RunStatus

        ended = status in ("Completed", "Failed", "Canceled")
        store.update_run_info(
            run,
            RunStatus.from_string(STATUS[status]),
            int(time.time() * 1000) if ended else None,
            None,
        )

    def log(
        self,
        workspace: str,
        run: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write to a run."""
        store = self._of(workspace).runs
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        store.log_batch(
            run,
            [Metric(name, value, now, 0) for name, value in (metrics or {}).items()],
            [Param(name, value[:6000]) for name, value in (params or {}).items()],
            [RunTag(name, value[:8000]) for name, value in (tags or {}).items()],
        )

    def tags(self, workspace: str, runs: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the tags of runs that users gave them."""
        wanted, found = list(runs), dict[str, dict[str, str]]()
        if not wanted:
            return found
        store = self._of(workspace).runs
        from mlflow.store.tracking.dbmodels.models import SqlTag

        with store.ManagedSessionMaker(read_only=True) as session:
            for row in session.query(SqlTag).filter(SqlTag.run_uuid.in_(wanted)).all():
                if not row.key.startswith("mlflow."):
                    found.setdefault(row.run_uuid, {})[row.key] = row.value
        return found

    def find(self, workspace: str, run: str) -> Any | None:
        """Return a run as MLflow has it, or ``None``."""
        store = self._of(workspace).runs
        from mlflow.exceptions import MlflowException

        try:
            return store.get_run(run)
        except MlflowException:
            return None

    def has_model(self, workspace: str, model: str) -> bool:
        """Return whether there is a logged model, which only a lenient emulator has."""
        if not self._lenient:
            return False
        store = self._of(workspace).runs
        from mlflow.exceptions import MlflowException

        try:
            store.get_logged_model(model)
        except MlflowException:
            return False
        return True


def _mount() -> None:
    """Have MLflow's handlers ask for the store of the workspace that is being served."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.server import handlers

    def runs(*args: Any, **kwargs: Any) -> SqlAlchemyStore:
        return _current.get().runs

    def models(*args: Any, **kwargs: Any) -> AbstractStore:
        return _current.get().models

    handlers._get_tracking_store = runs
    handlers._get_model_registry_store = models


def unauthorised(reason: str) -> ArmError:
    """Return the refusal of a request of the data plane that is not signed in."""
    return ArmError(
        401,
        "Unauthorized",
        f"Authentication failed: {reason}.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
