"""The server process from outside: starting it, ending it, and telling it what to serve.

Whoever calls this holds the lock of the endpoints (``twinml_local.endpoints``).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from azureml_runner.logs import last_lines
from azureml_runner.processes import running, terminate
from azureml_runner.service import Service, Silent
from twinml.errors import PlatformError
from twinml_local.server.deployments import recompiling
from twinml_local.server.deployments.code_version import installed_code
from twinml_local.server.deployments.watch import KEYS_FILE, WorkerReport, reports, stamp
from twinml_local.server.process.listen import listener
from twinml_local.server.state import (
    STATE_FILE,
    EndpointState,
    ServerSettings,
    read_state,
    write_state,
)

__all__ = [
    "PID_FILE",
    "answer",
    "change",
    "end",
    "followed",
    "reload",
    "runs_installed_code",
    "serves",
    "start",
]

PID_FILE = "server.pid"
CONSOLE = "console.log"
FIRST_PORT = 5001  # where Azure ML's inference server listens
READY_SECONDS = 300.0  # for a server that lives; of one that ends it is told at once
POLL_SECONDS = 0.02
# What glibc's allocator is told, if nobody has: every thread would have a heap of its own, and what
# a long request took would never go back.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1000000"}
PORT_SECONDS = 5.0  # for a server that was just ended to let go of its port


def start(folder: Path, state: EndpointState, *, taken: Iterable[int]) -> tuple[WorkerReport, ...]:
    """Start a server with ``state`` and return its workers' reports once it answers.

    Parameters
    ----------
    folder
        The endpoint's folder; its server does not run.
    state
        Written to the folder, with the port that was found.
    taken
        Ports not to take, because they are those of other endpoints.

    Raises
    ------
    PlatformError
        The server ended, or did not answer in time; the message holds what it said.
    """
    listening = _listening(state, set(taken))
    recompiling.end(folder)  # who starts it may have mended what failed
    state = replace(state, port=int(listening.getsockname()[1]))
    write_state(folder, state)
    console = folder / "logs" / CONSOLE
    console.unlink(missing_ok=True)
    with listening:
        # The server inherits the socket: nobody can take the port between here and there.
        listening.set_inheritable(True)
        server = Service(
            f"the server of endpoint '{folder.name}'",
            folder / PID_FILE,
            console,
            lambda: answer(state) is not None,
        )
        try:
            server.start(
                [
                    *(sys.executable, "-m", "twinml_local.server", "--directory", str(folder)),
                    *("--fd", str(listening.fileno())),
                ],
                env={**MALLOC, **os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                seconds=READY_SECONDS,
            )
        except Silent as error:
            raise (_ended if error.ended else _late)(folder) from error
    try:
        return followed(folder)
    except PlatformError:
        end(folder)
        raise


def end(folder: Path) -> bool:
    """End the endpoint's server, if it runs; requests in flight are answered first."""
    try:
        return _end_server(folder)
    finally:
        recompiling.end(folder)  # last, for a worker may begin it


def _end_server(folder: Path) -> bool:
    if running(folder / PID_FILE) is None:
        return False
    # The server itself gives up on its requests after drain_seconds.
    try:
        drain = read_state(folder).settings.drain_seconds
    except PlatformError:  # Damaged; its server can be ended all the same.
        drain = ServerSettings().drain_seconds
    return terminate(folder / PID_FILE, timeout=drain + 2.0)


def change(folder: Path, state: EndpointState) -> tuple[WorkerReport, ...]:
    """Replace the endpoint's state; if its server runs, wait until all workers follow it.

    Raises
    ------
    PlatformError
        The server ended or did not follow in time.
    """
    write_state(folder, state)
    return reload(folder)


def reload(folder: Path) -> tuple[WorkerReport, ...]:
    """Wait until a server that runs follows the files as they are; return its reports."""
    return followed(folder) if running(folder / PID_FILE) is not None else ()


def followed(folder: Path) -> tuple[WorkerReport, ...]:
    """Return the workers' reports on the endpoint's files as they are now.

    Raises
    ------
    PlatformError
        The server ended, a worker was lost meanwhile, or it took too long.
    """
    wanted = stamp(folder / STATE_FILE), stamp(folder / KEYS_FILE)
    workers = read_state(folder).settings.workers  # of more than that, some are ended
    at_first = {report.pid for report in reports(folder)}
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if running(folder / PID_FILE) is None:
            raise _ended(folder)
        found = reports(folder)
        lost = at_first - {report.pid for report in found}
        if len(lost) > max(0, len(at_first) - workers):
            raise PlatformError(
                f"a process of endpoint '{folder.name}' ended while it was told what to serve",
                hint="If it was a model that took it down: twinml logs.",
            )
        current = [each for each in found if (each.state_stamp, each.keys_stamp) == wanted]
        if len(current) == len(found) >= workers:
            return found
        time.sleep(POLL_SECONDS)
    raise _late(folder)


def runs_installed_code(folder: Path) -> bool:
    """Tell whether the endpoint's workers run twinml as it is installed now."""
    code = installed_code()
    return all(report.code == code for report in reports(folder))


def serves(folder: Path, state: EndpointState) -> bool:
    """Tell whether a live server of ours, of this code, has loaded exactly what ``state`` says."""
    if running(folder / PID_FILE) is None or not runs_installed_code(folder):
        return False
    said = answer(state)
    if said is None or said.get("endpoint") != state.name:
        return False
    loaded = {name: item.get("digest") for name, item in said["deployments"].items()}
    return loaded == {name: item.digest for name, item in state.deployments.items()}


def answer(state: EndpointState) -> Mapping[str, Any] | None:
    """Ask the server what it has loaded; ``None`` when nobody answers within 2 s."""
    connection = http.client.HTTPConnection(state.host, state.port, timeout=2)
    try:
        connection.request("GET", "/ready")
        response = connection.getresponse()
        shape = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    # 503: it answers, but has no model yet.
    return shape if response.status in (200, 503) and isinstance(shape, dict) else None


def _ended(folder: Path) -> PlatformError:
    lines = [line for line in last_lines(folder / "logs" / CONSOLE, 15) if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return PlatformError(
        f"endpoint '{folder.name}' did not start: its server ended"
        + (f" ({said[-1]})" if said else ":\n" + "\n".join(lines)),
        hint=f"The whole of its output is in {folder / 'logs' / CONSOLE}.",
    )


def _late(folder: Path) -> PlatformError:
    return PlatformError(
        f"the server of endpoint '{folder.name}' was not ready within {READY_SECONDS:g} s",
        hint=f"Its output is in {folder / 'logs' / CONSOLE}.",
    )


def _listening(state: EndpointState, taken: set[int]) -> socket.socket:
    """Return a socket that listens on the endpoint's port, else on the first free one from 5001."""
    if state.port:
        # Workers of a server that was ended hard let go of it a moment later.
        deadline = time.monotonic() + PORT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(PlatformError):
                return listener(state.host, state.port)
            time.sleep(0.1)
    for port in range(FIRST_PORT, 65536):
        if port not in taken:
            with contextlib.suppress(PlatformError):
                return listener(state.host, port)
    raise PlatformError(f"no port from {FIRST_PORT} on is free", hint="End some servers.")
