"""The training rows that are most like a row, by Gower's distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinml.contract import Column, Contract
from twinml.contract.dates import moment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Neighbour", "nearest_rows"]


@dataclass(frozen=True)
class Neighbour:
    """A training row.

    Attributes
    ----------
    position
        In the reference.
    distance
        0 (equal in all features) to 1: the mean over the features of 0 or 1 for categories, and
        of the difference by the training range, at most 1, for numbers and dates. Null differs
        from all but null.
    row
        Its features, and its label where that is kept.
    differs
        Features in which it differs.
    """

    position: int
    distance: float
    row: Mapping[str, Any]
    differs: tuple[str, ...]


def nearest_rows(
    contract: Contract, reference: pd.DataFrame, rows: Sequence[Mapping[str, Any]], k: int = 1
) -> list[list[Neighbour]]:
    """Return the ``k`` nearest reference rows of each row, nearest first (Gower 1971).

    Parameters
    ----------
    contract
        Gives the features and the training ranges.
    reference
        Training rows, m of them.
    rows
        To find neighbours of.
    k
        How many of each.

    Examples
    --------
    >>> from twinml.contract import infer_contract
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"age": [20, 40, 60], "job": ["a", "b", "a"]})
    >>> contract = infer_contract(rows, pd.Series(["no", "yes", "no"]), name="people")
    >>> found = nearest_rows(contract, rows, [{"age": 44, "job": "b"}])[0][0]
    >>> found.position, found.distance, found.differs
    (1, 0.05, ('age',))
    """
    known = [column for column in contract.columns if column.name in reference]
    parts = np.empty((len(known), len(rows), len(reference)))
    for place, column in enumerate(known):
        given = reference[column.name]
        parts[place] = (
            _by_range(given, rows, column.name, column.minimum, column.maximum, _number(column))
            if column.type in ("long", "double", "datetime")
            else _by_value(given, rows, column.name)
        )
    distances = parts.mean(axis=0)
    plain: Any = reference.astype(object)
    records = plain.where(reference.notna(), None).to_dict("records")
    found = []
    for number in range(len(rows)):
        order = np.argsort(distances[number], kind="stable")[:k]
        found.append(
            [
                Neighbour(
                    int(position),
                    float(distances[number, position]),
                    {str(name): value for name, value in records[position].items()},
                    tuple(
                        column.name
                        for place, column in enumerate(known)
                        if parts[place, number, position] > 0
                    ),
                )
                for position in order
            ]
        )
    return found


def _number(column: Column) -> Callable[[Any], float]:
    """Return what makes a number of a value; dates become seconds."""
    form = column.dates
    return float if form is None else lambda text: moment(text, form)


def _by_range(
    given: pd.Series[Any],
    rows: Sequence[Mapping[str, Any]],
    name: str,
    low: float | None,
    high: float | None,
    number: Callable[[Any], float],
) -> NDArray[np.float64]:
    ours = np.array(
        [np.nan if row[name] is None else number(row[name]) for row in rows], dtype=np.float64
    )[:, None]
    known = given.map(number, na_action="ignore")
    theirs = np.asarray(known, dtype=np.float64)[None, :]
    width = (high - low) if low is not None and high is not None and high > low else 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.minimum(np.abs(ours - theirs) / width, 1.0)
    neither = np.isnan(ours) & np.isnan(theirs)
    return np.where(neither, 0.0, np.where(np.isnan(apart), 1.0, apart))


def _by_value(
    given: pd.Series[Any], rows: Sequence[Mapping[str, Any]], name: str
) -> NDArray[np.float64]:
    theirs = [None if value is None or value != value else value for value in given.tolist()]
    return np.array([[float(row[name] != value) for value in theirs] for row in rows])
