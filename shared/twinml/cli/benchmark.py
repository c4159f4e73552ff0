"""``twinml benchmark``: latency and throughput of a deployed endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click

from twinml.cli._common import console, emit, errors_in_one_line, json_option, on_option
from twinml.cli._deployed import endpoint_options
from twinml.cli._endpoints import connect
from twinml.cli._rows import facts_of, rows_from, samples
from twinml.errors import UsageError

__all__ = ["command"]

MOST_BODIES = 50


@click.command(short_help="Measure latency and throughput of an endpoint.")
@on_option
@endpoint_options
@click.option("--requests", default=200, show_default=True, help="Requests to send.")
@click.option("--concurrency", default=4, show_default=True, help="Requests under way at a time.")
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
    "--any-reply",
    is_flag=True,
    help="Take any JSON reply for good, as where traffic is split between models. Otherwise "
    "each reply must equal the first one to the same rows.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="PNG", help="Draw a picture."
)
@json_option
@errors_in_one_line
def command(
    platform_name: str,
    endpoint_name: str | None,
    deployment: str | None,
    url: str | None,
    key_env: str | None,
    requests: int,
    concurrency: int,
    warmup: int,
    rows: int,
    file: Path | None,
    timeout: float,
    max_seconds: float,
    any_reply: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Send requests to an endpoint, check every reply, and print latencies in the style of ab.

    The exit code is 1 if a request failed.
    """
    from twinml import benchmark
    from twinml.endpoint import request_body

    if rows < 1:
        raise UsageError(f"--rows is {rows}", hint="Send at least one row in a request.")
    with connect(platform_name, endpoint_name, deployment, url, key_env) as endpoint:
        facts = facts_of(endpoint)
        pool = samples(facts, len(facts.samples) or 1) if file is None else rows_from(file, facts)
        bodies = [request_body(chunk, dialect="input_data") for chunk in chunks(pool, rows)]
        expected = None if any_reply else [first_reply(endpoint, body) for body in bodies]
        with console.status("sending") as status:
            result = benchmark.run(
                endpoint,
                bodies,
                expected,
                requests=requests,
                concurrency=concurrency,
                warmup=warmup,
                timeout=timeout,
                max_seconds=max_seconds,
                rows=rows,
                progress=lambda done, of: status.update(f"{done:,} of {of:,} requests"),
            )
    drawn = None
    if out is not None and result.good:
        out.parent.mkdir(parents=True, exist_ok=True)
        drawn = result.picture(out)
    text = result.ab_text() + (f"\n\nPicture: {drawn}" if drawn else "")
    emit(result.to_dict() | {"picture": drawn}, as_json=as_json, text=text)
    if result.failed or not result.good:
        raise SystemExit(1)


def chunks(pool: Sequence[Mapping[str, Any]], size: int) -> list[list[Mapping[str, Any]]]:
    """Return bodies of ``size`` rows that use every row of ``pool``, from the start if short."""
    count = min(MOST_BODIES, max(1, -(-len(pool) // size)))
    endless = cycle(pool)
    return [list(islice(endless, size)) for _ in range(count)]


def first_reply(endpoint: Any, body: bytes) -> Any:
    """Return the endpoint's decoded reply to ``body``.

    A reply outside 2xx or not JSON is ``None`` here: the run will count and show it.
    """
    response = endpoint.post(body)
    try:
        return response.json() if response.ok else None
    except ValueError:
        return None
