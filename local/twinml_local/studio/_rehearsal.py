"""Rehearsal: the workspace of the Azure ML emulator that ``twinml rehearse`` runs.

Its state is read from its own files, as it left them: resources and runs in SQLite, requests in
its log. Nothing is asked of it, so that the page shows what a rehearsal that has ended made, too.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint

from azureml_runner.logs import last_lines
from twinml.settings import home
from twinml_local.studio._sources import Sources

__all__ = ["pages"]

FOLDER = "rehearsal"
REQUESTS = 200
SHOWN = 60
MOST = 500
BUSY_SECONDS = 2.0
# "… INFO azureml_emulator: POST HOST/PATH 200 51 ms"
REQUEST = re.compile(r"(\S+ [\d:]+),\d+ \w+ azureml_emulator: ([A-Z]+) (\S+) (\d{3}) (\d+) ms(.*)")
KINDS = {
    "onlineendpoints": "Online endpoints", "deployments": "Deployments", "jobs": "Jobs",
    "models": "Models", "data": "Data", "environments": "Environments", "code": "Code",
    "components": "Components", "computes": "Computes", "datastores": "Datastores",
    "batchendpoints": "Batch endpoints", "schedules": "Schedules", "connections": "Connections",
    "versions": "Versions", "workspaces": "Workspaces",
}  # fmt: skip


@dataclass(frozen=True)
class Resource:
    """A resource of the workspace."""

    kind: str
    name: str
    state: str
    modified: str


@dataclass(frozen=True)
class Request:
    """A request that the emulator answered."""

    when: str
    method: str
    target: str
    status: int
    milliseconds: int
    remark: str = ""


def pages(sources: Sources, render: Callable[..., str]) -> Blueprint:
    """Return the page."""
    made = Blueprint("rehearsal", __name__)

    @made.get("/rehearsal")
    def page() -> str:
        folder = home() / FOLDER
        if not (folder / "resources.sqlite").is_file():
            return render("rehearsal_none.html.j2", title="Rehearsal", section="rehearsal")
        found = resources(folder / "resources.sqlite")
        requests = read_requests(last_lines(home() / f"{FOLDER}.log", REQUESTS))
        return render(
            "rehearsal.html.j2",
            title="Rehearsal",
            section="rehearsal",
            running=is_running(home() / f"{FOLDER}.pid"),
            kinds=Counter(one.kind for one in found).most_common(),
            resources=found,
            runs=runs(folder / "runs.sqlite"),
            requests=requests[:SHOWN],
            failed=sum(one.status >= 400 for one in requests),
            asked=len(requests),
        )

    return made


def resources(file: Path) -> list[Resource]:
    """Return the resources of an emulator's workspace, the newest first."""
    rows = _read(file, "SELECT id, body, modified FROM resources ORDER BY number DESC LIMIT ?")
    return [resource(str(identifier), str(body), str(when)) for identifier, body, when in rows]


def resource(identifier: str, body: str, modified: str) -> Resource:
    """Return what a row of the emulator's resources is.

    Examples
    --------
    >>> resource("/subscriptions/0/workspaces/w/models/bank/versions/3", "{}", "2026-11-28").name
    'bank/3'
    >>> resource("/x/workspaces/w/onlineEndpoints/bank/deployments/blue",
    ...          '{"properties": {"provisioningState": "Succeeded"}}', "")
    Resource(kind='Deployments', name='bank/blue', state='Succeeded', modified='')
    """
    parts = identifier.partition("/workspaces/")[2].split("/")[1:]
    names, collections = parts[1::2], parts[0::2]
    kind = collections[-1] if collections else "workspaces"
    if kind == "versions":
        kind = collections[0]
    try:
        properties = json.loads(body).get("properties") or {}
    except (ValueError, AttributeError):
        properties = {}
    state = properties.get("provisioningState") or properties.get("status") or ""
    return Resource(
        KINDS.get(kind.lower(), kind),
        "/".join(names) or identifier.rpartition("/")[2],
        str(state),
        modified,
    )


def runs(file: Path) -> list[dict[str, Any]]:
    """Return the runs that are no part of another one, newest first."""
    return [
        {"kind": kind, "experiment": experiment, "name": display, "status": status, "created": when}
        for kind, experiment, display, status, when in _read(
            file,
            "SELECT kind, experiment, display, status, created FROM runs "
            "WHERE parent IS NULL ORDER BY number DESC LIMIT ?",
        )
    ]


def read_requests(lines: Sequence[str]) -> list[Request]:
    """Return the requests in the emulator's log, newest first.

    Examples
    --------
    >>> read_requests(["2026-11-28 00:55:41,828 INFO azureml_emulator: POST host/score 200 51 ms"])
    [Request(when='2026-11-28 00:55:41', method='POST', target='host/score', status=200,\
 milliseconds=51, remark='')]
    """
    found = [match.groups() for match in map(REQUEST.fullmatch, lines) if match is not None]
    return [
        Request(when, method, target.partition("?")[0], int(status), int(spent), remark.strip())
        for when, method, target, status, spent, remark in reversed(found)
    ]


def is_running(pid_file: Path) -> bool:
    """Tell whether the process that a file names is alive."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        if os.name == "nt":
            return True
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True


def _read(file: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return rows of an emulator's file; none where it is of another version, or not there."""
    if not file.is_file():
        return []
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as store:
            return store.execute(statement, (MOST,)).fetchall()
    except sqlite3.Error:
        return []
