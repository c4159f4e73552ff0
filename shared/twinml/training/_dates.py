"""Dates in text as numbers: weekday, month, day, hours and days, made of pandas' own functions.

Nothing here is pickled with a model but functions of pandas, numpy and scikit-learn, which load
where twinml is not installed. A text that is no date is unknown, as null is.
"""

from __future__ import annotations

from operator import attrgetter, methodcaller

import numpy as np
import pandas as pd
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from twinml.contract.dates import ISO, DateForm

__all__ = ["date_parts"]

CALENDAR = ("dayofweek", "month", "day")
CLOCK = ("hour", "minute")


def date_parts(form: DateForm) -> Pipeline:
    """Return the unfitted transformer from a series of texts to parts of dates, in UTC.

    Its columns are weekday (0 is Monday), month and day of the month, hour and minute where the
    form has times, and days since the beginning of the Julian calendar, with fractions. All are
    nan where there is no date.
    """
    attributes = CALENDAR + (CLOCK if form.time else ())
    texts = FunctionTransformer(methodcaller("fillna", ""))
    if form.form == ISO:
        return make_pipeline(texts, _parts(ISO, attributes))
    both = FeatureUnion([("form", _parts(form.form, attributes)), ("iso", _parts(ISO, attributes))])
    return make_pipeline(
        texts,
        both,
        # One of the two is nan: fmax takes the other.
        FunctionTransformer(methodcaller("reshape", -1, 2, len(attributes) + 1)),
        FunctionTransformer(np.fmax.reduce, kw_args={"axis": 1}),
    )


def _parts(form: str, attributes: tuple[str, ...]) -> Pipeline:
    read = {"format": form, "utc": True, "errors": "coerce"}
    calendar = make_pipeline(
        FunctionTransformer(attrgetter(*attributes)), FunctionTransformer(np.column_stack)
    )
    days = make_pipeline(
        FunctionTransformer(methodcaller("to_julian_date")),
        FunctionTransformer(methodcaller("to_frame")),
    )
    return make_pipeline(
        FunctionTransformer(pd.to_datetime, kw_args=read),
        FunctionTransformer(pd.DatetimeIndex),
        FeatureUnion([("calendar", calendar), ("days", days)]),
    )
