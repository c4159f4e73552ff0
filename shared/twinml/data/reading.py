"""What was asked of the reading of a file, as one text that a pipeline's input can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from twinml.data._target import RARE
from twinml.data._task import TASKS
from twinml.errors import UsageError

__all__ = ["NONE", "options_of", "text_of"]

NONE = "none"


def text_of(options: Mapping[str, Any]) -> str:
    """Return options of ``load`` as text; those that have their default are left out.

    >>> text_of({"keep": ("id", "no."), "rare": "join", "sheet": None})
    'keep=id&keep=no.&rare=join'
    >>> text_of({"keep": (), "rare": "drop", "sheet": None})
    'none'
    """
    keep = options.get("keep", ())
    words = [
        *(("keep", column) for column in ([keep] if keep == "all" else keep)),
        *(("rare", rare) for rare in [options.get("rare", RARE[0])] if rare != RARE[0]),
        *((name, options[name]) for name in ("sheet", "task") if options.get(name) is not None),
    ]
    return urlencode(words) or NONE


def options_of(text: str) -> dict[str, Any]:
    """Return the options of ``load`` that ``text_of`` wrote.

    >>> options_of("keep=id&rare=join"), options_of("keep=all"), options_of("none")
    ({'keep': ['id'], 'rare': 'join'}, {'keep': 'all'}, {})

    Raises
    ------
    UsageError
        It is no such text.
    """
    if text == NONE:
        return {}
    try:
        found: dict[str, Any] = parse_qs(text, strict_parsing=True)
    except ValueError:
        found = {"": text}
    unknown = sorted(set(found) - {"keep", "rare", "sheet", "task"})
    if unknown or found.get("task", [TASKS[0]])[-1] not in TASKS:
        raise UsageError(
            f"'{text}' does not say how a file is read",
            hint="Write none, or as in keep=COLUMN&rare=join&sheet=NAME&task=regression.",
        )
    listed = found.get("keep") not in (None, ["all"])
    return {
        name: words if name == "keep" and listed else words[-1] for name, words in found.items()
    }
