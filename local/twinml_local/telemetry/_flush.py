"""What was recorded between two flushes, turned into rows and sums; nothing here is timed.

Records are plain tuples, made in the hot path and taken apart here. Paths lose their query
string and over-long text is cut, so that what a caller put there by mistake is not kept.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

__all__ = [
    "DURATION_BUCKETS",
    "Batch",
    "ExceptionRecord",
    "Origin",
    "RequestRecord",
    "TraceRecord",
    "iso",
    "spread",
]

# Upper bounds in seconds: from a compiled model's single row to a long batch.
DURATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LONGEST_NAME = 100
LONGEST_TEXT = 1_000
MOST_NAMES = 200  # of operations; a scan for routes must not fill the counters
OTHER = "other"


class RequestRecord(NamedTuple):
    """A request, as the hot path keeps it."""

    ended: float
    name: str
    url: str
    status: int
    milliseconds: float
    operation_id: str
    deployment: str | None
    model: str | None
    rows: int | None
    scoring_ms: float | None
    client_request_id: str | None


class ExceptionRecord(NamedTuple):
    """An error, already without anything from the payload."""

    time: float
    types: tuple[str, ...]
    message: str
    stacks: tuple[tuple[tuple[str, int, str], ...], ...]
    handled: bool
    operation_id: str
    deployment: str | None


class TraceRecord(NamedTuple):
    """A remark."""

    time: float
    message: str
    severity: int
    operation_id: str | None


@dataclass(frozen=True)
class Origin:
    """Who recorded: the endpoint, the process and the version."""

    role: str
    instance: str
    sdk: str


@dataclass
class Batch:
    """Rows by table, and sums to add to those that are stored.

    Attributes
    ----------
    names
        Operations seen so far in this process; shared by its batches.
    rows
        By table, in the order of ``schema.COLUMNS``.
    counters
        What to add, by name and labels as JSON.
    metrics
        Count, sum, minimum and maximum by minute, name and dimensions as JSON.
    """

    origin: Origin
    names: set[str] = field(default_factory=set)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    metrics: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    _durations: dict[tuple[str | None, str, int], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _rows: dict[str | None, int] = field(default_factory=lambda: defaultdict(int))
    _scoring: dict[str | None, list[float]] = field(default_factory=lambda: defaultdict(list))
    _observed: dict[str | None, int] = field(default_factory=lambda: defaultdict(int))
    _features: dict[tuple[str | None, str, str], int] = field(
        default_factory=lambda: defaultdict(int)
    )
    _keys: dict[tuple[Any, ...], tuple[str, str, str]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (self.rows or self.counters or self.metrics)

    def count_request(self, record: RequestRecord) -> None:
        """Add a request to the counters; :meth:`settle` works them out."""
        self._durations[record.deployment, record.name, record.status].append(record.milliseconds)
        if record.rows is not None:
            self._rows[record.deployment] += record.rows
        if record.scoring_ms is not None:
            self._scoring[record.deployment].append(record.scoring_ms)

    def count_features(
        self, deployment: str | None, n_rows: int, counts: Mapping[tuple[str, str], int]
    ) -> None:
        """Add what :class:`FeatureChecks` counted in ``n_rows`` rows."""
        self._observed[deployment] += n_rows
        for (feature, kind), count in counts.items():
            self._features[deployment, feature, kind] += count

    def settle(self, now: float) -> None:
        """Turn what was counted into sums; to be called once, before writing."""
        for (deployment, given, status), durations in self._durations.items():
            labels = {"deployment": deployment or "", "operation": self._bounded(given)}
            self.add("twinml_requests_total", {**labels, "code": str(status)}, len(durations))
            self._observe("twinml_request_duration_seconds", labels, durations)
        for where, n_rows in self._rows.items():
            self.add("twinml_rows_total", {"deployment": where or ""}, n_rows)
        for where, durations in self._scoring.items():
            labels = {"deployment": where or ""}
            self._observe("twinml_scoring_duration_seconds", labels, durations)
        for where, n_rows in self._observed.items():
            labels = {"deployment": where or ""}
            self.add("twinml_rows_observed_total", labels, n_rows)
            self.add_metric(now, "rows_observed", n_rows, labels)
        for (where, feature, kind), count in self._features.items():
            labels = {"deployment": where or "", "feature": feature}
            self.add(f"twinml_feature_{kind}_total", labels, count)
            self.add_metric(now, f"feature_{kind}", count, labels)

    def store_request(self, record: RequestRecord, weight: int) -> None:
        """Make the rows of a request that stands for ``weight`` like it."""
        name = self._bounded(record.name)
        request_id = span_id()
        dimensions = _place(record.deployment)
        if record.model:
            dimensions["model"] = record.model
        if record.client_request_id:
            dimensions["Client Request Id"] = record.client_request_id[:LONGEST_NAME]
        started = record.ended - record.milliseconds / 1e3
        self.rows["requests"].append(
            (
                iso(started),
                request_id,
                name,
                record.url.partition("?")[0][:LONGEST_TEXT],
                str(record.status < 400),
                str(record.status),
                record.milliseconds,
                *self._common(
                    name,
                    record.operation_id,
                    None,
                    dimensions,
                    None if record.rows is None else {"rows": record.rows},
                    weight,
                ),
            )
        )
        if record.scoring_ms is not None:
            success = record.status < 500
            self.rows["dependencies"].append(
                (
                    iso(started),
                    span_id(),
                    "score",
                    "InProc",
                    record.model or "",
                    None,
                    str(success),
                    "0" if success else "1",
                    record.scoring_ms,
                    *self._common(
                        name,
                        record.operation_id,
                        request_id,
                        _place(record.deployment),
                        None,
                        weight,
                    ),
                )
            )

    def add_exception(self, record: ExceptionRecord) -> None:
        """Make the row of an error, and count it by type."""
        outer, inner = record.types[0], record.types[-1]
        details = [
            {
                "type": name,
                "outerId": None if number == 0 else number - 1,
                "id": number,
                "message": record.message if number == 0 else name,
                "parsedStack": [
                    {"level": level, "method": method, "fileName": file, "line": line}
                    for level, (file, line, method) in enumerate(stack)
                ],
            }
            for number, (name, stack) in enumerate(zip(record.types, record.stacks, strict=True))
        ]
        method = record.stacks[-1][0][2] if record.stacks and record.stacks[-1] else None
        self.rows["exceptions"].append(
            (
                iso(record.time),
                outer,
                record.message[:LONGEST_TEXT],
                method,
                f"{inner} at {method}" if method else inner,
                outer,
                inner,
                _dump(details),
                3,
                "UserCode" if record.handled else "Unhandled",
                *self._common(None, record.operation_id, None, _place(record.deployment), None, 1),
            )
        )
        self.add("twinml_exceptions_total", {"deployment": record.deployment or "", "type": outer})

    def add_trace(self, record: TraceRecord) -> None:
        """Make the row of a remark."""
        self.rows["traces"].append(
            (
                iso(record.time),
                record.message[:LONGEST_TEXT],
                record.severity,
                *self._common(None, record.operation_id, None, {}, None, 1),
            )
        )

    def add_metric(
        self,
        time: float,
        name: str,
        value: float,
        dimensions: Mapping[str, str],
    ) -> None:
        """Add a value to the minute of a metric."""
        # Writing time and dimensions takes longer than all the rest.
        given = (time // 60, name, *dimensions.items())
        key = self._keys.get(given)
        if key is None:
            key = self._keys[given] = (iso(time - time % 60), name, _dump(dimensions))
        held = self.metrics.setdefault(key, [0, 0.0, value, value])
        held[0] += 1
        held[1] += value
        held[2] = min(held[2], value)
        held[3] = max(held[3], value)

    def add(self, name: str, labels: Mapping[str, str], value: float = 1) -> None:
        """Add ``value`` to a counter."""
        self.counters[name, _dump(labels)] += value

    def _observe(self, name: str, labels: Mapping[str, str], milliseconds: list[float]) -> None:
        milliseconds.sort()
        below = 0
        for bound in DURATION_BUCKETS:
            upto = bisect_right(milliseconds, bound * 1e3)
            if upto > below:
                self.add(f"{name}_bucket", {**labels, "le": f"{bound:g}"}, upto - below)
            below = upto
        if len(milliseconds) > below:
            self.add(f"{name}_bucket", {**labels, "le": "+Inf"}, len(milliseconds) - below)
        self.add(f"{name}_sum", labels, sum(milliseconds) / 1e3)

    def _common(
        self,
        operation: str | None,
        operation_id: str | None,
        parent: str | None,
        dimensions: Mapping[str, str],
        measurements: Mapping[str, float] | None,
        weight: int,
    ) -> tuple[Any, ...]:
        return (
            operation,
            None if operation_id is None else operation_id[:LONGEST_NAME],
            parent,
            _dump(dimensions) if dimensions else None,
            _dump(measurements) if measurements else None,
            self.origin.role,
            self.origin.instance,
            self.origin.sdk,
            weight,
        )

    def _bounded(self, name: str) -> str:
        if name in self.names:
            return name
        short = name.partition("?")[0][:LONGEST_NAME]
        if short not in self.names:
            if len(self.names) >= MOST_NAMES:
                return OTHER
            self.names.add(short)
        return short


def iso(seconds: float) -> str:
    """Return a time as UTC text that sorts.

    Examples
    --------
    >>> iso(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def span_id() -> str:
    """Return a new identifier of a request or a call, 16 hex digits."""
    return os.urandom(8).hex()


def spread(failed: Sequence[bool], most: int, *, offset: float = 0.0) -> list[tuple[int, int]]:
    """Choose which of many requests to store, and how many each stands for.

    Failures are kept before successes; within each, the kept ones are evenly spaced, and
    their weights sum to all of them.

    Parameters
    ----------
    failed
        Whether each request failed.
    most
        How many to keep, at least 1.
    offset
        Where between 0 and 1 the spacing begins; random, it keeps no rhythm.

    Returns
    -------
    list of (int, int)
        Place and weight, in order of place.

    Examples
    --------
    >>> spread([False] * 6 + [True], 3)
    [(0, 3), (3, 3), (6, 1)]
    """
    if len(failed) <= most:
        return [(place, 1) for place in range(len(failed))]
    bad = [place for place, wrong in enumerate(failed) if wrong]
    good = [place for place, wrong in enumerate(failed) if not wrong]
    for_bad = min(len(bad), most - 1 if good else most)
    if bad:
        for_bad = max(for_bad, 1)
    for_good = max(most - for_bad, 1) if good else 0
    kept = _every(bad, for_bad, offset) + _every(good, for_good, offset)
    return sorted(kept)


def _every(places: list[int], most: int, offset: float) -> list[tuple[int, int]]:
    """Choose ``most`` of ``places``, evenly spaced, each with how many it stands for."""
    if not places:
        return []
    cuts = [len(places) * number // most for number in range(most + 1)]
    return [
        (places[start + int(offset * (end - start))], end - start) for start, end in pairwise(cuts)
    ]


def _place(deployment: str | None) -> dict[str, str]:
    return {} if deployment is None else {"deployment": deployment}


def _dump(document: Any) -> str:
    return orjson.dumps(document).decode()
