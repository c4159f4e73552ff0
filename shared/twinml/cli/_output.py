"""What a verb shows: results on stdout as text or JSON, progress and errors on stderr."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click

from twinml.errors import TwinmlError, UsageError
from twinml.settings import home, home_is_elsewhere

if TYPE_CHECKING:
    from rich.console import Console

    from twinml.platform import Schedule
    from twinml.platform.abilities import Change
    from twinml.training import Progress

__all__ = [
    "changes_text",
    "console",
    "counting",
    "emit",
    "errors_in_one_line",
    "interrupted",
    "json_option",
    "keeps",
    "live",
    "open_in_browser",
    "plain",
    "program",
    "safe_csv_option",
    "schedule_line",
    "table",
    "wording",
]

P = ParamSpec("P")
R = TypeVar("R")

SECONDS_BETWEEN_LINES = 10.0
KEPT = "twinml.kept"
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
safe_csv_option = click.option(
    "--safe-csv",
    is_flag=True,
    help="In CSV, put ' before text that a spreadsheet would take for a formula.",
)


@functools.cache
def console() -> Console:
    """Return what progress and remarks are printed to: stderr, so that results stay clean."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


# Results


def plain(value: Any) -> Any:
    """Turn dataclasses, paths and numpy scalars into what ``json`` can write."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(item) for key, item in asdict(value).items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item") and callable(value.item) and getattr(value, "ndim", 0) == 0:
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def emit(result: Any, *, as_json: bool, text: str | None = None) -> None:
    """Print ``result`` as JSON, or ``text``."""
    if as_json:
        click.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))
    elif text is not None:
        click.echo(text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    r"""Return rows as aligned columns, as wide as they are: nothing is cut off or wrapped.

    Parameters
    ----------
    headings
        Of the columns.
    rows
        Cells as text; of several lines in a cell one is made.
    right
        Headings of columns of numbers, separated by ``|``; those are aligned to the right.

    Examples
    --------
    >>> print(table(["model", "version"], [["bank", "12"], ["bank-full", "3"]], right="version"))
    model      version
    bank            12
    bank-full        3
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [heading in right.split("|") for heading in headings]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in cells
    )


def changes_text(changes: Sequence[Change]) -> str:
    """Return a plan as a table."""
    if not changes:
        return "nothing"
    columns = zip(*((each.action, each.kind, each.name) for each in changes), strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = (
        f"{change.action:<{widths[0]}}  {change.kind:<{widths[1]}}  "
        f"{change.name:<{widths[2]}}  {change.detail}".rstrip()
        for change in changes
    )
    return "\n".join(lines)


def schedule_line(one: Schedule, *, stopped: bool = False) -> str:
    """Return a schedule as people read it, with what it last saw below.

    ``stopped`` says that what keeps it does not run.
    """
    when = f'cron "{one.cron}" {one.timezone}' if one.cron else f"every {one.every}"
    state = "disabled" if not one.enabled else "stopped" if stopped else f"next {one.next}"
    if one.on_drift:
        when += f", if {one.on_drift} drifted"
    seen = f"\n  {one.checked}  {one.finding}" if one.finding else ""
    problem = f"\n  {one.error}" if one.error else ""
    return f"{one.name}  {one.pipeline}  {when}  {state}{seen}{problem}"


def program() -> str:
    """Return how this program is called from the current folder: by its name, or by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("twinml")
    if called.name != "twinml" or (found and called.exists() and os.path.samefile(found, called)):
        return "twinml"
    return os.path.relpath(called)


def open_in_browser(address: str) -> bool:
    """Open an address in the browser, where there is a display; tell whether it was opened."""
    if not _has_display():
        return False
    try:
        opened = webbrowser.open(address)
    except webbrowser.Error:
        opened = False
    if not opened:
        console().print("No browser could be started; open it yourself.")
    return opened


def _has_display() -> bool:
    """Say whether a browser window can appear; text browsers would take the terminal over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


# Progress


def wording(moment: Progress) -> str:
    """Return one line about a moment of a training run."""
    parts = [moment.phase]
    of = f" of {moment.total_trials}" if moment.total_trials is not None else ""
    parts.append(f"{moment.trials}{of} trials")
    if moment.best_name is not None:
        parts.append(f"best {moment.best_name} (loss {moment.best_loss:.4f})")
    if moment.left is not None:
        parts.append(f"{max(moment.left, 0.0):.0f} s left")
    else:
        parts.append(f"{moment.elapsed:.0f} s")
    return " · ".join(parts)


@contextmanager
def live() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback for ``twinml.training.train``.

    On a terminal one line changes in place; elsewhere a line is printed now and then.
    """
    if console().is_terminal:
        with console().status("starting") as status:
            yield lambda moment: status.update(wording(moment))
        return
    printed = time.monotonic()
    phase = "search"

    def print_now_and_then(moment: Progress) -> None:
        nonlocal printed, phase
        due = time.monotonic() - printed >= SECONDS_BETWEEN_LINES
        if due or (moment.phase != phase and moment.phase != "done"):
            console().print(f"        {wording(moment)}", soft_wrap=True)
            printed, phase = time.monotonic(), moment.phase

    yield print_now_and_then


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, float], None]]:
    """Yield a callback for how many were done and which share that is, 0 to 1.

    On a terminal one line changes in place; elsewhere a line is printed now and then.
    """
    started = printed = time.monotonic()

    def said(done: int, share: float) -> str:
        seconds = time.monotonic() - started
        left = f", {seconds * (1 - share) / share:.0f} s left" if share > 0.02 else ""
        return f"{done:,} {what}, {share:.0%}{left}"

    if console().is_terminal:
        with console().status("starting") as status:
            yield lambda done, share: status.update(said(done, share))
        return

    def print_now_and_then(done: int, share: float) -> None:
        nonlocal printed
        if time.monotonic() - printed >= SECONDS_BETWEEN_LINES:
            console().print(f"        {said(done, share)}", soft_wrap=True)
            printed = time.monotonic()

    yield print_now_and_then


# Errors


def show(error: TwinmlError, *, as_json: bool) -> None:
    """Print an error: as JSON to stdout, or in one line to stderr."""
    if as_json:
        click.echo(json.dumps(error.to_dict(), indent=2, default=str))
    else:
        click.echo(f"{click.style('error', fg='red', bold=True)}: {error}", err=True)


def errors_in_one_line(function: Callable[P, R]) -> Callable[P, R]:
    """Show a ``TwinmlError`` in one line with exit code 1; the traceback only with ``--debug``.

    With ``--json`` the error is printed to stdout in its JSON shape. Where the state folder is
    one of a parent folder, stderr says so first.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if home_is_elsewhere():
            click.echo(f"using {home()}", err=True)
        try:
            return function(*args, **kwargs)
        except TwinmlError as error:
            context = click.get_current_context()
            root = context.find_root()
            if root.params.get("debug"):
                raise
            show(error, as_json=bool(kwargs.get("as_json")))
            sys.exit(1)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            # Who reads has enough, as in `twinml models | head -1`: click ends quietly.
            raise
        except Exception as error:
            # What nobody foresaw is shown in one line as well; --debug gives the rest.
            if click.get_current_context().find_root().params.get("debug"):
                raise
            show(_unforeseen(error), as_json=bool(kwargs.get("as_json")))
            sys.exit(1)

    return wrapper


def _unforeseen(error: Exception) -> TwinmlError:
    from twinml.registry.store_errors import explained

    refused = explained(error, home())
    if refused is not None:
        return refused
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return UsageError(f"{where}{error.strerror}", hint="Check the path and its permissions.")
    text = (str(error).strip().splitlines() or [""])[0][:300]
    return TwinmlError(
        f"{type(error).__name__}: {text}", hint="This was not foreseen; twinml --debug shows more."
    )


# Ctrl-C


def keeps(what: str) -> None:
    """Set the sentence that is printed on Ctrl-C from here on; an empty one prints nothing."""
    click.get_current_context().meta[KEPT] = what


def interrupted(ctx: click.Context) -> NoReturn:
    """End with exit code 130 and say what is kept.

    Raises
    ------
    SystemExit
        Always.
    """
    kept = ctx.meta.get(KEPT, "What was finished before is kept.")
    if kept:
        click.echo(f"\ninterrupted. {kept}", err=True)
    sys.exit(INTERRUPTED)
