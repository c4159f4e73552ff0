"""The kernel in Python, for numba to translate; imported only where it is translated.

Plain loops over pointers: no allocation, no exception, no object of Python. Every sum is
taken in the order of the library whose estimator is imitated, in its precision, and with the
C library's ``exp``, ``log`` and ``expf``, which all of them call.

A node is 16 bytes: a threshold, and a word with the place of its left child (bits 0-31), its
feature (32-47) and whether a null goes left (48). The right child follows the left one. A
leaf is its own left child, and all values go left there: several walks can go on in step
until the last has arrived, which hides the time that memory takes to answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cfunc, njit, types

from twinml_local.compiled._layout import (
    FOREST,
    LANES,
    LIGHTGBM,
    MEMBER_FIELDS,
    ONE_HOT_FIELDS,
    SPLINE_FIELDS,
    XGBOOST,
)

__all__ = ["KERNELS"]

# LightGBM takes what is this near to zero for zero before it looks at a row.
_FLUSH = float(np.float32(1e-35))

_F8 = types.CPointer(types.float64)
_I8 = types.CPointer(types.int64)
_I = types.int64
_D = types.float64

_inline = njit(error_model="numpy", inline="always")
_plain = njit(error_model="numpy")


@_inline
def _step(thresholds, words, row, i):  # type: ignore[no-untyped-def]
    threshold = thresholds[2 * i]
    word = words[2 * i + 1]
    value = row[(word >> 32) & 0xFFFF]
    left = value <= threshold
    if value != value:
        left = ((word >> 48) & 1) != 0
    return (word & 0xFFFFFFFF) + (1 - np.int64(left))


@_inline
def _step_at(thresholds, words, rows, start, i):  # type: ignore[no-untyped-def]
    threshold = thresholds[2 * i]
    word = words[2 * i + 1]
    value = rows[start + ((word >> 32) & 0xFFFF)]
    left = (value <= threshold) | ((value != value) & (((word >> 48) & 1) != 0))
    return (word & 0xFFFFFFFF) + (1 - np.int64(left))


@_plain
def _walk(thresholds, words, rows, start, step, at):  # type: ignore[no-untyped-def]
    """Take eight walks to their leaves: from node ``at[j]`` with the row at ``start + j*step``."""
    s0 = start
    s1 = start + step
    s2 = start + 2 * step
    s3 = start + 3 * step
    s4 = start + 4 * step
    s5 = start + 5 * step
    s6 = start + 6 * step
    s7 = start + 7 * step
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    while True:
        a1 = _step_at(thresholds, words, rows, s0, a)
        b1 = _step_at(thresholds, words, rows, s1, b)
        c1 = _step_at(thresholds, words, rows, s2, c)
        d1 = _step_at(thresholds, words, rows, s3, d)
        e1 = _step_at(thresholds, words, rows, s4, e)
        f1 = _step_at(thresholds, words, rows, s5, f)
        g1 = _step_at(thresholds, words, rows, s6, g)
        h1 = _step_at(thresholds, words, rows, s7, h)
        moved = (a1 ^ a) | (b1 ^ b) | (c1 ^ c) | (d1 ^ d)
        moved |= (e1 ^ e) | (f1 ^ f) | (g1 ^ g) | (h1 ^ h)
        a, b, c, d, e, f, g, h = a1, b1, c1, d1, e1, f1, g1, h1
        if moved == 0:
            break
    at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7] = a, b, c, d, e, f, g, h


@_plain
def _add(sums, place, values, first, width, narrow):  # type: ignore[no-untyped-def]
    for c in range(width):
        total = sums[place + c] + values[first + c]
        sums[place + c] = np.float64(np.float32(total)) if narrow else total


@_plain
def _forest_link(sums, place, n_outputs, n_trees, out, row):  # type: ignore[no-untyped-def]
    for c in range(n_outputs):
        out[row + c] = sums[place + c] / n_trees


@_plain
def _logistic(score):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + math.exp(-score))


@_plain
def _lightgbm_link(sums, place, n_outputs, sigmoid, out, row):  # type: ignore[no-untyped-def]
    if n_outputs == 1:
        p = 1.0 / (1.0 + math.exp(-sigmoid * sums[place]))
        out[row] = 1.0 - p
        out[row + 1] = p
        return
    largest = sums[place]
    for c in range(1, n_outputs):
        largest = max(largest, sums[place + c])
    total = 0.0
    for c in range(n_outputs):
        out[row + c] = math.exp(sums[place + c] - largest)
        total += out[row + c]
    for c in range(n_outputs):
        out[row + c] /= total


@_plain
def _xgboost_link(sums, place, n_outputs, out, row):  # type: ignore[no-untyped-def]
    one = np.float32(1.0)
    if n_outputs == 1:
        power = min(-np.float32(sums[place]), np.float32(88.7))
        p = one / (math.exp(power) + one)
        out[row] = np.float64(one - p)
        out[row + 1] = np.float64(p)
        return
    largest = np.float32(sums[place])
    for c in range(1, n_outputs):
        largest = max(largest, np.float32(sums[place + c]))
    total = 0.0
    for c in range(n_outputs):
        part = math.exp(np.float32(sums[place + c]) - largest)
        out[row + c] = np.float64(part)
        total += np.float64(part)
    for c in range(n_outputs):
        out[row + c] = np.float64(np.float32(out[row + c]) / np.float32(total))


@_plain
def _link(kind, sums, place, n_outputs, n_trees, sigmoid, out, row):  # type: ignore[no-untyped-def]
    if kind == FOREST:
        _forest_link(sums, place, n_outputs, n_trees, out, row)
    elif kind == LIGHTGBM:
        _lightgbm_link(sums, place, n_outputs, sigmoid, out, row)
    elif kind == XGBOOST:
        _xgboost_link(sums, place, n_outputs, out, row)
    elif n_outputs == 1:
        p = _logistic(sums[place])
        out[row] = 1.0 - p
        out[row + 1] = p
    else:
        # A softmax of numpy's, which has an exponential function of its own, follows.
        for c in range(n_outputs):
            out[row + c] = sums[place + c]


@_plain
def _views(columns, n, first, count, padded, n_features, low, high, rows):  # type: ignore[no-untyped-def]
    """Write the block's rows three times: as they are, as LightGBM and in 32 bits."""
    size = padded * n_features
    for r in range(padded):
        for f in range(n_features):
            value = 0.0
            if r < count:
                value = columns[f * n + first + r]
                if value < low:
                    value = low
                elif value > high:
                    value = high
            place = r * n_features + f
            rows[place] = value
            rows[size + place] = 0.0 if abs(value) <= _FLUSH else value
            rows[2 * size + place] = np.float64(np.float32(value))


def _trees(  # type: ignore[no-untyped-def]
    thresholds, words, values, roots, starts, groups, members, bases, n_members,
    columns, n, n_features, n_classes, low, high, block, rows, sums, at, out,
):  # fmt: skip
    """Score every member that is made of trees, for all rows, block by block.

    ``rows`` holds 3 * block * n_features numbers, ``sums`` block * n_classes, ``at`` 8.
    ``out`` is (n_members, n, n_classes).
    """
    first = 0
    while first < n:
        count = min(block, n - first)
        padded = (count + LANES - 1) // LANES * LANES if block >= LANES else count
        _views(columns, n, first, count, padded, n_features, low, high, rows)
        for m in range(n_members):
            kind = members[m * MEMBER_FIELDS]
            begin = members[m * MEMBER_FIELDS + 1]
            end = members[m * MEMBER_FIELDS + 2]
            n_outputs = members[m * MEMBER_FIELDS + 3]
            width = members[m * MEMBER_FIELDS + 4]
            view = members[m * MEMBER_FIELDS + 5] * padded * n_features
            if begin == end:
                continue
            for r in range(padded):
                for c in range(n_outputs):
                    sums[r * n_outputs + c] = bases[m * (n_classes + 1) + c]
            if padded >= LANES:
                # Eight rows down one tree: the tree stays in the cache.
                for t in range(begin, end):
                    for r in range(0, padded, LANES):
                        for j in range(LANES):
                            at[j] = roots[t]
                        start = view + r * n_features
                        _walk(thresholds, words, rows, start, n_features, at)
                        for j in range(LANES):
                            place = (r + j) * n_outputs + groups[t]
                            leaf = starts[t] + at[j] * width
                            _add(sums, place, values, leaf, width, kind == XGBOOST)
            else:
                # One row down eight trees.
                for r in range(padded):
                    start = view + r * n_features
                    for t in range(begin, end, LANES):
                        for j in range(LANES):
                            at[j] = roots[min(t + j, end - 1)]
                        _walk(thresholds, words, rows, start, 0, at)
                        for j in range(min(LANES, end - t)):
                            place = r * n_outputs + groups[t + j]
                            leaf = starts[t + j] + at[j] * width
                            _add(sums, place, values, leaf, width, kind == XGBOOST)
            sigmoid = bases[m * (n_classes + 1) + n_classes]
            for r in range(count):
                row = (m * n + first + r) * n_classes
                _link(kind, sums, r * n_outputs, n_outputs, end - begin, sigmoid, out, row)
        first += count


@_plain
def _interpolate(x, xs, ys, first, length):  # type: ignore[no-untyped-def]
    """Do as ``numpy.interp``: the last knot at or below ``x`` and the slope from there."""
    if x > xs[first + length - 1]:
        return ys[first + length - 1]
    if x < xs[first]:
        return ys[first]
    low, high = 0, length
    while low < high:
        middle = low + ((high - low) >> 1)
        if x >= xs[first + middle]:
            low = middle + 1
        else:
            high = middle
    j = first + low - 1
    if low == length or xs[j] == x:
        return ys[j]
    slope = (ys[j + 1] - ys[j]) / (xs[j + 1] - xs[j])
    return slope * (x - xs[j]) + ys[j]


@_plain
def _basis(knots, first, x, degree, interval, work):  # type: ignore[no-untyped-def]
    """Write the ``degree + 1`` B-splines that are not zero at ``x``: de Boor's recursion."""
    before = degree + 1
    work[0] = 1.0
    for j in range(1, degree + 1):
        for i in range(j):
            work[before + i] = work[i]
        work[0] = 0.0
        for i in range(1, j + 1):
            right = knots[first + interval + i]
            left = knots[first + interval + i - j]
            if right == left:
                work[i] = 0.0
                continue
            weight = work[before + i - 1] / (right - left)
            work[i - 1] += weight * (right - x)
            work[i] = weight * (x - left)


@_plain
def _put(sparse, row, column, value, out, row_step, column_step, coefficients, n_scores, n_features):  # type: ignore[no-untyped-def] # noqa: E501
    if sparse:
        for c in range(n_scores):
            out[row * n_scores + c] += value * coefficients[c * n_features + column]
    else:
        out[row * row_step + column * column_step] = value


def _linear(  # type: ignore[no-untyped-def]
    columns, n, low, high,
    one_hot, n_one_hot, category_values, category_targets,
    spline, n_spline, fills, quantiles, references, mirrored, mirrored_references, n_quantiles,
    knots, n_knots, degree, edges, work,
    sparse, coefficients, n_scores, n_features, out, row_step, column_step,
):  # fmt: skip
    """Write the linear member's features, or the sums of their products when they are sparse."""
    for r in range(n):
        for f in range(n_scores if sparse else n_features):
            out[r * n_scores + f if sparse else r * row_step + f * column_step] = 0.0
    for h in range(n_one_hot):
        feature = one_hot[h * ONE_HOT_FIELDS]
        first = one_hot[h * ONE_HOT_FIELDS + 1]
        length = one_hot[h * ONE_HOT_FIELDS + 2]
        unknown = one_hot[h * ONE_HOT_FIELDS + 3]
        null = one_hot[h * ONE_HOT_FIELDS + 4]
        for r in range(n):
            value = min(max(columns[feature * n + r], low), high)
            target = unknown
            if columns[feature * n + r] != columns[feature * n + r]:
                target = null
            else:
                for i in range(first, first + length):
                    if category_values[i] == value:
                        target = category_targets[i]
                        break
            if target >= 0:
                _put(sparse, r, target, 1.0, out, row_step, column_step, coefficients, n_scores,
                     n_features)  # fmt: skip
    n_bases = n_knots - degree - 1
    for s in range(n_spline):
        feature = spline[s * SPLINE_FIELDS]
        target = spline[s * SPLINE_FIELDS + 1]
        q = s * n_quantiles
        t = s * n_knots
        for r in range(n):
            value = columns[feature * n + r]
            if value != value:
                value = fills[s]
            else:
                value = min(max(value, low), high)
            x = 0.5 * (
                _interpolate(value, quantiles, references, q, n_quantiles)
                - _interpolate(-value, mirrored, mirrored_references, q, n_quantiles)
            )
            if value == quantiles[q + n_quantiles - 1]:
                x = 1.0
            if value == quantiles[q]:
                x = 0.0
            if x < knots[t + degree]:
                for i in range(degree):
                    _put(sparse, r, target + i, edges[s * 2 * degree + i], out, row_step,
                         column_step, coefficients, n_scores, n_features)  # fmt: skip
                continue
            if x > knots[t + n_bases]:
                for i in range(degree):
                    _put(sparse, r, target + n_bases - degree + i,
                         edges[s * 2 * degree + degree + i], out, row_step, column_step,
                         coefficients, n_scores, n_features)  # fmt: skip
                continue
            interval = degree
            while interval < n_bases - 1 and x >= knots[t + interval + 1]:
                interval += 1
            _basis(knots, t, x, degree, interval, work)
            for i in range(degree + 1):
                _put(sparse, r, target + interval - degree + i, work[i], out, row_step,
                     column_step, coefficients, n_scores, n_features)  # fmt: skip


def _vote(members, n_members, n, n_classes, weights, scale, out):  # type: ignore[no-untyped-def]
    """Average the members as ``numpy.average`` does, into ``out``, (n, n_classes)."""
    size = n * n_classes
    for i in range(size):
        total = members[i] * weights[0]
        for m in range(1, n_members):
            total += members[m * size + i] * weights[m]
        out[i] = total / scale


def _log_odds(members, n_members, n, n_classes, low, high, out, row_step, column_step):  # type: ignore[no-untyped-def]
    """Write the members' clipped log-odds side by side, without the first of two classes."""
    skipped = 1 if n_classes == 2 else 0
    for m in range(n_members):
        for r in range(n):
            for c in range(skipped, n_classes):
                p = members[(m * n + r) * n_classes + c]
                p = min(max(p, low), high)
                if p < 0.3 or p > 0.65:
                    odds = math.log(p / (1.0 - p))
                else:
                    # Near one half scipy avoids the cancellation.
                    s = 2.0 * (p - 0.5)
                    odds = math.log1p(s) - math.log1p(-s)
                column = m * (n_classes - skipped) + c - skipped
                out[r * row_step + column * column_step] = odds


def _sigmoid(scores, n, out):  # type: ignore[no-untyped-def]
    """Write both classes' probabilities from the log-odds of the second."""
    for r in range(n):
        p = _logistic(scores[r])
        out[2 * r] = 1.0 - p
        out[2 * r + 1] = p


def _kernel(function: Callable[..., None], *arguments: Any) -> Any:
    return cfunc(types.void(*arguments), error_model="numpy")(function)


KERNELS: dict[str, Callable[[], Any]] = {
    "trees": lambda: _kernel(
        _trees, _F8, _I8, _F8, _I8, _I8, _I8, _I8, _F8, _I,
        _F8, _I, _I, _I, _D, _D, _I, _F8, _F8, _I8, _F8,
    ),
    "linear": lambda: _kernel(
        _linear, _F8, _I, _D, _D, _I8, _I, _F8, _I8,
        _I8, _I, _F8, _F8, _F8, _F8, _F8, _I,
        _F8, _I, _I, _F8, _F8, _I, _F8, _I, _I, _F8, _I, _I,
    ),
    "vote": lambda: _kernel(_vote, _F8, _I, _I, _I, _F8, _D, _F8),
    "log_odds": lambda: _kernel(_log_odds, _F8, _I, _I, _I, _D, _D, _F8, _I, _I),
    "sigmoid": lambda: _kernel(_sigmoid, _F8, _I, _F8),
}  # fmt: skip
