"""What the rows of a request become when the server reads them with ``pandas.read_json``.

Azure's scoring script for MLflow models reads ``input_data`` with ``read_json(orient="split",
dtype=False)`` and casts each column to the type of the model's example (package
``inference-schema``, ``PandasParameterType``). Its quick float parser is off by an ulp for
many decimals, and columns named like dates (``date``, ``…_at``, ``timestamp…``) are converted
to dates. Here the same is done to the same rows, so that a difference of predictions can be
told apart: the input became another one, or the model answers otherwise.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twinml.contract import Contract

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Changed", "changed_cells", "identical", "read_as_pandas"]

DTYPES = {"long": "int64", "double": "float64", "boolean": "bool", "string": "object"}


@dataclass(frozen=True)
class Changed:
    """A cell that became another value; ``row`` counts the rows of the comparison from 0."""

    row: int
    column: str
    sent: Any
    became: Any


def read_as_pandas(contract: Contract, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows of one request as that server hands them to the model.

    Raises
    ------
    ValueError, TypeError, OverflowError
        The server cannot read them; it answers with an error.

    Examples
    --------
    >>> from twinml.contract import Column
    >>> contract = Contract(
    ...     name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2, samples=(),
    ...     columns=(Column("rate", "double", nullable=True),),
    ... )
    >>> read_as_pandas(contract, [{"rate": 0.3333333333333333}])["rate"].item()
    0.33333333333333304
    """
    import pandas as pd

    names = list(contract.column_names)
    body = {
        "columns": names,
        "index": list(range(len(rows))),
        "data": [[row[name] for name in names] for row in rows],
    }
    frame = pd.read_json(io.StringIO(json.dumps(body)), orient="split", dtype=False)
    return frame.astype({column.name: DTYPES[column.mlflow_type] for column in contract.columns})


def changed_cells(
    contract: Contract, rows: Sequence[Mapping[str, Any]], frame: pd.DataFrame, first: int = 0
) -> list[Changed]:
    """Return the cells of ``frame`` that are not what ``rows`` said; ``first`` numbers row 0."""
    found = []
    for column in contract.columns:
        became = frame[column.name].tolist()
        for number, (row, value) in enumerate(zip(rows, became, strict=True)):
            if not _same(row[column.name], value):
                found.append(Changed(first + number, column.name, row[column.name], value))
    return sorted(found, key=lambda cell: cell.row)


def identical(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Tell whether two frames hold the same to the last bit: names, dtypes, values, their types.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"n": [0.0, 1.5], "t": ["a", None]})
    >>> identical(frame, frame.copy()), identical(frame, frame.assign(n=[-0.0, 1.5]))
    (True, False)
    >>> identical(frame, frame.assign(t=["a", float("nan")])), identical(frame, frame[["t", "n"]])
    (False, False)
    """
    if list(one.columns) != list(other.columns) or len(one) != len(other):
        return False
    for name in one.columns:
        here, there = one[name].to_numpy(), other[name].to_numpy()
        if here.dtype != there.dtype:
            return False
        if here.dtype != object:
            if here.tobytes() != there.tobytes():
                return False
        elif not all(
            type(a) is type(b) and (a == b or (a != a and b != b))
            for a, b in zip(here, there, strict=True)
        ):
            return False
    return True


def _same(sent: Any, became: Any) -> bool:
    if sent is None or became is None:
        return (sent is None or sent != sent) and (became is None or became != became)
    if isinstance(sent, float) and sent == 0 == became:
        return math.copysign(1, sent) == math.copysign(1, float(became))
    return bool(sent == became)
