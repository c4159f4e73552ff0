"""Records of a run: status, logs, artifacts and outputs.

The status is in three places that clients look at: run history, the job's resource and the
MLflow run. Run history is the one that counts; MLflow follows.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path
from typing import Any

from azureml_emulator.arm.assets import (
    ARTIFACT_STORE,
    DatastorePath,
    Datastores,
    artifact_prefix,
    datastore_uri,
)
from azureml_emulator.arm.management import Management
from azureml_emulator.arm.workspace import DEFAULT_DATASTORE
from azureml_emulator.jobs._bindings import OutputTarget
from azureml_emulator.jobs.runs import Run, RunStore
from azureml_emulator.mlflow.tracking import Tracking

__all__ = ["STD_LOG", "Logs", "Records", "error_body"]

STD_LOG = "user_logs/std_log.txt"
_MODEL_TYPES = ("mlflow_model", "custom_model", "triton_model")

_log = logging.getLogger("azureml_emulator.jobs")


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return why a run failed, in the shape that run history answers with."""
    return {
        "error": {
            "code": code,
            "message": message,
            "messageParameters": {},
            "details": [],
        },
        "correlation": {},
    }


class Records:
    """Records what happens to runs.

    Parameters
    ----------
    runs, tracking
        Where the runs are.
    management
        Gets the assets that jobs register.
    datastores
        Gets the content.
    """

    def __init__(
        self, runs: RunStore, tracking: Tracking, management: Management, datastores: Datastores
    ) -> None:
        self.runs, self.tracking = runs, tracking
        self.management, self.datastores = management, datastores
        self.logs = Logs(self)

    def begin(self, run: Run) -> None:
        """Give a run its MLflow run."""
        tags = {**(run.details.get("tags") or {}), "mlflow.source.type": "JOB"}
        if run.parent is not None:
            tags |= {"mlflow.parentRunId": run.parent, "mlflow.rootRunId": run.root}
        self.tracking.ensure_run(
            run.workspace, run.id, experiment=run.experiment, display=run.display, tags=tags
        )

    def set_status(self, run: Run, status: str) -> None:
        """Move a run on; one that has ended stays as it is."""
        if self.runs.set_status(run.id, status):
            self.begin(run)
            self.tracking.set_status(run.workspace, run.id, status)
            _log.info("run %s: %s", run.id, status)

    def fail(self, run: Run, code: str, message: str) -> None:
        """End a run with the reason."""
        self.runs.change(run.id, error=error_body(code, message))
        self.set_status(run, "Failed")

    def warn(self, run: Run, message: str) -> None:
        """Add a warning, which clients print at a run's end."""
        before = list(self.runs.require(run.id).details.get("warnings") or [])
        if message not in before:
            self.runs.change(run.id, warnings=[*before, message])

    # Artifacts

    def artifacts(self, run: Run) -> DatastorePath:
        """Return where the artifacts of a run are."""
        root = self.datastores.datastore(run.workspace, ARTIFACT_STORE)
        return root / artifact_prefix(run.id)

    def forget_artifacts(self, run: Run) -> None:
        """Remove what an attempt that did not end has left."""
        self.datastores.remove(self.artifacts(run))

    def keep_folders(self, run: Run, work: Path) -> None:
        """Keep what a command wrote to ``outputs`` and ``logs`` in its working folder."""
        for name in ("outputs", "logs"):
            if (work / name).is_dir():
                self.datastores.store(work / name, self.artifacts(run) / name)

    # Outputs

    def output_uri(self, run: Run, name: str, place: OutputTarget) -> str:
        """Return the address at which an output is kept."""
        if place.uri:
            words = {
                "${{name}}": run.id,
                "${{output_name}}": name,
                "${{default_datastore}}": DEFAULT_DATASTORE,
            }
            uri = place.uri
            for word, value in words.items():
                uri = uri.replace(word, value)
            return uri
        suffix = "" if place.type == "uri_file" else "/"
        return f"azureml://datastores/{DEFAULT_DATASTORE}/paths/azureml/{run.id}/{name}{suffix}"

    def keep_output(self, run: Run, name: str, path: Path, place: OutputTarget) -> None:
        """Store an output, and register it where the job names an asset."""
        uri = self.output_uri(run, name, place)
        target = self.datastores.resolve(uri, run.workspace)
        self.datastores.remove(target)
        self.datastores.store(path, target)
        long = _long_uri(uri, run.workspace)
        is_model = place.type in _MODEL_TYPES
        asset, version = f"azureml_{run.id}_output_data_{name}", "1"
        if place.asset:
            registered = self._register(run, place, long)
            if not is_model:
                asset, version = place.asset, registered
        workspace_name = run.workspace.rpartition("/")[2]
        location = self.management.account.location
        self.runs.change(
            run.id,
            outputs={
                name: {
                    "uri": long,
                    "kind": place.type,
                    # A model's folder is shown as data: the SDK cannot read the answer that
                    # resolves a model's address.
                    "type": "uri_folder" if is_model else place.type,
                    "asset": f"azureml://locations/{location}/workspaces/{workspace_name}"
                    f"/data/{asset}/versions/{version}",
                }
            },
        )

    def _register(self, run: Run, place: OutputTarget, uri: str) -> str:
        assert place.asset is not None
        known = self.runs.require(run.id).details.get("registered") or {}
        if place.asset in known:  # the job was run again after a crash
            return str(known[place.asset])
        if place.type in _MODEL_TYPES:
            properties = {"modelUri": uri, "modelType": place.type, "jobName": run.id}
            stored = self.management.register(
                run.workspace, "models", place.asset, place.version, properties
            )
        else:
            properties = {"dataUri": uri, "dataType": place.type}
            stored = self.management.register(
                run.workspace, "data", place.asset, place.version, properties
            )
        self.runs.change(run.id, registered={place.asset: stored.name})
        return stored.name


def _long_uri(uri: str, workspace: str) -> str:
    match = re.fullmatch(r"azureml://datastores/([^/]+)/paths/(.*)", uri)
    return datastore_uri(workspace, match[1], match[2]) if match else uri


class Logs:
    """Copies files that grow to artifacts, about once a second, as long as they are watched."""

    SECONDS = 0.7
    # A log is copied whole: beyond this size less often, so that the work stays bounded.
    BYTES_PER_SECOND = 8_000_000

    def __init__(self, records: Records) -> None:
        self._records = records
        self._watched: dict[tuple[str, str], tuple[Run, Path]] = {}
        self._copied: dict[tuple[str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, run: Run, name: str, path: Path) -> None:
        """Begin to copy a file to the artifact ``name``."""
        with self._lock:
            self._watched[run.id, name] = (run, path)
            self._copied.pop((run.id, name), None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
                self._thread.start()

    def finish(self, run: Run, name: str, path: Path | None = None) -> None:
        """Copy a file for the last time."""
        with self._lock:
            watched = self._watched.pop((run.id, name), None)
            self._copied.pop((run.id, name), None)
        last = path or (watched[1] if watched else None)
        if last is not None and last.exists():
            self._records.datastores.store_file(last, self._records.artifacts(run) / name)

    def close(self) -> None:
        """Stop copying."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self.SECONDS):
            with self._lock:
                watched = list(self._watched.items())
            for key, (run, path) in watched:
                try:
                    self._copy(key, run, path)
                except OSError as error:
                    _log.debug("log of %s: %s", run.id, error)
                except Exception:
                    _log.exception("log of %s", run.id)

    def _copy(self, key: tuple[str, str], run: Run, path: Path) -> None:
        if not path.exists():
            return
        size, now = path.stat().st_size, time.monotonic()
        before, at = self._copied.get(key, (-1, 0.0))
        if size == before or now - at < size / self.BYTES_PER_SECOND:
            return
        with self._lock:  # ``finish`` has the last word
            if key not in self._watched:
                return
            self._records.datastores.store_file(path, self._records.artifacts(run) / key[1])
            self._copied[key] = (size, now)
