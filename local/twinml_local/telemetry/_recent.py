"""An endpoint's last while over time, from its newest records, however many there are.

What is read is bounded: a page asks for it, and an endpoint may have millions of records. Counters
tell all requests since the endpoint began.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from twinml.errors import PlatformError
from twinml.traffic.metrics import FeatureMetrics, RequestMetrics
from twinml_local.telemetry._flush import iso
from twinml_local.telemetry._schema import existing
from twinml_local.telemetry._summary import OUT_OF_ORDER_SECONDS, features_of, percentile

__all__ = ["Bucket", "Recent", "recent", "totals"]

MOST_ROWS = 10_000
BUCKETS = 48
# Round lengths of a bucket, in seconds.
LENGTHS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400)
SQL = """
SELECT timestamp, success, resultCode, duration, itemCount, customDimensions, customMeasurements
FROM requests ORDER BY rowid DESC LIMIT ?"""


@dataclass(frozen=True)
class Bucket:
    """Requests that began in the seconds from ``start``, in seconds since 1970."""

    start: float
    requests: int
    failures: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True)
class Recent:
    """What an endpoint did.

    Attributes
    ----------
    begin, end
        The time that is looked at, in seconds since 1970. ``begin`` is later than asked for where
        there were too many records (``cut_off``).
    length
        Of a bucket, in seconds.
    buckets
        From begin to end; empty ones too.
    codes
        Requests by status.
    """

    begin: float
    end: float
    cut_off: bool
    length: int
    deployments: tuple[RequestMetrics, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    codes: Mapping[str, int] = field(default_factory=dict)
    features: tuple[FeatureMetrics, ...] = ()


def bucket_length(seconds: float) -> int:
    """Return the round length that divides a time into at most 48 parts.

    Examples
    --------
    >>> bucket_length(48), bucket_length(49), bucket_length(3600), bucket_length(1e9)
    (1, 5, 300, 86400)
    """
    return next((one for one in LENGTHS if one * BUCKETS >= seconds), LENGTHS[-1])


def recent(
    directory: Path, since: timedelta, *, now: float | None = None, most_rows: int = MOST_ROWS
) -> Recent:
    """Return what the endpoint in ``directory`` did in the time ``since`` up to now.

    Raises
    ------
    PlatformError
        The records cannot be read.
    """
    end = time.time() if now is None else now
    begin = end - since.total_seconds()
    try:
        connection = existing(directory)
        if connection is None:
            return Recent(begin, end, False, bucket_length(end - begin))
        with closing(connection):
            return _read(connection, begin, end, most_rows)
    except sqlite3.Error as error:
        raise _unreadable(directory, error) from error


def totals(directory: Path) -> tuple[int, int]:
    """Return how many requests were answered since the endpoint began, and how many failed.

    Raises
    ------
    PlatformError
        The records cannot be read.
    """
    requests = failures = 0
    try:
        connection = existing(directory)
        if connection is None:
            return 0, 0
        with closing(connection):
            for labels, value in connection.execute(
                "SELECT labels, value FROM counters WHERE name = 'twinml_requests_total'"
            ):
                requests += int(value)
                if str(json.loads(labels).get("code", "")) >= "400":
                    failures += int(value)
    except sqlite3.Error as error:
        raise _unreadable(directory, error) from error
    return requests, failures


def _read(connection: sqlite3.Connection, begin: float, end: float, most_rows: int) -> Recent:
    first, last, stop = iso(begin), iso(end), iso(begin - OUT_OF_ORDER_SECONDS)
    oldest, read = end, 0
    rows: list[tuple[float, bool, str, float, int, str | None, int]] = []
    names: dict[str | None, str | None] = {}
    scored: dict[str | None, int] = {}
    for moment, success, code, duration, weight, dimensions, measurements in connection.execute(
        SQL, (most_rows,)
    ):
        read += 1
        if moment < stop:
            read = 0  # All of the time was read.
            break
        if not first <= moment <= last:
            continue
        if dimensions not in names:
            names[dimensions] = json.loads(dimensions or "{}").get("deployment")
        if measurements not in scored:
            scored[measurements] = int(json.loads(measurements or "{}").get("rows", 0))
        at = datetime.fromisoformat(moment).timestamp()
        oldest = min(oldest, at)
        rows.append(
            (
                at,
                success == "False",
                code,
                duration,
                weight,
                names[dimensions],
                scored[measurements],
            )
        )
    cut_off = read == most_rows and oldest > begin
    begin = oldest if cut_off else begin
    length = bucket_length(end - begin)
    return Recent(
        begin=begin,
        end=end,
        cut_off=cut_off,
        length=length,
        deployments=_by_deployment(rows),
        buckets=_by_time(rows, begin, end, length),
        codes=_codes(rows),
        features=features_of(connection, begin, end),
    )


def _by_deployment(
    rows: list[tuple[float, bool, str, float, int, str | None, int]],
) -> tuple[RequestMetrics, ...]:
    groups: dict[str | None, list[tuple[bool, float, int, int]]] = defaultdict(list)
    for _, failed, _, duration, weight, name, scored in rows:
        groups[name].append((failed, duration, weight, scored))
    found = []
    for name, group in sorted(groups.items(), key=lambda item: (item[0] is None, item[0] or "")):
        durations = [(duration, weight) for _, duration, weight, _ in group]
        found.append(
            RequestMetrics(
                deployment=name,
                requests=sum(weight for _, _, weight, _ in group),
                failures=sum(weight for failed, _, weight, _ in group if failed),
                rows=sum(weight * scored for _, _, weight, scored in group),
                exceptions=0,
                p50_ms=percentile(durations, 0.50),
                p95_ms=percentile(durations, 0.95),
                p99_ms=percentile(durations, 0.99),
            )
        )
    return tuple(found)


def _by_time(
    rows: list[tuple[float, bool, str, float, int, str | None, int]],
    begin: float,
    end: float,
    length: int,
) -> tuple[Bucket, ...]:
    groups: dict[int, list[tuple[bool, float, int]]] = defaultdict(list)
    for at, failed, _, duration, weight, _, _ in rows:
        groups[math.floor(at / length)].append((failed, duration, weight))
    made = []
    for number in range(math.floor(begin / length), math.floor(end / length) + 1):
        group = groups.get(number, [])
        durations = [(duration, weight) for _, duration, weight in group]
        made.append(
            Bucket(
                start=float(number * length),
                requests=sum(weight for _, _, weight in group),
                failures=sum(weight for failed, _, weight in group if failed),
                p50_ms=percentile(durations, 0.50),
                p95_ms=percentile(durations, 0.95),
            )
        )
    return tuple(made)


def _codes(rows: list[tuple[float, bool, str, float, int, str | None, int]]) -> dict[str, int]:
    codes: Counter[str] = Counter()
    for _, _, code, _, weight, _, _ in rows:
        codes[code] += weight
    return dict(sorted(codes.items()))


def _unreadable(directory: Path, error: sqlite3.Error) -> PlatformError:
    return PlatformError(
        f"the telemetry of endpoint '{directory.name}' cannot be read ({error})",
        hint="Move its telemetry.db away; a new one is begun when it is next started.",
    )
