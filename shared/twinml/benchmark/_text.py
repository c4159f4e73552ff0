"""The figures of a run as text: in a few lines, or in the layout of ``ab``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urlsplit

from twinml.benchmark._result import BenchmarkResult
from twinml.benchmark._slo import Verdict

__all__ = ["in_ab_style", "in_lines", "ms"]

# Where correcting for coordinated omission moves the 99th percentile by more, it is said.
STALLED = 1.5
AB_PERCENTAGES = (50, 66, 75, 80, 90, 95, 98, 99, 100)


def ms(value: float | None) -> str:
    """Write milliseconds with the digits that matter.

    Examples
    --------
    >>> ms(0.1234), ms(12.34), ms(1234.5), ms(None)
    ('0.12', '12.3', '1,234', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def in_lines(
    result: BenchmarkResult,
    verdicts: Sequence[Verdict] = (),
    *,
    name: str | None = None,
    remark: str = "",
) -> str:
    """Return what people want to know of a run."""
    rows = f" of {result.rows} row{'s' * (result.rows != 1)}" if result.rows else ""
    lines = [
        f"{name + ': ' if name else ''}{result.scoring_uri}{remark}",
        f"  {result.loop}; {result.completed:,} requests{rows} in {result.seconds:.2f} s "
        f"after {result.warmup} as warm-up",
        f"  throughput  {result.requests_per_second:,.1f} good replies/s"
        + (f", {result.requests_per_second * result.rows:,.0f} rows/s" if result.rows else ""),
        f"  failures    {result.failed:,} failed, {result.unfinished:,} unfinished "
        f"({result.error_share:.2%})",
    ]
    if result.latencies:
        shown = [f"p{p:g} {ms(result.percentile(p))}" for p in (50, 90, 95, 99, 99.9)]
        since = "sent" if result.rate is None else "due"
        lines.append(
            f"  latency ms  {'  '.join(shown)}  max {ms(result.percentile(100))}  (since {since})"
        )
        corrected = result.corrected
        if corrected is not None and corrected["p99"] > STALLED * result.percentile(99):
            lines.append(
                f"  stalls      had requests kept coming, p99 would have been "
                f"{ms(corrected['p99'])} ms: measure with --rate"
            )
    lines.append(
        f"  client      {result.client_ms:.2f} ms CPU a request, {result.client_busy:.0%} of a core"
    )
    lines += [f"  doubt       {doubt}" for doubt in result.doubts]
    lines += [f"  SLO         {verdict.sentence}" for verdict in verdicts]
    lines += [
        f"  failure     {each.kind} ({each.count:,}): {each.message}" for each in result.failures
    ]
    if result.stopped:
        lines.append(f"  stopped     {result.stopped}")
    return "\n".join(lines)


def in_ab_style(result: BenchmarkResult) -> str:
    """Return the figures in the layout of ``ab``."""
    url = urlsplit(result.scoring_uri)
    port = url.port or (443 if url.scheme == "https" else 80)
    seconds = result.seconds or math.nan
    received, sent = (n / 1024 / seconds for n in (result.bytes_received, result.bytes_sent))
    lines = [
        f"Server Software:        {result.server}",
        f"Server Hostname:        {url.hostname}",
        f"Server Port:            {port}",
        "",
        f"Document Path:          {url.path or '/'}",
        f"Document Length:        {result.reply_bytes} bytes",
        "",
        f"Concurrency Level:      {result.concurrency}",
        f"Time taken for tests:   {result.seconds:.3f} seconds",
        f"Complete requests:      {result.completed}",
        f"Failed requests:        {result.failed}",
    ]
    if result.failures:
        kinds = ", ".join(f"{failure.kind}: {failure.count}" for failure in result.failures)
        lines.append(f"   ({kinds})")
    if result.non_2xx:
        lines.append(f"Non-2xx responses:      {result.non_2xx}")
    lines += [
        f"Total body sent:        {result.bytes_sent}",
        f"HTML transferred:       {result.bytes_received} bytes",
        f"Requests per second:    {result.requests_per_second:.2f} [#/sec] (mean, good replies)",
        f"Time per request:       {result.mean:.3f} [ms] (mean)",
        f"Time per request:       {seconds * 1000 / max(result.good, 1):.3f} [ms] "
        "(mean, across all concurrent requests)",
        f"Transfer rate:          {received:.2f} [Kbytes/sec] received",
        f"                        {sent:.2f} kb/s sent",
        f"                        {received + sent:.2f} kb/s total",
        f"Client CPU per request: {result.client_ms:.3f} [ms] (mean, part of the above)",
    ]
    if result.latencies:
        lines += ["", "Percentage of the requests served within a certain time (ms)"]
        lines += [f" {p:3d}% {result.percentile(p):10.3f}" for p in AB_PERCENTAGES]
        lines[-1] += " (longest request)"
    lines += [
        f"{'' if number else chr(10)}First failure, {failure.kind}: {failure.message}"
        for number, failure in enumerate(result.failures)
    ]
    if result.stopped:
        lines += ["", f"Stopped early: {result.stopped}"]
    return "\n".join(lines)
