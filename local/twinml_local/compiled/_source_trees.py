# mypy: allow-untyped-defs, allow-untyped-calls
"""The kernel in Python, for numba to translate; imported only where it is translated.

Plain loops over pointers: no allocation, no exception, no object of Python. Every sum is
taken in the order of the library whose estimator is imitated, in its precision, and with the
C library's ``exp``, ``log``, ``expf`` and ``logf``, which all of them call.

A node is 16 bytes, ``_nodes.NODE``, and its place is counted in halves of that, which saves
a multiplication. The right child follows the left one. A leaf is its own left child, and all
values go left there: several walks can go on in step until the last has arrived, which hides
the time that memory takes to answer. A node that splits categories holds in place of its
threshold the place of a set, a bit for each that goes left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from twinml_local.compiled._layout import (
    CATBOOST,
    CATEGORICAL,
    CATEGORIES,
    FOREST,
    LANES,
    LIGHTGBM,
    MANY,
    MEMBER_FIELDS,
    WORDS,
    XGBOOST,
)
from twinml_local.compiled._source_ranks import add, few_by_rank, ranks_of
from twinml_local.compiled._source_types import (
    F8,
    I8,
    REAL,
    U1,
    U2,
    U4,
    WHOLE,
    inlined,
    kernel,
    plain,
)

__all__ = ["KERNELS", "logistic"]

# CatBoost's exponential: 2048 steps a power of two, and the number that rounds to whole ones.
_STEPS_PER_E = 2048 / math.log(2)
_E_PER_STEP = 1 / _STEPS_PER_E
_ROUNDS = float(3 << 51)
_ROOTS = np.array([2.0 ** (i / 2048) for i in range(2048)])
_POWERS = np.array([2.0**-k for k in range(1023)])

# LightGBM takes what is this near to zero for zero before it looks at a row.
_FLUSH = float(np.float32(1e-35))


@plain
def _within(sets, place, value):
    """Tell whether a category is in the set of this place.

    As LightGBM has it, a fraction is cut off, and what is no category is in none.
    """
    if not (value > -1.0 and value < CATEGORIES):
        return False
    code = np.int64(value)
    word = np.int64(sets[place * WORDS + (code >> 5)])
    return (word >> (code & 31)) & 1 == 1


@inlined
def _step(thresholds, lefts, features, sets, rows, start, at):
    value = rows[start + features[4 * at + 6]]
    way = features[4 * at + 7]
    if way == CATEGORICAL:
        right = not _within(sets, np.int64(lefts[2 * at]), value)
    else:
        right = (value > thresholds[at]) | ((value != value) & (way == 0))
    return lefts[2 * at + 2] + np.int64(2) * np.int64(right)


@plain
def _walk(thresholds, lefts, features, sets, rows, start, at):
    """Take the row at ``start`` from the eight nodes ``at`` to their leaves."""
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    while True:
        a1 = _step(thresholds, lefts, features, sets, rows, start, a)
        b1 = _step(thresholds, lefts, features, sets, rows, start, b)
        c1 = _step(thresholds, lefts, features, sets, rows, start, c)
        d1 = _step(thresholds, lefts, features, sets, rows, start, d)
        e1 = _step(thresholds, lefts, features, sets, rows, start, e)
        f1 = _step(thresholds, lefts, features, sets, rows, start, f)
        g1 = _step(thresholds, lefts, features, sets, rows, start, g)
        h1 = _step(thresholds, lefts, features, sets, rows, start, h)
        moved = (a1 ^ a) | (b1 ^ b) | (c1 ^ c) | (d1 ^ d)
        moved |= (e1 ^ e) | (f1 ^ f) | (g1 ^ g) | (h1 ^ h)
        a, b, c, d, e, f, g, h = a1, b1, c1, d1, e1, f1, g1, h1
        if moved == 0:
            break
    at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7] = a, b, c, d, e, f, g, h


@plain
def _forest_link(sums, place, n_outputs, n_trees, out, row):
    for c in range(n_outputs):
        out[row + c] = sums[place + c] / n_trees


@plain
def logistic(score):
    return 1.0 / (1.0 + math.exp(-score))


@plain
def _lightgbm_link(sums, place, n_outputs, sigmoid, out, row):
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


@plain
def _xgboost_margin(probability):
    one = np.float32(1.0)
    return np.float64(-math.log(one / np.float32(probability) - one))


@plain
def _xgboost_link(sums, place, n_outputs, out, row):
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


@plain
def _catboost_exp(x):
    """CatBoost's own exponential, for ``x`` from -700 to 0: a table and a cubic polynomial.

    2**k * 2**(i / 2048) is x to the nearest 2048th of a power of two, ``t`` what is left over.
    """
    scaled = x * _STEPS_PER_E + _ROUNDS
    whole = scaled - _ROUNDS
    t = whole * _E_PER_STEP - x
    n = np.int64(whole)
    i = n & np.int64(2047)
    k = (n - i) >> 11
    y = (3.0000000027955394 - t) * (t * t) * 0.16666666685227835064 - t + 1.0
    return y * (_ROOTS[i] * _POWERS[-k])


@plain
def _catboost_link(sums, place, n_outputs, scale, bases, first, out, row):
    if n_outputs == 1:
        p = logistic(sums[place] * scale + bases[first])
        out[row] = 1.0 - p
        out[row + 1] = p
        return
    for c in range(n_outputs):
        out[row + c] = sums[place + c] * scale + bases[first + c]
    largest = out[row]
    for c in range(1, n_outputs):
        largest = max(largest, out[row + c])
    total = 0.0
    for c in range(n_outputs):
        out[row + c] = _catboost_exp(out[row + c] - largest)
        total += out[row + c]
    for c in range(n_outputs):
        out[row + c] /= total


@plain
def _link(kind, sums, place, n_outputs, n_classes, n_trees, sigmoid, bases, first, out, row):
    if kind == FOREST:
        _forest_link(sums, place, n_outputs, n_trees, out, row)
    elif n_classes == 1:
        # A number: the sum, which CatBoost scales and shifts.
        out[row] = sums[place] * sigmoid + bases[first] if kind == CATBOOST else sums[place]
    elif kind == LIGHTGBM:
        _lightgbm_link(sums, place, n_outputs, sigmoid, out, row)
    elif kind == XGBOOST:
        _xgboost_link(sums, place, n_outputs, out, row)
    elif kind == CATBOOST:
        _catboost_link(sums, place, n_outputs, sigmoid, bases, first, out, row)
    elif n_outputs == 1:
        p = logistic(sums[place])
        out[row] = 1.0 - p
        out[row + 1] = p
    else:
        # A softmax of numpy's, which has an exponential function of its own, follows.
        for c in range(n_outputs):
            out[row + c] = sums[place + c]


@plain
def _views(columns, n, first, count, n_features, low, high, row_step, feature_step, size, rows):
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


@plain
def _split(
    thresholds, lefts, features, sets, rows, start, count, at, low, high, order, taken, given,
    nulls,
):  # fmt: skip
    """Divide the rows of a node: those that go left from the front, the others from the back.

    They are taken from ``order[taken + low : taken + high]`` and given to the same place after
    ``given``. Returns where the left ones end.
    """
    threshold = thresholds[at]
    column = start + features[4 * at + 6] * count
    front = given + low
    # As many places are left over between front and back as there are rows to come.
    left_over = high - low
    if features[4 * at + 7] == CATEGORICAL:
        place = np.int64(lefts[2 * at])
        for i in range(taken + low, taken + high):
            r = order[i]
            left_over -= 1
            order[front] = r
            order[front + left_over] = r
            front += np.int64(_within(sets, place, rows[column + r]))
    elif nulls:
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


@plain
def _fall(
    thresholds, lefts, features, sets, rows, start, count, root, order, stack, nulls,
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
            thresholds, lefts, features, sets, rows, start, count, at, low, high, order, taken,
            given, nulls,
        )  # fmt: skip
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


@plain
def _ask(
    thresholds, lefts, features, rows, start, count, root, order, nulls,
    values, first_value, width, sums, n_outputs,
):  # fmt: skip
    """Score many rows with one symmetric tree: all nodes of a level ask the same question.

    The first node of each level stands for all; the answers are the bits of a leaf's place.
    """
    for r in range(count):
        order[r] = 0
    at = np.int64(root)
    while lefts[2 * at + 2] != at:
        threshold = thresholds[at]
        column = start + features[4 * at + 6] * count
        if nulls and features[4 * at + 7] == 0:
            for r in range(count):
                right = not rows[column + r] <= threshold
                order[r] = 2 * order[r] + np.int64(right)
        else:
            for r in range(count):
                order[r] = 2 * order[r] + np.int64(rows[column + r] > threshold)
        at = np.int64(lefts[2 * at + 2])
    leaf = first_value + (at >> 1) * width
    if width == 1:
        for r in range(count):
            sums[r] += values[leaf + order[r]]
    else:
        for r in range(count):
            for c in range(width):
                sums[r * n_outputs + c] += values[leaf + order[r] * width + c]


@plain
def _few(
    thresholds, lefts, features, sets, rows, start, count, n_features, at, roots, starts, groups,
    begin, end, values, width, sums, n_outputs, narrow,
):  # fmt: skip
    """Take each row down eight trees at a time, of which some split categories."""
    for r in range(count):
        place = start + r * n_features
        for t in range(begin, end, LANES):
            for j in range(LANES):
                at[j] = roots[min(t + j, end - 1)]
            _walk(thresholds, lefts, features, sets, rows, place, at)
            for j in range(min(LANES, end - t)):
                leaf = starts[t + j] + (at[j] >> 1) * width
                add(sums, r * n_outputs + groups[t + j], values, leaf, width, narrow)


def _trees(
    thresholds, lefts, features, sets, values, roots, starts, groups, members, bases, n_members,
    ranked_nodes, questions, n_questions, known, ranked,
    columns, n, begin_row, end_row, n_features, n_classes, low, high, block, rows, sums, stack,
    order, ranks, out,
):  # fmt: skip
    """Score every member that is made of trees, for a part of the ``n`` rows, block by block.

    ``rows`` holds 3 * block * n_features numbers, ``sums`` block * n_classes, ``stack`` 4 * 64,
    ``order`` 2 * block, ``ranks`` 2 * min(block, MANY) * n_questions. ``ranked`` tells which
    members have ranked nodes, ``known`` is those nodes' thresholds. ``out`` is
    (n_members, n, n_classes).
    """
    first = begin_row
    while first < end_row:
        count = min(block, end_row - first)
        size = count * n_features
        many = count >= MANY
        nulls = _views(
            columns, n, first, count, n_features, low, high,
            1 if many else n_features, count if many else 1, size, rows,
        )  # fmt: skip
        if not many:
            ranks_of(rows, size, count, n_features, questions, n_questions, known, ranks)
        for m in range(n_members):
            kind = members[m * MEMBER_FIELDS]
            begin = members[m * MEMBER_FIELDS + 1]
            end = members[m * MEMBER_FIELDS + 2]
            n_outputs = members[m * MEMBER_FIELDS + 3]
            width = members[m * MEMBER_FIELDS + 4]
            start = members[m * MEMBER_FIELDS + 5] * size
            if begin == end:
                continue
            for c in range(n_outputs):
                base = bases[m * (n_classes + 1) + c]
                if kind == XGBOOST and n_outputs == 1 and n_classes == 2:
                    base = _xgboost_margin(base)
                elif kind == CATBOOST:
                    base = 0.0  # added after the sums, see its link
                for r in range(count):
                    sums[r * n_outputs + c] = base
            if many and kind == CATBOOST:
                for t in range(begin, end):
                    _ask(
                        thresholds, lefts, features, rows, start, count, roots[t], order, nulls,
                        values, starts[t], width, sums, n_outputs,
                    )  # fmt: skip
            elif many:
                for t in range(begin, end):
                    _fall(
                        thresholds, lefts, features, sets, rows, start, count, roots[t],
                        order, stack, nulls, values, starts[t], width, sums, n_outputs, groups[t],
                        kind == XGBOOST,
                    )  # fmt: skip
            elif ranked[m] != 0:
                few_by_rank(
                    ranked_nodes, ranks, 2 * n_questions, count, stack, roots, starts, groups,
                    begin, end, values, width, sums, n_outputs, kind == XGBOOST,
                )  # fmt: skip
            else:
                _few(
                    thresholds, lefts, features, sets, rows, start, count, n_features, stack,
                    roots, starts, groups, begin, end, values, width, sums, n_outputs,
                    kind == XGBOOST,
                )  # fmt: skip
            sigmoid = bases[m * (n_classes + 1) + n_classes]
            for r in range(count):
                row = (m * n + first + r) * n_classes
                _link(
                    kind, sums, r * n_outputs, n_outputs, n_classes, end - begin, sigmoid,
                    bases, m * (n_classes + 1), out, row,
                )  # fmt: skip
        first += count


KERNELS: dict[str, Callable[[], Any]] = {
    "trees": lambda: kernel(
        _trees,
        *(F8, U4, U2, U4, F8, I8, I8, I8, I8, F8, WHOLE, I8, I8, WHOLE, F8, U1),
        *(F8, WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, REAL, REAL, WHOLE, F8, F8, I8, U2, U4, F8),
    )
}
