"""What a worker process does before it serves: load the models, and mind its parent."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path

from twinml.errors import TwinmlError
from twinml.settings import quiet_libraries
from twinml_local.server.app import app_of
from twinml_local.server.deployments.watch import Watcher
from twinml_local.server.request_log import RequestLog
from twinml_local.server.scoring.lane import Lane
from twinml_local.server.scoring.mirror import Mirror
from twinml_local.server.scoring.service import ScoringService
from twinml_local.telemetry import Recorder, TelemetrySettings, blueprint

__all__ = ["build_app", "start_worker"]

PARENT_CHECK = 0.5  # seconds
COLLECT_AFTER = (20_000, 20, 20)  # objects, and collections of each younger generation
SWITCH_SECONDS = 0.0005


def build_app(directory: Path) -> tuple[Lane, Callable[[], None]]:
    """Return the app of the endpoint in ``directory`` with its models loaded, and what ends it.

    Raises
    ------
    TwinmlError
        The endpoint's state cannot be read, or none of its models can be loaded.
    """
    quiet_libraries()
    log = RequestLog(directory / "logs")
    remarks: list[str] = []
    log.on_note = remarks.append
    try:
        watcher = Watcher(directory, log)
    except BaseException:
        log.close()
        raise
    settings = watcher.serving.settings
    recorder = Recorder(
        directory,
        retention_days=settings.retention_days,
        settings=TelemetrySettings(collect_rate=settings.collect_rate),
        endpoint=watcher.serving.endpoint,
    )
    # What was noted before there was a recorder, and from now on.
    for remark in remarks:
        recorder.record_trace(remark)
    log.on_note = recorder.record_trace
    watcher.on_change = lambda now: recorder.set_collect_rate(now.settings.collect_rate)
    service = ScoringService(
        watcher.current, log=log, mirror=Mirror(log, recorder), recorder=recorder
    )
    app = app_of(service, directory)
    app.register_blueprint(blueprint(directory))
    watcher.start()

    def close() -> None:
        watcher.close()
        recorder.close()
        log.close()

    return Lane(app, service), close


def start_worker(directory: str) -> Lane:
    """Load the app in a worker process of granian; if it cannot be loaded, end the server."""
    parent = os.getppid()
    try:
        app, close = build_app(Path(directory))
    except Exception as error:
        # Granian would start the worker again, to fail again.
        os.kill(parent, signal.SIGTERM)
        if not isinstance(error, TwinmlError):
            raise
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the console log
        sys.exit(1)
    _settle()
    # A process of multiprocessing runs its finalizers, another one its exit functions.
    Finalize(None, close, exitpriority=10)
    atexit.register(close)
    threading.Thread(target=_mind, args=(parent,), name="mind-parent", daemon=True).start()
    return app


def _settle() -> None:
    """Keep what Python does besides out of the requests' way, now that all is loaded."""
    # The collector need not look again and again at libraries and models.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    # A request that comes while a thread writes telemetry would wait 5 ms for its turn.
    sys.setswitchinterval(SWITCH_SECONDS)


def _mind(parent: int) -> None:
    """End this worker when its parent is gone: it would hold the port for nobody."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK)
    os.kill(os.getpid(), signal.SIGTERM)
