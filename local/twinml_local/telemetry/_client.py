"""The telemetry client of the server: recording appends to a queue, a thread writes.

A call costs about a microsecond and never waits: when the queue is full the record is
counted as dropped. Every ``flush_seconds`` the thread empties the queue, writes
one transaction, appends collected payloads and hands what it wrote to the exporters. Any
number of worker processes may each have a telemetry of the same directory; a telemetry must be
made in the process that uses it, after any fork.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from twinml import __version__
from twinml.contract import Contract
from twinml_local.telemetry._exceptions import describe
from twinml_local.telemetry._features import sample
from twinml_local.telemetry._flush import ExceptionRecord, Origin, TraceRecord
from twinml_local.telemetry._settings import TelemetrySettings
from twinml_local.telemetry._writer import MEASURED, OBSERVED, REQUESTED, Writer
from twinml_local.telemetry.collector import Payload

__all__ = ["TelemetryClient"]

JOIN_SECONDS = 10.0


class TelemetryClient:
    """Records what an endpoint does; use it as a context manager, or close it.

    Parameters
    ----------
    directory
        The endpoint's folder: ``telemetry.db`` and ``modelDataCollector`` go there.
    retention_days
        Age from which rows and collected files go.
    settings
        Limits; ``None`` takes the defaults.
    endpoint
        Its name, by default the folder's.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "bank"
    >>> with TelemetryClient(folder) as telemetry:
    ...     telemetry.record_request(
    ...         "POST /score", "/score", 200, 3.1, operation_id="a1", deployment="blue", rows=2
    ...     )
    >>> (folder / "telemetry.db").exists()
    True
    """

    def __init__(
        self,
        directory: Path,
        *,
        retention_days: float = 30,
        settings: TelemetrySettings | None = None,
        endpoint: str | None = None,
    ) -> None:
        self._settings = settings or TelemetrySettings()
        self._collect_rate = self._settings.collect_rate
        name = endpoint or directory.name
        origin = Origin(name, f"{socket.gethostname()}:{os.getpid()}", f"twinml:{__version__}")
        self._queue: deque[tuple[Any, ...]] = deque()
        self._limit = self._settings.queue_limit
        self._payloads: deque[Payload] = deque()
        self._payload_rows = 0
        self._observable = self._settings.observed_rows_per_flush
        self._dropped = 0
        self._counting = threading.Lock()
        self._writer = Writer(
            directory, origin=origin, settings=self._settings, retention_days=retention_days
        )
        self._draining = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def __enter__(self) -> TelemetryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Recording

    def record_request(
        self,
        name: str,
        url: str,
        status: int,
        milliseconds: float,
        *,
        operation_id: str,
        deployment: str | None = None,
        model: str | None = None,
        rows: int | None = None,
        scoring_ms: float | None = None,
        client_request_id: str | None = None,
    ) -> None:
        """Record an answered request, to be called once it has been answered.

        Parameters
        ----------
        name
            Method and route, such as ``POST /score``; the route's pattern, not the path, where
            a path could be anything. More than 200 different ones become ``other``.
        url
            The path; a query string is cut off.
        status
            Of the answer; below 400 is a success.
        milliseconds
            From the first byte read to the answer.
        operation_id
            The request's id, which its exceptions carry too.
        deployment, model
            Who answered, and with which ``name:version``.
        rows
            How many were scored.
        scoring_ms
            The model's share of ``milliseconds``; it becomes a dependency of the request.
        client_request_id
            What the caller named it.
        """
        queue = self._queue
        if len(queue) >= self._limit:
            self._drop()
            return
        # A bare tuple in the order of RequestRecord: making one of those takes twice as long.
        queue.append(
            (
                REQUESTED,
                time.time(),
                name,
                url,
                status,
                milliseconds,
                operation_id,
                deployment,
                model,
                rows,
                scoring_ms,
                client_request_id,
            )
        )

    def record_exception(
        self,
        error: BaseException,
        *,
        operation_id: str,
        deployment: str | None = None,
        contract: Contract | None = None,
        handled: bool = True,
    ) -> None:
        """Record where an error came from, with its type but never with what it quotes.

        Messages may hold values of the payload: of an error of ours the code, row and, when
        ``contract`` knows it, column are kept, of any other error the type alone.
        """
        if len(self._queue) >= self._limit:
            self._drop()
            return
        types, message, stacks = describe(error, contract)
        self._put(
            ExceptionRecord(time.time(), types, message, stacks, handled, operation_id, deployment)
        )

    def record_trace(
        self, message: str, *, severity: int = 1, operation_id: str | None = None
    ) -> None:
        """Record a remark of the server, which must not hold a payload or a secret.

        ``severity`` is Application Insights': 0 verbose, 1 information, 2 warning, 3 error,
        4 critical.
        """
        self._put(TraceRecord(time.time(), message, severity, operation_id))

    def record_metric(
        self, name: str, value: float, *, dimensions: Mapping[str, str] | None = None
    ) -> None:
        """Record a value of a metric; a minute's values become one row."""
        self._put((MEASURED, time.time(), name, float(value), dict(dimensions or {})))

    def observe_rows(
        self,
        contract: Contract,
        columns: Mapping[str, Sequence[Any]],
        *,
        deployment: str | None = None,
    ) -> None:
        """Count the values that are out of the training range, of unseen category, or null.

        Parameters
        ----------
        contract
            Of the model that scored the rows.
        columns
            ``ScoringRequest.columns``; looked at later, so that it must not change.
        deployment
            Which one scored them.
        """
        # More than are looked at are not kept either. A bound needs no lock.
        if self._observable <= 0:
            return
        if len(self._queue) >= self._limit:
            self._drop()
            return
        chosen, n_rows = sample(columns, self._settings.observed_rows_per_request)
        self._observable -= n_rows
        self._put((OBSERVED, contract, chosen, n_rows, deployment))

    @property
    def collects(self) -> bool:
        """Whether inputs and outputs are written to files."""
        return self._collect_rate > 0

    def set_collect_rate(self, rate: float) -> None:
        """Keep another share of the requests, 0 to 1, from now on; ``UsageError`` beyond."""
        self._collect_rate = replace(self._settings, collect_rate=rate).collect_rate

    def collect(
        self,
        contract: Contract,
        columns: Mapping[str, Sequence[Any]],
        labels: Sequence[Any],
        probabilities: Any,
        *,
        operation_id: str,
        deployment: str,
        model: str = "",
    ) -> None:
        """Write a share of the scored requests to files; nothing unless collection is on.

        Parameters
        ----------
        contract
            Of the model.
        columns
            ``ScoringRequest.columns``, as scored.
        labels
            Predicted labels, length n_rows; not used when there are probabilities.
        probabilities
            Shape (n_rows, n_classes) in contract order, or ``None``.
        operation_id
            Becomes the correlation id that joins inputs and outputs.
        deployment, model
            Who answered, and with which ``name:version``.
        """
        rate = self._collect_rate
        if rate == 0 or random.random() >= rate:  # noqa: S311 - a sample
            return
        n_rows = len(next(iter(columns.values()), ()))
        # The thread may set it to 0 in between: a bound on memory needs no more than this.
        if self._payload_rows + n_rows > self._settings.collect_queue_rows:
            self._drop()
            return
        self._payload_rows += n_rows
        self._payloads.append(
            Payload(
                time.time(),
                deployment,
                model.rpartition(":")[2],
                operation_id,
                columns,
                contract.target,
                contract.classes,
                labels,
                probabilities,
            )
        )

    def _drop(self) -> None:
        with self._counting:
            self._dropped += 1

    def _put(self, record: tuple[Any, ...]) -> None:
        if len(self._queue) >= self._limit:
            self._drop()
            return
        self._queue.append(record)

    # Writing

    def flush(self) -> None:
        """Write what has been recorded so far; returns once it is in the database."""
        with self._draining:
            self._drain(at_leisure=False)

    def close(self) -> None:
        """Write what is left and end the thread; what is recorded after it is lost."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(timeout=JOIN_SECONDS)
        self.flush()
        self._writer.close()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.flush_seconds):
            with self._draining:
                self._drain(at_leisure=True)
                self._writer.maintain()

    def _drain(self, *, at_leisure: bool) -> None:
        if self._payloads:
            payloads = [self._payloads.popleft() for _ in range(len(self._payloads))]
            self._payload_rows = 0
            self._writer.collect(payloads)
        # While the database cannot be written the queue holds what comes, up to its limit.
        if self._writer.ready():
            records = [self._queue.popleft() for _ in range(len(self._queue))]
            self._observable = self._settings.observed_rows_per_flush
            with self._counting:
                dropped, self._dropped = self._dropped, 0
            self._writer.write(records, dropped=dropped, at_leisure=at_leisure)
