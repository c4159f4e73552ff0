"""Every kind of bad input that real servers differ about, against the running process.

The kinds are those on which Azure ML's inference server and MLflow's scoring server were
measured (500s with traces and paths among their answers). Here each is a 4xx that says what was
wrong, or a prediction where both give one.
"""

import json
from typing import Any

import pytest
import requests

from twinml.platform import EndpointInfo
from twinml_local import endpoints

pytestmark = pytest.mark.e2e

ROW = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
COLUMNS, VALUES = list(ROW), list(ROW.values())
JSON = "application/json"


def rows(*given: dict[str, Any]) -> bytes:
    return json.dumps({"input_data": list(given)}).encode()


def split(columns: Any, data: Any) -> bytes:
    return json.dumps({"input_data": {"columns": columns, "data": data}}).encode()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


def with_literal(text: str) -> bytes:
    """Put what Python's json writes but JSON does not have in place of the double column."""
    return rows(ROW).replace(b"1.5", text.encode())


REFUSED: dict[str, tuple[bytes, str | None, int, tuple[str, ...]]] = {
    "malformed JSON": (b'{"input_data": [', JSON, 400, ("not JSON", "line 1")),
    "empty body": (b"", JSON, 400, ("empty",)),
    "a JSON list": (b"[1, 2]", JSON, 400, ("an array", "object")),
    "key missing": (b'{"rows": []}', JSON, 400, ("no rows", "'rows'")),
    "missing column": (rows(without("age")), JSON, 400, ("'age'", "missing")),
    "ragged row": (split(COLUMNS, [VALUES, VALUES[:3]]), JSON, 400, ("row 1", "3 values")),
    "no columns": (
        b'{"input_data": {"data": [[1, 2, "x", true]]}}', JSON, 400, ("columns' is missing",),
    ),
    "data a string": (split(COLUMNS, "x"), JSON, 400, ("'x'", "expected an array")),
    "integer column: text": (
        rows(ROW, ROW | {"age": "abc"}), JSON, 400, ("row 1", "'age'", "'abc'", "an integer"),
    ),
    "integer column: null": (rows(ROW | {"age": None}), JSON, 400, ("row 0", "'age'", "null")),
    "double column: text": (rows(ROW | {"balance": "x"}), JSON, 400, ("'balance'", "a number")),
    # The served tree is scikit-learn's own, which takes none; what twinml trains does.
    "double column: Infinity": (with_literal("-Infinity"), JSON, 400, ("row 0", "'balance'")),
    # No text of the training rows is a number: both real servers score it as an unknown value.
    "string column: integer": (rows(ROW | {"job": 7}), JSON, 400, ("row 0", "'job'", "7", "text")),
    "empty data": (rows(), JSON, 400, ("no rows",)),
    "text/plain": (rows(ROW), "text/plain", 415, ("text/plain", "application/json")),
    "no content type": (rows(ROW), None, 415, ("missing", "application/json")),
    "non-UTF-8 bytes": (rows(ROW).replace(b"admin.", b"\xff\xfe"), JSON, 400, ("UTF-8",)),
    "CSV without a column": (b"age,job\n1,x\n", "text/csv", 400, ("'balance'", "'owner'")),
}  # fmt: skip

TAKEN: dict[str, tuple[bytes, str]] = {
    "extra column": (rows(ROW | {"more": 1}), JSON),
    "reordered columns": (split(COLUMNS[::-1], [VALUES[::-1]]), JSON),
    "unknown category": (rows(ROW | {"job": "pilot"}), JSON),
    "integer column: number as text": (rows(ROW | {"age": "70"}), JSON),
    "integer column: fraction": (rows(ROW | {"age": 70.5}), JSON),
    "integer column: whole float": (rows(ROW | {"age": 70.0}), JSON),
    "string column: null": (rows(ROW | {"job": None}), JSON),
    "double column: integer": (rows(ROW | {"balance": 1}), JSON),
    "double column: null": (rows(ROW | {"balance": None}), JSON),
    "double column: NaN": (with_literal("NaN"), JSON),
    "text/csv": (b"age,balance,job,owner\n70,1.5,admin.,true\n", "text/csv"),
}


def send(
    endpoint: EndpointInfo, body: bytes, content_type: str | None, **headers: str
) -> requests.Response:
    sent = {"Authorization": f"Bearer {endpoints.keys('bank-test').primary}"} | headers
    if content_type is not None:
        sent["Content-Type"] = content_type
    return requests.post(endpoint.scoring_uri, body, headers=sent, timeout=30)


def refusal(reply: requests.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    shape = reply.json()
    assert {"error_code", "message"} <= set(shape) <= {"error_code", "message", "hint", "details"}
    for word in ("Traceback", "/home", ".py", "site-packages", "File "):
        assert word not in reply.text
    return str(shape["message"]) + " " + str(shape.get("hint", ""))


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(running_endpoint: EndpointInfo, case: str) -> None:
    body, content_type, status, words = REFUSED[case]
    said = refusal(send(running_endpoint, body, content_type), status)
    for word in words:
        assert word in said, said


@pytest.mark.parametrize("case", TAKEN)
def test_what_both_servers_take_is_scored(running_endpoint: EndpointInfo, case: str) -> None:
    body, content_type = TAKEN[case]
    reply = send(running_endpoint, body, content_type)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert (found["predictions"] if content_type == "text/csv" else found) == ["yes"]


def test_true_in_an_integer_column_is_one(running_endpoint: EndpointInfo) -> None:
    assert send(running_endpoint, rows(ROW | {"age": True}), JSON).json() == ["no"]


def test_get_on_the_score_route(running_endpoint: EndpointInfo) -> None:
    headers = {"Authorization": f"Bearer {endpoints.keys('bank-test').primary}"}
    uri = running_endpoint.scoring_uri
    arguments = {"age": "70", "balance": "1.5", "job": "admin.", "owner": "true"}
    assert requests.get(uri, arguments, headers=headers, timeout=30).json() == ["yes"]
    said = refusal(requests.get(uri, {"age": "x"}, headers=headers, timeout=30), 400)
    assert "missing" in said
    other = uri.replace("/score", "/invocations")
    refusal(requests.get(other, headers=headers, timeout=30), 405)


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-request-id", "x-ms-client-request-id"])
def test_over_long_ids(running_endpoint: EndpointInfo, name: str) -> None:
    reply = send(running_endpoint, rows(ROW), JSON, **{name: "i" * 101})
    assert refusal(reply, 431).strip() == f"{name} must not exceed 100 characters"
    assert send(running_endpoint, rows(ROW), JSON, **{name: "i" * 100}).status_code == 200


def test_limits_by_setting(running_endpoint: EndpointInfo) -> None:
    said = refusal(send(running_endpoint, rows(*[ROW] * 101), JSON), 413)
    assert "101 rows" in said
    said = refusal(send(running_endpoint, b" " * 20_001, JSON), 413)
    assert "20000 bytes" in said
    assert send(running_endpoint, rows(*[ROW] * 100), JSON).json() == ["yes"] * 100
