"""Inputs that no job could run with are refused before it is accepted, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from twinml.errors import DataError, PayloadError, UsageError
from twinml.pipeline import VARIANTS
from twinml.pipeline.steps import prepare
from twinml.pipeline.steps._command import step
from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.automl.mltable import read_table
from twinml_local.jobs.definition.pipeline import PipelineDefinition, read
from twinml_local.jobs.rest.app import create_app
from twinml_local.keys import generate_keys

SECRET = "marker-7f3a-of-a-secret"
COLUMNS = "age,job,when,answer"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "calls.csv"
    rows = [f"{20 + n % 40},j{n % 3},{n},{'yes' if n % 3 else 'no'}" for n in range(60)]
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return path


class Service:
    """The REST API with the training pipeline, published for a table."""

    def __init__(self, home: Path, table: Path) -> None:
        directory = home / "pipelines"
        self.store = JobStore(directory / "service.db")
        self.runner = Runner(self.store, directory)
        key = generate_keys(directory / "keys.json").primary
        self._headers = {"Authorization": f"Bearer {key}"}
        self._http = create_app(self.store, self.runner, directory / "keys.json").test_client()
        published = read(VARIANTS["twinml"], name="training").with_inputs(
            {"data": str(table), "target": "answer"}
        )
        self.store.publish(published)

    def call(self, method: str, path: str, body: Any) -> Any:
        return self._http.open(
            f"/pipelines/training{path}", method=method, json=body, headers=self._headers
        )

    def close(self) -> None:
        self.runner.close()
        self.store.close()


@pytest.fixture
def service(tmp_path, monkeypatch, table):
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TWINML_PIPELINE_TRACKING", "off")
    made = Service(tmp_path / "home", table)
    yield made
    made.close()


def three_forms(name: str, value: Any) -> list[tuple[str, str, Any]]:
    literal = {"JobInputType": "Literal", "Value": value}
    path = {"JobInputType": "UriFile", "Uri": value}
    return [
        ("POST", "/jobs", {"inputs": {name: value}}),
        (
            "POST",
            "/jobs",
            {"properties": {"InputData": {name: path if name == "data" else literal}}},
        ),
        ("POST", "/jobs", {"ExperimentName": "e", "ParameterAssignments": {name: value}}),
        ("PUT", "/schedules/nightly", {"every": "1d", "inputs": {name: value}}),
    ]


IMPOSSIBLE = [
    ("budget", "soon", "a time such as 60s, 5m or 1h"),
    ("budget", "-5s", "a time such as"),
    ("budget", "0s", "a time above 0"),
    ("seed", -1, "an integer of at least 0 and at most 2.14748e+09"),
    ("seed", 2**31, "an integer of at least 0 and at most"),
    ("seed", "x", "an integer"),
    ("trials", -1, "an integer of at least 0"),
    ("percent", 101, "an integer of at least 0 and at most 100"),
    ("percent", -1, "an integer of at least 0 and at most 100"),
    ("percent", 5.5, "an integer"),
    ("mode", "both", "one of: traffic, mirror"),
    ("metric", "luck", "one of: auto, roc_auc"),
    ("class_weight", "heavy", "one of: none, balanced"),
    ("min_gain", -0.1, "a number of at least 0"),
    ("threshold", "1.0", "a number between 0 and 1, or one of: accuracy"),
    ("threshold", "0", "a number between 0 and 1"),
    ("learners", "oracle", "all, or some of: "),
    ("split", "sideways", "random, ordered, column:NAME or group:NAME"),
    ("split", "column:wen", "Did you mean 'when'?"),
    ("split", "group:jobb", "Did you mean 'job'?"),
    ("target", "anwser", "one of the 4 columns. Did you mean 'answer'?"),
    ("drop", "job,agee", "Did you mean 'age'?"),
    ("model_name", "a/b", "letters, digits"),
    ("endpoint", "1 2", "3 to 32 letters"),
    ("data", "azureml:nowhere:1", "data that is there"),
    ("data", "/nowhere/at/all.csv", "there is no file or folder"),
    ("data", "https://example.invalid/x.csv", "is not on this machine"),
]


@pytest.mark.parametrize(("name", "value", "expected"), IMPOSSIBLE)
def test_an_impossible_value_is_refused_by_name_in_every_form(service, name, value, expected):
    for method, path, body in three_forms(name, value):
        reply = service.call(method, path, body)
        assert reply.status_code == 400, (body, reply.text)
        detail = next(one for one in reply.json["details"] if one["column"] == name)
        assert str(detail["value"]) == str(value)
        assert expected in detail["expected"]
        assert f"input '{name}': found" in reply.json["message"]
    assert service.store.jobs() == []
    assert service.store.schedules() == []
    definition, _ = service.store.definition("training")
    with pytest.raises(PayloadError, match=f"input '{name}': found"):
        definition.with_inputs({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", "1"),
        ("seed", 2**31 - 1),
        ("percent", 100),
        ("percent", 0),
        ("threshold", "f1"),
        ("threshold", "0.01"),
        ("split", "ordered"),
        ("split", "column:when"),
        ("split", "group:job"),
        ("drop", "none"),
        ("drop", "job, age"),
        ("target", "job"),
        ("endpoint", "bank-full"),
    ],
)
def test_a_possible_value_is_accepted_in_every_form(service, name, value):
    statuses = [service.call(*form).status_code for form in three_forms(name, value)]
    assert statuses == [201, 201, 200, 201]


NO_DATA = [
    f"{SECRET}\n1\n",
    f"{SECRET},{SECRET}\n1,2\n",
    f"user {SECRET}\nhost 127.0.0.1\n",
    f'{{"key": "{SECRET}"}}',
    f"<key>{SECRET}</key>",
    f"PAR1{SECRET}",
    f'a,b\n"{SECRET}\n',
    f"a,b\n{SECRET}\n",
]


@pytest.mark.parametrize("content", NO_DATA)
def test_no_error_quotes_a_file_that_is_no_data(service, tmp_path, content):
    file = tmp_path / "private"
    file.write_text(content)
    reply = service.call("POST", "/jobs", {"inputs": {"data": str(file)}})
    assert reply.status_code == 400
    assert "'data': found" in reply.text or "'target': found" in reply.text
    assert SECRET not in reply.text


@pytest.mark.parametrize("content", NO_DATA)
def test_no_step_and_no_table_quotes_a_file_that_is_no_data(tmp_path, content):
    file = tmp_path / "rows.csv"
    file.write_text(content)
    prepared = ["--target", "b", "--data", str(file), "--prepared", str(tmp_path / "out")]
    result = CliRunner().invoke(prepare.command, prepared)
    assert result.exit_code == 1
    assert "error: 'rows.csv'" in result.output
    assert SECRET not in result.output
    readers = ["read_parquet"] + ["read_json_lines"] * (content[0] != "{")
    for name in readers:
        (tmp_path / "MLTable").write_text(f"paths: [file: ./rows.csv]\ntransformations: [{name}]")
        with pytest.raises(DataError, match=r"'rows\.csv' cannot be read as") as caught:
            read_table(tmp_path)
        assert SECRET not in str(caught.value)
    (tmp_path / "MLTable").write_text(f"paths: [{SECRET}: {{")
    with pytest.raises(DataError, match="is not YAML, line") as caught:
        read_table(tmp_path)
    assert SECRET not in str(caught.value)


def test_the_words_of_an_unforeseen_error_stay_out_of_a_steps_log(capsys):
    @step
    def convert() -> None:
        float(SECRET)

    with pytest.raises(SystemExit):
        convert()
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "error: ValueError" in said
    assert "float(SECRET)" in said, "where it happened is told"


def test_what_is_checked_is_the_publishers_choice():
    def published(**tags: str) -> PipelineDefinition:
        job = {"command": "true", "inputs": {"wait": "${{parent.inputs.wait}}"}}
        return PipelineDefinition(
            "own",
            {"type": "pipeline", "inputs": {"wait": "5m"}, "jobs": {"s": job}, "tags": tags},
        )

    assert published().accepted({"wait": "soon"}) == {"wait": "soon"}
    checked = published(**{"twinml.check.wait": "time", "team": "ours"})
    assert checked.accepted({"wait": "1h"}) == {"wait": "1h"}
    with pytest.raises(PayloadError, match="input 'wait': found 'soon', expected a time such as"):
        checked.accepted({"wait": "soon"})
    with pytest.raises(UsageError, match="no input 'wiat'"):
        published(**{"twinml.check.wiat": "time"})
    with pytest.raises(UsageError, match="there is no check 'tiem'"):
        published(**{"twinml.check.wait": "tiem"})
    with pytest.raises(UsageError, match="there is no check 'column'"):
        published(**{"twinml.check.wait": "column"})


@pytest.mark.parametrize("key", ["default", "value"])
def test_an_input_may_be_declared_with_type_limits_and_default(key):
    job = {"command": "echo ${{inputs.n}}", "inputs": {"n": "${{parent.inputs.n}}"}}
    declared = {"type": "integer", key: 3, "min": 1, "max": 5}
    content = {"type": "pipeline", "inputs": {"n": declared}, "jobs": {"s": job}}
    made = PipelineDefinition("limits", content)
    assert made.accepted({}) == {"n": 3}
    assert made.accepted({"n": "5"}) == {"n": 5}
    assert made.inputs() == {"n": {"type": "integer", "min": 1.0, "max": 5.0, "default": 3}}
    for wrong in (0, 6, 2.5, "x"):
        with pytest.raises(PayloadError, match=r"input 'n': found .*, expected an integer"):
            made.accepted({"n": wrong})
    again = made.with_inputs({"n": 4})
    assert again.accepted({}) == {"n": 4}
    with pytest.raises(PayloadError):
        again.accepted({"n": 6})
    with pytest.raises(UsageError, match=r"inputs\.n: found '9', expected an integer"):
        PipelineDefinition("limits", {**content, "inputs": {"n": {**declared, key: 9}}})


def test_the_name_in_a_file_counts(tmp_path):
    from twinml.pipeline.naming import name_of_file

    file = tmp_path / "some-file.yml"
    file.write_text(json.dumps({"name": "counts", "jobs": {"s": {"command": "true"}}}))
    assert name_of_file(file) == read(file).name == "counts"
    file.write_text("jobs: {s: {command: 'true'}}")
    assert name_of_file(file) == read(file).name == "some-file"
    assert name_of_file(tmp_path / "none.yml") == "none"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_floats_of_a_table_are_those_of_its_texts(tmp_path: Path, ending: str, delimiter: str):
    floats = [0.1 + 0.2, 1e22, 5e-324, 1.7976931348623157e308, -2.2250738585072011e-308, 1 / 3]
    path = tmp_path / f"rows{ending}"
    if ending == ".csv":
        path.write_text(f"n{delimiter}x\n" + "".join(f"1{delimiter}{x!r}\n" for x in floats))
    else:
        path.write_text("".join(f'{{"n": 1, "x": {x!r}}}\n' for x in floats))
    assert read_table(path)["x"].tolist() == floats
