"""How few rows are enough, and below how many none are held out."""

from __future__ import annotations

__all__ = ["FEWEST_HELD_OUT", "FEWEST_ROWS", "fewest_of_class", "holds_out"]

# Fewer give no estimate that means anything: an accuracy of .8 of 30 rows is .61 to .92.
FEWEST_ROWS = 30
# A fifth of fewer rows is less than 20: what they say of a model is mostly chance, and the model
# that they are to judge misses them. All rows are judged out of fold instead.
FEWEST_HELD_OUT = 100


def holds_out(rows: int, *, forward: bool = False) -> bool:
    """Tell whether rows are held out for the estimate, and not all judged out of fold.

    Parameters
    ----------
    forward
        Whether the last rows were asked for: folds cannot stand for the future.

    Examples
    --------
    >>> holds_out(99), holds_out(100), holds_out(30, forward=True)
    (False, True, True)
    """
    return forward or rows >= FEWEST_HELD_OUT


def fewest_of_class(rows: int) -> int:
    """Return how many rows a class must have, of a table with so many.

    One for each of the five folds; of 7 rows 5 or 6 stay where a fifth is held out.

    Examples
    --------
    >>> fewest_of_class(99), fewest_of_class(100)
    (5, 7)
    """
    return 7 if holds_out(rows) else 5
