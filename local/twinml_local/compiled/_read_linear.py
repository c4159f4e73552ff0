"""The fitted linear member, read into arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, SplineTransformer

from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import ONE_HOT_FIELDS, SPLINE_FIELDS
from twinml_local.compiled._linear import Linear

__all__ = ["read_linear"]

F8 = NDArray[np.float64]


def read_linear(features: Any, last: Any, n_classes: int, n_features: int) -> Linear:
    """Read a ``ColumnTransformer`` of one-hot columns and splines, and the linear model after it.

    Raises
    ------
    Refusal
        A part is another than ``twinml.training._preprocessing.linear_features`` makes.
    """
    n_scores = 1 if n_classes == 2 else n_classes
    shape = (n_scores,) if n_classes > 1 else ()
    if last.coef_.shape[:-1] != shape or last.coef_.dtype != np.float64:
        raise Refusal("the linear member has another number of scores than of classes")
    one_hot = _OneHot()
    splines = _Splines()
    start = 0
    for name, part, columns in features.transformers_:
        if name == "remainder":
            continue
        columns = [int(column) for column in columns]
        if type(part) is OneHotEncoder:
            start = one_hot.read(part, columns, start)
        elif hasattr(part, "steps") and [type(step) for _, step in part.steps] == [
            SimpleImputer,
            QuantileTransformer,
            SplineTransformer,
        ]:
            imputer, quantiles, spline = (step for _, step in part.steps)
            start = splines.read(imputer, quantiles, spline, columns, start)
        else:
            raise Refusal(f"the linear member's {name!r} is a {type(part).__name__}")
    if start != last.coef_.shape[-1]:
        raise Refusal("the linear member's columns are not those of its coefficients")
    sparse = bool(features.sparse_output_)
    # The layout is numpy's choice, so it is looked at; three rows are neither row nor column.
    dense = None if sparse else features.transform(np.zeros((3, n_features)))
    by_column = dense is not None and not dense.flags.c_contiguous
    return Linear(
        one_hot=np.array(one_hot.columns, dtype=np.int64).reshape(-1, ONE_HOT_FIELDS),
        category_values=np.array(one_hot.values, dtype=np.float64),
        category_targets=np.array(one_hot.targets, dtype=np.int64),
        coefficients=last.coef_,
        intercept=np.array(np.broadcast_to(last.intercept_, n_scores), dtype=np.float64),
        flags=np.array([splines.degree, sparse, by_column], dtype=np.int64),
        **splines.arrays(),
    )


class _OneHot:
    def __init__(self) -> None:
        self.columns: list[list[int]] = []
        self.values: list[float] = []
        self.targets: list[int] = []

    def read(self, part: Any, columns: list[int], start: int) -> int:
        """Ask the encoder which columns each known value, a null and any other text becomes."""
        categories = [np.asarray(known, dtype=np.float64) for known in part.categories_]
        known = [values[~np.isnan(values)] for values in categories]
        unknown = [1.0 + (values.max() if len(values) else 0.0) for values in known]
        longest = max(len(values) for values in known)
        rows = np.array(
            [
                np.concatenate([values, np.full(longest - len(values), other), [other, np.nan]])
                for values, other in zip(known, unknown, strict=True)
            ]
        ).T
        found = np.asarray(_quietly(part.transform, rows).todense())
        names = part.get_feature_names_out()
        widths = _widths(part, len(names))
        if found.shape[1] != sum(widths) or not np.isin(found, (0.0, 1.0)).all():
            raise Refusal("the one-hot encoder drops or scales columns")
        first = 0
        for place, (column, values, width) in enumerate(zip(columns, known, widths, strict=True)):
            block = found[:, first : first + width]
            if (block.sum(axis=1) > 1).any():
                raise Refusal(f"one-hot column {place} has several targets for a value")
            targets = np.where(block.any(axis=1), start + first + block.argmax(axis=1), -1)
            self.columns.append(
                [column, len(self.values), len(values), int(targets[-2]), int(targets[-1])]
            )
            self.values += values.tolist()
            self.targets += targets[: len(values)].tolist()
            first += width
        return start + first


def _widths(part: Any, total: int) -> list[int]:
    """Return how many columns each input column became."""
    widths = []
    for place, known in enumerate(part.categories_):
        infrequent = part.infrequent_categories_[place]
        rare = 0 if infrequent is None else len(infrequent)
        widths.append(len(known) - rare + (1 if rare else 0))
    if sum(widths) != total:
        raise Refusal("the one-hot encoder drops columns")
    return widths


def _quietly(transform: Any, rows: F8) -> Any:
    with warnings.catch_warnings():
        # It warns of the unknown value, which is meant.
        warnings.simplefilter("ignore", UserWarning)
        return transform(rows)


class _Splines:
    def __init__(self) -> None:
        self.degree = 0
        self.table: list[list[int]] = []
        self.rows: dict[str, list[Any]] = {
            "fills": [],
            "quantiles": [],
            "references": [],
            "mirrored": [],
            "mirrored_references": [],
            "knots": [],
            "edges": [],
        }

    def read(
        self, imputer: Any, quantiles: Any, spline: Any, columns: list[int], start: int
    ) -> int:
        if self.table:
            raise Refusal("the linear member has several groups of splines")
        if (
            quantiles.output_distribution != "uniform"
            or len(quantiles.references_) < 2
            or spline.extrapolation != "constant"
            or not spline.include_bias
            or spline.sparse_output
            or imputer.indicator_ is not None
            or len(imputer.statistics_) != len(columns)
        ):
            raise Refusal("the linear member's splines are set up in another way than ours")
        degree = self.degree = int(spline.degree)
        for place, (column, one) in enumerate(zip(columns, spline.bsplines_, strict=True)):
            knots = np.asarray(one.t, dtype=np.float64)
            n_bases = len(knots) - degree - 1
            if not (np.diff(knots) > 0).all() or not np.array_equal(one.c, np.eye(n_bases)):
                raise Refusal(f"spline {place} has equal knots, or coefficients of its own")
            known = quantiles.quantiles_[:, place]
            self.table.append([column, start + place * n_bases])
            self.rows["fills"].append(imputer.statistics_[place])
            self.rows["quantiles"].append(known)
            self.rows["references"].append(quantiles.references_)
            self.rows["mirrored"].append(-known[::-1])
            self.rows["mirrored_references"].append(-quantiles.references_[::-1])
            self.rows["knots"].append(knots)
            low, high = one(knots[degree]), one(knots[-degree - 1])
            self.rows["edges"].append([low[:degree], high[-degree:]])
        return start + len(columns) * n_bases

    def arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(rows, dtype=np.float64) for name, rows in self.rows.items()
        }
        if not self.table:
            # Their shapes are read even where there is none.
            arrays |= {name: np.zeros((0, 1)) for name in ("quantiles", "knots")}
        arrays["spline"] = np.array(self.table, dtype=np.int64).reshape(-1, SPLINE_FIELDS)
        return arrays
