"""The way to the top: a challenger gets a share of the traffic, and is promoted on record.

Every promotion is a run in MLflow's experiment ``promotions``: who, when, why, and the figures
of both versions. The trail is where the models are.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound, UsageError
from twinml.platform import ModelReference
from twinml.registry.aliases import CHALLENGER, CHAMPION
from twinml.training.estimates import WORDS

if TYPE_CHECKING:
    from mlflow.entities import Run

    from twinml.platform import EndpointInfo, ModelVersion, Platform
    from twinml.registry.tracking import Tracking

__all__ = [
    "Promotion",
    "Proposal",
    "deployment_name",
    "promote",
    "promotions",
    "propose",
]

EXPERIMENT = "promotions"


@dataclass(frozen=True)
class Proposal:
    """A challenger that is deployed: where, and what it gets of the requests."""

    model: str
    version: str
    endpoint: str
    deployment: str
    traffic: Mapping[str, int]
    mirror: Mapping[str, int]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def deployment_name(version: ModelVersion) -> str:
    """Return the name of a version's deployment, valid on Azure: ``version-3``."""
    return f"version-{version.version}"


def propose(
    platform: Platform,
    version: ModelVersion,
    *,
    endpoint: str,
    percent: int = 10,
    mirror: bool = False,
) -> Proposal:
    """Deploy ``version`` beside what serves now, with ``percent`` of the requests.

    An earlier challenger gives up its share. On an endpoint that is not there yet the
    version serves alone. Safe to repeat.

    Parameters
    ----------
    percent
        Of the requests; with ``mirror`` the version gets copies, and its answers go nowhere.
    """
    if not 0 <= percent <= 100:
        raise UsageError(f"percent: found {percent}, expected 0 to 100")
    before = _endpoint(platform, endpoint)
    own = _deployment_of(before, version) or deployment_name(version)
    if before is None or not any(before.traffic.values()):
        info = platform.deploy(version, endpoint=endpoint, deployment=own)
        if info.traffic.get(own) != 100:
            info = platform.set_traffic(endpoint, {own: 100})
        reason = f"{version.reference} serves {endpoint} alone: it is the first"
    else:
        champion = serving(before.traffic)
        if champion == own:
            reason = f"{version.reference} serves {endpoint} already"
            return _proposal(version, before, own, reason)
        platform.deploy(version, endpoint=endpoint, deployment=own)
        traffic, copies = shares(champion, own, percent, mirror=mirror)
        info = platform.set_traffic(endpoint, traffic, mirror=copies)
        what = f"copies of {percent} %" if mirror else f"{percent} %"
        reason = f"{what} of the requests to {endpoint} go to {own}"
        for name in abandoned(info.deployments, {own, champion}):
            platform.delete(endpoint, name)
        info = platform.endpoint_info(endpoint)
    return _proposal(version, info, own, reason)


def serving(traffic: Mapping[str, int]) -> str:
    """Return the deployment with the largest share, the first of equals."""
    return max(traffic, key=lambda name: traffic[name])


def shares(
    champion: str, challenger: str, percent: int, *, mirror: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the traffic and the mirrored traffic that give a challenger ``percent``."""
    if mirror:
        return {champion: 100}, {challenger: percent}
    return {champion: 100 - percent, challenger: percent}, {}


def abandoned(deployments: Iterable[str], kept: Collection[str]) -> list[str]:
    """Return earlier challengers: deployments that ``propose`` named, and nobody promoted."""
    return [name for name in deployments if name.startswith("version-") and name not in kept]


def _proposal(version: ModelVersion, info: EndpointInfo, own: str, reason: str) -> Proposal:
    return Proposal(
        version.name, version.version, info.name, own, dict(info.traffic), dict(info.mirror), reason
    )


def _endpoint(platform: Platform, endpoint: str) -> EndpointInfo | None:
    try:
        return platform.endpoint_info(endpoint)
    except NotFound:
        return None


def _deployment_of(info: EndpointInfo | None, version: ModelVersion) -> str | None:
    """Return the deployment that serves ``version``, where there is one."""
    for name, served in (info.deployments if info else {}).items():
        if served == version.reference.deployed:
            return name
    return None


@dataclass(frozen=True)
class Promotion:
    """One entry of the audit trail; ``time`` is UTC, ISO 8601.

    ``complete`` is false where the promotion was interrupted or failed on its way.
    """

    model: str
    version: str
    previous: str | None
    by: str
    time: str
    reason: str
    endpoint: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True
    id: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def promote(
    tracking: Tracking,
    name: str,
    *,
    reason: str,
    version: str | None = None,
    platform: Platform | None = None,
    endpoint: str | None = None,
    by: str | None = None,
) -> Promotion:
    """Make a version the champion, give it all traffic, and put that on record.

    The entry is written first and completed last: a promotion that breaks off shows in the
    trail, and the same call again completes it.

    Parameters
    ----------
    version
        By default the challenger. An earlier version may be named: that is the way back.
    platform, endpoint
        Where all requests are to go to it; by default nothing is deployed.
    by
        Who decided; by default the user of this process.

    Raises
    ------
    NotFound
        There is no such model, or no challenger.
    UsageError
        No reason is given.
    """
    if not reason.strip():
        raise UsageError("a promotion needs a reason", hint="Say why: --reason TEXT.")
    try:
        chosen = tracking.resolve(
            ModelReference(name, version) if version else ModelReference(name, alias=CHALLENGER)
        )
    except NotFound as error:
        if version is None and name in tracking.names():
            raise NotFound(
                f"model '{name}' has no challenger",
                hint=f"Name a version: --version; see twinml models {name}.",
            ) from error
        raise
    previous = _champion(tracking, name)
    entry = Promotion(
        model=name,
        version=chosen.version,
        previous=previous.version if previous else None,
        by=by or getpass.getuser(),
        time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        reason=reason.strip(),
        endpoint=endpoint,
        figures=_figures(tracking, chosen, previous),
        complete=False,
    )
    run_id = _record(tracking, entry)
    steps: list[Callable[[], object]] = []
    if platform is not None and endpoint is not None:
        steps.append(partial(_serve_alone, platform, chosen, endpoint))
    # The alias moves last: until then the same call finds the same challenger again.
    steps.append(partial(_crown, tracking, chosen))
    carry_out(steps, partial(tracking.client.set_terminated, run_id))
    return Promotion(**{**asdict(entry), "complete": True, "id": run_id})


def carry_out(steps: Iterable[Callable[[], object]], end: Callable[[str], object]) -> None:
    """Take steps in order; end the record as ``FINISHED``, or ``FAILED`` where one breaks off."""
    try:
        for step in steps:
            step()
    except BaseException:
        end("FAILED")
        raise
    end("FINISHED")


def _crown(tracking: Tracking, version: ModelVersion) -> None:
    held = tracking.client.get_model_version(version.name, version.version)
    tracking.aliases.give(held, CHAMPION)


def _serve_alone(platform: Platform, version: ModelVersion, endpoint: str) -> None:
    own = _deployment_of(_endpoint(platform, endpoint), version) or deployment_name(version)
    platform.deploy(version, endpoint=endpoint, deployment=own)
    platform.set_traffic(endpoint, {own: 100}, mirror={})


def _champion(tracking: Tracking, name: str) -> ModelVersion | None:
    try:
        return tracking.resolve(ModelReference(name, alias=CHAMPION))
    except NotFound:
        return None


def _figures(
    tracking: Tracking, chosen: ModelVersion, previous: ModelVersion | None
) -> dict[str, float]:
    """Return the figures of both versions on rows not learned from, as their runs have them."""
    figures = {}
    for prefix, one in (("new", chosen), ("previous", previous)):
        if one is not None and one.run_id:
            for key, value in tracking.metrics(one.run_id).items():
                if key.startswith(tuple(f"{estimate}_" for estimate in WORDS)):
                    figures[f"{prefix}_{key}"] = value
    return figures


def _record(tracking: Tracking, entry: Promotion) -> str:
    """Write an entry as an MLflow run that has not ended; return its id."""
    tags = {
        "twinml.model": entry.model,
        "twinml.version": entry.version,
        "twinml.previous": entry.previous or "",
        "twinml.by": entry.by,
        "twinml.time": entry.time,
        "twinml.reason": entry.reason[:5000],
        "twinml.endpoint": entry.endpoint or "",
    }
    title = f"{entry.model}/{entry.version}"
    return tracking.begin(EXPERIMENT, title, tags, entry.figures)


def promotions(tracking: Tracking, name: str | None = None) -> tuple[Promotion, ...]:
    """Return the audit trail of one model, or of all, newest first."""
    found = []
    for run in _runs(tracking):
        tags = run.data.tags
        if name is not None and tags.get("twinml.model") != name:
            continue
        found.append(
            Promotion(
                model=tags.get("twinml.model", ""),
                version=tags.get("twinml.version", ""),
                previous=tags.get("twinml.previous") or None,
                by=tags.get("twinml.by", ""),
                time=tags.get("twinml.time", ""),
                reason=tags.get("twinml.reason", ""),
                endpoint=tags.get("twinml.endpoint") or None,
                figures=dict(run.data.metrics),
                complete=run.info.status == "FINISHED",
                id=run.info.run_id,
            )
        )
    return tuple(found)


def _runs(tracking: Tracking) -> Iterator[Run]:
    held = tracking.client.get_experiment_by_name(EXPERIMENT)
    token: str | None = None
    while held is not None:
        page = tracking.client.search_runs(
            [held.experiment_id], order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return
