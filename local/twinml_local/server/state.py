"""An endpoint's folder, and what its ``endpoint.json`` says.

::

    HOME/endpoints/NAME/
    ├── endpoint.json   name, port, deployments, traffic, settings
    ├── keys.json       both keys, mode 0600
    ├── server.pid      the running process, written by the one that started it
    └── logs/           DEPLOYMENT.log, server.log, console.log

``endpoint.json`` is all that the server is told; it is replaced whole, never changed in place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from twinml.errors import NotFound, PlatformError
from twinml_local.processes import write_atomic

__all__ = [
    "STATE_FILE",
    "DeploymentState",
    "EndpointState",
    "ServerSettings",
    "read_state",
    "write_state",
]

FORMAT_VERSION = 1
STATE_FILE = "endpoint.json"


@dataclass(frozen=True)
class ServerSettings:
    """What an endpoint's server may be told.

    Attributes
    ----------
    max_body_bytes
        Larger request bodies are refused with 413.
    max_rows
        Requests with more rows are refused with 413; ``None`` leaves it to the body limit.
    workers
        Processes that score.
    threads
        Threads in each that run Python; with one, a long batch holds up ``/health``.
    documents_need_key
        Ask for the key on ``/swagger.json`` and ``/docs/`` too.
    drain_seconds
        How long a stopping server lets requests finish.
    """

    max_body_bytes: int = 100 * 1024 * 1024
    max_rows: int | None = 1_000_000
    workers: int = 1
    threads: int = 2
    documents_need_key: bool = False
    drain_seconds: int = 30


@dataclass(frozen=True)
class DeploymentState:
    """A model behind an endpoint. ``directory`` is an MLflow model that nobody changes."""

    model: str
    version: str
    digest: str
    directory: str


@dataclass(frozen=True)
class EndpointState:
    """What ``endpoint.json`` holds. ``traffic`` maps deployment names to per cent."""

    name: str
    host: str
    port: int
    created: str
    deployments: Mapping[str, DeploymentState] = field(default_factory=dict)
    traffic: Mapping[str, int] = field(default_factory=dict)
    settings: ServerSettings = field(default_factory=ServerSettings)


def read_state(directory: Path) -> EndpointState:
    """Read ``endpoint.json``.

    Raises
    ------
    NotFound
        There is no endpoint in ``directory``.
    PlatformError
        The file cannot be understood, or a newer version wrote it.
    """
    path = directory / STATE_FILE
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no endpoint '{directory.name}'") from None
    except ValueError as error:
        raise PlatformError(
            f"{path} is not JSON", hint="Remove the endpoint's folder and deploy again."
        ) from error
    version = shape.get("format_version") if isinstance(shape, dict) else None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PlatformError(
            f"{path} has format {version!r}, this version reads up to {FORMAT_VERSION}",
            hint="Update twinml, or remove the endpoint's folder and deploy again.",
        )
    known = {item.name for item in fields(ServerSettings)}
    try:
        return EndpointState(
            name=shape["name"],
            host=shape["host"],
            port=int(shape["port"]),
            created=shape["created"],
            deployments={
                name: DeploymentState(
                    model=item["model"],
                    version=item["version"],
                    digest=item["digest"],
                    directory=item["directory"],
                )
                for name, item in shape["deployments"].items()
            },
            traffic={name: int(share) for name, share in shape["traffic"].items()},
            settings=ServerSettings(
                **{key: value for key, value in shape["settings"].items() if key in known}
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlatformError(
            f"{path} lacks what an endpoint needs ({error})",
            hint="Remove the endpoint's folder and deploy again.",
        ) from error


def write_state(directory: Path, state: EndpointState) -> None:
    """Replace ``endpoint.json``."""
    shape = {"format_version": FORMAT_VERSION, **asdict(state)}
    write_atomic(directory / STATE_FILE, json.dumps(shape, indent=2))
