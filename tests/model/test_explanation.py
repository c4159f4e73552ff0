"""Contributions of features: that they add up, and that they tell what the model does."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.conftest import make_table
from twinml.cli import main
from twinml.errors import ModelError
from twinml.explanation.members import TOLERANCE, explain, raw_scores
from twinml.model import digest, load_predictor
from twinml.training._boosted_stack import fit_boosted_stack
from twinml.training._ensemble import Stack, Vote, fit_stack
from twinml.training._recipe import Fitted, Recipe
from twinml.training.learners import installed
from twinml.training.tasks import Classification, predictions

FORESTS = ("RandomForest", "ExtraTrees")
NAMES = (
    *("LightGBM", "XGBoost", "CatBoost", "HistGradientBoosting"),
    *(*FORESTS, "LogisticRegression"),
)
CONFIGS = {
    "LightGBM": {"n_estimators": 12, "num_leaves": 8, "min_child_samples": 5},
    "XGBoost": {"n_estimators": 12, "max_leaves": 8},
    "CatBoost": {"n_estimators": 12},
    "RandomForest": {"n_estimators": 8},
    "ExtraTrees": {"n_estimators": 8, "max_depth": 6},
    "HistGradientBoosting": {"max_iter": 12, "max_leaf_nodes": 8},
    "LogisticRegression": {},
}


def fitted(classes: int) -> tuple[Fitted, pd.DataFrame, np.ndarray]:
    table = make_table(700, classes=classes)
    features, names = table.drop(columns="y"), np.unique(table["y"])
    truth = np.searchsorted(names, table["y"])
    task = Classification(classes=tuple(names))
    members = {one.name: (one, CONFIGS[one.name]) for one in installed() if one.name in NAMES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Recipe(members, task, seed=0).fit(features, truth, np.ones(len(truth)), jobs=1)
    return found, features, truth


@pytest.fixture(scope="module")
def two() -> tuple[Fitted, pd.DataFrame, np.ndarray]:
    return fitted(2)


@pytest.fixture(scope="module")
def three() -> tuple[Fitted, pd.DataFrame, np.ndarray]:
    return fitted(3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_base_and_contributions_add_up_to_the_raw_score(name, classes, two, three):
    found, features, _ = two if classes == 2 else three
    if name not in found.members:
        pytest.skip(f"{name} is not installed")
    pipeline = found.pipeline(Vote({name: 1.0}), 0.3 if classes == 2 else None)
    told = explain(pipeline, features, background=features)
    assert told.share == 1
    assert told.left_out == {}
    X = np.asarray(found.encoder.transform(features), dtype=np.float64)
    raw = raw_scores(found.members[name], X)
    place = np.zeros(len(X), int) if classes == 2 else pipeline.predict_proba(features).argmax(1)
    np.testing.assert_allclose(
        told.score, raw[np.arange(len(X)), place], atol=TOLERANCE, rtol=TOLERANCE
    )
    if name not in FORESTS:  # the mean over the training rows, nearly
        assert told.base[0] == pytest.approx(raw[:, 0].mean(), abs=0.25) or classes > 2
    if (
        classes == 2 and name not in FORESTS
    ):  # the raw score is the log-odds of the probability that is given
        np.testing.assert_allclose(
            told.score, np.log(told.probability / (1 - told.probability)), atol=5e-3
        )


def test_a_vote_is_the_weighted_mean_of_its_members(two):
    found, features, _ = two
    vote = Vote({"LightGBM": 0.5, "XGBoost": 0.3, "RandomForest": 0.2})
    told = explain(found.pipeline(vote), features)
    apart = {name: explain(found.pipeline(Vote({name: 1.0})), features) for name in vote.weights}
    mean = sum(share * apart[name].contributions for name, share in vote.weights.items())
    np.testing.assert_allclose(told.contributions, mean, atol=1e-9)
    assert told.share == pytest.approx(1)
    assert told.left_out == {}


def test_a_linear_member_is_left_out_without_training_rows(two):
    found, features, _ = two
    vote = Vote({"LightGBM": 0.8, "LogisticRegression": 0.2})
    pipeline = found.pipeline(vote)
    told = explain(pipeline, features)
    assert told.share == pytest.approx(0.8)
    assert told.left_out == pytest.approx({"LogisticRegression": 0.2})
    assert "80%" in told.covered()
    assert explain(pipeline, features, background=features).left_out == {}


def test_a_stack_counts_members_as_its_coefficients_do(two):
    found, features, truth = two
    X = np.asarray(found.encoder.transform(features), dtype=np.float64)
    votes = {name: one.predict_proba(X) for name, one in found.members.items()}
    stack = fit_stack(found.task, votes, truth, np.ones(len(truth)))
    assert isinstance(stack, Stack)
    told = explain(found.pipeline(stack), features)
    covered = {n: share for n, share in stack.weights.items() if n != "LogisticRegression"}
    assert told.share == pytest.approx(sum(covered.values()))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_boosted_blend_adds_up_and_passes_on_what_members_are_given(classes, two, three):
    found, features, truth = two if classes == 2 else three
    names = ("LightGBM", "LogisticRegression", "RandomForest")
    X = found.encoded(features)
    rows = np.arange(len(X))
    rng = np.random.default_rng(0)
    said = {name: predictions(found.members[name], X) for name in names}
    # As if the members had erred here and there.
    said = {
        name: one[np.where(rng.random(len(X)) < 0.2, rng.permutation(rows), rows)]
        for name, one in said.items()
    }
    folds = [(rows[rows % 2 == fold], rows[rows % 2 != fold]) for fold in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        boosted = fit_boosted_stack(
            found.task, said, X, truth, np.ones(len(X)), folds, found.task.shape(2, 0), rows,
            seconds=np.inf, round_seconds=1.0, jobs=1,
        )  # fmt: skip
    assert boosted is not None
    pipeline = found.pipeline(boosted[0])
    told = explain(pipeline, features, background=features)
    assert (told.share, told.left_out) == (1.0, {})
    assert 0.3 < sum(told.members.values()) <= 1
    stack = pipeline.named_steps["model"]
    raw = raw_scores(boosted[0].final, stack.transform(X))
    place = np.zeros(len(X), int) if classes == 2 else pipeline.predict_proba(features).argmax(1)
    np.testing.assert_allclose(told.score, raw[rows, place], atol=TOLERANCE, rtol=TOLERANCE)
    without = explain(pipeline, features)
    assert list(without.left_out) == ["LogisticRegression"]
    assert without.share == pytest.approx(1 - without.left_out["LogisticRegression"])


def test_features_are_named_as_in_the_data_and_do_what_they_do(two):
    found, features, _ = two
    told = explain(found.pipeline(Vote({"LightGBM": 1.0})), features)
    assert set(told.features) == set(features.columns)
    by_name = dict(zip(told.features, told.contributions.T, strict=True))
    # make_table: the older and the richer, the more often "yes".
    assert np.corrcoef(by_name["age"], features["age"])[0, 1] > 0.7
    known = features["income"].notna()
    assert np.corrcoef(by_name["income"][known], features["income"][known])[0, 1] > 0.7


def test_a_model_that_cannot_be_explained_says_so(two):
    found, features, _ = two
    pipeline = found.pipeline(Vote({"LogisticRegression": 1.0}))
    with pytest.raises(ModelError, match="no member that can be explained"):
        explain(pipeline, features)
    with pytest.raises(ModelError, match="not built as twinml builds it"):
        explain(object(), features)


def test_a_saved_model_is_explained_in_file_and_picture(described_model: Path, tmp_path: Path):
    rows = tmp_path / "rows.csv"
    table = make_table(40, seed=6)
    table.to_csv(rows, index=False)
    picture, scored = tmp_path / "why.png", tmp_path / "why.csv"
    words = ["score", "--explain", "--model", str(described_model), "--data", str(rows)]
    done = CliRunner().invoke(
        main, [*words, "--out", str(scored), "--picture", str(picture), "--json"]
    )
    assert done.exit_code == 0, done.output
    shape = json.loads(done.stdout)
    assert shape["share"] == pytest.approx(1)
    written = pd.read_csv(scored)
    contributions = written[[f"contribution_{name}" for name in shape["rows"][0]["contributions"]]]
    np.testing.assert_allclose(
        written["contribution_(base)"] + contributions.sum(axis=1), written["score_log_odds"]
    )
    expected = load_predictor(described_model, digest(described_model)).predict_proba(
        table.drop(columns="y")
    )[:, 1]
    np.testing.assert_allclose(written["probability_yes"], expected)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_samples_of_the_contract_are_explained_without_a_file(described_model: Path):
    done = CliRunner().invoke(
        main, ["score", "--explain", "--model", str(described_model), "--sample", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "exact SHAP values of the whole model" in done.stdout
    assert "log-odds" in done.stdout
