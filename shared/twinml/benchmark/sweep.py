"""Runs at rising concurrency, and where more of it stops to help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from twinml.benchmark._result import BenchmarkResult
from twinml.benchmark._slo import Target, judge
from twinml.errors import UsageError

__all__ = ["Sweep", "parse_steps", "sweep"]

ENOUGH = 0.95  # share of the best throughput that the knee has to reach
HIGHEST = 256
# Runs after the best one that have to be no better before an automatic sweep ends.
PATIENCE = 2


@dataclass(frozen=True)
class Sweep:
    """Runs at rising concurrency."""

    results: tuple[BenchmarkResult, ...]

    @property
    def knee(self) -> BenchmarkResult:
        """The run of the lowest concurrency with 95 % of the best throughput.

        Beyond it requests wait for each other: latency grows, throughput does not.
        """
        best = max(result.requests_per_second for result in self.results)
        return next(
            result for result in self.results if result.requests_per_second >= ENOUGH * best
        )

    @property
    def rising(self) -> bool:
        """Whether more concurrency than was tried may bring more throughput."""
        return len(self.results) > 1 and self.knee is self.results[-1]

    def within(self, targets: Sequence[Target]) -> BenchmarkResult | None:
        """Return the run with the best throughput among those that reach all objectives."""
        reached = [
            result
            for result in self.results
            if result.latencies and all(verdict.met for verdict in judge(result, targets))
        ]
        return max(reached, key=lambda result: result.requests_per_second, default=None)


def parse_steps(text: str) -> tuple[int, ...] | None:
    """Read rising numbers such as ``1,2,4,8``; ``None`` for ``auto``.

    Raises
    ------
    UsageError
        They are no rising numbers from 1 to 256.
    """
    if text.strip() == "auto":
        return None
    try:
        steps = tuple(int(step) for step in text.split(","))
    except ValueError:
        steps = ()
    if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] > HIGHEST:
        raise UsageError(
            f"'{text}' are no steps",
            hint="Give rising numbers up to 256: --steps 1,2,4,8, or auto.",
        )
    return steps


def sweep(measure: Callable[[int], BenchmarkResult], steps: Sequence[int] | None = None) -> Sweep:
    """Measure at each concurrency in turn.

    Parameters
    ----------
    measure
        From a concurrency to what was measured at it.
    steps
        Rising; ``None`` doubles from 1 until two runs in a row bring no more throughput.
    """
    results: list[BenchmarkResult] = []
    for concurrency in _doubling() if steps is None else steps:
        results.append(measure(concurrency))
        if steps is None and len(results) > PATIENCE:
            before = max(result.requests_per_second for result in results[:-PATIENCE])
            since = max(result.requests_per_second for result in results[-PATIENCE:])
            if since * ENOUGH <= before:
                break
    return Sweep(tuple(results))


def _doubling() -> Iterator[int]:
    for power in count():
        if 2**power > HIGHEST:
            return
        yield 2**power
