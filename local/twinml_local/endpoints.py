"""Endpoints of this machine: deploying to them, describing and stopping them.

An endpoint is a folder (``twinml_local.server.state``) and at most one server process. Every
function here reads the folder anew, so that any number of processes see the same endpoints;
those that change something take one lock for all endpoints.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twinml.endpoint import Endpoint
from twinml.errors import NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo, Keys
from twinml.settings import home
from twinml_local.processes import (
    generate_keys,
    locked,
    read_keys,
    running,
    start_detached,
    terminate,
)
from twinml_local.server.state import (
    STATE_FILE,
    DeploymentState,
    EndpointState,
    ServerSettings,
    read_state,
    write_state,
)

__all__ = ["client", "deploy", "info", "keys", "list_endpoints", "logs", "start", "stop"]

PID_FILE = "server.pid"
CONSOLE = "console.log"
HOST = "127.0.0.1"
FIRST_PORT = 5001  # where Azure ML's inference server listens
READY_SECONDS = 60.0
LOCK_SECONDS = 180.0
PORT_SECONDS = 5.0  # for a server that was just ended to let go of its port
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
RESERVED = {"server", "console"}  # their log files would be those of a deployment


def deploy(
    name: str,
    deployment: str,
    *,
    directory: Path,
    model: str,
    version: str,
    digest: str,
    settings: ServerSettings | None = None,
) -> EndpointInfo:
    """Serve the model in ``directory`` as ``deployment`` of endpoint ``name``; wait until ready.

    The first deployment of an endpoint gets all its traffic, later ones none until they are
    given some. Deploying what is already there and healthy changes nothing. If the model does
    not start, the endpoint goes back to what it served before.

    Parameters
    ----------
    name, deployment
        3 to 32 letters, digits and hyphens, as Azure ML asks for.
    directory
        An MLflow model directory; it is not copied and must not change.
    model, version
        What to show as the deployed model.
    digest
        Of the model; the same digest is the same model.
    settings
        Limits of the server; ``None`` keeps those that the endpoint has.

    Raises
    ------
    PlatformError
        The server did not start; the message holds the end of its log.
    UsageError
        A name cannot be used.
    """
    _check_name(name, "endpoint")
    _check_name(deployment, "deployment")
    folder = _folder(name)
    with _lock():
        before = read_state(folder) if (folder / STATE_FILE).exists() else None
        after = _with_deployment(
            before or _new(name),
            deployment,
            DeploymentState(model, version, digest, str(directory.resolve())),
            settings,
        )
        if after == before and _serves(folder, after):
            return _info(folder, after)
        folder.mkdir(parents=True, exist_ok=True)
        generate_keys(folder / "keys.json")
        try:
            return _restart(folder, after)
        except PlatformError:
            if before is None:
                _end(folder)
                (folder / STATE_FILE).unlink()
            else:
                _restart(folder, before)
            raise


def start(name: str) -> EndpointInfo:
    """Start the server of an endpoint that is not running; wait until ready.

    Raises
    ------
    NotFound
        There is no endpoint of that name.
    PlatformError
        The server did not start.
    """
    with _lock():
        state = _state(name)
        if _serves(_folder(name), state):
            return _info(_folder(name), state)
        return _restart(_folder(name), state)


def info(name: str) -> EndpointInfo:
    """Describe an endpoint. Its ``state`` is ``running``, ``not answering`` or ``stopped``.

    Raises
    ------
    NotFound
        There is no endpoint of that name; the hint names those that there are.
    """
    return _info(_folder(name), _state(name))


def list_endpoints() -> tuple[EndpointInfo, ...]:
    """Describe all endpoints, sorted by name."""
    return tuple(info(name) for name in _names())


def keys(name: str) -> Keys:
    """Return the keys of an endpoint.

    Raises
    ------
    NotFound
        There is no endpoint of that name.
    """
    _state(name)
    return read_keys(_folder(name) / "keys.json")


def client(name: str, *, deployment: str | None = None) -> Endpoint:
    """Return a client of an endpoint, key included.

    Raises
    ------
    NotFound
        There is no endpoint or no deployment of that name.
    """
    state = _state(name)
    _check_deployment(state, deployment)
    return Endpoint(_uri(state, "score"), keys(name).primary, deployment=deployment)


def logs(name: str, *, deployment: str | None = None, lines: int = 100) -> Iterator[str]:
    """Yield the last log lines of an endpoint, oldest first.

    Parameters
    ----------
    name
        The endpoint.
    deployment
        One deployment's requests only; ``None`` is all of them and the server's own lines.
    lines
        At most so many.

    Raises
    ------
    NotFound
        There is no endpoint or no deployment of that name.
    """
    state = _state(name)
    _check_deployment(state, deployment)
    if lines < 1:
        raise UsageError(f"{lines} log lines", hint="Ask for at least one.")
    sources = [deployment] if deployment else [*state.deployments, "server"]
    entries: list[str] = []
    for source in sources:
        entries += _entries(_tail(_folder(name) / "logs" / f"{source}.log", lines))
    merged = "\n".join(sorted(entries, key=_time)).splitlines()
    return iter(merged[-lines:])


def stop(name: str | None = None) -> tuple[str, ...]:
    """End the server of an endpoint, or of all; requests in flight are answered first.

    Returns
    -------
    tuple of str
        The endpoints whose servers were ended.

    Raises
    ------
    NotFound
        There is no endpoint called ``name``.
    """
    if name is not None:
        _state(name)
    with _lock():
        chosen = _names() if name is None else (name,)
        return tuple(each for each in chosen if _end(_folder(each)))


# State


def _folder(name: str) -> Path:
    return home() / "endpoints" / name


def _lock() -> AbstractContextManager[None]:
    return locked(home() / "endpoints" / ".lock", timeout=LOCK_SECONDS)


def _names() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in home().glob(f"endpoints/*/{STATE_FILE}")))


def _state(name: str) -> EndpointState:
    if name not in _names():
        known = ", ".join(_names())
        raise NotFound(
            f"there is no endpoint '{name}'",
            hint=f"There are: {known}." if known else "Deploy a model first: twinml deploy.",
        )
    return read_state(_folder(name))


def _check_name(name: str, kind: str) -> None:
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"'{name}' cannot be the name of a {kind}"
            if kind == "deployment"
            else f"'{name}' cannot be the name of an {kind}",
            hint="Take 3 to 32 letters, digits and hyphens, a letter first.",
        )


def _check_deployment(state: EndpointState, deployment: str | None) -> None:
    if deployment is not None and deployment not in state.deployments:
        raise NotFound(
            f"endpoint '{state.name}' has no deployment '{deployment}'",
            hint=f"It has: {', '.join(sorted(state.deployments))}.",
        )


def _new(name: str) -> EndpointState:
    return EndpointState(
        name=name,
        host=HOST,
        port=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _with_deployment(
    state: EndpointState,
    deployment: str,
    item: DeploymentState,
    settings: ServerSettings | None,
) -> EndpointState:
    traffic = dict(state.traffic)
    traffic.setdefault(deployment, 0 if state.deployments else 100)
    return replace(
        state,
        deployments={**state.deployments, deployment: item},
        traffic=traffic,
        settings=settings or state.settings,
    )


def _uri(state: EndpointState, route: str) -> str:
    return f"http://{state.host}:{state.port}/{route}"


def _info(folder: Path, state: EndpointState) -> EndpointInfo:
    if running(folder / PID_FILE) is None:
        condition = "stopped"
    else:
        condition = "running" if _answer(state) is not None else "not answering"
    return EndpointInfo(
        name=state.name,
        scoring_uri=_uri(state, "score"),
        swagger_uri=_uri(state, "swagger.json"),
        docs_uri=_uri(state, "docs/"),
        state=condition,
        traffic=state.traffic,
        deployments={
            name: f"{item.model}:{item.version}" for name, item in state.deployments.items()
        },
    )


# The server


def _restart(folder: Path, state: EndpointState) -> EndpointInfo:
    """End the running server, if any, and start one with ``state``; return once it answers."""
    _end(folder)
    state = replace(state, port=_port(folder, state))
    write_state(folder, state)
    console = folder / "logs" / CONSOLE
    console.unlink(missing_ok=True)
    start_detached(
        [
            *(sys.executable, "-m", "twinml_local.server", "--directory", str(folder)),
            *("--host", state.host, "--port", str(state.port)),
        ],
        log=console,
        pid_file=folder / PID_FILE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if running(folder / PID_FILE) is None:
            raise _not_started(folder, "its server ended")
        if _serves(folder, state):
            return _info(folder, state)
        time.sleep(0.05)
    terminate(folder / PID_FILE)
    raise _not_started(folder, f"its server was not ready within {READY_SECONDS:g} s")


def _end(folder: Path) -> bool:
    if running(folder / PID_FILE) is None:
        return False
    # The server itself gives up on its requests after drain_seconds.
    return terminate(folder / PID_FILE, timeout=read_state(folder).settings.drain_seconds + 2.0)


def _not_started(folder: Path, reason: str) -> PlatformError:
    lines = [line for line in _tail(folder / "logs" / CONSOLE, 15) if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return PlatformError(
        f"endpoint '{folder.name}' did not start: {reason}"
        + (f" ({said[-1]})" if said else ":\n" + "\n".join(lines)),
        hint=f"The whole of its output is in {folder / 'logs' / 'console.log'}.",
    )


def _serves(folder: Path, state: EndpointState) -> bool:
    """Tell whether a live server of ours has loaded exactly the deployments of ``state``."""
    if running(folder / PID_FILE) is None:
        return False
    answer = _answer(state)
    if answer is None or answer.get("endpoint") != state.name:
        return False
    loaded = {name: item.get("digest") for name, item in answer["deployments"].items()}
    return loaded == {name: item.digest for name, item in state.deployments.items()}


def _answer(state: EndpointState) -> Mapping[str, Any] | None:
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
    return shape if response.status == 200 and isinstance(shape, dict) else None


def _port(folder: Path, state: EndpointState) -> int:
    """Return the endpoint's port if it is free, else the first free one from 5001."""
    if state.port:
        # Workers of a server that was ended hard let go of it a moment later.
        deadline = time.monotonic() + PORT_SECONDS
        while time.monotonic() < deadline:
            if _is_free(state.host, state.port):
                return state.port
            time.sleep(0.1)
    # Ports of stopped endpoints are left to them.
    taken = {read_state(_folder(name)).port for name in _names() if name != folder.name}
    for port in range(FIRST_PORT, 65536):
        if port not in taken and _is_free(state.host, port):
            return port
    raise PlatformError(f"no port from {FIRST_PORT} on is free", hint="End some servers.")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as candidate:
        # As a server binds: connections that just ended do not count.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True


# Logs


def _tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a log, reaching back into its rotated files."""
    kept: deque[str] = deque(maxlen=lines)
    rotated = sorted(path.parent.glob(f"{path.name}.[0-9]"), reverse=True)
    for file in [*rotated, path]:
        if file.exists():
            with file.open(encoding="utf-8", errors="replace") as text:
                kept.extend(line.rstrip("\n") for line in text)
    return list(kept)


def _time(entry: str) -> str:
    """Return the time that a log entry begins with; as text it sorts by time."""
    return entry[:23]


def _entries(lines: list[str]) -> list[str]:
    """Join the lines of a traceback to the line that they belong to."""
    entries: list[str] = []
    for line in lines:
        if entries and not re.match(r"\d{4}-\d\d-\d\d ", line):
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries
