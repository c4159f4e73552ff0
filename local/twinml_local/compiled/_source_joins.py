# mypy: allow-untyped-defs, allow-untyped-calls
"""The rest of the kernel's source: the linear member, and how members are joined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twinml_local.compiled._layout import ONE_HOT_FIELDS, SPLINE_FIELDS
from twinml_local.compiled._source_trees import logistic
from twinml_local.compiled._source_types import F8, I8, REAL, WHOLE, kernel, plain

__all__ = ["KERNELS"]


@plain
def _interpolate(x, xs, ys, first, length):
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


@plain
def _basis(knots, first, x, degree, interval, work):
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


@plain
def _put(
    sparse, row, column, value, out, row_step, column_step, coefficients, n_scores, n_features
):
    if sparse:
        for c in range(n_scores):
            out[row * n_scores + c] += value * coefficients[c * n_features + column]
    else:
        out[row * row_step + column * column_step] = value


def _linear(
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
            value = fills[s] if value != value else min(max(value, low), high)
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


def _vote(members, n_members, n, n_classes, weights, scale, out):
    """Average the members as ``numpy.average`` does, into ``out``, (n, n_classes)."""
    size = n * n_classes
    for i in range(size):
        total = members[i] * weights[0]
        for m in range(1, n_members):
            total += members[m * size + i] * weights[m]
        out[i] = total / scale


def _log_odds(members, n_members, n, n_classes, low, high, out, row_step, column_step):
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


def _sparse(columns, n, first, n_features, coefficients, n_scores, out):
    """Write sums of products, feature by feature: what is zero is not in a sparse matrix."""
    for r in range(n):
        for c in range(n_scores):
            out[r * n_scores + c] = 0.0
        for f in range(n_features):
            value = columns[(first + f) * n + r]
            if value != 0.0:
                for c in range(n_scores):
                    out[r * n_scores + c] += value * coefficients[c * n_features + f]


def _sigmoid(scores, n, out):
    """Write both classes' probabilities from the log-odds of the second."""
    for r in range(n):
        p = logistic(scores[r])
        out[2 * r] = 1.0 - p
        out[2 * r + 1] = p


KERNELS: dict[str, Callable[[], Any]] = {
    "linear": lambda: kernel(
        _linear,
        *(F8, WHOLE, REAL, REAL, I8, WHOLE, F8, I8, I8, WHOLE, F8, F8, F8, F8, F8, WHOLE),
        *(F8, WHOLE, WHOLE, F8, F8, WHOLE, F8, WHOLE, WHOLE, F8, WHOLE, WHOLE),
    ),
    "vote": lambda: kernel(_vote, F8, WHOLE, WHOLE, WHOLE, F8, REAL, F8),
    "log_odds": lambda: kernel(_log_odds, F8, WHOLE, WHOLE, WHOLE, REAL, REAL, F8, WHOLE, WHOLE),
    "sparse": lambda: kernel(_sparse, F8, WHOLE, WHOLE, WHOLE, F8, WHOLE, F8),
    "sigmoid": lambda: kernel(_sigmoid, F8, WHOLE, F8),
}
