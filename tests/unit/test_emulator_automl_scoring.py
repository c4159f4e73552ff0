"""The scoring files that an AutoML child run has beside its model, as Azure's have them."""

import json
import runpy
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from azureml_emulator.jobs._automl import _beside

ROWS = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a child run keeps of a model folder, under the names that it has there."""
    folder = tmp_path_factory.mktemp("child")
    model, kept = folder / "mlflow-model", folder / "outputs"
    for name in ("data", "code", "../outputs"):
        (model / name).mkdir(parents=True)
    fitted = LogisticRegression().fit(pd.DataFrame(ROWS * 20), ["yes", "no"] * 20)
    joblib.dump(fitted, model / "data" / "pipeline.pkl")
    (model / "conda.yaml").write_text("dependencies: []")
    (model / "code" / "needed.py").write_text("")
    for path, name in _beside(model):
        (kept / name).write_bytes(path.read_bytes())
    return kept


def test_the_files_are_those_of_azure(outputs: Path):
    assert sorted(path.name for path in outputs.iterdir()) == [
        "conda_env_v_1_0_0.yml",
        "model.pkl",
        "needed.py",
        "scoring_file_v_1_0_0.py",
        "scoring_file_v_2_0_0.py",
    ]


def test_without_a_pickled_pipeline_there_is_no_model_file(tmp_path: Path):
    assert "model.pkl" not in [name for _, name in _beside(tmp_path)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("method", [None, "predict", "predict_proba", "fit"])
def test_both_forms_of_requests_are_scored(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, version: int, method: str | None
):
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(outputs))
    script = runpy.run_path(str(outputs / f"scoring_file_v_{version}_0_0.py"))
    script["init"]()
    asked = {} if method is None else {"method": method}
    body: dict[str, Any] = {"data": ROWS, **asked}
    if version == 2:
        body = {"Inputs": {"data": ROWS}, "GlobalParameters": asked or None}
    if method == "fit":
        with pytest.raises(ValueError, match="method is 'fit', not one of predict, predict_proba"):
            script["run"](json.dumps(body))
        return
    ((name, answer),) = script["run"](json.dumps(body)).items()
    assert name == {1: "result", 2: "Results"}[version]
    if method == "predict_proba":
        assert np.shape(answer) == (2, 2)
        assert answer[0][1] > 0.5 > answer[1][1]
    else:
        assert answer == ["yes", "no"]
