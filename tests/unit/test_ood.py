"""The out-of-distribution score: what it means, and that it is scikit-learn's forest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest

from tests.conftest import make_table
from twinml.contract import Contract, infer_contract
from twinml.errors import ModelError
from twinml.model import ood


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table(3000)


@pytest.fixture(scope="module")
def contract(table: pd.DataFrame) -> Contract:
    return infer_contract(table.drop(columns="y"), table["y"], name="customers")


@pytest.fixture(scope="module")
def scorer(table: pd.DataFrame, contract: Contract) -> ood.OODScorer:
    return ood.fit(table, contract)


def scores(scorer: ood.OODScorer, *rows: dict[str, Any]) -> list[float]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return scorer.score(columns, len(rows)).tolist()


USUAL = {"age": 50, "income": 30_000.0, "job": "admin", "member": False}


def test_the_path_lengths_are_those_of_scikit_learn(table, scorer):
    encoded = [one.encode(table[one.name].tolist())[0] for one in scorer.encodings]
    matrix = np.column_stack(encoded).astype(np.float32)
    forest = IsolationForest(n_estimators=64, max_samples=256, random_state=0).fit(matrix)
    constant = 2 * (np.log(255) + np.euler_gamma) - 2 * 255 / 256
    ours = -(2 ** (-scorer.path_lengths(matrix) / constant))
    np.testing.assert_allclose(ours, forest.score_samples(matrix), rtol=1e-5)


def test_what_training_never_had_scores_one(scorer):
    never = [
        USUAL | {"age": 17},
        USUAL | {"age": 10**15},
        USUAL | {"income": float("inf")},
        USUAL | {"job": "pilot"},
        USUAL | {"job": None},
    ]
    assert scores(scorer, *never) == [1.0] * 5
    # A null is nothing new where training had some.
    assert scores(scorer, USUAL, USUAL | {"income": None})[1] < 1


def test_scores_of_rows_like_the_training_rows_are_spread_evenly(scorer):
    fresh = make_table(2000, seed=9)
    columns = {name: fresh[name].tolist() for name in ("age", "income", "job", "member")}
    found = scorer.score(columns, len(fresh))
    inside = found[found < 1]
    assert len(inside) > 0.98 * len(found)
    assert np.quantile(inside, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.05)


def test_an_odd_combination_of_ordinary_values_scores_high():
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, 4000)
    frame = pd.DataFrame({"a": one, "b": one + rng.normal(0, 0.1, 4000)})
    labels = pd.Series(np.where(one > 0, "yes", "no"), name="y")
    scorer = ood.fit(frame, infer_contract(frame, labels, name="line"))
    on_the_line, off_it = scores(scorer, {"a": 1.2, "b": 1.2}, {"a": 1.2, "b": -1.2})
    assert off_it > 0.94
    assert on_the_line < 0.85


def test_a_scorer_read_back_scores_alike(scorer, table, tmp_path: Path):
    (tmp_path / ood.FILE).write_bytes(scorer.to_bytes())
    assert (tmp_path / ood.FILE).stat().st_size < 400_000
    columns = {name: table[name].tolist() for name in ("age", "income", "job", "member")}
    again = ood.load(tmp_path)
    np.testing.assert_allclose(
        again.score(columns, len(table)), scorer.score(columns, len(table)), atol=2e-3
    )


def test_many_rows_and_missing_columns_are_scored(scorer):
    many = scorer.score({"age": [50] * 9000, "job": ["admin"] * 9000}, 9000)
    assert many.shape == (9000,)
    assert set(many) == {1.0}  # member, a boolean, was never null


def test_loading_needs_numpy_alone(scorer, tmp_path: Path):
    (tmp_path / ood.FILE).write_bytes(scorer.to_bytes())
    code = (
        "import sys; from pathlib import Path; from twinml.model import ood\n"
        f"ood.load(Path({str(tmp_path)!r})).score({{'age': [3]}}, 1)\n"
        "print(sorted({'sklearn', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_without_a_scorer_says_so(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no ood\.npz"):
        ood.load(tmp_path)
