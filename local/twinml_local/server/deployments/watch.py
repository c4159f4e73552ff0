"""A running server follows its folder: deployments, traffic and keys change without a restart.

There are two ways to update a server and lose no request: start a second process on the same
port and drain the first, or load the new model in the running process and swap. This is the
second way. It keeps every connection, needs no port shared between processes, and the swap is
one assignment: a request sees the old set of deployments or the new one, never half of each.
The price is that loading takes time from the requests that are answered meanwhile.

::

    the one that deploys                     each worker, ten times a second
    ────────────────────                     ───────────────────────────────
    endpoint.json: staged = new model  ──▶   loads it, serves what it served before
    waits for workers/PID.json         ◀──   "endpoint.json as of …: staged is loaded"
    endpoint.json: deployments = new   ──▶   swaps
    waits for workers/PID.json         ◀──   "endpoint.json as of …: serving it"

If the model cannot be loaded, or whoever deploys is killed, ``deployments`` never named it: a
worker that starts at that moment still serves what was served before.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_runner.files import write_atomic
from azureml_runner.processes import process_identity
from twinml.errors import ModelError, PlatformError, TwinmlError
from twinml_local.keys import read_key_values
from twinml_local.server._request_log import RequestLog
from twinml_local.server.deployments.code_version import installed_code
from twinml_local.server.deployments.recompiling import begin, outdated
from twinml_local.server.state import STATE_FILE, DeploymentState, EndpointState, read_state

if TYPE_CHECKING:
    # What only asks an endpoint about its workers loads no model.
    from twinml_local.server.deployments.deployment import Deployment, Serving

__all__ = ["KEYS_FILE", "Loaded", "Watcher", "WorkerReport", "load_one", "reports", "stamp"]

KEYS_FILE = "keys.json"
WORKERS = "workers"
LOOK_SECONDS = 0.1
FIRST_RETRY = 1.0  # seconds until a model that did not load is tried again; then twice as long
LONGEST_RETRY = 60.0
LOOK_AT_FORMS = 60.0  # seconds from one look for outdated compiled forms to the next


@dataclass(frozen=True)
class Loaded:
    """What became of one deployment in one worker.

    Attributes
    ----------
    scoring
        ``compiled`` or ``pipeline``.
    remark
        Why it is the pipeline; empty when it is not.
    failure
        Why it is not loaded; empty when it is.
    batches
        Whether the pipeline is asked in batches.
    """

    digest: str
    model: str
    scoring: str = ""
    remark: str = ""
    failure: str = ""
    batches: bool = False


@dataclass(frozen=True)
class WorkerReport:
    """What a worker has loaded, from which versions of the endpoint's files, with which code."""

    pid: int
    started: str
    state_stamp: str
    keys_stamp: str
    deployments: Mapping[str, Loaded] = field(default_factory=dict)
    staged: Mapping[str, Loaded] = field(default_factory=dict)
    code: str = ""


def stamp(path: Path) -> str:
    """Return what changes when ``path`` is replaced; empty when there is no such file.

    Examples
    --------
    >>> stamp(Path("/no/such/file"))
    ''
    """
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def reports(directory: Path) -> tuple[WorkerReport, ...]:
    """Return the reports of the workers that are alive; what others left is removed."""
    alive = []
    for path in sorted((directory / WORKERS).glob("*.json")):
        try:
            report = _report(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"{path.name} of endpoint '{directory.name}' is no worker's report",
                hint="Stop the endpoint and start it again.",
            ) from error
        if process_identity(report.pid) == report.started:
            alive.append(report)
        else:
            path.unlink(missing_ok=True)
    return tuple(alive)


def _report(shape: dict[str, Any]) -> WorkerReport:
    deployments, staged = (
        {name: Loaded(**item) for name, item in shape.pop(part).items()}
        for part in ("deployments", "staged")
    )
    return WorkerReport(**shape, deployments=deployments, staged=staged)


def load_one(
    endpoint: str, name: str, item: DeploymentState, threads: int
) -> tuple[Deployment, str]:
    """Load a model in its compiled form if that can be; if not, say why.

    Raises
    ------
    ModelError
        The files are not those that were deployed, or neither form can be loaded.
    """
    from twinml_local.server.deployments.deployment import check, load

    directory, remark, title = Path(item.directory), item.refusal, f"{item.model}:{item.version}"
    check(endpoint, name, directory, model=title, digest=item.digest)
    if item.compiled:
        try:
            compiled = load(
                name,
                directory,
                model=title,
                digest=item.digest,
                compiled=item.compiled,
                form=item.form,
                threads=threads,
            )
        except ModelError as error:
            remark = error.message
        else:
            return compiled, ""
    try:
        return load(name, directory, model=title, digest=item.digest, batched=item.batches), remark
    except ModelError as error:
        why = f" ({remark})" if remark else ""
        raise ModelError(f"{title}: {error.message}{why}", hint=error.hint) from error


class Watcher:
    """Loads what an endpoint's folder says, and keeps ``serving`` up to it.

    Parameters
    ----------
    directory
        The endpoint's folder.
    log
        Where changes and failures are noted.
    models
        Those that are loaded already, with the remark on each.
    needs_model
        Whether it is an error if none of the models can be loaded. If not, that is told, and they
        are tried again.

    Raises
    ------
    TwinmlError
        The endpoint's state or keys cannot be read, or none of its models can be loaded.

    Attributes
    ----------
    serving
        Replaced whole, by one assignment.
    on_change
        Called with ``serving`` after it was replaced and before that is reported.
    """

    serving: Serving

    def __init__(
        self,
        directory: Path,
        log: RequestLog,
        *,
        models: Mapping[DeploymentState, tuple[Deployment, str]] | None = None,
        needs_model: bool = True,
    ) -> None:
        self._directory = directory
        self._log = log
        self.on_change: Callable[[Serving], None] | None = None
        self._given = dict(models or {})
        self._models: dict[DeploymentState, tuple[Deployment, str]] = {}
        self._report = WorkerReport(
            os.getpid(), process_identity(os.getpid()) or "", "", "", code=installed_code()
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch-state", daemon=True)
        self._seen = self._stamps()
        self._retry_pause, self._retry_at = FIRST_RETRY, math.inf
        self._follow()
        failures = self.serving.failed
        if needs_model and failures and not self.serving.deployments:
            name, failure = next(iter(failures.items()))
            raise PlatformError(f"deployment '{name}' cannot be loaded: {failure}")

    def start(self) -> None:
        """Report what is loaded, and follow the folder from now on."""
        self._tell()
        self._thread.start()

    def close(self) -> None:
        """Stop following, and take the report back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._path().unlink(missing_ok=True)

    def current(self) -> Serving:
        """Return what decides about a request that comes now."""
        return self.serving

    def _watch(self) -> None:
        look_at_forms = 0.0
        while not self._stop.wait(LOOK_SECONDS):
            stamps = self._stamps()
            if time.monotonic() >= look_at_forms:
                look_at_forms = time.monotonic() + LOOK_AT_FORMS
                self._compile_anew()
            if stamps == self._seen and time.monotonic() < self._retry_at:
                continue
            self._seen = stamps  # files that cannot be used are tried again once they change
            try:
                self._follow()
                self._tell()
            except TwinmlError as error:
                self._log.note(f"the endpoint's files cannot be used: {error.message}")
            except Exception as error:
                self._log.failure(None, "-", error)

    def _compile_anew(self) -> None:
        """Have models compiled in the background whose forms hold no longer.

        Not by a process that runs other packages than are installed by now: what it has loaded
        still holds for those that it runs.
        """
        from twinml_local.server.deployments.compiling import compiler, own_compiler

        try:
            now, told = compiler(), self._report.deployments
            if now != own_compiler():
                return
            items = [
                item
                for name, item in read_state(self._directory).deployments.items()
                if name in told
                and (told[name].digest, told[name].failure) == (item.digest, "")
                and outdated(item, now, scoring=told[name].scoring)
            ]
            if items and begin(self._directory, items):
                self._log.note(f"compiling {len(items)} of the models anew")
        except Exception as error:  # whatever it is, what is served goes on
            self._log.failure(None, "-", error)

    def _stamps(self) -> tuple[str, str]:
        return stamp(self._directory / STATE_FILE), stamp(self._directory / KEYS_FILE)

    def _follow(self) -> None:
        """Load and serve what the files say; what cannot be loaded is tried again later."""
        from twinml_local.server.deployments.deployment import Serving

        state = read_state(self._directory)
        keys = read_key_values(self._directory / KEYS_FILE)
        deployments, told = self._load(state.deployments, state.settings.threads)
        failures = {name: item.failure for name, item in told.items() if item.failure}
        self.serving = Serving(
            endpoint=state.name,
            deployments=deployments,
            traffic=state.traffic,
            mirror=state.mirror,
            keys=keys,
            settings=state.settings,
            failed=failures,
        )
        self._retry_at = time.monotonic() + self._retry_pause if failures else math.inf
        self._retry_pause = min(LONGEST_RETRY, 2 * self._retry_pause) if failures else FIRST_RETRY
        if self.on_change is not None:
            self.on_change(self.serving)
        self._note(state)
        _, staged = self._load(state.staged, state.settings.threads)
        needed = {*state.deployments.values(), *state.staged.values()}
        self._models = {item: model for item, model in self._models.items() if item in needed}
        state_stamp, keys_stamp = self._seen
        self._report = replace(
            self._report,
            state_stamp=state_stamp,
            keys_stamp=keys_stamp,
            deployments=told,
            staged=staged,
        )

    def _load(
        self, items: Mapping[str, DeploymentState], threads: int
    ) -> tuple[dict[str, Deployment], dict[str, Loaded]]:
        deployments, told = {}, {}
        for name, item in items.items():
            title = f"{item.model}:{item.version}"
            try:
                known, remark = self._models.get(item) or self._loaded(name, item, title, threads)
            except TwinmlError as error:
                told[name] = Loaded(item.digest, title, failure=str(error))
            except Exception as error:  # whatever unpickling a model may raise
                told[name] = Loaded(item.digest, title, failure=f"{type(error).__name__}: {error}")
                self._log.failure(name, "-", error)
            else:
                self._models[item] = known, remark
                deployments[name] = replace(known, name=name)
                told[name] = Loaded(
                    item.digest,
                    title,
                    "pipeline" if known.compiled is None else "compiled",
                    remark,
                    batches=known.gathers,
                )
            if told[name].failure:
                self._log.note(f"{name} ({title}) cannot be loaded: {told[name].failure}")
        return deployments, told

    def _loaded(
        self, name: str, item: DeploymentState, title: str, threads: int
    ) -> tuple[Deployment, str]:
        """Return a model that was given, or load it, once it has scored; note how it does."""
        from twinml_local.server.deployments.deployment import prove

        loaded, remark = self._given.get(item) or load_one(
            self._directory.name, name, item, threads
        )
        prove(loaded)
        if loaded.compiled is not None:
            self._log.note(f"{name} ({title}) scores compiled")
        else:
            how = "in batches" if loaded.batches else "one request at a time"
            self._log.note(f"{name} ({title}) scores with its pipeline, {how}: {remark}")
        return loaded, remark

    def _note(self, state: EndpointState) -> None:
        shown = [
            f"{name} ({deployment.model}) {state.traffic.get(name, 0)} %"
            for name, deployment in self.serving.deployments.items()
        ]
        self._log.note(f"serving {', '.join(shown) or 'nothing yet'}")

    def _path(self) -> Path:
        return self._directory / WORKERS / f"{self._report.pid}.json"

    def _tell(self) -> None:
        write_atomic(self._path(), json.dumps(asdict(self._report)))
