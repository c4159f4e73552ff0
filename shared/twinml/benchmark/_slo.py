"""Service level objectives: what a run must reach to be good enough.

``p99=50ms,errors=0,rps=200`` asks that 99 % of the good replies come within 50 ms, that nothing
fails, and that there are at least 200 good replies a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from twinml.benchmark._result import BenchmarkResult
from twinml.errors import UsageError

__all__ = ["Target", "Verdict", "judge", "parse_slo"]

KNOWN = "p50, p99.9 and the like, mean, max, errors, rps"
UNITS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}
ITEM = re.compile(r"\s*(?P<name>[a-z0-9.]+)\s*=\s*(?P<number>[0-9.eE+-]+)\s*(?P<unit>[a-zµ%]*)\s*")


@dataclass(frozen=True)
class Target:
    """One objective.

    Attributes
    ----------
    name
        ``p50`` … ``p99.99``, ``mean`` or ``max`` (latency in ms, at most), ``errors`` (share of
        the requests, at most) or ``rps`` (good replies a second, at least).
    limit
        In that unit.
    """

    name: str
    limit: float

    def found(self, result: BenchmarkResult) -> float:
        """Return the figure that the objective is about; NaN if there is none."""
        if self.name == "errors":
            return result.error_share
        if self.name == "rps":
            return result.requests_per_second
        if self.name == "mean":
            return result.mean
        return result.percentile(100 if self.name == "max" else float(self.name[1:]))

    def shown(self, value: float) -> str:
        """Write a figure of this kind with its unit."""
        if math.isnan(value):
            return "nothing"
        if self.name == "errors":
            return f"{value:.3%}".rstrip("0").rstrip(".") if value else "0"
        return f"{value:,.4g}/s" if self.name == "rps" else f"{value:,.4g} ms"


@dataclass(frozen=True)
class Verdict:
    """Whether a run reached an objective."""

    target: Target
    found: float
    met: bool

    @property
    def sentence(self) -> str:
        """Return the verdict as one line."""
        bound = "at least" if self.target.name == "rps" else "at most"
        return (
            f"{self.target.name} {bound} {self.target.shown(self.target.limit)}: "
            f"{'met' if self.met else 'missed'}, {self.target.shown(self.found)}"
        )


def parse_slo(text: str) -> tuple[Target, ...]:
    """Read objectives.

    Raises
    ------
    UsageError
        An objective is unknown, out of range or given twice.

    Examples
    --------
    >>> parse_slo("p99=50ms, errors=0.1%")
    (Target(name='p99', limit=50.0), Target(name='errors', limit=0.001))
    """
    targets: list[Target] = []
    for item in text.split(","):
        match = ITEM.fullmatch(item)
        if match is None:
            raise UsageError(
                f"'{item.strip()}' is no objective", hint="Write --slo p99=50ms,errors=0,rps=200."
            )
        name, unit = match["name"], match["unit"]
        try:
            limit = float(match["number"])
        except ValueError:
            raise UsageError(
                f"'{match['number']}' in '{item.strip()}' is no number",
                hint="Write --slo p99=50ms,errors=0,rps=200.",
            ) from None
        if name == "errors":
            limit, fits = limit / 100 if unit == "%" else limit, unit in ("", "%")
            fits = fits and 0 <= limit <= 1
        elif name == "rps":
            fits = unit in ("", "/s") and 0 < limit < math.inf
        else:
            fits = unit in UNITS and 0 < limit < math.inf and _is_latency(name)
            limit *= UNITS.get(unit, 1.0)
        if not fits:
            raise UsageError(
                f"'{item.strip()}' is no objective",
                hint=f"Known: {KNOWN}; latencies with ms or s, errors as 0.01 or 1%.",
            )
        targets.append(Target(name, limit))
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise UsageError(f"'{text}' names an objective twice", hint="Give each one once.")
    return tuple(targets)


def _is_latency(name: str) -> bool:
    if name in ("mean", "max"):
        return True
    return re.fullmatch(r"p\d{1,2}(\.\d+)?|p100", name) is not None and float(name[1:]) > 0


def judge(result: BenchmarkResult, targets: Sequence[Target]) -> tuple[Verdict, ...]:
    """Say of each objective whether ``result`` reached it; without a figure it did not."""
    verdicts = []
    for target in targets:
        found = target.found(result)
        # A comparison with NaN is false either way.
        met = found >= target.limit if target.name == "rps" else found <= target.limit
        verdicts.append(Verdict(target, found, bool(met)))
    return tuple(verdicts)
