"""The site's templates, and what they write values with."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from twinml.pages import wording
from twinml.pages.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["ago", "day", "templates"]


@cache
def templates() -> Environment:
    """Return the templates of the site, over those that all pages share."""
    made = environment(Path(__file__).parent / "templates")
    made.filters.update(
        {
            "ago": ago,
            "day": day,
            "quantity": wording.quantity,
            "number": wording.number,
            "percent": wording.percent,
            "seconds": wording.seconds,
            "sentence": wording.sentence,
            "shorten": wording.shorten,
        }
    )
    return made


def day(moment: float | str | None) -> str:
    """Write a time, in seconds since 1970 or ISO 8601, to the minute in UTC.

    Examples
    --------
    >>> day(1764324000), day("2026-11-28T07:05:59.1+00:00"), day(None)
    ('2025-11-28 10:00', '2026-11-28 07:05', '–')
    """
    if not moment:
        return wording.NOTHING
    if isinstance(moment, str):
        return moment[:16].replace("T", " ")
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"


def ago(moment: float | None, now: float | None = None) -> str:
    """Write how long ago a time was.

    Examples
    --------
    >>> [ago(0, now) for now in (30, 119, 7300, 200000)], ago(None)
    (['30 s ago', '1 min ago', '2 h ago', '2 days ago'], '–')
    """
    if moment is None:
        return wording.NOTHING
    passed = max(0.0, (datetime.now(UTC).timestamp() if now is None else now) - moment)
    for size, unit, most in ((1, "s", 60), (60, "min", 3600), (3600, "h", 86_400)):
        if passed < most:
            return f"{passed // size:.0f} {unit} ago"
    days = int(passed // 86_400)
    return f"{days} day{'s' * (days > 1)} ago"
