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
