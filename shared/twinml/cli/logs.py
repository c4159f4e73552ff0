"""``twinml logs``: the last requests that an endpoint answered, and what went wrong."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import click

from twinml.cli._common import emit, errors_in_one_line, json_option, on_option
from twinml.cli._endpoints import endpoint_option, meant
from twinml.platform import Platform

__all__ = ["command"]

POLL_SECONDS = 1.0
# Asked for in one go when only some of the lines are wanted, or new ones are looked for.
WINDOW = 20_000
BEGINNING = re.compile(r"\d{4}-\d\d-\d\d ")
# "… E [4711] azmlinfsrv - …", or a request "… - POST /score 400 1.2ms 80".
FAILED = re.compile(r"\S+ \S+ [EC] |.* - [A-Z%0-9]+ \S+ [45]\d\d [\d.]+ms ")


@click.command("logs", short_help="Print the logs of an endpoint.")
@endpoint_option
@click.option("--deployment", metavar="NAME", help="Only what this deployment answered.")
@click.option(
    "--errors",
    is_flag=True,
    help="Only failed requests (status 400 and above) and why they failed.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on printing new lines until Ctrl+C.")
@click.option("--lines", default=100, show_default=True, help="How many lines.")
@on_option
@json_option
@errors_in_one_line
def command(
    endpoint_name: str | None,
    deployment: str | None,
    errors: bool,
    follow: bool,
    lines: int,
    platform_name: str,
    as_json: bool,
) -> None:
    """Print the last log lines of an endpoint, oldest first.

    With --follow --json every entry is a JSON object on a line of its own.

    For example: twinml logs --errors --lines 20
    """
    from twinml.platform import load

    platform = load(platform_name)
    name = meant(platform, endpoint_name)
    wanted = is_failure if errors else _everything
    if follow:
        # Ctrl+C is how it is meant to end.
        with contextlib.suppress(KeyboardInterrupt):
            _follow(_reader(platform, name, deployment), wanted, lines, as_json=as_json)
        return
    asked = max(lines, WINDOW) if errors else lines
    found = platform.logs(name, deployment=deployment, lines=asked)
    if errors:
        chosen = "\n".join(filter(is_failure, entries(found))).splitlines()[-lines:]
    else:
        chosen = list(found)
    emit({"endpoint": name, "lines": chosen}, as_json=as_json, text="\n".join(chosen))


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


def _reader(platform: Platform, name: str, deployment: str | None) -> Callable[[], list[str]]:
    return lambda: list(entries(platform.logs(name, deployment=deployment, lines=WINDOW)))


def _follow(
    read: Callable[[], list[str]], wanted: Callable[[str], bool], lines: int, *, as_json: bool
) -> None:
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
