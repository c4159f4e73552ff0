"""The verbs that a side implements: this machine, or Azure ML.

``load("local")`` finds a platform by its entry point in the group ``twinml.platforms``;
shared code never imports one by name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from twinml.errors import NotFound, PlatformUnavailable, UsageError

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.endpoint import Endpoint

__all__ = [
    "PLATFORMS",
    "DataAsset",
    "Deployed",
    "EndpointInfo",
    "Keys",
    "ModelVersion",
    "PipelineClient",
    "PipelineInfo",
    "PipelineJob",
    "Platform",
    "Schedule",
    "available",
    "busiest",
    "endpoint_name",
    "load",
]

# The group of entry points.
PLATFORMS = "twinml.platforms"


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
    """A run of a pipeline.

    Attributes
    ----------
    status
        ``Queued``, ``Running``, ``Completed``, ``Failed`` or ``Canceled``.
    inputs
        Literals, and ``{"type": …, "path": …}``.
    outputs
        ``{"type": …, "path": …}`` by name, once it has completed.
    steps
        ``name``, ``status``, ``reused`` and more of each step, in order.
    schedule
        The schedule that started it.
    reason
        Why a schedule that looks for drift started it.
    version
        Of the published pipeline, where the platform tells it.
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
    steps: tuple[Mapping[str, Any], ...] = ()
    schedule: str | None = None
    reason: str | None = None
    version: str = ""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from twinml.pipeline.card import html

        return html(self)


@dataclass(frozen=True)
class Schedule:
    """When a pipeline is started by itself.

    Exactly one of ``cron`` and ``every`` is set.

    Attributes
    ----------
    cron
        Five fields, read in ``timezone``: ``0 6 * * 1`` is Mondays at six.
    every
        A number and a unit, ``s``, ``m``, ``h``, ``d`` or ``w``: ``30m``.
    inputs
        Of the jobs that it starts.
    on_drift
        An endpoint: at each time its traffic is looked at, and a job starts only if that
        drifted from what the champion learned from.
    cooldown
        With ``on_drift``: so long after a job nothing is looked at; written like ``every``.
    next, last, checked
        When it is due, started a job, and looked for drift; UTC, ISO 8601, where the platform
        tells it.
    finding
        What the last look saw.
    """

    name: str
    pipeline: str
    cron: str | None = None
    every: str | None = None
    timezone: str = "UTC"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    on_drift: str | None = None
    cooldown: str | None = None
    next: str | None = None
    last: str | None = None
    checked: str | None = None
    finding: str | None = None
    error: str | None = None


class PipelineClient(Protocol):
    """Starts and watches the jobs of one published pipeline.

    ``twinml.pipeline.client.RestPipelineClient`` is one for a URI and a key; a platform may
    have its own.
    """

    def submit(self, inputs: Mapping[str, Any] | None = None) -> PipelineJob:
        """Start a job; returns as soon as it is accepted."""
        ...

    def authentication_header(self) -> dict[str, str]:
        """Return the header that opens the endpoint, for clients of one's own. A secret."""
        ...

    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return ``type`` and, where there is one, ``default`` or ``path`` of each input."""
        ...

    def job(self, job_id: str) -> PipelineJob:
        """Describe a job; ``NotFound`` if there is none."""
        ...

    def jobs(self, *, status: str | None = None, limit: int | None = None) -> list[PipelineJob]:
        """List jobs, newest first."""
        ...

    def logs(self, job_id: str) -> str:
        """Return what the steps of a job printed so far."""
        ...

    def cancel(self, job_id: str) -> PipelineJob:
        """End a job; one that runs is ``Canceled`` a moment later."""
        ...

    def download(self, job_id: str, output: str, folder: Path) -> Path:
        """Fetch an output of a completed job into ``folder``; return the file or folder."""
        ...

    def wait(self, job_id: str, *, timeout: float | None = None) -> PipelineJob:
        """Return the job once it has ended; ``PlatformError`` if it has not by then."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Platform(Protocol):
    """What a side can do. Every verb is idempotent and raises ``PlatformError``."""

    name: str

    @property
    def dialects(self) -> tuple[str, ...]:
        """Payload dialects that its endpoints take, as ``twinml.contract.dialects`` names them.

        The first one is written where an example is asked for.
        """
        ...

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI: where the runs of this side's jobs are."""
        ...

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

    def publish_pipeline(
        self, name: str, definition: Path, *, inputs: Mapping[str, Any] | None = None
    ) -> PipelineInfo:
        """Publish an Azure ML v2 pipeline job file behind its own REST endpoint.

        ``inputs`` replace values in the file, for all jobs that do not give their own. What
        is unchanged keeps its version. The file's folder may change afterwards.
        """
        ...

    def submit_pipeline(
        self, definition: Path, inputs: Mapping[str, Any] | None = None
    ) -> PipelineJob:
        """Start a job of a file, as ``az ml job create -f`` does; returns once accepted."""
        ...

    def run_pipeline(self, name: str, inputs: Mapping[str, Any]) -> PipelineJob:
        """Start a job of a published pipeline over REST; returns as soon as it is accepted."""
        ...

    def pipeline_job(self, name: str, job_id: str) -> PipelineJob:
        """Describe a job over REST."""
        ...

    def pipeline_client(self, name: str) -> PipelineClient:
        """Return a client of a published pipeline, key included."""
        ...

    def pipelines(self) -> tuple[PipelineInfo, ...]:
        """Describe all published pipelines, by name."""
        ...

    def schedule_pipeline(self, schedule: Schedule) -> Schedule:
        """Make a schedule, or replace the one of that name; it counts from now on."""
        ...

    def unschedule_pipeline(self, name: str) -> None:
        """Delete a schedule; ``NotFound`` if there is none of that name."""
        ...

    def schedules(self, pipeline: str | None = None) -> tuple[Schedule, ...]:
        """Describe the schedules of a pipeline, or all, by name."""
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


def endpoint_name(model: str) -> str:
    """Return a name that Azure ML takes for an endpoint: 3 to 32 letters, digits, hyphens.

    A name that has to be changed gets four digits of its hash, so that two models never share
    an endpoint unasked.

    >>> endpoint_name("bank-full"), endpoint_name("2024_sales.v2"), endpoint_name("x")
    ('bank-full', 'ep-2024-sales-v2-6690', 'ep-x-2d71')
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]", model):
        return model
    name = re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-")
    if not name or not name[0].isalpha():
        name = f"ep-{name or 'model'}"
    if len(name) < 3:
        name = f"ep-{name}"
    return f"{name[:27].rstrip('-')}-{hashlib.sha256(model.encode()).hexdigest()[:4]}"


def available() -> tuple[str, ...]:
    """Return the names of the installed platforms, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=PLATFORMS)))


def load(name: str) -> Platform:
    """Return the platform called ``name``, connected.

    Raises
    ------
    UsageError
        No platform of that name is installed.
    PlatformUnavailable
        It is installed but cannot be used; the message says what is missing.
    """
    for point in entry_points(group=PLATFORMS):
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
