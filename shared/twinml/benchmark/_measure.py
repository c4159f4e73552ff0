"""One run of requests against one endpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from twinml.benchmark._load import Check, Destination, Loop
from twinml.benchmark._result import BenchmarkResult
from twinml.endpoint import Endpoint
from twinml.errors import UsageError

__all__ = ["run"]


def run(
    endpoint: Endpoint,
    bodies: Sequence[bytes],
    expected: Sequence[Any] | None = None,
    *,
    requests: int | None = 200,
    concurrency: int = 4,
    rate: float | None = None,
    warmup: int = 20,
    timeout: float | None = None,
    seconds: float | None = None,
    max_seconds: float = 60.0,
    rows: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
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
        Requests in all (``None`` with ``seconds``: as many as fit), and how many may be under
        way at a time.
    rate
        Requests a second, sent when they are due whatever became of those before (an open
        loop); ``None`` sends the next when the last was answered (a closed loop).
    warmup
        Requests sent first and not counted.
    timeout
        Seconds that one request may take; the endpoint's own by default.
    seconds
        Send for so long; requests under way then are waited for.
    max_seconds
        Seconds that the counted part may take; what is not answered then is ``unfinished``.
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
    if requests is None and seconds is None:
        raise UsageError("neither requests nor seconds are given", hint="Give one of them.")
    for name, value, least in (
        ("requests", 1 if requests is None else requests, 1),
        ("concurrency", concurrency, 1),
        ("warmup", warmup, 0),
        ("the number of bodies", len(bodies), 1),
    ):
        if value < least:
            raise UsageError(f"{name} is {value}, expected at least {least}")
    if limit <= 0 or max_seconds <= 0:
        raise UsageError(f"timeout is {limit}, max_seconds {max_seconds}, expected above 0")
    for name, given in (("rate", rate), ("seconds", seconds)):
        if given is not None and not 0 < given < math.inf:
            raise UsageError(f"{name} is {given:g}", hint="Give a number above 0.")
    if expected is not None and len(expected) != len(bodies):
        raise UsageError(f"there are {len(bodies)} bodies and {len(expected)} expected replies")
    # One request through the endpoint's own client: it tells an endpoint that is not there from
    # one that fails, and shows the headers that its requests carry.
    sent = endpoint.post(bodies[0]).request
    if seconds is not None:
        max_seconds = max(max_seconds, seconds + limit)
    if rate is not None and seconds is not None:
        within = max(1, round(rate * seconds))
        requests = within if requests is None else min(requests, within)
    loop = Loop(
        target=Destination(endpoint.scoring_uri, sent.headers, timeout=limit),
        check=Check(expected),
        bodies=bodies,
        requests=requests,
        concurrency=concurrency if requests is None else min(concurrency, requests),
        warmup=warmup,
        max_seconds=max_seconds,
        rate=rate,
        # In an open loop all that is due by then is sent, however late.
        seconds=seconds if rate is None else None,
    )
    tally = loop.run(progress)
    took = tally.ended - loop.began if tally.completed else 0.0
    replies = sorted(tally.replies)
    cut = requests is not None and tally.completed < requests and seconds is None
    return BenchmarkResult(
        scoring_uri=endpoint.scoring_uri,
        server=tally.server,
        requests=requests,
        concurrency=loop.concurrency,
        warmup=warmup,
        rows=rows,
        completed=tally.completed,
        seconds=took,
        latencies=tuple(latency for _, latency, _ in replies),
        client_ms=tally.cpu / tally.completed * 1000 if tally.completed else 0.0,
        bytes_sent=tally.bytes_sent,
        bytes_received=tally.bytes_received,
        reply_bytes=tally.reply_bytes,
        reconnects=tally.reconnects,
        non_2xx=tally.non_2xx,
        failures=tuple(sorted(tally.failures.values(), key=lambda failure: -failure.count)),
        stopped=f"{max_seconds:g} s were over" if cut else None,
        rate=rate,
        unfinished=loop.unfinished,
        service=tuple(service for _, _, service in replies),
        arrivals=tuple(arrival - loop.began for arrival, _, _ in replies),
        failed_at=tuple(sorted(when - loop.began for when in tally.failed_at)),
        client_busy=loop.busy / took if took else 0.0,
        late_ms=percentile(tally.late, 99) * 1000 if tally.late else None,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that ``percent`` of ``values`` do not exceed; nearest rank."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]
