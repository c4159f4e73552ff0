"""Endpoints of this machine: deploying to them, steering traffic, describing, stopping them.

An endpoint is a folder (``twinml_local.server.state``) and at most one server process. Every
function here reads the folder anew, so that any number of processes see the same endpoints;
those that change something take one lock for all endpoints. A server that runs follows the
folder: nothing here but a change of its process settings restarts it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from twinml.endpoint import Endpoint
from twinml.errors import NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo, Keys
from twinml.settings import home
from twinml_local import logs as log_files
from twinml_local.processes import generate_keys, locked, read_keys, running, write_atomic
from twinml_local.server import control
from twinml_local.server.compiling import compiled_form
from twinml_local.server.environment import with_environment
from twinml_local.server.shares import check_shares
from twinml_local.server.state import (
    STATE_FILE,
    DeploymentState,
    EndpointState,
    ServerSettings,
    read_state,
    write_state,
)
from twinml_local.server.watch import KEYS_FILE, WorkerReport, reports

__all__ = [
    "client",
    "configure",
    "delete",
    "deploy",
    "info",
    "keys",
    "list_endpoints",
    "logs",
    "regenerate_key",
    "set_traffic",
    "start",
    "stop",
]

HOST = "127.0.0.1"
LOCK_SECONDS = 180.0
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
    given some. A deployment that exists is updated in place: the running server loads the new
    model beside the old one and changes over between two requests. Deploying what is already
    there and healthy changes nothing. If the model does not load, the endpoint stays as it was.

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
        Limits of the server; ``None`` keeps those that the endpoint has, but for what the
        environment says (``twinml_local.server.environment``). Workers, threads, drain time and
        retention are the process's: changing those restarts it, and so does another version of
        twinml than the server runs.

    Raises
    ------
    PlatformError
        The model or the server did not start; the message says why.
    UsageError
        A name cannot be used.
    """
    _check_name(name, "endpoint")
    _check_name(deployment, "deployment")
    folder = _folder(name)
    directory = directory.resolve()
    # Before the lock: it takes seconds, once a model.
    form = compiled_form(directory)
    item = DeploymentState(
        model, version, digest, str(directory), form.directory, form.refusal, form.batches
    )
    with _lock():
        before = read_state(folder) if (folder / STATE_FILE).exists() else None
        known = before or _new(name)
        settings = with_environment(settings or known.settings, os.environ)
        after = _with_deployment(replace(known, settings=settings, staged={}), deployment, item)
        if after == before and control.serves(folder, after):
            return _info(folder, after)
        folder.mkdir(parents=True, exist_ok=True)
        generate_keys(folder / KEYS_FILE)
        was_running = running(folder / control.PID_FILE) is not None
        try:
            _stage(folder, known, settings, {deployment: item})
            # The port may have been found only now.
            after = replace(after, port=read_state(folder).port)
            control.change(folder, after)
        except BaseException:
            _go_back(folder, before, was_running=was_running)
            raise
        return _info(folder, after)


def _stage(
    folder: Path,
    known: EndpointState,
    settings: ServerSettings,
    staged: Mapping[str, DeploymentState],
) -> None:
    """Have the server load ``staged`` beside what it serves, started if need be."""
    state = replace(known, settings=settings, staged=staged)
    alive = running(folder / control.PID_FILE) is not None and control.answer(known) is not None
    same_process = known.settings.of_process == settings.of_process
    if alive and same_process and control.runs_installed_code(folder):
        found = control.change(folder, state)
    else:
        control.end(folder)
        found = control.start(folder, state, taken=_ports(but=folder.name))
    for report in found:
        for deployment in staged:
            if failure := report.staged[deployment].failure:
                raise PlatformError(
                    f"deployment '{deployment}' of endpoint '{folder.name}' did not start: "
                    f"{failure}"
                )


def _go_back(folder: Path, before: EndpointState | None, *, was_running: bool) -> None:
    """Put an endpoint back as it was before a deploy that failed."""
    if before is None:
        control.end(folder)
        (folder / STATE_FILE).unlink(missing_ok=True)
        return
    write_state(folder, before)
    if not was_running:
        control.end(folder)
    elif running(folder / control.PID_FILE) is None:
        control.start(folder, before, taken=_ports(but=folder.name))
    elif read_state(folder).port == before.port:
        control.reload(folder)


def set_traffic(
    name: str, traffic: Mapping[str, int] | None, *, mirror: Mapping[str, int] | None = None
) -> EndpointInfo:
    """Set how an endpoint's requests are shared out; a running server follows at once.

    Parameters
    ----------
    name
        The endpoint.
    traffic
        Per cent by deployment, together 100 or 0; a deployment that is not named gets none.
        ``None`` keeps what there is.
    mirror
        Per cent of the requests that one deployment, which has no traffic itself, gets a copy
        of: at most 50. Nothing or 0 per cent ends it; ``None`` keeps what there is.

    Raises
    ------
    NotFound
        There is no such endpoint or deployment.
    UsageError
        The percentages are not as they must be.
    """
    with _lock():
        state = _state(name)
        shares = state.traffic if traffic is None else traffic
        copies = state.mirror if mirror is None else {k: v for k, v in mirror.items() if v}
        for deployment in (*(traffic or {}), *(mirror or {})):
            _check_deployment(state, deployment)
        check_shares(shares, copies)
        shares = {deployment: shares.get(deployment, 0) for deployment in state.deployments}
        after = replace(state, traffic=shares, mirror=dict(copies))
        if after != state:
            control.change(_folder(name), after)
        return _info(_folder(name), after)


def configure(name: str, **changes: Any) -> EndpointInfo:
    """Change settings of an endpoint; a server that runs follows them, or starts anew.

    Parameters
    ----------
    changes
        Fields of ``ServerSettings``. What belongs to the process (workers, threads, drain time,
        retention) needs a restart: requests in flight are answered, those that come in the
        second or two until it is back are not.

    Raises
    ------
    NotFound
        There is no such endpoint.
    UsageError
        A value is out of range.
    """
    with _lock():
        state, folder = _state(name), _folder(name)
        after = replace(state, settings=replace(state.settings, **changes))
        if after.settings.of_process == state.settings.of_process:
            if after != state:
                control.change(folder, after)
        elif control.end(folder):
            control.start(folder, after, taken=_ports(but=name))
        else:
            write_state(folder, after)
        return _info(folder, read_state(folder))


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
        state, folder = _state(name), _folder(name)
        if not control.serves(folder, state):
            state = replace(state, staged={}, settings=with_environment(state.settings, os.environ))
            control.end(folder)
            control.start(folder, state, taken=_ports(but=name))
        return _info(folder, read_state(folder))


def delete(name: str, deployment: str | None = None) -> None:
    """Delete a deployment that has no traffic, or a whole endpoint with its keys and logs.

    Raises
    ------
    NotFound
        There is no such endpoint or deployment.
    UsageError
        The deployment has traffic, or requests are mirrored to it.
    """
    with _lock():
        state, folder = _state(name), _folder(name)
        if deployment is None:
            control.end(folder)
            shutil.rmtree(folder)
            return
        _check_deployment(state, deployment)
        for share, what in ((state.traffic, "traffic"), (state.mirror, "mirror traffic")):
            if share.get(deployment, 0):
                raise UsageError(
                    f"deployment '{deployment}' has {share[deployment]} % of the {what}",
                    hint="Send it to another one first: twinml traffic.",
                )
        after = replace(
            state,
            deployments={key: item for key, item in state.deployments.items() if key != deployment},
            traffic={key: share for key, share in state.traffic.items() if key != deployment},
        )
        control.change(folder, after)


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


def regenerate_key(name: str, which: Literal["primary", "secondary"]) -> Keys:
    """Replace one key of an endpoint; the other one keeps working.

    Once this returns, a running server refuses the old key.

    Raises
    ------
    NotFound
        There is no endpoint of that name.
    UsageError
        ``which`` is no name of a key.
    """
    if which not in ("primary", "secondary"):
        raise UsageError(f"there is no key '{which}'", hint="Choose primary or secondary.")
    with _lock():
        _state(name)
        path = _folder(name) / KEYS_FILE
        renewed = replace(read_keys(path), **{which: secrets.token_urlsafe(32)})
        write_atomic(path, json.dumps(asdict(renewed)), mode=0o600)
        control.reload(_folder(name))
        return renewed


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
    return iter(log_files.merged(_folder(name) / "logs", sources, lines))


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
        return tuple(each for each in chosen if control.end(_folder(each)))


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


def _with_deployment(state: EndpointState, deployment: str, item: DeploymentState) -> EndpointState:
    traffic = dict(state.traffic)
    traffic.setdefault(deployment, 0 if state.deployments else 100)
    return replace(state, deployments={**state.deployments, deployment: item}, traffic=traffic)


def _ports(*, but: str) -> set[int]:
    """Return the ports of the endpoints, those of stopped ones too: they are left to them."""
    return {read_state(_folder(name)).port for name in _names() if name != but}


def _uri(state: EndpointState, route: str) -> str:
    return f"http://{state.host}:{state.port}/{route}"


def _info(folder: Path, state: EndpointState) -> EndpointInfo:
    found: tuple[WorkerReport, ...] = ()
    if running(folder / control.PID_FILE) is None:
        condition = "stopped"
    else:
        condition = "running" if control.answer(state) is not None else "not answering"
        found = reports(folder)
    return EndpointInfo(
        name=state.name,
        scoring_uri=_uri(state, "score"),
        swagger_uri=_uri(state, "swagger.json"),
        docs_uri=_uri(state, "docs/"),
        state=condition,
        traffic=state.traffic,
        mirror=state.mirror,
        deployments={
            name: f"{item.model}:{item.version}" for name, item in state.deployments.items()
        },
        notes=_notes(found),
    )


def _notes(found: tuple[WorkerReport, ...]) -> dict[str, str]:
    """Return how deployments score or why they do not; of several workers the worst counts."""
    ranked: dict[str, tuple[int, str]] = {}
    for report in found:
        for name, item in report.deployments.items():
            if item.failure:
                note = (2, f"did not load: {item.failure}")
            elif item.scoring == "pipeline":
                why = item.remark or "there is no compiled form"
                note = (1, f"scores with its pipeline: {why}")
            else:
                note = (0, "scores compiled")
            ranked[name] = max(ranked.get(name, note), note)
    return {name: note for name, (_, note) in ranked.items()}
