"""Latency and throughput of an endpoint under load, every reply checked.

::

    bodies ──▶ worker 1 ── one kept connection ──▶ endpoint     closed loop: the next request
           ──▶ worker 2 ── one kept connection ──▶ endpoint     goes out when the last one has
           ──▶ …                                                been answered; open loop: when
                                                                it is due, answered or not

``ab`` counts a 400 as a request per second. Here a reply counts only if its status is 2xx, it
decodes as JSON and, where the right reply is known, it is that one; all else is a failure,
counted by kind. Requests and time are both bounded.

``run`` measures once, ``sweep`` at several concurrencies to find the knee, ``endpoints`` several
endpoints in the same way, ``Target`` says what is good enough, ``saved`` keeps a run to compare
with, ``page`` makes the HTML report.
"""

from __future__ import annotations

from twinml.benchmark._load import Failure
from twinml.benchmark._measure import run
from twinml.benchmark._result import BenchmarkResult
from twinml.benchmark._slo import Target, Verdict, judge, parse_slo
from twinml.benchmark.sweep import Sweep, sweep

__all__ = [
    "BenchmarkResult",
    "Failure",
    "Sweep",
    "Target",
    "Verdict",
    "judge",
    "parse_slo",
    "run",
    "sweep",
]
