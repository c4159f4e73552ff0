"""Estimators by themselves, as they come from elsewhere: compiled where every bit is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from twinml.contract import Contract, infer_contract
from twinml_local.compiled import CompiledModel, Refusal, compile_model, load, save, verify

RNG = np.random.default_rng(4)
X = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, 300),
        "income": RNG.normal(3e4, 8e3, 300).round(2),
        "city": RNG.choice(["Bern", "Oslo", "Rome"], 300).tolist(),
    }
)
X.loc[::8, "income"] = np.nan
N = X[["age", "income"]]
LABELS = pd.Series(np.where(X["age"] > 50, "yes", "no"), name="y")
GRADES = pd.Series(np.array(["a", "b", "c"])[np.digitize(X["age"], [40, 65])], name="y")
NUMBERS = pd.Series(X["age"] * 3.5 + RNG.normal(size=300), name="y")
CODES = make_column_transformer(
    (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]),
    remainder="passthrough",
)


def boosted(kind: Any, **more: Any) -> Any:
    return kind(n_estimators=6, num_leaves=7, min_child_samples=5, verbose=-1, **more)


ALONE: dict[str, Callable[[], tuple[Any, pd.DataFrame, pd.Series]]] = {
    "LightGBM, two classes": lambda: (
        boosted(lightgbm.LGBMClassifier).fit(N, LABELS), N, LABELS),
    "LightGBM, three classes": lambda: (
        boosted(lightgbm.LGBMClassifier).fit(N, GRADES), N, GRADES),
    "LightGBM, a number": lambda: (boosted(lightgbm.LGBMRegressor).fit(N, NUMBERS), N, NUMBERS),
    "LightGBM without names": lambda: (
        Pipeline([
            ("values", FunctionTransformer(pd.DataFrame.to_numpy)),
            ("model", boosted(lightgbm.LGBMRegressor).fit(N.to_numpy(), NUMBERS)),
        ]), N, NUMBERS),
    "histograms, a number": lambda: (
        HistGradientBoostingRegressor(max_iter=6).fit(N, NUMBERS), N, NUMBERS),
    "codes and LightGBM": lambda: (
        make_pipeline(CODES, boosted(lightgbm.LGBMClassifier)).fit(X, LABELS), X, LABELS),
    "codes and histograms": lambda: (
        make_pipeline(CODES, HistGradientBoostingRegressor(max_iter=6)).fit(X, NUMBERS),
        X,
        NUMBERS),
}  # fmt: skip


def contract_of(rows: pd.DataFrame, labels: pd.Series) -> Contract:
    return infer_contract(rows, labels, name="m", regression=labels.dtype.kind == "f")


def verified(pipeline: Any, rows: pd.DataFrame, labels: pd.Series) -> CompiledModel:
    contract = contract_of(rows, labels)
    compiled = compile_model(pipeline, contract)
    verify(compiled, pipeline, contract, rows, n_random=300, most_nodes=200, singles=3)
    return compiled


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("which", ALONE)
def test_it_answers_as_it_does_by_itself(which: str, tmp_path: Path) -> None:
    pipeline, rows, labels = ALONE[which]()
    save(verified(pipeline, rows, labels), tmp_path)
    columns = {
        name: [
            None if value != value and name == "city" else value for value in rows[name].tolist()
        ]
        for name in rows
    }
    found, shares = load(tmp_path).predict_columns(columns, len(rows))
    assert found == pipeline.predict(rows).tolist()
    expected = (
        pipeline.predict_proba(rows) if hasattr(pipeline, "predict_proba") else
        pipeline.predict(rows)[:, None]
    )  # fmt: skip
    assert (shares == expected).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("pipeline", "rows", "labels", "says"),
    [
        (lambda: Pipeline([
            ("values", FunctionTransformer(pd.DataFrame.to_numpy, kw_args={"dtype": "float32"})),
            ("model", boosted(lightgbm.LGBMRegressor).fit(N.to_numpy(), NUMBERS))]), N, NUMBERS,
         "takes its rows as"),
    ],
)  # fmt: skip
def test_others_are_refused_with_the_reason(
    pipeline: Callable[[], Any], rows: pd.DataFrame, labels: pd.Series, says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        verified(pipeline(), rows, labels)
