"""Fitted members that are made of trees, read into flat ones.

Of a regression there is one output, ``n_classes`` is 1, and the sum of the leaves is the answer.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor

from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import (
    AS_IS,
    CATEGORIES,
    FLUSHED,
    FOREST,
    GRADIENT,
    HISTOGRAM,
    LIGHTGBM,
    SINGLE,
    WORDS,
    XGBOOST,
)
from twinml_local.compiled._nodes import Tree

__all__ = [
    "Boosted",
    "read_forest",
    "read_gradient",
    "read_histogram",
    "read_lightgbm",
    "read_tree",
    "read_xgboost",
]

F8 = NDArray[np.float64]


@dataclass(frozen=True)
class Boosted:
    """A member made of trees.

    Attributes
    ----------
    kind, view
        See ``_layout``.
    n_sums
        Sums a row: one for two classes unless the trees hold probabilities.
    width
        Values a leaf.
    base
        What the sums start from, shape (n_sums,); for XGBoost's two classes a probability, and
        for CatBoost what is added to them at the end.
    sigmoid
        LightGBM's factor of a binary score, or CatBoost's of all scores.
    """

    kind: int
    view: int
    trees: Sequence[Tree]
    n_sums: int
    width: int
    base: F8
    sigmoid: float = 1.0


def read_forest(member: Any, n_classes: int) -> Boosted:
    """Read a random forest or extra trees: probabilities, averaged in the order of the trees."""
    if member.n_outputs_ != 1:
        raise Refusal("the forest has several outputs")
    if member.n_jobs not in (None, 1):
        # Threads add their trees in the order in which they happen to finish.
        raise Refusal(f"the forest's n_jobs is {member.n_jobs}: its sums have no fixed order")
    trees = [_sklearn_tree(estimator.tree_, n_classes) for estimator in member.estimators_]
    return Boosted(FOREST, SINGLE, trees, n_classes, n_classes, np.zeros(n_classes))


def read_tree(member: Any, n_classes: int) -> Boosted:
    """Read a single tree of scikit-learn's, which is a forest of one."""
    if member.n_outputs_ != 1:
        raise Refusal("the tree has several outputs")
    trees = [_sklearn_tree(member.tree_, n_classes)]
    return Boosted(FOREST, SINGLE, trees, n_classes, n_classes, np.zeros(n_classes))


def _sklearn_tree(tree: Any, n_classes: int) -> Tree:
    return Tree(
        feature=np.asarray(tree.feature, dtype=np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        null_left=np.asarray(tree.missing_go_to_left, dtype=np.bool_),
        is_leaf=np.asarray(tree.children_left) == -1,
        values=np.asarray(tree.value[:, 0, :n_classes], dtype=np.float64),
    )


def read_gradient(member: Any, n_classes: int) -> Boosted:
    """Read scikit-learn's ``GradientBoosting``: its trees' values times the learning rate."""
    n_sums = 1 if n_classes == 2 else n_classes
    start = member.init_
    if (n_classes > 1 and member.loss != "log_loss") or not (
        (isinstance(start, str) and start == "zero")
        or type(start) in (DummyClassifier, DummyRegressor)
    ):
        raise Refusal("GradientBoosting starts from a model, or has another loss")
    base = member._raw_predict_init(np.zeros((1, member.n_features_in_), dtype=np.float32))[0]
    if base.shape != (n_sums,):
        raise Refusal("GradientBoosting has another number of scores than of classes")
    trees = [
        replace(read, values=read.values * member.learning_rate, group=group)
        for stage in member.estimators_
        for group, one in enumerate(stage)
        for read in (_sklearn_tree(one.tree_, 1),)
    ]
    return Boosted(GRADIENT, SINGLE, trees, n_sums, 1, np.asarray(base, dtype=np.float64))


def read_histogram(member: Any, n_classes: int) -> Boosted:
    """Read a ``HistGradientBoostingClassifier``, or a regressor of squared errors."""
    n_sums = 1 if n_classes == 2 else n_classes
    expected = "squared_error" if n_classes == 1 else "log_loss"
    if member._preprocessor is not None or member.loss != expected:
        raise Refusal("HistGradientBoosting has categorical features or another loss")
    trees = []
    for iteration in member._predictors:
        for group, predictor in enumerate(iteration):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise Refusal("HistGradientBoosting has a categorical split")
            trees.append(
                Tree(
                    feature=nodes["feature_idx"].astype(np.int64),
                    threshold=nodes["num_threshold"].astype(np.float64),
                    left=nodes["left"].astype(np.int64),
                    right=nodes["right"].astype(np.int64),
                    null_left=nodes["missing_go_to_left"].astype(np.bool_),
                    is_leaf=nodes["is_leaf"].astype(np.bool_),
                    values=nodes["value"].astype(np.float64)[:, None],
                    group=group,
                )
            )
    base = np.asarray(member._baseline_prediction)
    if base.dtype != np.float64 or base.size != n_sums:
        raise Refusal("HistGradientBoosting starts from something else than a number a class")
    return Boosted(HISTOGRAM, AS_IS, trees, n_sums, 1, base.ravel().copy())


def read_lightgbm(member: Any, n_classes: int) -> Boosted:
    """Read a model of LightGBM from its text form, which holds every number in full."""
    text = member.booster_.model_to_string(num_iteration=-1)
    header, *blocks = text.split("\nTree=")
    about = dict(line.split("=", 1) for line in header.splitlines() if "=" in line)
    n_sums = 1 if n_classes == 2 else n_classes
    objective, *settings = about["objective"].split()
    expected = {1: "regression", 2: "binary"}.get(n_classes, "multiclass")
    if objective != expected or "average_output" in header.splitlines():
        raise Refusal(f"LightGBM's objective is {objective!r}, expected {expected!r}, boosted")
    if int(about["num_tree_per_iteration"]) != n_sums:
        raise Refusal("LightGBM has another number of trees an iteration than of classes")
    if member.booster_.best_iteration > 0:
        raise Refusal("LightGBM was stopped early")
    sigmoid = 1.0
    if n_classes == 2:
        sigmoid = float(dict(setting.split(":") for setting in settings)["sigmoid"])
    trees = [
        _lightgbm_tree(
            dict(
                line.split("=", 1)
                for line in block.split("\n\n")[0].splitlines()[1:]
                if "=" in line
            ),
            place % n_sums,
        )
        for place, block in enumerate(blocks)
    ]
    return Boosted(LIGHTGBM, FLUSHED, trees, n_sums, 1, np.zeros(n_sums), sigmoid)


def _lightgbm_tree(about: dict[str, str], group: int) -> Tree:
    n_leaves = int(about["num_leaves"])
    if about.get("is_linear", "0") != "0":
        raise Refusal("LightGBM has a linear tree")
    values = _numbers(about["leaf_value"])
    inner = n_leaves - 1

    def integers(name: str) -> NDArray[np.int64]:
        return np.array(about[name].split() if inner else [], dtype=np.int64)

    # Inner nodes first, then leaves; a child below zero is the leaf ~child.
    left, right = integers("left_child"), integers("right_child")
    decisions = integers("decision_type")
    threshold = _numbers(about["threshold"]) if inner else np.zeros(0)
    # Bit 1 is the way of what is missing; bits 2 and 3 are what counts as missing.
    missing = (decisions >> 2) & 3
    if (missing == 1).any():
        raise Refusal("LightGBM takes zero for missing")
    categorical = (decisions & 1) == 1
    chosen, sets = None, np.zeros((0, WORDS), dtype=np.uint32)
    if categorical.any():
        # For a threshold these have the place of a set.
        chosen = np.full(inner + n_leaves, -1)
        chosen[:inner][categorical] = threshold[categorical].astype(np.int64)
        sets = _sets(integers("cat_boundaries"), integers("cat_threshold"))
    # Where training saw no null, a null is zero.
    null_left = np.where(missing == 2, (decisions & 2) != 0, threshold >= 0.0)
    none = np.zeros(n_leaves)
    return Tree(
        feature=np.concatenate([integers("split_feature"), none.astype(np.int64)]),
        threshold=np.concatenate([threshold, none]),
        left=np.concatenate([np.where(left < 0, inner + ~left, left), none.astype(np.int64)]),
        right=np.concatenate([np.where(right < 0, inner + ~right, right), none.astype(np.int64)]),
        null_left=np.concatenate([null_left, none.astype(np.bool_)]),
        is_leaf=np.arange(inner + n_leaves) >= inner,
        values=np.concatenate([np.zeros(inner), values])[:, None],
        group=group,
        chosen=chosen,
        sets=sets,
    )


def _sets(bounds: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return LightGBM's sets of categories, which are words of 32 bits as well."""
    sets = np.zeros((len(bounds) - 1, WORDS), dtype=np.uint32)
    for place, (start, end) in enumerate(itertools.pairwise(bounds.tolist())):
        if end - start > WORDS:
            raise Refusal(f"LightGBM splits more than {CATEGORIES} categories")
        sets[place, : end - start] = words[start:end]
    return sets


def _numbers(text: str) -> F8:
    return np.array([float(part) for part in text.split()])


def read_xgboost(member: Any, n_classes: int) -> Boosted:
    """Read a model of XGBoost from its JSON form, whose numbers name 32-bit floats."""
    booster = member.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    boosted = learner["gradient_booster"]
    expected = {1: "reg:squarederror", 2: "binary:logistic"}.get(n_classes, "multi:softprob")
    if learner["objective"]["name"] != expected or boosted["name"] != "gbtree":
        raise Refusal(
            f"XGBoost is {boosted['name']} with {learner['objective']['name']}, "
            f"expected gbtree with {expected}"
        )
    if "best_iteration" in learner["attributes"]:
        raise Refusal("XGBoost was stopped early")
    if not math.isnan(member.missing):
        raise Refusal(f"XGBoost takes {member.missing!r} for missing, expected nan")
    if member.device not in (None, "cpu"):
        raise Refusal(f"XGBoost predicts on {member.device!r}, expected 'cpu'")
    n_sums = 1 if n_classes == 2 else n_classes
    scores = np.array(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float32)
    # A probability for two classes, which the kernel takes the log-odds of, else margins.
    base = np.broadcast_to(scores.ravel(), n_sums)
    model = boosted["model"]
    trees = [
        _xgboost_tree(tree, group)
        for tree, group in zip(model["trees"], model["tree_info"], strict=True)
    ]
    return Boosted(XGBOOST, SINGLE, trees, n_sums, 1, base.astype(np.float64))


def _xgboost_tree(tree: dict[str, Any], group: int) -> Tree:
    if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise Refusal("XGBoost has a categorical split or a leaf of several values")
    left = np.array(tree["left_children"], dtype=np.int64)
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    is_leaf = left == -1
    # Left is where the value is less: not more than the number before, in 32 bits.
    threshold = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return Tree(
        feature=np.array(tree["split_indices"], dtype=np.int64),
        threshold=np.where(is_leaf, 0.0, threshold),
        left=left,
        right=np.array(tree["right_children"], dtype=np.int64),
        null_left=np.array(tree["default_left"], dtype=np.bool_),
        is_leaf=is_leaf,
        values=condition.astype(np.float64)[:, None],
        group=int(group),
    )
