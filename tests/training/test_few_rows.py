"""Thirty rows are enough: no row is held out, and all figures are out of fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.conftest import make_table
from twinml.data import Dataset, load
from twinml.platform import TrainedModel
from twinml.registry.champion import compare, compare_out_of_fold
from twinml.registry.tracking import Tracking
from twinml.registry.training_run import run
from twinml.training import TrainingOptions, train

OPTIONS = TrainingOptions(trials=2, learners=("LogisticRegression", "LightGBM"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    table = make_table()
    rows = table.groupby("y").head(15)
    path = tmp_path_factory.mktemp("few") / "few.csv"
    rows.to_csv(path, index=False)
    return load(path, "y")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return Tracking(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


@pytest.fixture(scope="module")
def done(few: Dataset, store: Tracking, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINML_HOME", str(tmp_path_factory.mktemp("home")))
        return run(few, OPTIONS, store)


def test_thirty_rows_are_judged_out_of_fold(few: Dataset, done: TrainedModel) -> None:
    result = done.searched()
    test = result.test
    assert (test.out_of_fold, test.n_train, test.n_test) == (True, 30, 30)
    assert test.rows.tolist() == list(range(30))
    truth = (few.labels == "yes").to_numpy()
    assert test.metrics["roc_auc"].value == roc_auc_score(truth, test.probabilities[:, 1])
    assert test.metrics["roc_auc"].low < test.metrics["roc_auc"].value
    # They are no figures of a model that has seen the rows.
    assert result.runner_up_test is not None
    assert result.runner_up_test.shape == test.probabilities.shape
    assert result.learned_from == "all rows; figures out of fold"
    assert result.trained_on is not None
    assert len(result.trained_on) == 30
    assert result.forward is None
    assert "30 rows are fewer than 100, so none were held out" in result.notes[0]
    assert {one.name for one in result.leaderboard} == {*OPTIONS.learners, "VotingEnsemble"}
    assert set(result.importance["feature"]) == set(few.features.columns)


def test_the_leaderboard_and_the_figures_are_of_divisions_of_their_own(
    done: TrainedModel,
) -> None:
    result = done.searched()
    best = result.best.metrics["log_loss"]
    assert best != result.test.metrics["log_loss"].value
    searched = {trial.loss for trial in result.trials if trial.learner == result.best.name}
    assert best not in searched


def test_the_run_names_its_figures_out_of_fold(store: Tracking, done: TrainedModel) -> None:
    logged = store.metrics(str(done.run_id))
    assert logged["out_of_fold_roc_auc"] == done.searched().test.metrics["roc_auc"].value
    assert not [name for name in logged if name.startswith("test_")]


def test_without_held_out_rows_the_champion_stays_unless_both_are_out_of_fold(
    few: Dataset, store: Tracking, done: TrainedModel, tmp_path: Path
) -> None:
    run_id, figures = str(done.run_id), {"roc_auc": 0.9, "log_loss": 0.3}

    def judged(run: str, roc_auc: float, gain: float = 0.0) -> tuple[bool, str]:
        found = compare_out_of_fold(
            store, run, {**figures, "roc_auc": roc_auc}, 30, name="few", metric="roc_auc",
            min_gain=gain,
        )  # fmt: skip
        assert found.rows == 30
        return found.better, found.reason

    first, why = judged(run_id, 0.9)
    assert first
    assert why == "few has no champion yet; ROC AUC 0.9000 out of fold on 30 rows"
    store.register("few", run_id=run_id, digest=done.digest)
    champion = done.searched().test.metrics["roc_auc"].value
    assert not judged(run_id, champion - 0.01)[0]
    better, why = judged(run_id, champion + 0.05)
    assert better
    assert why.endswith("of the champion few/1, both out of fold on the same 30 rows")
    assert not judged(run_id, champion + 0.05, gain=0.06)[0]
    # A run on other rows.
    other = store.begin("few", "other", {}, {})
    better, why = judged(other, 1.0)
    assert not better
    assert why.startswith("not comparable: no rows were held out, as 30 are too few")
    # Rows of its own data are none that this champion has not seen.
    rows = few.frame.iloc[:20]
    found = compare(store, done.directory, rows, name="few", metric="roc_auc", same_data=few.digest)
    assert not found.better
    assert "it learned from all rows of the same data" in found.reason


def test_thirty_five_numbers_have_intervals_and_their_coverage(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=35)
    pd.DataFrame({"x": x, "z": rng.normal(size=35), "y": 3 * x + rng.normal(size=35)}).to_csv(
        tmp_path / "numbers.csv", index=False
    )
    dataset = load(tmp_path / "numbers.csv", "y")
    result = train(dataset, TrainingOptions(trials=2, learners=("Ridge", "LightGBM")))
    assert result.test.out_of_fold
    assert result.best.name == "Ridge"
    assert 0.4 < result.test.metrics["r2_score"].value < 0.97
    assert [one.level for one in result.test.coverage] == [0.5, 0.8, 0.9, 0.95]
    assert result.test.coverage[2].share > 0.7
    assert result.contract.intervals is not None
    assert result.importance["feature"].iloc[0] == "x"


def test_groups_stay_in_one_fold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shop = np.repeat(np.arange(12), 3)
    # What a shop's rows have in common is all that tells.
    table = pd.DataFrame({"shop": shop, "x": rng.normal(size=12)[shop], "y": shop * 7 % 2})
    table.to_csv(tmp_path / "shops.csv", index=False)
    dataset = load(tmp_path / "shops.csv", "y", keep=["shop"])
    options = TrainingOptions(trials=1, learners=("ExtraTrees",), split="group:shop")
    result = train(dataset, options)
    assert result.test.how == "out of fold, group:shop"
    assert "shop" not in result.contract.column_names
    # A row of the same shop would have told: then it is nearly 1.
    assert result.test.metrics["roc_auc"].value < 0.8
