"""Bodies of jobs read into graphs and tasks, and MLTable folders read into tables."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from azureml_emulator.arm.defaults import filled_job
from azureml_emulator.arm.durations import seconds
from azureml_emulator.errors import ArmError
from azureml_emulator.jobs._automl import check_task
from azureml_emulator.jobs._bindings import OutputTarget
from azureml_emulator.jobs._definitions import read_job
from azureml_runner.engine import Asset, CommandNode, Literal, PipelineNode, make_plan, run_plan
from twinml.errors import DataError
from twinml_local.jobs.automl._task import read_task
from twinml_local.jobs.automl.mltable import read_table

SPEC = {
    "name": "train",
    "type": "command",
    "command": "train ${{inputs.data}} $[[--mode ${{inputs.mode}}]] ${{outputs.model}}",
    "inputs": {"data": {"type": "uri_folder"}, "mode": {"type": "string", "optional": True}},
    "outputs": {"model": {"type": "mlflow_model"}},
}


def no_components(component: str) -> dict[str, Any]:
    raise AssertionError(component)


@pytest.mark.parametrize(
    ("settings", "goes_on"),
    [
        (None, True),
        ({"continue_on_step_failure": None}, True),
        ({"default_compute": "c"}, True),
        ({"continue_on_step_failure": False}, False),
        ({"continueOnStepFailure": "False"}, False),
        ({"continue_on_step_failure": "True"}, True),
    ],
)
def test_branches_go_on_beside_a_failed_step_unless_the_pipeline_says_otherwise(settings, goes_on):
    body = {
        "jobType": "Pipeline",
        "settings": settings,
        "jobs": {"a": {"type": "command", "componentId": "azureml:train:1"}},
    }
    assert read_job(body, lambda _: SPEC).continue_on_failure is goes_on
    noted = filled_job(body, "/w")["properties"]["azureml.continue_on_step_failure"]
    assert noted == str(goes_on)


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("echo world > outputs/a.txt; echo line > logs/b.txt", {"outputs/a.txt", "logs/b.txt"}),
        ("touch ${{ outputs.artifacts }}/c.txt outputs/a.txt", {"c.txt"}),
        ("touch ${{outputs.artifacts_too}}/c.txt outputs/a.txt", {"outputs/a.txt"}),
    ],
)
def test_an_output_of_the_name_artifacts_is_what_the_job_keeps_anyway(
    command: str, kept: set[str], tmp_path: Path
):
    outputs = {"artifacts": None, "artifacts_too": {"jobOutputType": "uri_folder"}}
    body = {"jobType": "Command", "command": command, "outputs": outputs}
    plan = make_plan(read_job(body, no_components).graph)
    done = run_plan(plan, folder=tmp_path / "a folder")
    assert done.status == "Completed", done.error
    folder = done.steps["job"].outputs["artifacts"]
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == kept
    work = next((tmp_path / "a folder").rglob("work"))
    assert (work / "outputs" / "a.txt").is_file()


def test_a_command_job_is_a_graph_of_one_node():
    definition = read_job(
        {
            "jobType": "Command",
            "command": "run ${{inputs.n}} ${{inputs.rows}} $[[${{inputs.more}}]] ${{outputs.out}}",
            "inputs": {
                "n": {"jobInputType": "literal", "value": "3"},
                "rows": {"jobInputType": "uri_file", "uri": "azureml:rows:1"},
            },
            "outputs": {
                "out": {
                    "jobOutputType": "mltable",
                    "uri": "azureml://x/${{name}}",
                    "assetName": "a",
                }
            },
            "limits": {"timeout": "PT1M30S"},
        },
        no_components,
    )
    node = definition.graph.nodes["job"]
    assert isinstance(node, CommandNode)
    assert dict(node.values) == {"n": Literal("3"), "rows": Asset("azureml:rows:1", "uri_file")}
    assert node.timeout_seconds == 90
    assert definition.single
    assert definition.places == {
        ("job", "out"): OutputTarget("azureml://x/${{name}}", "a", None, "mltable")
    }
    make_plan(definition.graph, definition.values)


STEP = {
    "type": "command",
    "command": "run ${{inputs.n}} $[[${{inputs.group.size}}]]",
    "environment": "azureml:e:1",
    "inputs": {
        "n": {"type": "integer", "default": "1"},
        "group.size": {"type": "number", "optional": "True"},
    },
}


def bound(job: dict[str, Any], value: Any = "60", **more: Any) -> Any:
    """Return the graph of a pipeline of one node, and its plan; ``t`` is the pipeline's input."""
    inputs = {"t": {"jobInputType": "literal", "value": value}}
    body = {"jobType": "Pipeline", "inputs": inputs, "jobs": {"a": job}, **more}
    definition = read_job(body, lambda _: STEP)
    plan = make_plan(definition.graph, definition.values, run="r", strict=False)
    return definition.graph.nodes["a"], plan


@pytest.mark.parametrize(
    ("limit", "value", "wanted"),
    [
        (90, "60", 90.0),
        ("PT2M", "60", 120.0),
        ("${{parent.inputs.t}}", "60", 60.0),
        ("${{parent.inputs.t}}", "PT1H", 3600.0),
        ("${{parent.inputs.t}}0", "60", 600.0),
        (None, "60", None),
    ],
)
def test_a_limit_is_a_number_a_duration_or_an_input_of_the_pipeline(limit, value, wanted):
    node, _ = bound({"type": "command", "componentId": "c", "limits": {"timeout": limit}}, value)
    assert node.timeout_seconds == wanted


@pytest.mark.parametrize("limit", ["${{parent.inputs.t}}", "${{parent.inputs.u}}", "soon", [1]])
def test_a_limit_that_is_none_is_refused_and_shown(limit):
    job = {"type": "command", "componentId": "c", "limits": {"timeout": limit}}
    with pytest.raises(ArmError, match="is not a limit in seconds") as caught:
        bound(job, "never")
    assert caught.value.status == 400


def test_an_input_with_a_default_bounds_a_node_of_a_pipeline_within():
    inner = {
        "type": "pipeline",
        "inputs": {"s": {"type": "integer", "default": "7"}, "u": {"type": "integer"}},
        "jobs": {
            name: {
                "type": "command",
                "componentId": "step",
                "limits": {"timeout": f"${{{{parent.inputs.{name}}}}}"},
            }
            for name in ("s", "u")
        },
    }
    body = {
        "jobType": "Pipeline",
        "inputs": {"t": {"jobInputType": "literal", "value": "5"}},
        "jobs": {
            "p": {
                "type": "pipeline", "componentId": "inner",
                "inputs": {"u": {"job_input_type": "literal", "value": "${{parent.inputs.t}}"}},
            }
        },
    }  # fmt: skip
    found = read_job(body, {"inner": inner, "step": STEP}.__getitem__)
    pipeline: Any = found.graph.nodes["p"]
    limits = {name: node.timeout_seconds for name, node in pipeline.graph.nodes.items()}
    assert limits == {"s": 7.0, "u": 5.0}


def sweep(**limits: Any) -> dict[str, Any]:
    return {
        "type": "sweep", "trial": {"componentId": "c"}, "limits": limits,
        "search_space": {"n": ["choice", [[1, 2]]]}, "sampling_algorithm": "random",
        "objective": {"goal": "maximize", "primary_metric": "auc"},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["3", "${{parent.inputs.t}}"])
def test_a_sweeps_count_of_trials_may_be_an_input(text: str):
    node, _ = bound(sweep(max_total_trials=text, max_concurrent_trials=text), "3")
    assert (node.spec.most_trials, node.spec.most_at_once) == (3, 3)


@pytest.mark.parametrize("name", ["max_total_trials", "max_concurrent_trials"])
def test_a_count_that_is_none_is_refused(name: str):
    with pytest.raises(ArmError, match=f"{name} is 'many', not a whole number"):
        bound(sweep(**{name: "many"}))


def test_what_names_no_searched_value_is_left_to_the_trial():
    body = {
        "jobType": "Sweep",
        "objective": {"goal": "Maximize", "primaryMetric": "auc"},
        "searchSpace": {"lr": ["uniform", [0.1, 0.2]]},
        "limits": {"maxTotalTrials": 1},
        "trial": {"command": "run ${{search_space.lr}} ${{search_space.other}}"},
    }
    node: Any = read_job(body, no_components).graph.nodes["job"]
    assert node.spec.trial.command.endswith("run ${{inputs.lr}} ${{search_space.other}}")


@pytest.mark.parametrize(
    ("given", "fed"),
    [
        ({"n": "${{parent.inputs.t}}"}, {"n": Literal("10.01"), "group.size": None}),
        ({"group.size": "${{parent.name}}-${{parent.inputs.t}}"},
         {"n": Literal(1), "group.size": Literal("r-10.01")}),
    ],
)  # fmt: skip
def test_what_is_bound_is_not_held_to_its_type(given, fed):
    inputs = {name: {"job_input_type": "literal", "value": text} for name, text in given.items()}
    outputs = {"unwritten": {"jobOutputType": "uri_folder"}}
    _, plan = bound(
        {"type": "command", "componentId": "c", "inputs": inputs}, "10.01", outputs=outputs
    )
    assert plan.steps[0].sources == fed


def test_a_pipelines_bindings_lead_through_a_pipeline_within_it():
    inner = {
        "type": "pipeline",
        "name": "inner",
        "inputs": {"rows": {"type": "uri_folder"}},
        "outputs": {"model": {"type": "mlflow_model"}},
        "jobs": {
            "fit": {
                "type": "command",
                "component": "azureml:train:1",
                "inputs": {"data": {"path": "${{parent.inputs.rows}}"}},
                "outputs": {"model": "${{parent.outputs.model}}"},
            }
        },
    }
    definition = read_job(
        {
            "jobType": "Pipeline",
            "inputs": {"rows": {"jobInputType": "uri_folder", "uri": "azureml:rows:1"}},
            "outputs": {"best": {"jobOutputType": "mlflow_model", "uri": "azureml://there"}},
            "settings": {"continue_on_step_failure": True},
            "jobs": {
                "part": {
                    "type": "pipeline",
                    "componentId": "azureml:inner:1",
                    "inputs": {
                        "rows": {"value": "${{parent.inputs.rows}}", "job_input_type": "literal"}
                    },
                    "outputs": {"model": {"value": "${{parent.outputs.best}}", "type": "literal"}},
                }
            },
        },
        lambda component: inner if "inner" in component else SPEC,
    )
    assert isinstance(definition.graph.nodes["part"], PipelineNode)
    plan = make_plan(definition.graph, definition.values)
    assert [step.name for step in plan.steps] == ["part.fit"]
    assert plan.steps[0].sources["data"] == Asset("azureml:rows:1", "uri_folder")
    assert plan.outputs["best"].step == "part.fit"
    assert definition.places["", "best"].uri == "azureml://there"
    assert definition.components == {"part": "inner", "part.fit": "train"}
    assert definition.continue_on_failure


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"jobType": "Spark"}, "type 'Spark'"),
        ({"jobType": "Pipeline", "jobs": {"a": {"type": "spark"}}}, "type 'spark'"),
        ({"jobType": "Pipeline", "jobs": {"a": {"type": "if_else"}}}, "type 'if_else'"),
        ({"jobType": "Pipeline", "jobs": {}}, "no jobs"),
        ({"jobType": "Pipeline", "jobs": {"a": {"type": "command"}}}, "names no component"),
        (
            {"jobType": "Command", "command": "x", "limits": {"timeout": "soon"}},
            "not an ISO 8601",
        ),
    ],
)
def test_what_cannot_be_run_is_named(properties, words):
    with pytest.raises(ArmError, match=words):
        read_job(properties, no_components)


def test_durations():
    assert seconds("P1DT2H3M4S") == 93784


def task(**changes: Any) -> dict[str, Any]:
    return {"taskType": "Classification", "targetColumnName": "y", **changes}


def test_a_task_of_the_rest_interface_and_of_a_pipeline_say_the_same():
    rest = task(
        primaryMetric="AUCWeighted",
        nCrossValidations={"mode": "Custom", "value": 3},
        limitSettings={"maxTrials": 4, "timeoutMinutes": 60, "maxConcurrentTrials": 1},
        trainingSettings={
            "enableStackEnsemble": False,
            "blockedTrainingAlgorithms": ["XGBoostClassifier"],
        },
    )
    node = {
        "task": "classification",
        "target_column_name": "y",
        "primary_metric": "AUC_weighted",
        "n_cross_validations": 3,
        "limits": {"max_trials": 4, "timeout_minutes": 60, "max_concurrent_trials": 1},
        "training": {
            "enable_stack_ensemble": False,
            "blocked_training_algorithms": ["xg_boost_classifier"],
        },
    }
    first, second = (read_task(each, most_seconds=50, cores=4) for each in (rest, node))
    assert first == second
    assert (first.trials, first.folds, first.jobs, first.budget) == (4, 3, 1, 50)
    assert first.ensembles == ("VotingEnsemble",)
    assert "XGBoost" not in first.learners
    assert first.remarks == ()


def test_a_regression_is_read_in_both_spellings():
    rest = {
        "taskType": "Regression",
        "targetColumnName": "y",
        "primaryMetric": "R2Score",
        "trainingSettings": {"allowedTrainingAlgorithms": ["XGBoostRegressor", "ElasticNet"]},
    }
    node = {"task": "regression", "target_column_name": "y", "primary_metric": "r2_score"}
    node["training"] = {"allowed_training_algorithms": ["xg_boost_regressor", "elastic_net"]}
    first, second = (read_task(each, most_seconds=50, cores=4) for each in (rest, node))
    assert first == second
    assert (first.kind, first.primary_metric) == ("regression", "r2_score")
    assert set(first.learners) == {"XGBoost", "Ridge"}
    # One algorithm of Azure's may stand for several learners.
    blocked = {"blockedTrainingAlgorithms": ["LightGBM", "ElasticNet"]}
    rest_of = read_task({**rest, "trainingSettings": blocked}, most_seconds=50, cores=4).learners
    assert not [name for name in rest_of if name.startswith(("LightGBM", "Ridge"))]
    assert "XGBoost" in rest_of
    plain = read_task(
        {**rest, "primaryMetric": None, "trainingSettings": {}}, most_seconds=50, cores=4
    )
    assert plain.primary_metric == "normalized_root_mean_squared_error"
    assert "LogisticRegression" not in plain.learners
    with pytest.raises(ArmError, match="'AUC_weighted' is not one that regression has"):
        check_task({**rest, "primaryMetric": "AUC_weighted"})


def test_a_task_without_small_limits_is_bounded_and_says_so():
    read = read_task(task(limitSettings={"maxTrials": 1000}), most_seconds=50, cores=2)
    assert (read.trials, read.budget) == (None, 50)
    assert "ends after 50 s" in read.remarks[0]
    other = read_task(task(), most_seconds=50, cores=2, others=("validation_data",))
    assert any("validation_data" in remark for remark in other.remarks)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taskType": "Forecasting"}, "type 'forecasting'"),
        ({"targetColumnName": None}, "target_column_name"),
        ({"limitSettings": {"maxTrials": "few"}}, "'max_trials' of the AutoML task is 'few'"),
        ({"limitSettings": {"timeout": "soon"}}, "not an ISO 8601 duration"),
        ({"primaryMetric": "Beauty"}, "'Beauty'"),
        ({"weightColumnName": "w"}, "weightColumnName"),
        ({"trainingSettings": {"allowedTrainingAlgorithms": ["SVM"]}}, "SVM"),
    ],
)
def test_a_task_that_would_be_answered_wrongly_is_refused(changes, words):
    with pytest.raises(ArmError, match=words):
        check_task(task(**changes))


def test_an_mltable_joins_its_files_and_drops_columns(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"part{number}.csv").write_text(f"a;b\n{number};x\n")
    (tmp_path / "MLTable").write_text(
        "paths:\n  - pattern: ./part*.csv\ntransformations:\n"
        "  - read_delimited:\n      delimiter: ';'\n  - drop_columns: b\n"
    )
    pd.testing.assert_frame_equal(read_table(tmp_path), pd.DataFrame({"a": [1, 2]}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("paths: []\n", "no 'paths'"),
        ("paths:\n  - file: https://example.com/a.csv\n", "not in its own folder"),
        ("paths:\n  - file: ./none.csv\n", "not there"),
        ("paths:\n  - file: ./a.csv\ntransformations:\n  - skip: 3\n", "'skip'"),
        ("paths:\n  - file: ./a.csv\ntransformations:\n  - read_delta_lake: {}\n", "'read_delta"),
    ],
)
def test_an_mltable_that_cannot_be_read_says_why(tmp_path: Path, text: str, words: str):
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "MLTable").write_text(text)
    with pytest.raises(DataError, match=words):
        read_table(tmp_path)
