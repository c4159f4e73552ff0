"""Guardrails: failures and latency, which a new deployment must not worsen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twinml.abtest.sequential import critical
from twinml.traffic.metrics import RequestMetrics

__all__ = ["FAILURES", "LATENCY", "Guardrail", "guardrails"]

FAILURES, LATENCY = "failures", "latency"
LEAST_REQUESTS = 100  # of each deployment; fewer say nothing about a 95th percentile


@dataclass(frozen=True)
class Guardrail:
    """One of them.

    Attributes
    ----------
    name
        ``failures`` (share of the requests) or ``latency`` (95th percentile, milliseconds).
    a, b
        The values of the deployments; ``None`` where telemetry has none.
    broken
        Whether B is worse; ``None`` where there is too little to say.
    told
        The same in words.
    """

    name: str
    a: float | None
    b: float | None
    broken: bool | None
    told: str


def guardrails(
    deployments: tuple[str, str],
    measured: Sequence[RequestMetrics],
    *,
    slowdown: float,
    alpha: float,
) -> tuple[Guardrail, ...]:
    """Judge what telemetry says about A and B; nothing without telemetry.

    Failures are broken once the always-valid interval of B's share minus A's lies above zero,
    latency once B's 95th percentile is more than ``slowdown`` times A's.

    Examples
    --------
    >>> a = RequestMetrics("blue", 4000, 4, 4000, 0, 2.0, 5.0, 9.0)
    >>> b = RequestMetrics("green", 4000, 90, 4000, 0, 2.0, 5.5, 9.0)
    >>> [rail.broken for rail in guardrails(("blue", "green"), [a, b], slowdown=1.2, alpha=0.05)]
    [True, False]
    """
    found = {one.deployment: one for one in measured}
    if not measured:
        return ()
    a, b = (found.get(name) for name in deployments)
    if a is None or b is None or min(a.requests, b.requests) < LEAST_REQUESTS:
        told = f"telemetry has fewer than {LEAST_REQUESTS} requests of one of them"
        return tuple(Guardrail(name, None, None, None, told) for name in (FAILURES, LATENCY))
    return _failures(a, b, alpha), _latency(a, b, slowdown)


def _failures(a: RequestMetrics, b: RequestMetrics, alpha: float) -> Guardrail:
    # Two requests more, half of them failed (Agresti and Caffo 2000): no failures at all are no
    # proof that there never will be one.
    shares = [(one.failures + 1) / (one.requests + 2) for one in (a, b)]
    error = math.sqrt(
        sum(
            share * (1 - share) / (one.requests + 2)
            for share, one in zip(shares, (a, b), strict=True)
        )
    )
    total = np.array(a.requests + b.requests)
    reach = float(critical(total, tuned_for=float(total), alpha=alpha)) * error
    plain = [one.failures / one.requests for one in (a, b)]
    broken = shares[1] - shares[0] - reach > 0
    return Guardrail(
        FAILURES,
        plain[0],
        plain[1],
        broken,
        f"A {plain[0]:.2%} of {a.requests:,} requests, B {plain[1]:.2%} of {b.requests:,}"
        + (": B FAILS MORE OFTEN" if broken else ""),
    )


def _latency(a: RequestMetrics, b: RequestMetrics, slowdown: float) -> Guardrail:
    if not a.p95_ms or b.p95_ms is None:
        return Guardrail(LATENCY, a.p95_ms, b.p95_ms, None, "telemetry has no durations")
    broken = b.p95_ms > slowdown * a.p95_ms
    return Guardrail(
        LATENCY,
        a.p95_ms,
        b.p95_ms,
        broken,
        f"p95 A {a.p95_ms:.2f} ms, B {b.p95_ms:.2f} ms"
        + (f": B IS MORE THAN {slowdown:g} TIMES SLOWER" if broken else ""),
    )
