"""What a scoring request asks for, whatever dialect it came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from twinml.contract._schema import ColumnType

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROUTES", "Dialect", "Method", "Route", "ScoringRequest"]

Dialect: TypeAlias = Literal[
    "data",
    "inputs",
    "input_data",
    "dataframe_split",
    "dataframe_records",
    "instances",
    "mlflow_inputs",
    "csv",
]
Method: TypeAlias = Literal["predict", "predict_proba"]

Route: TypeAlias = Literal["score", "invocations"]

# Which key of a body on which route stands for which dialect.
ROUTES: dict[Route, dict[str, Dialect]] = {
    "score": {"data": "data", "Inputs": "inputs", "input_data": "input_data"},
    "invocations": {
        "dataframe_split": "dataframe_split",
        "dataframe_records": "dataframe_records",
        "instances": "instances",
        "inputs": "mlflow_inputs",
    },
}

DTYPES: dict[ColumnType, str] = {
    "long": "int64",
    "double": "float64",
    "string": "object",
    "boolean": "bool",
}


@dataclass(frozen=True)
class ScoringRequest:
    """Rows to score, column-wise, checked against the contract.

    Attributes
    ----------
    dialect
        How the request was written; :func:`twinml.contract.render` answers in kind.
    columns
        By name, in contract order: ``int`` for long, ``float`` for double (null is nan),
        ``bool`` for boolean. String columns hold ``str`` and ``None``; a number or boolean
        sent there stays one in the dialects where MLflow keeps it, and is to the model an
        unknown category.
    n_rows
        Length of every column, at least 1.
    method
        ``predict`` for labels, ``predict_proba`` for probabilities.
    types
        MLflow type names, in contract order.
    """

    dialect: Dialect
    columns: dict[str, list[Any]]
    n_rows: int
    method: Method
    types: tuple[ColumnType, ...] = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return the rows with the dtypes int64, float64, object and bool; a fresh frame."""
        import numpy as np
        import pandas as pd

        arrays = {}
        for (name, values), column_type in zip(self.columns.items(), self.types, strict=True):
            array = np.empty(self.n_rows, dtype=DTYPES[column_type])
            array[:] = values
            arrays[name] = array
        return pd.DataFrame(arrays, copy=False)
