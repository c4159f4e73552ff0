"""An endpoint's folder, and what its ``endpoint.json`` says.

::

    HOME/endpoints/NAME/
    ├── endpoint.json   name, port, deployments, traffic, settings
    ├── keys.json       both keys, mode 0600
    ├── server.pid      the running process, written by the one that started it
    ├── workers/        PID.json: what each worker has loaded
    ├── telemetry.db, modelDataCollector/   (``twinml_local.telemetry``)
    └── logs/           DEPLOYMENT.log, server.log, console.log

``endpoint.json`` is all that the server is told; it is replaced whole, never changed in place.
A running server follows it (``twinml_local.server.deployments.watch``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from azureml_runner.files import write_atomic
from twinml.errors import NotFound, PlatformError

__all__ = [
    "BACKLOG",
    "STATE_FILE",
    "DeploymentState",
    "EndpointState",
    "ServerSettings",
    "read_state",
    "write_state",
]

T = TypeVar("T")

FORMAT_VERSION = 1
STATE_FILE = "endpoint.json"
LAST_PORT = 65535
BACKLOG = 2048  # connections that wait to be accepted


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
        Requests that each of them scores at a time. Others wait, but for those that do not
        score and those so short that a compiled form answers them at once. Where a compiled
        form scores a long request, so many threads share its rows, up to one a core.
    documents_need_key
        Ask for the key on ``/swagger.json`` and ``/docs/`` too.
    drain_seconds
        How long a stopping server lets requests finish.
    cors_origins
        Origins whose pages may call the endpoint from a browser; see ``server.cors``.
    allowed_hosts
        Values of ``Host`` that are answered besides those of loopback; ``*`` is any.
    root_path
        Path before all of the server's own, as a proxy that strips it shows it; empty for none.
    collect_rate
        Share of the requests, 0 to 1, whose inputs and outputs are written to files.
    retention_days
        Age from which telemetry and collected files go.
    ood_scores
        Whether every reply has an out-of-distribution score, asked for or not
        (``twinml_local.server.deployments.ood``).
    strict
        Whether what Azure ML would refuse, or answer otherwise, is refused here, too
        (``twinml.contract.azure``).
    """

    max_body_bytes: int = 100 * 1024 * 1024
    max_rows: int | None = 1_000_000
    workers: int = 1
    threads: int = 2
    documents_need_key: bool = False
    drain_seconds: int = 30
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    root_path: str = ""
    collect_rate: float = 0.0
    retention_days: int = 30
    ood_scores: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        # JSON has lists.
        object.__setattr__(self, "cors_origins", tuple(self.cors_origins))
        object.__setattr__(self, "allowed_hosts", tuple(self.allowed_hosts))

    @property
    def of_process(self) -> tuple[float, ...]:
        """Those settings that a running server cannot change."""
        return (
            self.threads,
            self.drain_seconds,
            self.retention_days,
        )


@dataclass(frozen=True)
class DeploymentState:
    """A model behind an endpoint.

    Attributes
    ----------
    directory
        An MLflow model that nobody changes.
    compiled
        Where its compiled form is; empty when it has none.
    refusal
        Why it has none.
    batches
        Whether its pipeline may be asked in batches.
    form
        Digest of the compiled form's own files.
    made_with
        What ``compiled``, ``refusal`` and ``batches`` depend on besides the model: with another
        one the model is compiled anew (``twinml_local.server.deployments.compiling.compiler``).
    made
        When it was compiled.
    """

    model: str
    version: str
    digest: str
    directory: str
    compiled: str = ""
    refusal: str = ""
    batches: bool = False
    form: str = ""
    made_with: str = ""
    made: str = ""


@dataclass(frozen=True)
class EndpointState:
    """What ``endpoint.json`` holds.

    Attributes
    ----------
    traffic
        Per cent of the requests by deployment name.
    mirror
        Per cent of the requests that a deployment is sent a copy of.
    staged
        Deployments that the server is to load but not to serve: what a deploy is about to put
        in ``deployments``. If the deploy is killed half way, what was served stays served.
    """

    name: str
    host: str
    port: int
    created: str
    deployments: Mapping[str, DeploymentState] = field(default_factory=dict)
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror: Mapping[str, int] = field(default_factory=dict)
    staged: Mapping[str, DeploymentState] = field(default_factory=dict)
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
    except (ValueError, RecursionError) as error:
        raise PlatformError(f"{path} is not JSON", hint=_anew(directory)) from error
    except OSError as error:
        raise PlatformError(
            f"{path} cannot be read: {error.strerror}", hint=_anew(directory)
        ) from error
    version = shape.get("format_version") if isinstance(shape, dict) else None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PlatformError(
            f"{path} has format {version!r}, this version reads up to {FORMAT_VERSION}",
            hint=f"Update twinml. {_anew(directory)}",
        )
    try:
        return EndpointState(
            name=_of(str, shape, "name"),
            host=_of(str, shape, "host"),
            port=_port(shape),
            created=_of(str, shape, "created"),
            deployments=_deployments(shape["deployments"]),
            traffic={name: int(share) for name, share in shape["traffic"].items()},
            mirror={name: int(share) for name, share in shape.get("mirror", {}).items()},
            staged=_deployments(shape.get("staged", {})),
            settings=_settings(shape["settings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlatformError(
            f"{path} lacks what an endpoint needs ({error})",
            hint=_anew(directory),
        ) from error


def _anew(directory: Path) -> str:
    return f"To begin anew: twinml delete --endpoint {directory.name} --yes, then twinml deploy."


def _deployments(shape: Mapping[str, Any]) -> dict[str, DeploymentState]:
    return {
        name: DeploymentState(
            model=_of(str, item, "model"),
            version=_of(str, item, "version"),
            digest=_of(str, item, "digest"),
            directory=_of(str, item, "directory"),
            # Those that were added after the first version.
            compiled=_of(str, item, "compiled", ""),
            refusal=_of(str, item, "refusal", ""),
            batches=_of(bool, item, "batches", False),
            form=_of(str, item, "form", ""),
            made_with=_of(str, item, "made_with", ""),
            made=_of(str, item, "made", ""),
        )
        for name, item in shape.items()
    }


def _of(kind: type[T], shape: Mapping[str, Any], key: str, default: T | None = None) -> T:
    value = shape[key] if default is None else shape.get(key, default)
    if not isinstance(value, kind):
        raise TypeError(f"{key}: {str(value)[:40]}")
    return value


def _settings(shape: Mapping[str, Any]) -> ServerSettings:
    known = {}
    for item in fields(ServerSettings):
        if item.name in shape:
            kinds: tuple[type, ...] = {float: (int, float), tuple: (list,)}.get(
                type(item.default), (type(item.default),)
            )
            if item.name == "max_rows":
                kinds = (int, type(None))
            if type(shape[item.name]) not in kinds:
                raise TypeError(f"{item.name}: {str(shape[item.name])[:40]}")
            known[item.name] = shape[item.name]
    return ServerSettings(**known)


def _port(shape: Mapping[str, Any]) -> int:
    port = _of(int, shape, "port")
    if not 0 <= port <= LAST_PORT:
        raise ValueError(f"port: {port}")
    return port


def write_state(directory: Path, state: EndpointState) -> None:
    """Replace ``endpoint.json``."""
    shape = {"format_version": FORMAT_VERSION, **asdict(state)}
    write_atomic(directory / STATE_FILE, json.dumps(shape, indent=2))
