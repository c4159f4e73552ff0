"""``twinml benchmark``: latency and throughput of deployed endpoints, every reply checked.

::

    twinml benchmark                          200 requests, 4 at a time, to the only endpoint
    twinml benchmark --rate 300 --seconds 30  an open loop: 300 requests/s whatever happens
    twinml benchmark --steps auto             rising concurrency, to find the knee
    twinml benchmark local rehearsal          two endpoints with the same requests
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import connect, endpoint_option
from twinml.cli._rows import facts_of, rows_from, samples
from twinml.endpoint import Endpoint, request_body
from twinml.errors import ModelError, UsageError
from twinml.settings import home

if TYPE_CHECKING:
    from twinml.benchmark import BenchmarkResult, Sweep
    from twinml.benchmark.saved import Difference

__all__ = ["command"]

MOST_BODIES = 50
STEP_SECONDS = 5.0


@click.command(short_help="Measure latency and throughput of endpoints.")
@click.argument("targets", nargs=-1, metavar="[PLATFORM|URL]...")
@on_option
@endpoint_option
@click.option("--deployment", metavar="NAME", help="Ask this deployment, whatever its traffic.")
@click.option("--url", metavar="SCORING_URI", help="An endpoint by its address instead.")
@click.option(
    "--key-env",
    "key_envs",
    metavar="VAR",
    multiple=True,
    help="Environment variable with a URL's key; once for each URL, in their order.",
)
@click.option("--requests", type=int, help="Requests to send [default: 200].")
@click.option("--seconds", type=float, help="Send for so long instead.")
@click.option("--concurrency", default=4, show_default=True, help="Requests under way at a time.")
@click.option(
    "--rate",
    type=float,
    help="Open loop: requests a second, sent when due; latency counts from then. --concurrency "
    "is the most that may be under way [default there: 64].",
)
@click.option(
    "--steps",
    metavar="1,2,4|auto",
    help="Try rising concurrency, --seconds for each [default: 5], and find the knee.",
)
@click.option("--warmup", default=20, show_default=True, help="Requests sent first, not counted.")
@click.option("--rows", default=1, show_default=True, help="Rows in a request.")
@click.option(
    "--data",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or Parquet with rows to send [default: the example of the endpoint's swagger].",
)
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds a request.")
@click.option("--max-seconds", default=60.0, show_default=True, help="Seconds in all.")
@click.option(
    "--model",
    metavar="NAME[/VERSION]|DIRECTORY",
    help="Every reply must be what this model predicts [default: the first reply of the first "
    "endpoint to the same rows].",
)
@click.option(
    "--any-reply",
    is_flag=True,
    help="Take any JSON reply for good, as where traffic is split between models.",
)
@click.option("--slo", metavar="p99=50ms,errors=0", help="Objectives; exit code 1 if missed.")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the figures.")
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="FILE", help="Compare with a saved run."
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["lines", "ab"]),
    default="lines",
    show_default=True,
    help="How the figures are printed.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="HTML",
    help="Where the page goes [default: .twinml/reports/benchmark-TIME.html].",
)
@click.option("--no-report", is_flag=True, help="Write no page.")
@json_option
@errors_in_one_line
def command(
    targets: tuple[str, ...],
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_envs: tuple[str, ...],
    concurrency: int,
    rate: float | None,
    requests: int | None,
    seconds: float | None,
    steps: str | None,
    rows: int,
    file: Path | None,
    model: str | None,
    any_reply: bool,
    slo: str | None,
    save: Path | None,
    against: Path | None,
    layout: str,
    report: Path | None,
    no_report: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Send requests to endpoints, check every reply, and tell latencies and throughput.

    The exit code is 1 if a request failed, or an objective of --slo was missed.
    """
    from twinml.benchmark import judge, parse_slo, saved
    from twinml.benchmark.sweep import parse_steps

    if rows < 1:
        raise UsageError(f"--rows is {rows}", hint="Send at least one row in a request.")
    if steps is not None and (rate is not None or requests is not None):
        raise UsageError(
            "--steps goes with neither --rate nor --requests", hint="Give --seconds for each step."
        )
    if any_reply and model is not None:
        raise UsageError("got both --model and --any-reply", hint="Give one of them.")
    objectives = parse_slo(slo) if slo else ()
    wanted = parse_steps(steps) if steps else (_concurrency(concurrency, rate),)
    if steps and seconds is None:
        seconds = STEP_SECONDS
    if requests is None and seconds is None:
        requests = 200
    before = saved.load(against) if against else None
    with ExitStack() as stack:
        endpoints = {
            name: stack.enter_context(endpoint)
            for name, endpoint in _endpoints(
                targets, platform_name, endpoint_name, deployment, url, key_envs
            ).items()
        }
        first = next(iter(endpoints.values()))
        facts = facts_of(first)
        pool = samples(facts, len(facts.samples) or 1) if file is None else rows_from(file, facts)
        bodies = [request_body(chunk) for chunk in chunks(pool, rows)]
        expected = None if any_reply else _expected(model, first, bodies)
        load = {"requests": requests, "seconds": seconds, "rate": rate, "rows": rows} | limits
        measured = {
            name: _measure(name, endpoint, bodies, expected, wanted, load)
            for name, endpoint in endpoints.items()
        }
    runs = [(name, run) for name, found in measured.items() for run in found.results]
    differences, remarks = saved.compare(before, runs) if before is not None else ([], [])
    if save is not None:
        saved.save(save, runs)
    page = None
    if not no_report:
        from twinml.benchmark.page import sheet
        from twinml.pages.result_page import write

        place = home() / "reports" / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}.html"
        page = write(sheet(measured, objectives, differences, remarks), report or place)
    verdicts = {name: judge(found.knee, objectives) for name, found in measured.items()}
    emit(
        {
            "runs": [{"name": name} | run.to_dict() for name, run in runs],
            "knees": {name: found.knee.concurrency for name, found in measured.items() if steps},
            "objectives": {
                name: [
                    vars(verdict.target) | {"found": verdict.found, "met": verdict.met}
                    for verdict in found
                ]
                for name, found in verdicts.items()
            },
            "against": [vars(each) | {"ratio": each.ratio} for each in differences],
            "remarks": remarks,
            "report": page,
        },
        as_json=as_json,
        text=_text(measured, verdicts, differences, remarks, page, layout),
    )
    missed = any(not verdict.met for found in verdicts.values() for verdict in found)
    allowed = any(target.name == "errors" for target in objectives)
    broken = any(not run.good or (run.error_share > 0 and not allowed) for _, run in runs)
    if missed or broken:
        raise SystemExit(1)


def _concurrency(given: int, rate: float | None) -> int:
    """Return how many may be under way: in an open loop enough not to hold requests back."""
    chosen = click.get_current_context().get_parameter_source("concurrency")
    default = chosen is click.core.ParameterSource.DEFAULT
    return 64 if rate is not None and default else given


def _endpoints(
    targets: Sequence[str],
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_envs: Sequence[str],
) -> dict[str, Endpoint]:
    """Return clients by the name that they are shown under."""
    if not targets:
        if len(key_envs) > 1:
            raise UsageError("--key-env is given twice", hint="There is one endpoint; give one.")
        key = key_envs[0] if key_envs else None
        name = endpoint_name or (url and "endpoint") or platform_name
        return {name: connect(platform_name, endpoint_name, deployment, url, key)}
    if url is not None:
        raise UsageError("got --url and names of endpoints", hint="Give the URL like the names.")
    addresses = [target for target in targets if "://" in target]
    if len(key_envs) not in (0, len(addresses)):
        raise UsageError(
            f"there are {len(addresses)} URLs and {len(key_envs)} times --key-env",
            hint="Give one for each URL, in their order.",
        )
    keys = dict(zip(addresses, key_envs, strict=False))
    if len(set(targets)) < len(targets):
        raise UsageError("an endpoint is named twice", hint="Name each one once.")
    return {
        target: connect(target, None, deployment, target, keys.get(target))
        if "://" in target
        else connect(target, endpoint_name, deployment, None, None)
        for target in targets
    }


def _measure(
    name: str,
    endpoint: Endpoint,
    bodies: Sequence[bytes],
    expected: Sequence[Any] | None,
    steps: Sequence[int] | None,
    load: Mapping[str, Any],
) -> Sweep:
    from twinml import benchmark

    with console.status("sending") as status:

        def measure(concurrency: int) -> BenchmarkResult:
            def show(done: int, of: int | None) -> None:
                all_of_them = f" of {of:,}" if of is not None else ""
                status.update(f"{name}, {concurrency} at a time: {done:,}{all_of_them} requests")

            return benchmark.run(
                endpoint, bodies, expected, concurrency=concurrency, progress=show, **load
            )

        return benchmark.sweep(measure, steps)


def _text(
    measured: Mapping[str, Sweep],
    verdicts: Mapping[str, Sequence[Any]],
    differences: Sequence[Difference],
    remarks: Sequence[str],
    page: Path | None,
    layout: str,
) -> str:
    from twinml.benchmark.text import in_ab_style, in_lines

    parts = []
    for name, found in measured.items():
        several = len(found.results) > 1
        for run in found.results:
            if layout == "ab":
                parts.append(in_ab_style(run))
                continue
            judged = verdicts[name] if run is found.knee else ()
            parts.append(
                in_lines(
                    run,
                    judged,
                    name=name if len(measured) > 1 and "://" not in name else None,
                    remark="  ◀ the knee" if several and run is found.knee else "",
                )
            )
        if several and found.rising:
            parts.append("Throughput was still rising at the last step: try more.")
        if layout == "ab":
            parts += [f"SLO: {verdict.sentence}" for verdict in verdicts[name]]
    if differences:
        lines = ["Against the saved run:"]
        for each in differences:
            then, now = (
                "–" if value is None else f"{value:,.4g}" for value in (each.then, each.now)
            )
            ratio = f"× {each.ratio:.2f}" if each.ratio is not None else ""
            lines.append(f"  {each.run}: {each.figure:20} {then:>10} → {now:>10}  {ratio}".rstrip())
        parts.append("\n".join(lines))
    parts += remarks
    if page is not None:
        parts.append(f"Report: {page}")
    return "\n\n".join(parts)


def chunks(pool: Sequence[Mapping[str, Any]], size: int) -> list[list[Mapping[str, Any]]]:
    """Return bodies of ``size`` rows that use every row of ``pool``, from the start if short."""
    count = min(MOST_BODIES, max(1, -(-len(pool) // size)))
    endless = cycle(pool)
    return [list(islice(endless, size)) for _ in range(count)]


def _expected(model: str | None, endpoint: Endpoint, bodies: Sequence[bytes]) -> list[Any]:
    """Return the right reply to each body: what the model predicts, or the first reply."""
    if model is None:
        return [_first_reply(endpoint, body) for body in bodies]
    from twinml import contract
    from twinml import model as models
    from twinml.cli._models import directory_of

    with directory_of(model) as directory:
        promise = models.load_contract(directory)
        predictor = models.load_predictor(directory, models.digest(directory))
        try:
            return [
                predictor.predict(
                    contract.parse(
                        promise, body, content_type="application/json", route="score"
                    ).frame()
                ).tolist()
                for body in bodies
            ]
        except ValueError as error:
            raise ModelError(f"the model cannot score the rows: {error}") from error


def _first_reply(endpoint: Endpoint, body: bytes) -> Any:
    """Return the endpoint's decoded reply to ``body``.

    A reply outside 2xx or not JSON is ``None`` here: the run will count and show it.
    """
    response = endpoint.post(body)
    try:
        return response.json() if response.ok else None
    except ValueError:
        return None
