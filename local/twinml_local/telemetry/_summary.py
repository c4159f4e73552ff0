"""What ``twinml metrics`` shows: an endpoint's last hour, or any other while, from its records."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from twinml.errors import PlatformError
from twinml.traffic.metrics import EndpointMetrics, FeatureMetrics, RequestMetrics
from twinml_local.telemetry._features import KINDS
from twinml_local.telemetry._flush import iso
from twinml_local.telemetry._schema import existing

__all__ = ["OUT_OF_ORDER_SECONDS", "features_of", "percentile", "summarize"]

# Rows are written a flush after they happened, and workers write in turn: looking back, one
# may stop only when rows are older than this beyond the time asked for.
OUT_OF_ORDER_SECONDS = 60.0


@dataclass
class _Sums:
    requests: int = 0
    failures: int = 0
    rows: int = 0
    exceptions: int = 0
    durations: list[tuple[float, int]] = field(default_factory=list)


def summarize(
    directory: Path, since: timedelta, *, endpoint: str | None = None, now: float | None = None
) -> EndpointMetrics:
    """Return what the endpoint in ``directory`` did.

    Features are counted by whole minutes, so that up to a minute more of them may be in.

    Parameters
    ----------
    directory
        The endpoint's folder; without records there, all counts are zero.
    since
        How far to look back.
    endpoint
        Its name, by default the folder's.
    now
        Until when, in seconds since 1970; by default now.

    Raises
    ------
    PlatformError
        The records cannot be read.
    """
    end = time.time() if now is None else now
    begin = end - since.total_seconds()
    deployments: dict[str | None, _Sums] = defaultdict(_Sums)
    features: tuple[FeatureMetrics, ...] = ()
    try:
        connection = existing(directory)
        if connection is not None:
            with closing(connection):
                _add_requests(connection, deployments, begin, end)
                _add_exceptions(connection, deployments, begin, end)
                features = features_of(connection, begin, end)
    except sqlite3.Error as error:
        raise PlatformError(
            f"the telemetry of endpoint '{endpoint or directory.name}' cannot be read ({error})",
            hint="Move its telemetry.db away; a new one is begun when it is next started.",
        ) from error
    return EndpointMetrics(
        endpoint=endpoint or directory.name,
        since=iso(begin),
        until=iso(end),
        deployments=tuple(
            RequestMetrics(
                deployment=name,
                requests=sums.requests,
                failures=sums.failures,
                rows=sums.rows,
                exceptions=sums.exceptions,
                p50_ms=percentile(sums.durations, 0.50),
                p95_ms=percentile(sums.durations, 0.95),
                p99_ms=percentile(sums.durations, 0.99),
            )
            for name, sums in sorted(
                deployments.items(), key=lambda item: (item[0] is None, item[0] or "")
            )
        ),
        features=features,
    )


def percentile(values: Sequence[tuple[float, int]], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of all do not exceed.

    Parameters
    ----------
    values
        Each with how often it counts.
    share
        Above 0, at most 1.

    Examples
    --------
    >>> percentile([(5.0, 1), (1.0, 8), (9.0, 1)], 0.9)
    5.0
    """
    needed = share * sum(weight for _, weight in values)
    reached = 0
    for value, weight in sorted(values):
        reached += weight
        # A share such as 0.95 is not exact in binary.
        if reached >= needed - 1e-9:
            return value
    return None


def _recent(
    connection: sqlite3.Connection, table: str, columns: str, begin: float, end: float
) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a time from a table that has no index on it, from the newest back."""
    first, last = iso(begin), iso(end)
    stop = iso(begin - OUT_OF_ORDER_SECONDS)
    statement = f"SELECT timestamp, {columns} FROM {table} ORDER BY rowid DESC"  # noqa: S608
    for timestamp, *row in connection.execute(statement):
        if timestamp < stop:
            return
        if first <= timestamp <= last:
            yield tuple(row)


def _add_requests(
    connection: sqlite3.Connection, deployments: dict[str | None, _Sums], begin: float, end: float
) -> None:
    columns = "success, duration, itemCount, customDimensions, customMeasurements"
    for success, duration, weight, dimensions, measurements in _recent(
        connection, "requests", columns, begin, end
    ):
        sums = deployments[_deployment(dimensions)]
        sums.requests += weight
        sums.failures += weight if success == "False" else 0
        sums.durations.append((duration, weight))
        if measurements:
            sums.rows += weight * int(json.loads(measurements).get("rows", 0))


def _add_exceptions(
    connection: sqlite3.Connection, deployments: dict[str | None, _Sums], begin: float, end: float
) -> None:
    for weight, dimensions in _recent(
        connection, "exceptions", "itemCount, customDimensions", begin, end
    ):
        deployments[_deployment(dimensions)].exceptions += weight


def features_of(
    connection: sqlite3.Connection, begin: float, end: float
) -> tuple[FeatureMetrics, ...]:
    """Return how many values of each feature were strange, by whole minutes."""
    observed: dict[str | None, int] = defaultdict(int)
    counts: dict[tuple[str | None, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, dimensions, total in connection.execute(
        "SELECT name, customDimensions, sum(valueSum) FROM customMetrics "
        "WHERE timestamp BETWEEN ? AND ? GROUP BY name, customDimensions",
        (iso(begin - begin % 60), iso(end)),
    ):
        told = json.loads(dimensions)
        deployment = told.get("deployment") or None
        kind = name.removeprefix("feature_")
        if name == "rows_observed":
            observed[deployment] += int(total)
        elif kind in KINDS and kind != name:
            counts[deployment, told["feature"]][kind] += int(total)
    return tuple(
        FeatureMetrics(
            deployment=deployment,
            feature=feature,
            observed=observed[deployment],
            **{kind: found[kind] for kind in KINDS},
        )
        for (deployment, feature), found in sorted(
            counts.items(), key=lambda item: (item[0][0] or "", item[0][1])
        )
    )


def _deployment(dimensions: str | None) -> str | None:
    name = json.loads(dimensions or "{}").get("deployment")
    return None if name is None else str(name)
