"""Rows on which a compiled model that is wrong somewhere is likely to show it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.contract import Column, Contract
from twinml.contract.dates import written
from twinml_local.compiled._encoding import Encoding
from twinml_local.compiled._layout import CATEGORICAL, CATEGORIES, SINGLE
from twinml_local.compiled._model import CompiledModel
from twinml_local.compiled._nodes import Forest, categories_of

__all__ = [
    "Columns",
    "columns_of",
    "edge_columns",
    "random_columns",
    "threshold_rows",
    "whole_number",
]

F8 = NDArray[np.float64]
Columns = dict[str, list[Any]]

LARGEST_LONG = 2**63 - 1
_EVERY = frozenset(range(CATEGORIES))

_DOUBLES = (
    math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e300, 1e38, -1e38, 3.5e38, -3.5e38,
    1e-35, -1e-35, 1.0000001e-35, 9.9999e-36, -9.9999e-36, 1e-45, -1e-45, 5e-324, 1e-40,
    0.5, 1.0, -1.0, 1e6, 16777217.0, 9007199254740993.0, 0.1,
)  # fmt: skip
_LONGS = (
    0, 1, -1, LARGEST_LONG, -LARGEST_LONG - 1, 2**53 + 1, -(2**53) - 1, 2**24 + 1, 10**6, 99_999,
)  # fmt: skip
_NO_TEXTS = (7, -3, 0, 1.5, True, False, math.nan, math.inf, 10**25)
_TEXTS = (None, "", " ", "never seen", "\x00", "Ünïcode ✓", "nan", "None", "0", "-1", "a" * 500)


def random_columns(contract: Contract, n_rows: int, rng: np.random.Generator) -> Columns:
    """Return rows in and around the training rows' ranges, with unseen texts and nulls."""
    return {column.name: _random(column, n_rows, rng) for column in contract.columns}


def _random(column: Column, n_rows: int, rng: np.random.Generator) -> list[Any]:
    if column.type == "boolean":
        bits = [0.0, 1.0, math.nan] if column.nullable else [False, True]
        return [bits[place] for place in rng.integers(0, len(bits), n_rows)]
    if column.mlflow_type == "string" and column.dates is None:
        texts = [*(column.categories or ()), None, "never seen", ""]
        return [texts[place] for place in rng.integers(0, len(texts), n_rows)]
    low = float(column.minimum if column.minimum is not None else -1.0)
    high = float(column.maximum if column.maximum is not None else 1.0)
    span = max(high - low, 1.0)
    # Half of them inside; skewed columns have most thresholds near one end.
    values = rng.uniform(low - span / 2, high + span / 2, n_rows)
    near = rng.random(n_rows) < 0.5
    values[near] = low + span * rng.random(int(near.sum())) ** 4
    if column.dates is not None:
        return [written(value, column.dates) for value in np.clip(values, low - span, high + span)]
    if column.mlflow_type == "long":
        return [whole_number(value) for value in values]
    values[rng.random(n_rows) < 0.1] = math.nan
    return [float(value) for value in values]


def edge_columns(
    contract: Contract, n_rows: int, rng: np.random.Generator, *, no_texts: Collection[str] = ()
) -> Columns:
    """Return rows of extreme values, among them every column's bounds.

    Parameters
    ----------
    no_texts
        Names of columns of texts that get numbers, too.
    """
    columns: Columns = {}
    for column in contract.columns:
        values: list[Any]
        if column.type == "boolean":
            values = [1.0, 0.0, math.nan] if column.nullable else [True, False]
        elif column.type == "string":
            values = [*_TEXTS, *(column.categories or ())[:5]]
            if column.name in no_texts:
                values += _NO_TEXTS
        else:
            known = [bound for bound in (column.minimum, column.maximum) if bound is not None]
            values = [*(_LONGS if column.mlflow_type == "long" else _DOUBLES), *known]
            if column.mlflow_type == "double":
                values = [float(value) for value in values]
        columns[column.name] = [values[place] for place in rng.integers(0, len(values), n_rows)]
    return columns


def threshold_rows(model: CompiledModel, base: F8, most: int, rng: np.random.Generator) -> F8:
    """Return encoded rows that reach nodes of the trees on and next to their thresholds.

    Parameters
    ----------
    base
        Encoded rows to start from, shape (n_features, n).
    most
        Nodes to look at, spread over members, trees and features; all where there are fewer.

    Returns
    -------
    Shape (n_features, up to 7 * most; more where categories are split).
    """
    members = [row for row in model.members.table if row[2] > row[1]]
    made: list[F8] = []
    for row in members:
        # What one member leaves over is not given to the others: its trees are small.
        made += _member_rows(model, row, base, max(1, most // len(members)), rng)
    return np.array(made).T.copy() if made else np.empty((base.shape[0], 0))


def _member_rows(
    model: CompiledModel, row: NDArray[np.int64], base: F8, most: int, rng: np.random.Generator
) -> list[F8]:
    forest = model.members.forest
    begin, end, view = int(row[1]), int(row[2]), int(row[5])
    bounds = np.append(forest.roots, 2 * len(forest.nodes)) // 2
    first, last = int(bounds[begin]), int(bounds[end])
    nodes = forest.nodes[first:last]
    places = np.arange(first, last)
    inner = places[nodes["left"] // 2 != places]
    parents = np.full(last - first, -1)
    children = forest.nodes["left"][inner] // 2
    parents[children - first] = inner
    parents[children + 1 - first] = inner
    if len(inner) > most:
        inner = _spread(inner, forest.nodes["feature"][inner], most, rng)
    rows = []
    for node in inner.tolist():
        start = base[:, rng.integers(base.shape[1])]
        rows += _node_rows(forest, parents, first, node, view, start)
    return rows


def _spread(
    inner: NDArray[np.int64], features: NDArray[Any], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose nodes so that every feature has its share."""
    shuffled = rng.permutation(len(inner))
    inner, features = inner[shuffled], features[shuffled]
    # Within each feature in a random order; the first ones of all features come first.
    rank = np.empty(len(inner), dtype=np.int64)
    for feature in np.unique(features):
        chosen = np.flatnonzero(features == feature)
        rank[chosen] = np.arange(len(chosen))
    return inner[np.argsort(rank, kind="stable")[:most]]


def _node_rows(
    forest: Forest, parents: NDArray[Any], first: int, node: int, view: int, start: F8
) -> list[F8]:
    """Return rows that lead to ``node`` and lie on and next to its threshold.

    Where the node splits categories: on each of them, and beside them.
    """
    nodes = forest.nodes
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    allowed: dict[int, frozenset[int]] = {}
    at = node
    while (parent := int(parents[at - first])) >= 0:
        feature, threshold = int(nodes["feature"][parent]), float(nodes["threshold"][parent])
        went_left = nodes["left"][parent] // 2 == at
        if nodes["null_left"][parent] == CATEGORICAL:
            chosen = categories_of(forest, parent)
            known = allowed.get(feature, _EVERY)
            allowed[feature] = known & chosen if went_left else known - chosen
        elif went_left:
            high[feature] = min(high.get(feature, math.inf), threshold)
        else:
            low[feature] = max(low.get(feature, -math.inf), threshold)
        at = parent
    row = start.copy()
    for feature in {*low, *high}:
        bottom, top = low.get(feature, -math.inf), high.get(feature, math.inf)
        if not bottom < row[feature] <= top:
            row[feature] = top if math.isfinite(top) else _above(bottom, view)
    for feature, codes in allowed.items():
        # None is left where only what is no category comes here.
        row[feature] = min(codes, default=-1.0)
    feature, threshold = int(nodes["feature"][node]), float(nodes["threshold"][node])
    if nodes["null_left"][node] == CATEGORICAL:
        return _category_rows(row, feature, max(categories_of(forest, node)) + 1)
    single = np.float32(threshold)
    with np.errstate(over="ignore"):  # CatBoost parts nulls from numbers at the largest of 32 bits
        values = [
            threshold,
            np.nextafter(threshold, -np.inf),
            np.nextafter(threshold, np.inf),
            float(single),
            float(np.nextafter(single, np.float32(-np.inf))),
            float(np.nextafter(single, np.float32(np.inf))),
            0.0 if abs(threshold) < 1e-30 else np.nan,
        ]
    rows = []
    for value in values:
        one = row.copy()
        one[feature] = value
        rows.append(one)
    return rows


def _category_rows(row: F8, feature: int, top: int) -> list[F8]:
    beside = (-2.0, -1.0, -0.5, 0.5, CATEGORIES - 0.5, float(CATEGORIES), np.inf, -np.inf, np.nan)
    rows = []
    for value in (*map(float, range(top + 1)), *beside):
        one = row.copy()
        one[feature] = value
        rows.append(one)
    return rows


def _above(value: float, view: int) -> float:
    with np.errstate(over="ignore"):
        if view == SINGLE:
            return float(np.nextafter(np.float32(value), np.float32(np.inf)))
        return float(np.nextafter(value, np.inf))


def columns_of(encoding: Encoding, contract: Contract, X: F8) -> Columns:
    """Return columns of a request that encode to about ``X``, shape (n_features, n)."""
    types = {column.name: column.mlflow_type for column in contract.columns}
    columns: Columns = {}
    for place, (name, codes) in enumerate(encoding.codes.items()):
        columns[name] = _texts(codes.known, X[place])
    for place, name in enumerate(encoding.numbers, start=len(encoding.codes)):
        values = X[place]
        if types[name] == "long":
            columns[name] = [whole_number(value) for value in values]
        elif types[name] == "boolean":
            columns[name] = [bool(value > 0.5) for value in values]
        else:
            columns[name] = values.tolist()
    return {column.name: columns[column.name] for column in contract.columns}


def _texts(known: Mapping[str, float], codes: Sequence[float] | F8) -> list[str | None]:
    by_code = {code: text for text, code in known.items()}
    return [by_code.get(float(np.round(code))) for code in codes]


def whole_number(value: float) -> int:
    """Return an integer near a number: the one below or the one above, as its fraction says."""
    if math.isnan(value):
        return 0
    if abs(value) >= 9e18:
        return LARGEST_LONG if value > 0 else -LARGEST_LONG - 1
    # Thresholds lie between integers; both are wanted, so the fraction decides.
    return math.floor(value) if value - math.floor(value) < 0.5 else math.ceil(value)
