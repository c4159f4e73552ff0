"""The warm process: ``python -m twinml_local.jobs.warm SOCKET``; it ends with its service.

It imports, and then only waits, forks and reaps, in one thread. Standard input is a pipe from
the service: when that closes, no new step begins, and the process ends after its last one.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twinml.settings import quiet_libraries
from twinml.training.learners import modules, packages
from twinml_local.jobs.warm._launcher import STEPS

__all__ = ["main"]

# What the steps import, without the steps themselves: those run as __main__.
IMPORTED = (
    "pandas",
    "pyarrow.parquet",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "twinml.registry.champion",
    "twinml.data",
    "twinml.registry.training_run",
    "twinml.model",
    "twinml.registry.promotion",
    "twinml.registry.tracking",
    "twinml.training._train",
    "twinml_local.platform",
    *modules(packages(optional=False)),
)
IDLE_SECONDS = 900.0
REQUEST_SECONDS = 10.0
LONGEST_REQUEST = 16_000_000
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Request:
    """What a launcher asked for: ``-m`` arguments, and where and with what they run."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]
    descriptors: list[int]


@dataclass
class Warm:
    """The loop; ``serve`` returns in the warm process at its end, and in each fork at once."""

    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)

    def serve(self) -> Request | None:
        """Wait for launchers; in a fork, return what it is to run, else ``None`` at the end."""
        self.selector.register(self.listener, selectors.EVENT_READ, "launcher")
        self.selector.register(0, selectors.EVENT_READ, "service")
        parent, open_ = os.getpid(), True
        while open_ or self.children:
            ready = self.selector.select(IDLE_SECONDS)
            if not ready and not self.children:
                break
            for key, _ in ready:
                if key.data == "service":
                    self.selector.unregister(0)
                    self.selector.unregister(self.listener)
                    self.listener.close()
                    open_ = False
                elif key.data == "launcher" and open_:
                    wanted = self._accept(parent)
                    if wanted is not None:
                        return wanted
                elif key.data in self.children:
                    self._look_after(key.data, ended=key.fd == self.children[key.data][0])
        return None

    def _accept(self, parent: int) -> Request | None:
        connection, _ = self.listener.accept()
        connection.settimeout(REQUEST_SECONDS)  # This loop has other steps to look after.
        try:
            wanted = _receive(connection)
        except (OSError, ValueError, KeyError, struct.error) as error:
            _say(f"a request was not understood: {error}")
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            _become_step(wanted, parent)
            self._forget()
            connection.close()
            return wanted
        for descriptor in wanted.descriptors:
            os.close(descriptor)
        try:
            connection.sendall(b"!")
        except OSError:
            os.kill(pid, signal.SIGKILL)
        descriptor = os.pidfd_open(pid)
        self.children[pid] = (descriptor, connection)
        self.selector.register(descriptor, selectors.EVENT_READ, pid)
        self.selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _look_after(self, pid: int, *, ended: bool) -> None:
        """Reap a child that ended; kill one whose launcher is gone."""
        descriptor, connection = self.children[pid]
        # Also what is left of its group: as long as it is not reaped, the id is its own.
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not ended:
            # Killed: its pidfd tells when it is gone.
            self.selector.unregister(connection)
            return
        _, status = os.waitpid(pid, 0)
        del self.children[pid]
        self.selector.unregister(descriptor)
        os.close(descriptor)
        if connection in {key.fileobj for key in self.selector.get_map().values()}:
            self.selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
        connection.close()

    def _forget(self) -> None:
        """Close, in a fork, what is the warm process's."""
        for descriptor, connection in self.children.values():
            os.close(descriptor)
            connection.close()
        self.listener.close()
        self.selector.close()


def main() -> None:
    """Import, wait, fork."""
    quiet_libraries()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    started = time.monotonic()
    for name in IMPORTED:
        importlib.import_module(name)
        if _service_ended():
            return  # A launcher that waits already becomes an ordinary Python.
    _say(f"ready after {time.monotonic() - started:.1f} s")
    # What is here stays: a collection in a fork would only copy its pages.
    gc.collect()
    gc.freeze()
    wanted = Warm(listener).serve()
    if wanted is not None:
        # Here, and not in the loop, so that the fork ends as any Python does.
        _run(wanted)


def _service_ended() -> bool:
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _receive(connection: socket.socket) -> Request:
    space = socket.CMSG_LEN(4 * array.array("i").itemsize)
    head, ancillary, _, _ = connection.recvmsg(4, space)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        (length,) = struct.unpack("!I", head)
        if length > LONGEST_REQUEST or len(descriptors) != 4:
            raise ValueError(f"{length} bytes and {len(descriptors)} files")
        body = bytearray()
        while len(body) < length and (part := connection.recv(length - len(body))):
            body += part
        content: Mapping[str, Any] = json.loads(body)
        if not str(content["arguments"][0]).startswith(STEPS):
            raise ValueError("it is not a step")
        return Request(
            [str(each) for each in content["arguments"]],
            str(content["directory"]),
            {str(name): str(value) for name, value in content["environment"].items()},
            list(descriptors),
        )
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _become_step(wanted: Request, parent: int) -> None:
    """Take the launcher's place; from here on this process dies with it."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    *standard, guard = wanted.descriptors
    # The kernel sends the signal when the launcher's end closes; nobody has to be awake.
    fcntl.fcntl(guard, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(guard, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(guard, fcntl.F_SETFL, fcntl.fcntl(guard, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent or _closed(guard):
        os._exit(128 + signal.SIGKILL)  # Its end came before we listened for it.
    for target, descriptor in enumerate(standard):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(wanted.directory)
    os.environ.clear()
    os.environ.update(wanted.environment)


def _closed(guard: int) -> bool:
    probe = socket.socket(fileno=os.dup(guard))
    try:
        return not probe.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    finally:
        probe.close()


def _run(wanted: Request) -> None:
    import random

    import numpy as np

    # All forks would otherwise draw the same numbers.
    random.seed()
    np.random.seed()
    for stream in (sys.stdout, sys.stderr):
        # As with PYTHONUNBUFFERED: a log is read while it grows.
        stream.reconfigure(line_buffering=True, write_through=True)  # type: ignore[union-attr]
    sys.argv = list(wanted.arguments)
    sys.path[0] = wanted.directory
    runpy.run_module(wanted.arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
