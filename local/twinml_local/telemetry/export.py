"""Sending telemetry on, when the environment says where to.

========================================  ==================================================
variable                                  sends to
========================================  ==================================================
``OTEL_EXPORTER_OTLP_ENDPOINT``           an OpenTelemetry collector over HTTP
``APPLICATIONINSIGHTS_CONNECTION_STRING`` Application Insights, with Azure's own exporter,
                                          which ``pip install 'twinml[azure]'`` brings
``OTEL_SDK_DISABLED=true``                nowhere
========================================  ==================================================

A thread of its own sends, so that a slow or absent collector never delays writing; batches
that it cannot keep up with are let go and counted in one log line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twinml_local.telemetry.flush import Batch, Origin

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from twinml_local.telemetry.signals import Remark

__all__ = ["Exporter", "from_environment"]

logger = logging.getLogger("twinml.telemetry")

AZURE_VARIABLE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
AZURE_EXPORTER = "azure_monitor_opentelemetry_exporter"
UNSENT = "unsent"
WAITING_BATCHES = 20
CLOSE_SECONDS = 5.0


class Sink(Protocol):
    """Where spans, metrics and remarks can be sent; raises when they are not taken."""

    def send_spans(self, spans: Sequence[ReadableSpan]) -> None:
        """Send spans."""
        ...

    def send_metrics(self, metrics: MetricsData) -> None:
        """Send metrics."""
        ...

    def send_remarks(self, remarks: Sequence[Remark], resource: Resource) -> None:
        """Send remarks as log records."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Exporter:
    """Sends batches to sinks from a thread of its own."""

    def __init__(self, sinks: Sequence[Sink], origin: Origin) -> None:
        from twinml_local.telemetry.signals import resource_of

        self._sinks = tuple(sinks)
        self._resource = resource_of(origin)
        self._queue: queue.Queue[Batch | None] = queue.Queue(maxsize=WAITING_BATCHES)
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="telemetry-export", daemon=True)
        self._thread.start()

    def send(self, batch: Batch) -> None:
        """Send a batch soon; it must not change any more."""
        try:
            self._queue.put_nowait(batch)
        except queue.Full:
            self._warn("telemetry is not exported as fast as it comes in; some is left out")

    def close(self) -> None:
        """Send what waits, for at most five seconds, and end the thread."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_SECONDS)
        self._thread.join(timeout=CLOSE_SECONDS)
        for sink in self._sinks:
            sink.close()

    def _run(self) -> None:
        from twinml_local.telemetry.signals import metrics_of, remarks_of, spans_of

        for batch in iter(self._queue.get, None):
            for sink in self._sinks:
                try:
                    sink.send_spans(spans_of(batch, self._resource))
                    metrics = metrics_of(batch, self._resource)
                    if metrics is not None:
                        sink.send_metrics(metrics)
                    sink.send_remarks(remarks_of(batch), self._resource)
                except Exception as error:
                    # The error may quote an address with a secret in it.
                    self._warn(f"telemetry cannot be exported: {type(error).__name__}")

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)


class _AzureMonitor:
    """Azure's exporters of spans and of metrics, found by their entry points."""

    def __init__(self, connection_string: str, directory: Path) -> None:
        # What could not be sent waits there, and not in the machine's folder for such files.
        options = {
            "connection_string": connection_string,
            "storage_directory": str(directory / UNSENT),
        }
        self._spans = _azure("traces")(**options)
        self._metrics = _azure("metrics")(**options)

    def send_spans(self, spans: Sequence[ReadableSpan]) -> None:
        if spans:
            self._check(self._spans.export(spans))

    def send_metrics(self, metrics: MetricsData) -> None:
        self._check(self._metrics.export(metrics))

    def send_remarks(self, remarks: Sequence[Remark], resource: Resource) -> None:
        """Do nothing: Azure's exporter of log records takes those of an SDK still in the making."""

    def close(self) -> None:
        self._spans.shutdown()
        self._metrics.shutdown()

    def _check(self, result: Any) -> None:
        if result.name != "SUCCESS":
            raise ConnectionError("Application Insights did not take the telemetry")


def from_environment(origin: Origin, directory: Path) -> Exporter | None:
    """Return an exporter to where the environment says, or ``None``.

    What is asked for and cannot be done is said in one line of the log.

    Parameters
    ----------
    origin
        Who records.
    directory
        The endpoint's folder; what could not be sent to Azure waits in ``unsent`` there.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    sinks: list[Sink] = []
    connection_string = os.environ.get(AZURE_VARIABLE)
    if connection_string:
        try:
            sinks.append(_AzureMonitor(connection_string, directory))
        except LookupError:
            logger.warning(
                "%s is set, but its exporter is not installed: pip install 'twinml[azure]'",
                AZURE_VARIABLE,
            )
        except Exception as error:
            logger.warning("%s cannot be used: %s", AZURE_VARIABLE, type(error).__name__)
    if _asks_for_otlp():
        from twinml_local.telemetry.otlp import OtlpHttp, endpoint_of

        sinks.append(OtlpHttp(endpoint_of("traces"), endpoint_of("metrics"), endpoint_of("logs")))
    return Exporter(sinks, origin) if sinks else None


def _asks_for_otlp() -> bool:
    names = ("ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT", "LOGS_ENDPOINT")
    if not any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in names):
        return False
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        logger.warning(
            "OTEL_EXPORTER_OTLP_PROTOCOL is %s; only http/protobuf is spoken here", protocol
        )
        return False
    return True


def _azure(signal: str) -> Any:
    found = entry_points(group=f"opentelemetry_{signal}_exporter", name=AZURE_EXPORTER)
    for point in found:
        return point.load()
    raise LookupError(AZURE_EXPORTER)
