"""Trees of any library in the one form that the kernel walks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import CATEGORICAL, WORDS

__all__ = ["NODE", "Forest", "Tree", "categories_of", "lay_out"]

# As the kernel reads it. ``left`` is twice the place of the left child; see ``_source_trees``.
NODE = np.dtype([("threshold", "<f8"), ("left", "<u4"), ("feature", "<u2"), ("null_left", "<u2")])

MOST_FEATURES = 2**16


@dataclass(frozen=True)
class Tree:
    """One tree, node 0 its root. Rows with ``feature <= threshold`` go left.

    Attributes
    ----------
    left, right
        Places of the children; of a leaf anything.
    null_left
        Whether a null goes left.
    is_leaf
        For which nodes ``values`` counts.
    values
        Shape (n_nodes, width).
    group
        The sum that the values are added to.
    chosen
        Of nodes that split categories the place in ``sets``, -1 for all others.
    sets
        Categories that go left, as every other value does not; shape (n_sets, WORDS).
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    null_left: NDArray[np.bool_]
    is_leaf: NDArray[np.bool_]
    values: NDArray[np.float64]
    group: int = 0
    chosen: NDArray[np.int64] | None = None
    sets: NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, WORDS), np.uint32))


@dataclass(frozen=True)
class Forest:
    """Trees one after the other.

    ``roots`` are twice the places of the roots; ``starts`` is where the values of the very
    first node would be if it belonged to the tree. ``sets`` are all sets of categories, shape
    (n_sets, WORDS); a node that splits them has a place in it for a threshold.
    """

    nodes: NDArray[np.void]
    values: NDArray[np.float64]
    roots: NDArray[np.int64]
    starts: NDArray[np.int64]
    groups: NDArray[np.int64]
    sets: NDArray[np.uint32]


def lay_out(trees: Sequence[Tree]) -> Forest:
    """Return trees as the kernel walks them: by level, each left child before its right one."""
    nodes, values, sets = [], [], []
    roots, starts = [], []
    n_nodes = n_values = n_sets = 0
    for tree in trees:
        order, left = _by_level(tree)
        laid = np.zeros(len(order), dtype=NODE)
        leaf = tree.is_leaf[order]
        places = np.arange(len(order))
        laid["left"] = 2 * (n_nodes + np.where(leaf, places, left))
        laid["threshold"] = np.where(leaf, np.inf, tree.threshold[order])
        laid["feature"] = np.where(leaf, 0, tree.feature[order])
        laid["null_left"] = leaf | tree.null_left[order]
        if tree.chosen is not None:
            chosen = tree.chosen[order]
            split = chosen >= 0
            halves = laid.view("<u4").reshape(len(laid), -1)
            halves[split, 0] = n_sets + chosen[split]
            laid["null_left"][split] = CATEGORICAL
        sets.append(tree.sets)
        n_sets += len(tree.sets)
        if not (tree.feature[order[~leaf]] >= 0).all():
            raise Refusal("a tree splits on a feature that does not exist")
        width = tree.values.shape[1]
        roots.append(2 * n_nodes)
        starts.append(n_values - n_nodes * width)
        nodes.append(laid)
        values.append(np.where(leaf[:, None], tree.values[order], 0.0).ravel())
        n_nodes += len(order)
        n_values += len(order) * width
    if n_nodes >= 2**31:
        raise Refusal(f"the model has {n_nodes:,} nodes, more than the compiled form can hold")
    return Forest(
        np.concatenate(nodes) if nodes else np.zeros(0, dtype=NODE),
        np.concatenate(values) if values else np.zeros(0),
        np.array(roots, dtype=np.int64),
        np.array(starts, dtype=np.int64),
        np.array([tree.group for tree in trees], dtype=np.int64),
        np.concatenate(sets) if sets else np.zeros((0, WORDS), dtype=np.uint32),
    )


def categories_of(forest: Forest, node: int) -> frozenset[int]:
    """Return which categories go left at a node that splits them."""
    place = int(np.frombuffer(forest.nodes[node].tobytes(), "<u4", 1)[0])
    bits = np.unpackbits(forest.sets[place].view(np.uint8), bitorder="little")
    return frozenset(np.flatnonzero(bits).tolist())


def _by_level(tree: Tree) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nodes level by level, and where in this order each one's left child is."""
    order, lefts = [], []
    level = np.zeros(1, dtype=np.int64)
    end = 1
    while len(level):
        inner = ~tree.is_leaf[level]
        left = np.zeros(len(level), dtype=np.int64)
        left[inner] = end + 2 * np.arange(inner.sum())
        order.append(level)
        lefts.append(left)
        parents = level[inner]
        level = np.column_stack([tree.left[parents], tree.right[parents]]).ravel()
        end += len(level)
        if end > 2 * len(tree.is_leaf) + 1:
            raise Refusal("a tree of the model is no tree: a node has two parents")
    return np.concatenate(order), np.concatenate(lefts)
