"""Training runs on small real tables: what comes out, and that it can be trusted."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.conftest import make_table
from twinml.data import Dataset, bundled, load
from twinml.errors import DataError, TrainingError
from twinml.training import Progress, TrainingOptions, TrainingResult, _train, learners, train
from twinml.training import _budget as budgeting
from twinml.training import _crossvalidation as crossvalidation
from twinml.training import _search as search

FAST = ("LightGBM", "HistGradientBoosting", "LogisticRegression")


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("train") / "customers.csv"
    make_table().to_csv(path, index=False)
    return load(path, "y")


@pytest.fixture(scope="module")
def result(binary: Dataset) -> TrainingResult:
    return train(binary, TrainingOptions(trials=8, learners=FAST))


def test_the_leaderboard_is_sorted_and_holds_every_learner_and_both_ensembles(
    result: TrainingResult,
) -> None:
    names = [candidate.name for candidate in result.leaderboard]
    assert sorted(names) == sorted([*FAST, "VotingEnsemble", "StackEnsemble"])
    ranks = [
        (-round(candidate.metrics["roc_auc"], 4), candidate.metrics["log_loss"])
        for candidate in result.leaderboard
    ]
    assert ranks == sorted(ranks)
    assert sum(candidate.trials for candidate in result.leaderboard) == 8
    assert len(result.trials) == 8


def test_the_test_figures_are_those_of_the_pipeline_on_rows_it_did_not_learn_from(
    binary: Dataset, result: TrainingResult
) -> None:
    rows = binary.features.iloc[result.test.rows]
    assert result.measured is not None
    probabilities = result.measured.predict_proba(rows)
    np.testing.assert_array_equal(probabilities, result.test.probabilities)
    truth = (binary.labels.iloc[result.test.rows] == "yes").to_numpy()
    assert result.test.metrics["roc_auc"].value == roc_auc_score(truth, probabilities[:, 1])
    assert result.test.n_test == 120
    assert result.test.n_train == 480
    assert result.test.confusion.sum() == 120
    # The table can be predicted, and the model does.
    assert result.test.metrics["roc_auc"].low > 0.75
    assert result.test.baseline["roc_auc"] == 0.5


def test_the_model_has_seen_all_rows_unless_told_otherwise(
    binary: Dataset, result: TrainingResult
) -> None:
    assert result.trained_on is not None
    assert result.trained_on.tolist() == list(range(600))
    assert result.measured_apart
    kept = train(binary, TrainingOptions(trials=8, learners=FAST, refit="train"))
    assert kept.trained_on is not None
    assert sorted([*kept.trained_on, *kept.test.rows]) == list(range(600))
    assert kept.measured is None
    assert not kept.measured_apart
    # The figures are the same: those of the recipe.
    np.testing.assert_array_equal(kept.test.probabilities, result.test.probabilities)
    rows = binary.features.iloc[kept.test.rows]
    np.testing.assert_array_equal(kept.pipeline.predict_proba(rows), kept.test.probabilities)
    assert not np.array_equal(result.pipeline.predict_proba(rows), kept.test.probabilities)


def test_the_pipeline_answers_in_the_targets_own_labels(
    binary: Dataset, result: TrainingResult
) -> None:
    assert list(result.pipeline.classes_) == ["no", "yes"] == list(result.contract.classes)
    assert set(result.pipeline.predict(binary.features.head(50))) <= {"no", "yes"}


def test_the_pipeline_holds_objects_of_the_field_only(result: TrainingResult) -> None:
    stored = pickle.dumps(result.pipeline)
    assert b"twinml" not in stored
    assert b"flaml" not in stored


def test_the_contracts_frame_is_what_the_pipeline_takes(result: TrainingResult) -> None:
    import orjson

    from twinml.contract import parse

    body = orjson.dumps({"data": list(result.contract.samples)})
    request = parse(result.contract, body, content_type="application/json", route="score")
    assert result.pipeline.predict_proba(request.frame()).shape == (request.n_rows, 2)


def test_extreme_and_unknown_values_give_finite_probabilities(
    binary: Dataset, result: TrainingResult
) -> None:
    rows = binary.features.head(6).copy()
    rows["income"] = [np.inf, -np.inf, 1e300, -1e300, np.nan, 0.0]
    rows["job"] = ["never seen", None, np.nan, "", "admin", "ADMIN"]
    found = result.pipeline.predict_proba(rows)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_importance_finds_what_the_target_is_made_of(result: TrainingResult) -> None:
    assert set(result.importance["feature"]) == {"age", "income", "job", "member"}
    assert result.importance["feature"].iloc[0] in {"age", "income"}


def test_the_runner_up_is_another_candidate_with_its_own_answers(result: TrainingResult) -> None:
    assert result.runner_up_name != result.best.name
    assert result.runner_up_test is not None
    assert result.runner_up_test.shape == result.test.probabilities.shape
    assert not np.array_equal(result.runner_up_test, result.test.probabilities)


def test_the_same_trials_and_seed_give_the_same_bits_whatever_the_number_of_jobs(
    binary: Dataset, result: TrainingResult
) -> None:
    again = train(binary, TrainingOptions(trials=8, learners=FAST, jobs=1))
    np.testing.assert_array_equal(again.test.probabilities, result.test.probabilities)
    assert [c.name for c in again.leaderboard] == [c.name for c in result.leaderboard]
    other = train(binary, TrainingOptions(trials=8, learners=FAST, seed=1))
    assert not np.array_equal(other.test.rows, result.test.rows)


def test_three_classes_with_all_learners(three_classes_csv: Path) -> None:
    found = train(load(three_classes_csv, "y"), TrainingOptions(trials=7))
    assert found.contract.task == "multiclass"
    assert found.threshold is None
    assert found.test.probabilities.shape == (120, 3)
    assert found.test.confusion.shape == (3, 3)
    assert found.test.metrics["log_loss"].value < found.test.baseline["log_loss"]
    assert set(found.pipeline.predict(load(three_classes_csv, "y").features)) <= {"c0", "c1", "c2"}


@pytest.mark.parametrize("labels", [(0, 1), (False, True), (7, 42)])
def test_labels_that_are_no_text_come_back_as_they_were(
    tmp_path: Path, labels: tuple[object, object]
) -> None:
    frame = make_table()
    frame["y"] = np.where(frame["y"] == "yes", labels[1], labels[0])
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    dataset = load(path, "y")
    found = train(dataset, TrainingOptions(trials=2, learners=("LightGBM", "XGBoost")))
    predicted = found.pipeline.predict(dataset.features.head(100))
    assert set(predicted.tolist()) == set(labels)
    assert found.contract.classes == labels


def test_a_balanced_model_finds_more_of_the_rare_class(tmp_path: Path) -> None:
    frame = make_table(1500)
    rare = frame["y"] == "yes"
    frame = frame[~rare | (np.arange(len(frame)) % 8 == 0)]
    path = tmp_path / "rare.csv"
    frame.to_csv(path, index=False)
    dataset = load(path, "y")
    recalls = {}
    for weight in (None, "balanced"):
        found = train(
            dataset, TrainingOptions(trials=3, learners=FAST, class_weight=weight)
        ).test.confusion
        recalls[weight] = found[1, 1] / found[1].sum()
    assert recalls["balanced"] > recalls[None] + 0.1


def test_a_tuned_threshold_travels_with_the_pipeline(binary: Dataset, tmp_path: Path) -> None:
    frame = make_table(1500)
    frame = frame[(frame["y"] == "no") | (np.arange(len(frame)) % 6 == 0)]
    path = tmp_path / "rare.csv"
    frame.to_csv(path, index=False)
    dataset = load(path, "y")
    found = train(dataset, TrainingOptions(trials=3, learners=FAST, threshold="f1"))
    assert found.threshold is not None
    assert found.threshold < 0.5
    rows = dataset.features
    positive = found.pipeline.predict_proba(rows)[:, 1]
    expected = np.where(positive >= found.threshold, "yes", "no")
    np.testing.assert_array_equal(found.pipeline.predict(rows), expected)
    assert found.measured is not None
    said = (np.asarray(found.measured.predict(rows.iloc[found.test.rows])) == "yes").sum()
    assert found.test.confusion[:, 1].sum() == said


def test_an_ordered_split_tests_on_the_last_rows(binary: Dataset) -> None:
    found = train(binary, TrainingOptions(trials=2, learners=FAST[:2], split="ordered"))
    assert found.test.split == "ordered"
    assert found.test.rows.tolist() == list(range(480, 600))
    assert found.forward is found.test


def test_a_time_column_orders_the_rows_and_is_no_feature(tmp_path: Path) -> None:
    frame = make_table()
    frame["when"] = np.random.default_rng(0).permutation(
        pd.date_range("2024-01-01", periods=len(frame)).strftime("%Y-%m-%d")
    )
    path = tmp_path / "dated.csv"
    frame.to_csv(path, index=False)
    dataset = load(path, "y")
    found = train(dataset, TrainingOptions(trials=2, learners=FAST[:2], split="column:when"))
    assert "when" not in found.contract.column_names
    dates = dataset.frame["when"].to_numpy()
    assert dates[found.test.rows].min() > np.delete(dates, found.test.rows).max()
    with pytest.raises(DataError, match="'whenever'"):
        train(dataset, TrainingOptions(trials=2, split="column:whenever"))


def test_groups_stay_on_one_side_in_the_hold_out_and_in_the_folds(tmp_path: Path) -> None:
    frame = make_table()
    frame["customer_id"] = np.arange(len(frame)) % 150
    path = tmp_path / "visits.csv"
    frame.to_csv(path, index=False)
    dataset = load(path, "y", keep=["customer_id"])
    options = TrainingOptions(trials=2, learners=FAST[:1], split="group:customer_id")
    found = train(dataset, options)
    customers = dataset.frame["customer_id"].to_numpy()
    assert "customer_id" not in found.contract.column_names
    assert found.test.split == "group:customer_id"
    assert not set(customers[found.test.rows]) & set(np.delete(customers, found.test.rows))
    assert len(set(customers[found.test.rows])) == pytest.approx(30, abs=3)
    assert found.forward is None


def test_known_time_order_gives_the_forward_estimate_beside_the_random_one() -> None:
    """Measured on this data by all who tried: the later rows are far harder."""
    found = train(load(bundled(), "y"), TrainingOptions(trials=1, learners=("LightGBM",)))
    assert found.test.split == "random"
    assert found.forward is not None
    assert found.forward.rows.min() == 45_211 - found.forward.n_test
    assert found.test.metrics["roc_auc"].value > 0.92
    assert found.forward.metrics["roc_auc"].value < 0.87


def test_unknown_order_gives_the_random_estimate_alone_with_the_reason(
    result: TrainingResult,
) -> None:
    assert result.forward is None
    assert "shuffled" in result.forward_note


def test_the_budget_is_kept_on_rows_that_it_cannot_search_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """45,211 rows in 6 s: learners are left out with the reason, a model comes out.

    The seconds are those of this process alone: what else the machine does is no matter.
    """
    clock = SimpleNamespace(monotonic=time.process_time, thread_time=time.thread_time)
    for module in (search, crossvalidation, budgeting, _train):
        monkeypatch.setattr(module, "time", clock)
    moments: list[Progress] = []
    budget = 6.0
    found = train(load(bundled(), "y"), TrainingOptions(budget=budget), moments.append)
    # A search that kept no clock would try all configurations there are.
    assert moments[-1].elapsed <= 1.15 * budget + 10.0
    assert found.leaderboard
    assert {moment.phase for moment in moments} >= {"search", "ensemble", "refit", "evaluate"}
    assert moments[0].left is not None
    singles = sum(candidate.kind == "single" for candidate in found.leaderboard)
    skipped = len(learners.select(())) - singles
    assert skipped == 0 or "not on the leaderboard" in " ".join(found.notes)


def test_a_learner_that_cannot_fit_is_left_out_with_its_reason(
    binary: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from lightgbm import LGBMClassifier

    broken = replace(
        learners.LEARNERS[0],
        build=lambda config, X, shape: LGBMClassifier(num_leaves=1, verbose=-1, n_jobs=1),
    )
    monkeypatch.setattr(learners, "LEARNERS", (broken, *learners.LEARNERS[1:]))
    found = train(binary, TrainingOptions(trials=4, learners=FAST))
    assert "LightGBM" not in {candidate.name for candidate in found.leaderboard}
    assert any("num_leaves" in trial.note for trial in found.trials)
    assert "LightGBM is not on the leaderboard" in " ".join(found.notes)
    with pytest.raises(TrainingError, match="num_leaves"):
        train(binary, TrainingOptions(trials=2, learners=("LightGBM",)))


def test_a_threshold_for_three_classes_is_refused(three_classes_csv: Path) -> None:
    with pytest.raises(DataError, match="needs two classes, found 3"):
        train(load(three_classes_csv, "y"), TrainingOptions(trials=1, threshold="f1"))


def test_what_the_contract_refuses_is_refused_before_the_search(tmp_path: Path) -> None:
    frame = make_table()
    frame.loc[3, "income"] = np.inf
    path = tmp_path / "infinite.csv"
    frame.to_csv(path, index=False)
    moments: list[Progress] = []
    with pytest.raises(DataError, match="income"):
        train(load(path, "y"), TrainingOptions(budget=60), moments.append)
    assert not moments


def test_the_leaderboard_ranks_at_the_threshold_that_each_would_be_used_with(
    tmp_path: Path,
) -> None:
    frame = make_table(1500)
    frame = frame[(frame["y"] == "no") | (np.arange(len(frame)) % 6 == 0)]
    path = tmp_path / "rare.csv"
    frame.to_csv(path, index=False)
    options = {"trials": 3, "learners": FAST, "metric": "f1"}
    fixed = train(load(path, "y"), TrainingOptions(**options))
    tuned = train(load(path, "y"), TrainingOptions(**options, threshold="f1"))
    by_name = {one.name: one.metrics["f1"] for one in fixed.leaderboard}
    assert all(one.metrics["f1"] > by_name[one.name] for one in tuned.leaderboard)


def test_the_runner_up_is_never_the_winner_under_another_name(tmp_path: Path) -> None:
    """Where a vote gives everything to one member, the A/B step gets the next candidate."""
    path = tmp_path / "t.csv"
    make_table(300).to_csv(path, index=False)
    found = train(load(path, "y"), TrainingOptions(trials=2, learners=("LightGBM", "XGBoost")))
    assert any(len(one.weights) == 1 for one in found.leaderboard if one.kind == "ensemble")
    assert found.runner_up_test is not None
    assert not np.array_equal(found.runner_up_test, found.test.probabilities)
