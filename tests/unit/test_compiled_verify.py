"""Verification must be able to fail: every part of a compiled model, changed by a little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml.contract import Contract, infer_contract
from twinml.training._ensemble import Vote, fit_stack
from twinml.training._recipe import Recipe
from twinml.training.learners import LEARNERS
from twinml.training.tasks import Classification
from twinml_local.compiled import CompiledModel, Refusal, compile_model, verify
from twinml_local.compiled._layout import AS_IS, CATEGORICAL, FLUSHED, PLANE_SHIFT, SINGLE

CONFIGS: dict[str, dict[str, Any]] = {
    "LightGBM": {
        "n_estimators": 20, "num_leaves": 8, "min_child_samples": 5,
        "min_child_weight": 1e-3, "subsample": 0.8,
    },
    "LightGBMCategorical": {
        "n_estimators": 20, "num_leaves": 8, "min_child_samples": 5, "min_child_weight": 1e-3,
        "cat_smooth": 1.0, "min_data_per_group": 5, "max_cat_to_onehot": 1,
    },
    "XGBoost": {"n_estimators": 12, "max_depth": 3},
    "RandomForest": {"n_estimators": 5, "min_samples_leaf": 5, "max_features": 0.6},
    "HistGradientBoosting": {"max_iter": 8, "max_leaf_nodes": 8, "min_samples_leaf": 5},
    "LogisticRegression": {"C": 0.3},
    "CatBoost": {"iterations": 10, "depth": 3, "learning_rate": 0.2},
}  # fmt: skip

TASK = Classification(classes=("no", "yes"))


@cache
def parts(join: str) -> tuple[Any, Contract, pd.DataFrame]:
    rng = np.random.default_rng(3)
    n = 800
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "amount": rng.lognormal(3, 2, n),
            # Around zero on both sides, below and above what LightGBM takes for zero.
            "tiny": rng.choice([-4e-35, -4e-36, 0.0, 4e-36, 4e-35], n),
            "city": rng.choice(["bonn", "oslo", "rome", None], n),
        }
    )
    frame.loc[rng.random(n) < 0.2, "amount"] = np.nan
    score = frame["x"] + 2 * (frame["tiny"] < -1e-35) + (frame["city"] == "oslo")
    y = (score > 0.7).to_numpy() * 1
    contract = infer_contract(frame, pd.Series(np.array(["no", "yes"])[y]), name="made")
    members = {one.name: (one, CONFIGS[one.name]) for one in LEARNERS if one.name in CONFIGS}
    fitted = Recipe(members, TASK, seed=0).fit(frame, y, np.ones(n), jobs=1)
    if join == "vote":
        how: Any = Vote(dict.fromkeys(members, 0.2))
    elif join in members:
        how = Vote({join: 1.0})
    else:
        X = np.asarray(fitted.encoder.transform(frame), dtype=np.float64)
        shares = {name: one.predict_proba(X) for name, one in fitted.members.items()}
        how = fit_stack(TASK, shares, y, np.ones(n))
    return fitted.pipeline(how, 0.3), contract, frame


def check(compiled: CompiledModel, join: str, rows: bool = True) -> None:
    pipeline, contract, frame = parts(join)
    verify(
        compiled, pipeline, contract, frame if rows else None, n_random=200, singles=2,
        most_nodes=2000,
    )  # fmt: skip


@pytest.mark.parametrize("join", ["vote", "stack"])
def test_what_was_not_changed_passes_with_and_without_rows(join: str) -> None:
    pipeline, contract, _ = parts(join)
    for rows in (True, False):
        check(compile_model(pipeline, contract), join, rows)


Change = Callable[[CompiledModel], None]


def a_leaf_by_one_part_in_a_million(compiled: CompiledModel) -> None:
    forest = compiled.members.forest
    leaves = np.flatnonzero(forest.nodes["left"] // 2 == np.arange(len(forest.nodes)))
    # Of the first tree, whose values are one a node.
    forest.values[leaves[1]] *= 1 + 1e-6


def every_leaf_of_one_tree_by_one_bit(compiled: CompiledModel) -> None:
    forest = compiled.members.forest
    end = forest.roots[1] // 2
    forest.values[:end] = np.nextafter(forest.values[:end], np.inf)


def a_threshold_by_one_bit(compiled: CompiledModel) -> None:
    nodes = compiled.members.forest.nodes
    nodes["threshold"][0] = np.nextafter(nodes["threshold"][0], np.inf)


def a_category_of_a_set(compiled: CompiledModel) -> None:
    compiled.members.forest.sets[0, 0] ^= 1


def a_category_beyond_those_known(compiled: CompiledModel) -> None:
    sets = compiled.members.forest.sets
    sets[0, 0] |= 1 << 3


def a_rank_by_one(compiled: CompiledModel) -> None:
    compiled._ranks.nodes[0] += 1


def the_way_of_nulls_among_few_rows(compiled: CompiledModel) -> None:
    forest = compiled.members.forest
    column = len(compiled.encoding.codes) + compiled.encoding.numbers.index("amount")
    inner = forest.nodes["left"] // 2 != np.arange(len(forest.nodes))
    compiled._ranks.nodes[inner & (forest.nodes["feature"] == column)] ^= 1 << PLANE_SHIFT


def a_threshold_that_ranks_go_by(compiled: CompiledModel) -> None:
    known = compiled._ranks.thresholds
    known[:] = np.nextafter(known, np.inf)


def the_way_of_nulls(compiled: CompiledModel) -> None:
    nodes = compiled.members.forest.nodes
    column = len(compiled.encoding.codes) + compiled.encoding.numbers.index("amount")
    inner = nodes["threshold"] < np.inf
    nodes["null_left"][inner & (nodes["feature"] == column)] ^= 1


def lightgbm_without_its_zero(compiled: CompiledModel) -> None:
    assert compiled.members.table[0, 5] == FLUSHED
    compiled.members.table[0, 5] = AS_IS


def a_forest_in_64_bits(compiled: CompiledModel) -> None:
    table = compiled.members.table
    chosen = [row for row in table if row[5] == SINGLE]
    assert chosen
    for row in chosen:
        row[5] = AS_IS


def a_base_by_one_bit(compiled: CompiledModel) -> None:
    bases = compiled.members.bases
    chosen = int(np.flatnonzero(bases[:, 0])[0])
    bases[chosen, 0] = np.float32(bases[chosen, 0]) + np.float32(1e-6)


def a_linear_coefficient(compiled: CompiledModel) -> None:
    (linear,) = compiled.members.linear.values()
    linear.coefficients[0, np.argmax(np.abs(linear.coefficients[0]))] *= 1 + 1e-12


def two_codes(compiled: CompiledModel) -> None:
    known = dict(compiled.encoding.codes["city"].known)
    known["oslo"], known["rome"] = known["rome"], known["oslo"]
    old = compiled.encoding.codes["city"]
    codes = {"city": replace(old, known=known)}
    compiled.encoding = replace(compiled.encoding, codes=codes)


def the_null(compiled: CompiledModel) -> None:
    old = compiled.encoding.codes["city"]
    compiled.encoding = replace(compiled.encoding, codes={"city": replace(old, null=0.0)})


def numbers_for_texts(compiled: CompiledModel) -> None:
    old = compiled.encoding.codes["city"]
    compiled.encoding = replace(compiled.encoding, codes={"city": replace(old, number=1.0)})


def the_decision_threshold(compiled: CompiledModel) -> None:
    compiled.threshold = 0.5


def the_classes(compiled: CompiledModel) -> None:
    compiled.classes = compiled.classes[::-1]


CHANGES: list[Change] = [
    a_leaf_by_one_part_in_a_million,
    every_leaf_of_one_tree_by_one_bit,
    a_threshold_by_one_bit,
    a_category_of_a_set,
    a_category_beyond_those_known,
    a_rank_by_one,
    the_way_of_nulls_among_few_rows,
    a_threshold_that_ranks_go_by,
    the_way_of_nulls,
    lightgbm_without_its_zero,
    a_forest_in_64_bits,
    a_base_by_one_bit,
    a_linear_coefficient,
    two_codes,
    the_null,
    numbers_for_texts,
    the_decision_threshold,
    the_classes,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_refused(change: Change) -> None:
    pipeline, contract, _ = parts("vote")
    compiled = compile_model(pipeline, contract)
    if compiled.members.linear:
        # The fitted estimator's own arrays are not to be changed.
        at, linear = next(iter(compiled.members.linear.items()))
        own = replace(linear, coefficients=linear.coefficients.copy())
        compiled.members.linear[at] = own  # type: ignore[index]
    change(compiled)
    with pytest.raises(Refusal, match=r"has another prediction|has another label"):
        check(compiled, "vote")


TREES = [name for name in CONFIGS if name != "LogisticRegression"]


def first_tree(compiled: CompiledModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of its leaves and of its other nodes."""
    forest = compiled.members.forest
    places = np.arange(forest.roots[1] // 2)
    leaf = forest.nodes["left"][places] // 2 == places
    return places[leaf], places[~leaf]


def some(places: np.ndarray) -> np.ndarray:
    """Return the first of them and a dozen or so in all."""
    return places[:: 1 + len(places) // 13]


def a_bit(values: np.ndarray, name: str) -> np.ndarray:
    """Return the next numbers above that a member of this kind can tell from ``values``."""
    narrow = (
        values.astype(np.float32) if name in ("XGBoost", "RandomForest", "CatBoost") else values
    )
    return np.nextafter(narrow, np.inf).astype(np.float64)


@pytest.mark.parametrize("name", TREES)
def test_leaves_by_one_bit_are_refused(name: str) -> None:
    """Of the sum that they go into: less is rounded away in the library, too."""
    pipeline, contract, _ = parts(name)
    whole = compile_model(pipeline, contract)
    width = int(whole.members.table[0, 4])
    trees = np.abs(whole.members.forest.values).max() * len(whole.members.forest.roots)
    largest = trees + np.abs(whole.members.bases).max()
    bit = float(np.spacing(np.float32(largest)) if name == "XGBoost" else np.spacing(largest))
    leaves = some(first_tree(whole)[0])
    refused = []
    for leaf in leaves:
        compiled = compile_model(pipeline, contract)
        compiled.members.forest.values[leaf * width : (leaf + 1) * width] += bit
        refused.append(refuses(compiled, name))
    # A symmetric tree has leaves that no row can reach.
    assert sum(refused) >= len(leaves) * (0.5 if name == "CatBoost" else 1.0)


@pytest.mark.parametrize("name", TREES)
def test_thresholds_by_one_bit_are_refused(name: str) -> None:
    pipeline, contract, _ = parts(name)
    whole = compile_model(pipeline, contract)
    nodes, forest = first_tree(whole)[1], whole.members.forest.nodes
    # In what LightGBM takes for zero a threshold can be anywhere, and of categories there is none.
    of_numbers = np.abs(forest["threshold"][nodes]) > 1e-35
    of_numbers &= forest["null_left"][nodes] != CATEGORICAL
    # Nor is there one that matters between leaves of the same value.
    left = forest["left"][nodes] // 2
    values = whole.members.forest.values.reshape(len(forest), -1)
    leaves = (forest["left"][left] // 2 == left) & (forest["left"][left + 1] // 2 == left + 1)
    same = leaves & (values[left] == values[left + 1]).all(axis=1)
    nodes = some(nodes[of_numbers & ~same])
    refused = []
    for node in nodes:
        compiled = compile_model(pipeline, contract)
        threshold = compiled.members.forest.nodes["threshold"][node : node + 1]
        threshold[:] = a_bit(threshold, name)
        refused.append(refuses(compiled, name))
    assert refused[0]
    # Where no row can come a threshold can be anywhere.
    assert sum(refused) > len(nodes) / 2


def anew(compiled: CompiledModel) -> CompiledModel:
    """Return the model with all that is made from its trees made again."""
    return CompiledModel(
        compiled.encoding, compiled.members, compiled.join, compiled.classes, compiled._kernel,
        threshold=compiled.threshold,
    )  # fmt: skip


def refuses(compiled: CompiledModel, name: str) -> bool:
    try:
        check(anew(compiled), name)
    except Refusal as refusal:
        return "has another prediction" in str(refusal)
    return False


def test_the_blend_of_a_stack_is_compared() -> None:
    pipeline, contract, _ = parts("stack")
    compiled = compile_model(pipeline, contract)
    join: Any = compiled.join
    compiled.join = replace(join, low=join.low * (1 + 1e-9))
    with pytest.raises(Refusal, match="has another prediction"):
        check(compiled, "stack")
    compiled.join = replace(join, coefficients=join.coefficients * (1 + 1e-15))
    with pytest.raises(Refusal, match="has another prediction"):
        check(compiled, "stack")


def test_a_pipeline_that_cannot_answer_is_a_refusal() -> None:
    pipeline, contract, frame = parts("vote")
    compiled = compile_model(pipeline, contract)

    class Broken:
        classes_ = pipeline.classes_
        threshold = 0.3

        def predict_proba(self, rows: pd.DataFrame) -> Any:
            raise ValueError("no")

    from twinml_local.compiled._verify import _Check

    check_one = _Check(compiled, pipeline, contract)
    check_one.pipeline = Broken()
    columns = {name: frame[name].tolist()[:2] for name in contract.column_names}
    with pytest.raises(Refusal, match="cannot score a row: ValueError"):
        check_one.columns(columns, "a row")
