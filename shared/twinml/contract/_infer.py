"""A contract from training rows: types, categories, ranges and classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from twinml.contract._example import typical_rows
from twinml.contract._request import is_masked
from twinml.contract._schema import Column, ColumnType, Contract, Label
from twinml.contract._words import LARGEST, SMALLEST, listed
from twinml.contract.dates import DateForm, moment
from twinml.contract.free_text import FreeText
from twinml.contract.intervals import PredictionIntervals
from twinml.contract.notation import PLAIN, Notation
from twinml.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["infer_contract"]

MOST_CATEGORIES = 1000
MOST_CLASSES = 1000
SAMPLE_ROWS = 5


def infer_contract(
    features: pd.DataFrame,
    labels: pd.Series,
    *,
    name: str,
    notations: Mapping[str, Notation | DateForm | FreeText] | None = None,
    regression: bool = False,
    intervals: PredictionIntervals | None = None,
) -> Contract:
    """Describe training rows.

    Integers become ``long`` and booleans ``boolean``, nullable if there are nulls among them
    (pandas' ``Int64`` and ``boolean``, or an object column of booleans); floats ``double``;
    text and categories ``string``. The sample rows are made of these facts.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns), without the target.
    labels
        Shape (n_rows,), named after the target; text, integers, booleans or floats.
    name
        Of the data.
    notations
        How the file writes the numbers or dates of some columns, and which are free text.
    regression
        The labels are numbers to be predicted, not classes.
    intervals
        What prediction intervals of a regression are made of.

    Raises
    ------
    DataError
        A column or the labels cannot be promised; says which and what to do.
    """
    if len(features) == 0:
        raise DataError("the data has no rows", hint="Check the file and its filters.")
    if len(features) != len(labels):
        raise DataError(
            f"there are {len(features)} rows and {len(labels)} labels",
            hint="Take features and labels from the same frame.",
        )
    _check_names(features)
    target = "target" if labels.name is None else str(labels.name)
    if target in features.columns:
        raise DataError(
            f"the target '{target}' is also a feature", hint=f"Drop '{target}' from the features."
        )
    values = _labels(labels, target)
    if regression and not isinstance(values[0], (int, float)):
        raise DataError(
            f"target '{target}' holds {type(values[0]).__name__}, expected numbers",
            hint="A regression predicts a number; name another target.",
        )
    classes: tuple[Label, ...] = () if regression else tuple(sorted(set(values)))
    if not regression and (len(classes) < 2 or len(classes) > MOST_CLASSES):
        raise DataError(
            f"target '{target}' has {len(classes)} distinct value"
            f"{'' if len(classes) == 1 else 's'}",
            hint=f"A classifier needs 2 to {MOST_CLASSES} classes; name another target.",
        )
    task: Literal["binary", "multiclass", "regression"] = (
        "regression" if regression else "binary" if len(classes) == 2 else "multiclass"
    )
    numbers = [float(value) for value in values] if regression else []
    columns = tuple(
        _column(str(key), features[key], (notations or {}).get(str(key), PLAIN))
        for key in features.columns
    )
    return Contract(
        name=name,
        columns=columns,
        target=target,
        task=task,
        classes=classes,
        samples=typical_rows(columns, SAMPLE_ROWS),
        n_rows=len(features),
        target_range=(min(numbers), max(numbers)) if regression else None,
        intervals=intervals,
    )


def _check_names(features: pd.DataFrame) -> None:
    if features.shape[1] == 0:
        raise DataError("the data has no features", hint="Keep at least one column.")
    for key in features.columns:
        if not isinstance(key, str) or not key:
            raise DataError(
                f"a column is called {key!r}, a {type(key).__name__}",
                hint="Give every column a name of text.",
            )
    if not features.columns.is_unique:
        twice = sorted(set(features.columns[features.columns.duplicated()]))
        raise DataError(
            f"column {listed(twice)} appears more than once",
            hint="Rename the columns so that every name is unique.",
        )


def _labels(labels: pd.Series, target: str) -> list[Label]:
    import numpy as np

    missing = np.flatnonzero(labels.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"target '{target}' has {len(missing)} null values, the first in row {missing[0]}",
            hint="Drop the rows without a label.",
        )
    values: list[Label] = [
        value.item() if isinstance(value, np.generic) else value for value in labels.astype(object)
    ]
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= {str, int, bool, float}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(
            f"target '{target}' holds values of type {found}",
            hint=f"Convert '{target}' to text, integers, booleans or floats, one of them.",
        )
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise DataError(
            f"target '{target}' has infinite values", hint="Drop the rows without a label."
        )
    return values


def _column(name: str, series: pd.Series, notation: Notation | DateForm | FreeText) -> Column:
    if isinstance(notation, FreeText):
        return Column(name, "text", nullable=True)
    if isinstance(notation, DateForm):
        moments = [moment(text, notation) for text in series.dropna().unique()]
        return Column(
            name,
            "datetime",
            nullable=True,
            minimum=min(moments, default=None),
            maximum=max(moments, default=None),
            dates=notation,
        )
    column_type = _type(name, series)
    known = series.dropna()
    categories: tuple[str, ...] | None = None
    minimum: float | int | None = None
    maximum: float | int | None = None
    if column_type == "string":
        distinct = set(known)
        categories = tuple(sorted(distinct)) if len(distinct) <= MOST_CATEGORIES else None
    elif column_type != "boolean" and len(known):
        cast: type[int] | type[float] = int if column_type == "long" else float
        minimum, maximum = cast(known.min()), cast(known.max())
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise DataError(
                f"column '{name}' has infinite values",
                hint="Replace them with a number or a null.",
            )
        if cast is int and not (minimum >= SMALLEST and maximum <= LARGEST):
            raise DataError(
                f"column '{name}' holds {maximum}, beyond 64-bit integers",
                hint=f"Convert '{name}' to float or to text.",
            )
    return Column(
        name=name,
        type=column_type,
        nullable=column_type in ("double", "string")
        or is_masked(series)
        or len(known) < len(series),
        categories=categories,
        minimum=minimum,
        maximum=maximum,
        notation=notation,
    )


def _type(name: str, series: pd.Series) -> ColumnType:
    import pandas as pd

    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "long"
    if pd.api.types.is_float_dtype(dtype):
        return "double"
    if pd.api.types.is_object_dtype(dtype) or isinstance(
        dtype, (pd.StringDtype, pd.CategoricalDtype)
    ):
        return _object_type(name, series)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        hint = f"Convert '{name}' to text (dt.strftime) or to numbers such as year and month."
    else:
        hint = f"Convert '{name}' to numbers, booleans or text, or drop it."
    raise DataError(f"column '{name}' has the type {dtype}", hint=hint)


def _object_type(name: str, series: pd.Series) -> ColumnType:
    kinds = {type(value) for value in series.dropna()}
    if all(issubclass(kind, str) for kind in kinds):
        return "string"
    if kinds == {bool}:
        return "boolean"
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DataError(
        f"column '{name}' is an object column that holds {found}",
        hint=f"Convert '{name}' to one type: numbers, booleans or text.",
    )
