"""Requests on which a compiled preparation that is wrong somewhere is likely to show it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.contract import Contract
from twinml_local.compiled._errors import NotCovered, Refusal
from twinml_local.compiled._layout import (
    ADDED,
    DIVIDED,
    IS_NULL,
    LOOKED_UP,
    MULTIPLIED,
    SUBTRACTED,
    ZERO_AS_NULL,
)
from twinml_local.compiled._model import CompiledModel, tied
from twinml_local.compiled._preparation import Preparation
from twinml_local.compiled._probes import Columns, whole_number

__all__ = ["covered_rows", "requests_near", "without_uncovered"]

F8 = NDArray[np.float64]


def covered_rows(compiled: CompiledModel, columns: Columns) -> NDArray[np.bool_]:
    """Tell which rows the compiled form answers, shape (n_rows,)."""
    n_rows = len(next(iter(columns.values())))
    try:
        X, covered = compiled.prepared(columns, n_rows)
    except NotCovered:
        return np.zeros(n_rows, dtype=np.bool_)
    able = np.ones(n_rows, dtype=np.bool_) if covered is None else covered == 1
    if compiled.by_score and able.any():
        able &= ~tied(compiled.score(X, n_rows)[1])
    return able


def without_uncovered(
    compiled: CompiledModel, columns: Columns, base: Mapping[str, Any], rng: np.random.Generator
) -> Columns:
    """Return rows that the compiled form answers: values that it leaves to the pipeline replaced.

    Parameters
    ----------
    base
        A row that it answers.

    Raises
    ------
    Refusal
        No row is left.
    """
    n_rows = len(next(iter(columns.values())))
    kept: Columns = {}
    for name, values in columns.items():
        varied = {other: [value] * n_rows for other, value in base.items()} | {name: values}
        # What is tied comes of all columns together.
        able = _taken(compiled, varied, n_rows)
        places = np.flatnonzero(able)
        chosen = rng.choice(places, n_rows) if len(places) else places
        kept[name] = [
            value if able[row] else (values[chosen[row]] if len(places) else base[name])
            for row, value in enumerate(values)
        ]
    able = covered_rows(compiled, kept)
    if not able.any():
        raise Refusal("the compiled form answers none of the rows that it is asked")
    return {name: [values[row] for row in np.flatnonzero(able)] for name, values in kept.items()}


def _taken(compiled: CompiledModel, columns: Columns, n_rows: int) -> NDArray[np.bool_]:
    try:
        covered = compiled.prepared(columns, n_rows)[1]
    except NotCovered:
        return np.zeros(n_rows, dtype=np.bool_)
    return np.ones(n_rows, dtype=np.bool_) if covered is None else covered == 1


def requests_near(
    compiled: CompiledModel, contract: Contract, X: F8, base: Mapping[str, Any],
    rng: np.random.Generator,
) -> Columns:  # fmt: skip
    """Return requests that become about the prepared rows ``X``, shape (n_features, n).

    A number is what the operations make the prepared one of, undone, or one of its neighbours.
    """
    preparation = compiled.preparation
    if preparation is None:
        raise TypeError("the model has no preparation")
    n_rows = X.shape[1]
    types = {column.name: column.mlflow_type for column in contract.columns}
    columns: Columns = {name: [value] * n_rows for name, value in base.items()}
    names = [*compiled.encoding.codes, *compiled.encoding.numbers]
    for place, name in enumerate(names):
        if name in compiled.encoding.codes:
            codes = compiled.encoding.codes[name]
            values: list[Any] = [*codes.known, "never seen before", None]
            nearest = _nearest(preparation, place, len(values), X)
            columns[name] = [values[code] for code in nearest]
            continue
        numbers = _numbers(preparation, place, X, rng)
        if numbers is None:
            continue
        if types[name] == "long":
            columns[name] = [whole_number(value) for value in numbers]
        elif types[name] == "boolean":
            columns[name] = [bool(value > 0.5) for value in numbers]
        else:
            columns[name] = numbers.tolist()
    return {column.name: columns[column.name] for column in contract.columns}


def _columns_of(preparation: Preparation, source: int) -> list[int]:
    return np.flatnonzero(preparation.columns[:, 0] == source).tolist()


def _nearest(preparation: Preparation, source: int, n_codes: int, X: F8) -> NDArray[np.int64]:
    """Return the code whose looked-up values are most like the prepared ones, by row."""
    chosen = _columns_of(preparation, source)
    best = np.zeros(X.shape[1], dtype=np.int64)
    least = np.full(X.shape[1], np.inf)
    for code in range(n_codes):
        apart = np.zeros(X.shape[1])
        for column in chosen:
            _, begin, _ = preparation.columns[column]
            if preparation.operations[begin, 0] == LOOKED_UP:
                value = preparation.tables[preparation.operations[begin, 1] + code]
                apart += np.nan_to_num(np.abs(X[column] - value), nan=1.0, posinf=1e9)
        nearer = apart < least
        best[nearer], least[nearer] = code, apart[nearer]
    return best


def _numbers(preparation: Preparation, source: int, X: F8, rng: np.random.Generator) -> F8 | None:
    """Return numbers of a source that become about the prepared ones; None where any will do."""
    found: list[F8] = []
    for at, (of, first, length) in enumerate(preparation.searched.tolist()):
        if of == source:
            known = preparation.tables[first : first + length]
            other = np.abs(known).max(initial=0.0) + 1.0
            values = np.array([*known, other, math.nan])
            found.append(
                values[_nearest(preparation, len(preparation.limits) + at, len(values), X)]
            )
    for column in _columns_of(preparation, source):
        _, begin, end = preparation.columns[column]
        value = X[column].copy()
        for place in range(end - 1, begin - 1, -1):
            value = _undone(
                int(preparation.operations[place, 0]), float(preparation.constants[place, 0]), value
            )
        found.append(value)
    if not found:
        return None
    chosen = rng.integers(0, len(found), X.shape[1])
    numbers = np.choose(chosen, found) if len(found) < 32 else found[0]
    beside = rng.integers(-1, 2, X.shape[1])
    return np.where(
        beside == 0, numbers, np.nextafter(numbers, np.where(beside > 0, np.inf, -np.inf))
    )


def _undone(operation: int, a: float, value: F8) -> F8:
    if operation == SUBTRACTED:
        return value + a
    if operation == ADDED:
        return value - a
    if operation == DIVIDED:
        return value * a
    if operation == MULTIPLIED:
        return value / a if a else value
    if operation == IS_NULL:
        return np.where(value > 0.5, np.nan, 0.0)
    if operation == ZERO_AS_NULL:
        return np.nan_to_num(value, nan=0.0, posinf=np.inf, neginf=-np.inf)
    return value
