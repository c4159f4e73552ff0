"""Bare pipelines of scikit-learn: compiled column by column where every bit is the same."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn.base import is_regressor
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from twinml.contract import Contract, infer_contract
from twinml_local.compiled import (
    CompiledModel,
    NotCovered,
    Refusal,
    compile_model,
    load,
    save,
    verify,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

N = 160
RNG = np.random.default_rng(4)
X = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N),
        "income": RNG.normal(3e4, 8e3, N).round(2),
        "city": RNG.choice(
            ["Bern", "Oslo", "Rome", "Rare", "Rarer"], N, p=[0.4, 0.3, 0.2, 0.06, 0.04]),
        "job": RNG.choice(["a", "b"], N),
        "grade": RNG.integers(0, 4, N),
    }
).astype({"city": object, "job": object})  # fmt: skip
X.loc[::8, "income"] = np.nan
LABELS = pd.Series(np.where(X["age"] + RNG.normal(0, 10, N) > 50, "yes", "no"), name="y")
GRADES = pd.Series(np.array(["a", "b", "c"])[np.digitize(X["age"], [40, 65])], name="y")
NUMBERS = pd.Series(X["age"] * 3.5 + RNG.normal(size=N), name="y")
TEXTS, MEASURED = ["city", "job"], ["age", "income"]
UNSEEN = {"handle_unknown": "ignore"}
CODED = {"handle_unknown": "use_encoded_value"}


def columns(texts: Any = None, numbers: Any = None, *, sparse: bool = False) -> Any:
    """Return the usual preparation."""
    return ColumnTransformer(
        [
            ("texts", texts or OneHotEncoder(**UNSEEN), TEXTS),
            ("numbers", numbers or make_pipeline(SimpleImputer(), StandardScaler()), MEASURED),
        ],
        sparse_threshold=1.0 if sparse else 0.0,
    )


def trees(kind: Any, **more: Any) -> Any:
    return kind(4, max_depth=5, random_state=0, **more)


def light(kind: Any = lightgbm.LGBMClassifier) -> Any:
    return kind(n_estimators=4, num_leaves=7, min_child_samples=5, verbose=-1)


def cat(kind: Any = CatBoostClassifier) -> Any:
    return kind(iterations=4, depth=3, verbose=0, allow_writing_files=False)


def of_codes(classes: pd.Series) -> pd.Series:
    return pd.Series(pd.factorize(classes, sort=True)[0], name="y")


def logistic() -> Any:
    return LogisticRegression(max_iter=300)


Shape = tuple[Any, pd.DataFrame, pd.Series]
FILLED = X.fillna({"income": 0.0})[MEASURED]

SHAPES: dict[str, Callable[[], Shape]] = {
    # Models after the usual preparation, as a matrix and as a sparse one.
    "logistic": lambda: (make_pipeline(columns(), logistic()), X, LABELS),
    "logistic, sparse": lambda: (make_pipeline(columns(sparse=True), logistic()), X, LABELS),
    "logistic, three classes": lambda: (make_pipeline(columns(), logistic()), X, GRADES),
    "SGD": lambda: (
        make_pipeline(columns(), SGDClassifier(loss="log_loss", random_state=0)), X, LABELS),
    "SGD, three classes": lambda: (
        make_pipeline(columns(), SGDClassifier(loss="log_loss", random_state=0)), X, GRADES),
    "forest": lambda: (make_pipeline(columns(), trees(RandomForestClassifier)), X, LABELS),
    "forest, sparse": lambda: (
        make_pipeline(columns(sparse=True), trees(RandomForestClassifier)), X, GRADES),
    "one tree": lambda: (make_pipeline(columns(), DecisionTreeClassifier(max_depth=3)), X, LABELS),
    "boosting": lambda: (
        make_pipeline(columns(), GradientBoostingClassifier(n_estimators=4)), X, LABELS),
    "boosting, three classes": lambda: (
        make_pipeline(columns(sparse=True), GradientBoostingClassifier(n_estimators=3)), X, GRADES),
    "histograms": lambda: (
        make_pipeline(columns(), HistGradientBoostingClassifier(max_iter=4)), X, LABELS),
    "LightGBM": lambda: (make_pipeline(columns(), light()), X, LABELS),
    "LightGBM, sparse": lambda: (make_pipeline(columns(sparse=True), light()), X, GRADES),
    "XGBoost": lambda: (
        make_pipeline(columns(), xgboost.XGBClassifier(n_estimators=4)), X, of_codes(LABELS)),
    # What a sparse matrix leaves out XGBoost takes for missing.
    "XGBoost, sparse": lambda: (
        make_pipeline(columns(sparse=True), xgboost.XGBClassifier(n_estimators=4)),
        X, of_codes(GRADES)),
    "CatBoost": lambda: (make_pipeline(columns(), cat()), X, LABELS),
    "CatBoost, sparse": lambda: (make_pipeline(columns(sparse=True), cat()), X, LABELS),
    # Of numbers.
    "least squares": lambda: (make_pipeline(columns(), LinearRegression()), X, NUMBERS),
    "ridge, sparse": lambda: (make_pipeline(columns(sparse=True), Ridge()), X, NUMBERS),
    "elastic net, sparse": lambda: (
        make_pipeline(columns(sparse=True), ElasticNet()), X, NUMBERS),
    "forest of numbers": lambda: (
        make_pipeline(columns(), trees(RandomForestRegressor)), X, NUMBERS),
    "boosting of numbers": lambda: (
        make_pipeline(columns(), GradientBoostingRegressor(n_estimators=4)), X, NUMBERS),
    "histograms of numbers": lambda: (
        make_pipeline(columns(), HistGradientBoostingRegressor(max_iter=4)), X, NUMBERS),
    "XGBoost of numbers": lambda: (
        make_pipeline(columns(sparse=True), xgboost.XGBRegressor(n_estimators=4)), X, NUMBERS),
    "CatBoost of numbers": lambda: (
        make_pipeline(columns(), cat(CatBoostRegressor)), X, NUMBERS),
    # Encoders.
    "one-hot that refuses the unknown": lambda: (
        make_pipeline(columns(OneHotEncoder()), logistic()), X, LABELS),
    "one-hot without the first": lambda: (
        make_pipeline(columns(OneHotEncoder(drop="first", **UNSEEN)), logistic()), X, LABELS),
    "one-hot of the frequent": lambda: (
        make_pipeline(columns(OneHotEncoder(
            min_frequency=14, handle_unknown="infrequent_if_exist")), logistic()), X, LABELS),
    "one-hot of a few, without the first": lambda: (
        make_pipeline(columns(OneHotEncoder(
            max_categories=3, drop="first", handle_unknown="infrequent_if_exist")), light()),
        X, LABELS),
    "codes, null for the unknown": lambda: (
        make_pipeline(columns(OrdinalEncoder(
            unknown_value=np.nan, encoded_missing_value=-2, **CODED)), light()), X, LABELS),
    "codes that a linear model refuses": lambda: (
        make_pipeline(columns(OrdinalEncoder(unknown_value=np.nan, **CODED)), logistic()),
        X, LABELS),
    "codes of the frequent": lambda: (
        make_pipeline(columns(OrdinalEncoder(min_frequency=14, unknown_value=-1, **CODED)),
                      HistGradientBoostingClassifier(max_iter=3)), X, LABELS),
    "the most frequent text for a null": lambda: (
        make_pipeline(columns(make_pipeline(
            SimpleImputer(strategy="most_frequent"), OneHotEncoder(**UNSEEN))), logistic()),
        X, LABELS),
    "a text for a null": lambda: (
        make_pipeline(columns(make_pipeline(
            SimpleImputer(strategy="constant", fill_value="none", missing_values=None),
            OneHotEncoder(**UNSEEN))), logistic()),
        X, LABELS),
    "the target's mean": lambda: (
        make_pipeline(columns(TargetEncoder(random_state=0)), logistic()), X, LABELS),
    "the target's means": lambda: (
        make_pipeline(columns(TargetEncoder(random_state=0)), light()), X, GRADES),
    "codes that are scaled": lambda: (
        make_pipeline(columns(make_pipeline(
            OneHotEncoder(**UNSEEN), StandardScaler(with_mean=False)), sparse=True), logistic()),
        X, LABELS),
    "numbers that are categories": lambda: (
        make_pipeline(make_column_transformer(
            (OneHotEncoder(**UNSEEN), ["grade", "city"]), (SimpleImputer(), MEASURED)), logistic()),
        X, LABELS),
    "numbers with nulls that are categories": lambda: (
        make_pipeline(make_column_transformer(
            (OrdinalEncoder(unknown_value=-1, **CODED), ["grade", "income"])), light()), X, LABELS),
    # Scalers and imputers.
    "range": lambda: (
        make_pipeline(columns(numbers=MinMaxScaler(clip=True)), light()), X, LABELS),
    "quartiles": lambda: (
        make_pipeline(columns(numbers=make_pipeline(SimpleImputer(strategy="most_frequent"),
                                                    RobustScaler())), logistic()), X, LABELS),
    "largest": lambda: (
        make_pipeline(columns(numbers=MaxAbsScaler()),
                      HistGradientBoostingClassifier(max_iter=3)), X, LABELS),
    "all scaled, sparse": lambda: (
        make_pipeline(columns(numbers=SimpleImputer(), sparse=True), MaxAbsScaler(),
                      StandardScaler(with_mean=False), logistic()), X, LABELS),
    "nulls as a column": lambda: (
        make_pipeline(columns(numbers=SimpleImputer(add_indicator=True)), logistic()), X, LABELS),
    "nulls as a column alone": lambda: (
        make_pipeline(make_column_transformer((MissingIndicator(), MEASURED),
                                              (OneHotEncoder(), ["job"])), light()), X, LABELS),
    # Columns that come and go.
    "the rest as it is": lambda: (
        make_pipeline(make_column_transformer((OneHotEncoder(**UNSEEN), TEXTS),
                                              remainder="passthrough"), light()), X, LABELS),
    "the rest left out": lambda: (
        make_pipeline(make_column_transformer((StandardScaler(), MEASURED), ("drop", TEXTS)),
                      light()), X, LABELS),
    "columns without a spread left out": lambda: (
        make_pipeline(columns(), VarianceThreshold(0.05), SelectKBest(k=3), logistic()), X, LABELS),
    "numbers alone": lambda: (LogisticRegression(max_iter=500), FILLED, GRADES),
    "whole numbers alone": lambda: (LogisticRegression(max_iter=500), X[["age", "grade"]], LABELS),
    "scaled alone": lambda: (make_pipeline(StandardScaler(), logistic()), FILLED, LABELS),
    "histograms alone": lambda: (HistGradientBoostingClassifier(max_iter=3), X[MEASURED], LABELS),
    "boosting alone": lambda: (GradientBoostingRegressor(n_estimators=3), FILLED, NUMBERS),
    "a search": lambda: (
        GridSearchCV(
            make_pipeline(columns(), logistic()), {"logisticregression__C": [0.1, 1]}, cv=2),
        X, LABELS),
    # Joined.
    "vote": lambda: (
        make_pipeline(columns(), VotingClassifier(
            [("a", logistic()), ("b", trees(RandomForestClassifier)),
             ("c", GradientBoostingClassifier(n_estimators=3))], voting="soft")), X, LABELS),
    "vote of pipelines": lambda: (
        VotingClassifier(
            [("a", make_pipeline(columns(), logistic())),
             ("b", make_pipeline(columns(OrdinalEncoder(unknown_value=-1, **CODED)), light()))],
            voting="soft", weights=[2, 1]), X, GRADES),
    "vote of numbers": lambda: (
        make_pipeline(columns(), VotingRegressor(
            [("a", Ridge()), ("b", trees(RandomForestRegressor))])), X, NUMBERS),
    "stack": lambda: (
        make_pipeline(columns(), StackingClassifier(
            [("a", logistic()), ("b", trees(RandomForestClassifier))], cv=2)), X, LABELS),
    "stack of numbers": lambda: (
        make_pipeline(columns(), StackingRegressor(
            [("a", Ridge()), ("b", trees(RandomForestRegressor))], cv=2)), X, NUMBERS),
}  # fmt: skip


@functools.cache
def fitted(which: str) -> tuple[Any, Contract, pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline, rows, labels = SHAPES[which]()
        pipeline.fit(rows, labels)
        contract = infer_contract(rows, labels, name="m", regression=is_regressor(pipeline))
    return pipeline, contract, rows


def checked(compiled: CompiledModel, which: str, n_random: int = 60) -> None:
    pipeline, contract, rows = fitted(which)
    verify(compiled, pipeline, contract, rows, n_random=n_random, most_nodes=30, singles=1,
           sizes=(2, 33, 257))  # fmt: skip


@pytest.mark.parametrize("which", SHAPES)
def test_a_bare_pipeline_is_answered_bit_by_bit(which: str, tmp_path: Path) -> None:
    pipeline, contract, rows = fitted(which)
    compiled = compile_model(pipeline, contract)
    checked(compiled, which)
    save(compiled, tmp_path)
    given = {name: rows[name].tolist() for name in rows}
    found, shares = load(tmp_path).predict_columns(given, len(rows))
    assert found == pipeline.predict(rows).tolist()
    expected = (
        pipeline.predict(rows)[:, None] if is_regressor(pipeline) else pipeline.predict_proba(rows)
    )
    assert shares.tolist() == expected.tolist()


def one(which: str, **values: Any) -> tuple[CompiledModel, dict[str, list[Any]]]:
    pipeline, contract, rows = fitted(which)
    return compile_model(pipeline, contract), {
        name: [values.get(name, rows[name].iloc[1])] for name in rows
    }


@pytest.mark.parametrize(
    ("which", "values", "answered"),
    [
        ("one-hot that refuses the unknown", {"city": "Paris"}, False),
        ("one-hot that refuses the unknown", {"city": "Rome"}, True),
        ("logistic", {"city": "Paris"}, True),
        ("logistic", {"income": np.nan}, True),
        ("logistic", {"income": np.inf}, False),
        ("logistic", {"income": -np.inf}, False),
        ("logistic", {"city": 7}, False),
        ("codes that a linear model refuses", {"city": "Paris"}, False),
        ("codes, null for the unknown", {"city": "Paris"}, True),
        ("scaled alone", {"income": np.nan}, False),
        ("scaled alone", {"age": 2**53}, True),
        ("scaled alone", {"age": 2**53 + 1}, True),
        ("scaled alone", {"age": 2**53 + 2}, False),
        ("histograms alone", {"income": np.inf}, True),
        ("forest", {"income": 1e39}, False),
        ("forest", {"income": 3e38}, True),
    ],
)
def test_what_the_pipeline_refuses_is_left_to_it(
    which: str, values: dict[str, Any], answered: bool
) -> None:
    compiled, columns = one(which, **values)
    if answered:
        compiled.predict_columns(columns, 1)
        return
    with pytest.raises(NotCovered):
        compiled.predict_columns(columns, 1)


Change = Callable[[CompiledModel], None]


def changed(name: str, place: Any, by: Callable[[Any], Any]) -> Change:
    def change(compiled: CompiledModel) -> None:
        array = getattr(compiled.preparation, name)
        array[place] = by(array[place])

    return change


def bit(value: Any) -> Any:
    return np.nextafter(value, np.inf)


def coefficient(compiled: CompiledModel) -> None:
    linear = compiled.members.linear[0]
    object.__setattr__(linear, "coefficients", bit(linear.coefficients))


def score(compiled: CompiledModel) -> None:
    compiled.by_score = False
    compiled.classes = compiled.classes[::-1]


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("logistic", changed("constants", slice(None), bit)),
        ("forest", changed("constants", slice(None), lambda constants: constants + 1)),
        ("logistic", changed("tables", 0, lambda value: 1 - value)),
        ("logistic", changed("operations", (0, 0), lambda operation: operation + 1)),
        ("boosting alone", changed("limits", (slice(None), 2), lambda nulls: 1.0)),
        ("logistic", changed("limits", (slice(None), 1), lambda high: np.inf)),
        ("logistic", changed("limits", (slice(None), 0), lambda low: -np.inf)),
        ("numbers that are categories", changed("searched", (0, 1), lambda first: first + 1)),
        ("one-hot that refuses the unknown", lambda compiled: compiled.encoding.codes.update(
            {name: type(codes)(codes.known, codes.null, 0.0)
             for name, codes in compiled.encoding.codes.items()})),  # type: ignore[attr-defined]
        ("logistic", coefficient),
        ("logistic, sparse", coefficient),
        ("logistic", score),
        ("vote", coefficient),
    ],
)  # fmt: skip
def test_a_preparation_that_is_wrong_is_refused(which: str, change: Change) -> None:
    pipeline, contract, _ = fitted(which)
    compiled = compile_model(pipeline, contract)
    change(compiled)
    with pytest.raises(Refusal):
        checked(compiled, which, 300)


@pytest.mark.parametrize(
    ("pipeline", "rows", "labels", "says"),
    [
        (lambda: make_pipeline(columns(), PCA(2), logistic()), X, LABELS,
         "before the model is a PCA"),
        (lambda: make_pipeline(make_union(StandardScaler()), logistic()), FILLED, LABELS,
         "is a FeatureUnion"),
        (lambda: make_pipeline(columns(), GaussianNB()), X, LABELS, "GaussianNB, which has no"),
        (lambda: make_pipeline(columns(), trees(RandomForestClassifier, n_jobs=2)), X, LABELS,
         "n_jobs is 2"),
        (lambda: make_pipeline(columns(), StackingClassifier(
            [("a", logistic())], cv=2, passthrough=True)), X, LABELS, "more than the members'"),
        (lambda: make_pipeline(columns(), StackingClassifier(
            [("a", logistic())], trees(RandomForestClassifier), cv=2)), X, LABELS,
         "something else than a logistic"),
        (lambda: make_pipeline(columns(), SGDClassifier(loss="modified_huber")), X, LABELS,
         "loss is modified_huber"),
        (lambda: make_pipeline(SimpleImputer(missing_values=0.0), logistic()), FILLED, LABELS,
         "missing where they are 0.0"),
        (lambda: make_pipeline(columns(), GradientBoostingClassifier(
            n_estimators=2, loss="exponential")), X, LABELS, "another loss"),
        (lambda: make_pipeline(columns(), GradientBoostingClassifier(
            n_estimators=2, init=logistic())), X, LABELS, "starts from a model"),
        (lambda: make_pipeline(make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler(), OneHotEncoder()), ["income"])),
            logistic()), X, LABELS, "scaled before they are encoded"),
    ],
)  # fmt: skip
def test_others_are_refused_with_the_reason(
    pipeline: Callable[[], Any], rows: pd.DataFrame, labels: pd.Series, says: str
) -> None:
    contract = infer_contract(rows, labels, name="m")
    with pytest.raises(Refusal, match=says):
        compile_model(pipeline().fit(rows, labels), contract)
