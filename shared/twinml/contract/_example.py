"""Request bodies that a contract accepts, made of what it says of its columns.

None of them holds a row of the training data: these bodies stand in documents that anybody
may read. A value is a category, a number near the middle of the range, or true and false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from twinml.contract._method import Method
from twinml.contract._schema import Column, Contract
from twinml.contract.dates import written
from twinml.contract.dialects import DIALECTS, JSON
from twinml.errors import UsageError

__all__ = ["example", "example_csv", "example_rows", "typical_rows"]

# Of the range of a number, in the rows in turn.
SHARES = (0.5, 0.4, 0.6, 0.45, 0.55)
TEXT = "text"


def example_rows(contract: Contract, n: int = 2) -> list[dict[str, Any]]:
    """Return ``n`` rows that the contract accepts."""
    return list(typical_rows(contract.columns, n))


def typical_rows(columns: Sequence[Column], n: int) -> tuple[dict[str, Any], ...]:
    """Return ``n`` rows made of columns, the same ones every time."""
    return tuple({column.name: _typical(column, row) for column in columns} for row in range(n))


def example(
    contract: Contract, dialect: str, n: int = 2, method: Method = "predict"
) -> dict[str, Any]:
    """Return a valid request body, to be sent as JSON.

    Parameters
    ----------
    contract
        Of the model.
    dialect
        Name of any but ``csv``; see :func:`example_csv` for that.
    n
        Rows, at least 1.
    method
        One of the contract's.

    Raises
    ------
    UsageError
        There is no such dialect, or no rows are asked for.
    """
    if n < 1:
        raise UsageError(f"an example of {n} rows", hint="Ask for at least one row.")
    chosen = DIALECTS.get(dialect)
    if chosen is None or chosen.media_type != JSON:
        raise UsageError(
            f"there is no JSON example of the dialect {dialect!r}",
            hint="Use example_csv for CSV.",
        )
    body: dict[str, Any] = chosen.example(example_rows(contract, n), method)
    return body


def example_csv(contract: Contract, n: int = 2) -> str:
    """Return ``n`` rows as CSV with a header, to be sent as ``text/csv``; null is empty."""
    text: str = DIALECTS["csv"].example(example_rows(contract, n), "predict")
    return text


def _typical(column: Column, row: int) -> Any:
    """Return a value of a column for one of the rows.

    >>> _typical(Column("age", "long", nullable=False, minimum=18, maximum=95), 0)
    56
    >>> [_typical(Column("rate", "double", nullable=True, minimum=0.0, maximum=0.7), row)
    ...  for row in (0, 1)]
    [0.35, 0.28]
    """
    if column.type == "boolean":
        return row % 2 == 0
    if column.mlflow_type == "string" and column.dates is None:
        return column.categories[row % len(column.categories)] if column.categories else TEXT
    low = 0 if column.minimum is None else column.minimum
    high = 0 if column.maximum is None else column.maximum
    share = SHARES[row % len(SHARES)]
    if column.dates is not None:
        return written(low * (1 - share) + high * share, column.dates)
    if column.type == "long":
        # In integers, which hold what a float would round.
        return int(low) + (int(high) - int(low)) * round(share * 100) // 100
    # Halves first: the difference of the ends may be beyond the floats.
    middle = low * (1 - share) + high * share
    spread = high / 2 - low / 2
    if spread > 0:
        # Two digits of what the column varies by, as people write numbers.
        middle = round(middle, 1 - math.floor(math.log10(spread)))
    return min(max(float(middle), float(low)), float(high))
