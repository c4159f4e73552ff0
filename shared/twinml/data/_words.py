"""Values and counts for messages about data."""

from __future__ import annotations

__all__ = ["count", "listed", "shown"]


def shown(value: object) -> str:
    """Return a class or value for a message: texts in quotes and cut, numbers as they are."""
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 40 else f"'{value[:39]}…'"
    return str(value)


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun.

    >>> count(1, "row", "rows"), count(1200, "row", "rows")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {one if number == 1 else many}"


def listed(names: list[str], most: int = 5) -> str:
    """Return names in quotes, the first of many.

    >>> listed(["a", "b", "c"], 2)
    "'a', 'b', …"
    """
    return ", ".join(map(shown, names[:most])) + (", …" if len(names) > most else "")
