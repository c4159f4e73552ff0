"""``twinml collect``: keep what an endpoint is asked and answers."""

from __future__ import annotations

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.errors import NotFound

__all__ = ["command"]


@click.command(short_help="Keep inputs and outputs of an endpoint.")
@endpoint_options("on")
@click.option(
    "--rate",
    type=click.FloatRange(0, 1),
    help="Share of the requests to keep from now on; 0 ends it. Without it: show what there is.",
)
@click.option(
    "--ood-scores/--no-ood-scores",
    default=None,
    help="Give every request an out-of-distribution score, in its reply and in telemetry.",
)
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    rate: float | None,
    ood_scores: bool | None,
    as_json: bool,
) -> None:
    """Keep inputs and outputs of requests, in Azure ML's layout, readable by you alone.

    The endpoint's server goes on as it is: no request is lost, and once this returns the new rate
    holds for all that come.

    For example: twinml collect --rate 1
    """
    from twinml.traffic.collected import read

    platform, name = where.collecting(), where.endpoint
    if rate is not None or ood_scores is not None:
        platform.collect(name, rate, ood_scores=ood_scores)
    folder = platform.collected(name)
    try:
        traffic = read(folder)
        requests, n_rows = len(traffic.requests), traffic.n_rows
    except NotFound:
        requests = n_rows = 0
    said = "" if rate is None else f"keeps {rate:.0%} of its requests from now on; "
    emit(
        {
            "endpoint": name,
            "folder": str(folder),
            "rate": rate,
            "ood_scores": ood_scores,
            "requests": requests,
            "rows": n_rows,
        },
        as_json=as_json,
        text=f"{name} {said}{requests:,} requests with {n_rows:,} rows collected in {folder}",
    )
