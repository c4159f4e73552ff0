"""Numbers that the kernel and those who prepare its arrays must agree on."""

from __future__ import annotations

__all__ = [
    "ADDED",
    "AS_IS",
    "CATBOOST",
    "CATEGORICAL",
    "CATEGORIES",
    "CLIPPED",
    "DIVIDED",
    "FILLED",
    "FLUSHED",
    "FOREST",
    "GRADIENT",
    "HIGHEST_RANK",
    "HISTOGRAM",
    "IS_NULL",
    "LANES",
    "LIGHTGBM",
    "LINEAR",
    "LOOKED_UP",
    "MANY",
    "MEMBER_FIELDS",
    "MULTIPLIED",
    "NARROWED",
    "ONE_HOT_FIELDS",
    "PLACE_SHIFT",
    "PLANE_SHIFT",
    "SINGLE",
    "SPLINE_FIELDS",
    "SUBTRACTED",
    "WORDS",
    "XGBOOST",
    "ZERO_AS_NULL",
]

# Trees that one row goes down at the same time.
LANES = 8

# A node that compares ranks: the rank, from bit 24 on the plane, from bit 36 on the left child.
HIGHEST_RANK = 2**24 - 1
PLANE_SHIFT, PLACE_SHIFT = 24, 36

# From how many rows on all go down one tree together.
MANY = 64

# Kinds of member.
FOREST, LIGHTGBM, XGBOOST, HISTOGRAM, LINEAR, CATBOOST, GRADIENT = range(7)

# How a member sees a row: as it is, with what is nearly zero as zero, or in 32 bits.
AS_IS, FLUSHED, SINGLE = range(3)

# A member: kind, first tree, end of its trees, sums a row, values a leaf, and view of a row.
MEMBER_FIELDS = 6

# What a node has in place of the way of a null if it splits categories; how many there can be,
# and the words of 32 bits that a set of them takes.
CATEGORICAL = 2
CATEGORIES = 256
WORDS = CATEGORIES // 32

# A one-hot column: feature, first category, number of categories, target of an unknown one
# and of a null; -1 is no target.
ONE_HOT_FIELDS = 5

# A spline: feature, first target.
SPLINE_FIELDS = 2

# What is done to a value on its way to a member: the place of a category is looked up in a table,
# a null is filled or becomes 1 and all else 0, …
(
    LOOKED_UP, FILLED, IS_NULL, SUBTRACTED, DIVIDED, MULTIPLIED, ADDED, CLIPPED, NARROWED,
    ZERO_AS_NULL,
) = range(10)  # fmt: skip
