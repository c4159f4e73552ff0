"""Latency and throughput of one endpoint under a closed loop of requests, every reply checked.

::

    bodies ──▶ worker 1 ── one kept connection ──▶ endpoint     each worker sends its next
           ──▶ worker 2 ── one kept connection ──▶ endpoint     request when the last one
           ──▶ …                                                has been answered

``ab`` counts a 400 as a request per second. Here a reply counts only if its status is 2xx, it
decodes as JSON and, where the right reply is known, it is that one; all else is a failure,
counted by kind. Requests and time are both bounded.

The client runs in this process and costs 0.2 to 0.5 ms of CPU a request; ``client_ms`` says how
much it was. Where that is near the latency, the machine is being measured, not the endpoint.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twinml.closedloop import Check, Failure, Loop, Target
from twinml.endpoint import Endpoint
from twinml.errors import UsageError

__all__ = ["BenchmarkResult", "Failure", "run"]

AB_PERCENTAGES = (50, 66, 75, 80, 90, 95, 98, 99, 100)


@dataclass(frozen=True)
class BenchmarkResult:
    """What a run measured.

    Attributes
    ----------
    scoring_uri, server
        Where the requests went, and the ``Server`` header of the replies.
    requests, concurrency, warmup, rows
        What was asked for; ``rows`` is the number of rows a request, where known.
    completed
        Requests that were sent and either answered or failed.
    seconds
        From the first request after the warm-up to the last reply.
    latencies
        Milliseconds of each good reply, from sending to the last byte, in order of arrival.
    client_ms
        CPU time of this client a request, mean, in milliseconds; part of the latency.
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
    requests: int
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

    @property
    def good(self) -> int:
        """Replies that passed every check."""
        return len(self.latencies)

    @property
    def failed(self) -> int:
        """Requests that failed, of any kind."""
        return sum(failure.count for failure in self.failures)

    @property
    def requests_per_second(self) -> float:
        """Good replies a second; failures are no throughput."""
        return self.good / self.seconds if self.seconds else 0.0

    @property
    def mean(self) -> float:
        """Mean latency in ms, NaN without a good reply."""
        return statistics.fmean(self.latencies) if self.latencies else math.nan

    def percentile(self, percent: float) -> float:
        """Return the latency in ms that ``percent`` of the good replies did not exceed.

        Nearest rank, so it is one that occurred; NaN without a good reply.
        """
        if not 0 < percent <= 100:
            raise UsageError(f"percentile is {percent}, expected a number above 0, at most 100")
        if not self.latencies:
            return math.nan
        return sorted(self.latencies)[math.ceil(percent / 100 * self.good) - 1]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-able values; ``None`` for a figure that there is not."""
        shape = asdict(self)
        del shape["latencies"]
        latency = {f"p{p}": self.percentile(p) for p in (50, 90, 95, 99)}
        latency |= {"max": self.percentile(100), "mean": self.mean}
        shape["latency_ms"] = {
            name: None if math.isnan(value) else value for name, value in latency.items()
        }
        shape["failures"] = list(shape["failures"])
        return shape | {
            "good": self.good,
            "failed": self.failed,
            "requests_per_second": self.requests_per_second,
        }

    def ab_text(self) -> str:
        """Return the figures in the layout of ``ab``, for those who know it."""
        url = urlsplit(self.scoring_uri)
        port = url.port or (443 if url.scheme == "https" else 80)
        seconds = self.seconds or math.nan
        received, sent = (n / 1024 / seconds for n in (self.bytes_received, self.bytes_sent))
        lines = [
            f"Server Software:        {self.server}",
            f"Server Hostname:        {url.hostname}",
            f"Server Port:            {port}",
            "",
            f"Document Path:          {url.path or '/'}",
            f"Document Length:        {self.reply_bytes} bytes",
            "",
            f"Concurrency Level:      {self.concurrency}",
            f"Time taken for tests:   {self.seconds:.3f} seconds",
            f"Complete requests:      {self.completed}",
            f"Failed requests:        {self.failed}",
        ]
        if self.failures:
            kinds = ", ".join(f"{failure.kind}: {failure.count}" for failure in self.failures)
            lines.append(f"   ({kinds})")
        if self.non_2xx:
            lines.append(f"Non-2xx responses:      {self.non_2xx}")
        lines += [
            f"Total body sent:        {self.bytes_sent}",
            f"HTML transferred:       {self.bytes_received} bytes",
            f"Requests per second:    {self.requests_per_second:.2f} [#/sec] (mean, good replies)",
            f"Time per request:       {self.mean:.3f} [ms] (mean)",
            f"Time per request:       {seconds * 1000 / max(self.good, 1):.3f} [ms] "
            "(mean, across all concurrent requests)",
            f"Transfer rate:          {received:.2f} [Kbytes/sec] received",
            f"                        {sent:.2f} kb/s sent",
            f"                        {received + sent:.2f} kb/s total",
            f"Client CPU per request: {self.client_ms:.3f} [ms] (mean, part of the above)",
        ]
        if self.latencies:
            lines += ["", "Percentage of the requests served within a certain time (ms)"]
            lines += [f" {p:3d}% {self.percentile(p):10.3f}" for p in AB_PERCENTAGES]
            lines[-1] += " (longest request)"
        lines += [
            f"{'' if number else chr(10)}First failure, {failure.kind}: {failure.message}"
            for number, failure in enumerate(self.failures)
        ]
        if self.stopped:
            lines += ["", f"Stopped early: {self.stopped}"]
        return "\n".join(lines)

    def picture(self, path: Path) -> Path:
        """Write a PNG: how often each latency occurred, and latency by percentile.

        Raises
        ------
        UsageError
            There was no good reply to draw.
        """
        if not self.latencies:
            raise UsageError(
                "there is no good reply to draw", hint="Look at the failures and try again."
            )
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        ordered = sorted(self.latencies)
        # A few stragglers would press all the rest into one bar: they are drawn at the edge.
        edge = max(self.percentile(99) * 1.25, ordered[0] * 1.05)
        beyond = sum(value > edge for value in ordered)
        left.hist(
            [value for value in ordered if value <= edge],
            bins=min(50, max(10, self.good // 10)),
            color="#0067a5",
        )
        marks = [(50, "#1f2328", "-"), (95, "#b85000", "--"), (99, "#96407f", ":")]
        for percent, colour, dash in marks:
            value = self.percentile(percent)
            label = f"p{percent} {value:.3g} ms"
            left.axvline(value, color=colour, linestyle=dash, linewidth=1.5, label=label)
        left.legend(frameon=False, fontsize=8)
        note = f" ({beyond} beyond {edge:.3g} ms not shown)" if beyond else ""
        left.set(xlabel=f"latency in ms{note}", ylabel="requests", title="How often")
        left.set_xlim(left=0)
        # Distance from 100 % on a log scale gives the tail as much room as the bulk.
        right.plot(
            [self.good / (self.good - rank) for rank in range(self.good)],
            ordered,
            color="#0067a5",
            drawstyle="steps-post",
        )
        right.set_xscale("log")
        ticks = {1: "0", 2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99"}
        shown = {at: name for at, name in ticks.items() if at <= max(self.good, 2)}
        right.set_xticks(list(shown), list(shown.values()))
        right.minorticks_off()
        right.set(xlabel="per cent of requests", ylabel="latency in ms", title="At most")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e9ecef")
            axes.set_axisbelow(True)
        figure.suptitle(
            f"{self.good:,} good replies, {self.failed:,} failures, concurrency "
            f"{self.concurrency}: {self.requests_per_second:,.0f} requests/s",
            fontsize=11,
        )
        figure.savefig(path)
        return path


def run(
    endpoint: Endpoint,
    bodies: Sequence[bytes],
    expected: Sequence[Any] | None = None,
    *,
    requests: int = 200,
    concurrency: int = 4,
    warmup: int = 20,
    timeout: float | None = None,
    max_seconds: float = 60.0,
    rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BenchmarkResult:
    """Send requests from ``concurrency`` workers, each over one kept connection.

    Parameters
    ----------
    endpoint
        Where to send; its key and deployment header go with every request.
    bodies
        JSON request bodies, sent in turn.
    expected
        The right reply to each body, decoded; the bare predictions do as well. ``None``: any
        reply that is JSON counts as good.
    requests, concurrency
        Requests in all, and how many are under way at a time.
    warmup
        Requests sent first and not counted.
    timeout
        Seconds that one request may take; the endpoint's own by default.
    max_seconds
        Seconds that the counted part may take; requests under way then are left out.
    rows
        Rows a request, to be noted in the result.
    progress
        Called with requests done and requests in all, from the calling thread.

    Raises
    ------
    UsageError
        An option is out of range, or ``expected`` does not match ``bodies``.
    EndpointError
        The endpoint cannot be reached at all.
    """
    limit = endpoint.timeout if timeout is None else timeout
    for name, value, least in (
        ("requests", requests, 1),
        ("concurrency", concurrency, 1),
        ("warmup", warmup, 0),
        ("the number of bodies", len(bodies), 1),
    ):
        if value < least:
            raise UsageError(f"{name} is {value}, expected at least {least}")
    if limit <= 0 or max_seconds <= 0:
        raise UsageError(f"timeout is {limit}, max_seconds {max_seconds}, expected above 0")
    if expected is not None and len(expected) != len(bodies):
        raise UsageError(f"there are {len(bodies)} bodies and {len(expected)} expected replies")
    # One request through the endpoint's own client: it tells an endpoint that is not there from
    # one that fails, and shows the headers that its requests carry.
    sent = endpoint.post(bodies[0]).request
    loop = Loop(
        target=Target(endpoint.scoring_uri, sent.headers, timeout=limit),
        check=Check(expected),
        bodies=bodies,
        requests=requests,
        concurrency=min(concurrency, requests),
        warmup=warmup,
        max_seconds=max_seconds,
    )
    tally = loop.run(progress)
    return BenchmarkResult(
        scoring_uri=endpoint.scoring_uri,
        server=tally.server,
        requests=requests,
        concurrency=loop.concurrency,
        warmup=warmup,
        rows=rows,
        completed=tally.completed,
        seconds=tally.ended - loop.began if tally.completed else 0.0,
        latencies=tuple(latency for _, latency in sorted(tally.replies)),
        client_ms=tally.cpu / tally.completed * 1000 if tally.completed else 0.0,
        bytes_sent=tally.bytes_sent,
        bytes_received=tally.bytes_received,
        reply_bytes=tally.reply_bytes,
        reconnects=tally.reconnects,
        non_2xx=tally.non_2xx,
        failures=tuple(sorted(tally.failures.values(), key=lambda failure: -failure.count)),
        stopped=None if tally.completed == requests else f"{max_seconds:g} s were over",
    )
