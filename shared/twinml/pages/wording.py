"""How pages and pictures write numbers, durations and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "counted",
    "edge",
    "listed",
    "number",
    "percent",
    "quantity",
    "seconds",
    "sentence",
    "shorten",
]

NOTHING = "–"


def number(value: Any, digits: int = 3) -> str:
    """Write a number with fixed decimals; a missing one as a dash.

    Examples
    --------
    >>> number(0.94712), number(float("nan")), number(-0.0004)
    ('0.947', '–', '0.000')

    """
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    # "-0.000" would claim a sign that the shown digits do not carry.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def counted(many: int, one: str, several: str = "") -> str:
    """Write a count with its noun, in the singular or the plural.

    Examples
    --------
    >>> counted(1, "row"), counted(45211, "row"), counted(2, "class", "classes")
    ('1 row', '45,211 rows', '2 classes')

    """
    return f"{many:,} {one if many == 1 else several or one + 's'}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Write names in quotation marks, the first of many.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    '“a”, “b” and 1 more'

    """
    shown = ", ".join(f"“{name}”" for name in names[:most])
    return shown + (f" and {len(names) - most:,} more" if len(names) > most else "")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share as per cent.

    Examples
    --------
    >>> percent(0.9063)
    '90.6%'

    """
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}%"


def seconds(value: Any) -> str:
    """Write a duration with one decimal, and from two minutes on in minutes too.

    Examples
    --------
    >>> seconds(0.04), seconds(61.26), seconds(754)
    ('0.0 s', '61.3 s', '12 min 34 s')

    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def quantity(value: Any) -> str:
    """Write any cell of a table: integers with thousands, floats with up to four digits.

    Examples
    --------
    >>> quantity(45211), quantity(0.11698), quantity(1362.2720), quantity("admin."), quantity(None)
    ('45,211', '0.117', '1,362', 'admin.', '–')

    """
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        if not math.isfinite(value):
            return NOTHING
        if value == int(value) and abs(value) < 1e15:
            return f"{int(value):,}".replace("-", "−")
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
        text = f"{value:,.{digits}f}" if abs(value) >= 1 else f"{value:.3g}"
        return text.replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {quantity(item)}" for key, item in value.items()) or NOTHING
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(quantity(item) for item in value) or NOTHING
    return str(value) or NOTHING


def edge(value: float) -> str:
    """Write the end of a range: as ``quantity``, but a year is no thousands.

    Examples
    --------
    >>> edge(1975.0), edge(45211.0), edge(0.25)
    ('1975', '45,211', '0.25')

    """
    whole = float(value).is_integer() and abs(value) < 10_000
    return f"{value:.0f}".replace("-", "−") if whole else quantity(float(value))


def sentence(text: str) -> str:
    """Return ``text`` as a sentence: a capital first, a full stop last.

    Examples
    --------
    >>> sentence("the order of the rows is not known")
    'The order of the rows is not known.'

    """
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def shorten(text: object, length: int = 28) -> str:
    """Return ``text`` on one line of at most ``length`` characters, for labels in pictures.

    Examples
    --------
    >>> shorten("number of contacts during this campaign", 16)
    'number of conta…'

    """
    line = "".join(sign if sign.isprintable() else " " for sign in str(text)).strip()
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
