"""``twinml traffic``: how an endpoint's requests are shared out among its deployments."""

from __future__ import annotations

from collections.abc import Sequence

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option
from twinml.errors import UsageError

__all__ = ["command", "read_shares"]


@click.command("traffic", short_help="Share out requests among deployments.")
@click.argument("shares", nargs=-1, metavar="[DEPLOYMENT=PERCENT]...")
@endpoint_options("on")
@click.option(
    "--mirror",
    "mirrored",
    multiple=True,
    metavar="DEPLOYMENT=PERCENT",
    help="Send this deployment a copy of so many requests, at most 50; 0 ends it.",
)
@json_option
@errors_in_one_line
def command(
    shares: tuple[str, ...],
    where: EndpointOptions,
    mirrored: tuple[str, ...],
    as_json: bool,
) -> None:
    """Share out an endpoint's requests, or show how they are shared out.

    Percentages add up to 100 or 0. For example: twinml traffic blue=90 green=10

    Copies of requests are scored for nobody; they show in the deployment's log. For example:
    twinml traffic --mirror green=20
    """
    traffic = read_shares(shares) if shares else None
    mirror = read_shares(mirrored) if mirrored else None
    if traffic is None and mirror is None:
        info = where.info()
    else:
        info = where.platform.set_traffic(where.endpoint, traffic, mirror=mirror)
    lines = [
        f"{deployment:<12} {info.traffic.get(deployment, 0)} %"
        + (f", mirrors {info.mirror[deployment]} %" if deployment in info.mirror else "")
        for deployment in info.deployments
    ]
    emit(
        {"endpoint": info.name, "traffic": info.traffic, "mirror": info.mirror},
        as_json=as_json,
        text="\n".join(lines) or f"{info.name} has no deployments",
    )


def read_shares(words: Sequence[str]) -> dict[str, int]:
    """Read ``DEPLOYMENT=PERCENT`` words; one word may hold several, separated by spaces.

    Raises
    ------
    UsageError
        A word is not of that form, or names a deployment again.

    Examples
    --------
    >>> read_shares(["blue=90", "green=10"])
    {'blue': 90, 'green': 10}
    >>> read_shares(["blue=90 green=10%"])
    {'blue': 90, 'green': 10}
    """
    shares: dict[str, int] = {}
    for word in " ".join(words).split():
        name, _, share = word.partition("=")
        number = share.removesuffix("%")
        if not name or not number.isascii() or not number.isdigit():
            raise UsageError(
                f"'{word}' is no share of the traffic",
                hint="Write DEPLOYMENT=PERCENT in whole per cent: blue=90 green=10.",
            )
        if name in shares:
            raise UsageError(f"'{name}' is named twice", hint="Name each deployment once.")
        shares[name] = int(number)
    return shares
