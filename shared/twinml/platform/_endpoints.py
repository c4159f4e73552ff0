"""Endpoints of a platform: what they are called, how they are described, what is done to them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from twinml.errors import NotFound

if TYPE_CHECKING:
    from twinml.endpoint import Endpoint
    from twinml.platform._assets import ModelVersion

__all__ = ["Deployed", "EndpointInfo", "Endpoints", "Keys", "busiest", "endpoint_name"]


@dataclass(frozen=True)
class Keys:
    """The two keys of an endpoint; either opens it. Never printed by ``repr``."""

    primary: str = field(repr=False)
    secondary: str = field(repr=False)


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint and its addresses.

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
    problem
        Why nothing else is known of it; empty where it is.
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
    problem: str = ""


@dataclass(frozen=True)
class Deployed:
    """A deployed model: its directory, and the packages of its environment.

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


class Endpoints(Protocol):
    """Deploys models behind endpoints, shares out their traffic and says what they did."""

    @property
    def dialects(self) -> tuple[str, ...]:
        """Payload dialects that its endpoints take, as ``twinml.contract.dialects`` names them.

        The first one is written where an example is asked for.
        """
        ...

    def deploy(self, model: ModelVersion, *, endpoint: str, deployment: str) -> EndpointInfo:
        """Serve ``model`` as ``deployment`` of ``endpoint``; returns once it answers."""
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
