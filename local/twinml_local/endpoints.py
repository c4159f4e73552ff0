"""Endpoints of this machine: deploying to them, steering traffic, describing, stopping them.

An endpoint is a folder (``twinml_local.server.state``) and at most one server process. Every
function here reads the folder anew, so that any number of processes see the same endpoints;
those that change something take one lock for all endpoints. A server that runs follows the
folder: nothing here but a change of its process settings restarts it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from azureml_runner import logs as log_files
from azureml_runner.files import write_atomic
from azureml_runner.locks import Held
from azureml_runner.processes import running
from twinml.errors import ModelError, NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo, Keys
from twinml.settings import private_folder
from twinml_local.endpoint_folders import (
    check_deployment,
    check_exists,
    check_name,
    damaged,
    described,
    folder_of,
    lock,
    names,
    state_of,
    taken_ports,
    uri,
)
from twinml_local.keys import generate_keys, read_keys
from twinml_local.server.deployments.recompiling import with_outcome
from twinml_local.server.deployments.shares import check_shares
from twinml_local.server.deployments.watch import KEYS_FILE
from twinml_local.server.process import control
from twinml_local.server.process.settings import with_environment
from twinml_local.server.state import (
    STATE_FILE,
    DeploymentState,
    EndpointState,
    ServerSettings,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from twinml.endpoint import Endpoint

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
        environment says (``twinml_local.server.process.settings``). Threads, drain time and
        retention are the process's: changing those restarts it, and so does another version of
        twinml than the server runs.

    Raises
    ------
    PlatformError
        The model or the server did not start; the message says why.
    UsageError
        A name cannot be used.
    """
    from twinml_local.server.deployments.compiling import compiled_form

    check_name(name, "endpoint")
    check_name(deployment, "deployment")
    folder = folder_of(name)
    directory = directory.resolve()
    # Before the lock: it takes seconds, once a model.
    try:
        form = compiled_form(directory, digest)
    except ModelError as error:
        raise PlatformError(
            f"deployment '{deployment}' of endpoint '{name}' did not start: {error.message}",
            hint=error.hint,
        ) from error
    except Held as error:
        raise PlatformError(
            f"another process is still compiling {model}:{version}", hint="Deploy it again then."
        ) from error
    item = with_outcome(DeploymentState(model, version, digest, str(directory)), form)
    with lock():
        before = read_state(folder) if (folder / STATE_FILE).exists() else None
        known = _new(name) if before is None else before
        was_running = running(folder / control.PID_FILE) is not None
        settings = with_environment(settings or known.settings, os.environ)
        after = _with_deployment(replace(known, settings=settings, staged={}), deployment, item)
        if after == before and control.serves(folder, after):
            return described(folder, after)
        private_folder(folder)
        generate_keys(folder / KEYS_FILE)
        try:
            _stage(folder, known, settings, {deployment: item})
            # The port may have been found only now.
            after = replace(after, port=read_state(folder).port)
            control.change(folder, after)
        except BaseException:
            _go_back(folder, before, was_running=was_running)
            raise
        return described(folder, after)


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
        found = control.start(folder, state, taken=taken_ports(but=folder.name))
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
        control.start(folder, before, taken=taken_ports(but=folder.name))
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
    with lock():
        state = state_of(name)
        shares = state.traffic if traffic is None else traffic
        copies = state.mirror if mirror is None else {k: v for k, v in mirror.items() if v}
        for deployment in (*(traffic or {}), *(mirror or {})):
            check_deployment(state, deployment)
        check_shares(shares, copies)
        shares = {deployment: shares.get(deployment, 0) for deployment in state.deployments}
        after = replace(state, traffic=shares, mirror=dict(copies))
        if after != state:
            control.change(folder_of(name), after)
        return described(folder_of(name), after)


def configure(name: str, **changes: Any) -> EndpointInfo:
    """Change settings of an endpoint; a server that runs follows them, or starts anew.

    Parameters
    ----------
    changes
        Fields of ``ServerSettings``. What belongs to the process (threads, drain time,
        retention) needs a restart: requests in flight are answered, those that come in the
        second or two until it is back are not.

    Raises
    ------
    NotFound
        There is no such endpoint.
    UsageError
        A value is out of range.
    """
    with lock():
        state, folder = state_of(name), folder_of(name)
        after = replace(state, settings=replace(state.settings, **changes))
        if after.settings.of_process == state.settings.of_process:
            if after != state:
                control.change(folder, after)
        elif control.end(folder):
            control.start(folder, after, taken=taken_ports(but=name))
        else:
            write_state(folder, after)
        return described(folder, read_state(folder))


def start(name: str) -> EndpointInfo:
    """Start the server of an endpoint that is not running; wait until ready.

    What an earlier version of twinml has compiled is compiled again while the pipeline serves.
    One that runs follows what the environment says about its settings, the number of workers too.

    Raises
    ------
    NotFound
        There is no endpoint of that name.
    PlatformError
        The server did not start.
    """
    with lock():
        state, folder = state_of(name), folder_of(name)
        settings = with_environment(state.settings, os.environ)
        after = replace(state, staged={}, settings=settings)
        same_process = settings.of_process == state.settings.of_process
        if not same_process or not control.serves(folder, state):
            control.end(folder)
            control.start(folder, after, taken=taken_ports(but=name))
        elif after != state:
            control.change(folder, after)
        return described(folder, read_state(folder))


def delete(name: str, deployment: str | None = None) -> None:
    """Delete a deployment that has no traffic, or a whole endpoint with its keys and logs.

    Raises
    ------
    NotFound
        There is no such endpoint or deployment.
    UsageError
        The deployment has traffic, or requests are mirrored to it.
    """
    with lock():
        check_exists(name)
        folder = folder_of(name)
        if deployment is None:
            control.end(folder)
            shutil.rmtree(folder)
            return
        state = read_state(folder)
        check_deployment(state, deployment)
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
    return described(folder_of(name), state_of(name))


def list_endpoints() -> tuple[EndpointInfo, ...]:
    """Describe all endpoints, sorted by name; one that is damaged says so and hides no other."""
    folder = folder_of("")  # Once: a thousand endpoints are described in one go.
    found = (_info_or_problem(folder / name) for name in names())
    return tuple(info for info in found if info is not None)


def _info_or_problem(folder: Path) -> EndpointInfo | None:
    """Describe an endpoint; ``None`` if it was deleted since its name was read."""
    try:
        file = (folder / STATE_FILE).stat()
        return described(folder, _state_as_of(folder, file.st_mtime_ns, file.st_ino, file.st_size))
    except (FileNotFoundError, NotFound):
        return None
    except PlatformError as error:
        return damaged(folder.name, error)


@lru_cache(maxsize=4096)
def _state_as_of(folder: Path, _modified: int, _inode: int, _size: int) -> EndpointState:
    """Read a state once as long as its file, which is replaced and never changed, is the same."""
    return read_state(folder)


def keys(name: str) -> Keys:
    """Return the keys of an endpoint.

    Raises
    ------
    NotFound
        There is no endpoint of that name.
    """
    state_of(name)
    return read_keys(folder_of(name) / "keys.json")


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
    with lock():
        state_of(name)
        path = folder_of(name) / KEYS_FILE
        renewed = replace(read_keys(path), **{which: secrets.token_urlsafe(32)})
        write_atomic(path, json.dumps(asdict(renewed)), mode=0o600)
        control.reload(folder_of(name))
        return renewed


def client(name: str, *, deployment: str | None = None) -> Endpoint:
    """Return a client of an endpoint, key included.

    Raises
    ------
    NotFound
        There is no endpoint or no deployment of that name.
    """
    from twinml.endpoint import Endpoint

    state = state_of(name)
    check_deployment(state, deployment)
    return Endpoint(uri(state, "score"), keys(name).primary, deployment=deployment)


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
    state = state_of(name)
    check_deployment(state, deployment)
    if lines < 1:
        raise UsageError(f"{lines} log lines", hint="Ask for at least one.")
    sources = [deployment] if deployment else [*state.deployments, "server"]
    return iter(log_files.merged(folder_of(name) / "logs", sources, lines))


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
        check_exists(name)
    with lock():
        chosen = names() if name is None else (name,)
        return tuple(each for each in chosen if control.end(folder_of(each)))


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
