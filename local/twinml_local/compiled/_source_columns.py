# mypy: allow-untyped-defs, allow-untyped-calls
"""The kernel's source for what is done to columns before the members see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from twinml_local.compiled._layout import (
    ADDED,
    CLIPPED,
    DIVIDED,
    FILLED,
    IS_NULL,
    LOOKED_UP,
    MULTIPLIED,
    NARROWED,
    SUBTRACTED,
    ZERO_AS_NULL,
)
from twinml_local.compiled._source_types import F8, I8, WHOLE, kernel, plain

__all__ = ["KERNELS"]


@plain
def _code(value, tables, first, length):
    """Return the code of a number among sorted ones, of another number, or of a null."""
    if value != value:
        return tables[first + 2 * length + 1]
    low, high = 0, length
    while low < high:
        middle = low + ((high - low) >> 1)
        if tables[first + middle] < value:
            low = middle + 1
        else:
            high = middle
    if low < length and tables[first + low] == value:
        return tables[first + length + low]
    return tables[first + 2 * length]


@plain
def _done(value, operation, first, a, b, tables):
    """Return what an operation makes of a value, rounded as numpy rounds it."""
    if operation == LOOKED_UP:
        return tables[first + np.int64(value)] if value == value else value
    if operation == FILLED:
        return a if value != value else value
    if operation == IS_NULL:
        return 1.0 if value != value else 0.0
    if operation == SUBTRACTED:
        return value - a
    if operation == DIVIDED:
        return value / a
    if operation == MULTIPLIED:
        return value * a
    if operation == ADDED:
        return value + a
    if operation == CLIPPED:
        return a if value < a else (b if value > b else value)
    if operation == NARROWED:
        return np.float64(np.float32(value))
    if operation == ZERO_AS_NULL:
        return np.nan if value == 0.0 else value
    return value


def _prepare(
    sources, n, n_sources, limits, searched, n_searched, tables, columns, n_columns, operations,
    constants, codes, out, covered,
):  # fmt: skip
    """Write the prepared columns to ``out``, (n_columns, n), and to ``covered`` 1 a row taken."""
    for r in range(n):
        covered[r] = 1
    for s in range(n_sources):
        low, high, nulls = limits[3 * s], limits[3 * s + 1], limits[3 * s + 2]
        for r in range(n):
            value = sources[s * n + r]
            if value != value:
                if nulls == 0.0:
                    covered[r] = 0
            elif not (low <= value and value <= high):
                covered[r] = 0
    for d in range(n_searched):
        source, first, length = searched[3 * d], searched[3 * d + 1], searched[3 * d + 2]
        for r in range(n):
            code = _code(sources[source * n + r], tables, first, length)
            codes[d * n + r] = code
            if code != code:
                covered[r] = 0
    for c in range(n_columns):
        source, begin, end = columns[3 * c], columns[3 * c + 1], columns[3 * c + 2]
        for r in range(n):
            if source < n_sources:
                value = sources[source * n + r]
            else:
                value = codes[(source - n_sources) * n + r]
            for i in range(begin, end):
                value = _done(
                    value, operations[2 * i], operations[2 * i + 1], constants[2 * i],
                    constants[2 * i + 1], tables,
                )  # fmt: skip
            out[c * n + r] = value


KERNELS: dict[str, Callable[[], Any]] = {
    "prepare": lambda: kernel(
        _prepare,
        *(F8, WHOLE, WHOLE, F8, I8, WHOLE, F8, I8, WHOLE, I8, F8, F8, F8, I8),
    )
}
