"""Free text: columns whose cells are sentences, of which words are learned and not the whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FreeText", "is_free_text"]

WORD = re.compile(r"\w+")
FEWEST_WORDS = 4.0  # of a cell, on average
LEAST_DISTINCT = 0.5  # of the cells: what comes again and again is a category
FEWEST_TEXTS = 20  # different ones


@dataclass(frozen=True)
class FreeText:
    """A column of free text, in the place of a notation."""

    def __str__(self) -> str:
        """Say it in words, for remarks and documents."""
        return "free text"


def is_free_text(texts: Sequence[str], cells: int) -> bool:
    """Tell whether a column is free text: most cells differ, and have several words.

    Parameters
    ----------
    texts
        Different values of the column, without nulls.
    cells
        How many are not null.

    Examples
    --------
    >>> is_free_text([f"this is sentence number {one}" for one in range(20)], 40)
    True
    >>> is_free_text([f"this is sentence number {one}" for one in range(20)], 41)
    False
    """
    if len(texts) < FEWEST_TEXTS or len(texts) < LEAST_DISTINCT * cells:
        return False
    return sum(len(WORD.findall(text)) for text in texts) >= FEWEST_WORDS * len(texts)
