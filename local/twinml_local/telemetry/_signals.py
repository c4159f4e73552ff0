"""A written batch as OpenTelemetry's spans, metrics and log records.

Requests become server spans, dependencies their children, exceptions events of the span in
which they happened, remarks log records, and the minutes of metrics histograms without bounds.
Application Insights' exporter turns the same spans back into its own tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from twinml_local.telemetry._flush import Batch, Origin, span_id
from twinml_local.telemetry._schema import COLUMNS

__all__ = ["log_records_of", "metrics_of", "resource_of", "spans_of"]

SCOPE = InstrumentationScope("twinml")

Row = Mapping[str, Any]


# By Application Insights' severity.
SEVERITIES = (
    SeverityNumber.DEBUG,
    SeverityNumber.INFO,
    SeverityNumber.WARN,
    SeverityNumber.ERROR,
    SeverityNumber.FATAL,
)


def resource_of(origin: Origin) -> Resource:
    """Describe this process; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` go first."""
    attributes = {
        "service.instance.id": origin.instance,
        "service.version": origin.sdk.partition(":")[2],
    }
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not os.environ.get("OTEL_SERVICE_NAME") and not named:
        attributes["service.name"] = origin.role
    return Resource.create(attributes)


def spans_of(batch: Batch, resource: Resource) -> list[ReadableSpan]:
    """Return the spans of a batch's requests, dependencies and exceptions."""
    events: dict[str, list[Event]] = defaultdict(list)
    for row in _rows(batch, "exceptions"):
        events[row["operation_Id"] or ""].append(_event(row))
    spans = [
        _span(
            row,
            resource,
            kind=SpanKind.SERVER,
            attributes=_request_attributes(row),
            events=events.pop(row["operation_Id"] or "", []),
            failed=int(row["resultCode"]) >= 500,
        )
        for row in _rows(batch, "requests")
    ]
    spans += [
        _span(
            row,
            resource,
            kind=SpanKind.INTERNAL,
            attributes=_text(row["customDimensions"]) | {"target": row["target"]},
            failed=row["success"] == "False",
        )
        for row in _rows(batch, "dependencies")
    ]
    # Their requests were written before, or are still under way.
    for operation, left in events.items():
        moment = left[0].timestamp
        row = {"id": span_id(), "operation_Id": operation, "name": "exception"}
        spans.append(
            _span(
                row, resource, kind=SpanKind.INTERNAL, events=left, failed=True, period=(moment, 0)
            )
        )
    return spans


def log_records_of(batch: Batch, resource: Resource) -> list[ReadableLogRecord]:
    """Return the remarks of a batch as log records, oldest first."""
    return [_log_record(row, resource) for row in _rows(batch, "traces")]


def metrics_of(batch: Batch, resource: Resource) -> MetricsData | None:
    """Return the metrics of a batch, or ``None`` if it has none."""
    points: dict[str, list[HistogramDataPoint]] = defaultdict(list)
    for (minute, name, dimensions), (count, total, low, high) in batch.metrics.items():
        points[name].append(
            HistogramDataPoint(
                attributes=_text(dimensions),
                start_time_unix_nano=_nanoseconds(minute),
                time_unix_nano=time.time_ns(),
                count=int(count),
                sum=total,
                bucket_counts=(int(count),),
                explicit_bounds=(),
                min=low,
                max=high,
            )
        )
    if not points:
        return None
    metrics = [
        Metric(name, None, "1", Histogram(group, AggregationTemporality.DELTA))
        for name, group in points.items()
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


def _rows(batch: Batch, table: str) -> Iterable[Row]:
    for row in batch.rows.get(table, ()):
        yield dict(zip(COLUMNS[table], row, strict=True))


def _request_attributes(row: Row) -> dict[str, Any]:
    method, _, route = row["name"].partition(" ")
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "url.path": row["url"],
        "http.response.status_code": int(row["resultCode"]),
        **_text(row["customDimensions"]),
    }
    measured = _text(row["customMeasurements"])
    if row["itemCount"] > 1:
        measured["itemCount"] = row["itemCount"]
    return attributes | measured


def _event(row: Row) -> Event:
    outermost, *_ = json.loads(row["details"])
    stack = "\n".join(
        f'  File "{place["fileName"]}", line {place["line"]}, in {place["method"]}'
        for place in reversed(outermost["parsedStack"])
    )
    return Event(
        "exception",
        {
            "exception.type": row["type"],
            "exception.message": row["message"],
            "exception.stacktrace": stack,
        },
        timestamp=_nanoseconds(row["timestamp"]),
    )


def _span(
    row: Row,
    resource: Resource,
    *,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None = None,
    events: Iterable[Event] = (),
    failed: bool,
    period: tuple[int, int] | None = None,
) -> ReadableSpan:
    trace = _trace_id(row["operation_Id"] or "")
    start, nanoseconds = period or (
        _nanoseconds(row["timestamp"]),
        int(row["duration"] * 1e6),
    )
    parent = row.get("operation_ParentId")
    return ReadableSpan(
        row["name"],
        context=_context(trace, row["id"]),
        parent=_context(trace, parent) if parent else None,
        resource=resource,
        attributes=dict(attributes or {}),
        events=tuple(events),
        kind=kind,
        status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
        start_time=start,
        end_time=start + nanoseconds,
        instrumentation_scope=SCOPE,
    )


def _log_record(row: Row, resource: Resource) -> ReadableLogRecord:
    severity = SEVERITIES[row["severityLevel"]]
    moment = _nanoseconds(row["timestamp"])
    # A remark about the server itself belongs to no request: its trace is 0.
    trace = _trace_id(row["operation_Id"]) if row["operation_Id"] else 0
    record = LogRecord(
        timestamp=moment,
        observed_timestamp=moment,
        context=set_span_in_context(NonRecordingSpan(SpanContext(trace, 0, is_remote=False))),
        severity_number=severity,
        severity_text=severity.name,
        body=row["message"],
        attributes={},  # Azure's exporter fails on none
    )
    return ReadableLogRecord(record, resource, SCOPE)


def _context(trace: int, span: str) -> SpanContext:
    return SpanContext(trace, int(span, 16), is_remote=False, trace_flags=TraceFlags(1))


def _trace_id(operation: str) -> int:
    """Return 128 bits that stand for a request id: its own if it is a UUID, else its hash."""
    digits = operation.replace("-", "")
    if len(digits) == 32 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return int(digits, 16)
    return int(hashlib.sha256(operation.encode()).hexdigest()[:32], 16)


def _nanoseconds(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1e3) * 1_000_000


def _text(document: str | None) -> dict[str, Any]:
    shape: dict[str, Any] = json.loads(document or "{}")
    return shape
