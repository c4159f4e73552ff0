"""Request bodies that a contract accepts, made of its sample rows."""

from __future__ import annotations

import csv
import io
from typing import Any

from twinml.contract._request import Dialect, Method
from twinml.contract._schema import Column, Contract
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
    contract: Contract, dialect: Dialect, n: int = 2, method: Method = "predict"
) -> dict[str, Any]:
    """Return a valid request body, to be sent as JSON.

    Parameters
    ----------
    contract
        Of the model.
    dialect
        Any but ``csv``; see :func:`example_csv` for that.
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
    rows = example_rows(contract, n)
    names = list(contract.column_names)
    split = {"columns": names, "index": list(range(n)), "data": [list(r.values()) for r in rows]}
    params = {} if method == "predict" else {"params": {"method": method}}
    if dialect == "data":
        return {"data": rows} | ({} if method == "predict" else {"method": method})
    if dialect == "inputs":
        return {"Inputs": {"data": rows}, "GlobalParameters": {"method": method}}
    if dialect == "input_data":
        return {"input_data": split, "params": params.get("params", {})}
    if dialect == "dataframe_split":
        return {"dataframe_split": split} | params
    if dialect == "dataframe_records":
        return {"dataframe_records": rows} | params
    if dialect == "instances":
        return {"instances": rows} | params
    if dialect == "mlflow_inputs":
        return {"inputs": {name: [row[name] for row in rows] for name in names}} | params
    raise UsageError(
        f"there is no JSON example of the dialect {dialect!r}",
        hint="Use example_csv for CSV.",
    )


def example_csv(contract: Contract, n: int = 2) -> str:
    """Return ``n`` rows as CSV with a header, to be sent as ``text/csv``; null is empty."""
    rows = example_rows(contract, n)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(contract.column_names)
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _typical(column: Column) -> Any:
    if column.type == "boolean":
        return False
    if column.type == "string":
        return column.categories[0] if column.categories else None
    if column.minimum is not None:
        return column.minimum
    return 0 if column.type == "long" else 0.0
