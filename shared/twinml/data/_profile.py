"""Figures about features, as frames for tables and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from twinml.contract.dates import DateForm
from twinml.contract.free_text import FreeText

__all__ = ["profile", "rates"]

TYPES = {"i": "long", "f": "double", "b": "boolean"}
KINDS: Mapping[type, str] = {DateForm: "datetime", FreeText: "text"}
TOP = 3


def profile(features: pd.DataFrame, notations: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a feature; see ``Dataset.profile``."""
    return pd.DataFrame(
        [_row(str(name), features[name], notations.get(str(name))) for name in features.columns]
    )


def _row(name: str, values: pd.Series, notation: Any) -> dict[str, object]:
    kind = KINDS.get(type(notation)) or TYPES.get(values.dtype.kind, "string")
    row: dict[str, object] = {
        "feature": name,
        "type": kind,
        "nulls": int(values.isna().sum()),
        "distinct": int(values.nunique()),
    }
    figures = dict.fromkeys(("minimum", "q25", "median", "q75", "maximum", "mean"), np.nan)
    if kind in ("long", "double"):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers):
            quantiles = np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1])
            figures = dict(
                zip(figures, [*map(float, quantiles), float(numbers.mean())], strict=True)
            )
        return row | figures | {"top": ""}
    shares = values.value_counts(normalize=True).head(TOP)
    top = ", ".join(f"{value} {share:.1%}" for value, share in shares.items())
    return row | figures | {"top": top}


def rates(values: pd.Series, labels: pd.Series, *, groups: int) -> pd.DataFrame:
    """Return the share of each class by value or quantile; see ``Dataset.rates``."""
    if isinstance(values.dtype, pd.Int64Dtype):
        values = values.astype(np.float64)
    if values.dtype.kind in "if" and values.nunique() > groups:
        keys, order = _quantile_groups(values, groups)
    else:
        frequent = list(values.value_counts().index[:groups])
        keys = values.astype(object).where(values.isin(frequent) | values.isna(), "other")
        order = frequent if values.dtype == object else sorted(frequent)
        order += ["other"] * ("other" in set(keys) - set(order))
    keys = keys.where(values.notna(), "null")
    order += ["null"] * bool(values.isna().any())
    counts = pd.crosstab(keys.map(str), labels).reindex([str(key) for key in order])
    rows = counts.sum(axis=1)
    shares = counts.div(rows, axis=0)
    shares.columns = pd.Index([str(label) for label in counts.columns])
    table = pd.DataFrame({"value": counts.index, "rows": rows.to_numpy()})
    return pd.concat([table, shares.reset_index(drop=True)], axis=1)


def _quantile_groups(values: pd.Series, groups: int) -> tuple[pd.Series, list[object]]:
    """Return for each row the text ``lowest to highest`` of its group, and these in order."""
    codes = pd.qcut(values.rank(method="average"), groups, labels=False, duplicates="drop")
    bounds = values.groupby(codes).agg(["min", "max"])
    names = {code: f"{row['min']:g} to {row['max']:g}" for code, row in bounds.iterrows()}
    return codes.map(names), list(names.values())
