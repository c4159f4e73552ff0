"""``twinml metrics``: requests, failures, durations and strange values of an endpoint."""

from __future__ import annotations

from datetime import timedelta

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option, table
from twinml.cli._types import TIME
from twinml.platform.abilities import able
from twinml.traffic.metrics import EndpointMetrics, KeepsMetrics

__all__ = ["command"]


@click.command("metrics", short_help="Show requests, durations and drift of an endpoint.")
@endpoint_options("on")
@click.option(
    "--last",
    type=TIME,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How far to look back: 90s, 15m, 1h, 7d.",
)
@json_option
@errors_in_one_line
def command(where: EndpointOptions, last: timedelta, as_json: bool) -> None:
    """Show what an endpoint did: requests, failures, durations, rows and strange values.

    Strange values are those beyond the range of the training rows, of a category that they did
    not have, and nulls. Features without any are left out.

    For example: twinml metrics --last 15m
    """
    platform = able(
        where.platform,
        KeepsMetrics,  # type: ignore[type-abstract]
        "show metrics with",
        "Azure ML keeps them in Application Insights.",
    )
    metrics = platform.metrics(where.endpoint, last)
    emit(metrics, as_json=as_json, text=as_text(metrics))


def as_text(metrics: EndpointMetrics) -> str:
    """Return the figures as tables of text."""
    title = f"{metrics.endpoint}, {metrics.since[:19]} to {metrics.until[:19]} UTC"
    if not metrics.deployments:
        return f"{title}\nno requests"
    counted = "requests|failed|p50 ms|p95 ms|p99 ms|rows|exceptions"
    requests = [
        (
            row.deployment or "(no deployment)",
            f"{row.requests:,}",
            f"{row.failures:,}",
            *(_milliseconds(value) for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
            f"{row.rows:,}",
            f"{row.exceptions:,}",
        )
        for row in metrics.deployments
    ]
    parts = [title, table(("deployment", *counted.split("|")), requests, right=counted)]
    if metrics.features:
        counted = "looked at|out of range|unseen|null"
        features = [
            (
                found.deployment or "",
                found.feature,
                f"{found.observed:,}",
                *(
                    _share(count, found.observed)
                    for count in (found.out_of_range, found.unseen, found.null)
                ),
            )
            for found in metrics.features
        ]
        headings = ("deployment", "feature", *counted.split("|"))
        parts.append(table(headings, features, right=counted))
    return "\n\n".join(parts)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(count: int, of: int) -> str:
    return "" if count == 0 else f"{count:,} ({count / of:.1%})" if of else f"{count:,}"
