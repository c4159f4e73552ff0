"""Trees whose nodes compare ranks: half the size of those that hold thresholds, and as exact.

The rank of a value is how many of the feature's thresholds are below it, so it is above one of them
just when its rank is above the place of that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinml_local.compiled._layout import (
    CATEGORICAL,
    HIGHEST_RANK,
    MEMBER_FIELDS,
    PLACE_SHIFT,
    PLANE_SHIFT,
)
from twinml_local.compiled._nodes import Forest

__all__ = ["Ranks", "ranked"]

I8 = NDArray[np.int64]
_MOST_PLANES = 1 << (PLACE_SHIFT - PLANE_SHIFT)
_MOST_NODES = 1 << (63 - PLACE_SHIFT)


@dataclass(frozen=True)
class Ranks:
    """The nodes of members whose trees compare numbers alone.

    Attributes
    ----------
    nodes
        Place of the left child, plane, and rank, in one number each; a leaf is its own left child
        and has a rank that no value is above.
    questions
        View, feature, first threshold and number of thresholds, shape (n, 4). Each has two
        planes of ranks: one in which a null goes left, and one in which it goes right.
    thresholds
        Sorted, by question.
    members
        Whether a member's nodes are among these, shape (n_members,).
    """

    nodes: I8
    questions: I8
    thresholds: NDArray[np.float64]
    members: NDArray[np.bool_]


def ranked(forest: Forest, table: I8) -> Ranks:
    """Return the nodes of a forest with ranks, for the members that ``table`` describes."""
    nodes = np.zeros(len(forest.nodes), dtype=np.int64)
    members = np.zeros(len(table), dtype=np.bool_)
    questions: list[tuple[int, int, int, int]] = []
    thresholds: list[NDArray[np.float64]] = []
    length = 0
    bounds = np.append(forest.roots, 2 * len(forest.nodes)) // 2
    places = np.arange(len(forest.nodes))
    inner = forest.nodes["left"] // 2 != places
    view_of = np.full(len(forest.nodes), -1)
    for place, row in enumerate(table.reshape(-1, MEMBER_FIELDS)):
        begin, end = bounds[row[1]], bounds[row[2]]
        sets = (forest.nodes["null_left"][begin:end] == CATEGORICAL).any()
        members[place] = end > begin and not sets
        if members[place]:
            view_of[begin:end] = row[5]
    keys = view_of * 2**16 + forest.nodes["feature"]
    asked = np.flatnonzero(inner & (view_of >= 0))
    asked = asked[np.argsort(keys[asked], kind="stable")]
    kinds, firsts = np.unique(keys[asked], return_index=True)
    # Leaves compare with the first plane, which has to be there.
    if not len(kinds) or 2 * len(kinds) > _MOST_PLANES or len(nodes) > _MOST_NODES:
        return Ranks(nodes[:0], np.zeros((0, 4), np.int64), np.zeros(0), members & False)
    nodes[:] = places << PLACE_SHIFT | HIGHEST_RANK
    for number, (kind, group) in enumerate(zip(kinds, np.split(asked, firsts)[1:], strict=True)):
        known, ranks = np.unique(forest.nodes["threshold"][group], return_inverse=True)
        questions.append((int(kind) >> 16, int(kind) & 0xFFFF, length, len(known)))
        thresholds.append(known)
        length += len(known)
        planes = 2 * number + (forest.nodes["null_left"][group] == 0)
        lefts = forest.nodes["left"][group].astype(np.int64) // 2
        nodes[group] = lefts << PLACE_SHIFT | planes << PLANE_SHIFT | ranks
    return Ranks(
        nodes,
        np.array(questions, dtype=np.int64).reshape(-1, 4),
        np.concatenate(thresholds) if thresholds else np.zeros(0),
        members,
    )
