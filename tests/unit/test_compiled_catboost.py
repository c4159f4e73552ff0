"""CatBoost in every form that has a compiled one, to the last bit; the others are refused."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from twinml.contract import Contract, infer_contract
from twinml_local.compiled import CompiledModel, Refusal, compile_model, verify

N_ROWS = 600


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(N_ROWS, 4)), columns=list("abcd"))
    frame["a"] *= 1e30
    frame["b"] *= 1e-34
    frame.loc[rng.random(N_ROWS) < 0.2, "c"] = np.nan
    return frame


def scored(n_classes: int) -> np.ndarray:
    frame = table()
    # Nulls are telling, so that trees ask for them.
    score = frame["a"] / 1e30 + (frame["b"] > 0) + np.where(frame["c"].isna(), 1.5, frame["c"])
    return np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))


def member(n_classes: int, **given: Any) -> Any:
    options = {"iterations": 12, "depth": 4, "learning_rate": 0.3, **given}
    return CatBoostClassifier(
        **options, thread_count=1, random_seed=0, allow_writing_files=False, verbose=False
    ).fit(table().to_numpy(), scored(n_classes))


def pipeline_of(one: Any, n_classes: int) -> tuple[Any, Contract]:
    frame = table()
    names = np.array([f"k{place}" for place in range(n_classes)])
    labels = pd.Series(names[scored(n_classes)], name="label")
    contract = infer_contract(frame, labels, name="made")
    encode = ColumnTransformer([("numbers", "passthrough", list(frame.columns))])
    rows = encode.fit_transform(frame)
    vote = VotingClassifier([("C", FrozenEstimator(one))], voting="soft", weights=[1.0])
    vote.fit(rows, labels)
    return Pipeline([("encode", encode), ("model", vote)]), contract


def checked(one: Any, n_classes: int) -> CompiledModel:
    pipeline, contract = pipeline_of(one, n_classes)
    # A deployed model comes out of a pickle, which does not keep all attributes.
    pipeline = pickle.loads(pickle.dumps(pipeline))
    compiled = compile_model(pipeline, contract)
    verify(compiled, pipeline, contract, table(), n_random=300, most_nodes=600, singles=3)
    return compiled


# Four classes at a time go through the wide instructions of its exponential, the others not.
@pytest.mark.parametrize("n_classes", [2, 3, 4, 5, 8])
def test_any_number_of_classes(n_classes: int) -> None:
    checked(member(n_classes), n_classes)


@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_nulls_on_either_side(nan_mode: str, n_classes: int) -> None:
    compiled = checked(member(n_classes, nan_mode=nan_mode), n_classes)
    nodes = compiled.members.forest.nodes
    asked = nodes[(nodes["feature"] == 2) & (nodes["threshold"] < np.inf)]
    assert set(asked["null_left"]) == {int(nan_mode == "Min")}


@pytest.mark.parametrize("depth", [1, 9, 12])
def test_shallow_and_deep_trees(depth: int) -> None:
    # From nine levels on CatBoost counts leaves in other types.
    checked(member(2, depth=depth, iterations=3), 2)


def test_one_tree_and_many() -> None:
    for iterations in (1, 2, 3, 5, 403):
        checked(member(2, iterations=iterations), 2)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scale_and_bias(n_classes: int) -> None:
    one = member(n_classes)
    bias: Any = 0.1234567 if n_classes == 2 else [0.1, -0.7, 0.3]
    one.set_scale_and_bias(1.7, bias)
    checked(one, n_classes)


def test_what_is_not_read_is_refused() -> None:
    frame = table()
    named = frame.assign(a=np.where(frame["a"] > 0, "x", "y"))
    of_texts = CatBoostClassifier(
        iterations=2, cat_features=["a"], allow_writing_files=False, verbose=False
    ).fit(named, scored(2))
    for one, n_classes, reason in (
        (member(2, grow_policy="Lossguide"), 2, "not symmetric"),
        (member(2, loss_function="MultiClass"), 2, "loss is MultiClass"),
        (member(3, loss_function="MultiClassOneVsAll"), 3, "loss is MultiClassOneVsAll"),
        (of_texts, 2, "categorical"),
    ):
        with pytest.raises(Refusal, match=reason):
            compile_model(*pipeline_of(one, n_classes))
    one = member(3)
    one.set_scale_and_bias(1e4, [0.0, 0.0, 0.0])
    with pytest.raises(Refusal, match="so far apart"):
        compile_model(*pipeline_of(one, 3))
