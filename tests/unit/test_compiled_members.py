"""Every member, joined in every way, against its pipeline: equal to the last bit."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from twinml.contract import Contract, frame_of, infer_contract
from twinml.data import bundled
from twinml.training._boosted_stack import fit_boosted_stack
from twinml.training._ensemble import Vote, fit_stack, fit_vote
from twinml.training._recipe import Fitted, Recipe
from twinml.training.learners import LEARNERS
from twinml.training.tasks import Classification, predictions, task_of
from twinml_local.compiled import CompiledModel, NotCovered, Refusal, compile_model, verify
from twinml_local.compiled._layout import MANY
from twinml_local.compiled._model import Blended
from twinml_local.compiled._stored import load, save

CONFIGS: dict[str, dict[str, Any]] = {
    "LightGBM": {"n_estimators": 25, "num_leaves": 12, "min_child_samples": 5},
    # 400 codes, of which 256 are kept: sets of several words.
    "LightGBMCategorical": {
        "n_estimators": 25, "num_leaves": 12, "min_child_samples": 5, "cat_smooth": 1.0,
        "min_data_per_group": 3, "max_cat_to_onehot": 1,
    },
    "XGBoost": {"n_estimators": 25, "max_depth": 4},
    "RandomForest": {"n_estimators": 9, "min_samples_leaf": 2, "max_features": 0.6},
    "ExtraTrees": {"n_estimators": 9, "min_samples_leaf": 2, "max_features": 0.6},
    "HistGradientBoosting": {"max_iter": 15, "max_leaf_nodes": 12, "min_samples_leaf": 5},
    "LogisticRegression": {"C": 0.3},
    "CatBoost": {"iterations": 25, "depth": 4, "learning_rate": 0.2},
}  # fmt: skip


def table(n_rows: int = 700, n_classes: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers with nulls, tiny and huge values; texts with nulls and rare ones; flags."""
    rng = np.random.default_rng(n_classes)
    x = rng.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 2, n_rows),
            "tiny": np.where(rng.random(n_rows) < 0.4, 0.0, rng.normal(size=n_rows) * 1e-34),
            "shift": x,
            "whole": np.where(rng.random(n_rows) < 0.9, rng.integers(0, 90, n_rows), 3),
            "flag": rng.random(n_rows) < 0.3,
            "few": rng.integers(0, 4, n_rows).astype(float),
            "city": rng.choice(["oslo", "rome", "bonn", None], n_rows, p=[0.5, 0.3, 0.1, 0.1]),
            "code": np.char.add("k", (rng.zipf(1.6, n_rows) % 400).astype(str)).astype(object),
        }
    )
    frame.loc[rng.random(n_rows) < 0.15, "amount"] = np.nan
    frame.loc[rng.random(n_rows) < 0.1, "few"] = np.nan
    score = x + frame["flag"] * 1.5 + (frame["city"] == "rome") + (frame["tiny"] > 0)
    score = score + rng.normal(size=n_rows) * 0.5
    edges = np.quantile(score, np.arange(1, n_classes) / n_classes)
    return frame, np.digitize(score, edges)


def classes_of(n_classes: int) -> np.ndarray:
    return np.array(["no", "yes"] if n_classes == 2 else ["a", "b", "c", "d"][:n_classes])


def task_for(n_classes: int) -> Classification:
    return Classification(classes=tuple(classes_of(n_classes).tolist()))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    # The pipelines' threads would wait for each other on a busy machine.
    with threadpool_limits(1):
        yield


@cache
def fitted(n_classes: int) -> tuple[Fitted, Contract, pd.DataFrame, np.ndarray]:
    frame, y = table(n_classes=n_classes)
    members = {one.name: (one, CONFIGS[one.name]) for one in LEARNERS if one.name in CONFIGS}
    recipe = Recipe(members, task_for(n_classes), seed=0)
    labels = pd.Series(classes_of(n_classes)[y], name="label")
    contract = infer_contract(frame, labels, name="made")
    return recipe.fit(frame, y, np.ones(len(y)), jobs=1), contract, frame, y


def probabilities(parts: Fitted, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    X = np.asarray(parts.encoder.transform(frame), dtype=np.float64)
    return {
        name: np.asarray(one.predict_proba(X), np.float64) for name, one in parts.members.items()
    }


def checked(pipeline: Any, contract: Contract, frame: pd.DataFrame) -> CompiledModel:
    # A deployed model comes out of a pickle, which does not keep all attributes.
    pipeline = pickle.loads(pickle.dumps(pipeline))
    compiled = compile_model(pipeline, contract)
    done = verify(compiled, pipeline, contract, frame, n_random=300, most_nodes=400, singles=3)
    assert done.rows > 1000
    return compiled


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_member_alone(name: str, n_classes: int) -> None:
    parts, contract, frame, _ = fitted(n_classes)
    pipeline = parts.pipeline(Vote({name: 1.0}))
    compiled = checked(pipeline, contract, frame)
    splits = name == "LightGBMCategorical"
    ranked = not splits and name != "LogisticRegression"
    assert compiled._ranks.members.tolist() == [ranked]
    assert bool(len(compiled.members.forest.sets)) == splits


@pytest.mark.parametrize("share", [0.001, 0.03, 0.11, 0.37, 0.5, 0.83, 0.999])
def test_xgboost_of_any_base_rate(share: float) -> None:
    parts, contract, frame, y = fitted(2)
    X = parts.encoder.transform(frame)
    member = XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1, base_score=share).fit(X, y)
    pipeline = replace(parts, members={"X": member}).pipeline(Vote({"X": 1.0}))
    checked(pipeline, contract, frame)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [DecisionTreeClassifier, ExtraTreeClassifier])
def test_a_single_tree(kind: Any, n_classes: int) -> None:
    parts, contract, frame, y = fitted(n_classes)
    member = kind(min_samples_leaf=3, random_state=0).fit(parts.encoder.transform(frame), y)
    alone = replace(parts, members={"Tree": member})
    checked(alone.pipeline(Vote({"Tree": 1.0})), contract, frame)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_vote(n_classes: int) -> None:
    parts, contract, frame, y = fitted(n_classes)
    weights = {name: 0.1 + 0.07 * place for place, name in enumerate(CONFIGS)}
    checked(parts.pipeline(Vote(weights)), contract, frame)
    chosen = fit_vote(task_for(2), probabilities(parts, frame), y, np.ones(len(y)))
    checked(parts.pipeline(chosen), contract, frame)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_stack(n_classes: int) -> None:
    parts, contract, frame, y = fitted(n_classes)
    stack = fit_stack(task_for(2), probabilities(parts, frame), y, np.ones(len(y)))
    checked(parts.pipeline(stack), contract, frame)


def test_a_threshold_decides_the_label() -> None:
    parts, contract, frame, y = fitted(2)
    vote = Vote({"LightGBM": 0.5, "RandomForest": 0.5})
    compiled = checked(parts.pipeline(vote, 0.2), contract, frame)
    columns = columns_of(contract, frame)
    labels, shares = compiled.predict_columns(columns, len(frame))
    assert labels == np.where(shares[:, 1] >= 0.2, "yes", "no").tolist()
    assert labels != np.where(shares[:, 1] >= 0.5, "yes", "no").tolist()
    stack = fit_stack(task_for(2), probabilities(parts, frame), y, np.ones(len(y)))
    checked(parts.pipeline(stack, 0.35), contract, frame)


def test_a_threshold_is_met_by_what_equals_it() -> None:
    parts, contract, frame, _ = fitted(2)
    vote = Vote({"XGBoost": 1.0})
    first = compile_model(parts.pipeline(vote), contract)
    columns = columns_of(contract, frame.iloc[:1])
    exactly = float(first.predict_columns(columns, 1)[1][0, 1])
    pipeline = parts.pipeline(vote, exactly)
    assert pipeline.predict(frame.iloc[:1]).tolist() == ["yes"]
    assert compile_model(pipeline, contract).predict_columns(columns, 1)[0] == ["yes"]


# LightGBM takes up to this for zero.
FLUSH = float(np.float32(1e-35))


@pytest.mark.parametrize("n_rows", [1, MANY - 1, MANY, MANY + 1])
@pytest.mark.parametrize("nulls", [False, True])
def test_lightgbm_at_the_smallest_numbers_and_at_nulls(n_rows: int, nulls: bool) -> None:
    x = np.array([-1e-34, 0.0, 1e-34, math.nan if nulls else 0.0] * 100)
    y = np.where(np.isnan(x), 2, np.digitize(x, [-1e-36, 1e-36]))
    frame = pd.DataFrame({"x": x})
    contract = infer_contract(frame, pd.Series(classes_of(3)[y], name="label"), name="tiny")
    learner = next(one for one in LEARNERS if one.name == "LightGBM")
    members = {"LightGBM": (learner, {"n_estimators": 5, "num_leaves": 4, "min_child_samples": 5})}
    parts = Recipe(members, task_for(3), seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    pipeline = parts.pipeline(Vote({"LightGBM": 1.0}))
    compiled = compile_model(pipeline, contract)
    bounds = [math.nan, 0.0, 5e-324]
    for one in (FLUSH, -FLUSH):
        bounds += [one, float(np.nextafter(one, -1.0)), float(np.nextafter(one, 1.0))]
    for start in range(len(bounds)):
        values = [bounds[(start + place) % len(bounds)] for place in range(n_rows)]
        expected = np.ascontiguousarray(pipeline.predict_proba(pd.DataFrame({"x": values})))
        found = compiled.predict_columns({"x": values}, n_rows)[1]
        assert found.tobytes() == expected.tobytes()
    # Nothing of this would show if the bound and what is beyond it were the same to the model.
    ends = pd.DataFrame({"x": [-FLUSH, float(np.nextafter(-FLUSH, -1.0))]})
    assert pipeline.predict(ends).tolist() == ["b", "a"]


@pytest.mark.parametrize("labels", [[0, 1], [True, False], [3, 7, 11]])
def test_labels_are_native_scalars_of_the_contract(labels: list[Any]) -> None:
    parts, _, frame, y = fitted(len(labels))
    classes = np.array(sorted(labels))
    contract = infer_contract(frame, pd.Series(classes[y], name="label"), name="made")
    parts = replace(parts, task=Classification(classes=tuple(classes.tolist())))
    compiled = compile_model(parts.pipeline(Vote({"HistGradientBoosting": 1.0})), contract)
    found, _ = compiled.predict_columns(columns_of(contract, frame), len(frame))
    assert {type(label) for label in found} == {type(labels[0])}
    assert set(found) == set(labels)


def test_tables_of_one_kind_of_column() -> None:
    frame, y = table(400)
    for chosen in (["city", "code"], ["whole", "flag"], ["amount"], ["whole"]):
        part = frame[chosen]
        labels = pd.Series(classes_of(2)[y], name="label")
        contract = infer_contract(part, labels, name="made")
        members = {
            one.name: (one, CONFIGS[one.name])
            for one in LEARNERS
            if one.name in ("LightGBM", "LogisticRegression", "RandomForest")
        }
        parts = Recipe(members, task_for(2), seed=0).fit(part, y, np.ones(len(y)), jobs=1)
        for join in (
            Vote(dict.fromkeys(members, 1 / 3)),
            fit_stack(task_for(2), probabilities(parts, part), y, np.ones(len(y))),
        ):
            checked(parts.pipeline(join), contract, part)


@pytest.mark.filterwarnings("ignore:The argument .eval_set. is deprecated")
@pytest.mark.parametrize("n_classes", [2, 3, 1])
def test_a_blend_that_is_boosted(n_classes: int, tmp_path: Path) -> None:
    frame, y = table(1200, n_classes=max(n_classes, 2))
    labels: Any = pd.Series(classes_of(max(n_classes, 2))[y], name="label")
    task = task_for(n_classes) if n_classes > 1 else None
    names = ("LightGBMExtraTrees", "LogisticRegression", "ExtraTrees")
    if task is None:
        y = (frame["shift"] * 20 + np.arange(len(frame)) % 13).fillna(0).to_numpy()
        labels, names = pd.Series(y, name="label"), ("LightGBMExtraTrees", "Ridge")
        task = task_of(y, "regression")
    contract = infer_contract(frame, labels, name="made", regression=n_classes == 1)
    members = {
        one.name: (
            one,
            {**one.start, **({"n_estimators": 9} if "n_estimators" in one.start else {})},
        )
        for one in LEARNERS
        if one.name in names
    }
    parts = Recipe(members, task, seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    X = parts.encoded(frame)
    rng = np.random.default_rng(0)
    # As if they had not seen the rows.
    said = {
        name: predictions(one, X)[rng.permutation(len(y)) // 2]
        for name, one in parts.members.items()
    }
    rows = np.arange(len(y))
    folds = [(rows[rows % 3 != fold], rows[rows % 3 == fold]) for fold in range(3)]
    boosted = fit_boosted_stack(
        task, said, X, y, np.ones(len(y)), folds, task.shape(2, 0), rows,
        seconds=math.inf, round_seconds=1.0, jobs=1,
    )  # fmt: skip
    assert boosted is not None
    compiled = checked(parts.pipeline(boosted[0]), contract, frame)
    assert isinstance(compiled.join, Blended)
    assert compiled.join.final.n_features == X.shape[1] + len(names) * (3 if n_classes == 3 else 1)
    assert bool(len(compiled.join.final.members.forest.sets))
    save(compiled, tmp_path)
    columns = columns_of(contract, frame)
    again = load(tmp_path).predict_columns(columns, len(frame))
    labels_given, given = compiled.predict_columns(columns, len(frame))
    assert again[0] == labels_given
    assert np.array_equal(again[1], given)


def test_a_linear_member_whose_features_are_sparse() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            **{
                f"c{place}": rng.choice([f"v{k}" for k in range(40)], 1500).astype(object)
                for place in range(3)
            },
            "x": rng.normal(size=1500),
        }
    )
    for n_classes in (2, 3):
        y = np.digitize(frame["x"] + (frame["c0"] < "v3"), [0.3, 1.0][: n_classes - 1])
        labels = pd.Series(classes_of(n_classes)[y], name="label")
        contract = infer_contract(frame, labels, name="made")
        linear = {
            "LogisticRegression": (
                next(one for one in LEARNERS if one.name == "LogisticRegression"),
                {"C": 1.0},
            )
        }
        parts = Recipe(linear, task_for(n_classes), seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
        assert parts.members["LogisticRegression"][0].sparse_output_
        vote = Vote({"LogisticRegression": 1.0})
        checked(parts.pipeline(vote), contract, frame)


def test_the_bank_data() -> None:
    data = pd.read_csv(bundled(), nrows=6000)
    frame, labels = data.drop(columns="y"), data["y"]
    y = (labels == "yes").to_numpy().astype(np.int64)
    contract = infer_contract(frame, labels, name="bank-full")
    members = {one.name: (one, CONFIGS[one.name]) for one in LEARNERS if one.name in CONFIGS}
    parts = Recipe(members, task_for(2), seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    stack = fit_stack(task_for(2), probabilities(parts, frame), y, np.ones(len(y)))
    pipeline = parts.pipeline(stack)
    compiled = compile_model(pipeline, contract)
    verify(compiled, pipeline, contract, frame.sample(2000, random_state=0))


def columns_of(contract: Contract, frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        column.name: [
            None if column.type == "string" and value is not None and value != value else value
            for value in frame[column.name].tolist()
        ]
        for column in contract.columns
    }


NUMBER = st.integers() | st.floats() | st.booleans()
TEXT = (
    NUMBER | st.none() | st.sampled_from(["oslo", "rome", "bonn", "k1", "k2", "k399"]) | st.text()
)
DOUBLE = st.floats() | st.sampled_from([0.0, -0.0, 1e-35, -1e-35, 1e38, 1.0, 2.0, 3.0])
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 95)
ROW = st.fixed_dictionaries(
    {
        "amount": DOUBLE | st.floats(0, 1000),
        "tiny": DOUBLE | st.floats(-3e-34, 3e-34),
        "shift": DOUBLE | st.floats(-3, 3),
        "whole": LONG,
        "flag": st.booleans(),
        "few": DOUBLE,
        "city": TEXT,
        "code": TEXT,
    }
)


@cache
def everything(n_classes: int) -> tuple[Any, CompiledModel, Contract]:
    parts, contract, _, _ = fitted(n_classes)
    weights = {name: 0.1 + 0.07 * place for place, name in enumerate(CONFIGS)}
    pipeline = parts.pipeline(Vote(weights))
    return pipeline, compile_model(pipeline, contract), contract


@pytest.mark.parametrize("n_classes", [2, 3])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(ROW, min_size=1, max_size=12))
def test_any_rows(n_classes: int, rows: list[dict[str, Any]]) -> None:
    pipeline, compiled, contract = everything(n_classes)
    columns = {name: [row[name] for row in rows] for name in contract.column_names}
    types = tuple(column.type for column in contract.columns)
    frame = frame_of(columns, types)
    labels, shares = compiled.predict_columns(columns, len(rows))
    assert shares.tobytes() == np.ascontiguousarray(pipeline.predict_proba(frame)).tobytes()
    assert labels == pipeline.predict(frame).tolist()


@pytest.mark.parametrize(
    ("column", "value"),
    [("city", ["oslo"]), ("city", b"oslo"), ("whole", None), ("whole", "3"), ("flag", "x")],
)
@pytest.mark.parametrize("n_rows", [1, 3])
def test_values_of_another_type_are_for_the_pipeline(column: str, value: Any, n_rows: int) -> None:
    _, compiled, contract = everything(2)
    row = {
        "amount": math.nan, "tiny": 0.0, "shift": 0.5, "whole": 4, "flag": True, "few": 1.0,
        "city": None, "code": "k1",
    }  # fmt: skip
    columns = {name: [row[name]] * n_rows for name in contract.column_names}
    compiled.predict_columns(columns, n_rows)
    columns[column] = [row[column]] * (n_rows - 1) + [value]
    with pytest.raises(NotCovered):
        compiled.predict_columns(columns, n_rows)
    del columns[column]
    with pytest.raises(NotCovered):
        compiled.predict_columns(columns, n_rows)


def test_no_rows_are_for_the_pipeline() -> None:
    _, compiled, contract = everything(2)
    with pytest.raises(NotCovered):
        compiled.predict_columns({name: [] for name in contract.column_names}, 0)


def test_what_has_no_compiled_form_is_refused() -> None:
    parts, contract, frame, y = fitted(2)
    pipeline = parts.pipeline(Vote({"LightGBM": 1.0}))
    X = pipeline[0].transform(frame)
    tree = DecisionTreeClassifier().fit(X, classes_of(2)[y])
    bare = Pipeline([("encode", pipeline[0]), ("model", tree)])
    with pytest.raises(Refusal, match="takes its rows as clip"):
        compile_model(bare, contract)
    other = replace(parts, members={"Bayes": GaussianNB().fit(np.nan_to_num(X), y)})
    with pytest.raises(Refusal, match="GaussianNB, which has no compiled form"):
        compile_model(other.pipeline(Vote({"Bayes": 1.0})), contract)
    renamed = replace(contract, classes=("n", "y"))
    with pytest.raises(Refusal, match="classes"):
        compile_model(pipeline, renamed)
    stack = fit_stack(
        task_for(2), {"XGBoost": probabilities(parts, frame)["XGBoost"]}, y, np.ones(len(y))
    )
    narrow = parts.pipeline(stack)
    with pytest.raises(Refusal, match="32 bits"):
        compile_model(narrow, contract)
    forest = parts.members["RandomForest"]
    try:
        forest.n_jobs = 2
        with pytest.raises(Refusal, match="no fixed order"):
            compile_model(parts.pipeline(Vote({"RandomForest": 1.0})), contract)
    finally:
        forest.n_jobs = 1


def test_several_threads_at_once() -> None:
    _, compiled, contract = everything(3)
    frame, _ = table(300, n_classes=3)
    columns = columns_of(contract, frame)

    def score(row: int) -> bytes:
        one = {name: values[row : row + 1] for name, values in columns.items()}
        return compiled.predict_columns(one, 1)[1].tobytes()

    rows = list(range(len(frame)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(score, rows * 3))
    assert found == [score(row) for row in rows] * 3


LOGARITHMS = ("LightGBMLog", "XGBoostLog", "RidgeLog")


@pytest.mark.parametrize(
    ("join", "without"),
    [
        # More are not averaged in an order that is known.
        ("vote", ("RandomForest", "LightGBM", *LOGARITHMS)),
        ("stack", ("RandomForest", "LightGBM", *LOGARITHMS)),
        ("vote", ("RandomForest", "ExtraTrees", "CatBoost", "LightGBM", "LightGBMExtraTrees")),
        ("stack", ("RandomForest", "ExtraTrees", "CatBoost", "LightGBM", "LightGBMExtraTrees")),
    ],
)
def test_members_of_numbers(join: str, without: tuple[str, ...]) -> None:
    """``verify`` compares each of the members by itself, too."""
    frame, _ = table(n_classes=2)
    y = (frame["shift"] * 20 + np.arange(len(frame)) % 13).fillna(0).to_numpy()
    y = y if "RidgeLog" in without else np.exp(y / 20)
    task = task_of(y, "regression")
    members = {
        one.name: (one, CONFIGS.get(one.name.removesuffix("Log"), one.start))
        for one in LEARNERS
        if task.estimator in one.kinds and one.name not in without
    }
    parts = Recipe(members, task, seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    contract = infer_contract(frame, pd.Series(y, name="label"), name="made", regression=True)
    if join == "vote":
        how: Any = Vote({name: (place + 1) / 28 for place, name in enumerate(members)})
    else:
        X = np.asarray(parts.encoder.transform(frame), dtype=np.float64)
        rng = np.random.default_rng(0)
        noisy = {
            name: predictions(one, X) + rng.normal(0, 3, (len(y), 1))
            for name, one in parts.members.items()
        }
        how = fit_stack(task, noisy, y, np.ones(len(y)))
    checked(parts.pipeline(how), contract, frame)


@pytest.mark.parametrize("names", [("XGBoostLog",), ("XGBoost", "XGBoostLog"), ("RidgeLog",)])
def test_stacks_of_numbers_that_members_give_in_32_bits(names: tuple[str, ...]) -> None:
    frame, _ = table(n_classes=2)
    y = np.exp(frame["shift"]).to_numpy()
    task = task_of(y, "regression")
    members = {
        one.name: (one, CONFIGS.get(one.name.removesuffix("Log"), one.start))
        for one in LEARNERS
        if one.name in names
    }
    parts = Recipe(members, task, seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    contract = infer_contract(frame, pd.Series(y, name="label"), name="made", regression=True)
    X = np.asarray(parts.encoder.transform(frame), dtype=np.float64)
    given = {name: predictions(one, X) for name, one in parts.members.items()}
    stack = fit_stack(task, given, y, np.ones(len(y)))
    compiled = checked(parts.pipeline(stack), contract, frame)
    assert set(compiled.members.logarithms) == {
        place for place, name in enumerate(stack.members) if name.endswith("Log")
    }


def test_another_function_of_the_target_has_no_compiled_form() -> None:
    frame, _ = table(n_classes=2)
    y = np.exp(frame["shift"]).to_numpy()
    task = task_of(y, "regression")
    ridge = next(one for one in LEARNERS if one.name == "RidgeLog")
    parts = Recipe({"r": (ridge, ridge.start)}, task, 0).fit(frame, y, np.ones(len(y)), jobs=1)
    contract = infer_contract(frame, pd.Series(y, name="label"), name="made", regression=True)
    parts.members["r"].transformer_.steps[1][1].inverse_func = np.exp2
    with pytest.raises(Refusal, match="another function of the target than its logarithm"):
        compile_model(parts.pipeline(Vote({"r": 1.0})), contract)


def test_eight_numbers_are_averaged_in_an_order_of_numpys_own() -> None:
    frame, _ = table(n_classes=2)
    y = np.arange(len(frame)) % 13 * 1.0
    task = task_of(y, "regression")
    ridge = next(one for one in LEARNERS if one.name == "Ridge")
    members = {f"r{place}": (ridge, ridge.start) for place in range(8)}
    parts = Recipe(members, task, seed=0).fit(frame, y, np.ones(len(y)), jobs=1)
    contract = infer_contract(frame, pd.Series(y, name="label"), name="made", regression=True)
    with pytest.raises(Refusal, match="8 members are averaged"):
        compile_model(parts.pipeline(Vote(dict.fromkeys(members, 0.125))), contract)
    seven = dict.fromkeys(list(members)[:7], 1 / 7)
    assert compile_model(parts.pipeline(Vote(seven)), contract).n_outputs == 1
