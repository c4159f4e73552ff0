"""Names and values in messages: one line, and never more than a stated length."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from typing import Any

import orjson

__all__ = ["LARGEST", "MOST_DETAILS", "SMALLEST", "kind", "listed", "shown", "shown_text"]

SMALLEST, LARGEST = -(2**63), 2**63 - 1
LONGEST_VALUE = 80
MOST_NAMES = 20
MOST_DETAILS = 20


def shown(value: Any) -> str:
    """Return ``value`` for a message: as JSON writes it, at most 80 characters, valid UTF-8.

    >>> shown("abc"), shown(None), shown(True), shown(float("nan")), shown([1, "x"])
    ("'abc'", 'null', 'true', 'NaN', '[1,"x"]')
    """
    if isinstance(value, str):
        return f"'{shown_text(value)}'"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return f"an integer of {value.bit_length()} bits"
    try:
        return shown_text(orjson.dumps(value).decode())
    except TypeError:
        # Deep nesting or integers beyond 64 bits inside.
        return "an array" if isinstance(value, list) else "an object"


def kind(value: Any) -> str:
    """Return the JSON type of ``value`` for a message."""
    kinds = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def listed(names: Collection[str]) -> str:
    """Return at most 20 names for a message, and how many more there are.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    first = ", ".join(shown(name) for name in itertools.islice(names, MOST_NAMES))
    more = len(names) - MOST_NAMES
    return f"{first} and {more:,} more" if more > 0 else first


def shown_text(text: str) -> str:
    """Return at most 80 characters of ``text`` in one line."""
    if len(text) > LONGEST_VALUE:
        text = f"{text[:LONGEST_VALUE]}…"
    if text.isprintable():
        return text
    # A line break in a message would start a line of its own in a log.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
