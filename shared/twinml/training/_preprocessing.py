"""From a raw feature frame to the numbers that every learner takes.

One encoding for all: strings become the codes of their sorted categories, numbers stay as
they are, and dates become their parts. A learner that wants something else (the linear one)
builds it from these codes, so that an ensemble encodes a row once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    SplineTransformer,
)

from twinml.contract.dates import DateForm
from twinml.contract.free_text import FreeText
from twinml.contract.notation import Notation
from twinml.training._dates import date_parts
from twinml.training._free_text import words

__all__ = ["LARGEST", "MOST_CATEGORIES", "Forms", "encoder", "linear_features", "string_columns"]

# Beyond this, the rarest categories share one code: the tail of a free-text column or an id
# says nothing about rows to come, and a one-hot of it would not fit into memory.
MOST_CATEGORIES = 256

# Numbers are clipped to what a 32-bit float can hold, because scikit-learn's forests compute
# in it and refuse infinity; no threshold of any learner lies that far out.
LARGEST = 1e38

# A null and a category never seen in training both mean "value unknown" to the model.
_UNKNOWN = -1

# How a file writes some of its columns, as ``Dataset.notations`` has it; the model reads dates
# and free text.
Forms: TypeAlias = Mapping[str, Notation | DateForm | FreeText]
_PLAIN: Forms = {}


def string_columns(frame: pd.DataFrame, forms: Forms = _PLAIN) -> list[str]:
    """Return the names of the columns of strings, but dates and free text, in the frame's order."""
    return [
        str(name)
        for name in frame.columns
        if not (is_numeric_dtype(frame[name]) or is_bool_dtype(frame[name]))
        and not isinstance(forms.get(str(name)), DateForm | FreeText)
    ]


def encoder(frame: pd.DataFrame, forms: Forms = _PLAIN) -> Pipeline:
    """Return the unfitted transformer from raw features to a float matrix.

    Output columns: the string columns of ``frame`` as codes, then the others as numbers,
    each in the frame's order, then the parts of dates and the words of
    free text. Nulls in numbers stay ``nan``.
    """
    strings = string_columns(frame, forms)
    parts: list[tuple[str, Pipeline, str]] = []
    for name, form in forms.items():
        if name in frame and isinstance(form, DateForm):
            parts.append((f"dates of {name}", date_parts(form), name))
        elif name in frame and isinstance(form, FreeText):
            parts.append((f"words of {name}", words(frame[name]), name))
    coded = {*strings, *(name for _, _, name in parts)}
    numbers = [str(name) for name in frame.columns if name not in coded]
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=_UNKNOWN,
        encoded_missing_value=_UNKNOWN,
        max_categories=MOST_CATEGORIES,
    )
    # Booleans beside numbers would make the whole matrix one of Python objects.
    floats = FunctionTransformer(np.asarray, kw_args={"dtype": "float64"})
    return Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [("codes", codes, strings), ("numbers", floats, numbers), *parts],
                    sparse_threshold=0,
                ),
            ),
            (
                "finite",
                FunctionTransformer(np.clip, kw_args={"a_min": -LARGEST, "a_max": LARGEST}),
            ),
        ]
    )


def linear_features(X: NDArray[np.float64], n_codes: int) -> ColumnTransformer:
    """Return the unfitted transformer from the encoded matrix to features of a linear model.

    Codes become one-hot columns. A number becomes its quantile in the training rows and then
    a spline basis, constant beyond the range: bounded whatever comes in, and able to bend.
    Numbers with few distinct values (flags, counts) become one-hot columns too.

    Parameters
    ----------
    X
        Encoded training rows, shape (n, p); the first ``n_codes`` columns are codes.
    """
    few: list[int] = list(range(n_codes))
    many: list[int] = []
    for column in range(n_codes, X.shape[1]):
        known = X[:, column][~np.isnan(X[:, column])]
        (few if len(np.unique(known)) < 10 else many).append(column)
    parts: list[tuple[str, Any, list[int]]] = []
    if few:
        one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10)
        parts.append(("one_hot", one_hot, few))
    if many:
        spline = make_pipeline(
            SimpleImputer(strategy="median", add_indicator=False, keep_empty_features=True),
            QuantileTransformer(n_quantiles=min(200, len(X)), subsample=100_000, random_state=0),
            SplineTransformer(n_knots=6, extrapolation="constant"),
        )
        parts.append(("spline", spline, many))
    return ColumnTransformer(parts)
