"""Runs and registered models in a real MLflow store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.conftest import make_table
from twinml import model
from twinml.cli import main
from twinml.data import Dataset, load
from twinml.errors import ModelError, NotFound
from twinml.model.azure_requirements import MONITORING
from twinml.platform import ModelReference, TrainedModel
from twinml.registry import training_run
from twinml.registry.tracking import Tracking
from twinml.training import TrainingOptions

QUICK = TrainingOptions(trials=2, learners=("LightGBM", "LogisticRegression"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("tracking") / "customers.csv"
    make_table().to_csv(path, index=False)
    return load(path, "y")


def test_a_run_is_logged_with_nested_candidates_and_all_artifacts(dataset: Dataset) -> None:
    tracking = Tracking()
    done = training_run.run(dataset, QUICK, tracking)
    run_id = done.run_id
    run = tracking.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["trials"] == "2"
    assert run.data.metrics["test_roc_auc"] == done.result.test.metrics["roc_auc"].value
    children = tracking.client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    assert sorted(child.data.tags["mlflow.runName"] for child in children) == [
        "LightGBM",
        "LogisticRegression",
        "StackEnsemble",
        "VotingEnsemble",
    ]
    assert all(child.info.status == "FINISHED" for child in children)
    top = {item.path for item in tracking.client.list_artifacts(run_id)}
    assert top == {"model", "training"}
    assert model.digest(done.directory) == done.digest


def test_mlflows_pages_show_kind_data_source_and_both_estimates(dataset: Dataset) -> None:
    tracking = Tracking()
    done = training_run.run(dataset, QUICK, tracking)
    assert done.run_id is not None
    run = tracking.client.get_run(done.run_id)
    experiment = tracking.client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    learned, judged = sorted(run.inputs.dataset_inputs, key=lambda one: one.dataset.name)
    assert [one.tags[0].value for one in (learned, judged)] == ["training", "evaluation"]
    assert learned.dataset.digest == dataset.digest[:36]
    assert json.loads(learned.dataset.source) == {"uri": str(dataset.source)}
    columns = json.loads(learned.dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns] == ["age", "income", "job", "member"]
    sizes = [json.loads(one.dataset.profile)["num_rows"] for one in (learned, judged)]
    assert sizes == [600, 120]  # the model has seen all rows, its figures are of its recipe
    assert run.data.tags["mlflow.source.type"] == "LOCAL"
    assert run.data.tags["mlflow.source.name"]
    version = tracking.register("bank", run_id=done.run_id, digest=done.digest, metric="roc_auc")
    said = tracking.client.get_model_version("bank", version.version).description
    assert f"roc_auc on test rows {run.data.metrics['test_roc_auc']:.4f}" in said
    assert "Learned from all rows; figures of its recipe" in said
    assert f"/runs/{done.run_id}/artifacts/report/report.html" in said


def test_the_same_run_is_found_and_any_difference_is_not(dataset: Dataset) -> None:
    tracking = Tracking()
    first = training_run.run(dataset, QUICK, tracking)
    again = training_run.run(dataset, QUICK, tracking)
    assert (first.reused, again.reused) == (False, True)
    assert again.run_id == first.run_id
    assert again.directory == first.directory
    assert again.result.test.metrics == first.result.test.metrics
    marks = {
        training_run.fingerprint(dataset, QUICK),
        training_run.fingerprint(dataset, replace(QUICK, seed=1)),
        training_run.fingerprint(replace(dataset, digest="0" * 64), QUICK),
        training_run.fingerprint(load(dataset.source, "y", drop=["job"]), QUICK),
    }
    assert len(marks) == 4
    assert not training_run.run(dataset, QUICK, tracking, again=True).reused


def test_a_found_run_brings_its_model_back(dataset: Dataset) -> None:
    import shutil

    tracking = Tracking()
    first = training_run.run(dataset, QUICK, tracking)
    shutil.rmtree(first.directory)
    again = training_run.run(dataset, QUICK, tracking)
    assert again.reused
    assert model.digest(again.directory) == first.digest


def two_models(dataset: Dataset, tracking: Tracking) -> list[TrainedModel]:
    """Return two runs with different models, the worse first."""
    runs = [
        training_run.run(dataset, TrainingOptions(trials=1, learners=(name,)), tracking)
        for name in ("LightGBM", "LogisticRegression")
    ]
    return sorted(runs, key=lambda one: one.result.test.metrics["roc_auc"].value)


def test_versions_champion_and_challenger(dataset: Dataset) -> None:
    tracking = Tracking()
    first, second = two_models(dataset, tracking)

    def register(done: TrainedModel):
        return tracking.register("bank", run_id=done.run_id, digest=done.digest, metric="roc_auc")

    v1 = register(first)
    assert (v1.version, v1.aliases) == ("1", ("champion",))
    assert register(first) == v1
    v2 = register(second)
    assert (v2.version, v2.aliases) == ("2", ("champion",))
    assert tracking.resolve(ModelReference.parse("bank/1")).aliases == ("challenger",)
    assert tracking.resolve(ModelReference.parse("bank")).version == "2"
    assert tracking.resolve(ModelReference.parse("bank@challenger")).version == "1"
    assert [version.version for version in tracking.versions("bank")] == ["2", "1"]


def test_a_worse_model_becomes_challenger_only(dataset: Dataset) -> None:
    tracking = Tracking()
    worse, better = two_models(dataset, tracking)
    tracking.register("m", run_id=better.run_id, digest=better.digest, metric="roc_auc")
    late = tracking.register("m", run_id=worse.run_id, digest=worse.digest, metric="roc_auc")
    assert late.aliases == ("challenger",)
    assert tracking.resolve(ModelReference.parse("m")).version == "1"


@pytest.mark.parametrize("reference", ["nobody", "nobody/1", "nobody@champion"])
def test_an_unknown_model_is_named_with_those_that_there_are(reference: str) -> None:
    with pytest.raises(NotFound, match="nobody"):
        Tracking().resolve(ModelReference.parse(reference))


def test_the_models_command_refuses_a_name_that_is_not_registered(tmp_path: Path) -> None:
    def models(*arguments: str) -> tuple[int, Any]:
        done = CliRunner().invoke(main, ["models", *arguments, "--json"])
        return done.exit_code, json.loads(done.stdout)

    assert models() == (0, [])
    code, error = models("nope")
    assert (code, error["hint"]) == (1, "Registered: none.")
    tracking = Tracking()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    run_id = tracking.upload("bank", tmp_path / "model", digest="d" * 64)
    tracking.register("bank", run_id=run_id, digest="d" * 64)
    code, shown = models("bank")
    assert (code, [one["version"] for one in shown]) == (0, ["1"])
    code, error = models("nope")
    assert (code, error["error_code"]) == (1, "RESOURCE_DOES_NOT_EXIST")
    assert error["message"] == "there is no registered model 'nope'"
    assert error["hint"] == "Registered: bank."
    for reference in ("bank/1", "bank@champion"):
        code, error = models(reference)
        assert code == 1
        assert error["hint"] == (
            "Give a name only, without version or alias: twinml models bank. Registered: bank."
        )


def test_a_run_that_breaks_off_is_marked_failed_and_never_found(
    dataset: Dataset, tmp_path: Path
) -> None:
    tracking = Tracking()
    done = training_run.run(dataset, QUICK, tracking)
    with pytest.raises(ModelError, match="nowhere"):
        tracking.log(
            done.result,
            dataset,
            tmp_path / "nowhere",
            fingerprint="broken",
            digest=done.digest,
        )
    assert tracking.find(dataset.name, "broken") is None
    runs = tracking.client.search_runs(
        [tracking.client.get_run(done.run_id).info.experiment_id],
        "tags.`twinml.fingerprint` = 'broken'",
    )
    assert [run.info.status for run in runs] == ["FAILED"]


def test_models_that_were_judged_on_other_rows_or_features_do_not_compete(
    dataset: Dataset,
) -> None:
    """The better figure of an easier question makes nobody champion."""
    tracking = Tracking()
    honest = TrainingOptions(trials=1, learners=("LogisticRegression",))
    runs = [
        training_run.run(load(dataset.source, "y", drop=["age", "income"]), honest, tracking),
        training_run.run(dataset, honest, tracking),
        training_run.run(dataset, replace(honest, seed=5), tracking),
        training_run.run(dataset, replace(honest, split="ordered"), tracking),
    ]
    for done in runs:
        version = tracking.register("m", run_id=done.run_id, digest=done.digest, metric="roc_auc")
    assert version.version == "4"
    assert tracking.resolve(ModelReference.parse("m@champion")).version == "1"


def test_a_model_whose_files_are_gone_or_changed_is_trained_again(dataset: Dataset) -> None:
    tracking = Tracking()
    first = training_run.run(dataset, QUICK, tracking)
    (first.directory / "requirements.txt").write_text("x==1\n", encoding="utf-8")
    again = training_run.run(dataset, QUICK, tracking)
    assert not again.reused
    assert model.digest(again.directory) == first.digest


def test_what_is_uploaded_to_azures_store_requires_what_its_script_imports(
    dataset: Dataset, tmp_path: Path
) -> None:
    done = training_run.run(dataset, QUICK, Tracking())
    required = {}
    for scheme in ("sqlite", "azureml"):
        tracking = Tracking()
        tracking.uri = tracking.uri.replace("sqlite", scheme)
        run_id = tracking.upload("uploads", done.directory, digest=done.digest)
        source = Tracking().client.get_run(run_id).info.artifact_uri
        fetched = Tracking().download(f"{source}/model", tmp_path / scheme)
        assert model.digest(fetched) == done.digest
        required[scheme] = (fetched / "requirements.txt").read_text(encoding="utf-8").split()
    assert required["azureml"] == [*required["sqlite"], MONITORING]


def test_names_go_beyond_one_page() -> None:
    tracking = Tracking()
    for number in range(105):
        tracking.client.create_registered_model(f"m{number:03}")
    assert len(tracking.names()) == 105
