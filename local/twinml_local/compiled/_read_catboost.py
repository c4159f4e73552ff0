"""A fitted CatBoost classifier or regressor, read into flat trees."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml_local.compiled._errors import Refusal
from twinml_local.compiled._layout import CATBOOST, SINGLE
from twinml_local.compiled._nodes import Tree
from twinml_local.compiled._read_trees import Boosted

__all__ = ["read_catboost"]

F8 = NDArray[np.float64]

# Below exp(-708) CatBoost's exponential gives other numbers for a row of four classes than of
# three, so scores that could lie so far apart are not imitated.
_CATBOOST_REACH = 700.0


def read_catboost(member: Any, n_classes: int) -> Boosted:
    """Read a classifier or regressor of CatBoost from its JSON form, with 32-bit borders."""
    expected = {1: "RMSE", 2: "Logloss"}.get(n_classes, "MultiClass")
    loss = member.get_all_params()["loss_function"]
    if loss != expected:
        raise Refusal(f"CatBoost's loss is {loss}, expected {expected}")
    model = _catboost_json(member)
    features = model["features_info"]
    if features.keys() - {"float_features"}:
        raise Refusal("CatBoost has categorical, text or embedding features")
    if "oblivious_trees" not in model:
        raise Refusal("CatBoost's trees are not symmetric")
    scale, bias = model["scale_and_bias"]
    n_sums = 1 if n_classes == 2 else n_classes
    if len(bias) not in (0, n_sums):
        raise Refusal(f"CatBoost has {len(bias)} biases, expected {n_sums}")
    # A null is more than every border of the features that trained with nulls that way.
    null_right = np.array(
        [one["nan_value_treatment"] == "AsTrue" for one in features["float_features"]]
    )
    trees: list[Tree] = []
    reach = 0.0
    for tree in model["oblivious_trees"]:
        values = np.array(tree["leaf_values"], dtype=np.float64).reshape(-1, n_sums)
        reach += float(np.ptp(values, axis=0).max())
        trees.append(_catboost_tree(tree["splits"] or [], values, null_right))
    if n_sums > 1 and abs(scale) * reach > _CATBOOST_REACH:
        raise Refusal("CatBoost's scores are so far apart that its exponential overflows")
    base = np.array(bias or [0.0] * n_sums, dtype=np.float64)
    return Boosted(CATBOOST, SINGLE, trees, n_sums, n_sums, base, float(scale))


def _catboost_json(member: Any) -> dict[str, Any]:
    # It only writes to files.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        member.save_model(str(path), format="json")
        shape: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return shape


def _catboost_tree(
    splits: Sequence[dict[str, Any]], values: F8, null_right: NDArray[np.bool_]
) -> Tree:
    """Spell a symmetric tree out: every level asks one question, the last split first."""
    depth = len(splits)
    inner = 2**depth - 1
    if any(split["split_type"] != "FloatFeature" for split in splits):
        raise Refusal("CatBoost has a split that compares no number")
    # By level; of a node at a level, the bits of its place there are the answers so far.
    levels = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    of_level = [splits[depth - 1 - level] for level in range(depth)]
    feature = np.array([one["float_feature_index"] for one in of_level], dtype=np.int64)
    border = np.array([one["border"] for one in of_level], dtype=np.float32)
    leaves = np.zeros(len(values), dtype=np.int64)
    left = 2 * np.arange(inner) + 1
    return Tree(
        feature=np.concatenate([feature[levels], leaves]),
        threshold=np.concatenate([border[levels].astype(np.float64), leaves]),
        left=np.concatenate([left, leaves]),
        right=np.concatenate([left + 1, leaves]),
        null_left=np.concatenate([~null_right[feature][levels], leaves.astype(np.bool_)]),
        is_leaf=np.arange(inner + len(values)) >= inner,
        values=np.vstack([np.zeros((inner, values.shape[1])), values]),
    )
