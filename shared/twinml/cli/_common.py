"""What every verb shares: output as text or JSON, and errors as one line."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.markup import escape

from twinml.errors import TwinmlError, UsageError

if TYPE_CHECKING:
    from twinml.platform.abilities import Change

__all__ = ["changes_text", "console", "emit", "errors_in_one_line", "json_option", "on_option"]

P = ParamSpec("P")
R = TypeVar("R")

# Progress and remarks go to stderr, results to stdout: `twinml … --json | jq` stays clean.
console = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
on_option = click.option(
    "--on",
    "platform_name",
    default="local",
    show_default=True,
    metavar="PLATFORM",
    help="Where: local, rehearsal or azure.",
)


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
    """Print ``result`` as JSON, or ``text`` for people."""
    if as_json:
        click.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))
    elif text is not None:
        click.echo(text)


def changes_text(changes: Sequence[Change]) -> str:
    """Return a plan as a table for people."""
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


def show(error: TwinmlError, *, as_json: bool) -> None:
    """Print an error: as JSON to stdout, or in one line to stderr."""
    if as_json:
        click.echo(json.dumps(error.to_dict(), indent=2, default=str))
    else:
        console.print(f"[bold red]error[/]: {escape(str(error))}", soft_wrap=True)


def errors_in_one_line(function: Callable[P, R]) -> Callable[P, R]:
    """Show a ``TwinmlError`` in one line with exit code 1; the traceback only with ``--debug``.

    With ``--json`` the error is printed to stdout in its JSON shape.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TwinmlError as error:
            context = click.get_current_context()
            root = context.find_root()
            if root.params.get("debug"):
                raise
            show(error, as_json=bool(kwargs.get("as_json")))
            sys.exit(1)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            # What nobody foresaw is shown in one line as well; --debug gives the rest.
            if click.get_current_context().find_root().params.get("debug"):
                raise
            show(_unforeseen(error), as_json=bool(kwargs.get("as_json")))
            sys.exit(1)

    return wrapper


def _unforeseen(error: Exception) -> TwinmlError:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return UsageError(f"{where}{error.strerror}", hint="Check the path and its permissions.")
    text = (str(error).strip().splitlines() or [""])[0][:300]
    return TwinmlError(
        f"{type(error).__name__}: {text}", hint="This was not foreseen; twinml --debug shows more."
    )
