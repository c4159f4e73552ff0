"""Mirrored traffic: copies of requests, scored by another deployment, their answers dropped.

A copy waits in a short queue and is scored by one thread once the request itself has been
answered. Nothing that happens to it can reach the reply: what fails goes to the mirrored
deployment's log, and when copies come faster than they are scored, they are left out and
counted. Copies that still wait when the server ends are left out too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Literal

from twinml.contract import ScoringRequest, parse, render
from twinml.errors import TwinmlError
from twinml_local.server._request_log import RequestLog
from twinml_local.server.deployments.deployment import Deployment
from twinml_local.telemetry import TelemetryClient

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Copy", "Mirror", "record_scored"]

LONGEST_QUEUE = 100
MOST_BYTES = 64 * 1024 * 1024
REPORT_SECONDS = 60.0  # between two lines about copies left out


@dataclass(frozen=True)
class Copy:
    """A request once more, for ``deployment``."""

    deployment: Deployment
    body: bytes
    content_type: str | None
    route: Literal["score", "invocations"]
    request_id: str
    max_rows: int | None


class Mirror:
    """Scores copies of requests from a thread of its own.

    Parameters
    ----------
    log
        Where scored copies and failures are noted; ``None`` notes nothing.
    telemetry
        Takes their telemetry; ``None`` records nothing.

    Attributes
    ----------
    left_out
        Copies that were not scored because too many waited.
    """

    def __init__(self, log: RequestLog | None, telemetry: TelemetryClient | None = None) -> None:
        self._log = log
        self._telemetry = telemetry
        self._queue: Queue[Copy] = Queue(LONGEST_QUEUE)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._reported = float("-inf")
        self._thread: threading.Thread | None = None
        self.left_out = 0

    def submit(self, copy: Copy) -> None:
        """Queue a copy, or leave it out; returns at once and never raises."""
        with self._lock:
            fits = self._waiting_bytes + len(copy.body) <= MOST_BYTES
            try:
                if not fits:
                    raise Full
                self._queue.put_nowait(copy)
            except Full:
                self._leave_out(copy)
                return
            self._waiting_bytes += len(copy.body)
            if self._thread is None:  # most endpoints never mirror
                self._thread = threading.Thread(target=self._score, name="mirror", daemon=True)
                self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until no copy waits or is being scored; tell whether it came to that."""
        deadline = time.monotonic() + seconds
        while self._queue.unfinished_tasks:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def _leave_out(self, copy: Copy) -> None:
        self.left_out += 1
        now = time.monotonic()
        if self._log is not None and now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._log.note(
                f"mirror traffic to {copy.deployment.name} is too much: "
                f"{self.left_out} requests left out so far"
            )

    def _score(self) -> None:
        while True:
            copy = self._queue.get()
            try:
                self._score_one(copy)
            finally:
                with self._lock:
                    self._waiting_bytes -= len(copy.body)
                self._queue.task_done()

    def _score_one(self, copy: Copy) -> None:
        deployment, started = copy.deployment, time.perf_counter()
        status, size, n_rows = 200, 0, None
        try:
            scoring = parse(
                deployment.contract,
                copy.body,
                content_type=copy.content_type,
                route=copy.route,
                max_rows=copy.max_rows,
            )
            labels, probabilities = deployment.predict(scoring)
            size = len(render(deployment.contract, scoring, labels, probabilities))
            n_rows = scoring.n_rows
            if self._telemetry is not None:
                record_scored(
                    self._telemetry, deployment, scoring, labels, probabilities, copy.request_id
                )
        except Exception as error:
            status = error.status if isinstance(error, TwinmlError) else 500
            if status >= 500 and self._log is not None:
                self._log.failure(deployment.name, copy.request_id, error)
            if self._telemetry is not None:
                self._telemetry.record_exception(
                    error,
                    operation_id=copy.request_id,
                    deployment=deployment.name,
                    contract=deployment.contract,
                    handled=isinstance(error, TwinmlError),
                )
        milliseconds = (time.perf_counter() - started) * 1e3
        if self._log is not None:
            self._log.request(deployment.name, "POST", f"/{copy.route}", status, milliseconds, size)
        if self._telemetry is not None:
            self._telemetry.record_request(
                f"POST /{copy.route}",
                f"/{copy.route}",
                status,
                milliseconds,
                operation_id=copy.request_id,
                deployment=deployment.name,
                model=deployment.model,
                rows=n_rows,
            )


def record_scored(
    telemetry: TelemetryClient,
    deployment: Deployment,
    request: ScoringRequest,
    labels: Sequence[Any],
    probabilities: NDArray[Any] | None,
    request_id: str,
) -> None:
    """Record what a scored request was like, and what it was if payloads are collected."""
    telemetry.observe_rows(deployment.contract, request.columns, deployment=deployment.name)
    if telemetry.collects:
        telemetry.collect(
            deployment.contract,
            request.columns,
            labels,
            probabilities,
            operation_id=request_id,
            deployment=deployment.name,
            model=deployment.model,
        )
