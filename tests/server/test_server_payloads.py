"""Dialects and bad input over HTTP: what both real servers take is taken, the rest explained."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from werkzeug.test import Client, TestResponse

from tests.server.test_server_routes import read_when
from twinml.contract import example, example_csv
from twinml_local.server import Deployment

KEY = {"Authorization": "Bearer primary-key-0123456789"}
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
YOUNG = {"age": 30, "balance": -2, "job": "services", "owner": False}
COLUMNS = list(OLD)

Serve = Callable[..., Client]


def score(client: Client, body: object, path: str = "/score") -> TestResponse:
    return client.post(path, json=body, headers=KEY)


def refused(response: TestResponse, status: int, *words: str) -> dict[str, object]:
    """Check a refusal: its status, its shape, and that its message holds ``words``."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    shape = response.get_json()
    assert set(shape) <= {"error_code", "message", "hint", "details"}
    assert shape["hint"]
    for word in words:
        assert word in shape["message"]
    for leak in ("Traceback", str(Path.cwd()), "/usr", "site-packages", ".py"):
        assert leak not in response.text
    return dict(shape)


# Dialects


@pytest.mark.parametrize(
    ("path", "body", "reply"),
    [
        ("/score", {"data": [OLD, YOUNG]}, '{"result": ["yes", "no"]}'),
        ("/score", {"Inputs": {"data": [OLD, YOUNG]}}, {"Results": ["yes", "no"]}),
        (
            "/score",
            {"input_data": {"columns": COLUMNS, "data": [[*OLD.values()], [*YOUNG.values()]]}},
            ["yes", "no"],
        ),
        (
            "/invocations",
            {"dataframe_split": {"columns": COLUMNS, "data": [[*OLD.values()], [*YOUNG.values()]]}},
            {"predictions": ["yes", "no"]},
        ),
        ("/invocations", {"dataframe_records": [OLD, YOUNG]}, {"predictions": ["yes", "no"]}),
        ("/invocations", {"instances": [OLD, YOUNG]}, {"predictions": ["yes", "no"]}),
        (
            "/invocations",
            {"inputs": {name: [OLD[name], YOUNG[name]] for name in COLUMNS}},
            {"predictions": ["yes", "no"]},
        ),
    ],
)
def test_each_dialect_has_its_own_reply(
    client: Client, path: str, body: object, reply: object
) -> None:
    response = score(client, body, path)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    answered = response.get_json()
    if isinstance(reply, str):  # a JSON string that holds JSON
        answered, reply = json.loads(answered), json.loads(reply)
    assert answered == reply


def test_csv(client: Client, bank: Deployment) -> None:
    body = example_csv(bank.contract, n=3)
    response = client.post("/invocations", data=body, content_type="text/csv", headers=KEY)
    assert response.status_code == 200
    assert len(response.get_json()["predictions"]) == 3


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("data", "/score"),
        ("inputs", "/score"),
        ("input_data", "/score"),
        ("dataframe_split", "/invocations"),
        ("dataframe_records", "/invocations"),
        ("instances", "/invocations"),
        ("mlflow_inputs", "/invocations"),
    ],
)
def test_probabilities_fit_the_labels(
    client: Client, bank: Deployment, dialect: str, path: str
) -> None:
    def values(reply: object) -> list[object]:
        reply = json.loads(reply) if isinstance(reply, str) else reply
        return next(iter(reply.values())) if isinstance(reply, dict) else list(reply)  # type: ignore[call-overload]

    labels, shares = (
        values(score(client, example(bank.contract, dialect, 5, method), path).get_json())
        for method in ("predict", "predict_proba")
    )
    assert [bank.contract.classes[row[1] > row[0]] for row in shares] == labels


# The table "bad input": what Azure's server answers with 500, and MLflow's with a stack trace


@pytest.mark.parametrize("body", [b"{", b'{"data": [}', b"nonsense", b'{"data": [] ]'])
def test_malformed_json(client: Client, body: bytes) -> None:
    response = client.post("/score", data=body, content_type="application/json", headers=KEY)
    refused(response, 400, "not JSON")
    assert "nonsense" not in response.text


def test_empty_body(client: Client) -> None:
    response = client.post("/score", data=b"", content_type="application/json", headers=KEY)
    refused(response, 400, "empty")


@pytest.mark.parametrize("body", [[], [OLD], "text", 5, None])
def test_a_body_that_is_no_object(client: Client, body: object) -> None:
    response = client.post(
        "/score", data=json.dumps(body), content_type="application/json", headers=KEY
    )
    refused(response, 400, "expected a JSON object")


@pytest.mark.parametrize("body", [{}, {"rows": [OLD]}, {"Data": [OLD]}])
def test_no_known_key(client: Client, body: object) -> None:
    shape = refused(score(client, body), 400)
    assert "input_data" in str(shape["hint"])


def test_a_key_of_the_other_route_names_that_route(client: Client) -> None:
    shape = refused(score(client, {"dataframe_records": [OLD]}), 400, "dataframe_records")
    assert "/invocations" in str(shape["hint"])


def test_missing_column(client: Client) -> None:
    row = {name: value for name, value in OLD.items() if name != "balance"}
    refused(score(client, {"data": [row, row]}), 400, "balance")


def test_a_column_missing_from_one_row(client: Client) -> None:
    row = {name: value for name, value in OLD.items() if name != "age"}
    refused(score(client, {"data": [OLD, row]}), 400, "row 1", "age")


def test_extra_and_reordered_columns(client: Client) -> None:
    row = {"comment": "x", **dict(reversed(OLD.items()))}
    response = score(client, {"Inputs": {"data": [row]}})
    assert response.get_json() == {"Results": ["yes"]}


def test_ragged_row(client: Client) -> None:
    body = {"input_data": {"columns": COLUMNS, "data": [[*OLD.values()], [1, 2]]}}
    refused(score(client, body), 400, "row 1", "2", "4")


def test_no_columns(client: Client) -> None:
    refused(score(client, {"input_data": {"data": [[*OLD.values()]]}}), 400, "columns")


def test_data_is_text(client: Client) -> None:
    refused(score(client, {"data": "rows"}), 400, "text", "rows")


def test_unknown_category(client: Client) -> None:
    row = OLD | {"job": "astronaut"}
    assert score(client, {"Inputs": {"data": [row]}}).get_json() == {"Results": ["yes"]}


@pytest.mark.parametrize(("value", "shown"), [("abc", "'abc'"), (None, "null")])
def test_an_integer_column_with_something_else(client: Client, value: object, shown: str) -> None:
    shape = refused(
        score(client, {"data": [OLD, OLD | {"age": value}]}),
        400,
        "row 1",
        "column 'age'",
        shown,
        "expected an integer",
    )
    assert shape["details"] == [
        {"row": 1, "column": "age", "value": value, "expected": "an integer"}
    ]


@pytest.mark.parametrize("value", ["70", 70.5, 70.0, 70])
def test_an_integer_column_with_what_can_be_one(client: Client, value: object) -> None:
    response = score(client, {"Inputs": {"data": [OLD | {"age": value}]}})
    assert response.get_json() == {"Results": ["yes"]}


@pytest.mark.parametrize("value", [None, "admin.", "never seen"])
def test_a_text_column_with_text_or_null(client: Client, value: object) -> None:
    response = score(client, {"Inputs": {"data": [OLD | {"job": value}]}})
    assert response.get_json() == {"Results": ["yes"]}


@pytest.mark.parametrize("value", [7, 7.5, True])
def test_a_text_column_with_what_it_cannot_mean(client: Client, value: object) -> None:
    response = score(client, {"Inputs": {"data": [OLD | {"job": value}]}})
    assert response.status_code == 400
    assert "row 0, column 'job'" in response.get_json()["message"]


@pytest.mark.parametrize("value", ["1", "null", "NaN", "1e3", "-0.0"])
def test_a_double_column_with_what_can_be_one(client: Client, value: str) -> None:
    body = json.dumps({"Inputs": {"data": [OLD | {"balance": "?"}]}}).replace('"?"', value)
    response = client.post("/score", data=body, content_type="application/json", headers=KEY)
    assert response.get_json() == {"Results": ["yes"]}


def test_a_double_column_with_text(client: Client) -> None:
    body = {"data": [OLD | {"balance": "x"}]}
    refused(score(client, body), 400, "row 0", "column 'balance'", "'x'", "expected a number")


def test_no_rows(client: Client) -> None:
    refused(score(client, {"data": []}), 400, "no rows")


@pytest.mark.parametrize("content_type", ["text/plain", None, "application/xml", "text/json; x"])
@pytest.mark.parametrize("path", ["/score", "/invocations"])
def test_a_wrong_or_missing_content_type(
    client: Client, path: str, content_type: str | None
) -> None:
    body = json.dumps({"data": [OLD]})
    response = client.post(path, data=body, content_type=content_type, headers=KEY)
    refused(response, 415, "content type")


def test_bytes_that_are_not_utf8(client: Client) -> None:
    body = b'{"data": [{"age": 1, "balance": 1, "job": "\xff\xfe", "owner": true}]}'
    response = client.post("/score", data=body, content_type="application/json", headers=KEY)
    refused(response, 400, "UTF-8")


def test_a_body_over_the_limit(serve: Serve) -> None:
    client = serve(max_body_bytes=200)
    assert score(client, {"data": [OLD]}).status_code == 200
    shape = refused(score(client, {"data": [OLD] * 10}), 413, "200 bytes")
    assert "chunks" in str(shape["hint"])


def test_rows_over_the_limit(serve: Serve) -> None:
    client = serve(max_rows=2)
    assert score(client, {"data": [OLD] * 2}).status_code == 200
    refused(score(client, {"data": [OLD] * 3}), 413, "3 rows", "at most 2")


def test_get_on_the_score_route(client: Client) -> None:
    for query, words in (("", "no rows"), ("?data=x", "'data' is text"), ("?age=70", "'balance'")):
        refused(client.get(f"/score{query}", headers=KEY), 400, words)
    response = client.get("/invocations?data=x", headers=KEY)
    assert response.status_code == 405
    assert response.get_json()["error_code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("query", "reply"),
    [
        ({"input_data": json.dumps([OLD, YOUNG])}, ["yes", "no"]),
        ({"Inputs": json.dumps({"data": [OLD]})}, {"Results": ["yes"]}),
        ({"data": json.dumps([OLD])}, '{"result": ["yes"]}'),
        ({"data": [json.dumps(OLD), json.dumps(YOUNG)]}, '{"result": ["yes", "no"]}'),
        ({"age": "70", "balance": "1.5", "job": "admin.", "owner": "true"}, ["yes"]),
        ({"age": "30", "balance": "null", "job": "null", "owner": "false"}, ["no"]),
    ],
)
def test_query_arguments_score_as_a_body_does(
    client: Client, query: dict[str, str], reply: object
) -> None:
    response = client.get("/score", query_string=query, headers=KEY)
    assert response.status_code == 200, response.data
    assert response.get_json() == reply
    asked = client.get("/score", query_string=query | {"method": "predict_proba"}, headers=KEY)
    assert asked.status_code == 200
    assert "." in asked.get_data(as_text=True)


def test_query_arguments_need_the_key_too(client: Client) -> None:
    assert client.get("/score?age=70").status_code == 401
    assert client.head("/score?age=70").status_code == 401


def test_a_deeply_nested_query_argument_is_text(client: Client) -> None:
    refused(client.get("/score?data=" + "[" * 50_000, headers=KEY), 400, "'data' is text")


@pytest.mark.parametrize(
    "body",
    [
        {"data": [None]},
        {"data": [[]]},
        {"data": [[[]]]},
        {"data": [{}]},
        {"data": {}},
        {"data": [OLD, 5]},
        {"data": [OLD | {"age": {"a": 1}}]},
        {"data": [OLD | {"age": 10**30}]},
        {"data": [OLD | {"owner": "maybe"}]},
        {"data": [OLD | {"job": ["a"]}]},
        {"Inputs": None},
        {"Inputs": {"data": None}},
        {"Inputs": {"data": [OLD]}, "GlobalParameters": {"method": "explain"}},
        {"input_data": {"columns": COLUMNS}},
        {"input_data": {"columns": "age", "data": [[1]]}},
        {"input_data": {"columns": [*COLUMNS, "age"], "data": [[1, 2, "a", True, 3]]}},
        {"input_data": {"columns": [["age"]], "data": [[1]]}},
        {"input_data": [OLD], "params": "predict"},
        {"data": [OLD], "Inputs": {"data": [OLD]}},
    ],
)
def test_no_bad_request_is_a_500(client: Client, body: object) -> None:
    shape = refused(score(client, body), 400)
    assert shape["error_code"] == "INVALID_PAYLOAD"


class Constant:
    """A model that gives one number, whatever the row."""

    def __init__(self, value: float) -> None:
        self._value = value

    def predict(self, frame: pd.DataFrame) -> object:
        return np.full(len(frame), self._value)

    def predict_proba(self, frame: pd.DataFrame) -> object:
        return np.full((len(frame), 2), self._value)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_gives_no_finite_number_is_an_error(
    serve: Serve, value: float, method: str, log_directory: Path
) -> None:
    client, params = serve(predictor=Constant(value)), {"params": {"method": method}}
    split = {"columns": COLUMNS, "data": [[*OLD.values()]]}
    for path, body in (
        ("/score", {"data": [OLD], "method": method}),
        ("/score", {"Inputs": {"data": [OLD]}, "GlobalParameters": {"method": method}}),
        ("/score", {"input_data": split, **params}),
        ("/invocations", {"dataframe_split": split, **params}),
        ("/invocations", {"instances": [OLD], **params}),
    ):
        reply = score(client, body, path)
        assert (reply.status_code, reply.get_json()["message"]) == (500, "scoring failed")
    read_when(log_directory / "blue.log", "_refuse_infinite")
    finite = score(serve(predictor=Constant(0.5)), {"instances": [OLD], **params}, "/invocations")
    assert finite.get_json() == {"predictions": [0.5 if method == "predict" else [0.5, 0.5]]}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_csv_may_be_parted_as_a_training_file(client: Client, delimiter: str) -> None:
    lines = [COLUMNS, *([str(row[name]) for name in COLUMNS] for row in (OLD, YOUNG))]
    body = "\n".join(delimiter.join(line) for line in lines)
    for path in ("/score", "/invocations"):
        reply = client.post(path, data=body, content_type="text/csv", headers=KEY)
        assert reply.get_json() == {"predictions": ["yes", "no"]}
    less = body.replace("balance", "income")
    reply = client.post("/score", data=less, content_type="text/csv", headers=KEY)
    refused(reply, 400, "column 'balance' is missing")


def test_a_long_value_is_not_sent_back_whole(client: Client) -> None:
    response = score(client, {"data": [OLD | {"age": "9x" * 50_000}]})
    refused(response, 400, "column 'age'")
    assert len(response.data) < 2000


def test_a_bad_request_is_no_failure_of_the_function(client: Client) -> None:
    response = score(client, {"data": []})
    assert response.headers["x-ms-run-function-failed"] == "False"
    assert response.headers["azureml-model-deployment"] == "blue"
