"""``twinml logs``: the last requests that an endpoint answered, and what went wrong."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import click

from twinml.cli._endpoint import EndpointOptions, endpoint_options
from twinml.cli._output import emit, errors_in_one_line, json_option, keeps

__all__ = ["command"]

POLL_SECONDS = 1.0
# Asked for in one go when only some of the lines are wanted, or new ones are looked for.
WINDOW = 20_000
BEGINNING = re.compile(r"\d{4}-\d\d-\d\d ")
# "… E [4711] azmlinfsrv - …", or a request "… - POST /score 400 1.2ms 80".
FAILED = re.compile(r"\S+ \S+ [EC] |.* - [A-Z%0-9]+ \S+ [45]\d\d [\d.]+ms ")


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


def entries(lines: Iterable[str]) -> Iterator[str]:
    r"""Join the lines of a traceback to the line that they belong to.

    Lines before the first one with a time, whose beginning is cut off, are left out.

    Examples
    --------
    >>> list(entries(["end of one", "2026-11-23 10:00 E failed", "  File", "2026-11-23 I next"]))
    ['2026-11-23 10:00 E failed\n  File', '2026-11-23 I next']
    """
    entry = ""
    for line in lines:
        if BEGINNING.match(line):
            if entry:
                yield entry
            entry = line
        elif entry:
            entry += f"\n{line}"
    if entry:
        yield entry


def is_failure(entry: str) -> bool:
    """Tell whether an entry is an error or a request answered with status 400 or above.

    Examples
    --------
    >>> is_failure("2026-11-23 10:00:00,123 I [1] azmlinfsrv - POST /score 400 1.2ms 80")
    True
    >>> is_failure("2026-11-23 10:00:00,123 I [1] azmlinfsrv - POST /score 200 17.9ms 6")
    False
    """
    return FAILED.match(entry) is not None


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
