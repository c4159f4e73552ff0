"""All running deployments: built, replaced without refused requests, restarted, ended."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from azureml_emulator.environments.venvs import BuildError, Venv, VenvCache
from azureml_emulator.inference._container import Container, ContainerCrashed
from azureml_emulator.inference._image import IMAGE, Image, Order, plan
from azureml_runner.logs import last_lines

__all__ = ["DeploymentFailed", "Fleet"]

SERVER_LOG, STORAGE_LOG = "inference-server.log", "storage-initializer.log"
# A server that keeps ending is started again ever more rarely.
RESTART_SECONDS = (0.0, 1.0, 5.0, 30.0)

_log = logging.getLogger("azureml_emulator.inference")

Fetch = Callable[[Path, Callable[[str], None]], Order]


class DeploymentFailed(Exception):
    """A deployment cannot run; ``code`` and ``message`` are for ARM's error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class _Running:
    """A running deployment, with what a restart needs."""

    order: Order
    venv: Venv
    image: Image
    container: Container
    restarts: int = 0
    restart: threading.Lock = field(default_factory=threading.Lock)


class Fleet:
    """Keeps the containers of one emulator.

    Parameters
    ----------
    directory
        Where each deployment has a folder for its files and logs.
    venvs
        Where environments come from.
    lenient
        See ``plan``.
    """

    def __init__(self, directory: Path, venvs: VenvCache, *, lenient: bool = False) -> None:
        self._directory, self._venvs, self._lenient = directory, venvs, lenient
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._closed = False

    def deploy(self, deployment_id: str, fetch: Fetch) -> None:
        """Start a deployment as requested; returns once it is healthy.

        What ran before serves until then, and goes on if the new one fails. Two orders for
        one deployment are carried out one after the other.

        Parameters
        ----------
        deployment_id
            Its ARM id.
        fetch
            Is given an empty folder and a log; puts the files there and returns the order.

        Raises
        ------
        DeploymentFailed
            The environment cannot be built, or the server does not become healthy.
        """
        with self._lock:
            turn = self._turns.setdefault(_key(deployment_id), threading.Lock())
        with turn:
            self._deploy(deployment_id, fetch)

    def _deploy(self, deployment_id: str, fetch: Fetch) -> None:
        folder = self.folder(deployment_id)
        generation = folder / f"{time.time_ns():x}"
        generation.mkdir(parents=True)
        try:
            with _writer(folder / STORAGE_LOG) as log:
                order = fetch(generation, log)
            image, venv = self._build(order, generation)
            container = self._start(order, image, venv)
        except BaseException:
            shutil.rmtree(generation, ignore_errors=True)
            raise
        with self._lock:
            closed = self._closed
            old = self._running.pop(_key(deployment_id), None)
            if not closed:
                self._running[_key(deployment_id)] = _Running(order, venv, image, container)
        if closed:
            container.stop()
        if old is not None:
            old.container.stop()
        for path in folder.iterdir():
            if path.is_dir() and path != generation:
                shutil.rmtree(path, ignore_errors=True)

    def _build(self, order: Order, generation: Path) -> tuple[Image, Venv]:
        with _writer(self.folder(order.id) / SERVER_LOG) as log:
            try:
                image = plan(order, generation / "app", lenient=self._lenient)
                preferred = (IMAGE / "server.lock").read_text(encoding="utf-8")
                return image, self._venvs.get(image.requirements, log=log, preferred=preferred)
            except BuildError as error:
                log(f"ERROR: {error.message}")
                words = "\n".join([error.message, *error.tail])
                raise DeploymentFailed(
                    "ImageBuildFailure", f"The environment could not be built: {words}"
                ) from error

    def _start(self, order: Order, image: Image, venv: Venv) -> Container:
        path = self.folder(order.id) / SERVER_LOG
        container = Container(venv, image, path, workers=order.workers, variables=order.variables)
        try:
            container.wait_until_healthy(order.start_seconds)
        except ContainerCrashed as error:
            container.stop()
            with _writer(path) as log:
                log("Liveness probe failed: HTTP probe failed with statuscode: 502")
            words = "\n".join(error.tail)
            raise DeploymentFailed(
                "ResourceNotReady",
                f"User container has crashed or terminated: {error}. Liveness probe failed: HTTP "
                f"probe failed with statuscode: 502. The last lines of its log:\n{words}",
            ) from error
        except BaseException:
            container.stop()
            raise
        return container

    def find(self, deployment_id: str) -> tuple[Container, Order] | None:
        """Return the container of a deployment that serves, or ``None``.

        One whose server ended is started again, in the background.
        """
        with self._lock:
            running = self._running.get(_key(deployment_id))
        if running is None:
            return None
        if running.container.alive:
            return running.container, running.order
        if running.restart.acquire(blocking=False):
            threading.Thread(target=self._restart, args=(running,), daemon=True).start()
        return None

    def _restart(self, running: _Running) -> None:
        try:
            wait = RESTART_SECONDS[min(running.restarts, len(RESTART_SECONDS) - 1)]
            running.restarts += 1
            _log.warning("%s: its server ended; starting it again", running.order.name)
            time.sleep(wait)
            with self._lock:
                wanted = self._running.get(_key(running.order.id)) is running
            if not wanted:
                return
            running.container.stop()
            container = self._start(running.order, running.image, running.venv)
            with self._lock:
                wanted = self._running.get(_key(running.order.id)) is running
                if wanted:
                    running.container = container
            if not wanted:
                container.stop()
        except DeploymentFailed as error:
            _log.warning("%s: %s", running.order.name, error.code)
        finally:
            running.restart.release()

    def stop(self, prefix: str) -> None:
        """End the deployment of that id, or all below that of an endpoint; remove their files."""
        key = _key(prefix)
        with self._lock:
            below = [name for name in self._running if name == key or name.startswith(key + "/")]
            stopped = [self._running.pop(name) for name in below]
        for running in stopped:
            running.container.stop()
            shutil.rmtree(self.folder(running.order.id), ignore_errors=True)

    def logs(self, deployment_id: str, *, storage: bool, lines: int) -> str:
        """Return the last lines of a deployment's log, each with its line feed."""
        path = self.folder(deployment_id) / (STORAGE_LOG if storage else SERVER_LOG)
        return "".join(f"{line}\n" for line in last_lines(path, lines))

    def folder(self, deployment_id: str) -> Path:
        """Return the folder of a deployment."""
        return self._directory / hashlib.sha256(_key(deployment_id).encode()).hexdigest()[:24]

    def close(self) -> None:
        """End all servers; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            stopped = list(self._running.values())
            self._running.clear()
        threads = [threading.Thread(target=item.container.stop) for item in stopped]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _key(deployment_id: str) -> str:
    return deployment_id.lower()


@contextmanager
def _writer(path: Path) -> Iterator[Callable[[str], None]]:
    """Yield a function that adds a line with the time to a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:

        def write(line: str) -> None:
            now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            file.write(f"{now} {line}\n")
            file.flush()

        yield write
