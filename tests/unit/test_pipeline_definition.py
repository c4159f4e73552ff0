"""Pipeline definitions: what is accepted, what is refused and with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinml.errors import PayloadError, UsageError
from twinml.pipeline import PipelineDefinition, PipelineInput, PipelineStep, training_pipeline


def content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "demo",
        "description": "a demonstration",
        "inputs": {
            "text": {"type": "string", "description": "required"},
            "trials": {"type": "integer", "default": 20},
            "rate": {"type": "number", "default": 0.5},
            "quick": {"type": "boolean", "default": False},
        },
        "steps": [
            {"name": "first", "command": ["echo", "${{inputs.text}}"], "timeout_seconds": 5},
            {"name": "second", "command": ["${{python}}", "-c", "x", "${{ job.id }}"]},
        ],
        **changes,
    }


def definition(**changes: Any) -> PipelineDefinition:
    return PipelineDefinition.from_dict(content(**changes))


def test_a_definition_survives_json():
    first = definition()
    again = PipelineDefinition.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert again.digest == first.digest


def test_the_digest_changes_with_any_content():
    digests = {
        definition().digest,
        definition(description="another").digest,
        definition(name="other").digest,
        definition(inputs={**content()["inputs"], "more": {"default": "x"}}).digest,
    }
    assert len(digests) == 4


def test_a_name_given_apart_replaces_the_one_inside():
    assert PipelineDefinition.from_dict(content(), name="other").name == "other"


def test_inputs_are_checked_and_defaults_filled_in():
    resolved = definition().resolve({"text": "a", "trials": 3})
    assert resolved == {"text": "a", "trials": 3, "rate": 0.5, "quick": False}
    assert list(resolved) == ["text", "trials", "rate", "quick"]


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("integer", "7", 7),
        ("integer", "-7", -7),
        ("integer", 7.0, 7),
        ("number", "0.25", 0.25),
        ("number", 3, 3.0),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("string", "", ""),
        ("string", "ünï $(rm) ${{job.id}}", "ünï $(rm) ${{job.id}}"),
    ],
)
def test_values_and_their_text_are_read(kind, given, value):
    parsed = PipelineInput("x", kind).parse(given)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("integer", "abc"),
        ("integer", 2.5),
        ("integer", True),
        ("integer", "1_000"),
        ("integer", None),
        ("integer", float("inf")),
        ("number", "nan"),
        ("number", float("inf")),
        ("number", False),
        ("number", 10**400),
        ("boolean", 1),
        ("boolean", "yes"),
        ("string", 3),
        ("string", ["a"]),
        ("string", "a\0b"),
        ("string", "\ud800"),
        ("string", "x" * 16_385),
    ],
)
def test_values_of_another_type_are_refused(kind, given):
    with pytest.raises(ValueError, match=r"integer|number|true or false|string|text"):
        PipelineInput("x", kind).parse(given)


def test_every_wrong_input_is_named_with_value_and_expectation():
    with pytest.raises(PayloadError) as caught:
        definition().resolve({"trials": "many", "speed": 3})
    details = {item.column: (item.value, item.expected) for item in caught.value.details}
    assert details == {
        "speed": (3, "one of: text, trials, rate, quick"),
        "text": (None, "a string"),
        "trials": ("many", "an integer"),
    }
    assert "there is no input 'speed'" in caught.value.message
    assert "input 'text' is missing: expected a string" in caught.value.message
    assert "input 'trials': found 'many', expected an integer" in caught.value.message
    assert caught.value.status == 400


def test_a_refused_value_is_sent_back_short_and_as_valid_json():
    with pytest.raises(PayloadError) as caught:
        definition().resolve({"text": {"deep": "x" * 5000}, "rate": float("nan")})
    assert len(json.dumps(caught.value.to_dict(), allow_nan=False)) < 1000


def test_an_inputs_value_stays_one_argument_and_is_not_read_again():
    demo = definition()
    values = demo.resolve({"text": "a b; ${{inputs.trials}} $HOME"})
    place = {"job_id": "7", "directory": "/d", "python": "/py"}
    assert demo.command(demo.steps[0], inputs=values, **place) == (
        "echo",
        "a b; ${{inputs.trials}} $HOME",
    )
    assert demo.command(demo.steps[1], inputs=values, **place) == ("/py", "-c", "x", "7")


def test_values_are_written_as_a_command_line_reads_them():
    step = PipelineStep("s", ("x", "${{inputs.a}}-${{inputs.b}}-${{inputs.c}}"))
    inputs = (
        PipelineInput("a", "boolean", default=True),
        PipelineInput("b", "number", default=0.1),
        PipelineInput("c", "integer", default=12),
    )
    demo = PipelineDefinition("demo", (step,), inputs)
    command = demo.command(step, inputs=demo.resolve({}), job_id="", directory="", python="")
    assert command == ("x", "true-0.1-12")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../up"}, "pipeline name '../up' is not valid"),
        ({"name": 3}, "name: found 3, expected text"),
        ({"speed": 1}, "unknown key 'speed'"),
        ({"steps": []}, "has no steps"),
        ({"steps": "echo"}, "expected a list of steps"),
        ({"steps": [{"name": "s"}]}, "command of step 0: found None, expected a list of text"),
        ({"steps": [{"name": "s", "command": []}]}, "step 's' has no command"),
        ({"steps": [{"name": "s", "command": "echo hi"}]}, "expected a list of text"),
        ({"steps": [{"name": "s", "command": ["echo", 1]}]}, "found 1, expected text"),
        ({"steps": [{"name": "s/..", "command": ["x"]}]}, "step name 's/..' is not valid"),
        ({"steps": [{"name": "s", "command": ["x"]}] * 2}, "two steps called 's'"),
        (
            {"steps": [{"name": "s", "command": ["x", "${{inputs.no}}"]}]},
            "there is no value '${{inputs.no}}'",
        ),
        (
            {"steps": [{"name": "s", "command": ["x"], "timeout_seconds": 0}]},
            "timeout_seconds is 0",
        ),
        (
            {"steps": [{"name": "s", "command": ["x"], "timeout_seconds": "1h"}]},
            "found '1h', expected a number of seconds",
        ),
        ({"inputs": []}, "expected an object of inputs by name"),
        ({"inputs": {"a-b": {}}}, "input name 'a-b' is not valid"),
        ({"inputs": {"x": {"type": "float"}}}, "input 'x' has type 'float'"),
        ({"inputs": {"x": {"typ": "string"}}}, "input 'x' has an unknown key 'typ'"),
        (
            {"inputs": {"x": {"type": "integer", "default": "3"}}},
            "default of input 'x': found '3', expected an integer",
        ),
        ({"inputs": {"x": {"type": "boolean", "default": 1}}}, "expected true or false"),
    ],
)
def test_an_invalid_definition_is_refused_and_says_where(changes, words):
    with pytest.raises(UsageError) as caught:
        definition(**changes)
    assert words in caught.value.message


def test_the_training_pipeline_runs_twinml_train_with_its_inputs():
    training = training_pipeline(target="y")
    with pytest.raises(PayloadError, match="input 'data' is missing"):
        training.resolve({})
    values = training.resolve({"data": "--odd.csv", "budget": "5s"})
    place = {"job_id": "7", "directory": "/d", "python": "/py"}
    command = training.command(training.steps[0], inputs=values, **place)
    assert command[:4] == ("/py", "-m", "twinml", "train")
    assert command[-1] == "--json"
    given = dict(part.removeprefix("--").split("=", 1) for part in command[4:-1])
    assert given["data"] == "--odd.csv"
    assert given["budget"] == "5s"
    assert given["name"] == "training"


def test_the_training_pipelines_command_is_one_that_train_takes():
    """Every part is an option of the real verb, with a value that it accepts as default."""
    from twinml.cli.train import command as verb

    training = training_pipeline(target="y", settings={"split": "ordered", "seed": "7"})
    values = training.resolve({"data": "rows.csv"})
    place = {"job_id": "7", "directory": "/d", "python": "/py"}
    command = training.command(training.steps[0], inputs=values, **place)
    parsed = verb.make_context("train", list(command[4:])).params
    assert (parsed["split"], parsed["seed"], parsed["metric"]) == ("ordered", 7, "roc_auc")
    assert (parsed["class_weight"], parsed["learners"], parsed["as_json"]) == ("none", "", True)


def test_the_training_pipelines_data_is_kept_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = training_pipeline(data=Path("rows.csv"), target="y")
    assert training.resolve({})["data"] == str(tmp_path.resolve() / "rows.csv")
