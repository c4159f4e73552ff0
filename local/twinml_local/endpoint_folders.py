"""The folders of this machine's endpoints: finding, locking and describing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from azureml_runner.locks import locked
from azureml_runner.processes import running
from twinml.errors import NotFound, PlatformError, UsageError
from twinml.platform import EndpointInfo
from twinml.settings import home
from twinml_local.errors import twinml_errors
from twinml_local.server.deployments import recompiling
from twinml_local.server.deployments.watch import WorkerReport, reports
from twinml_local.server.process import control
from twinml_local.server.state import STATE_FILE, EndpointState, read_state

__all__ = [
    "check_deployment",
    "check_exists",
    "check_name",
    "damaged",
    "described",
    "folder_of",
    "lock",
    "names",
    "state_of",
    "taken_ports",
    "uri",
]

LOCK_SECONDS = 180.0
DAMAGED = "damaged"
SHOWN = 20  # names in a hint
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
RESERVED = {"server", "console"}  # their log files would be those of a deployment


def folder_of(name: str) -> Path:
    """Return the folder of an endpoint, whether there is one or not."""
    return home() / "endpoints" / name


@contextmanager
def lock() -> Iterator[None]:
    """Hold the lock of all endpoints, while one of them changes."""
    with twinml_errors(), locked(home() / "endpoints" / ".lock", timeout=LOCK_SECONDS):
        yield


def names() -> tuple[str, ...]:
    """Return the names of the endpoints, sorted."""
    return tuple(sorted(path.parent.name for path in home().glob(f"endpoints/*/{STATE_FILE}")))


def state_of(name: str) -> EndpointState:
    """Return the state of an endpoint.

    Raises
    ------
    NotFound
        There is no endpoint of that name; the hint names those that there are.
    PlatformError
        Its file is damaged.
    """
    check_exists(name)
    return read_state(folder_of(name))


def check_exists(name: str) -> None:
    """Refuse a name that no endpoint has; one whose file is damaged is there."""
    # Looking at all of them for each of them would be slow where there are a thousand.
    if not NAME.fullmatch(name) or not (folder_of(name) / STATE_FILE).exists():
        found = names()
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        known = ", ".join(found[:SHOWN]) + more
        raise NotFound(
            f"there is no endpoint '{name}'",
            hint=f"There are: {known}." if known else "Deploy a model first: twinml deploy.",
        )


def check_name(name: str, kind: str) -> None:
    """Refuse what cannot be the name of an endpoint or a deployment (``kind``)."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"'{name}' cannot be the name of a {kind}"
            if kind == "deployment"
            else f"'{name}' cannot be the name of an {kind}",
            hint="Take 3 to 32 letters, digits and hyphens, a letter first.",
        )


def check_deployment(state: EndpointState, deployment: str | None) -> None:
    """Refuse a deployment that the endpoint does not have; ``None`` is none in particular."""
    if deployment is not None and deployment not in state.deployments:
        raise NotFound(
            f"endpoint '{state.name}' has no deployment '{deployment}'",
            hint=f"It has: {', '.join(sorted(state.deployments))}.",
        )


def taken_ports(*, but: str) -> set[int]:
    """Return the ports of the endpoints, those of stopped ones too: they are left to them."""
    ports = set()
    for name in names():
        with suppress(PlatformError):  # One that is damaged has none that anybody knows.
            if name != but:
                ports.add(read_state(folder_of(name)).port)
    return ports


def uri(state: EndpointState, route: str) -> str:
    """Return the address of a route of an endpoint."""
    return f"http://{state.host}:{state.port}/{route}"


def described(folder: Path, state: EndpointState) -> EndpointInfo:
    """Describe an endpoint, with what its workers say of themselves."""
    found: tuple[WorkerReport, ...] = ()
    if running(folder / control.PID_FILE) is None:
        condition = "stopped"
    else:
        condition = "running" if control.answer(state) is not None else "not answering"
        found = reports(folder)
    return EndpointInfo(
        name=state.name,
        scoring_uri=uri(state, "score"),
        swagger_uri=uri(state, "swagger.json"),
        docs_uri=uri(state, "docs/"),
        state=condition,
        traffic=state.traffic,
        mirror=state.mirror,
        deployments={
            name: f"{item.model}:{item.version}" for name, item in state.deployments.items()
        },
        notes=_notes(found, folder),
    )


def damaged(name: str, error: PlatformError) -> EndpointInfo:
    """Describe an endpoint whose file cannot be read; its server may be running all the same."""
    return EndpointInfo(
        name=name, scoring_uri="", swagger_uri="", docs_uri="", state=DAMAGED, problem=str(error)
    )


def _notes(found: tuple[WorkerReport, ...], folder: Path) -> dict[str, str]:
    """Return how deployments score or why they do not; of several workers the worst counts."""
    ranked: dict[str, tuple[int, str]] = {}
    for report in found:
        for name, item in report.deployments.items():
            if item.failure:
                note = (2, f"did not load: {item.failure}")
            elif item.scoring == "pipeline":
                how = "in batches" if item.batches else "one request at a time"
                why = item.remark or "there is no compiled form"
                anew = recompiling.progress(folder, item.digest)
                why = f"{why}; {anew}" if anew else why
                note = (1, f"scores with its pipeline, {how}: {why}")
            else:
                note = (0, "scores compiled")
            ranked[name] = max(ranked.get(name, note), note)
    return {name: note for name, (_, note) in ranked.items()}
