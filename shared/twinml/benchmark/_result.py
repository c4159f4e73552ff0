"""The measurements of a run of requests."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from twinml.benchmark._load import Failure
from twinml.errors import UsageError

__all__ = ["PERCENTILES", "BenchmarkResult", "Moment", "corrected_percentiles"]

PERCENTILES = (50, 75, 90, 95, 99, 99.9)
# Beyond this share of one core, Python's one interpreter lock is what is being measured.
SATURATED = 0.85
LATE = 5.0  # ms that requests may leave late before the figures are doubted


@dataclass(frozen=True)
class Moment:
    """A slice of a run: its start and length in s, replies, failures, latencies in ms."""

    at: float
    seconds: float
    good: int
    failed: int
    p50: float | None
    p99: float | None


def corrected_percentiles(latencies: Sequence[float], expected: float) -> dict[str, float]:
    """Return percentiles in ms as if a closed loop had kept sending while it waited.

    Each latency L also stands for the requests that were not sent because of it, of L - E, L - 2E
    and so on down to E, as in Gil Tene's correction of coordinated omission.

    Parameters
    ----------
    latencies
        Milliseconds, at least one.
    expected
        E, the milliseconds between two requests of a worker.

    Examples
    --------
    >>> corrected_percentiles([100.0], 10.0)["p50"], corrected_percentiles([1.0], 10.0)["p50"]
    (50.0, 1.0)
    """
    micros = np.rint(np.asarray(latencies) * 1000).astype(np.int64)
    step = max(1, round(expected * 1000))
    counts = np.maximum(micros // step, 1)

    def at_most(value: int) -> int:
        return int((counts - np.clip(-((value - micros) // step), 0, counts)).sum())

    values, total = range(int(micros.max()) + 1), int(counts.sum())
    return {
        f"p{p:g}": bisect_left(values, math.ceil(p / 100 * total), key=at_most) / 1000
        for p in PERCENTILES
    }


@dataclass(frozen=True)
class BenchmarkResult:
    """The measurements of a run.

    Attributes
    ----------
    scoring_uri, server
        Where the requests went, and the ``Server`` header of the replies.
    requests, concurrency, warmup, rows
        What was asked for (``requests`` is ``None`` for as many as fit into the time);
        ``rows`` is the number of rows a request, where known.
    rate
        Requests due a second in an open loop; ``None`` in a closed loop.
    completed
        Requests that were sent and either answered or failed.
    unfinished
        Requests due, or under way, that had no answer when the time was over.
    seconds
        From the first request after the warm-up to the last reply.
    latencies
        Milliseconds of each good reply to its last byte, in order of arrival: since it was
        sent, or in an open loop since it was due.
    service
        Milliseconds of the same replies since they were sent.
    arrivals, failed_at
        Seconds after the start at which good replies and failures came.
    client_ms
        CPU time of this client a request, mean, in milliseconds; part of the latency.
    client_busy
        CPU seconds of the client's process per second: near 1 the client is what is measured.
    late_ms
        99th percentile of how late the client sent requests although it stood ready; open loop.
    bytes_sent, bytes_received
        Of bodies, headers not counted.
    reply_bytes
        Length of the first good reply.
    reconnects
        Times that a connection was found dropped by the server and opened anew.
    non_2xx
        Replies with another status.
    failures
        By kind, most frequent first.
    stopped
        Why the run ended before all requests were sent, or ``None``.
    """

    scoring_uri: str
    server: str
    requests: int | None
    concurrency: int
    warmup: int
    rows: int | None
    completed: int
    seconds: float
    latencies: tuple[float, ...] = field(repr=False)
    client_ms: float
    bytes_sent: int
    bytes_received: int
    reply_bytes: int
    reconnects: int
    non_2xx: int
    failures: tuple[Failure, ...]
    stopped: str | None
    rate: float | None = None
    unfinished: int = 0
    service: tuple[float, ...] = field(default=(), repr=False)
    arrivals: tuple[float, ...] = field(default=(), repr=False)
    failed_at: tuple[float, ...] = field(default=(), repr=False)
    client_busy: float = 0.0
    late_ms: float | None = None

    @property
    def good(self) -> int:
        """Replies that passed every check."""
        return len(self.latencies)

    @property
    def failed(self) -> int:
        """Requests that failed, of any kind."""
        return sum(failure.count for failure in self.failures)

    @property
    def error_share(self) -> float:
        """Share of the requests that failed or had no answer in time; 1 without any request."""
        all_of_them = self.good + self.failed + self.unfinished
        return (self.failed + self.unfinished) / all_of_them if all_of_them else 1.0

    @property
    def requests_per_second(self) -> float:
        """Good replies a second; failures are no throughput."""
        return self.good / self.seconds if self.seconds else 0.0

    @property
    def mean(self) -> float:
        """Mean latency in ms, NaN without a good reply."""
        return statistics.fmean(self.latencies) if self.latencies else math.nan

    @property
    def loop(self) -> str:
        """Say how requests followed each other."""
        if self.rate is None:
            return f"closed loop, {self.concurrency} at a time"
        return f"open loop, {self.rate:g} requests/s due over {self.concurrency} connections"

    @cached_property
    def ordered(self) -> tuple[float, ...]:
        """The latencies, shortest first."""
        return tuple(sorted(self.latencies))

    def percentile(self, percent: float) -> float:
        """Return the latency in ms that ``percent`` of the good replies did not exceed.

        Nearest rank, so it is one that occurred; NaN without a good reply.
        """
        if not 0 < percent <= 100:
            raise UsageError(f"percentile is {percent}, expected a number above 0, at most 100")
        if not self.latencies:
            return math.nan
        return self.ordered[math.ceil(percent / 100 * self.good) - 1]

    @cached_property
    def corrected(self) -> dict[str, float] | None:
        """Percentiles in ms as if a closed loop had kept sending while it waited.

        A closed loop sends nothing while the server stalls, so its own percentiles leave out
        the requests that would have met the stall. This puts them back, at the median
        time between two requests of a worker. ``None`` in an open loop, which has no such gap,
        and without a good reply.
        """
        if self.rate is not None or not self.latencies:
            return None
        return corrected_percentiles(self.latencies, self.percentile(50))

    def timeline(self, slices: int = 60) -> list[Moment]:
        """Return the run in at most ``slices`` equal pieces of at least a tenth of a second."""
        last = max((*self.arrivals, *self.failed_at), default=0.0)
        if last <= 0:
            return []
        count = max(1, min(slices, math.floor(last / 0.1)))
        edges = np.linspace(0.0, last, count + 1)
        of_good = np.clip(np.searchsorted(edges, self.arrivals, side="left") - 1, 0, count - 1)
        of_failed = np.clip(np.searchsorted(edges, self.failed_at, side="left") - 1, 0, count - 1)
        latencies = np.asarray(self.latencies)
        moments = []
        for place in range(count):
            inside = latencies[of_good == place]
            p50, p99 = (
                np.percentile(inside, (50, 99), method="inverted_cdf").tolist()
                if len(inside)
                else (None, None)
            )
            moments.append(
                Moment(
                    float(edges[place]),
                    last / count,
                    len(inside),
                    int((of_failed == place).sum()),
                    p50,
                    p99,
                )
            )
        return moments

    @property
    def doubts(self) -> tuple[str, ...]:
        """Say why the figures may be those of the client rather than of the endpoint."""
        found = []
        if self.client_busy > SATURATED:
            found.append(
                f"The client used {self.client_busy:.0%} of a core: it was the bottleneck. The "
                "endpoint can do more than this; send more rows a request, or run several clients."
            )
        if self.late_ms is not None and self.late_ms > LATE:
            found.append(
                f"One request in a hundred left {self.late_ms:.1f} ms late or more although its "
                "connection was free: the client, or the machine, was too busy for this rate."
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able values; ``None`` for a figure that there is not."""
        shape = asdict(self)
        for raw in ("latencies", "service", "arrivals", "failed_at"):
            del shape[raw]
        latency = {f"p{p:g}": self.percentile(p) for p in PERCENTILES}
        latency |= {"max": self.percentile(100), "mean": self.mean}
        shape["latency_ms"] = {
            name: None if math.isnan(value) else value for name, value in latency.items()
        }
        shape["corrected_ms"] = self.corrected
        shape["failures"] = list(shape["failures"])
        return shape | {
            "good": self.good,
            "failed": self.failed,
            "error_share": self.error_share,
            "requests_per_second": self.requests_per_second,
            "doubts": list(self.doubts),
            "timeline": [asdict(moment) for moment in self.timeline()],
        }
