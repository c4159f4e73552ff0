"""What the local platform does with pipelines: publish, run, look, stop.

Everything lives in one folder, by default ``pipelines/`` in twinml's home::

    keys.json         the two keys of all pipelines (0600)
    service.db        definitions, jobs and schedules
    jobs/ID/          where a job works: a folder for each step, with its log and outputs
    reuse/            results by what they were made from
    code/             the steps' code as it was published
    service.pid       the service's process
    service.json      its port, kept so that a URI stays the same
    service.log
    service.lock, lifecycle.lock
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_runner.files import write_atomic
from azureml_runner.locks import locked
from azureml_runner.processes import free_port, running, terminate
from azureml_runner.service import Service, healthy
from twinml.errors import PlatformUnavailable
from twinml.settings import home
from twinml_local.errors import twinml_errors
from twinml_local.keys import generate_keys

if TYPE_CHECKING:
    from datetime import timedelta

    from twinml.pipeline.client import RestPipelineClient
    from twinml.pipeline.retention import Cleaned
    from twinml.platform import Keys, PipelineInfo, PipelineJob, Schedule
    from twinml_local.jobs._job import JobRecord
    from twinml_local.jobs._store import JobStore
    from twinml_local.jobs.definition.pipeline import PipelineDefinition

__all__ = [
    "ServiceFiles",
    "clean",
    "client",
    "definition",
    "info",
    "job",
    "keys",
    "publish",
    "published",
    "recorded",
    "recorded_job",
    "run",
    "schedule",
    "schedules",
    "service_pid",
    "start",
    "stop",
    "unschedule",
]

START_SECONDS = 60.0
STOP_SECONDS = 15.0
PORT_SECONDS = 5.0
ANSWER_SECONDS = 10.0  # of a service that was started before


@dataclass(frozen=True)
class ServiceFiles:
    """The files of a service, by what they hold."""

    directory: Path

    @property
    def keys(self) -> Path:
        """The two keys."""
        return self.directory / "keys.json"

    @property
    def store(self) -> Path:
        """Definitions, jobs and schedules."""
        return self.directory / "service.db"

    @property
    def code(self) -> Path:
        """The steps' code, by content."""
        return self.directory / "code"

    @property
    def pid(self) -> Path:
        """The service's process."""
        return self.directory / "service.pid"

    @property
    def address(self) -> Path:
        """The service's port."""
        return self.directory / "service.json"

    @property
    def log(self) -> Path:
        """The service's log."""
        return self.directory / "service.log"

    @property
    def lock(self) -> Path:
        """Held by the service as long as it lives."""
        return self.directory / "service.lock"

    @property
    def lifecycle_lock(self) -> Path:
        """Held while the service is started or stopped."""
        return self.directory / "lifecycle.lock"

    def port(self) -> int | None:
        """Return the port that the service has, or had last."""
        try:
            return int(json.loads(self.address.read_text(encoding="utf-8"))["port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def publish(
    name: str | None,
    file: Path,
    *,
    inputs: Mapping[str, Any] | None = None,
    directory: Path | None = None,
) -> PipelineInfo:
    """Publish a pipeline and start the service if it is not running.

    Parameters
    ----------
    name
        By default what the file calls it.
    file
        A pipeline job in Azure ML's YAML. It and its code are copied; if the content is what
        was last published, the version stays.
    inputs
        Replace values in the file.
    directory
        The service's folder; by default ``pipelines`` in twinml's home.

    Raises
    ------
    UsageError
        The file is not valid, or asks for what is not done here.
    PlatformError
        The service does not start; the message names its log.
    """
    from twinml_local.jobs.definition.pipeline import read
    from twinml_local.jobs.definition.snapshots import keep_code

    files = _files(directory)
    definition = read(file, name=name, keep_code=lambda code: keep_code(code, files.code))
    definition = definition.with_inputs(inputs or {})
    with _open(files) as store:
        store.publish(definition)
    _ensure_running(files)
    return info(definition.name, directory=directory)


def info(name: str, *, directory: Path | None = None) -> PipelineInfo:
    """Describe a published pipeline; ``NotFound`` if there is none of that name."""
    files = _files(directory)
    with _open(files) as store:
        _, version = store.definition(name)
    return _described(files, name, version)


def published(*, directory: Path | None = None) -> tuple[PipelineInfo, ...]:
    """Describe all published pipelines, by name."""
    files = _files(directory)
    if not files.store.exists():
        return ()
    with _open(files) as store:
        versions = store.versions()
    return tuple(_described(files, name, version) for name, version in versions.items())


def _described(files: ServiceFiles, name: str, version: int) -> PipelineInfo:
    from twinml.platform import PipelineInfo

    return PipelineInfo(
        name=name,
        version=str(version),
        uri=f"http://127.0.0.1:{files.port() or 0}/pipelines/{name}/jobs",
        state="stopped" if running(files.pid) is None else "running",
    )


def run(name: str, inputs: Mapping[str, Any], *, directory: Path | None = None) -> PipelineJob:
    """Start a job over REST, and the service if it is not running; returns once accepted.

    Raises
    ------
    NotFound
        The pipeline is not published.
    PayloadError
        The inputs do not fit its definition.
    """
    info(name, directory=directory)
    _ensure_running(_files(directory))
    with client(name, directory=directory) as service:
        return service.submit(inputs)


def schedule(wanted: Schedule, *, directory: Path | None = None) -> Schedule:
    """Make or replace a schedule, and start the service that keeps it.

    Raises
    ------
    UsageError
        It says no time that can be kept.
    NotFound
        The pipeline is not published.
    PayloadError
        A job could not start with its inputs.
    """
    from twinml_local.jobs.schedules.clock import check_schedule, next_due

    check_schedule(wanted)
    files = _files(directory)
    with _open(files) as store:
        definition, _ = store.definition(wanted.pipeline)
        definition.accepted(wanted.inputs)
        store.put_schedule(wanted, next_due(wanted, time.time()))
    _ensure_running(files)
    return next(one for one in schedules(directory=directory) if one.name == wanted.name)


def unschedule(name: str, *, directory: Path | None = None) -> None:
    """Delete a schedule; ``NotFound`` if there is none of that name."""
    with _open(_files(directory)) as store:
        store.delete_schedule(name)


def schedules(
    pipeline: str | None = None, *, directory: Path | None = None
) -> tuple[Schedule, ...]:
    """Describe the schedules of a pipeline, or all, by name."""
    files = _files(directory)
    if not files.store.exists():
        return ()
    with _open(files) as store:
        return tuple(schedule for schedule, _ in store.schedules(pipeline))


def clean(
    pipeline: str | None = None,
    *,
    keep: int,
    older_than: timedelta | None = None,
    dry_run: bool = False,
    directory: Path | None = None,
) -> Cleaned:
    """Delete the files of ended jobs that nothing refers to; the service may run.

    Raises
    ------
    NotFound
        The pipeline is not published.
    """
    from twinml.pipeline.retention import Cleaned
    from twinml_local.jobs import _retention as retention

    files = _files(directory)
    if not files.store.exists():
        return Cleaned((), (), 0, 0)
    with _open(files) as store:
        if pipeline is not None:
            store.definition(pipeline)
        return retention.clean(
            store,
            files.directory,
            pipeline=pipeline,
            keep=keep,
            older_than=older_than,
            dry_run=dry_run,
        )


def definition(name: str, *, directory: Path | None = None) -> PipelineDefinition:
    """Return what is published under a name; ``NotFound`` if there is none."""
    with _open(_files(directory)) as store:
        return store.definition(name)[0]


def recorded(
    name: str | None = None, *, limit: int = 50, directory: Path | None = None
) -> tuple[PipelineJob, ...]:
    """Return jobs of one pipeline, or of all, newest first, whether the service runs or not."""
    files = _files(directory)
    if not files.store.exists():
        return ()
    with _open(files) as store:
        return tuple(_shown(record) for record in store.jobs(name, limit=limit))


def recorded_job(
    name: str, job_id: str, *, directory: Path | None = None
) -> tuple[PipelineJob, str]:
    """Return a job and what its steps printed, whether the service runs or not.

    Raises
    ------
    NotFound
        The pipeline is not published, or has no such job.
    """
    from twinml_local.jobs._job_log import job_log

    files = _files(directory)
    with _open(files) as store:
        store.definition(name)
        record = store.job(name, job_id)
    text = job_log(record, files.directory / "jobs" / record.id)
    return _shown(record), text.decode(errors="replace")


def _shown(record: JobRecord) -> PipelineJob:
    from twinml.platform import PipelineJob

    names = {field.name for field in fields(PipelineJob)}
    return PipelineJob(**{key: value for key, value in record.to_dict().items() if key in names})


def job(name: str, job_id: str, *, directory: Path | None = None) -> PipelineJob:
    """Describe a job over REST; ``PlatformUnavailable`` if the service is not running."""
    with client(name, directory=directory) as service:
        return service.job(job_id)


def client(name: str, *, directory: Path | None = None) -> RestPipelineClient:
    """Return a REST client of a published pipeline, key included.

    Raises
    ------
    NotFound
        The pipeline is not published.
    PlatformUnavailable
        The service is not running.
    """
    from twinml.pipeline.client import RestPipelineClient

    files = _files(directory)
    found = info(name, directory=directory)
    if running(files.pid) is None:
        raise PlatformUnavailable(
            "the pipeline service is not running",
            hint=f"Start it: twinml pipeline run {name} or twinml pipeline publish.",
        )
    return RestPipelineClient(found.uri, keys(directory=directory).primary)


def keys(*, directory: Path | None = None) -> Keys:
    """Return the two keys of the service; they are made if there are none."""
    return generate_keys(_files(directory).keys)


@twinml_errors()
def service_pid(*, directory: Path | None = None) -> int | None:
    """Return the pid of the running service, ``None`` if it is not running."""
    return running(_files(directory).pid)


@twinml_errors()
def start(*, directory: Path | None = None) -> bool:
    """Start the service if anything is published and it is not running.

    Returns
    -------
    bool
        Whether it runs now.

    Raises
    ------
    PlatformError
        The service does not start; the message names its log.
    """
    files = _files(directory)
    if not published(directory=directory):
        return False
    _ensure_running(files)
    return True


@twinml_errors()
def stop(*, directory: Path | None = None) -> bool:
    """End the service; a job that runs is queued again, and goes on at the next start.

    Returns
    -------
    bool
        Whether there was a service to end.
    """
    files = _files(directory)
    if not files.directory.exists():
        return False
    with locked(files.lifecycle_lock, timeout=START_SECONDS):
        return terminate(files.pid, STOP_SECONDS)


def _files(directory: Path | None) -> ServiceFiles:
    return ServiceFiles((directory or home() / "pipelines").resolve())


@contextmanager
def _open(files: ServiceFiles) -> Iterator[JobStore]:
    files.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    from twinml_local.jobs._store import JobStore

    store = JobStore(files.store)
    try:
        yield store
    finally:
        store.close()


@twinml_errors()
def _ensure_running(files: ServiceFiles) -> None:
    """Return once the service answers, started if need be."""
    with locked(files.lifecycle_lock, timeout=START_SECONDS):
        port = files.port()
        if port is not None and _service(files, port).wait(ANSWER_SECONDS):
            return
        terminate(files.pid, STOP_SECONDS)
        port = _free(port)
        generate_keys(files.keys)
        write_atomic(files.address, json.dumps({"port": port}))
        command = ["-m", "twinml_local.jobs", "--directory", str(files.directory)]
        _service(files, port).start(
            [sys.executable, *command, "--port", str(port)],
            env={**os.environ, "TWINML_HOME": str(files.directory.parent)},
            seconds=START_SECONDS,
        )


def _free(kept: int | None) -> int:
    """Return the kept port, which clients know, as soon as it is free; another one if it stays."""
    deadline = time.monotonic() + PORT_SECONDS
    while (port := free_port(kept)) != kept and kept is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    return port


def _service(files: ServiceFiles, port: int) -> Service:
    return Service("the pipeline service", files.pid, files.log, lambda: healthy(port, "pipelines"))
