"""The verbs that a side implements: this machine, or Azure ML.

``load("local")`` finds a platform by its entry point in the group ``twinml.platforms``;
shared code never imports one by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from twinml.errors import NotFound, PlatformUnavailable, UsageError

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.endpoint import Endpoint
    from twinml.pipeline.client import PipelineClient

__all__ = [
    "DataAsset",
    "Deployed",
    "EndpointInfo",
    "Keys",
    "ModelVersion",
    "PipelineInfo",
    "PipelineJob",
    "Platform",
    "available",
    "busiest",
    "load",
]


@dataclass(frozen=True)
class DataAsset:
    """A registered, immutable version of a data file.

    ``digest`` is the SHA-256 of the uncompressed bytes; the same file gives the same version.
    """

    name: str
    version: str
    path: str
    digest: str
    target: str
    n_rows: int
    n_columns: int
    created: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """A version in the model registry. ``digest`` covers what predictions depend on."""

    name: str
    version: str
    uri: str
    digest: str
    run_id: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keys:
    """The two keys of an endpoint; either opens it. Never printed by ``repr``."""

    primary: str = field(repr=False)
    secondary: str = field(repr=False)


@dataclass(frozen=True)
class EndpointInfo:
    """Where an endpoint answers.

    Attributes
    ----------
    traffic
        Per cent of the requests by deployment.
    deployments
        Model as ``name:version`` by deployment.
    mirror
        Per cent of the requests that a deployment gets a copy of.
    notes
        Remarks on deployments: how they score, or why they do not.
    """

    name: str
    scoring_uri: str
    swagger_uri: str
    docs_uri: str
    state: str
    traffic: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, str] = field(default_factory=dict)
    mirror: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployed:
    """What answers behind an endpoint: the model's own files, and the packages around them.

    Attributes
    ----------
    model
        As ``name:version``.
    directory
        The model's files, fetched from where they were registered.
    packages
        Versions by package.
    packages_source
        Where those were read, in words.
    packages_whole
        Whether they are all there are, or only those that are named.
    """

    deployment: str
    model: str
    directory: Path
    packages: Mapping[str, str]
    packages_source: str
    packages_whole: bool


@dataclass(frozen=True)
class PipelineInfo:
    """A published pipeline: ``POST`` to ``uri`` with the key starts a job."""

    name: str
    version: str
    uri: str


@dataclass(frozen=True)
class PipelineJob:
    """A run of a published pipeline.

    ``status`` is one of ``Queued``, ``Running``, ``Completed``, ``Failed``, ``Canceled``.
    """

    id: str
    pipeline: str
    status: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    created: str = ""
    started: str | None = None
    ended: str | None = None


class Platform(Protocol):
    """What a side can do. Every verb is idempotent and raises ``PlatformError``."""

    name: str

    def register_data(self, dataset: Dataset) -> DataAsset:
        """Store ``dataset`` as a version of its name; an unchanged file keeps its version."""
        ...

    def register_model(
        self, directory: Path, *, name: str, run_id: str | None = None
    ) -> ModelVersion:
        """Register an MLflow model directory; an unchanged model keeps its version."""
        ...

    def deploy(self, model: ModelVersion, *, endpoint: str, deployment: str) -> EndpointInfo:
        """Serve ``model`` as ``deployment`` of ``endpoint``; returns once it answers."""
        ...

    def start(self, endpoint: str) -> EndpointInfo:
        """Bring a stopped endpoint back; returns once it answers."""
        ...

    def set_traffic(
        self,
        endpoint: str,
        traffic: Mapping[str, int] | None,
        *,
        mirror: Mapping[str, int] | None = None,
    ) -> EndpointInfo:
        """Share out the requests: per cent by deployment; ``None`` keeps what there is."""
        ...

    def delete(self, endpoint: str, deployment: str | None = None) -> None:
        """Delete a deployment that has no traffic, or the whole endpoint."""
        ...

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Describe all endpoints, by name."""
        ...

    def endpoint_info(self, endpoint: str) -> EndpointInfo:
        """Describe an endpoint; ``NotFound`` if there is none of that name."""
        ...

    def keys(self, endpoint: str) -> Keys:
        """Return the keys of an endpoint."""
        ...

    def regenerate_key(self, endpoint: str, which: Literal["primary", "secondary"]) -> Keys:
        """Replace one key; the other one keeps working."""
        ...

    def endpoint(self, endpoint: str) -> Endpoint:
        """Return a client of an endpoint, key included."""
        ...

    def deployed(self, endpoint: str, deployment: str | None = None) -> Deployed:
        """Fetch what a deployment serves; by default of the one with most traffic."""
        ...

    def logs(
        self, endpoint: str, *, deployment: str | None = None, lines: int = 100
    ) -> Iterator[str]:
        """Yield the last log lines of an endpoint, oldest first."""
        ...

    def publish_pipeline(self, name: str, definition: Mapping[str, Any]) -> PipelineInfo:
        """Publish a pipeline behind its own REST endpoint; unchanged keeps its version."""
        ...

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        """Start a job over REST; returns as soon as it is accepted."""
        ...

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        """Describe a job over REST."""
        ...

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return a REST client of a published pipeline, key included."""
        ...

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """End the processes that this platform left running, or one endpoint's.

        Returns what it ended.
        """
        ...


def busiest(info: EndpointInfo) -> str:
    """Return the deployment of an endpoint that gets most of its traffic.

    Raises
    ------
    NotFound
        It has no deployment.
    """
    if not info.deployments:
        raise NotFound(
            f"endpoint '{info.name}' has no deployment", hint="Deploy a model: twinml deploy."
        )
    return max(info.deployments, key=lambda name: info.traffic.get(name, 0))


def available() -> tuple[str, ...]:
    """Return the names of the installed platforms, sorted."""
    return tuple(sorted(point.name for point in entry_points(group="twinml.platforms")))


def load(name: str) -> Platform:
    """Return the platform called ``name``, connected.

    Raises
    ------
    UsageError
        No platform of that name is installed.
    PlatformUnavailable
        It is installed but cannot be used; the message says what is missing.
    """
    for point in entry_points(group="twinml.platforms"):
        if point.name == name:
            try:
                factory = point.load()
            except ImportError as error:
                raise PlatformUnavailable(
                    f"platform '{name}' needs the package '{error.name}', which is not installed",
                    hint=f"Install it: pip install 'twinml[{name}]'.",
                ) from error
            platform: Platform = factory()
            return platform
    raise UsageError(
        f"there is no platform '{name}'", hint=f"Installed: {', '.join(available()) or 'none'}."
    )
