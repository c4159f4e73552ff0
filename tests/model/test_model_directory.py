"""A saved model is an MLflow model that loads and answers without this package."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.utils import requirements_utils

from tests.conftest import make_table
from twinml import model
from twinml.data import Dataset, load
from twinml.errors import ModelError
from twinml.model import ood
from twinml.model.azure_requirements import MONITORING, copy_for_azure
from twinml.registry.model_files import fetch_model
from twinml.registry.tracking import Tracking
from twinml.registry.training_run import model_folder
from twinml.training import TrainingOptions, TrainingResult, train
from twinml.training.learners import LEARNERS
from twinml_local.server.deployments.deployment import PipelineLater


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("model") / "customers.csv"
    table = make_table()
    days = pd.date_range("2023-01-01", periods=len(table), freq="6h")
    words = np.random.default_rng(3).choice(["late", "broken", "great", "fast"], (len(table), 6))
    table.assign(
        since=days.strftime("%d.%m.%Y %H:%M"), said=[" ".join(one) for one in words]
    ).to_csv(path, index=False)
    return load(path, "y")


@pytest.fixture(scope="module")
def result(dataset: Dataset) -> TrainingResult:
    return train(dataset, TrainingOptions(trials=6))


@pytest.fixture(scope="module")
def directory(result: TrainingResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(result.pipeline, result.contract, folder, metrics={"roc_auc": 0.9})
    return folder


def test_the_directory_holds_what_its_docstring_draws(directory: Path) -> None:
    assert {path.relative_to(directory).as_posix() for path in directory.rglob("*.*")} >= {
        "contract.json",
        "swagger2.json",
        "swagger3.json",
        "input_example.json",
        "serving_input_example.json",
        "requirements.txt",
        "conda.yaml",
        "python_env.yaml",
        "code/twinml_scoring_v1.py",
        "data/pipeline.pkl",
    }
    assert (directory / "MLmodel").is_file()


def test_mlflow_gives_labels_and_on_request_probabilities(
    directory: Path, dataset: Dataset, result: TrainingResult
) -> None:
    loaded = mlflow.pyfunc.load_model(str(directory))
    rows = dataset.features.head(40)
    np.testing.assert_array_equal(loaded.predict(rows), result.pipeline.predict(rows))
    np.testing.assert_array_equal(
        loaded.predict(rows, params={"method": "predict_proba"}),
        result.pipeline.predict_proba(rows),
    )
    np.testing.assert_array_equal(
        mlflow.sklearn.load_model(str(directory)).predict_proba(rows),
        result.pipeline.predict_proba(rows),
    )


def test_our_own_loader_gives_the_same(
    directory: Path, dataset: Dataset, result: TrainingResult
) -> None:
    scorer = model.load_predictor(directory, model.digest(directory))
    rows = dataset.features.head(40)
    np.testing.assert_array_equal(scorer.predict(rows), result.pipeline.predict(rows))
    np.testing.assert_array_equal(scorer.predict_proba(rows), result.pipeline.predict_proba(rows))
    with pytest.raises(ValueError, match="guess"):
        scorer.predict(rows, {"method": "guess"})


def test_the_contract_and_the_signature_agree(directory: Path, result: TrainingResult) -> None:
    contract = model.load_contract(directory)
    assert contract == result.contract
    signature = mlflow.pyfunc.load_model(str(directory)).metadata.signature
    assert signature.inputs.input_names() == list(contract.column_names)


def test_requirements_are_pinned_and_name_what_the_pickle_needs(
    directory: Path, result: TrainingResult
) -> None:
    lines = (directory / "requirements.txt").read_text(encoding="utf-8").split()
    assert all("==" in line for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert {"mlflow", "scikit-learn"} <= names
    assert not {"flaml", "twinml", "azureml-ai-monitoring"} & names
    members = set(result.best.weights) or {result.best.name}
    needed = {name for one in LEARNERS if one.name in members for name in one.packages}
    assert names & {"xgboost", "lightgbm"} == needed & {"xgboost", "lightgbm"}


@pytest.mark.parametrize("learner", ["LightGBM", "XGBoost", "RandomForest"])
def test_a_learners_package_is_required_only_where_it_is_used(
    learner: str, dataset: Dataset
) -> None:
    found = train(dataset, TrainingOptions(trials=1, learners=(learner,)))
    names = {line.split("==")[0] for line in model.requirements(found.pipeline)}
    assert names & {"lightgbm", "xgboost"} == {learner.lower()} & {"lightgbm", "xgboost"}


def test_the_digest_notices_any_change(directory: Path, tmp_path: Path) -> None:
    assert model.digest(directory) == model.metadata(directory)["digest"]
    for name in ("requirements.txt", "contract.json", "data/pipeline.pkl"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(directory, copy)
        path = copy / name
        if name == "contract.json":
            content = json.loads(path.read_text(encoding="utf-8"))
            content["columns"][0]["maximum"] = 10_000
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            path.write_bytes(path.read_bytes() + b"\nx==1\n")
        with pytest.raises(ModelError, match="changed after it was saved"):
            model.digest(copy)


class Planted:
    """What an attacker puts in the place of a pipeline: loading it leaves a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_run_only_if_it_is_the_one_that_is_meant(
    directory: Path, tmp_path: Path
) -> None:
    digest, mark = model.digest(directory), tmp_path / "was-run"
    with pytest.raises(ModelError, match="expected 000000000000"):
        model.load_predictor(directory, "0" * 64)
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    (copy / "data" / "pipeline.pkl").write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(ModelError, match=f"expected {digest[:12]}"):
        model.load_predictor(copy, digest)
    later = PipelineLater(copy, digest)
    with pytest.raises(ModelError, match=f"expected {digest[:12]}"):
        _ = later.loaded
    assert not mark.exists()


def test_pickles_are_not_loaded_where_the_environment_forbids_them(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with pytest.raises(ModelError, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION forbids"):
        model.load_predictor(directory, model.digest(directory))


def test_files_that_were_changed_since_they_were_fetched_are_fetched_anew(
    directory: Path, tmp_path: Path
) -> None:
    tracking, digest = Tracking(), model.digest(directory)
    run_id = tracking.upload("bank", directory, digest=digest)
    version = tracking.register("bank", run_id=run_id, digest=digest)
    place = model_folder(digest)
    fetch_model(tracking, version, place)
    untouched = (place / "MLmodel").stat().st_ino
    fetch_model(tracking, version, place)
    assert (place / "MLmodel").stat().st_ino == untouched
    for damage in ("data/pipeline.pkl", "code/twinml_scoring_v1.py", "contract.json"):
        (place / damage).write_bytes(b"{}")
        fetch_model(tracking, version, place)
        assert model.digest(place) == digest, damage
    for lost in ("MLmodel", "requirements.txt", "data/pipeline.pkl"):
        (place / lost).unlink()
        fetch_model(tracking, version, place)
        assert (place / "MLmodel").is_file()
        assert model.digest(place) == digest, lost
    # What is in the store is not what was registered: no file of it stays here.
    with pytest.raises(ModelError, match="expected 000000000000"):
        fetch_model(tracking, replace(version, digest="0" * 64), place)
    assert not place.exists()


def test_a_model_without_a_digest_has_no_folder(own_home: Path) -> None:
    assert model_folder("d") == own_home / "models" / "d"
    with pytest.raises(ModelError, match="not registered by twinml"):
        model_folder("")


def test_on_azure_a_model_requires_more_and_has_the_same_digest(
    directory: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    there = copy_for_azure(directory, tmp_path / "there")
    again = copy_for_azure(there, tmp_path / "again")
    for copy in (there, again):
        assert model.digest(copy) == model.digest(directory)
        lines = (copy / "requirements.txt").read_text(encoding="utf-8").splitlines()
        was = (directory / "requirements.txt").read_text(encoding="utf-8").splitlines()
        assert lines == [*was, MONITORING]
        environment, plain = (
            yaml.safe_load((folder / "conda.yaml").read_text(encoding="utf-8"))
            for folder in (copy, directory)
        )
        plain["dependencies"][-1]["pip"].append(MONITORING)
        assert environment == plain
    assert {path: path.read_bytes() for path in before} == before
    # Another version of it, or one more package, is a change like any other.
    for line in ("azureml-ai-monitoring==0.9.0", f"x-{MONITORING}"):
        (there / "requirements.txt").write_text("\n".join([*was, line]), encoding="utf-8")
        with pytest.raises(ModelError, match="changed after it was saved"):
            model.digest(there)


def test_mlflow_finds_all_packages_of_a_model_installed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        requirements_utils._logger, "warning", lambda text, *args: said.append(text % args)
    )
    mlflow.pyfunc.load_model(str(directory))
    assert said == []


def test_nothing_is_overwritten_and_a_failed_save_leaves_nothing(
    directory: Path, result: TrainingResult, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="not empty"):
        model.save(result.pipeline, result.contract, directory)
    with pytest.raises(ModelError, match="twinml"):
        model.save(result.contract, result.contract, tmp_path / "bad")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [model.load_contract, model.digest, model.metadata])
def test_a_folder_without_a_model_is_named(read, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no"):
        read(tmp_path)


SECOND_VENV = """
import importlib.util, json, sys
for name in ("twinml", "flaml"):
    assert importlib.util.find_spec(name) is None, name
import mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.read_csv(sys.argv[2]).drop(columns="y").head(200)
labels = model.predict(rows)
probabilities = model.predict(rows, params={"method": "predict_proba"})
print(json.dumps({"labels": labels.tolist(), "probabilities": probabilities.tolist()}))
"""


@pytest.mark.e2e
def test_the_model_answers_alike_in_an_environment_of_its_own_requirements(
    directory: Path, dataset: Dataset, result: TrainingResult, tmp_path: Path
) -> None:
    """A second virtual environment with neither twinml nor FLAML gives the same bits."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", python, "-r", directory / "requirements.txt"],
        check=True,
        timeout=500,
    )
    done = subprocess.run(
        [python, "-W", "ignore", "-c", SECOND_VENV, directory, dataset.source],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    answered = json.loads(done.stdout)
    rows = dataset.features.head(200)
    assert answered["labels"] == result.pipeline.predict(rows).tolist()
    np.testing.assert_array_equal(
        np.asarray(answered["probabilities"]), result.pipeline.predict_proba(rows)
    )


def test_what_was_measured_is_kept_beside_and_belongs_to_the_digest(
    result: TrainingResult, dataset: Dataset, directory: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    given = model.save(result.pipeline, result.contract, folder, measured=result.measured)
    assert given == model.digest(folder) != model.digest(directory)
    rows = dataset.features.iloc[result.test.rows]
    measured = model.load_measured(folder, given).predict_proba(rows)
    np.testing.assert_array_equal(measured, result.test.probabilities)
    served = model.load_predictor(folder, given).predict_proba(rows)
    assert not np.array_equal(served, measured)
    # Without it the model is compared as it is.
    alone = model.load_measured(directory, model.digest(directory)).predict_proba(rows)
    np.testing.assert_array_equal(alone, served)
    (folder / "measured.pkl").write_bytes(b"another")
    with pytest.raises(ModelError, match="changed after it was saved"):
        model.digest(folder)


def test_what_describes_the_training_rows_changes_neither_digest_nor_predictions(
    result: TrainingResult, dataset: Dataset, directory: Path, tmp_path: Path
) -> None:
    rows = dataset.features.iloc[result.trained_on].assign(y=dataset.labels)
    folder = tmp_path / "described"
    given = model.save(
        result.pipeline, result.contract, folder, metrics={"roc_auc": 0.9}, training_rows=rows
    )
    assert given == model.digest(directory) == model.digest(folder)
    reference = model.load_reference(folder)
    assert list(reference.columns) == list(result.contract.column_names)
    assert 0.98 * len(result.trained_on) < len(reference) <= len(result.trained_on)
    scorer = ood.load(folder)
    columns = {name: dataset.features[name].tolist() for name in result.contract.column_names}
    scores = scorer.score(columns, dataset.n_rows)
    assert np.median(scores) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ModelError, match=r"no reference\.parquet"):
        model.load_reference(directory)
