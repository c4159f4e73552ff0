"""Values and rows as the JSON that an endpoint takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["native", "records"]


def native(value: Any) -> Any:
    """Return a numpy scalar as a Python one, and NaN as ``None``."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one object a row; a null of any kind is ``None``.

    Examples
    --------
    >>> import pandas as pd
    >>> records(pd.DataFrame({"age": [56, 41], "balance": [2.5, None]}))
    [{'age': 56, 'balance': 2.5}, {'age': 41, 'balance': None}]
    """
    plain: Any = frame.astype(object)
    plain = plain.where(frame.notna(), None)
    return [
        {str(name): native(value) for name, value in row.items()}
        for row in plain.to_dict(orient="records")
    ]
