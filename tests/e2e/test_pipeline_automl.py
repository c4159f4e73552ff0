"""The training pipeline whose search is Azure's ``automl`` node, run on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from twinml import model
from twinml.cli import main
from twinml.pipeline.steps.adopt import command as adopt
from twinml.pipeline.steps.prepare import command as prepare
from twinml.pipeline.steps.split import command as split
from twinml.platform import ModelReference
from twinml.registry.tracking import Tracking

pytestmark = pytest.mark.e2e

NAME = "training-automl"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    twinml(folder, "stop")


def twinml(home: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"], env={"TWINML_HOME": str(home)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_the_automl_node_searches_and_its_model_becomes_champion(
    home: Path, table_csv: Path, tmp_path: Path
) -> None:
    published = twinml(
        home, "pipeline", "publish", "--variant", "automl", "--data", str(table_csv),
        "--target", "y", "-i", "trials=2", "-i", "model_name=customers",
    )  # fmt: skip
    assert published["name"] == NAME
    job = twinml(home, "pipeline", "run", NAME, "--wait")
    steps = {step["name"]: step["status"] for step in job["steps"]}
    assert steps == dict.fromkeys(
        ("prepare", "split", "search", "adopt", "evaluate", "register", "deploy"), "Completed"
    )

    for output in ("registration", "model", "holdout"):
        twinml(home, "pipeline", "download", NAME, job["id"], output, "--to", str(tmp_path))
    held = json.loads((tmp_path / "registration").read_text())
    assert (held["model"], held["version"], held["alias"]) == ("customers", "1", "champion")
    directory = tmp_path / "model"
    assert model.digest(directory) == held["digest"]
    # The figures are those of the rows held out, none of which the search saw.
    rows = pd.read_parquet(tmp_path / "holdout")
    learned = pd.read_csv(table_csv)
    assert len(rows) == round(0.2 * len(learned))
    contract = model.load_contract(directory)
    scored = model.load_predictor(directory, model.digest(directory)).predict_proba(
        rows[list(contract.column_names)]
    )
    right = np.asarray(contract.classes)[scored.argmax(axis=1)] == rows["y"]
    assert right.mean() == pytest.approx(held["candidate"]["accuracy"])
    assert held["candidate"]["roc_auc"] > 0.6

    tracking = Tracking(f"sqlite:///{home / 'mlflow.db'}")
    assert tracking.resolve(ModelReference.parse("customers")).digest == held["digest"]
    assert tracking.metrics(held["run_id"])["test_roc_auc"] == held["candidate"]["roc_auc"]
    found = tracking.client.get_experiment_by_name(NAME)
    assert found is not None
    [search] = tracking.client.search_runs([found.experiment_id], "tags.`twinml.step` = 'search'")
    assert search.data.tags["best_algorithm"] == model.metadata(directory)["best"]
    assert 0.5 < search.data.metrics["AUC_weighted"] <= 1


# --- adopting models that others made -----------------------------------------------------


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.select_dtypes("number")


@pytest.fixture
def split_rows(table_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the steps before the search; return what the step adopt is given, but the model."""
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "home"))
    places = {name: tmp_path / name for name in ("prepared", "table", "holdout")}
    given = {"data": table_csv, "target": "y", "prepared": places["prepared"]}
    for step, options in ((prepare, given), (split, places)):
        done = CliRunner().invoke(step, [f"--{name}={value}" for name, value in options.items()])
        assert done.exit_code == 0, done.output
    outputs = {"adopted": tmp_path / "adopted", "training": tmp_path / "training"}
    return [f"--{name}={value}" for name, value in {**places, **outputs}.items()]


def test_a_plain_mlflow_model_is_adopted_unless_it_needs_packages_that_are_not_carried(
    split_rows: list[str], tmp_path: Path
) -> None:
    rows = pd.read_parquet(tmp_path / "table" / "rows.parquet")

    def adopted(select: Any) -> tuple[Any, Any]:
        pipeline = make_pipeline(select, SimpleImputer(), LogisticRegression(max_iter=500))
        pipeline.fit(rows.drop(columns="y"), rows["y"])
        place = tmp_path / type(select).__name__
        mlflow.sklearn.save_model(
            pipeline, place, serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
        )
        return pipeline, CliRunner().invoke(adopt, [*split_rows, f"--model={place}"])

    # Its objects are of this file: of a package that no requirements of twinml's list.
    _, refused = adopted(FunctionTransformer(numbers))
    assert refused.exit_code == 1
    assert "error: the model holds objects of tests" in refused.output
    assert not (tmp_path / "training").exists()

    selected = ("numbers", "passthrough", make_column_selector(dtype_include="number"))
    plain, done = adopted(ColumnTransformer([selected]))
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "training").read_text())
    assert model.digest(tmp_path / "adopted") == facts["digest"]
    held = pd.read_parquet(tmp_path / "holdout")
    right = plain.predict(held.drop(columns="y")) == held["y"]
    assert facts["test"]["accuracy"] == pytest.approx(right.mean())
    assert Tracking().metrics(facts["run_id"])["test_roc_auc"] == facts["test"]["roc_auc"]
