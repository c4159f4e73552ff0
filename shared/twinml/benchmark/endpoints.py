"""Several endpoints under the same load, side by side: bodies, right replies, and what was found.

``measure`` sends, ``Measured`` says whether it was good enough and tells it as JSON or text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinml.benchmark._measure import run
from twinml.benchmark._result import BenchmarkResult
from twinml.benchmark._slo import Target, Verdict, judge
from twinml.benchmark._text import in_ab_style, in_lines
from twinml.benchmark.saved import Difference
from twinml.benchmark.sweep import Sweep, sweep
from twinml.errors import ModelError, UsageError

if TYPE_CHECKING:
    from twinml.endpoint import Endpoint

__all__ = ["DEFAULT_REQUESTS", "Load", "Measured", "bodies_of", "measure", "replies", "replies_of"]

MOST_BODIES = 50
STEP_SECONDS = 5.0
DEFAULT_REQUESTS = 200
OPEN_LOOP = 64  # requests that may be under way where the rate says when they are sent


@dataclass(frozen=True)
class Load:
    """How endpoints are loaded.

    Attributes
    ----------
    steps
        Concurrencies to measure at, rising; ``None`` finds the knee by doubling.
    swept
        Whether the knee is asked for.
    requests, seconds
        Whichever is set ends a run.
    rate
        Requests a second in an open loop; ``None`` is a closed one.
    rows
        In a request.
    limits
        Further arguments of ``run``: ``warmup``, ``timeout``, ``max_seconds``.
    """

    steps: tuple[int, ...] | None
    swept: bool
    requests: int | None
    seconds: float | None
    rate: float | None
    rows: int
    limits: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        *,
        steps: tuple[int, ...] | None,
        swept: bool,
        concurrency: int | None,
        requests: int | None,
        seconds: float | None,
        rate: float | None,
        rows: int,
        limits: Mapping[str, Any],
    ) -> Load:
        """Fill in what is left open.

        ``concurrency`` is ``None`` for 4, in an open loop 64: enough not to hold requests back.
        A sweep takes five seconds a step, a single run 200 requests.

        Raises
        ------
        UsageError
            The options contradict each other, or a request has no row.
        """
        if rows < 1:
            raise UsageError(f"--rows is {rows}", hint="Send at least one row in a request.")
        if swept and (rate is not None or requests is not None):
            raise UsageError(
                "--steps goes with neither --rate nor --requests",
                hint="Give --seconds for each step.",
            )
        if not swept:
            steps = (concurrency or (4 if rate is None else OPEN_LOOP),)
        if swept and seconds is None:
            seconds = STEP_SECONDS
        if requests is None and seconds is None:
            requests = DEFAULT_REQUESTS
        return cls(steps, swept, requests, seconds, rate, rows, limits)


def bodies_of(rows: Sequence[Mapping[str, Any]], size: int) -> list[bytes]:
    """Return request bodies of ``size`` rows that use every row, from the start if short."""
    from twinml.endpoint import request_body

    return [request_body(chunk) for chunk in chunks(rows, size)]


def chunks(pool: Sequence[Mapping[str, Any]], size: int) -> list[list[Mapping[str, Any]]]:
    """Return lists of ``size`` rows that use every row of ``pool``, from the start if short."""
    count = min(MOST_BODIES, max(1, -(-len(pool) // size)))
    endless = cycle(pool)
    return [list(islice(endless, size)) for _ in range(count)]


def replies(endpoint: Endpoint, bodies: Sequence[bytes]) -> list[Any]:
    """Return the endpoint's decoded replies.

    One outside 2xx or not JSON is ``None`` here: the run will count and show it.
    """
    found = []
    for body in bodies:
        response = endpoint.post(body)
        try:
            found.append(response.json() if response.ok else None)
        except ValueError:
            found.append(None)
    return found


def replies_of(directory: Path, bodies: Sequence[bytes]) -> list[Any]:
    """Return what the model in ``directory`` predicts for each body.

    Raises
    ------
    ModelError
        It cannot score them.
    """
    from twinml.model import LoadedModel

    model = LoadedModel.open(directory)
    try:
        return [model.predictor.predict(model.frame_of(body)).tolist() for body in bodies]
    except ValueError as error:
        raise ModelError(f"the model cannot score the rows: {error}") from error


def measure(
    endpoints: Mapping[str, Endpoint],
    bodies: Sequence[bytes],
    expected: Sequence[Any] | None,
    load: Load,
    *,
    watched: Callable[[], AbstractContextManager[Callable[[str], None]]],
) -> dict[str, Sweep]:
    """Load one endpoint after the other in the same way; return what was found by name.

    Parameters
    ----------
    expected
        The right reply to each body; ``None`` takes any JSON.
    watched
        Gives, for the time of one endpoint, what is told how far it is.
    """

    def of(name: str, endpoint: Endpoint, tell: Callable[[str], None]) -> Sweep:
        def at(concurrency: int) -> BenchmarkResult:
            def show(done: int, of: int | None) -> None:
                all_of_them = f" of {of:,}" if of is not None else ""
                tell(f"{name}, {concurrency} at a time: {done:,}{all_of_them} requests")

            return run(
                endpoint,
                bodies,
                expected,
                concurrency=concurrency,
                progress=show,
                requests=load.requests,
                seconds=load.seconds,
                rate=load.rate,
                rows=load.rows,
                **load.limits,
            )

        return sweep(at, load.steps)

    found = {}
    for name, endpoint in endpoints.items():
        with watched() as tell:
            found[name] = of(name, endpoint, tell)
    return found


@dataclass(frozen=True)
class Measured:
    """The results of endpoints by name, judged against objectives and a saved run."""

    sweeps: Mapping[str, Sweep]
    objectives: Sequence[Target]
    swept: bool
    differences: Sequence[Difference] = ()
    remarks: Sequence[str] = ()

    @property
    def runs(self) -> list[tuple[str, BenchmarkResult]]:
        """All runs, with the endpoint's name."""
        return [(name, run) for name, found in self.sweeps.items() for run in found.results]

    @property
    def verdicts(self) -> dict[str, Sequence[Verdict]]:
        """The objectives, met or not, of the best run of each endpoint."""
        return {name: judge(found.knee, self.objectives) for name, found in self.sweeps.items()}

    @property
    def passes(self) -> bool:
        """Whether all objectives are met, and no request failed unless an objective says how many.

        A run without any good reply never passes.
        """
        missed = any(not verdict.met for found in self.verdicts.values() for verdict in found)
        allowed = any(target.name == "errors" for target in self.objectives)
        broken = any(not run.good or (run.error_share > 0 and not allowed) for _, run in self.runs)
        return not (missed or broken)

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON-able values."""
        return {
            "runs": [{"name": name} | run.to_dict() for name, run in self.runs],
            "knees": {n: found.knee.concurrency for n, found in self.sweeps.items() if self.swept},
            "objectives": {
                name: [
                    vars(verdict.target) | {"found": verdict.found, "met": verdict.met}
                    for verdict in found
                ]
                for name, found in self.verdicts.items()
            },
            "against": [vars(each) | {"ratio": each.ratio} for each in self.differences],
            "remarks": self.remarks,
        }

    def text(self, layout: str = "lines") -> str:
        """Return the results as text, in ``lines`` or in the layout of ``ab``."""
        return "\n\n".join(self._parts(layout))

    def _parts(self, layout: str) -> Iterator[str]:
        verdicts = self.verdicts
        for name, found in self.sweeps.items():
            several = len(found.results) > 1
            for result in found.results:
                if layout == "ab":
                    yield in_ab_style(result)
                    continue
                yield in_lines(
                    result,
                    verdicts[name] if result is found.knee else (),
                    name=name if len(self.sweeps) > 1 and "://" not in name else None,
                    remark="  ◀ the knee" if several and result is found.knee else "",
                )
            if several and found.rising:
                yield "Throughput was still rising at the last step: try more."
            if layout == "ab":
                yield from (f"SLO: {verdict.sentence}" for verdict in verdicts[name])
        if self.differences:
            yield "\n".join(["Against the saved run:", *map(_moved, self.differences)])
        yield from self.remarks


def _moved(each: Difference) -> str:
    then, now = ("–" if value is None else f"{value:,.4g}" for value in (each.then, each.now))
    ratio = f"× {each.ratio:.2f}" if each.ratio is not None else ""
    return f"  {each.run}: {each.figure:20} {then:>10} → {now:>10}  {ratio}".rstrip()
