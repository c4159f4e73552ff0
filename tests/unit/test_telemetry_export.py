"""Telemetry sent on: to an OpenTelemetry collector and to Application Insights, over real HTTP."""

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from twinml_local.telemetry import TelemetryClient, TelemetrySettings

BY_HAND = TelemetrySettings(flush_seconds=3600)
OPERATION = "0b6f0f6e-9a47-4a63-9a55-2a9f0f3a3c11"


class Listener:
    """A collector that keeps what it was sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Message, bytes]] = []
        self.statuses: list[int] = []
        self.reply = b""
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                listener.received.append((self.path, self.headers, body))
                status = listener.statuses.pop(0) if listener.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", str(len(listener.reply)))
                self.end_headers()
                self.wfile.write(listener.reply)

            def log_message(self, *given: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def work(telemetry: TelemetryClient) -> None:
    telemetry.record_exception(ValueError("4111-1111"), operation_id=OPERATION)
    telemetry.record_request(
        "POST /score",
        "/score",
        500,
        20.0,
        operation_id=OPERATION,
        deployment="blue",
        model="bank:3",
        rows=2,
        scoring_ms=15.0,
    )
    telemetry.record_exception(KeyError("4111-1111"), operation_id="of another request")
    telemetry.record_metric("queue_length", 4, dimensions={"deployment": "blue"})


def attributes(found: object) -> dict[str, object]:
    return {
        item.key: getattr(item.value, item.value.WhichOneof("value"))
        for item in found  # type: ignore[attr-defined]
    }


def test_spans_and_metrics_reach_a_collector(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.address + "/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20secret")
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
    (traces,) = [body for path, _, body in listener.received if path == "/v1/traces"]
    (metrics,) = [body for path, _, body in listener.received if path == "/v1/metrics"]
    assert all(headers["api-key"] == "a secret" for _, headers, _ in listener.received)
    assert all(
        headers["Content-Type"] == "application/x-protobuf" for _, headers, _ in listener.received
    )
    assert b"4111-1111" not in traces

    (group,) = ExportTraceServiceRequest.FromString(traces).resource_spans
    assert attributes(group.resource.attributes)["service.name"] == "bank"
    request, scoring, stray = group.scope_spans[0].spans
    assert request.name == "POST /score"
    assert request.kind == trace_pb2.Span.SPAN_KIND_SERVER
    assert request.trace_id.hex() == OPERATION.replace("-", "")
    assert request.end_time_unix_nano - request.start_time_unix_nano == 20_000_000
    assert request.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    told = attributes(request.attributes)
    assert told["http.request.method"] == "POST"
    assert told["http.response.status_code"] == 500
    assert told["url.path"] == told["http.route"] == "/score"
    assert (told["deployment"], told["model"], told["rows"]) == ("blue", "bank:3", 2)
    (event,) = request.events
    assert event.name == "exception"
    assert attributes(event.attributes)["exception.type"] == "ValueError"
    assert scoring.name == "score"
    assert scoring.parent_span_id == request.span_id
    assert scoring.trace_id == request.trace_id
    assert scoring.end_time_unix_nano - scoring.start_time_unix_nano == 15_000_000
    assert stray.trace_id != request.trace_id
    assert attributes(stray.events[0].attributes)["exception.type"] == "KeyError"

    (group,) = ExportMetricsServiceRequest.FromString(metrics).resource_metrics
    (metric,) = group.scope_metrics[0].metrics
    (point,) = metric.histogram.data_points
    assert metric.name == "queue_length"
    assert (point.count, point.sum, point.min, point.max) == (1, 4.0, 4.0, 4.0)
    assert attributes(point.attributes) == {"deployment": "blue"}


def test_remarks_reach_a_collector_as_log_records(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", listener.address + "/own")
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
        telemetry.record_trace("blue (bank:3) scores compiled")
        telemetry.record_trace("slow", severity=2, operation_id=OPERATION)
    # Nobody asked for spans or metrics.
    ((path, _, body),) = listener.received
    assert path == "/own"
    (group,) = ExportLogsServiceRequest.FromString(body).resource_logs
    assert attributes(group.resource.attributes)["service.name"] == "bank"
    first, second = group.scope_logs[0].log_records
    assert first.body.string_value == "blue (bank:3) scores compiled"
    assert (first.severity_number, first.severity_text) == (9, "INFO")
    assert first.trace_id == b""
    assert first.time_unix_nano > 0
    assert (second.severity_text, second.trace_id.hex()) == ("WARN", OPERATION.replace("-", ""))


def test_the_variables_of_one_signal_go_before_the_general_ones(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "to=all")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "to=metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
        telemetry.record_trace("not sent")
    told = {
        path: (headers["Content-Encoding"], headers["to"]) for path, headers, _ in listener.received
    }
    assert told == {"/v1/traces": ("gzip", "all"), "/v1/metrics": (None, "metrics")}
    (traces,) = [body for path, _, body in listener.received if path == "/v1/traces"]
    assert ExportTraceServiceRequest.FromString(traces).resource_spans


@pytest.mark.parametrize("headers", ["api-key=4111-secret", "4111-secret"])
def test_a_refusal_is_said_without_the_secrets_of_address_and_headers(
    tmp_path: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    headers: str,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{listener.address}/4111-secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    listener.statuses = [401]
    with (
        caplog.at_level(logging.INFO),
        TelemetryClient(tmp_path / "b", settings=BY_HAND) as telemetry,
    ):
        work(telemetry)
    assert [path for path, _, _ in listener.received] == ["/4111-secret/v1/traces"]
    assert "telemetry cannot be exported: the collector does not take traces" in caplog.messages
    assert "4111-secret" not in caplog.text


def test_a_busy_collector_is_asked_again(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", listener.address + "/own")
    listener.statuses = [503]
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
    assert [path for path, _, _ in listener.received] == ["/own", "/own"]
    assert listener.received[0][2] == listener.received[1][2]


def test_a_collector_that_is_away_is_said_once_and_the_rows_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = Listener()
    away.close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{away.address}/secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")  # too short for a second try
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        for _ in range(2):
            work(telemetry)
            telemetry.flush()
    told = [record.getMessage() for record in caplog.records if record.name == "twinml.telemetry"]
    assert told == ["telemetry cannot be exported: the collector does not take traces"]
    assert "secret" not in caplog.text
    assert (tmp_path / "bank" / "telemetry.db").stat().st_size > 0


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{address}", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{address}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_nothing_is_sent_unless_asked(
    tmp_path: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(address=listener.address))
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
    assert listener.received == []
    assert len(caplog.records) == ("OTEL_EXPORTER_OTLP_PROTOCOL" in variables)


def test_settings_can_forbid_it(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.address)
    settings = TelemetrySettings(flush_seconds=3600, export=False)
    with TelemetryClient(tmp_path / "bank", settings=settings) as telemetry:
        work(telemetry)
    assert listener.received == []


def azure_is_installed() -> bool:
    return bool(
        entry_points(
            group="opentelemetry_traces_exporter", name="azure_monitor_opentelemetry_exporter"
        )
    )


@pytest.mark.skipif(
    not azure_is_installed(), reason="Azure's exporter comes with the extra 'azure'"
)
def test_application_insights_gets_its_own_tables_back(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.reply = b'{"itemsReceived":1,"itemsAccepted":1,"errors":[]}'
    for name in (
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
        "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
        "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
    ):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "InstrumentationKey=00000000-0000-0000-0000-000000000001;"
        f"IngestionEndpoint={listener.address}/;LiveEndpoint={listener.address}/",
    )
    with TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry:
        work(telemetry)
        telemetry.record_trace("blue (bank:3) scores compiled", operation_id=OPERATION)
    items = [
        item
        for path, _, body in listener.received
        if path.endswith("/track")
        for item in json.loads(body)
    ]
    by_type = {item["data"]["baseType"]: item for item in items}
    request = by_type["RequestData"]
    assert request["tags"]["ai.cloud.role"] == "bank"
    assert request["tags"]["ai.operation.id"] == OPERATION.replace("-", "")
    told = request["data"]["baseData"]
    assert (told["name"], told["responseCode"], told["success"]) == ("POST /score", "500", False)
    assert told["properties"]["deployment"] == "blue"
    dependency = by_type["RemoteDependencyData"]["data"]["baseData"]
    assert {item["data"]["baseData"]["name"] for item in items if "Dependency" in item["name"]} == {
        "score",
        "exception",
    }
    assert dependency["type"] == "InProc"
    assert {
        item["data"]["baseData"]["exceptions"][0]["typeName"]
        for item in items
        if item["data"]["baseType"] == "ExceptionData"
    } == {"ValueError", "KeyError"}
    remark = by_type["MessageData"]
    assert remark["tags"]["ai.operation.id"] == OPERATION.replace("-", "")
    assert remark["data"]["baseData"]["message"] == "blue (bank:3) scores compiled"
    assert remark["data"]["baseData"]["severityLevel"] == 1
    (metric,) = by_type["MetricData"]["data"]["baseData"]["metrics"]
    assert (metric["name"], metric["value"], metric["count"]) == ("queue_length", 4.0, 1)


def test_application_insights_without_its_exporter_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=4111-secret")
    monkeypatch.setattr("twinml_local.telemetry._export.AZURE_EXPORTER", "not-installed")
    with (
        caplog.at_level(logging.WARNING),
        TelemetryClient(tmp_path / "bank", settings=BY_HAND) as telemetry,
    ):
        work(telemetry)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "APPLICATIONINSIGHTS_CONNECTION_STRING is set, but its exporter is not installed: "
        "pip install 'twinml[azure]'"
    )
