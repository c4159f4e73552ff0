"""Payload dialects: their bytes, the rule for methods, and how much a new one takes."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from twinml.contract import Column, Contract, example, openapi, parse, render
from twinml.contract._method import method_of
from twinml.contract.dialects import (
    DIALECTS,
    JSON,
    ROUTES,
    TEXTS,
    Dialect,
    opened,
    predictions_in,
    register,
    written,
)
from twinml.endpoint import request_body
from twinml.errors import PayloadError, UsageError

ROWS = [{"age": 41, "job": "ü"}, {"age": 30, "job": None}]
CONTRACT = Contract(
    name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2,
    columns=(
        Column("age", "long", False, minimum=18, maximum=95),
        Column("job", "string", True, categories=("ü",)),
    ),
    samples=tuple(ROWS),
)  # fmt: skip
RECORDS = '[{"age": 41, "job": "\\u00fc"}, {"age": 30, "job": null}]'
SPLIT = '{"columns": ["age", "job"], "index": [0, 1], "data": [[41, "\\u00fc"], [30, null]]}'
PARAMS = ', "params": {"method": "predict_proba"}}'
MLFLOW = b'{"predictions":["no","yes"]}', b'{"predictions":["no","yes"],"ood_scores":[0.5,1.0]}'

# By dialect: the request for labels, the end of that for probabilities where it begins alike,
# the reply, and the reply that tells OOD scores.
WIRE: dict[str, tuple[str, str, bytes, bytes]] = {
    "data": (
        f'{{"data": {RECORDS}}}', ', "method": "predict_proba"}',
        b'"{\\"result\\": [\\"no\\", \\"yes\\"]}"',
        b'"{\\"result\\": [\\"no\\", \\"yes\\"], \\"ood_scores\\": [0.5, 1.0]}"',
    ),
    "inputs": (
        f'{{"Inputs": {{"data": {RECORDS}}}, "GlobalParameters": {{"method": "predict"}}}}', "",
        b'{"Results":["no","yes"]}', b'{"Results":["no","yes"],"ood_scores":[0.5,1.0]}',
    ),
    "input_data": (f'{{"input_data": {SPLIT}}}', PARAMS, b'["no","yes"]', b'["no","yes"]'),
    "dataframe_split": (f'{{"dataframe_split": {SPLIT}}}', PARAMS, *MLFLOW),
    "dataframe_records": (f'{{"dataframe_records": {RECORDS}}}', PARAMS, *MLFLOW),
    "instances": (f'{{"instances": {RECORDS}}}', PARAMS, *MLFLOW),
    "mlflow_inputs": ('{"inputs": {"age": [41, 30], "job": ["\\u00fc", null]}}', PARAMS, *MLFLOW),
    "csv": ("age,job\n41,ü\n30,\n", "", *MLFLOW),
}  # fmt: skip
# The documents that twinml has always given for this contract: SHA-256 of their JSON.
DOCUMENTS = {
    ("2", None): "fc7fffac57ba4a58921fd6a495b663d6da14a164fa89f2f9dd77657835d96744",
    ("3", None): "580fbab81aa74e9af5b838c769f9b612fbe47b76b4187d405a30f40033d7a363",
    ("3.1", None): "278952b91d0b944f7009f24234cd7843711f39c8bab573681db4e439725495c8",
    ("2", "input_data"): "2a9c27f4aafbc1ea9991d113075dfcc1337dc80b5e9638b33e692c844f2e6855",
    ("3", "input_data"): "7a5533acd8bed9e2b6e3ededea6c09e45b5914f61b51be0f6eaffa051c073650",
    ("3.1", "input_data"): "d6df9ae5fbeae8b04953a90c43735b05fe60cd4af38cac616f220c5c9da933ca",
}


def read(body: str | bytes, dialect: Dialect, route: Any = None) -> Any:
    body = body.encode() if isinstance(body, str) else body
    return parse(
        CONTRACT, body, content_type=dialect.media_type, route=route or dialect.routes[0]
    )  # fmt: skip


def test_the_table_of_bytes_names_every_dialect() -> None:
    assert list(WIRE) == list(DIALECTS)


@pytest.mark.parametrize("name", WIRE)
def test_bytes_on_the_wire(name: str) -> None:
    dialect, (labels, ending, reply, with_scores) = DIALECTS[name], WIRE[name]
    shares = labels.replace('"predict"', '"predict_proba"')
    shares = labels[:-1] + ending if ending else shares
    if dialect.media_type == JSON:
        assert request_body(ROWS, dialect=name).decode() == labels
        assert request_body(ROWS, dialect=name, method="predict_proba").decode() == shares
    else:
        assert dialect.write(ROWS, "predict") == labels
    for route in dialect.routes:
        asked = read(labels, dialect, route)
        assert asked.dialect is dialect
        assert asked.columns == {"age": [41, 30], "job": ["ü", None]}
        assert asked.method == "predict"
        assert render(CONTRACT, asked, ["no", "yes"], None) == reply
        assert render(CONTRACT, asked, ["no", "yes"], None, [0.5, 1.0]) == with_scores
    if ending or name == "inputs":
        assert read(shares, dialect).method == "predict_proba"


@pytest.mark.parametrize("name", WIRE)
def test_predictions_come_back_from_the_reply(name: str) -> None:
    for reply in WIRE[name][2:]:
        found = opened(json.loads(reply))
        assert DIALECTS[name].read_reply(found) == ["no", "yes"]
        assert predictions_in(found) == ["no", "yes"]


@pytest.mark.parametrize("reply", [{}, {"error": "x"}, {"predictions": "no"}, None, 1, "text"])
def test_what_is_no_reply_holds_no_predictions(reply: Any) -> None:
    assert predictions_in(reply) is None


def test_text_that_is_no_json_cannot_be_opened() -> None:
    assert opened("[1]") == [1]
    with pytest.raises(ValueError, match="Expecting value"):
        opened("no")


@pytest.mark.parametrize(("version", "only"), DOCUMENTS)
def test_documents_are_what_they_were(version: Any, only: str | None) -> None:
    text = json.dumps(openapi(CONTRACT, version=version, only=only))
    assert hashlib.sha256(text.encode()).hexdigest() == DOCUMENTS[version, only], text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data", None, "'data' is null, expected rows"),
        ("data", "x", "'data' is text, expected rows"),
        ("data", [[41]], "row 0 has 1 value, there are 2 columns"),
        ("inputs", [], "'Inputs' is an array, expected an object with 'data'"),
        ("inputs", {}, "'Inputs' is an object without 'data'"),
        ("inputs", {"data": 1}, "'Inputs.data' is a number, expected rows"),
        ("input_data", {"data": []}, "'input_data.columns' is missing"),
        ("input_data", True, "'input_data' is a boolean, expected rows"),
        ("dataframe_split", [ROWS[0]], "'dataframe_split' is an array, expected an object"),
        ("dataframe_split", 1, "'dataframe_split' is a number, expected rows"),
        ("dataframe_records", {"age": [1]}, "'dataframe_records' is an object, expected rows"),
        ("dataframe_records", [[41, "ü"]], "row 0 of 'dataframe_records' is [41,\"ü\"]"),
        ("instances", {"age": [1]}, "column 'job' is missing"),
        ("mlflow_inputs", [1], "row 0 of 'inputs' is 1, expected an object"),
    ],
)
def test_what_stands_under_the_key_is_refused_in_its_words(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(PayloadError) as refused:
        read(json.dumps({DIALECTS[name].key: value}), DIALECTS[name])
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("side", "names"),
    [
        (None, ("data", "inputs", "input_data", "dataframe_split", "dataframe_records",
                "instances", "mlflow_inputs")),
        ("local", ("data", "inputs", "input_data", "dataframe_split", "dataframe_records",
                   "instances", "mlflow_inputs")),
        ("azure-no-code", ("input_data",)),
        ("azure-automl", ("data", "inputs")),
        ("mlflow", ("dataframe_split", "dataframe_records", "instances", "mlflow_inputs")),
    ],
)  # fmt: skip
def test_which_side_takes_it(side: Any, names: tuple[str, ...]) -> None:
    assert written(side) == names


# Which method counts

PROBA, LABELS = {"method": "predict_proba"}, {"method": "predict"}


@pytest.mark.parametrize(
    ("document", "method"),
    [
        ({}, "predict"),
        ({"method": None}, "predict"),
        ({"method": "predict"}, "predict"),
        ({"method": "predict_proba"}, "predict_proba"),
        ({"GlobalParameters": PROBA}, "predict_proba"),
        ({"params": PROBA}, "predict_proba"),
        # params count more than GlobalParameters, and both more than a bare method
        ({"GlobalParameters": PROBA, "params": LABELS}, "predict"),
        ({"GlobalParameters": LABELS, "params": PROBA}, "predict_proba"),
        ({"params": LABELS, "GlobalParameters": PROBA}, "predict"),
        ({"method": "predict_proba", "GlobalParameters": LABELS}, "predict"),
        ({"method": "predict", "GlobalParameters": PROBA}, "predict_proba"),
        ({"method": "predict_proba", "params": LABELS}, "predict"),
        ({"method": "predict", "params": PROBA}, "predict_proba"),
        # what says nothing leaves it to the others
        ({"GlobalParameters": PROBA, "params": {}}, "predict_proba"),
        ({"GlobalParameters": PROBA, "params": None}, "predict_proba"),
        ({"GlobalParameters": PROBA, "params": {"more": 1}}, "predict_proba"),
        ({"method": "predict_proba", "GlobalParameters": {}}, "predict_proba"),
        ({"method": "predict_proba", "GlobalParameters": None}, "predict_proba"),
        ({"method": "predict_proba", "GlobalParameters": 1.0}, "predict_proba"),
        ({"method": "predict_proba", "GlobalParameters": 0, "params": LABELS}, "predict"),
        # a method of null is predict, and counts
        ({"GlobalParameters": PROBA, "params": {"method": None}}, "predict"),
        ({"method": "predict_proba", "GlobalParameters": {"method": None}}, "predict"),
    ],
)
def test_which_method_counts(document: dict[str, Any], method: str) -> None:
    assert method_of(document) == method


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"method": "x"}, "the method is 'x'"),
        ({"method": "x", "params": LABELS}, "the method is 'x'"),
        ({"GlobalParameters": {"method": 1}, "params": PROBA}, "the method is 1"),
        ({"GlobalParameters": {"method": "a"}, "params": {"method": "b"}}, "the method is 'a'"),
        ({"params": {"method": True}}, "the method is true"),
        ({"params": 1.0}, "'params' is a number"),
        ({"params": []}, "'params' is an array"),
        ({"GlobalParameters": []}, "'GlobalParameters' is an array"),
        ({"GlobalParameters": True}, "'GlobalParameters' is a boolean"),
    ],
)
def test_no_member_may_name_another_method(document: dict[str, Any], message: str) -> None:
    with pytest.raises(PayloadError) as refused:
        method_of(document)
    assert refused.value.message.startswith(message)


# A new dialect


@pytest.fixture
def table() -> Iterator[Dialect]:
    yield register(
        Dialect(
            name="table",
            key="Table",
            inside="cells",
            takes=("arrays", "records"),
            summary="Another server's",
            schema_name="TableRequest",
            routes=("score",),
            sides=frozenset({"local"}),
            reply_key="scores",
        )
    )
    del DIALECTS["table"], ROUTES["score"]["Table"]


def test_one_object_is_all_that_a_new_dialect_takes(table: Dialect) -> None:
    body = {"Table": {"cells": [[41, "ü"], [30, None]]}}
    asked = read(json.dumps(body | {"params": PROBA}), table)
    assert (asked.dialect, asked.method) == (table, "predict_proba")
    assert asked.columns == {"age": [41, 30], "job": ["ü", None]}
    one = read(json.dumps({"Table": {"cells": [ROWS[0]]}}), table)
    assert one.columns == {"age": [41], "job": ["ü"]}
    reply = render(CONTRACT, one, ["yes"], None)
    assert reply == b'{"scores":["yes"]}'
    assert predictions_in(json.loads(reply)) == ["yes"]
    assert json.loads(request_body(ROWS, dialect="table")) == {"Table": {"cells": ROWS}}
    assert "table" in written()
    assert "table" in written("local")
    assert "table" not in written("mlflow")
    with pytest.raises(PayloadError, match="'Table' is an array, expected an object with 'cells'"):
        read('{"Table": []}', table)
    with pytest.raises(PayloadError, match="'Table', which /invocations does not take"):
        read(json.dumps(body), table, "invocations")


@pytest.mark.parametrize("version", ["2", "3", "3.1"])
def test_documents_tell_of_a_new_dialect(table: Dialect, version: Any) -> None:
    document = openapi(CONTRACT, version=version)
    operation = document["paths"]["/score"]["post"]
    assert "Table" in operation["description"]
    if version == "2":
        body = next(each for each in operation["parameters"] if each["in"] == "body")
        assert set(body["schema"]["properties"]) >= {"Table", "data", "params"}
        assert "an object with scores for Table" in str(operation["responses"]["200"]["schema"])
        examples = body["x-examples"]
    else:
        content = operation["requestBody"]["content"][JSON]
        assert {"$ref": "#/components/schemas/TableRequest"} in content["schema"]["anyOf"]
        examples = content["examples"]
    assert examples["table"]["value"] == example(CONTRACT, "table")
    assert read(json.dumps(examples["table"]["value"]), table).n_rows == 2
    if version == "3.1":
        schema = {
            "$ref": "#/components/schemas/TableRequest", "components": document["components"],
        }  # fmt: skip
        check = jsonschema.Draft202012Validator(schema)
        assert check.is_valid(examples["table"]["value"])
        assert not check.is_valid({"Table": {"cells": ROWS}, "data": ROWS})


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "data", "key": "other"},
        {"name": "other", "key": "Inputs", "routes": ("score",)},
        {"name": "other", "key": "new", "media_type": "text/csv"},
    ],
)
def test_dialects_that_cannot_be_told_apart_are_refused(facts: dict[str, Any]) -> None:
    before = [dict(known) for known in (DIALECTS, TEXTS, *ROUTES.values())]
    with pytest.raises(UsageError, match="is taken by the dialect"):
        register(Dialect(summary="", **facts))
    assert [dict(known) for known in (DIALECTS, TEXTS, *ROUTES.values())] == before


# One home

HOMES = {"contract/dialects.py", "contract/_method.py", "contract/_openapi_shapes.py"}
WORDS = {
    "Inputs", "GlobalParameters", "input_data", "dataframe_split", "dataframe_records", "instances",
    "mlflow_inputs", "Results",
}  # fmt: skip


def test_no_other_module_knows_a_dialect_by_name() -> None:
    root = Path(__file__).parents[2]
    found = {
        (path.relative_to(room).as_posix(), node.value)
        for room in (root / "shared/twinml", root / "local/twinml_local", root / "azure")
        for path in room.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in WORDS
    }
    assert {file for file, _ in found} <= HOMES, sorted(found)
