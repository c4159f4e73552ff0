"""The process of the pipeline service: ``python -m twinml_local.jobs --directory D --port N``.

The REST API and the worker threads are in one process, which holds ``service.lock`` as long
as it lives: a folder has one service, or two could run the same job.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import click
from waitress import create_server

from azureml_runner.locks import locked
from azureml_runner.processes import record_process
from twinml.errors import PlatformError, TwinmlError
from twinml_local.errors import twinml_errors
from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.lifecycle import ServiceFiles
from twinml_local.jobs.rest.app import create_app
from twinml_local.jobs.schedules.clock import Scheduler
from twinml_local.jobs.schedules.drift import DriftWatch
from twinml_local.keys import generate_keys

log = logging.getLogger("twinml.jobs")

HTTP_THREADS = 8
CONNECTIONS = 900  # that may be open at a time; idle ones hold no thread
IDLE_SECONDS = 60  # after which such a connection is closed


class _Stop(BaseException):
    """Somebody asked the process to end."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Asked once is enough; what follows takes no more than the steps' grace.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _Stop


@click.command()
@click.option("--directory", type=click.Path(path_type=Path), required=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    envvar="TWINML_PIPELINE_JOBS",
    help="Jobs that run at once.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 64),
    default=2,
    envvar="TWINML_PIPELINE_STEPS",
    help="Steps of a job that run at once.",
)
def serve(directory: Path, port: int, workers: int, steps: int) -> None:
    """Serve the pipelines in DIRECTORY on 127.0.0.1 until told to end."""
    _log_to_stderr()
    try:
        with twinml_errors():
            _serve(ServiceFiles(directory.resolve()), port, workers, steps)
    except TwinmlError as error:
        raise click.ClickException(str(error)) from error


def _serve(files: ServiceFiles, port: int, workers: int, steps: int) -> None:
    files.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(files.lock, timeout=0):
        record_process(files.pid, os.getpid())
        if not files.keys.exists():
            generate_keys(files.keys)
        store = JobStore(files.store)
        runner = Runner(store, files.directory, workers=workers, concurrency=steps)
        runner.recover()
        app = create_app(store, runner, files.keys)
        try:
            server = create_server(
                app,
                host="127.0.0.1",
                port=port,
                threads=HTTP_THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_SECONDS,
                # select takes no more than 1,024 files.
                asyncore_use_poll=True,
                ident=None,
            )
        except OSError as error:
            raise PlatformError(f"cannot listen on port {port}: {error.strerror}") from error
        scheduler = Scheduler(store, runner.wake, DriftWatch(files.directory.parent).look)
        runner.start()
        scheduler.start()
        try:
            signal.signal(signal.SIGTERM, _stop)
            signal.signal(signal.SIGINT, _stop)
            threading.Thread(target=server.run, name="http", daemon=True).start()
            log.info("pipelines are served on http://127.0.0.1:%d", port)
            while True:
                signal.pause()
        except _Stop:
            log.info("the service is asked to end")
        scheduler.stop()
        runner.shutdown()
        runner.join()
        runner.close()
        log.info("the service has ended")


def _log_to_stderr() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s",
    )


if __name__ == "__main__":
    serve()
