"""Azure ML's YAML read into graphs: the shapes that people write, and every refusal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from azureml_runner.engine import Asset, Literal, StepOutput
from twinml.errors import PayloadError, UsageError
from twinml.pipeline import DEFINITION, VARIANTS, stage
from twinml.training.metrics import AUTO, HIGHER_IS_BETTER
from twinml_local.jobs.definition.pipeline import PipelineDefinition, read
from twinml_local.jobs.definition.snapshots import keep_code

COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: fit
version: 3
type: command
inputs:
  table: {type: uri_folder}
  rounds: {type: integer, max: 50}
  rate: {type: number, default: 0.01}
  note: {type: string, optional: true}
outputs:
  model: {type: mlflow_model}
code: ./src
environment: azureml:AzureML-sklearn-1.5@latest
command: >-
  python fit.py
  --table ${{inputs.table}}
  --rounds ${{inputs.rounds}}
  --rate ${{inputs.rate}}
  $[[--note ${{inputs.note}}]]
  --model ${{outputs.model}}
"""
PIPELINE = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: fit and score
settings: {default_compute: "azureml:cpu-cluster", continue_on_step_failure: true}
inputs:
  rounds: 20
  table: {type: uri_folder, path: ./table, mode: ro_mount}
outputs:
  fitted: {mode: upload}
jobs:
  fit-it:
    type: command
    component: file:./fit.yml
    compute: azureml:cpu-cluster
    resources: {instance_count: 1}
    limits: {timeout: 60}
    tags: {twinml.max_retries: "2"}
    inputs:
      table: ${{parent.inputs.table}}
      rounds: ${{parent.inputs.rounds}}
    outputs:
      model: ${{parent.outputs.fitted}}
  look:
    type: command
    command: ls ${{inputs.model}} && cat ${{inputs.table}}/x > ${{outputs.seen}}
    environment: {image: ubuntu, conda_file: ./conda.yml}
    inputs:
      model: {path: "${{parent.jobs.fit-it.outputs.model}}", mode: download}
      table: {type: uri_folder, path: ./table}
    outputs:
      seen:
        type: uri_file
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fit.yml").write_text(COMPONENT)
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "fit.py").write_text("print(1)")
    (tmp_path / "table").mkdir()
    return tmp_path


def test_components_in_files_and_commands_in_place_become_one_plan(folder):
    found = read(folder / "pipeline.yml")
    assert found.name == "fit-and-score"
    assert found.continue_on_failure
    assert replace(found, content={**found.content, "settings": None}).continue_on_failure
    stops = {"settings": {"continue_on_step_failure": False}}
    assert not replace(found, content={**found.content, **stops}).continue_on_failure
    plan = found.plan(found.resolve({"rounds": "7"}))
    fit, look = plan.steps
    assert fit.sources == {
        "table": Asset(str(folder / "table"), "uri_folder"),
        "rounds": Literal(7),
        "rate": Literal(0.01),
        "note": None,
    }
    assert (fit.node.timeout_seconds, fit.node.max_retries) == (60.0, 2)
    assert fit.node.code == str(folder / "src")
    assert look.sources["model"] == StepOutput("fit-it", "model")
    assert look.node.environment["conda_file"] == {"dependencies": ["python=3.11"]}
    assert plan.outputs == {"fitted": StepOutput("fit-it", "model")}


def test_a_definition_stands_by_itself(folder, tmp_path):
    found = read(folder / "pipeline.yml", keep_code=lambda code: keep_code(code, tmp_path / "kept"))
    again = PipelineDefinition(found.name, json.loads(json.dumps(found.content)))
    assert again.digest == found.digest
    before = found.plan(found.resolve({})).steps[0].node.code
    (folder / "src" / "fit.py").write_text("print(2)")
    assert (Path(before) / "fit.py").read_text() == "print(1)"
    changed = read(
        folder / "pipeline.yml", keep_code=lambda code: keep_code(code, tmp_path / "kept")
    )
    assert changed.digest != found.digest


def test_a_pipeline_component_is_taken_apart(folder):
    inner = yaml.safe_load(PIPELINE)
    inner = {
        "type": "pipeline",
        "name": "inner",
        "inputs": {"rounds": {"type": "integer", "default": 3}, "table": {"type": "uri_folder"}},
        "outputs": {"fitted": {"type": "mlflow_model"}},
        "jobs": {"fit": inner["jobs"]["fit-it"]},
    }
    (folder / "inner.yml").write_text(yaml.safe_dump(inner))
    outer = {
        "type": "pipeline",
        "jobs": {
            "sub": {
                "type": "pipeline",
                "component": "./inner.yml",
                "inputs": {"table": {"type": "uri_folder", "path": "./table"}},
            },
            "use": {
                "command": "ls ${{inputs.m}}",
                "inputs": {"m": "${{parent.jobs.sub.outputs.fitted}}"},
            },
        },
    }
    (folder / "outer.yml").write_text(yaml.safe_dump(outer))
    found = read(folder / "outer.yml")
    plan = found.plan(found.resolve({}))
    assert [step.name for step in plan.steps] == ["sub.fit", "use"]
    assert plan.step("sub.fit").sources["rounds"] == Literal(3)
    assert plan.step("use").sources == {"m": StepOutput("sub.fit", "model")}


def change(folder: Path, *path: str, value: Any, file: str = "pipeline.yml") -> Path:
    content = yaml.safe_load((folder / file).read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / file).write_text(yaml.safe_dump(content))
    return folder / "pipeline.yml"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("jobs", "look", "type"), "sweep", "jobs.look: type 'sweep' is not supported"),
        (("jobs", "look", "type"), "parallel", "jobs.look: type 'parallel' is not supported"),
        (("jobs", "look", "distribution"), {}, "jobs.look.distribution is not supported"),
        (("jobs", "look", "services"), {}, "jobs.look.services is not supported"),
        (
            ("jobs", "look", "resources"),
            {"instance_count": 4},
            "jobs.look.resources.instance_count 4 is not supported",
        ),
        (("jobs", "look", "limits", "trials"), 3, "jobs.look.limits.trials is not supported"),
        (("jobs", "look", "component"), "azureml:fit:1", "there is no registry of components"),
        (("jobs", "look", "component"), "./none.yml", "there is no file"),
        (("jobs", "look", "code"), "git+https://example.org/x", "jobs.look.code .* not supported"),
        (("jobs", "look", "inputs", "model"), "x-${{parent.inputs.rounds}}", "is not a binding"),
        (("jobs", "look", "tags"), {"twinml.max_retries": "many"}, "found 'many', expected 0 to"),
        (("settings", "on_init"), "look", "settings.on_init is not supported"),
        (("schedule",), {}, "schedule is not supported on this machine"),
        (("type",), "sweep", "type 'sweep' of 'pipeline.yml' is not supported"),
        (("jobs",), {}, "the pipeline has no jobs"),
        (("jobs", "look", "command"), None, "jobs.look: it has no command"),
        (("inputs", "table", "type"), "path", "inputs.table.type 'path' is not supported"),
        (("jobs", "look", "outputs", "seen", "type"), "table", "outputs.seen.type 'table' is not"),
    ],
)  # fmt: skip
def test_what_is_not_done_here_is_refused_by_key_and_place(folder, path, value, message):
    if path == ("jobs", "look", "limits", "trials"):
        change(folder, "jobs", "look", "limits", value={})
    file = change(folder, *path, value=value)
    with pytest.raises(UsageError, match=re.compile(message)):
        read(file)


@pytest.mark.parametrize("text", ["[1]", "a: [", "\x00", "{{"])
def test_a_file_that_is_no_pipeline_is_refused(folder, text):
    (folder / "pipeline.yml").write_text(text)
    with pytest.raises(UsageError, match=r"pipeline\.yml"):
        read(folder / "pipeline.yml")


def test_inputs_are_checked_before_a_job_is_accepted(folder):
    found = read(folder / "pipeline.yml")
    assert found.resolve({"table": "azureml:t:1"})["table"] == {
        "type": "uri_folder",
        "path": "azureml:t:1",
    }
    with pytest.raises(PayloadError) as refused:
        found.resolve({"rounds": "many", "other": 1, "table": {"path": "x", "type": "mltable"}})
    assert [detail.column for detail in refused.value.details] == ["rounds", "other", "table"]
    with pytest.raises(PayloadError, match="expected an absolute path or a URI"):
        found.resolve({"table": "table"})
    # The bound is the component's: it counts as well.
    with pytest.raises(PayloadError, match="'rounds': found 51, expected an integer of at most 50"):
        found.resolve({"rounds": 51})
    assert found.with_inputs({"rounds": 9}).resolve({})["rounds"] == 9


# --- the training pipeline ----------------------------------------------------------------


# The SDK warns of its own classes: of marshmallow 4, and of what is experimental.
@pytest.mark.filterwarnings("ignore")
def test_azures_own_loader_accepts_the_training_pipeline(tmp_path):
    from azure.ai.ml import load_component, load_job

    staged = stage(tmp_path / "staged", variables={"TWINML_PLATFORM": "azure"})
    for file in (DEFINITION, staged):
        job = load_job(file)
        verdict = job._validate()
        assert verdict.passed, verdict
        assert set(job.jobs) == {"prepare", "train", "evaluate", "register", "deploy"}
        for part in sorted((file.parent / "components").glob("*.yml")):
            component = load_component(part)
            assert component._validate().passed
            start = "" if file == DEFINITION else "TWINML_PLATFORM=azure "
            assert component.command.startswith(f"{start}python -m twinml.pipeline.steps.")
    assert (tmp_path / "staged" / "code" / "twinml" / "pipeline" / "steps" / "train.py").is_file()
    with pytest.raises(UsageError, match="is not empty"):
        stage(Path(__file__).parent)


SEARCH = ["prepare", "split", "search", "adopt", "evaluate", "register", "deploy"]


@pytest.mark.filterwarnings("ignore")
def test_azures_own_loader_accepts_the_variant_with_its_automl_node(tmp_path):
    from azure.ai.ml import load_component, load_job

    staged = stage(tmp_path / "staged", definition=VARIANTS["automl"])
    assert staged.name == "pipeline-automl.yml"
    for file in (VARIANTS["automl"], staged):
        job = load_job(file)
        verdict = job._validate()
        assert verdict.passed, verdict
        assert list(job.jobs) == SEARCH
        sent = job._to_rest_object().properties.jobs["search"]
        assert (sent["type"], sent["task"]) == ("automl", "classification")
        assert sent["training_data"] == "${{parent.jobs.split.outputs.table}}"
        assert sent["outputs"] == {"best_model": {"job_output_type": "mlflow_model"}}
    for name in ("split", "adopt"):
        assert load_component(staged.parent / "components" / f"{name}.yml")._validate().passed


def test_the_variant_with_an_automl_node_runs_here_too(tmp_path):
    found = read(VARIANTS["automl"])
    plan = found.plan(found.resolve({"data": "/some/file.csv", "target": "z", "trials": 2}))
    assert [step.name for step in plan.steps] == SEARCH
    assert plan.step("search").sources == {
        "training_data": StepOutput("split", "table"),
        "target_column_name": Literal("z"),
        "limits.max_trials": Literal(2),
        "limits.timeout_minutes": Literal(60),
    }
    assert plan.step("adopt").sources["model"] == StepOutput("search", "best_model")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("task",), "regression", "metric 'AUC_weighted' is not one that regression has here"),
        (("task",), "forecasting", "AutoML tasks of type 'forecasting' are not run here"),
        (("task",), "image_classification", "type 'image_classification' are not run here"),
        (("weight_column_name",), "w", "jobs.search.weight_column_name is not supported"),
        (("validation_data",), "x", "jobs.search.validation_data is not supported"),
        (("limits", "exit_score"), 0.9, "jobs.search.limits.exit_score is not supported"),
        (("limits", "max_trials"), "few", "'max_trials' of the AutoML task is 'few'"),
        (("featurization", "mode"), "off", "jobs.search.featurization is not supported"),
        (("training", "stack_ensemble_settings"), {}, "stack_ensemble_settings is not supported"),
        (("outputs",), {"all": None}, "jobs.search.outputs.all is not supported"),
        (("training_data",), None, "jobs.search: it has no training_data"),
        (("primary_metric",), "beauty", "the primary metric 'beauty'"),
        (("target_column_name",), None, "no target_column_name"),
    ],
)
def test_what_an_automl_node_cannot_have_here_is_refused_by_name(tmp_path, path, value, message):
    staged = stage(tmp_path / "staged", definition=VARIANTS["automl"])
    change(staged.parent, "jobs", "search", *path, value=value, file=staged.name)
    with pytest.raises(UsageError, match=re.escape(message)):
        read(staged)


def test_platforms_are_found_in_code_that_is_not_installed(tmp_path):
    code = stage(tmp_path / "staged", packages=("twinml", "twinml_azure")).parent / "code"
    shown = "import twinml.platform as p; print(p.__file__, *p.available())"
    # Without site-packages, as on a machine that has the code only.
    done = subprocess.run(
        [sys.executable, "-S", "-c", shown], cwd=code, capture_output=True, text=True, check=True
    )
    file, *names = done.stdout.split()
    assert Path(file).is_relative_to(code)
    assert names == ["azure", "rehearsal"]


def test_the_training_pipeline_runs_here_too(tmp_path):
    staged = stage(tmp_path / "staged")
    for file in (DEFINITION, staged):
        found = read(file)
        assert found.name == "training"
        plan = found.plan(found.resolve({"data": "/some/file.csv"}))
        assert [step.name for step in plan.steps] == [
            "prepare",
            "train",
            "evaluate",
            "register",
            "deploy",
        ]
    assert read(staged).plan(read(staged).resolve({})).steps[0].node.code is not None


def test_the_environment_has_the_locked_versions():
    root = Path(__file__).parents[2]
    text = (root / "requirements" / "dev.lock").read_text()
    text += (root / "requirements" / "base.lock").read_text()
    locked = re.findall(r"^([a-z0-9.-]+==\S+)(?: ; python_full_version < '3.12')? \\$", text, re.M)
    conda = yaml.safe_load((DEFINITION.parent / "environment" / "conda.yml").read_text())
    wanted = conda["dependencies"][-1]["pip"]
    assert len(wanted) > 10
    assert set(wanted) <= set(locked)


@pytest.mark.parametrize("component", ["train", "adopt"])
def test_a_pipeline_takes_every_metric_that_there_is(component: str) -> None:
    file = DEFINITION.parent / "components" / f"{component}.yml"
    given = yaml.safe_load(file.read_text(encoding="utf-8"))["inputs"]["metric"]["enum"]
    assert given == [AUTO, *HIGHER_IS_BETTER]
