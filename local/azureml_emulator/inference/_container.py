"""One running inference server: started on a loopback port, watched, ended with its starter."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import urllib3

from azureml_emulator.environments.venvs import Venv
from azureml_emulator.inference._image import IMAGE, Image
from azureml_runner.logs import last_lines
from azureml_runner.processes import free_port

__all__ = ["Container", "ContainerCrashed"]

PROBE_SECONDS = 0.1
PROBE_TIMEOUT = 2.0
STOP_SECONDS = 10.0
TAIL_LINES = 30


class ContainerCrashed(Exception):
    """The server ended, or was not healthy in time; ``tail`` has its last lines."""

    def __init__(self, message: str, tail: list[str]) -> None:
        super().__init__(message)
        self.tail = tail


class Container:
    """An inference server in an environment of its own.

    Parameters
    ----------
    venv
        Where the packages are.
    image
        What is run.
    log
        Takes what the server prints.
    workers
        How many processes score.
    variables
        The user's environment variables; those of the image win.
    """

    def __init__(
        self, venv: Venv, image: Image, log: Path, *, workers: int, variables: Mapping[str, str]
    ) -> None:
        self._log = log
        self.port = free_port()
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", self.port, maxsize=32)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [
                    *(str(venv.python), str(IMAGE / "serve.py")),
                    *("--entry_script", str(image.script), "--port", str(self.port)),
                    *("--worker_count", str(workers)),
                ],
                cwd=image.root,
                # Its end tells the server that nobody needs it any more.
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=_environment(venv, {**variables, **image.variables}),
                start_new_session=os.name != "nt",
            )

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The pid of the server's first process."""
        return self._process.pid

    def wait_until_healthy(self, seconds: float) -> None:
        """Return when the server answers its health probe.

        Raises
        ------
        ContainerCrashed
            It ended before, or ``seconds`` went by.
        """
        deadline = time.monotonic() + seconds
        while self.alive:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if self.request("GET", "/", timeout=PROBE_TIMEOUT).status == 200:
                    return
            if time.monotonic() > deadline:
                raise ContainerCrashed(f"it was not healthy within {seconds:.0f} s", self._tail())
            time.sleep(PROBE_SECONDS)
        raise ContainerCrashed(f"it ended with exit code {self._process.returncode}", self._tail())

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; raises what ``urllib3`` raises, and never asks twice."""
        return self._pool.request(
            method, path, body=body, headers=headers, timeout=timeout, retries=False
        )

    def stop(self) -> None:
        """Let requests under way end, then end the server."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pool.close()

    def _tail(self) -> list[str]:
        return last_lines(self._log, TAIL_LINES)


def _environment(venv: Venv, variables: Mapping[str, str]) -> dict[str, str]:
    """Return a server's environment: ours without what leads Python or requests astray."""
    others = ("PYTHON", "VIRTUAL_ENV", "AZURE", "AML_", "HTTP", "MLFLOW", "TWINML")
    mine = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(others)
    }
    set_here = {
        # Many servers share this machine: numerical libraries must not each take all of it.
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # What is printed stays in the order in which it was printed.
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{venv.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **gunicorn_options(venv.directory),
    }
    return {**mine, **set_here, **variables}


def gunicorn_options(directory: Path) -> dict[str, str]:
    """Return the variables for the gunicorn of an environment, which refuses unknown options.

    A newer one opens a control socket, and all servers would have it at the same place in the
    user's home.
    """
    settings = [
        *directory.glob("lib/python*/site-packages/gunicorn/config.py"),
        *directory.glob("Lib/site-packages/gunicorn/config.py"),
    ]
    if any("--no-control-socket" in path.read_text(encoding="utf-8") for path in settings):
        return {"GUNICORN_CMD_ARGS": "--no-control-socket"}
    return {}
