"""What a worker process does before it serves: load the models, and mind its parent."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from multiprocessing.util import Finalize
from pathlib import Path

from flask import Flask

from twinml.errors import TwinmlError
from twinml.settings import quiet_libraries
from twinml_local.processes import read_key_values
from twinml_local.server.app import create_app
from twinml_local.server.deployment import load
from twinml_local.server.log import RequestLog
from twinml_local.server.state import read_state

__all__ = ["build_app", "start_worker"]

PARENT_CHECK = 0.5  # seconds


def build_app(directory: Path) -> tuple[Flask, RequestLog]:
    """Return the app of the endpoint in ``directory`` with all its models loaded, and its log.

    Raises
    ------
    TwinmlError
        The endpoint's state or one of its models cannot be read.
    """
    quiet_libraries()
    state = read_state(directory)
    deployments = {
        name: load(
            name,
            Path(item.directory),
            model=f"{item.model}:{item.version}",
            digest=item.digest,
        )
        for name, item in state.deployments.items()
    }
    log = RequestLog(directory / "logs")
    app = create_app(
        endpoint=state.name,
        deployments=deployments,
        traffic=state.traffic,
        keys=read_key_values(directory / "keys.json"),
        settings=state.settings,
        log=log,
    )
    log.note(f"serving {', '.join(f'{n} ({d.model})' for n, d in deployments.items())}")
    return app, log


def start_worker(directory: str) -> Flask:
    """Load the app in a worker process of granian; if it cannot be loaded, end the server."""
    parent = os.getppid()
    try:
        app, log = build_app(Path(directory))
    except Exception as error:
        # Granian would start the worker again, to fail again.
        os.kill(parent, signal.SIGTERM)
        if not isinstance(error, TwinmlError):
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the console log
        sys.exit(1)
    # A process of multiprocessing runs its finalizers, another one its exit functions.
    Finalize(None, log.close, exitpriority=10)
    atexit.register(log.close)
    threading.Thread(target=_mind, args=(parent,), name="mind-parent", daemon=True).start()
    return app


def _mind(parent: int) -> None:
    """End this worker when its parent is gone: it would hold the port for nobody."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK)
    os.kill(os.getpid(), signal.SIGTERM)
