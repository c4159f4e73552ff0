"""A number to predict, from the file to a model that reloads elsewhere."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from tests.conftest import TrainedRegression
from twinml import model
from twinml.contract import openapi, parse, render
from twinml.contract.dialects import DIALECTS, written
from twinml.data import load
from twinml.errors import DataError, PayloadError, UsageError
from twinml.training import TrainingOptions, train

LEARNERS = ("LightGBM", "RandomForest", "Ridge")


def test_figures_are_those_of_rows_that_were_held_out(regression: TrainedRegression) -> None:
    result, dataset = regression.result, regression.dataset
    assert dataset.task == "regression"
    rows = result.test.rows
    measured = model.load_measured(regression.directory, model.digest(regression.directory))
    predicted = measured.predict(dataset.features.iloc[rows])
    np.testing.assert_array_equal(predicted, result.test.probabilities[:, 0])
    truth = dataset.labels.iloc[rows].to_numpy(float)
    np.testing.assert_array_equal(truth, result.test.labels)
    held = result.test.metrics["r2_score"]
    assert held.value == pytest.approx(r2_score(truth, predicted))
    assert held.low > 0.2
    assert result.test.baseline["r2_score"] < 0.01
    assert result.metric == "r2_score"
    names = {candidate.name for candidate in result.leaderboard}
    assert names == {*LEARNERS, "VotingEnsemble", "StackEnsemble"}
    # The floor, LightGBM's defaults, and the leaderboard in order.
    scores = [round(one.metrics["r2_score"], 4) for one in result.leaderboard]
    assert scores == sorted(scores, reverse=True)


def test_intervals_hold_about_what_they_promise(regression: TrainedRegression) -> None:
    shares = {one.level: one.share for one in regression.result.test.coverage}
    assert list(shares) == [0.5, 0.8, 0.9, 0.95]
    # 89 rows: three standard errors.
    for level, share in shares.items():
        assert share == pytest.approx(level, abs=3 * (level * (1 - level) / 89) ** 0.5)
    widths = [one.width for one in regression.result.test.coverage]
    assert widths == sorted(widths)


def test_the_same_trials_and_seed_give_the_same_bits(
    regression: TrainedRegression,
) -> None:
    again = train(regression.dataset, TrainingOptions(trials=4, learners=LEARNERS, jobs=1))
    np.testing.assert_array_equal(again.test.probabilities, regression.result.test.probabilities)
    assert again.contract == regression.result.contract


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "roc_auc"}, UsageError, "'roc_auc' is none of a regression"),
        ({"threshold": 0.3}, DataError, "a number to predict"),
        ({"class_weight": "balanced"}, DataError, "class weights need classes"),
        ({"learners": ("LogisticRegression",)}, UsageError, "is no regressor"),
    ],
)
def test_what_a_number_has_no_use_for_is_refused(
    regression: TrainedRegression, options: dict[str, object], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        train(regression.dataset, TrainingOptions(trials=1, **options))


def test_a_target_of_classes_has_no_metric_of_numbers(table_csv: Path) -> None:
    with pytest.raises(UsageError, match="'r2_score' is none of a classification"):
        train(load(table_csv, "y"), TrainingOptions(trials=1, metric="r2_score"))


def test_the_contract_promises_numbers(regression: TrainedRegression) -> None:
    contract = model.load_contract(regression.directory)
    assert contract == regression.result.contract
    assert contract.task == "regression"
    assert contract.classes == ()
    assert contract.target_range == (25.0, 346.0)
    assert contract.methods == ("predict", "predict_interval")
    assert contract.to_dict()["format_version"] == 4


@pytest.mark.parametrize("version", ["2", "3", "3.1"])
def test_documents_tell_of_numbers(regression: TrainedRegression, version: str) -> None:
    text = json.dumps(openapi(regression.result.contract, version=version))  # type: ignore[arg-type]
    assert "predict_interval" in text
    assert "predict_proba" not in text
    assert "Probabilities" not in text


@pytest.mark.parametrize("dialect", [*written(), "csv"])
def test_every_dialect_asks_for_numbers_and_intervals(
    regression: TrainedRegression, dialect: str
) -> None:
    contract, chosen = regression.result.contract, DIALECTS[dialect]
    rows = list(contract.samples[:2])
    scorer = model.load_predictor(regression.directory, model.digest(regression.directory))
    for method in contract.methods if dialect != "csv" else ("predict",):
        body = chosen.write(rows, method)
        sent = body.encode() if isinstance(body, str) else orjson.dumps(body)
        request = parse(contract, sent, content_type=chosen.media_type, route=chosen.routes[0])
        given = scorer.predict(request.frame(), {"method": method})
        reply = orjson.loads(render(contract, request, given, given))
        if isinstance(reply, str):
            reply = orjson.loads(reply)
        assert chosen.read_reply(reply) == given.tolist()
        assert given.shape == ((2,) if method == "predict" else (2, 2))


def test_a_request_for_probabilities_is_refused(regression: TrainedRegression) -> None:
    body = {"input_data": list(regression.result.contract.samples), "params": {}}
    body["params"] = {"method": "predict_proba"}
    with pytest.raises(PayloadError, match="expected 'predict' or 'predict_interval'"):
        parse(
            regression.result.contract, orjson.dumps(body), content_type="application/json",
            route="score",
        )  # fmt: skip


def test_the_model_reloads_without_twinml(regression: TrainedRegression, tmp_path: Path) -> None:
    rows = regression.dataset.features.head(3)
    rows.to_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, json, warnings; warnings.simplefilter('ignore')\n"
        "sys.modules['twinml'] = sys.modules['flaml'] = None\n"
        "import mlflow, pandas\n"
        f"rows = pandas.read_parquet({str(tmp_path / 'rows.parquet')!r})\n"
        f"loaded = mlflow.pyfunc.load_model({str(regression.directory)!r})\n"
        "asked = {'method': 'predict_interval', 'level': 0.8}\n"
        "print(json.dumps([loaded.predict(rows).tolist(), loaded.predict(rows, asked).tolist()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    numbers, bounds = json.loads(done.stdout)
    intervals = regression.result.contract.intervals
    assert intervals is not None
    np.testing.assert_array_equal(numbers, regression.result.pipeline.predict(rows))
    np.testing.assert_array_equal(bounds, intervals.bounds(numbers, 0.8))


def test_a_changed_file_of_the_model_is_noticed(
    regression: TrainedRegression, tmp_path: Path
) -> None:
    import shutil

    from twinml.errors import ModelError

    for name in ("code/twinml_intervals_v1.py", "code/twinml_regression_v1.py", "contract.json"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(regression.directory, copy)
        with (copy / name).open("a", encoding="utf-8") as stream:
            stream.write("\n\n")
        if name == "contract.json":  # blanks are no change of what it says
            assert model.digest(copy)
            continue
        with pytest.raises(ModelError, match="was changed after it was saved"):
            model.digest(copy)


def test_the_compiled_form_has_the_pipelines_bits(regression: TrainedRegression) -> None:
    from twinml_local.compiled import compile_model, verify

    # A deployed model comes out of a pickle.
    pipeline = pickle.loads(pickle.dumps(regression.result.pipeline))
    contract, features = regression.result.contract, regression.dataset.features
    compiled = compile_model(pipeline, contract)
    done = verify(compiled, pipeline, contract, features, n_random=300, most_nodes=300, singles=3)
    assert done.rows > 1000
    columns = {name: features[name].tolist() for name in contract.column_names}
    numbers, _ = compiled.predict_columns(columns, len(features))
    assert numbers == pipeline.predict(features).tolist()


def test_a_file_with_many_numbers_or_asked_for_is_a_regression(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(60.0) % 7, "z": np.arange(60) % 11 / 2})
    frame["y"] = np.arange(60) % 3
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert load(tmp_path / "t.csv", "y").task == "classification"
    found = load(tmp_path / "t.csv", "y", task="regression")
    assert (found.task, found.reading["task"]) == ("regression", "regression")
    with pytest.raises(DataError, match="no task 'clustering'"):
        load(tmp_path / "t.csv", "y", task="clustering")  # type: ignore[arg-type]


def test_explanations_are_in_the_targets_unit_and_add_up(regression: TrainedRegression) -> None:
    from twinml.explanation.members import explain
    from twinml.training._ensemble import Vote, fit_stack
    from twinml.training._recipe import Recipe
    from twinml.training.learners import LEARNERS
    from twinml.training.tasks import predictions, task_of

    features, labels = regression.dataset.features, regression.dataset.labels
    task = task_of(labels, "regression")
    truth = task.truth(labels)
    configs = {"LightGBM": {"n_estimators": 9}, "RandomForest": {"n_estimators": 5}}
    configs |= {"HistGradientBoosting": {"max_iter": 9}, "XGBoost": {"n_estimators": 9}}
    configs["Ridge"] = {}
    members = {one.name: (one, configs[one.name]) for one in LEARNERS if one.name in configs}
    fitted = Recipe(members, task, seed=0).fit(features, truth, np.ones(len(truth)), jobs=1)
    encoded = np.asarray(fitted.encoder.transform(features), dtype=np.float64)
    noise = np.random.default_rng(0)
    votes = {
        name: predictions(one, encoded) + noise.normal(0, 30, (len(truth), 1))
        for name, one in fitted.members.items()
    }
    for join in (
        Vote(dict.fromkeys(members, 0.2)),
        fit_stack(task, votes, truth, np.ones(len(truth))),
    ):
        pipeline = fitted.pipeline(join)
        told = explain(pipeline, features.head(20), background=features)
        np.testing.assert_allclose(told.score, pipeline.predict(features.head(20)), rtol=1e-6)
        assert told.left_out == {}
        assert told.to_dict()["unit"] == "the target's unit"
        assert set(told.to_dict()["rows"][0]) == {"prediction", "base", "score", "contributions"}


@pytest.mark.parametrize("worse", [0.0, 40.0])
def test_two_regressions_are_compared_by_their_losses(
    regression: TrainedRegression, worse: float
) -> None:
    from twinml.abtest.predictions import compare_predictions

    test = regression.result.test
    noise = np.random.default_rng(0).normal(0, worse, test.probabilities.shape)
    found = compare_predictions(test.labels, test.probabilities + noise, test.probabilities)
    assert found.verdict.decision == ("ship B" if worse else "keep A")
    assert found.primary == "root_mean_squared_error"
    held = found["root_mean_squared_error"]
    assert held.b == pytest.approx(test.metrics["root_mean_squared_error"].value)
    assert held.low <= held.difference <= held.high
    assert found.only_a_right + found.only_b_right + found.both_right == 89
    assert "nearer on a row" in found.text()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"b": [1.0] * 9}, UsageError, "the shapes are"),
        ({"b": [np.nan] * 20}, UsageError, "no finite number"),
        ({"n_bootstrap": 99}, UsageError, "n_bootstrap is 99"),
        ({"primary": "accuracy"}, UsageError, "primary is 'accuracy'"),
        ({"truth": [1.0] * 9, "a": [1.0] * 9, "b": [1.0] * 9}, DataError, "9 labelled rows"),
    ],
)
def test_numbers_that_cannot_be_compared(
    change: dict[str, object], error: type, message: str
) -> None:
    from twinml.abtest.predictions import compare_numbers

    given: dict[str, object] = {name: [1.0] * 20 for name in ("truth", "a", "b")}
    with pytest.raises(error, match=message):
        compare_numbers(**given | change)  # type: ignore[arg-type]


def test_a_better_regression_is_promoted_and_an_equal_one_is_not(
    regression: TrainedRegression, own_home: Path
) -> None:
    from twinml.registry.champion import compare
    from twinml.registry.tracking import Tracking

    rows = regression.dataset.frame.iloc[regression.result.test.rows]
    tracking = Tracking()
    first = compare(tracking, regression.directory, rows, name="diabetes", metric="r2_score")
    assert first.better
    held = regression.result.test.metrics["r2_score"].value
    assert first.candidate["r2_score"] == pytest.approx(held)


def test_a_file_is_scored_with_intervals(regression: TrainedRegression, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from twinml.batch.scoring import score_file, source_for
    from twinml_local.batch import TableScorer

    contract, out = regression.result.contract, tmp_path / "scored.parquet"
    scorer = TableScorer(regression.directory)
    path = tmp_path / "rows.csv"
    regression.dataset.features.to_csv(path, index=False)
    score_file(source_for(path, contract), contract, scorer, out, digest="d", chunk_rows=100)
    scored = pq.read_table(out).to_pandas()
    expected = regression.result.pipeline.predict(regression.dataset.features)
    np.testing.assert_array_equal(scored["prediction"], expected)
    assert contract.intervals is not None
    bounds = contract.intervals.bounds(expected)
    np.testing.assert_array_equal(scored[["prediction_lower", "prediction_upper"]], bounds)
