"""``twinml abtest --online``: two deployments on collected traffic with later labels."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.cli._collected import collected_folder, traffic_of
from twinml.cli._endpoints import meant
from twinml.cli._plan import shares
from twinml.errors import NotFound, UsageError

if TYPE_CHECKING:
    from twinml.abtest.online import OnlineResult
    from twinml.traffic.metrics import RequestMetrics

__all__ = ["compared"]


def compared(
    platform_name: str,
    endpoint_name: str | None,
    folder: Path | None,
    last: timedelta,
    deployments: tuple[str, str],
    expected: str | None,
    **options: Any,
) -> OnlineResult:
    """Read traffic, labels and telemetry, and compare.

    Raises
    ------
    NotFound
        A deployment has no collected traffic.
    UsageError
        Nothing tells how the traffic was shared out.
    """
    from twinml.abtest.online import compare
    from twinml.traffic.feedback import GroundTruth

    place = collected_folder(platform_name, endpoint_name, folder)
    traffic = traffic_of(place, last, deployments)
    found = {request.deployment for request in traffic.requests}
    for name in deployments:
        if name not in found:
            raise NotFound(
                f"no traffic of deployment '{name}' was collected",
                hint=f"Collected: {', '.join(sorted(found)) or 'none'}. Give it traffic: "
                "twinml traffic.",
            )
    share: float | None = None
    measured: tuple[RequestMetrics, ...] = ()
    if expected is not None:
        share = shares(expected)[1]
    if folder is None:
        measured = _telemetry(platform_name, endpoint_name, last)
        if share is None and not options["mirrored"]:
            share = _share(platform_name, endpoint_name, deployments)
    elif share is None and not options["mirrored"]:
        raise UsageError(
            "a folder does not tell how the traffic was shared out",
            hint="Say it: --expected 90/10.",
        )
    return compare(
        traffic,
        GroundTruth(place).labels(),
        deployments=deployments,
        expected_share=share,
        measured=measured,
        **options,
    )


def _share(platform_name: str, endpoint_name: str | None, deployments: tuple[str, str]) -> float:
    from twinml.platform import load

    platform = load(platform_name)
    traffic = platform.endpoint_info(meant(platform, endpoint_name)).traffic
    parts = [traffic.get(name, 0) for name in deployments]
    if not all(parts):
        said = ", ".join(f"{name} {traffic.get(name, 0)} %" for name in deployments)
        raise UsageError(
            f"the traffic goes to one of them: {said}",
            hint="If it was shared out before: --expected 90/10. For mirror traffic: --mirrored.",
        )
    return parts[1] / sum(parts)


def _telemetry(
    platform_name: str, endpoint_name: str | None, last: timedelta
) -> tuple[RequestMetrics, ...]:
    from twinml.platform import load
    from twinml.traffic.metrics import KeepsMetrics

    platform = load(platform_name)
    if not isinstance(platform, KeepsMetrics):
        return ()
    return platform.metrics(meant(platform, endpoint_name), last).deployments
