"""Pairs of ordinary values that training never saw together: one row may not hold both.

``pdays = -1`` (never called before) with ``previous = 3`` is such a pair in the bank data. How
often a pair would be seen if its values had nothing to do with each other is the product of
their shares; where that is ten rows or more and not one was seen, it is no accident.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from twinml.contract import Contract

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UnseenPair", "unseen_pairs"]

LEAST_SHARE = 0.02  # of a value, to be called ordinary
LEAST_EXPECTED = 10.0  # rows; none of them is seen by accident once in 20,000 pairs


@dataclass(frozen=True)
class UnseenPair:
    """Two values that never came together.

    ``expected`` is in how many rows of the reference they would, were they independent.
    """

    first: str
    first_value: Any
    second: str
    second_value: Any
    expected: float

    def __str__(self) -> str:
        return f"{self.first}={self.first_value} with {self.second}={self.second_value}"


def unseen_pairs(contract: Contract, reference: pd.DataFrame, most: int = 12) -> list[UnseenPair]:
    """Return the most telling pairs, at most one a first feature.

    Parameters
    ----------
    contract
        Whose features to look at.
    reference
        Training rows.
    most
        How many pairs.

    Examples
    --------
    >>> from twinml.contract import infer_contract
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"calls": [0, 0, 3, 5] * 50, "last": ["never", "never", "won", "lost"]
    ...     * 50})
    >>> contract = infer_contract(rows, pd.Series(["no", "yes"] * 100), name="calls")
    >>> print(unseen_pairs(contract, rows)[0])
    calls=0 with last=lost
    """
    columns, values, hits = [], [], []
    for column in contract.columns:
        if column.name not in reference:
            continue
        given = reference[column.name]
        shares = given.value_counts(normalize=True)
        discrete = len(shares) <= 12 or not is_numeric_dtype(given) or is_bool_dtype(given)
        # Of a number with many values only those that stand out, such as -1 or 0, are values.
        least = LEAST_SHARE if discrete else 0.1
        for value in sorted(shares.index[shares >= least], key=str):
            columns.append(column.name)
            values.append(value.item() if hasattr(value, "item") else value)
            hits.append((given == value).to_numpy())
    if not hits:
        return []
    matrix = np.array(hits, dtype=np.float64)
    seen = matrix @ matrix.T
    expected = np.outer(matrix.sum(axis=1), matrix.sum(axis=1)) / len(reference)
    names = np.array(columns, dtype=object)
    candidates = (seen == 0) & (expected >= LEAST_EXPECTED) & (names[:, None] != names[None, :])
    found: list[UnseenPair] = []
    used: set[str] = set()
    pairs: set[frozenset[int]] = set()
    rows, others = np.nonzero(candidates)
    for place in np.argsort(-expected[rows, others], kind="stable"):
        row, other = int(rows[place]), int(others[place])
        if columns[row] in used or frozenset((row, other)) in pairs:
            continue
        used.add(columns[row])
        pairs.add(frozenset((row, other)))
        found.append(
            UnseenPair(
                columns[row],
                values[row],
                columns[other],
                values[other],
                float(expected[row, other]),
            )
        )
        if len(found) == most:
            break
    return found
