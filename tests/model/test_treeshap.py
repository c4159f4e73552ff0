"""TreeSHAP of scikit-learn's trees against Shapley values by their definition."""

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from twinml.explanation import treeshap

P = 4


def rows(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    X = rng.normal(size=(300, P)).astype(np.float32).astype(np.float64)
    X[rng.random(X.shape) < 0.1] = np.nan
    signal = np.nan_to_num(X[:, 0] + X[:, 1] * X[:, 2]) + rng.normal(0, 0.3, len(X))
    return X, np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))


def value(nodes: list[dict[str, Any]], x: np.ndarray, known: tuple[int, ...], node: int = 0) -> Any:
    """A tree's value where only some features are known: both ways, by their training rows."""
    here = nodes[node]
    if here["leaf"]:
        return here["value"]
    left, right = here["left"], here["right"]
    if here["feature"] in known:
        at = x[here["feature"]]
        goes_left = here["null_left"] if np.isnan(at) else at <= here["threshold"]
        return value(nodes, x, known, left if goes_left else right)
    whole = nodes[left]["rows"] + nodes[right]["rows"]
    return sum(
        nodes[child]["rows"] / whole * value(nodes, x, known, child) for child in (left, right)
    )


def by_definition(trees: list[list[dict[str, Any]]], x: np.ndarray) -> np.ndarray:
    """Shapley values, feature by feature and coalition by coalition, shape (p, k)."""
    found = []
    for feature in range(P):
        others = [other for other in range(P) if other != feature]
        total: Any = 0.0
        for size in range(P):
            weight = factorial(size) * factorial(P - 1 - size) / factorial(P)
            for known in combinations(others, size):
                for tree in trees:
                    gain = value(tree, x, (*known, feature)) - value(tree, x, known)
                    total = total + weight * gain
        found.append(np.atleast_1d(total))
    return np.array(found)


def forest_nodes(member: Any) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "leaf": tree.children_left[node] < 0,
                "feature": tree.feature[node],
                "threshold": tree.threshold[node],
                "left": tree.children_left[node],
                "right": tree.children_right[node],
                "null_left": bool(tree.missing_go_to_left[node]),
                "rows": tree.weighted_n_node_samples[node],
                "value": tree.value[node, 0] / len(member.estimators_),
            }
            for node in range(tree.node_count)
        ]
        for tree in (one.tree_ for one in member.estimators_)
    ]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_a_forest_has_the_shapley_values_of_its_definition(kind, classes):
    X, y = rows(classes)
    member = kind(n_estimators=4, max_depth=6, random_state=0).fit(X, y)
    base, parts = treeshap.shap_values(treeshap.of_forest(member), X[:12])
    trees = forest_nodes(member)
    for x, found in zip(X[:12], parts, strict=True):
        np.testing.assert_allclose(found, by_definition(trees, x), atol=1e-12)
    np.testing.assert_allclose(base + parts.sum(axis=1), member.predict_proba(X[:12]), atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_histogram_boosting_has_the_shapley_values_of_its_definition(classes):
    X, y = rows(classes)
    member = HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=7, random_state=0).fit(X, y)
    base, parts = treeshap.shap_values(treeshap.of_histogram(member), X[:12])
    k = parts.shape[2]
    trees = [
        [
            {
                "leaf": bool(node["is_leaf"]),
                "feature": node["feature_idx"],
                "threshold": node["num_threshold"],
                "left": node["left"],
                "right": node["right"],
                "null_left": bool(node["missing_go_to_left"]),
                "rows": node["count"],
                "value": np.eye(k)[place] * node["value"],
            }
            for node in predictor.nodes
        ]
        for iteration in member._predictors
        for place, predictor in enumerate(iteration)
    ]
    for x, found in zip(X[:12], parts, strict=True):
        np.testing.assert_allclose(found, by_definition(trees, x), atol=1e-12)
    raw = member.decision_function(X[:12]).reshape(12, -1)
    reached = base + np.ravel(member._baseline_prediction) + parts.sum(axis=1)
    np.testing.assert_allclose(reached, raw, atol=1e-9)


def test_values_beyond_all_training_rows_and_a_tree_of_one_leaf():
    X, y = rows(2)
    member = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, y)
    far = np.array([[1e30, -1e30, 0, 0], [-np.inf, np.inf, 0, 0]])
    base, parts = treeshap.shap_values(treeshap.of_forest(member), far)
    np.testing.assert_allclose(
        base + parts[0].sum(axis=0), member.predict_proba(far[:1])[0], atol=1e-12
    )
    assert np.isfinite(parts).all()
    leaf = RandomForestClassifier(n_estimators=2, max_depth=1, min_samples_leaf=200).fit(X, y)
    base, parts = treeshap.shap_values(treeshap.of_forest(leaf), X[:2])
    np.testing.assert_allclose(base, leaf.predict_proba(X[:1])[0])
    assert (parts == 0).all()
