"""What happens to records after the queue: sums and rows, the database, files and exporters."""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twinml import __version__
from twinml.errors import PlatformError
from twinml_local.telemetry._export import Exporter, from_environment
from twinml_local.telemetry._features import FeatureChecks
from twinml_local.telemetry._flush import (
    Batch,
    ExceptionRecord,
    Origin,
    RequestRecord,
    TraceRecord,
    spread,
)
from twinml_local.telemetry._settings import TelemetrySettings
from twinml_local.telemetry._store import Store
from twinml_local.telemetry.collector import Collector, Payload

__all__ = ["MEASURED", "OBSERVED", "REQUESTED", "Writer"]

logger = logging.getLogger("twinml.telemetry")

# What a bare tuple in the queue is; the other records have types of their own.
REQUESTED, MEASURED, OBSERVED = "requested", "measured", "observed"

MAINTENANCE_SECONDS = 60.0
CHUNK = 250  # records taken apart before requests may run again
BREATH = 0.001  # seconds; long enough for a waiting request to take over


class Writer:
    """Writes what a telemetry client queues, one thread at a time; logs an error once, raises none.

    Parameters
    ----------
    directory
        The endpoint's folder.
    origin
        Who records.
    settings
        Limits.
    retention_days
        Age from which rows and collected files go.
    """

    def __init__(
        self,
        directory: Path,
        *,
        origin: Origin,
        settings: TelemetrySettings,
        retention_days: float,
    ) -> None:
        self._origin = origin
        self._settings = settings
        self._retention_seconds = retention_days * 86_400
        self._names: set[str] = set()
        self._checks: dict[str, FeatureChecks] = {}
        self._pending: Batch | None = None
        self._failed = 0
        self._written = time.monotonic()
        self._maintained = float("-inf")
        self._warned: set[str] = set()
        self._store = Store(directory, retention_days=retention_days, max_bytes=settings.max_bytes)
        self._collector = Collector(
            directory,
            endpoint=origin.role,
            agent=f"twinml/{__version__}",
            file_bytes=settings.collect_file_bytes,
        )
        self._exporter: Exporter | None = (
            from_environment(origin, directory) if settings.export else None
        )

    def ready(self) -> bool:
        """Write the batch that waits, if any; tells whether none is left."""
        if self._pending is None:
            return True
        try:
            self._store.write(self._pending)
        except Exception as error:
            self._warn("telemetry cannot be written", error)
            return False
        if self._exporter is not None:
            self._exporter.send(self._pending)
        self._pending = None
        return True

    def write(self, records: Sequence[tuple[Any, ...]], *, dropped: int, at_leisure: bool) -> None:
        """Write records, or keep them to be written when :meth:`ready` is next asked.

        Parameters
        ----------
        records
            As the telemetry queued them.
        dropped
            How many it had to let go.
        at_leisure
            Make way for requests in between.
        """
        elapsed = max(time.monotonic() - self._written, self._settings.flush_seconds)
        self._written = time.monotonic()
        batch = Batch(self._origin, self._names)
        try:
            self._take_apart(batch, records, elapsed, at_leisure=at_leisure)
        except Exception as error:
            self._failed += len(records)
            self._warn("records could not be understood", error)
            batch = Batch(self._origin, self._names)
        for name, count in (("dropped", dropped), ("failed", self._failed)):
            if count:
                batch.add(f"twinml_telemetry_{name}_total", {}, count)
        self._failed = 0
        if not batch.is_empty():
            self._pending = batch
            self.ready()

    def collect(self, payloads: Sequence[Payload]) -> None:
        """Append payloads to their files."""
        try:
            self._collector.write(payloads)
        except Exception as error:
            self._failed += len(payloads)
            self._warn("payloads cannot be collected", error)

    def maintain(self) -> None:
        """Delete what is too old or too much, once a minute."""
        if time.monotonic() - self._maintained < MAINTENANCE_SECONDS:
            return
        self._maintained = time.monotonic()
        try:
            self._store.maintain()
            self._collector.remove_older(self._retention_seconds)
        except Exception as error:
            self._warn("old telemetry cannot be removed", error)

    def close(self) -> None:
        """Close the database and send what waits to be exported."""
        self._store.close()
        if self._exporter is not None:
            self._exporter.close()

    def _take_apart(
        self,
        batch: Batch,
        records: Sequence[tuple[Any, ...]],
        elapsed: float,
        *,
        at_leisure: bool,
    ) -> None:
        requests: list[RequestRecord] = []
        for number, record in enumerate(records):
            try:
                if record[0] is REQUESTED:
                    request = RequestRecord(*record[1:])
                    batch.count_request(request)
                    requests.append(request)
                elif record[0] is OBSERVED:
                    self._observe(batch, record)
                else:
                    self._add(batch, record)
            except Exception as error:
                self._failed += 1
                self._warn("a record could not be understood", error)
            self._breathe(number, at_leisure)
        most = self._settings.max_requests_per_second
        kept = spread(
            [request.status >= 400 for request in requests],
            len(requests) + 1 if most is None else max(int(most * elapsed), 1),
            offset=random.random(),  # noqa: S311 - a sample
        )
        for number, (place, weight) in enumerate(kept):
            batch.store_request(requests[place], weight)
            self._breathe(number, at_leisure)
        batch.settle(time.time())

    def _breathe(self, number: int, at_leisure: bool) -> None:
        # Python runs one thread at a time: a long batch would hold up requests for 5 ms each.
        if at_leisure and number % CHUNK == CHUNK - 1:
            time.sleep(BREATH)

    def _add(self, batch: Batch, record: tuple[Any, ...]) -> None:
        if isinstance(record, ExceptionRecord):
            batch.add_exception(record)
        elif isinstance(record, TraceRecord):
            batch.add_trace(record)
        else:
            _, moment, name, value, dimensions = record
            batch.add_metric(moment, name, value, dimensions)

    def _observe(self, batch: Batch, record: tuple[Any, ...]) -> None:
        _, contract, columns, n_rows, deployment = record
        if contract.digest not in self._checks:
            self._checks[contract.digest] = FeatureChecks(contract)
        counts = self._checks[contract.digest].count(columns)
        batch.count_features(deployment, n_rows, counts)

    def _warn(self, what: str, error: Exception) -> None:
        """Log a problem once; of most errors the type alone: a message may quote a record."""
        message = f"{what}: {type(error).__name__}"
        if isinstance(error, (sqlite3.Error, OSError, PlatformError)):
            message += f" ({error.args[-1] if error.args else ''})"
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)
