"""Exact SHAP values of scikit-learn's trees, nulls included, by path-dependent TreeSHAP.

A tree's value is a sum over its leaves. Given a row, a leaf with value v and the features J on
its path, the game "which features are known" pays ``v * prod(o_j) * prod(z_j)`` over the known
and the unknown features: ``o_j`` is 1 if the row passes all splits on j, else 0, and ``z_j`` is
the share of the training rows that pass them. The Shapley value of feature i in it is::

    v (o_i - z_i) * integral over t from 0 to 1 of prod over j != i of (t o_j + (1 - t) z_j)

because the weights of the coalitions are beta integrals. The integrand is a polynomial of degree
``|J| - 1``, so Gauss-Legendre quadrature with ``|J| / 2`` nodes gives it exactly, and with no
subtraction that could lose digits. The values are those of Lundberg et al. (2020), algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Paths", "of_forest", "of_histogram", "shap_values"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paths:
    """The leaves of trees, each with what a row must pass to come to it.

    Attributes
    ----------
    value
        Of each leaf, shape (n_leaves, n_scores).
    start
        Where each leaf's conditions begin, shape (n_leaves + 1,).
    feature, low, high, null, share
        Conditions: ``low < x <= high``, or x is null and may be; and the share of the training
        rows that pass. One a feature and leaf.
    """

    value: Floats
    start: NDArray[np.int64]
    feature: NDArray[np.int64]
    low: Floats
    high: Floats
    null: NDArray[np.bool_]
    share: Floats


@dataclass(frozen=True)
class _Tree:
    feature: Any
    threshold: Any
    left: Any
    right: Any
    null_left: Any
    leaf: Any
    rows: Any
    value: Floats


def of_forest(member: Any) -> Paths:
    """Read a forest of scikit-learn's: the values are probabilities, or numbers."""
    n_trees = len(member.estimators_)
    return _paths(
        _Tree(
            tree.feature,
            tree.threshold,
            tree.children_left,
            tree.children_right,
            tree.missing_go_to_left,
            tree.children_left == -1,
            tree.weighted_n_node_samples,
            np.asarray(tree.value[:, 0, :], dtype=np.float64) / n_trees,
        )
        for tree in (one.tree_ for one in member.estimators_)
    )


def of_histogram(member: Any) -> Paths:
    """Read a ``HistGradientBoostingClassifier`` without categorical splits: raw scores."""
    n_scores = member.n_trees_per_iteration_

    def trees() -> Iterator[_Tree]:
        for iteration in member._predictors:
            for place, predictor in enumerate(iteration):
                nodes = predictor.nodes
                value = np.zeros((len(nodes), n_scores))
                value[:, place] = nodes["value"]
                yield _Tree(
                    nodes["feature_idx"],
                    nodes["num_threshold"],
                    nodes["left"],
                    nodes["right"],
                    nodes["missing_go_to_left"],
                    nodes["is_leaf"],
                    nodes["count"],
                    value,
                )

    return _paths(trees())


def shap_values(paths: Paths, X: Floats) -> tuple[Floats, Floats]:
    """Return the mean over the training rows and the contributions of the features.

    Parameters
    ----------
    paths
        Of all trees.
    X
        Encoded rows, shape (n, p), as the trees compare them.

    Returns
    -------
    base, contributions
        Shapes (k,) and (n, p, k).
    """
    n_scores = paths.value.shape[1]
    base = np.zeros(n_scores)
    counts = np.diff(paths.start)
    for leaf, count in enumerate(counts):
        first = paths.start[leaf]
        base += paths.value[leaf] * math.prod(paths.share[first : first + count].tolist())
    longest = int(counts.max(initial=1))
    nodes, weights, begin = _quadrature(longest)
    contributions = np.zeros((len(X), X.shape[1], n_scores))
    _compiled()(
        np.ascontiguousarray(X, dtype=np.float64),
        *(paths.value, paths.start, paths.feature, paths.low, paths.high, paths.null, paths.share),
        *(nodes, weights, begin, contributions),
    )
    return base, contributions


def _paths(trees: Iterable[_Tree]) -> Paths:
    values: list[Floats] = []
    start = [0]
    conditions: list[tuple[int, float, float, bool, float]] = []
    for tree in trees:
        # Nodes that are still to be seen, with the conditions of the way to them.
        waiting: list[tuple[int, dict[int, tuple[float, float, bool, float]]]] = [(0, {})]
        while waiting:
            node, passed = waiting.pop()
            if tree.leaf[node]:
                values.append(tree.value[node])
                conditions += [(feature, *rest) for feature, rest in passed.items()]
                start.append(len(conditions))
                continue
            feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
            low, high, null, share = passed.get(feature, (-math.inf, math.inf, True, 1.0))
            null_left = bool(tree.null_left[node])
            for child, ends, nulls in (
                (int(tree.left[node]), (low, min(high, threshold)), null and null_left),
                (int(tree.right[node]), (max(low, threshold), high), null and not null_left),
            ):
                part = float(tree.rows[child]) / float(tree.rows[node])
                waiting.append((child, passed | {feature: (*ends, nulls, share * part)}))
    columns = list(zip(*conditions, strict=True)) or [(), (), (), (), ()]
    return Paths(
        np.array(values),
        np.array(start, dtype=np.int64),
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.float64),
        np.array(columns[2], dtype=np.float64),
        np.array(columns[3], dtype=np.bool_),
        np.array(columns[4], dtype=np.float64),
    )


def _quadrature(longest: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return Gauss-Legendre rules on [0, 1] for paths of 0 to ``longest`` features."""
    nodes, weights, begin = [], [], [0, 0]
    for count in range(1, longest + 1):
        at, weight = np.polynomial.legendre.leggauss((count + 1) // 2)
        nodes.append((at + 1) / 2)
        weights.append(weight / 2)
        begin.append(begin[-1] + len(at))
    return np.concatenate(nodes), np.concatenate(weights), np.array(begin, dtype=np.int64)


@cache
def _compiled() -> Any:
    """Translate the loop to machine code, which takes a second or two, once a process."""
    import numba

    return numba.njit(_add_contributions, nogil=True)


def _add_contributions(
    X: Any,
    value: Any,
    start: Any,
    feature: Any,
    low: Any,
    high: Any,
    null: Any,
    share: Any,
    nodes: Any,
    weights: Any,
    begin: Any,
    out: Any,
) -> None:
    """Add every leaf's Shapley values to ``out``; plain loops, for numba."""
    n_scores = value.shape[1]
    for row in range(X.shape[0]):
        for leaf in range(len(start) - 1):
            first, last = start[leaf], start[leaf + 1]
            count = last - first
            known = np.zeros(count)
            for place in range(count):
                x = X[row, feature[first + place]]
                if np.isnan(x):
                    known[place] = 1.0 if null[first + place] else 0.0
                elif x <= high[first + place] and (
                    x > low[first + place] or low[first + place] == -np.inf
                ):
                    known[place] = 1.0
            weight = np.zeros(count)
            for point in range(begin[count], begin[count + 1]):
                t = nodes[point]
                whole = weights[point]
                for place in range(count):
                    whole *= t * known[place] + (1 - t) * share[first + place]
                if whole == 0:  # a share of no row at all
                    continue
                for place in range(count):
                    weight[place] += whole / (t * known[place] + (1 - t) * share[first + place])
            for place in range(count):
                moved = (known[place] - share[first + place]) * weight[place]
                for score in range(n_scores):
                    out[row, feature[first + place], score] += moved * value[leaf, score]
