"""Two deployments on collected traffic with later labels: what is needed, put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.abtest.sample_size import shares
from twinml.errors import NotFound, UsageError

if TYPE_CHECKING:
    from twinml.abtest.online import OnlineResult
    from twinml.traffic.collected import Traffic
    from twinml.traffic.metrics import RequestMetrics

__all__ = ["compare_collected", "share_of_b"]


def compare_collected(
    traffic: Traffic,
    folder: Path,
    deployments: tuple[str, str],
    *,
    share: float | None,
    measured: tuple[RequestMetrics, ...],
    **options: Any,
) -> OnlineResult:
    """Judge two deployments on traffic that was collected in ``folder``, where the labels are.

    Parameters
    ----------
    share
        Expected of the requests, for B.
    measured
        Telemetry, for the guardrails.
    options
        Those of ``twinml.abtest.online.compare``.

    Raises
    ------
    NotFound
        A deployment has no collected traffic.
    """
    from twinml.abtest.online import compare
    from twinml.traffic.feedback import GroundTruth

    found = {request.deployment for request in traffic.requests}
    for name in deployments:
        if name not in found:
            raise NotFound(
                f"no traffic of deployment '{name}' was collected",
                hint=f"Collected: {', '.join(sorted(found)) or 'none'}. Give it traffic: "
                "twinml traffic.",
            )
    return compare(
        traffic,
        GroundTruth(folder).labels(),
        deployments=deployments,
        expected_share=share,
        measured=measured,
        **options,
    )


def share_of_b(
    deployments: tuple[str, str],
    *,
    expected: str | None,
    mirrored: bool,
    traffic: Mapping[str, int] | None,
) -> float | None:
    """Return which share of the requests B should have got; ``None`` for mirror traffic.

    Parameters
    ----------
    expected
        A split such as ``90/10``, which counts before all else.
    traffic
        Per cent by deployment now; ``None`` where nothing tells.

    Raises
    ------
    UsageError
        Nothing tells how the traffic was shared out, or one of them gets none.

    Examples
    --------
    >>> now = {"blue": 60, "green": 20, "red": 20}
    >>> share_of_b(("blue", "green"), expected=None, mirrored=False, traffic=now)
    0.25
    """
    if expected is not None:
        return shares(expected)[1]
    if mirrored:
        return None
    if traffic is None:
        raise UsageError(
            "a folder does not tell how the traffic was shared out",
            hint="Say it: --expected 90/10.",
        )
    parts = [traffic.get(name, 0) for name in deployments]
    if not all(parts):
        said = ", ".join(f"{name} {traffic.get(name, 0)} %" for name in deployments)
        raise UsageError(
            f"the traffic goes to one of them: {said}",
            hint="If it was shared out before: --expected 90/10. For mirror traffic: --mirrored.",
        )
    return parts[1] / sum(parts)
