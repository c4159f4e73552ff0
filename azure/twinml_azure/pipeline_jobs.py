"""The jobs of a pipeline that is published in a workspace: started over REST, with a token."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound, PayloadError, PlatformError, PlatformUnavailable
from twinml.platform import PipelineJob
from twinml_azure.resources import TAG, created, word

if TYPE_CHECKING:
    from twinml_azure.connection import Connection

__all__ = ["AzurePipelineClient", "component_name", "described"]

DATA_SCOPE = "https://ml.azure.com/.default"
ENDED = ("Completed", "Failed", "Canceled")
# Azure's words for the states of a job -> twinml's.
STATES = {
    "NotStarted": "Queued",
    "Preparing": "Queued",
    "Queued": "Queued",
    "Provisioning": "Queued",
    "Starting": "Queued",
    "Completed": "Completed",
    "Finished": "Completed",
    "Failed": "Failed",
    "NotResponding": "Failed",
    "Canceled": "Canceled",
}
JOB_INPUTS = {"uri_file": "UriFile", "uri_folder": "UriFolder", "mltable": "MLTable",
              "mlflow_model": "MLFlowModel", "custom_model": "CustomModel"}  # fmt: skip
POLL_SECONDS = 2.0


class AzurePipelineClient:
    """Starts and watches the jobs of one published pipeline, with a token."""

    def __init__(self, connection: Connection, name: str, endpoint: Any) -> None:
        self._connection, self._name, self._endpoint = connection, name, endpoint
        tags = endpoint.tags or {}
        self.version = str(tags.get("version", ""))
        self.paths: dict[str, str] = json.loads(tags.get("paths") or "{}")
        self._ended: dict[str, tuple[str | None, str | None]] = {}

    @property
    def _jobs(self) -> Any:
        return self._connection.client.jobs

    @cached_property
    def _component(self) -> Any:
        with self._connection.errors(f"to read pipeline '{self._name}'"):
            return self._connection.client.components.get(component_name(self._name), self.version)

    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return ``type`` and, where there is one, ``default`` or ``path`` of each input."""
        found: dict[str, dict[str, Any]] = {}
        for key, given in self._component.inputs.items():
            found[key] = {"type": str(given.type)}
            if given.get("default") is not None:
                found[key]["default"] = given.get("default")
            if key in self.paths:
                found[key]["path"] = self.paths[key]
        return found

    def authentication_header(self) -> dict[str, str]:
        """Return the header that opens the endpoint: a token, good for about an hour."""
        with self._connection.errors("a token for the pipeline"):
            token = self._connection.credential.get_token(DATA_SCOPE).token
        return {"Authorization": f"Bearer {token}"}

    def submit(self, inputs: Mapping[str, Any] | None = None) -> PipelineJob:
        """Start a job over REST; it is sent once only, a second try could start a second job.

        Raises
        ------
        PayloadError
            An input is not one of the pipeline's.
        """
        import requests

        known = self.inputs()
        given = {**self.paths, **(inputs or {})}
        strange = sorted(given.keys() - known.keys())
        if strange:
            raise PayloadError(
                f"pipeline '{self._name}' has no input '{strange[0]}'",
                hint=f"It has {', '.join(known)}.",
            )
        data = {key: self._input(known[key]["type"], value) for key, value in given.items()}
        tags = {TAG: "pipeline job", "version": self.version}
        body = {"properties": {"InputData": data, "Tags": tags}}
        headers = self.authentication_header()
        try:
            answer = requests.post(
                str(self._endpoint.scoring_uri),
                json=body,
                headers=headers,
                timeout=120,
            )
        except requests.RequestException as error:
            raise PlatformUnavailable(
                f"the batch endpoint of '{self._name}' cannot be reached ({type(error).__name__})"
            ) from error
        if not answer.ok:
            raise PlatformError(
                f"the batch endpoint of '{self._name}' answered {answer.status_code}: "
                f"{_words(answer)}"
            )
        return self.job(str(answer.json()["name"]))

    def _input(self, kind: str, value: Any) -> dict[str, Any]:
        if kind not in JOB_INPUTS:
            return {"JobInputType": "Literal", "Value": str(value)}
        path = str(value.get("path") if isinstance(value, Mapping) else value)
        return {"JobInputType": JOB_INPUTS[kind], "Uri": self._resolved(path)}

    def _resolved(self, path: str) -> str:
        """Return the id of a registered asset; any other path as it is."""
        match = re.fullmatch(r"azureml:([\w.-]+)(?::([\w.-]+)|@latest)", path)
        if match is None:
            return path
        name, version = match.groups()
        which = {"version": version} if version else {"label": "latest"}
        with self._connection.errors(f"to look for data '{path}'"):
            return str(self._connection.client.data.get(name, **which).id)

    def job(self, job_id: str) -> PipelineJob:
        """Describe a job and its steps; ``NotFound`` if there is none."""
        with self._connection.errors(f"to look at job '{job_id}'"):
            found = self._jobs.get(job_id)
            children = list(self._jobs.list(parent_job_name=job_id))
        job = described(found, self._name)
        started, ended = self._times(found)
        steps = []
        for child in children:
            began, done = self._times(child)
            steps.append(
                {
                    "name": str(child.display_name or child.name),
                    "status": _state(child),
                    "id": child.name,
                    "started": began,
                    "ended": done,
                }
            )
        # The service lists children in no order of its own.
        steps.sort(key=lambda step: str(step["started"] or "~"))
        return replace(job, steps=tuple(steps), started=started, ended=ended)

    def _times(self, job: Any) -> tuple[str | None, str | None]:
        """Return when a job that has ended began and ended; its run knows, ARM does not."""
        name = str(job.name)
        if _state(job) not in ENDED:
            return None, None
        if name not in self._ended:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient

            try:
                run = MlflowClient(tracking_uri=self._connection.tracking_uri).get_run(name).info
            except MlflowException:
                # One that was cancelled before it began has none.
                return None, None
            self._ended[name] = (_time(run.start_time), _time(run.end_time))
        return self._ended[name]

    def jobs(self, *, status: str | None = None, limit: int | None = None) -> list[PipelineJob]:
        """List jobs, newest first."""
        with self._connection.errors(f"to list the jobs of '{self._name}'"):
            names = [
                each.name
                for each in self._connection.client.batch_endpoints.list_jobs(self._endpoint.name)
            ]
            found = [described(self._jobs.get(name), self._name) for name in names[:limit]]
        return [each for each in found if status in (None, each.status)]

    def logs(self, job_id: str) -> str:
        """Return what the steps of a job printed."""
        parts = []
        with (
            tempfile.TemporaryDirectory() as scratch,
            self._connection.errors(f"the logs of job '{job_id}'"),
        ):
            for child in self._jobs.list(parent_job_name=job_id):
                folder = Path(scratch) / child.name
                self._jobs.download(child.name, download_path=folder)
                for log in sorted(folder.rglob("std_log*.txt")):
                    text = log.read_text(encoding="utf-8", errors="replace")
                    parts.append(f"== {child.display_name or child.name}\n{text}")
        return "\n".join(parts)

    def cancel(self, job_id: str) -> PipelineJob:
        """End a job; one that runs is ``Canceled`` a moment later."""
        found = self.job(job_id)
        if found.status == "Canceled":
            return found
        with self._connection.errors(f"to cancel job '{job_id}'"):
            self._jobs.begin_cancel(job_id).result()
        return self.job(job_id)

    def download(self, job_id: str, output: str, folder: Path) -> Path:
        """Fetch an output of a completed job into ``folder``; return the file or folder."""
        with (
            tempfile.TemporaryDirectory() as scratch,
            self._connection.errors(f"to fetch '{output}' of job '{job_id}'"),
        ):
            self._jobs.download(job_id, download_path=scratch, output_name=output)
            found = Path(scratch) / "named-outputs" / output
            files = [path for path in found.rglob("*") if path.is_file()] if found.exists() else []
            if not files:
                raise NotFound(f"job '{job_id}' has no output '{output}'")
            source = files[0] if len(files) == 1 else found
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / output
            _copy(source, target)
        return target

    def wait(self, job_id: str, *, timeout: float | None = None) -> PipelineJob:
        """Return the job once it has ended; ``PlatformError`` if it has not by then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            job = self.job(job_id)
            if job.status in ENDED:
                return job
            if deadline is not None and time.monotonic() > deadline:
                raise PlatformError(f"job '{job_id}' is {job.status} after {timeout:g} s")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Do nothing: connections belong to the SDK."""


def component_name(pipeline: str) -> str:
    """Return the component of a pipeline; Azure takes letters, digits and underscores.

    >>> component_name("my training")
    'twinml_pipeline_my_training'
    """
    return "twinml_pipeline_" + re.sub(r"[^a-z0-9]+", "_", pipeline.lower()).strip("_")


def _state(job: Any) -> str:
    return STATES.get(word(job.status), "Running")


def described(found: Any, pipeline: str) -> PipelineJob:
    """Return one of the SDK's jobs as a ``PipelineJob``, without its steps."""
    inputs = {key: _plain(value) for key, value in (getattr(found, "inputs", None) or {}).items()}
    outputs = {
        key: {
            "type": str(getattr(value, "type", "")),
            "path": str(getattr(value, "path", "") or ""),
        }
        for key, value in (getattr(found, "outputs", None) or {}).items()
    }
    state = _state(found)
    failed = f"see {found.studio_url}" if state == "Failed" else None
    return PipelineJob(
        id=str(found.name),
        pipeline=pipeline,
        status=state,
        inputs=inputs,
        outputs=outputs if state == "Completed" else {},
        error=failed,
        created=created(found),
        version=str((found.tags or {}).get("version", "")),
    )


def _time(milliseconds: int | None) -> str | None:
    """Return a time of MLflow's as UTC, ISO 8601.

    >>> _time(1795543260332), _time(None)
    ('2026-11-24T18:01:00.332Z', None)
    """
    if not milliseconds:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    held = getattr(value, "_data", value)
    path = getattr(held, "path", None)
    if path:
        return {"type": str(getattr(held, "type", "")), "path": str(path)}
    return held if isinstance(held, (str, int, float, bool, type(None))) else str(held)


def _words(answer: Any) -> str:
    try:
        shape = answer.json()
        error = shape.get("error", shape)
        return str(error.get("message", error))[:300]
    except (ValueError, AttributeError):
        return str(answer.reason)


def _copy(source: Path, target: Path) -> None:
    copy: Callable[..., Any] = shutil.copyfile if source.is_file() else shutil.copytree
    copy(source, target)
