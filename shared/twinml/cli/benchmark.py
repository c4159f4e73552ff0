"""``twinml benchmark``: latency and throughput of deployed endpoints, every reply checked.

::

    twinml benchmark                          200 requests, 4 at a time, to the only endpoint
    twinml benchmark --rate 300 --seconds 30  an open loop: 300 requests/s whatever happens
    twinml benchmark --steps auto             rising concurrency, to find the knee
    twinml benchmark local rehearsal          two endpoints with the same requests
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import console, emit, errors_in_one_line, json_option, keeps
from twinml.cli._types import MODEL_OR_DIRECTORY, PLATFORM
from twinml.errors import UsageError
from twinml.settings import home

if TYPE_CHECKING:
    from twinml.endpoint import Endpoint

__all__ = ["command"]


@click.command(short_help="Measure latency and throughput of endpoints.")
@click.argument("targets", nargs=-1, type=PLATFORM, metavar="[PLATFORM|URL]...")
@endpoint_options("on", "deployment", "url")
@click.option("--requests", type=int, help="Requests to send [default: 200].")
@click.option("--seconds", type=float, help="Send for so long instead.")
@click.option("--concurrency", type=int, help="Requests under way at a time [default: 4].")
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
    type=MODEL_OR_DIRECTORY,
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
    where: EndpointOptions,
    concurrency: int | None,
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
    from twinml.benchmark import endpoints, parse_slo, saved
    from twinml.benchmark.sweep import parse_steps
    from twinml.data import read_records
    from twinml.endpoint.document import facts_of, samples
    from twinml.registry.model_files import directory_of

    keeps("Nothing is kept of this run.")
    if any_reply and model is not None:
        raise UsageError("got both --model and --any-reply", hint="Give one of them.")
    load = endpoints.Load.of(
        steps=parse_steps(steps) if steps else None, swept=steps is not None,
        concurrency=concurrency, requests=requests, seconds=seconds, rate=rate, rows=rows,
        limits=limits,
    )  # fmt: skip
    objectives = parse_slo(slo) if slo else ()
    before = saved.load(against) if against else None
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(client) for name, client in _clients(targets, where).items()
        }
        first = next(iter(clients.values()))
        facts = facts_of(first)
        pool = (
            samples(facts, len(facts.samples) or 1)
            if file is None
            else read_records(file, text=facts.text_columns)
        )
        bodies = endpoints.bodies_of(pool, rows)
        if any_reply:
            expected = None
        elif model is None:
            expected = endpoints.replies(first, bodies)
        else:
            with directory_of(model) as directory:
                expected = endpoints.replies_of(directory, bodies)
        sweeps = endpoints.measure(clients, bodies, expected, load, watched=_status)
    found = endpoints.Measured(sweeps, objectives, load.swept)
    if before is not None:
        differences, remarks = saved.compare(before, found.runs)
        found = replace(found, differences=differences, remarks=remarks)
    if save is not None:
        saved.save(save, found.runs)
    page = None
    if not no_report:
        from twinml.benchmark.page import result_page
        from twinml.pages.result_page import write

        place = home() / "reports" / f"benchmark-{datetime.now():%Y%m%d-%H%M%S}.html"
        shown = result_page(found.sweeps, objectives, found.differences, found.remarks)
        page = write(shown, report or place)
    emit(
        found.to_dict() | {"report": page},
        as_json=as_json,
        text=found.text(layout) + (f"\n\nReport: {page}" if page else ""),
    )
    if not found.passes:
        raise SystemExit(1)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    with console().status("sending") as status:
        yield status.update


def _clients(targets: Sequence[str], where: EndpointOptions) -> dict[str, Endpoint]:
    """Return clients by the name that they are shown under."""
    if not targets:
        name = where.name or (where.url and "endpoint") or where.platform_name
        return {name: where.connect()}
    if where.url is not None:
        raise UsageError("got --url and names of endpoints", hint="Give the URL like the names.")
    addresses = [target for target in targets if "://" in target]
    if len(where.key_envs) not in (0, len(addresses)):
        raise UsageError(
            f"there are {len(addresses)} URLs and {len(where.key_envs)} times --key-env",
            hint="Give one for each URL, in their order.",
        )
    keys = dict(zip(addresses, where.key_envs, strict=False))
    if len(set(targets)) < len(targets):
        raise UsageError("an endpoint is named twice", hint="Name each one once.")
    return {
        target: replace(
            where, name=None, url=target, key_envs=(keys[target],) if target in keys else ()
        ).connect()
        if "://" in target
        else replace(where, platform_name=target, key_envs=()).connect()
        for target in targets
    }
