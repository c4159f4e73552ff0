"""Python programs in forks of one process that has imported what they need.

Importing MLflow and the Azure SDK takes 6 to 10 s of a processor, longer than most of what the
programs then do. The process is started once for a test session (``python warm.py DESCRIPTOR``);
each request on its socket is a line of JSON with the program's own descriptors beside it, and
its pid and exit code come back through a pipe of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NEEDED = (
    "azureml_emulator.__main__", "azureml_emulator.mlflow.registry",
    "mlflow.server", "mlflow.server.handlers", "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store", "azureml.mlflow",
    "azure.ai.ml", "azure.identity", "sklearn.pipeline", "twinml.cli", "twinml_azure.platform",
)  # fmt: skip
LOOK_SECONDS = 0.02
# Of a pid on the pipe: what follows is the exit code.
DIGITS = 16
MOST = 1 << 20


class WarmProcess:
    """A started program: what a test asks of ``subprocess.Popen``."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid, self._ended = pid, ended
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, ``None`` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float) -> int:
        """Return the exit code once it has ended."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(os.read(self._ended, 16) or b"-9")
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Warm:
    """The process that the programs are forks of."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        words: list[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdout: int,
        stderr: int,
    ) -> WarmProcess:
        """Start ``python WORDS``: a script, or ``-m`` and a module, and its arguments."""
        asked = {"words": words, "env": dict(env), "cwd": str(cwd or Path.cwd())}
        told, tell = os.pipe()
        with open(tell, "wb"):
            data = json.dumps(asked).encode()
            head = len(data).to_bytes(4, "big")
            socket.send_fds(self._socket, [head], [stdout, stderr, tell])
            self._socket.sendall(data)
        return WarmProcess(int(os.read(told, DIGITS)), told)

    def run(
        self,
        *words: Any,
        env: Mapping[str, str],
        cwd: Path | None = None,
        timeout: float = 500,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python WORDS`` to its end, and return its exit code and what it printed."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
            process = self.start(
                [str(word) for word in words],
                env=env, cwd=cwd, stdout=out.fileno(), stderr=error.fileno(),
            )  # fmt: skip
            try:
                code = process.wait(timeout)
            finally:
                process.send_signal(signal.SIGKILL)
            out.seek(0)
            error.seek(0)
            said = [file.read().decode(errors="replace") for file in (out, error)]
        return subprocess.CompletedProcess(words, code, *said)

    def close(self) -> None:
        """End the process; what it has started goes on."""
        self._socket.close()
        self._process.wait(60)


class Cold:
    """Starts programs each as a new Python, for what has to see its start."""

    def start(
        self,
        words: list[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdout: int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        """Start ``python WORDS``."""
        command = [sys.executable, *words]
        return subprocess.Popen(command, env=env, cwd=cwd, stdout=stdout, stderr=stderr)


def _become(asked: dict[str, Any]) -> int:
    """Run the program as its own process does, and return its exit code."""
    words: list[str] = asked["words"]
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _fork(asked: dict[str, Any], descriptors: list[int], others: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    stdout, stderr, _ = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for there, here in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(there, here)
    for descriptor in (nothing, *descriptors, *others):
        os.close(descriptor)
    code = 1
    try:
        code = _become(asked)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _serve(asking: socket.socket) -> None:
    """Start what is asked for, and tell how it ended, until nobody asks any more."""
    tell: dict[int, int] = {}
    while True:
        if select.select([asking], [], [], LOOK_SECONDS if tell else None)[0]:
            head, descriptors, _, _ = socket.recv_fds(asking, 4, 3)
            if not head:
                return
            size, data = int.from_bytes(head, "big"), b""
            while len(data) < size:
                data += asking.recv(min(MOST, size - len(data)))
            pid = _fork(json.loads(data), descriptors, [asking.fileno(), *tell.values()])
            os.write(descriptors[2], f"{pid:{DIGITS}}".encode())
            tell[pid] = descriptors[2]
            os.close(descriptors[0])
            os.close(descriptors[1])
        while tell:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            with contextlib.suppress(BrokenPipeError):
                os.write(tell[ended], str(os.waitstatus_to_exitcode(status)).encode())
            os.close(tell.pop(ended))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in NEEDED:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    _serve(socket.socket(fileno=int(sys.argv[1])))
