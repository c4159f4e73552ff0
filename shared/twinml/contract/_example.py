"""Request bodies that a contract accepts, made of its sample rows."""

from __future__ import annotations

from typing import Any

from twinml.contract._method import Method
from twinml.contract._schema import Column, Contract
from twinml.contract.dialects import DIALECTS, JSON
from twinml.errors import UsageError

__all__ = ["example", "example_csv", "example_rows"]


def example_rows(contract: Contract, n: int = 2) -> list[dict[str, Any]]:
    """Return ``n`` rows: the sample rows in turn, or one made of the column facts."""
    samples = contract.samples or ({c.name: _typical(c) for c in contract.columns},)
    return [
        {name: samples[number % len(samples)][name] for name in contract.column_names}
        for number in range(n)
    ]


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
        ``predict`` or ``predict_proba``.

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


def _typical(column: Column) -> Any:
    if column.type == "boolean":
        return False
    if column.type == "string":
        return column.categories[0] if column.categories else None
    if column.minimum is not None:
        return column.minimum
    return 0 if column.type == "long" else 0.0
