"""What a process serves: the endpoint in a folder, with its models loaded."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from twinml.errors import PlatformError, TwinmlError
from twinml.settings import quiet_libraries
from twinml_local.server._app import app_of
from twinml_local.server._request_log import RequestLog
from twinml_local.server.deployments.compiling import own_compiler
from twinml_local.server.deployments.deployment import Deployment
from twinml_local.server.deployments.watch import Watcher, load_one
from twinml_local.server.scoring.front import Front
from twinml_local.server.scoring.mirror import Mirror
from twinml_local.server.scoring.service import ScoringService
from twinml_local.server.state import DeploymentState, ServerSettings, read_state
from twinml_local.telemetry import TelemetryClient, TelemetrySettings, blueprint

__all__ = ["Application", "Preloaded", "build", "preload"]


@dataclass
class Preloaded:
    """Models that a supervisor has loaded, for workers to begin with."""

    models: dict[DeploymentState, tuple[Deployment, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Application:
    """The front of an endpoint, and what ends it."""

    front: Front
    watcher: Watcher
    close: Callable[[], None]

    @property
    def settings(self) -> ServerSettings:
        """The settings of this moment."""
        return self.watcher.serving.settings

    @property
    def drain_seconds(self) -> float:
        """How long requests may take to end."""
        return self.settings.drain_seconds


def preload(directory: Path, known: Preloaded | None = None) -> Preloaded:
    """Load the models of the endpoint in ``directory``; starts no thread, so it may be forked.

    Parameters
    ----------
    directory
        The endpoint's folder.
    known
        What was loaded before; kept where it is still needed.

    Raises
    ------
    PlatformError
        The endpoint has models, and none of them can be loaded.
    TwinmlError
        The endpoint's state cannot be read.
    """
    quiet_libraries()
    own_compiler()  # noted before anybody changes the packages that are loaded now
    state = read_state(directory)
    before = {} if known is None else known.models
    found, failures = Preloaded(), []
    for name, item in state.deployments.items():
        try:
            found.models[item] = before.get(item) or load_one(
                directory.name, name, item, state.settings.threads
            )
        except Exception as error:  # whatever unpickling a model may raise
            reason = str(error) if isinstance(error, TwinmlError) else type(error).__name__
            if not isinstance(error, TwinmlError):
                traceback.print_exc()  # to the console's log: there is no other yet
            failures.append(f"deployment '{name}' cannot be loaded: {reason}")
    if failures and not found.models:
        raise PlatformError(failures[0])
    return found


def build(
    directory: Path, preloaded: Preloaded | None = None, *, bound: str = "127.0.0.1"
) -> Application:
    """Return the application of the endpoint in ``directory``; it follows the folder.

    Parameters
    ----------
    directory
        The endpoint's folder.
    preloaded
        What a supervisor has loaded. Then models that cannot be loaded are told of and tried
        again: the endpoint has served before.
    bound
        The address that the server listens on.

    Raises
    ------
    TwinmlError
        The endpoint's state cannot be read, or, without a supervisor, none of its models can be
        loaded.
    """
    quiet_libraries()
    log = RequestLog(directory / "logs")
    remarks: list[str] = []
    log.on_note = remarks.append
    try:
        models = {} if preloaded is None else preloaded.models
        watcher = Watcher(directory, log, models=models, needs_model=preloaded is None)
    except BaseException:
        log.close()
        raise
    settings = watcher.serving.settings
    telemetry = TelemetryClient(
        directory,
        retention_days=settings.retention_days,
        settings=TelemetrySettings(collect_rate=settings.collect_rate),
        endpoint=watcher.serving.endpoint,
    )
    # What was noted before there was a telemetry, and from now on.
    for remark in remarks:
        telemetry.record_trace(remark)
    log.on_note = telemetry.record_trace
    watcher.on_change = lambda now: telemetry.set_collect_rate(now.settings.collect_rate)
    service = ScoringService(
        watcher.current, log=log, mirror=Mirror(log, telemetry), telemetry=telemetry
    )
    front = app_of(service, directory, more=(blueprint(directory),), bound=bound)
    watcher.start()

    def close() -> None:
        watcher.close()
        telemetry.close()
        log.close()

    return Application(front, watcher, close)
