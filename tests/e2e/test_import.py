"""Models that were made elsewhere, with the verbs of ours: each works, or says why not."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from twinml.cli import main
from twinml_local import endpoints

Verb = Callable[..., Any]
CUSTOM = "the model has code of its own, and its answers may be anything"


def rows(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    made = {"age": rng.integers(18, 90, n), "income": rng.normal(3e4, 8e3, n).round(2)}
    return pd.DataFrame(made | {"city": rng.choice(["Oslo", "Rome", "Bern"], n).tolist()})


def python_model() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow asks for types.

        class Judge(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            # With types, MLflow would ask for a list of them.
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                ratio = model_input["income"] / model_input["age"]
                return ratio.to_frame("ratio").assign(city=model_input["city"])

    return Judge()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with rows.csv, in a home where a regressor and a PythonModel are served."""
    folder = tmp_path_factory.mktemp("imported")
    X = rows()
    prices = X["age"] * 3.7 + (X["city"] == "Rome") * 50
    X.assign(price=prices).to_csv(folder / "rows.csv", index=False)
    X.to_csv(folder / "unlabelled.csv", index=False)
    forest = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"),
        RandomForestRegressor(5, random_state=0),
    ).fit(X, prices)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # MLflow's, of integers, of types and of pickles
        patch.setenv("TWINML_HOME", str(folder / "home"))
        signature = mlflow.models.infer_signature(X)
        mlflow.sklearn.save_model(
            forest, folder / "prices", signature=signature, pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )  # fmt: skip
        mlflow.pyfunc.save_model(
            folder / "judge", python_model=python_model(), signature=signature,
            pip_requirements=["pandas"],
        )  # fmt: skip
        for name, target in (("prices", ["--target", "price"]), ("judge", [])):
            data = folder / ("rows.csv" if target else "unlabelled.csv")
            words = ["import", str(folder / name), "--trust", "--data", str(data), *target]
            done = CliRunner().invoke(main, [*words, "--json"])
            assert done.exit_code == 0, done.output
            assert json.loads(done.stdout)["compared"] == len(X)
            done = CliRunner().invoke(main, ["deploy", "--model", name, "--endpoint", name])
            assert done.exit_code == 0, done.output
        yield folder
        endpoints.stop()


@pytest.fixture
def verb(imported: Path, monkeypatch: pytest.MonkeyPatch, own_home: Path) -> Verb:
    """Runs a verb in the module's home; returns what it says."""
    # The fixture's home, not the test's own.
    monkeypatch.setenv("TWINML_HOME", str(imported / "home"))
    monkeypatch.chdir(imported)

    def run(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(main, [*words, "--json"])
        assert done.exit_code == code, (words, done.output)
        return json.loads(done.stdout)

    return run


def original(folder: Path, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlflow.pyfunc.load_model(str(folder / name)).predict(rows())


def test_a_regressor_has_all_verbs(imported: Path, verb: Verb, tmp_path: Path) -> None:
    expected = original(imported, "prices").tolist()
    at = ("--endpoint", "prices")
    scored = verb("score", *at, "--data", "rows.csv")
    assert scored["predictions"] == expected
    verb("batch", "--model", "prices/1", "--data", "rows.csv", "--out", str(tmp_path / "a.parquet"))
    assert pq.read_table(tmp_path / "a.parquet")["prediction"].to_pylist() == expected
    timed = verb("benchmark", *at, "--requests", "6", "--concurrency", "1")
    assert [run["failed"] for run in timed["runs"]] == [0]
    twice = verb("compare", "local", "local", *at, "--data", "rows.csv", "--timed", "0")
    assert twice["passes"]
    probed = verb("probe", *at, "--base", "3")
    assert probed["counts"]["failed"] == probed["counts"]["broken"] == 0
    explained = verb("score", "--explain", *at, "--sample", "2", code=1)
    assert "is not built as twinml builds it" in explained["message"]
    judged = verb("abtest", "--labels", "rows.csv", "--target", "price", "--a", "prices/1",
                  "--b", "prices/1")  # fmt: skip
    assert judged["verdict"]["decision"] == "keep A"
    files = verb("export", "--model", "prices", "--out", str(tmp_path / "folder"))["files"]
    assert "proof.json" in files


def test_a_python_model_has_the_verbs_that_need_no_probabilities(
    imported: Path, verb: Verb, tmp_path: Path
) -> None:
    expected = original(imported, "judge").to_dict(orient="records")
    at = ("--endpoint", "judge")
    scored = verb("score", *at, "--data", "unlabelled.csv")
    assert scored["predictions"] == expected
    for words in (
        ("score", *at, "--data", "unlabelled.csv", "--out"),
        ("batch", "--model", "judge/1", "--data", "unlabelled.csv", "--out"),
    ):
        verb(*words, str(tmp_path / f"{words[0]}.csv"))
        table = pd.read_csv(tmp_path / f"{words[0]}.csv")
        assert [json.loads(text) for text in table["prediction"]] == expected
    timed = verb("benchmark", *at, "--requests", "6", "--concurrency", "1")
    assert [run["failed"] for run in timed["runs"]] == [0]
    assert verb("compare", "local", "local", *at, "--data", "rows.csv", "--timed", "0")["passes"]
    proof = verb("export", "--model", "judge", "--out", str(tmp_path / "folder"))
    assert "proof.json" in proof["files"]
    required = (tmp_path / "folder" / "requirements.txt").read_text()
    assert f"mlflow=={mlflow.__version__}" in required
    status = json.dumps(verb("status"))
    assert "the model has code of its own, which MLflow runs" in status


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("probe", "--endpoint", "judge"), "probe"),
        (("score", "--explain", "--endpoint", "judge", "--sample", "1"), "score --explain"),
        (("abtest", "--labels", "rows.csv", "--target", "price", "--a", "judge/1", "--b",
          "prices/1"), "abtest"),
        (("abtest", "--labels", "rows.csv", "--target", "price", "--endpoint", "judge", "--a",
          "blue", "--b", "blue"), "abtest"),
    ],
)  # fmt: skip
def test_verbs_that_judge_answers_refuse_a_python_model_by_name(
    verb: Verb, words: tuple[str, ...], name: str
) -> None:
    refused = verb(*words, code=1)
    assert refused["message"] == f"{CUSTOM}: {name} needs probabilities or numbers"
    assert f"For {name}, import the classifier or the regressor itself." in refused["hint"]
