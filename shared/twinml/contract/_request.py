"""What a scoring request asks for, whatever dialect it came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twinml.contract._method import Method
from twinml.contract._schema import Contract, SignatureType
from twinml.contract.azure import AzureDifference
from twinml.contract.dialects import Dialect
from twinml.contract.intervals import DEFAULT_LEVEL

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScoringRequest", "frame_of", "is_masked", "model_frame"]

DTYPES: dict[SignatureType, str] = {
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
        ``bool`` for boolean; ``str`` and ``None`` for string and datetime. Nullable longs and
        booleans are doubles.
    n_rows
        Length of every column, at least 1.
    method
        ``predict`` for labels or numbers, ``predict_proba`` for probabilities,
        ``predict_interval`` for lower and upper bounds.
    types
        In MLflow's signature, in contract order.
    level
        The share of rows that intervals are to hold.
    azure
        What Azure's side would refuse of the request, or read as something else.
    """

    dialect: Dialect
    columns: dict[str, list[Any]]
    n_rows: int
    method: Method
    types: tuple[SignatureType, ...] = field(repr=False)
    level: float = DEFAULT_LEVEL
    azure: AzureDifference | None = None

    def frame(self) -> pd.DataFrame:
        """Return the rows with the dtypes int64, float64, object and bool; a fresh frame."""
        return frame_of(self.columns, self.types)


def model_frame(frame: pd.DataFrame, contract: Contract | None = None) -> pd.DataFrame:
    """Return rows with the dtypes in which a model gets them: of numpy, without pandas' masks.

    Nullable integers and booleans become ``float64``, and null nan, as :func:`frame_of` makes
    them for a request. Other columns stay as they are; so does what stands under a name that
    is text in ``contract``, as text: a model of an earlier version learned it so.

    Examples
    --------
    >>> import pandas as pd
    >>> model_frame(pd.DataFrame({"paid": pd.array([True, None], "boolean")}))["paid"].tolist()
    [1.0, nan]
    """
    texts = {
        column.name for column in (contract.columns if contract else ()) if column.type == "string"
    }
    masked = {
        name: "object" if name in texts else "float64"
        for name in frame.columns
        if is_masked(frame[name])
    }
    if not masked:
        return frame
    made = frame.astype(masked)
    for name in texts & masked.keys():
        made[name] = made[name].map(str, na_action="ignore")
    return made


def is_masked(series: pd.Series) -> bool:
    """Tell whether a column is of one of pandas' types that hold null beside their values."""
    from pandas.api.types import is_bool_dtype, is_extension_array_dtype, is_numeric_dtype

    dtype = series.dtype
    return is_extension_array_dtype(dtype) and (is_numeric_dtype(dtype) or is_bool_dtype(dtype))


def frame_of(columns: Mapping[str, Sequence[Any]], types: Sequence[SignatureType]) -> pd.DataFrame:
    """Return converted columns of one length as a frame with the dtypes of ``types``."""
    import numpy as np
    import pandas as pd

    arrays = {}
    for (name, values), column_type in zip(columns.items(), types, strict=True):
        arrays[name] = np.empty(len(values), dtype=DTYPES[column_type])
        arrays[name][:] = values
    return pd.DataFrame(arrays, copy=False)
