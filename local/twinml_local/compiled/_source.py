"""The kernel in Python, for numba to translate; imported only where it is translated.

Plain loops over pointers: no allocation, no exception, no object of Python. Every sum is
taken in the order of the library whose estimator is imitated, in its precision, and with the
C library's ``exp``, ``log`` and ``expf``, which all of them call.

A node is 16 bytes, ``_nodes.NODE``, and its place is counted in halves of that, which saves
a multiplication. The right child follows the left one. A leaf is its own left child, and all
values go left there: several walks can go on in step until the last has arrived, which hides
the time that memory takes to answer.
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
    MANY,
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
_U4 = types.CPointer(types.uint32)
_U2 = types.CPointer(types.uint16)
_I = types.int64
_D = types.float64

_inline = njit(error_model="numpy", inline="always")
_plain = njit(error_model="numpy")


@_inline
def _step(thresholds, lefts, features, rows, start, at):  # type: ignore[no-untyped-def]
    value = rows[start + features[4 * at + 6]]
    return lefts[2 * at + 2] + np.int64(2) * np.int64(value > thresholds[at])


@_inline
def _step_null(thresholds, lefts, features, rows, start, at):  # type: ignore[no-untyped-def]
    value = rows[start + features[4 * at + 6]]
    right = (value > thresholds[at]) | ((value != value) & (features[4 * at + 7] == 0))
    return lefts[2 * at + 2] + np.int64(2) * np.int64(right)


@_plain
def _walk(thresholds, lefts, features, rows, start, at):  # type: ignore[no-untyped-def]
    """Take the row at ``start`` from the eight nodes ``at`` to their leaves."""
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    while True:
        a1 = _step(thresholds, lefts, features, rows, start, a)
        b1 = _step(thresholds, lefts, features, rows, start, b)
        c1 = _step(thresholds, lefts, features, rows, start, c)
        d1 = _step(thresholds, lefts, features, rows, start, d)
        e1 = _step(thresholds, lefts, features, rows, start, e)
        f1 = _step(thresholds, lefts, features, rows, start, f)
        g1 = _step(thresholds, lefts, features, rows, start, g)
        h1 = _step(thresholds, lefts, features, rows, start, h)
        moved = (a1 ^ a) | (b1 ^ b) | (c1 ^ c) | (d1 ^ d)
        moved |= (e1 ^ e) | (f1 ^ f) | (g1 ^ g) | (h1 ^ h)
        a, b, c, d, e, f, g, h = a1, b1, c1, d1, e1, f1, g1, h1
        if moved == 0:
            break
    at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7] = a, b, c, d, e, f, g, h


@_plain
def _walk_null(thresholds, lefts, features, rows, start, at):  # type: ignore[no-untyped-def]
    """Do as ``_walk`` where there are nulls among the rows."""
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    while True:
        a1 = _step_null(thresholds, lefts, features, rows, start, a)
        b1 = _step_null(thresholds, lefts, features, rows, start, b)
        c1 = _step_null(thresholds, lefts, features, rows, start, c)
        d1 = _step_null(thresholds, lefts, features, rows, start, d)
        e1 = _step_null(thresholds, lefts, features, rows, start, e)
        f1 = _step_null(thresholds, lefts, features, rows, start, f)
        g1 = _step_null(thresholds, lefts, features, rows, start, g)
        h1 = _step_null(thresholds, lefts, features, rows, start, h)
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
def _views(columns, n, first, count, n_features, low, high, row_step, feature_step, size, rows):  # type: ignore[no-untyped-def]
    """Write the rows three times, by view, and tell whether there are nulls among them."""
    nulls = False
    for f in range(n_features):
        for r in range(count):
            value = columns[f * n + first + r]
            if value < low:
                value = low
            elif value > high:
                value = high
            nulls |= value != value
            place = r * row_step + f * feature_step
            rows[place] = value
            rows[size + place] = 0.0 if abs(value) <= _FLUSH else value
            rows[2 * size + place] = np.float64(np.float32(value))
    return nulls


@_plain
def _split(thresholds, features, rows, start, count, at, low, high, order, taken, given, nulls):  # type: ignore[no-untyped-def]
    """Divide the rows of a node: those that go left from the front, the others from the back.

    They are taken from ``order[taken + low : taken + high]`` and given to the same place after
    ``given``. Returns where the left ones end.
    """
    threshold = thresholds[at]
    column = start + features[4 * at + 6] * count
    front = given + low
    # As many places are left over between front and back as there are rows to come.
    left_over = high - low
    if nulls:
        null_left = features[4 * at + 7] != 0
        for i in range(taken + low, taken + high):
            r = order[i]
            value = rows[column + r]
            left_over -= 1
            order[front] = r
            order[front + left_over] = r
            front += np.int64((value <= threshold) | ((value != value) & null_left))
    else:
        for i in range(taken + low, taken + high):
            r = order[i]
            left_over -= 1
            order[front] = r
            order[front + left_over] = r
            front += np.int64(rows[column + r] <= threshold)
    return front - given


@_plain
def _fall(  # type: ignore[no-untyped-def]
    thresholds, lefts, features, rows, start, count, root, order, stack, nulls,
    values, first_value, width, sums, n_outputs, group, narrow,
):  # fmt: skip
    """Let many rows fall through one tree: every node divides its rows among its children."""
    for r in range(count):
        order[r] = r
    waiting = 0
    at, low, high, taken = np.int64(root), 0, count, 0
    while True:
        left = np.int64(lefts[2 * at + 2])
        if left == at:
            leaf = first_value + (at >> 1) * width
            if narrow:
                value = values[leaf]
                for i in range(taken + low, taken + high):
                    place = order[i] * n_outputs + group
                    sums[place] = np.float64(np.float32(sums[place] + value))
            elif width == 1:
                value = values[leaf]
                for i in range(taken + low, taken + high):
                    sums[order[i] * n_outputs + group] += value
            else:
                for i in range(taken + low, taken + high):
                    for c in range(width):
                        sums[order[i] * n_outputs + c] += values[leaf + c]
            if waiting == 0:
                break
            waiting -= 1
            at = stack[4 * waiting]
            low = stack[4 * waiting + 1]
            high = stack[4 * waiting + 2]
            taken = stack[4 * waiting + 3]
            continue
        given = count - taken
        middle = _split(
            thresholds, features, rows, start, count, at, low, high, order, taken, given, nulls
        )
        taken = given
        if middle == high:
            at = left
        elif middle == low:
            at = left + 2
        else:
            # The larger part waits, so that no more wait than the count has bits.
            first = high - middle <= middle - low
            stack[4 * waiting] = left if first else left + 2
            stack[4 * waiting + 1] = low if first else middle
            stack[4 * waiting + 2] = middle if first else high
            stack[4 * waiting + 3] = taken
            waiting += 1
            at = left + 2 if first else left
            if first:
                low = middle
            else:
                high = middle


@_plain
def _few(  # type: ignore[no-untyped-def]
    thresholds, lefts, features, rows, start, count, n_features, nulls, at,
    roots, starts, groups, begin, end, values, width, sums, n_outputs, narrow,
):  # fmt: skip
    """Take each row down eight trees at a time."""
    for r in range(count):
        place = start + r * n_features
        for t in range(begin, end, LANES):
            for j in range(LANES):
                at[j] = roots[min(t + j, end - 1)]
            if nulls:
                _walk_null(thresholds, lefts, features, rows, place, at)
            else:
                _walk(thresholds, lefts, features, rows, place, at)
            for j in range(min(LANES, end - t)):
                leaf = starts[t + j] + (at[j] >> 1) * width
                _add(sums, r * n_outputs + groups[t + j], values, leaf, width, narrow)


def _trees(  # type: ignore[no-untyped-def]
    thresholds, lefts, features, values, roots, starts, groups, members, bases, n_members,
    columns, n, n_features, n_classes, low, high, block, rows, sums, stack, order, out,
):  # fmt: skip
    """Score every member that is made of trees, for all rows, block by block.

    ``rows`` holds 3 * block * n_features numbers, ``sums`` block * n_classes, ``stack`` 4 * 64,
    ``order`` 2 * block. ``out`` is (n_members, n, n_classes).
    """
    first = 0
    while first < n:
        count = min(block, n - first)
        size = count * n_features
        many = count >= MANY
        nulls = _views(
            columns, n, first, count, n_features, low, high,
            1 if many else n_features, count if many else 1, size, rows,
        )  # fmt: skip
        for m in range(n_members):
            kind = members[m * MEMBER_FIELDS]
            begin = members[m * MEMBER_FIELDS + 1]
            end = members[m * MEMBER_FIELDS + 2]
            n_outputs = members[m * MEMBER_FIELDS + 3]
            width = members[m * MEMBER_FIELDS + 4]
            start = members[m * MEMBER_FIELDS + 5] * size
            if begin == end:
                continue
            for r in range(count):
                for c in range(n_outputs):
                    sums[r * n_outputs + c] = bases[m * (n_classes + 1) + c]
            if many:
                for t in range(begin, end):
                    _fall(
                        thresholds, lefts, features, rows, start, count, roots[t], order,
                        stack, nulls, values, starts[t], width, sums, n_outputs, groups[t],
                        kind == XGBOOST,
                    )  # fmt: skip
            else:
                _few(
                    thresholds, lefts, features, rows, start, count, n_features, nulls, stack,
                    roots, starts, groups, begin, end, values, width, sums, n_outputs,
                    kind == XGBOOST,
                )  # fmt: skip
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
        _trees, _F8, _U4, _U2, _F8, _I8, _I8, _I8, _I8, _F8, _I,
        _F8, _I, _I, _I, _D, _D, _I, _F8, _F8, _I8, _U2, _F8,
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
