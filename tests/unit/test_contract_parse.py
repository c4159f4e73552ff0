"""Requests in every dialect, and what is said about those that do not keep the contract."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import orjson
import pandas as pd
import pytest

from twinml.contract import Column, Contract, example, example_csv, parse
from twinml.data import read_records
from twinml.errors import PayloadError

CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=100,
    columns=(
        Column("age", "long", False, None, 18, 95),
        Column("balance", "double", True, None, -10.0, 99.5),
        Column("job", "string", True, ("admin.", "services")),
        Column("loan", "boolean", False),
    ),
    samples=(
        {"age": 41, "balance": 1.5, "job": "services", "loan": True},
        {"age": 30, "balance": None, "job": None, "loan": False},
    ),
)
ROW = {"age": 41, "balance": 1.5, "job": "services", "loan": True}
VALUES = [41, 1.5, "services", True]
NAMES = list(ROW)
SPLIT = {"columns": NAMES, "index": [0], "data": [VALUES]}

ACCEPTED = [
    ("score", "data", {"data": [ROW]}),
    ("score", "data", {"data": [VALUES]}),
    ("score", "data", {"data": {name: [value] for name, value in ROW.items()}}),
    ("score", "inputs", {"Inputs": {"data": [ROW]}}),
    ("score", "inputs", {"Inputs": {"data": [VALUES]}, "GlobalParameters": 1.0}),
    ("score", "inputs", {"Inputs": {"data": [ROW]}, "GlobalParameters": None}),
    ("score", "inputs", {"Inputs": {"data": [ROW]}, "GlobalParameters": {"method": "predict"}}),
    ("score", "input_data", {"input_data": SPLIT, "params": {}}),
    ("score", "input_data", {"input_data": {"columns": NAMES, "data": [VALUES]}}),
    ("score", "input_data", {"input_data": SPLIT | {"index": None, "name": "x"}, "params": None}),
    ("score", "input_data", {"input_data": [ROW], "id": 7}),
    ("score", "input_data", {"input_data": [VALUES]}),
    ("invocations", "dataframe_split", {"dataframe_split": SPLIT}),
    ("invocations", "dataframe_records", {"dataframe_records": [ROW], "params": {"other": 1}}),
    ("invocations", "instances", {"instances": [ROW]}),
    ("invocations", "instances", {"instances": [VALUES]}),
    ("invocations", "instances", {"instances": {name: [value] for name, value in ROW.items()}}),
    ("invocations", "mlflow_inputs", {"inputs": {name: [value] for name, value in ROW.items()}}),
    ("invocations", "mlflow_inputs", {"inputs": [ROW]}),
    ("invocations", "mlflow_inputs", {"inputs": ROW}),
]


def read(body, route="score", content_type="application/json", **options):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(CONTRACT, raw, content_type=content_type, route=route, **options)


def refusal(body, route="score", content_type="application/json", **options) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        read(body, route, content_type, **options)
    error = caught.value
    assert error.hint
    orjson.dumps(error.to_dict())
    return error


@pytest.mark.parametrize(("route", "dialect", "body"), ACCEPTED)
def test_every_dialect_gives_the_same_rows(route, dialect, body):
    request = read(body, route)
    assert request.dialect.name == dialect
    assert request.n_rows == 1
    assert request.method == "predict"
    assert request.columns == {name: [value] for name, value in ROW.items()}
    assert list(request.columns) == NAMES


def test_the_frame_has_the_dtypes_of_the_contract():
    frame = read({"data": [ROW, ROW | {"balance": None, "job": None}]}).frame()
    assert [str(dtype) for dtype in frame.dtypes] == ["int64", "float64", "object", "bool"]
    assert list(frame.columns) == NAMES
    assert isinstance(frame.index, pd.RangeIndex)
    assert math.isnan(frame.loc[1, "balance"])
    assert frame.loc[1, "job"] is None


def test_column_order_is_free_and_other_columns_are_ignored():
    shuffled = {"zip": 9, "loan": True, "job": "services", "age": 41, "balance": 1.5}
    split = {"columns": list(shuffled), "data": [list(shuffled.values())]}
    for body in ({"data": [shuffled]}, {"input_data": split}):
        request = read(body)
        assert request.columns == {name: [value] for name, value in ROW.items()}
        assert list(request.columns) == NAMES


def test_a_key_left_out_of_some_records_is_null_there():
    request = read({"data": [ROW, {"age": 5, "loan": False}]})
    assert request.columns["job"] == ["services", None]
    assert math.isnan(request.columns["balance"][1])
    error = refusal({"data": [ROW, {"job": "services"}]})
    assert error.message.startswith("row 1, column 'age': found null, expected an integer")


def test_unknown_categories_are_accepted():
    assert read({"data": [ROW | {"job": "astronaut"}]}).columns["job"] == ["astronaut"]


@pytest.mark.parametrize(
    ("route", "extra"),
    [
        ("score", {"params": {"method": "predict_proba"}}),
        ("score", {"GlobalParameters": {"method": "predict_proba"}}),
        ("score", {"method": "predict_proba"}),
        ("invocations", {"params": {"method": "predict_proba"}}),
    ],
)
def test_probabilities_are_asked_for_by_method(route, extra):
    key = "data" if route == "score" else "dataframe_records"
    assert read({key: [ROW]} | extra, route).method == "predict_proba"


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"params": {"method": "transform"}}, "'transform'"),
        ({"params": {"method": ["predict"]}}, '["predict"]'),
        ({"GlobalParameters": {"method": 1}}, "is 1"),
        ({"params": 1}, "'params' is a number"),
        ({"params": [1]}, "'params' is an array"),
        ({"GlobalParameters": "predict"}, "'GlobalParameters' is text"),
        ({"GlobalParameters": True}, "'GlobalParameters' is a boolean"),
    ],
)
def test_another_method_is_refused_by_name(extra, found):
    assert found in refusal({"data": [ROW]} | extra).message


@pytest.mark.parametrize(
    ("content_type", "found"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("text/plain", "'text/plain'"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("application/json; charset=latin-1", "'latin-1'"),
        ("application/json; charset=windows-1252", "'windows-1252'"),
        ("text/csv; charset=koi8-r", "'koi8-r'"),
    ],
)
def test_another_content_type_is_415(content_type, found):
    error = refusal({"data": [ROW]}, content_type=content_type)
    assert error.status == 415
    assert found in error.message


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json; q=1",
    ],
)
def test_the_content_type_may_name_utf8(content_type):
    assert read({"data": [ROW]}, content_type=content_type).n_rows == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"data": [{"age": 1,}]}', "not JSON: "),
        (b'{"data":\n [secret]}', "at line 2, column 3"),
        (b"\xff\xfe{}", "not UTF-8: byte 0"),
        (b'{"data": "\\ud800"}', "not valid Unicode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"data": [{"age": NaN, "balance": 1' + b"0" * 5000 + b"}]}", "too many digits"),
    ],
)
def test_what_is_not_json_is_located_and_never_echoed(body, message):
    error = refusal(body)
    assert error.status == 400
    assert message in error.message
    assert "secret" not in json.dumps(error.to_dict())


@pytest.mark.parametrize(
    ("body", "kind"),
    [([ROW], "an array"), (3, "a number"), ("x", "text"), (None, "null"), (True, "a boolean")],
)
def test_the_top_level_is_an_object(body, kind):
    error = refusal(body)
    assert f"the body is {kind}" in error.message
    assert "data, Inputs, input_data" in error.hint
    assert "dataframe_split" in refusal(body, "invocations").hint


@pytest.mark.parametrize(
    ("route", "body", "message"),
    [
        ("score", {}, "found nothing"),
        ("score", {"rows": [ROW]}, "found 'rows'"),
        ("score", {"data": [ROW], "Inputs": {"data": [ROW]}}, "'data' and 'Inputs'"),
        ("invocations", {"instances": [ROW], "inputs": [ROW]}, "'instances' and 'inputs'"),
        ("score", {"dataframe_split": SPLIT}, "/score does not take"),
        ("invocations", {"input_data": SPLIT}, "/invocations does not take"),
    ],
)
def test_exactly_one_known_key_is_taken(route, body, message):
    assert message in refusal(body, route).message


def test_a_key_of_the_other_route_is_sent_there():
    assert "POST it to /invocations." in refusal({"instances": [ROW]}).hint


@pytest.mark.parametrize(
    ("route", "body", "message"),
    [
        ("score", {"data": []}, "no rows"),
        ("score", {"Inputs": {"data": []}}, "no rows"),
        ("score", {"input_data": {"columns": NAMES, "data": []}}, "no rows"),
        ("invocations", {"inputs": {name: [] for name in NAMES}}, "no rows"),
        ("score", {"data": "x"}, "'data' is text, expected rows"),
        ("score", {"data": None}, "'data' is null, expected rows"),
        ("score", {"data": ["x"]}, "row 0 of 'data' is 'x', expected an object"),
        ("score", {"data": [ROW, VALUES]}, "row 1 of 'data' is [41,1.5,"),
        ("score", {"data": [VALUES, ROW]}, "row 1 of 'data' is {\"age\":41"),
        ("score", {"data": [VALUES, VALUES[:2]]}, "row 1 has 2 values, there are 4 columns"),
        (
            "score",
            {"data": {"age": [1, 2], "balance": [1], "job": ["a"], "loan": [True]}},
            "column 'balance' has 1 values, 'age' has 2",
        ),
        ("score", {"data": ROW | {"age": [1]}}, "column 'balance' of 'data' is 1.5"),
        ("score", {"data": {"age": [1]}}, "columns 'balance', 'job', 'loan' are missing"),
        ("score", {"Inputs": [ROW]}, "'Inputs' is an array, expected an object with 'data'"),
        ("score", {"Inputs": {"rows": 1}}, "'Inputs' is an object without 'data'"),
        ("score", {"Inputs": {"data": 3}}, "'Inputs.data' is a number, expected rows"),
        ("score", {"input_data": {"columns": NAMES}}, "'input_data.data' is missing"),
        ("score", {"input_data": SPLIT | {"data": "x"}}, "'input_data.data' is 'x'"),
        ("score", {"input_data": {"data": [VALUES]}}, "'input_data.columns' is missing"),
        ("score", {"input_data": SPLIT | {"columns": [1, 2]}}, "expected an array of column names"),
        ("score", {"input_data": SPLIT | {"columns": "age"}}, "expected an array of column names"),
        ("score", {"input_data": SPLIT | {"index": [1, 2]}}, "'input_data.index' has 2 entries"),
        ("score", {"input_data": SPLIT | {"index": 1}}, "'input_data.index' is not an array"),
        ("score", {"input_data": SPLIT | {"data": [VALUES[:3]]}}, "row 0 has 3 values"),
        ("score", {"input_data": SPLIT | {"data": [ROW]}}, "expected an array"),
        (
            "score",
            {"input_data": {"columns": ["age", "age", "loan"], "data": [[1, 2, 3]]}},
            "column 'age' appears more than once",
        ),
        (
            "score",
            {"input_data": {"columns": [*NAMES, "z", "z"], "data": [[*VALUES, 1, 2]]}},
            "column 'z' appears more than once",
        ),
        ("invocations", {"dataframe_split": [ROW]}, "'dataframe_split' is an array"),
        ("invocations", {"dataframe_records": {"age": [1]}}, "'dataframe_records' is an object"),
        ("invocations", {"dataframe_records": [VALUES]}, "expected an object"),
        ("invocations", {"instances": [1, 2]}, "row 0 of 'instances' is 1"),
        ("invocations", {"inputs": 5}, "'inputs' is a number"),
    ],
)
def test_the_shape_of_the_rows_is_told(route, body, message):
    error = refusal(body, route)
    assert error.status == 400
    assert message in error.message


def test_missing_columns_are_named_all_at_once():
    error = refusal({"data": [{"age": 41, "loan": True}, {"age": 1, "loan": False}]})
    assert error.message == "columns 'balance', 'job' are missing"
    assert [detail.column for detail in error.details] == ["balance", "job"]
    assert refusal({"data": [{k: ROW[k] for k in NAMES[1:]}]}).message == "column 'age' is missing"


def test_too_many_rows_are_413():
    assert read({"data": [ROW] * 3}, max_rows=3).n_rows == 3
    error = refusal({"data": [ROW] * 4}, max_rows=3)
    assert (error.status, error.message) == (413, "the request holds 4 rows, at most 3 are taken")
    table = example_csv(CONTRACT, 4).encode()
    assert refusal(table, content_type="text/csv", max_rows=3).status == 413


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("age", "56", 56),
        ("age", " 56 ", 56),
        ("age", "56.0", 56),
        ("age", "1e1", 10),
        ("age", 56.0, 56),
        ("age", 56.5, 56),
        ("age", -56.5, -56),
        ("age", True, 1),
        ("age", 2**63 - 1, 2**63 - 1),
        ("age", -(2**63), -(2**63)),
        ("balance", 7, 7.0),
        ("balance", True, 1.0),
        ("balance", "1.5", 1.5),
        ("balance", math.inf, math.inf),
        ("balance", "-inf", -math.inf),
        ("balance", 2**70, float(2**70)),
        ("job", None, None),
        ("job", math.nan, None),
        ("job", "", ""),
        ("loan", 1, True),
        ("loan", 0.0, False),
        ("loan", "True", True),
        ("loan", "false", False),
        ("loan", "0", False),
    ],
)
def test_values_are_converted_as_both_servers_do(column, value, stored):
    found = read({"data": [ROW | {column: value}]}).columns[column]
    assert found == [stored]
    assert type(found[0]) is type(stored)


@pytest.mark.parametrize("value", [None, math.nan, "nan"])
def test_null_and_nan_are_nan_in_a_double_column(value):
    assert math.isnan(read({"data": [ROW | {"balance": value}]}).columns["balance"][0])


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("age", "abc", "'abc'"),
        ("age", "56.5", "'56.5'"),
        ("age", "", "''"),
        ("age", None, "null"),
        ("age", math.nan, "NaN"),
        ("age", -math.inf, "-Infinity"),
        ("age", 2**63, "9223372036854775808"),
        ("age", 2**64, "1.8446744073709552e+19"),
        ("age", 1e300, "1e+300"),
        ("age", [1], "[1]"),
        ("age", {}, "{}"),
        ("balance", "x", "'x'"),
        ("balance", "", "''"),
        ("balance", [1.5], "[1.5]"),
        ("job", ["a"], '["a"]'),
        ("job", {"a": 1}, '{"a":1}'),
        ("loan", None, "null"),
        ("loan", 2, "2"),
        ("loan", math.nan, "NaN"),
        ("job", ["a" * 100], '["' + "a" * 78 + "…"),
        ("age", "line\nbreak\u2028", "'line\\nbreak\\u2028'"),
    ],
)
def test_a_value_that_does_not_fit_is_located(column, value, found):
    error = refusal({"data": [ROW, ROW | {column: value}]})
    expected = {
        "age": "an integer",
        "balance": "a number or null",
        "job": "text or null",
        "loan": "true or false",
    }[column]
    if value != 2**63:
        assert error.message == f"row 1, column '{column}': found {found}, expected {expected}"
    assert [(d.row, d.column, d.expected) for d in error.details] == [(1, column, expected)]


def test_integers_beyond_any_float_are_refused():
    text = '{"data": [{"age": 1, "balance": 1%s, "job": "x", "loan": true}]}' % ("0" * 400)
    error = refusal(text.encode())
    assert "column 'balance': found an integer of 1329 bits" in error.message


def test_the_first_problem_is_told_and_twenty_are_listed():
    rows = [ROW, *([ROW | {"age": "abc", "loan": None}] * 30)]
    error = refusal({"data": rows})
    assert error.message == (
        "row 1, column 'age': found 'abc', expected an integer (and 59 more such values)"
    )
    assert len(error.details) == 20
    assert [(d.row, d.column) for d in error.details[:3]] == [(1, "age"), (1, "loan"), (2, "age")]
    assert error.details[0].value == "abc"


def test_long_values_are_shortened():
    error = refusal({"data": [ROW | {"age": "x" * 10_000}]})
    assert len(error.message) < 200
    assert error.details[0].value == "x" * 80 + "…"


CSV_HEADER = b"loan,zip,age,job,balance\n"


@pytest.mark.parametrize("route", ["score", "invocations"])
def test_csv_is_read_by_its_header(route):
    body = b"\xef\xbb\xbf" + CSV_HEADER + b'true,1,41,"a,\n""b""",1.5\r\n\nFALSE,2,56.0,,\n'
    request = read(body, route, "text/csv; charset=utf-8")
    assert request.dialect.name == "csv"
    assert request.columns["age"] == [41, 56]
    assert request.columns["job"] == ['a,\n"b"', None]
    assert request.columns["loan"] == [True, False]
    assert request.columns["balance"][0] == 1.5
    assert math.isnan(request.columns["balance"][1])


@pytest.mark.parametrize(
    ("codec", "charset"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-8", "utf-8"),
        ("utf-8", '"UTF-8"'),
        ("cp1252", ""),
        ("cp1252", "windows-1252"),
        ("latin-1", "ISO-8859-1"),
        ("utf-16", ""),
        ("utf-16", "utf-16"),
        ("utf-16-le", ""),
        ("utf-16-be", ""),
        ("utf-16-le", "utf-16le"),
        ("utf-16-be", "UTF-16BE"),
    ],
)
def test_csv_may_come_in_the_encodings_of_files(codec, charset, tmp_path):
    text = CSV_HEADER.decode() + "true,1,41,Größe für 3,1.5\nfalse,2,56,naïve,\n"
    body = text.encode(codec)
    content_type = "text/csv" + (f"; charset={charset}" if charset else "")
    request = read(body, content_type=content_type)
    assert request.columns["job"] == ["Größe für 3", "naïve"]
    if charset:
        return
    (tmp_path / "rows.csv").write_bytes(body)
    assert [row["job"] for row in read_records(tmp_path / "rows.csv")] == request.columns["job"]


@pytest.mark.parametrize("said", ["utf-8", "us-ascii"])
def test_a_charset_that_is_not_that_of_the_body_is_refused(said):
    body = CSV_HEADER + "true,1,41,Größe,1.5\n".encode("cp1252")
    error = refusal(body, content_type=f"text/csv; charset={said}")
    assert (error.status, error.message) == (400, f"the body is not {said}: byte 37 does not fit")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", ["", "sep={}\r\n"])
def test_csv_is_parted_as_a_training_file_may_be(delimiter, named, tmp_path):
    rows = [["loan", "age", "job", "balance"], ["true", "41", '"a,;\t|"', "1.5"]]
    text = named.format(delimiter) + "\n".join(delimiter.join(row) for row in rows) + "\n"
    request = read(text.encode(), content_type="text/csv")
    assert request.columns == {"age": [41], "balance": [1.5], "job": ["a,;\t|"], "loan": [True]}
    (tmp_path / "rows.csv").write_text(text)
    (same,) = read_records(tmp_path / "rows.csv")
    assert same == {name: values[0] for name, values in request.columns.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # The header decides, by the columns that it names; a comma where both name as many.
        ("age;job;loan\n41;x;true\n", "column 'balance' is missing"),
        ("age;job,balance;loan\n41;x,1;true\n", "columns 'balance', 'job' are missing"),
        ("age,x;y\n1,2\n", "columns 'balance', 'job', 'loan' are missing"),
        (
            "sep=;\nage,balance,job,loan\n1,1,x,true\n",
            "'age', 'balance', 'job', 'loan' are missing",
        ),
        ("age;balance;job;loan\n41;1,5;x;true\n", "column 'balance': found '1,5'"),
        ("age;balance;job;loan\n41;1;x\n", "row 0 has 3 values, there are 4 columns"),
        ('age;balance;job;loan\n41;1;"x;true\n', "not CSV: unexpected end of data"),
    ],
)
def test_what_parts_the_cells_is_not_guessed_from_rows(text, message):
    assert message in refusal(text.encode(), content_type="text/csv").message


def test_csv_text_is_taken_as_written():
    body = CSV_HEADER + b"1,1,1,NA,1\n0,1,1, None,1\n"
    assert read(body, content_type="text/csv").columns["job"] == ["NA", " None"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"\n\n", "the body is empty"),
        (CSV_HEADER, "no rows"),
        (b"age,job\n1,a\n", "columns 'balance', 'loan' are missing"),
        (b"age,age\n1,2\n", "column 'age' appears more than once"),
        (CSV_HEADER + b"true,1,41\n", "row 0 has 3 values, there are 5 columns"),
        (CSV_HEADER + b"true,1,41,x,1\ntrue,1,x,x,1\n", "row 1, column 'age': found 'x'"),
        (CSV_HEADER + b"true,1,56.5,x,1\n", "column 'age': found '56.5'"),
        (CSV_HEADER + b"true,1,,x,1\n", "column 'age': found null"),
        (CSV_HEADER + b"yes,1,1,x,1\n", "column 'loan': found 'yes'"),
        (CSV_HEADER + b"true,1,1,x,one\n", "column 'balance': found 'one'"),
        (CSV_HEADER + b'true,1,1,"x"y,1\n', "not CSV: "),
        (CSV_HEADER + b'true,1,1,"x', "not CSV: unexpected end of data at line 2"),
        (CSV_HEADER + "1,1,1,привет,1".encode("cp1251"), "not UTF-8: byte 31"),
        (CSV_HEADER + b"true,1,1,\x81,1", "not UTF-8: byte 34"),
        (CSV_HEADER.decode().encode("utf-16")[:-1], "not utf-16: byte 50"),
    ],
)
def test_csv_problems_are_located(body, message):
    error = refusal(body, content_type="text/csv")
    assert error.status == 400
    assert message in error.message


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    ("route", "dialect"), sorted({(route, dialect) for route, dialect, _ in ACCEPTED})
)
def test_examples_are_accepted(route, dialect, method):
    request = read(example(CONTRACT, dialect, n=3, method=method), route)
    assert (request.dialect.name, request.n_rows, request.method) == (dialect, 3, method)
    assert request.columns["age"] == [56, 48, 64]


def test_the_csv_example_is_accepted():
    request = read(example_csv(CONTRACT).encode(), content_type="text/csv")
    assert request.columns["job"] == ["admin.", "services"]


def test_an_example_is_made_of_the_columns_and_never_of_the_sample_rows():
    body = json.dumps(example(CONTRACT, "data", 1)).encode()
    request = parse(CONTRACT, body, content_type="application/json", route="score")
    assert request.columns == {"age": [56], "balance": [45.0], "job": ["admin."], "loan": [True]}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Column("x", "long", False, None, 0, 1), [0, 0, 0]),
        (Column("x", "long", False, None, 7, 7), [7, 7, 7]),
        (Column("x", "long", True, None, -(2**63), 2**63 - 1), None),
        (Column("x", "double", True, None, 3.25, 3.25), [3.25, 3.25, 3.25]),
        (Column("x", "double", True, None, 0.0, 1e-9), [5e-10, 4e-10, 6e-10]),
        (Column("x", "double", True, None, -1e308, 1e308), None),
        (Column("x", "double", True), [0.0, 0.0, 0.0]),
        (Column("x", "string", True), ["text", "text", "text"]),
        (Column("x", "string", True, ()), ["text", "text", "text"]),
        (Column("x", "string", True, ("a", "b")), ["a", "b", "a"]),
        (Column("x", "boolean", True), [True, False, True]),
    ],
)
def test_typical_values_lie_in_the_range_and_are_accepted(column, values):
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=1, columns=(column,), samples=()
    )
    body = example(contract, "data", 3)
    if values is not None:
        assert [row["x"] for row in body["data"]] == values
    elif column.minimum is not None:
        assert all(column.minimum <= row["x"] <= column.maximum for row in body["data"])
    read = parse(
        contract, json.dumps(body).encode(), content_type="application/json", route="score"
    )
    assert read.n_rows == 3


TEXTS = ("1", "007", "2.5", "True", "no")


@pytest.mark.parametrize(
    ("value", "known", "stored"),
    [
        (1, TEXTS, "1"),
        (1.0, TEXTS, "1"),
        (7, TEXTS, None),
        (2.5, TEXTS, "2.5"),
        (2, TEXTS, None),
        (True, TEXTS, "True"),
        (False, TEXTS, None),
        (True, ("true", "no"), "true"),
        (True, ("TRUE", "true"), None),
        (1, ("1", "1.0"), None),
        (1, ("1.0",), "1.0"),
        (1e30, ("1", "2"), None),
        (2**63, ("9223372036854775808",), "9223372036854775808"),
        ("xyz", TEXTS, "xyz"),
        ("1.0", TEXTS, "1.0"),
        (5, None, "5"),
    ],
)
def test_a_number_in_a_text_column_is_the_text_that_training_saw_or_refused(value, known, stored):
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=1,
        columns=(Column("code", "string", True, known),), samples=(),
    )  # fmt: skip
    for route, key in (
        ("score", "data"), ("score", "input_data"), ("invocations", "dataframe_records"),
        ("invocations", "instances"), ("invocations", "inputs"),
    ):  # fmt: skip
        body = json.dumps({key: [{"code": value}]}).encode()
        if stored is not None:
            read = parse(contract, body, content_type="application/json", route=route)
            assert read.columns == {"code": [stored]}
            continue
        with pytest.raises(PayloadError, match=r"row 0, column 'code': found .*, expected text"):
            parse(contract, body, content_type="application/json", route=route)


NAN = math.nan


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("boolean", True, 1.0),
        ("boolean", False, 0.0),
        ("boolean", None, NAN),
        ("boolean", NAN, NAN),
        ("boolean", 1, 1.0),
        ("boolean", 0.0, 0.0),
        ("boolean", "TRUE", 1.0),
        ("boolean", " False", 0.0),
        ("boolean", "NA", NAN),
        ("boolean", "xyz", None),
        ("boolean", "", None),
        ("boolean", 2, None),
        ("boolean", 0.5, None),
        ("long", 41, 41.0),
        ("long", None, NAN),
        ("long", "41", 41.0),
        ("long", "n/a", NAN),
        ("long", 41.5, 41.5),
        ("long", True, 1.0),
        ("long", "1_000", None),
        ("long", "abc", None),
    ],
)
def test_nullable_booleans_and_integers(kind, value, stored):
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=1,
        columns=(Column("x", kind, True), Column("n", "long", False)), samples=(),
    )  # fmt: skip
    for rows in ([{"x": value, "n": 1}], [{"x": value, "n": 1}] * 2):
        body = json.dumps({"data": rows}).encode()
        if stored is None:
            with pytest.raises(PayloadError, match=r"row 0, column 'x': .*or null"):
                parse(contract, body, content_type="application/json", route="score")
            continue
        read = parse(contract, body, content_type="application/json", route="score")
        assert read.frame()["x"].dtype == "float64"
        for found in read.columns["x"]:
            assert type(found) is float
            assert found == stored or (math.isnan(found) and math.isnan(stored))


@pytest.mark.parametrize("text", ["1_000", "１２", "0x10", "1,5", "", "--1", "1e", "nan(1)"])
@pytest.mark.parametrize("column", ["age", "balance"])
def test_what_is_no_number_in_a_file_is_none_in_a_request(column, text):
    assert column in refusal({"data": [ROW | {column: text}]}).message
    if text and "," not in text:
        table = f"age,balance,job,loan\n{text if column == 'age' else 1},{text},x,true\n"
        assert refusal(table.encode(), content_type="text/csv").status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"input_data": {"columns": ["a"] * 40_000, "data": []}},
        {"input_data": {"columns": [f"a{n}" for n in range(40_000)] * 2, "data": []}},
        {"input_data": {"columns": ["x" * 1_000_000], "data": []}},
        {"data": [{"x" * 1_000_000: 1}]},
        {"data": [ROW | {"loan": "x" * 1_000_000}]},
        {"x" * 1_000_000: 1},
    ],
    ids=["equal names", "many pairs", "long name", "long key", "long value", "long top"],
)
def test_messages_are_bounded(body):
    error = refusal(body)
    assert error.status == 400
    assert len(json.dumps(error.to_dict())) < 10_000


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize("before", ["", '{"data": ', '{"data": [{"age": '])
def test_deep_nesting_is_refused(before, depth):
    assert refusal((before + "[" * depth + "]" * depth + "}]}"[: before.count("{") * 2]).encode())
    body = f'{{"data": [{{"age": {"[" * depth}{"]" * depth}}}]}}'
    assert refusal(body.encode()).status == 400


PADDED = Contract(
    name="t", target="y", task="binary", classes=(0, 1), n_rows=1, samples=(),
    columns=(Column("a", "long", False), Column("a.1", "long", False), Column(" b", "long", False)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", [{" a ": 1, "a.1": 2, " b": 3}]),
        ("data", [{"a": 1, "a.1\u00a0": 2, " b": 3, "other": 4}]),
        ("input_data", {"columns": ["a", "a", " b"], "data": [[1, 2, 3]]}),
        ("input_data", {"columns": [" b", "a ", "a"], "data": [[3, 1, 2]]}),
        ("inputs", {"a ": [1], "a.1": [2], " b": [3]}),
        ("inputs", {"a ": 1, "a.1": 2, " b": 3}),
        ("dataframe_records", [{"a ": 1, "a.1": 2, " b": 3}]),
    ],
)
def test_names_of_a_request_are_read_as_those_of_a_file(key, value):
    route = "score" if key in ("data", "input_data") else "invocations"
    body = json.dumps({key: value}).encode()
    read = parse(PADDED, body, content_type="application/json", route=route)
    assert read.columns == {"a": [1], "a.1": [2], " b": [3]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"a": 1, "a.1": 2, "b": 3}], "column ' b' is missing"),
        ([{"a ": 1, " a.1": 2, "a.1": 2, " b": 3}], "column 'a.1' appears more than once"),
        ([{"A": 1, "a.1": 2, " b": 3}], "column 'a' is missing"),
    ],
)
def test_names_that_cannot_be_told_are_refused(value, message):
    with pytest.raises(PayloadError, match=re.escape(message)):
        parse(
            PADDED,
            json.dumps({"data": value}).encode(),
            content_type="application/json",
            route="score",
        )


HEADER = ("a\nb", 'c "d"', "e,f", "Unnamed: 3")


def test_a_csv_header_is_read_as_in_training():
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=1, samples=(),
        columns=tuple(Column(name, "long", False) for name in HEADER),
    )  # fmt: skip
    text = '\ufeff"a\nb","c ""d""","e,f",\n1,2,3,4\n'.encode()
    read = parse(contract, text, content_type="text/csv", route="score")
    assert list(read.columns.values()) == [[1], [2], [3], [4]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_quoted_names_are_told_whatever_parts_them(delimiter):
    names = ["age", "balance", "job", "loan"]
    lines = [[f'"{name}"' for name in names], ["41", "1.5", '"services"', "true"]]
    text = "\n".join(delimiter.join(line) for line in lines).encode()
    read = parse(CONTRACT, text, content_type="text/csv", route="score")
    assert [read.columns[name] for name in names] == [[41], [1.5], ["services"], [True]]


def test_quotes_that_are_broken_are_refused():
    with pytest.raises(PayloadError, match="the body is not CSV"):
        parse(CONTRACT, b'"age"x,"job"\n41,x\n', content_type="text/csv", route="score")


@pytest.mark.parametrize(("dialect", "n"), [("csv", 1), ("other", 1), ("data", 0)])
def test_an_example_that_cannot_be_is_refused(dialect, n):
    from twinml.errors import UsageError

    with pytest.raises(UsageError):
        example(CONTRACT, dialect, n)


def test_parsing_imports_neither_pandas_nor_numpy_nor_a_server():
    program = (
        "import sys\n"
        "from twinml.contract import Contract, parse, example, render, openapi\n"
        "contract = Contract.from_json(sys.stdin.read())\n"
        'request = parse(contract, b\'{"data": [[41, 1.5, "x", true]]}\','
        " content_type='application/json', route='score')\n"
        "render(contract, request, ['no'], None)\n"
        "openapi(contract, version='3')\n"
        "print(sorted({'pandas', 'numpy', 'mlflow', 'flask', 'requests'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=CONTRACT.to_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
