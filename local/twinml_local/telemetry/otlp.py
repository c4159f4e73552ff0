"""OpenTelemetry's wire protocol over HTTP, with what every install has.

The protocol's messages come with MLflow; the exporter packages do not. Collectors take
protobuf at ``/v1/traces``, ``/v1/metrics`` and ``/v1/logs``. The environment variables are
OpenTelemetry's::

    OTEL_EXPORTER_OTLP_ENDPOINT           http://127.0.0.1:4318
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT    a whole address instead; METRICS and LOGS likewise
    OTEL_EXPORTER_OTLP_HEADERS            name=value,name=value, percent-encoded
    OTEL_EXPORTER_OTLP_TIMEOUT            seconds, 10
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from twinml_local.telemetry.signals import Remark

__all__ = ["OtlpHttp", "endpoint_of"]

PREFIX = "OTEL_EXPORTER_OTLP_"
DEFAULT_TIMEOUT = 10.0
RETRIES = 3

KINDS = {
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
}


def endpoint_of(signal: str) -> str | None:
    """Return where ``traces``, ``metrics`` or ``logs`` go, or ``None`` if nobody said."""
    own = os.environ.get(f"{PREFIX}{signal.upper()}_ENDPOINT")
    if own:
        return own
    base = os.environ.get(f"{PREFIX}ENDPOINT")
    return f"{base.rstrip('/')}/v1/{signal}" if base else None


class OtlpHttp:
    """Sends spans, metrics and remarks to a collector.

    Parameters
    ----------
    traces, metrics, logs
        Addresses, or ``None`` for a signal that goes nowhere.
    """

    def __init__(self, traces: str | None, metrics: str | None, logs: str | None) -> None:
        self._traces = traces
        self._metrics = metrics
        self._logs = logs
        self._timeout = float(os.environ.get(f"{PREFIX}TIMEOUT") or DEFAULT_TIMEOUT)
        self._session = requests.Session()
        # The protocol asks to try again when a collector says that it is busy.
        again = Retry(
            total=RETRIES,
            backoff_factor=0.5,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=None,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=again))
        self._session.headers.update(_headers(os.environ.get(f"{PREFIX}HEADERS", "")))
        self._session.headers["Content-Type"] = "application/x-protobuf"

    def send_spans(self, spans: Sequence[ReadableSpan]) -> None:
        """Send spans; raises ``requests.RequestException`` when they were not taken."""
        if self._traces and spans:
            self._post(self._traces, _traces(spans).SerializeToString())

    def send_metrics(self, metrics: MetricsData) -> None:
        """Send metrics; raises ``requests.RequestException`` when they were not taken."""
        if self._metrics:
            self._post(self._metrics, _metrics(metrics).SerializeToString())

    def send_remarks(self, remarks: Sequence[Remark], resource: Resource) -> None:
        """Send log records; raises ``requests.RequestException`` when they were not taken."""
        if self._logs and remarks:
            self._post(self._logs, _log_records(remarks, resource).SerializeToString())

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, address: str, body: bytes) -> None:
        response = self._session.post(address, data=body, timeout=self._timeout)
        response.raise_for_status()


def _traces(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    _describe(resource_spans.resource, spans[0].resource)
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "twinml"
    for span in spans:
        _fill_span(scope_spans.spans.add(), span)
    return message


def _fill_span(message: trace_pb2.Span, span: ReadableSpan) -> None:
    context = span.get_span_context()
    assert context is not None
    message.trace_id = context.trace_id.to_bytes(16, "big")
    message.span_id = context.span_id.to_bytes(8, "big")
    if span.parent is not None:
        message.parent_span_id = span.parent.span_id.to_bytes(8, "big")
    message.flags = int(context.trace_flags)
    message.name = span.name
    message.kind = KINDS[span.kind]
    message.start_time_unix_nano = span.start_time or 0
    message.end_time_unix_nano = span.end_time or 0
    message.attributes.extend(_attributes(span.attributes))
    for event in span.events:
        told = message.events.add()
        told.name = event.name
        told.time_unix_nano = event.timestamp
        told.attributes.extend(_attributes(event.attributes))
    if span.status.status_code is StatusCode.ERROR:
        message.status.code = trace_pb2.Status.STATUS_CODE_ERROR


def _log_records(remarks: Sequence[Remark], resource: Resource) -> ExportLogsServiceRequest:
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add()
    _describe(resource_logs.resource, resource)
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "twinml"
    for remark in remarks:
        record = scope_logs.log_records.add()
        record.time_unix_nano = record.observed_time_unix_nano = remark.time
        record.severity_number, record.severity_text = remark.severity
        record.body.string_value = remark.message
        if remark.trace is not None:
            record.trace_id = remark.trace.to_bytes(16, "big")
    return message


def _metrics(metrics: MetricsData) -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    for group in metrics.resource_metrics:
        resource_metrics = message.resource_metrics.add()
        _describe(resource_metrics.resource, group.resource)
        scope_metrics = resource_metrics.scope_metrics.add()
        scope_metrics.scope.name = "twinml"
        points: dict[str, list[HistogramDataPoint]] = defaultdict(list)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                points[metric.name] += [
                    point
                    for point in metric.data.data_points
                    if isinstance(point, HistogramDataPoint)
                ]
        for name, found in points.items():
            told = scope_metrics.metrics.add()
            told.name = name
            told.unit = "1"
            told.histogram.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
            for point in found:
                _fill_point(told.histogram.data_points.add(), point)
    return message


def _fill_point(message: metrics_pb2.HistogramDataPoint, point: HistogramDataPoint) -> None:
    message.start_time_unix_nano = point.start_time_unix_nano
    message.time_unix_nano = point.time_unix_nano
    message.count = point.count
    message.sum = point.sum
    message.min = point.min
    message.max = point.max
    message.bucket_counts.extend(point.bucket_counts)
    message.attributes.extend(_attributes(point.attributes))


def _describe(message: Any, resource: Resource) -> None:
    message.attributes.extend(_attributes(resource.attributes))


def _attributes(attributes: Mapping[str, Any] | None) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in (attributes or {}).items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=str(value))


def _headers(text: str) -> dict[str, str]:
    """Read ``name=value,name=value``.

    Examples
    --------
    >>> _headers("api-key=a%20b, x=1")
    {'api-key': 'a b', 'x': '1'}
    """
    pairs = [part.partition("=") for part in text.split(",") if "=" in part]
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
