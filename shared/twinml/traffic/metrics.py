"""Telemetry of an endpoint over a period: requests, failures, durations and strange values.

A platform that keeps such figures has the method of :class:`KeepsMetrics`; on this machine
they come from the endpoint's own records, on Azure from Application Insights.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

__all__ = ["EndpointMetrics", "FeatureMetrics", "KeepsMetrics", "RequestMetrics"]


@dataclass(frozen=True)
class RequestMetrics:
    """What one deployment did.

    Attributes
    ----------
    deployment
        Its name; ``None`` for requests that no deployment answered.
    requests, failures
        How many there were, and how many of them were answered with status 400 or above.
    rows
        Rows scored.
    exceptions
        Errors recorded.
    p50_ms, p95_ms, p99_ms
        Milliseconds within which that share of the requests was answered; ``None`` without
        requests.
    """

    deployment: str | None
    requests: int
    failures: int
    rows: int
    exceptions: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class FeatureMetrics:
    """How many values of a feature were not like those of training.

    Attributes
    ----------
    observed
        Rows that were looked at.
    out_of_range, unseen, null
        Values beyond the training range, of an unseen category, and null.
    """

    deployment: str | None
    feature: str
    observed: int
    out_of_range: int
    unseen: int
    null: int


@dataclass(frozen=True)
class EndpointMetrics:
    """Telemetry of an endpoint between two times in ISO 8601; without features that had none."""

    endpoint: str
    since: str
    until: str
    deployments: tuple[RequestMetrics, ...]
    features: tuple[FeatureMetrics, ...]


@runtime_checkable
class KeepsMetrics(Protocol):
    """A platform that can tell what its endpoints did."""

    def metrics(self, endpoint: str, since: timedelta) -> EndpointMetrics:
        """Return what ``endpoint`` did in the time ``since`` up to now."""
        ...
