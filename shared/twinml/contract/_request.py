"""What a scoring request asks for, whatever dialect it came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinml.contract._method import Method
from twinml.contract._schema import ColumnType
from twinml.contract.dialects import Dialect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoringRequest", "frame_of"]

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
        return frame_of(self.columns, self.types)


def frame_of(columns: Mapping[str, Sequence[Any]], types: Sequence[ColumnType]) -> pd.DataFrame:
    """Return converted columns of one length as a frame with the dtypes of ``types``."""
    import numpy as np
    import pandas as pd

    arrays = {}
    for (name, values), column_type in zip(columns.items(), types, strict=True):
        arrays[name] = np.empty(len(values), dtype=DTYPES[column_type])
        arrays[name][:] = values
    return pd.DataFrame(arrays, copy=False)
