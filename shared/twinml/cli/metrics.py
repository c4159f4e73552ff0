"""``twinml metrics``: requests, failures, durations and strange values of an endpoint."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import click
from rich.console import Console
from rich.table import Table

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant
from twinml.errors import PlatformError
from twinml.traffic.metrics import EndpointMetrics, KeepsMetrics

__all__ = ["command"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
WIDTH = 100  # characters of a table; a terminal may be narrower, a file has no width


def length_of_time(
    ctx: click.Context | None, param: click.Parameter | None, value: str
) -> timedelta:
    """Read a length of time such as ``90s``, ``15m``, ``1h`` or ``7d``.

    Raises
    ------
    click.BadParameter
        The text is none.

    Examples
    --------
    >>> length_of_time(None, None, "90s")
    datetime.timedelta(seconds=90)
    """
    found = re.fullmatch(r"([1-9]\d{0,6})([smhd])", value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is not a length of time such as 90s, 15m, 1h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


@click.command("metrics", short_help="Show requests, durations and drift of an endpoint.")
@endpoint_option
@click.option(
    "--last",
    callback=length_of_time,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How far to look back: 90s, 15m, 1h, 7d.",
)
@on_option
@json_option
@errors_in_one_line
def command(endpoint_name: str | None, last: timedelta, platform_name: str, as_json: bool) -> None:
    """Show what an endpoint did: requests, failures, durations, rows and strange values.

    Strange values are those beyond the range of the training rows, of a category that they did
    not have, and nulls. Features without any are left out.

    For example: twinml metrics --last 15m
    """
    from twinml.platform import load

    platform = load(platform_name)
    if not isinstance(platform, KeepsMetrics):
        raise PlatformError(
            f"platform '{platform_name}' does not show metrics here",
            hint="Azure ML keeps them in Application Insights.",
        )
    metrics = platform.metrics(meant(platform, endpoint_name), last)
    emit(metrics, as_json=as_json, text=as_text(metrics))


def as_text(metrics: EndpointMetrics) -> str:
    """Return the figures as tables of text."""
    title = f"{metrics.endpoint}, {metrics.since[:19]} to {metrics.until[:19]} UTC"
    if not metrics.deployments:
        return f"{title}\nno requests"
    requests = Table("deployment", box=None, header_style="")
    for heading in ("requests", "failed", "p50 ms", "p95 ms", "p99 ms", "rows", "exceptions"):
        requests.add_column(heading, justify="right")
    for row in metrics.deployments:
        requests.add_row(
            row.deployment or "(no deployment)",
            f"{row.requests:,}",
            f"{row.failures:,}",
            *(_milliseconds(value) for value in (row.p50_ms, row.p95_ms, row.p99_ms)),
            f"{row.rows:,}",
            f"{row.exceptions:,}",
        )
    parts = [title, _drawn(requests)]
    if metrics.features:
        features = Table("deployment", "feature", box=None, header_style="")
        for heading in ("looked at", "out of range", "unseen", "null"):
            features.add_column(heading, justify="right")
        for found in metrics.features:
            features.add_row(
                found.deployment or "",
                found.feature,
                f"{found.observed:,}",
                *(
                    _share(count, found.observed)
                    for count in (found.out_of_range, found.unseen, found.null)
                ),
            )
        parts.append(_drawn(features))
    return "\n\n".join(parts)


def _drawn(table: Table) -> str:
    paper = io.StringIO()
    Console(file=paper, width=WIDTH, no_color=True, highlight=False, markup=False).print(table)
    return "\n".join(line.rstrip() for line in paper.getvalue().splitlines())


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(count: int, of: int) -> str:
    return "" if count == 0 else f"{count:,} ({count / of:.1%})" if of else f"{count:,}"
