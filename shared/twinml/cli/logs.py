"""``twinml logs``: the last requests that an endpoint answered, and what went wrong."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option, keeps
from twinml.traffic.log_entries import entries, is_failure

__all__ = ["command"]

POLL_SECONDS = 1.0
# Asked for in one go when only some of the lines are wanted, or new ones are looked for.
WINDOW = 20_000


@click.command("logs", short_help="Print the logs of an endpoint.")
@endpoint_options("on", "deployment")
@click.option(
    "--errors",
    is_flag=True,
    help="Only failed requests (status 400 and above) and why they failed.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on printing new lines until Ctrl+C.")
@click.option("--lines", default=100, show_default=True, help="How many lines.")
@json_option
@errors_in_one_line
def command(
    where: EndpointOptions,
    errors: bool,
    follow: bool,
    lines: int,
    as_json: bool,
) -> None:
    """Print the last log lines of an endpoint, oldest first.

    With --follow --json every entry is a JSON object on a line of its own.

    For example: twinml logs --errors --lines 20
    """
    wanted = is_failure if errors else _everything
    if follow:
        keeps("")  # Ctrl+C is how it is meant to end.
        _follow(lambda: list(entries(_last(where, WINDOW))), wanted, lines, as_json=as_json)
    asked = max(lines, WINDOW) if errors else lines
    found = _last(where, asked)
    if errors:
        chosen = "\n".join(filter(is_failure, entries(found))).splitlines()[-lines:]
    else:
        chosen = list(found)
    emit({"endpoint": where.endpoint, "lines": chosen}, as_json=as_json, text="\n".join(chosen))


def _everything(entry: str) -> bool:
    return True


def _last(where: EndpointOptions, lines: int) -> Iterator[str]:
    return where.platform.logs(where.endpoint, deployment=where.deployment, lines=lines)


def _follow(
    read: Callable[[], list[str]], wanted: Callable[[str], bool], lines: int, *, as_json: bool
) -> NoReturn:
    """Print the last ``lines`` entries and then new ones, until interrupted."""
    seen = read()
    for entry in list(filter(wanted, seen))[-lines:]:
        _show(entry, as_json=as_json)
    while True:
        time.sleep(POLL_SECONDS)
        now = read()
        # Several workers write, so that a new line need not be the last one; what is no longer
        # in the window was seen before.
        old = Counter(seen)
        for entry in now:
            if old[entry] > 0:
                old[entry] -= 1
            elif wanted(entry):
                _show(entry, as_json=as_json)
        seen = now


def _show(entry: str, *, as_json: bool) -> None:
    click.echo(json.dumps({"entry": entry}, ensure_ascii=False) if as_json else entry)
