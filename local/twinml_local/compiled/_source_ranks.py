# mypy: allow-untyped-defs, allow-untyped-calls
"""The kernel's source for up to some hundred rows: nodes of eight bytes that compare ranks."""

from __future__ import annotations

import numpy as np

from twinml_local.compiled._layout import HIGHEST_RANK, LANES, PLACE_SHIFT, PLANE_SHIFT
from twinml_local.compiled._source_types import inlined, plain

__all__ = ["add", "few_by_rank", "ranks_of"]

_PLANES = (1 << (PLACE_SHIFT - PLANE_SHIFT)) - 1


@plain
def _rank(value, thresholds, first, length):
    """Return how many sorted thresholds are below a value."""
    base = np.int64(0)
    while length > 1:
        half = length >> 1
        base += half * np.int64(thresholds[first + base + half - 1] < value)
        length -= half
    return base + np.int64(length == 1 and thresholds[first + base] < value)


@plain
def ranks_of(rows, size, count, n_features, questions, n_questions, thresholds, ranks):
    """Write the ranks of rows to ``ranks``, (count, 2 * n_questions)."""
    for q in range(n_questions):
        start = questions[4 * q] * size + questions[4 * q + 1]
        first, length = questions[4 * q + 2], questions[4 * q + 3]
        for r in range(count):
            value = rows[start + r * n_features]
            place = 2 * (r * n_questions + q)
            if value != value:
                ranks[place] = 0
                ranks[place + 1] = HIGHEST_RANK
            else:
                rank = _rank(value, thresholds, first, length)
                ranks[place] = rank
                ranks[place + 1] = rank


@inlined
def _step(nodes, ranks, start, at):
    node = nodes[at]
    rank = np.int64(ranks[start + ((node >> PLANE_SHIFT) & _PLANES)])
    return (node >> PLACE_SHIFT) + np.int64(rank > (node & HIGHEST_RANK))


@plain
def _walk(nodes, ranks, s, step, at):
    """Take eight walks, of rows that begin at ``s`` and ``step`` further each, to their leaves."""
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    while True:
        a1 = _step(nodes, ranks, s, a)
        b1 = _step(nodes, ranks, s + step, b)
        c1 = _step(nodes, ranks, s + 2 * step, c)
        d1 = _step(nodes, ranks, s + 3 * step, d)
        e1 = _step(nodes, ranks, s + 4 * step, e)
        f1 = _step(nodes, ranks, s + 5 * step, f)
        g1 = _step(nodes, ranks, s + 6 * step, g)
        h1 = _step(nodes, ranks, s + 7 * step, h)
        moved = (a1 ^ a) | (b1 ^ b) | (c1 ^ c) | (d1 ^ d)
        moved |= (e1 ^ e) | (f1 ^ f) | (g1 ^ g) | (h1 ^ h)
        a, b, c, d, e, f, g, h = a1, b1, c1, d1, e1, f1, g1, h1
        if moved == 0:
            break
    at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7] = a, b, c, d, e, f, g, h


@plain
def add(sums, place, values, first, width, narrow):
    """Add a leaf's values to a row's sums, in 32 bits if ``narrow``."""
    for c in range(width):
        total = sums[place + c] + values[first + c]
        sums[place + c] = np.float64(np.float32(total)) if narrow else total


@plain
def few_by_rank(
    nodes, ranks, n_planes, count, at, roots, starts, groups, begin, end, values, width, sums,
    n_outputs, narrow,
):  # fmt: skip
    """Take eight rows at a time down each tree; what is left over, each down eight trees."""
    whole = count - count % LANES
    for t in range(begin, end):
        root, start, group = roots[t] >> 1, starts[t], groups[t]
        for r in range(0, whole, LANES):
            for j in range(LANES):
                at[j] = root
            _walk(nodes, ranks, r * n_planes, n_planes, at)
            for j in range(LANES):
                leaf = start + at[j] * width
                add(sums, (r + j) * n_outputs + group, values, leaf, width, narrow)
    for r in range(whole, count):
        for t in range(begin, end, LANES):
            for j in range(LANES):
                at[j] = roots[min(t + j, end - 1)] >> 1
            _walk(nodes, ranks, r * n_planes, 0, at)
            for j in range(min(LANES, end - t)):
                leaf = starts[t + j] + at[j] * width
                add(sums, r * n_outputs + groups[t + j], values, leaf, width, narrow)
