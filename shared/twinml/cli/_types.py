"""What options and arguments stand for: lengths of time, and names that a shell can complete.

A name is completed from what is there on this machine; other platforms are not asked while
somebody types.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from click.shell_completion import CompletionItem

from twinml.settings import quiet_libraries

if TYPE_CHECKING:
    TimeType: TypeAlias = click.ParamType[timedelta]
    TextType: TypeAlias = click.ParamType[str]
else:
    # click 8.1 has no type arguments at run time.
    TimeType = TextType = click.ParamType

__all__ = [
    "DEPLOYMENT",
    "ENDPOINT",
    "MODEL",
    "MODEL_NAME",
    "MODEL_OR_DIRECTORY",
    "PIPELINE",
    "PLATFORM",
    "SIDE",
    "TIME",
]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
HERE = "local"


class LengthOfTime(TimeType):
    """Reads a length of time.

    Examples
    --------
    >>> LengthOfTime().convert("90s", None, None)
    datetime.timedelta(seconds=90)
    """

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the length; fails for what is none, such as ``0s`` or ``1.5h``."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", value.strip())
        if found is None:
            self.fail(f"{value!r} is not a length of time such as 90s, 15m, 1h or 7d", param, ctx)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


class Name(TextType):
    """Text that the shell completes from ``names``."""

    name = "text"

    def __init__(self, names: Callable[[click.Context], Iterable[str]], *, files: bool = False):
        self._names, self._files = names, files

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is; the verb reports a file or model that does not exist."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like ``incomplete``, and files where those may be meant."""
        quiet_libraries()
        found: list[str] = []
        # Nobody reads an error while a word is completed.
        with contextlib.suppress(Exception):
            found = sorted(name for name in self._names(ctx) if name.startswith(incomplete))
        items = [CompletionItem(name) for name in found]
        return items + ([CompletionItem(incomplete, type="file")] if self._files else [])


def _asks_here(ctx: click.Context) -> bool:
    return ctx.params.get("platform_name") in (None, HERE)


def _endpoints(ctx: click.Context) -> Iterable[str]:
    from twinml.platform import load

    return [info.name for info in load(HERE).endpoints()] if _asks_here(ctx) else []


def _deployments(ctx: click.Context) -> Iterable[str]:
    from twinml.platform import load

    named = ctx.params.get("endpoint_name")
    infos = load(HERE).endpoints() if _asks_here(ctx) else ()
    return {name for info in infos if named in (None, info.name) for name in info.deployments}


def _pipelines(ctx: click.Context) -> Iterable[str]:
    from twinml.platform import load

    return [info.name for info in load(HERE).pipelines()] if _asks_here(ctx) else []


def _platforms(ctx: click.Context) -> Iterable[str]:
    from twinml.platform import available

    return available()


def _models(ctx: click.Context) -> Iterable[str]:
    from twinml.platform import load
    from twinml.registry.listing import listed

    if not _asks_here(ctx):
        return []
    found = [one.version for one in listed(load(HERE).tracking_uri)]
    return {
        word
        for one in found
        for word in (
            one.name,
            f"{one.name}/{one.version}",
            *(f"{one.name}@{alias}" for alias in one.aliases),
        )
    }


def _bare_models(ctx: click.Context) -> Iterable[str]:
    return {word for word in _models(ctx) if not re.search("[/@]", word)}


TIME = LengthOfTime()
ENDPOINT = Name(_endpoints)
DEPLOYMENT = Name(_deployments)
PIPELINE = Name(_pipelines)
PLATFORM = Name(_platforms)
MODEL_NAME = Name(_bare_models)
"""A registered model by its name alone."""
MODEL = Name(_models)
"""NAME, NAME/VERSION or NAME@ALIAS of a registered model."""
MODEL_OR_DIRECTORY = Name(_models, files=True)
"""As ``MODEL``, or the directory of a model."""
SIDE = Name(lambda ctx: {*_models(ctx), *_deployments(ctx)}, files=True)
"""A model or a deployment."""
