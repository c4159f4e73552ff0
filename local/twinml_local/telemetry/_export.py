"""Sending telemetry on, when the environment says where to.

========================================  ==================================================
variable                                  sends to
========================================  ==================================================
``OTEL_EXPORTER_OTLP_ENDPOINT``           an OpenTelemetry collector over HTTP;
                                          ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, ``METRICS``
                                          and ``LOGS`` send one signal, or send it elsewhere
``APPLICATIONINSIGHTS_CONNECTION_STRING`` Application Insights, with Azure's own exporters,
                                          which ``pip install 'twinml[azure]'`` brings
``OTEL_SDK_DISABLED=true``                nowhere
========================================  ==================================================

OpenTelemetry's own exporters read its other variables: headers, timeout in seconds,
compression, certificates, and each of these for one signal.

A thread of its own sends, so that a slow or absent collector never delays writing; batches
that it cannot keep up with are let go and counted in one log line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from twinml_local.telemetry._flush import Batch, Origin

__all__ = ["Exporter", "from_environment"]

logger = logging.getLogger("twinml.telemetry")

AZURE_VARIABLE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
AZURE_EXPORTER = "azure_monitor_opentelemetry_exporter"
OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTLP_PROTOCOL = "http/protobuf"
OTLP_EXPORTER = "otlp_proto_http"
SIGNALS = ("traces", "metrics", "logs")
# They quote the collector's address and headers, which may hold a secret.
QUOTING_LOGGERS = ("opentelemetry.exporter", "opentelemetry.util.re")
UNSENT = "unsent"
WAITING_BATCHES = 20
CLOSE_SECONDS = 5.0


class NotTaken(Exception):
    """A receiver is away, or refuses what it was sent."""


class Sink(NamedTuple):
    """A receiver, and OpenTelemetry's exporter to it for each signal that it gets."""

    receiver: str
    exporters: Mapping[str, Any]

    def send(self, signals: Mapping[str, Any]) -> None:
        """Send what there is of each signal.

        Raises
        ------
        NotTaken
            A signal was not taken; those after it are not sent.
        """
        for signal, exporter in self.exporters.items():
            if signals[signal] and exporter.export(signals[signal]).name != "SUCCESS":
                raise NotTaken(f"{self.receiver} does not take {signal}")

    def close(self) -> None:
        """Free what the exporters hold."""
        for exporter in self.exporters.values():
            exporter.shutdown()


class Exporter:
    """Sends batches to sinks from a thread of its own."""

    def __init__(self, sinks: Sequence[Sink], origin: Origin) -> None:
        from twinml_local.telemetry._signals import resource_of

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
        from twinml_local.telemetry._signals import log_records_of, metrics_of, spans_of

        for batch in iter(self._queue.get, None):
            signals = {
                "traces": spans_of(batch, self._resource),
                "metrics": metrics_of(batch, self._resource),
                "logs": log_records_of(batch, self._resource),
            }
            for sink in self._sinks:
                try:
                    sink.send(signals)
                except NotTaken as error:
                    self._warn(f"telemetry cannot be exported: {error}")
                except Exception as error:
                    # The error may quote an address with a secret in it.
                    self._warn(f"telemetry cannot be exported: {type(error).__name__}")

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)


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
    if connection_string := os.environ.get(AZURE_VARIABLE):
        sinks += _sinks(
            "Application Insights",
            AZURE_VARIABLE,
            AZURE_EXPORTER,
            SIGNALS,
            connection_string=connection_string,
            # What could not be sent waits there, not in the machine's own folder.
            storage_directory=str(directory / UNSENT),
        )
    if signals := _otlp_signals():
        sinks += _sinks("the collector", OTLP_VARIABLE, OTLP_EXPORTER, signals)
    return Exporter(sinks, origin) if sinks else None


def _sinks(
    receiver: str, variable: str, name: str, signals: Sequence[str], **options: str
) -> list[Sink]:
    """Return the sink of the exporters called ``name``, or none and say why."""
    for quoting in QUOTING_LOGGERS:
        logging.getLogger(quoting).setLevel(logging.CRITICAL + 1)
    try:
        return [Sink(receiver, {one: _exporter(one, name)(**options) for one in signals})]
    except LookupError:
        logger.warning(
            "%s is set, but its exporter is not installed: pip install 'twinml[azure]'", variable
        )
    except Exception as error:
        logger.warning("%s cannot be used: %s", variable, type(error).__name__)
    return []


def _otlp_signals() -> list[str]:
    """Return the signals that a collector is named for, if its protocol is spoken here."""
    asked = {
        signal: _otlp_setting(signal, "PROTOCOL") or OTLP_PROTOCOL
        for signal in SIGNALS
        if _otlp_setting(signal, "ENDPOINT")
    }
    unknown = sorted(set(asked.values()) - {OTLP_PROTOCOL})
    if unknown:
        logger.warning(
            "OTEL_EXPORTER_OTLP_PROTOCOL is %s; only %s is spoken here",
            ", ".join(unknown),
            OTLP_PROTOCOL,
        )
    return [signal for signal, protocol in asked.items() if protocol == OTLP_PROTOCOL]


def _otlp_setting(signal: str, name: str) -> str | None:
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")


def _exporter(signal: str, name: str) -> Any:
    for point in entry_points(group=f"opentelemetry_{signal}_exporter", name=name):
        return point.load()
    raise LookupError(name)
