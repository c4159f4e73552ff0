"""Numbers that the kernel and those who prepare its arrays must agree on."""

from __future__ import annotations

__all__ = [
    "AS_IS",
    "CATBOOST",
    "CATEGORICAL",
    "CATEGORIES",
    "FLUSHED",
    "FOREST",
    "HISTOGRAM",
    "LANES",
    "LIGHTGBM",
    "LINEAR",
    "MANY",
    "MEMBER_FIELDS",
    "ONE_HOT_FIELDS",
    "SINGLE",
    "SPLINE_FIELDS",
    "WORDS",
    "XGBOOST",
]

# Trees that one row goes down at the same time.
LANES = 8

# From how many rows on all go down one tree together.
MANY = 200

# Kinds of member.
FOREST, LIGHTGBM, XGBOOST, HISTOGRAM, LINEAR, CATBOOST = range(6)

# How a member sees a row: as it is, with what is nearly zero as zero, or in 32 bits.
AS_IS, FLUSHED, SINGLE = range(3)

# A member: kind, first tree, end of its trees, sums a row, values a leaf, view of a row, and
# whether its trees split categories.
MEMBER_FIELDS = 7

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
