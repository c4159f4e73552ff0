"""Our frames against those that MLflow's scoring server gives a model, value by value.

The functions called here are the ones that ``mlflow models serve`` runs on a request:
``infer_and_parse_data`` or ``parse_csv_input``, then the schema enforcement of
``PyFuncModel.predict``.
"""

from __future__ import annotations

import json
import math
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from twinml.contract import Column, Contract, parse
from twinml.errors import PayloadError

# MLflow describes one of its own types with a hint that it cannot check.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

INF = math.inf
NAN = math.nan

# One column of values a case; both servers took them.
ACCEPTED = {
    "long": [
        ["56"],
        [" 56 "],
        ["-7", 3],
        [56.0],
        [56.5, -56.5],
        [56, 56.5],
        ["56", 56.5, True],
        [True, False],
        [True, 56],
        [2**53, -(2**53)],
        [2**63 - 1, -(2**63)],
    ],
    "double": [
        [1],
        [1, 2.5],
        [None],
        [1, None],
        [True, None],
        [NAN, INF, -INF],
        ["1.5", "-2", "1e5", " 7 "],
        ["nan", "inf", "-Infinity"],
        ["1.5", None, 3],
        [2**64],
        [0.1, 1e-320, 1.7976931348623157e308],
        [-0.0],
    ],
    "string": [
        ["a", "b"],
        [""],
        ["ä\n\U0001f600"],
        [1],
        [1, 2],
        [1, 2.5],
        [1.5],
        [True, False],
        [1, "a"],
        [True, "a", 2.5],
        ["1", 1],
    ],
    "boolean": [[True, False], [0, 1], [1.0, 0.0], [True, 0, 1.0]],
}
# Null in a string column: the keys inputs and instances turn it into the text "None".
ACCEPTED_AS_NULL = {"string": [[None], ["a", None], [1, None], [True, None], ["a", NAN], [NAN]]}

REJECTED = {
    "long": [
        ["abc"],
        [None],
        [1, None],
        [NAN],
        [INF],
        ["56.5"],
        [""],
        ["nan"],
        [2**64],
        [[1]],
        [{}],
    ],
    "double": [["x"], [""], [1, "x"], ["0x10"], [[1.5]], [{}], [10**400]],
}

# MLflow takes these and changes their meaning; a request that holds them is refused here.
REFUSED_HERE = {
    "long": [[2**63], [1e300], [-1e300]],
    "string": [[["a"]], [{"a": 1}]],
    "boolean": [["abc"], [""], [None], [2], [0.5], [NAN]],
}

# MLflow refuses these or takes "false" for true; here they mean what they mean in a file.
READ_HERE = [("long", ["56.0"], [56]), ("long", ["1e1"], [10]), ("boolean", ["false"], [False])]

KEYS = ["dataframe_records", "dataframe_split", "instances", "inputs"]


def cases(table):
    return [
        pytest.param(kind, values, id=f"{kind}-{values!r:.40}")
        for kind, columns in table.items()
        for values in columns
    ]


def contract_of(kind: str) -> Contract:
    return Contract(
        name="t",
        target="y",
        task="binary",
        classes=("no", "yes"),
        n_rows=1,
        columns=(Column("x", kind, kind in ("double", "string")), Column("n", "long", False)),
        samples=(),
    )


def body_of(key: str, values: list) -> dict:
    rows = [{"n": number, "x": value} for number, value in enumerate(values)]
    if key == "dataframe_split":
        return {key: {"columns": ["n", "x"], "data": [[row["n"], row["x"]] for row in rows]}}
    if key == "inputs":
        return {key: {"n": [row["n"] for row in rows], "x": values}}
    return {key: rows}


def ours(contract: Contract, text: str, content_type="application/json") -> pd.DataFrame:
    request = parse(contract, text.encode(), content_type=content_type, route="invocations")
    return request.frame()


def theirs(contract: Contract, text: str, content_type="application/json") -> pd.DataFrame:
    """Return the frame that the model behind ``mlflow models serve`` would be given."""
    from mlflow.models.utils import _enforce_schema
    from mlflow.pyfunc.scoring_server import infer_and_parse_data, parse_csv_input

    schema = contract.signature().inputs
    if content_type == "text/csv":
        data = parse_csv_input(StringIO(text), schema)
    else:
        data = infer_and_parse_data(json.loads(text), schema)
    return _enforce_schema(data, schema)


def assert_mlflow_rejects(contract: Contract, text: str, content_type="application/json") -> None:
    from mlflow.exceptions import MlflowException

    # What is not an MlflowException is a 500 there, but no prediction either.
    with pytest.raises((MlflowException, TypeError, ValueError, OverflowError)):
        theirs(contract, text, content_type)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == list(expected.columns)
    assert list(found.dtypes) == list(expected.dtypes)
    for name in found.columns:
        for mine, other in zip(found[name], expected[name], strict=True):
            if pd.isna(other):
                assert pd.isna(mine)
                continue
            assert mine == other
            # 1 and 1.0 are one value, True and "1" are others.
            assert isinstance(mine, str) == isinstance(other, str)
            assert isinstance(mine, (bool, np.bool_)) == isinstance(other, (bool, np.bool_))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("kind", "values"), cases(ACCEPTED))
def test_the_model_sees_what_it_sees_behind_mlflow(kind, values, key):
    contract, text = contract_of(kind), json.dumps(body_of(key, values))
    found, expected = ours(contract, text), theirs(contract, text)
    if kind == "string" and key in KEYS[:2]:
        # MLflow leaves numbers there, which no model of texts knows.
        expected["x"] = [None if pd.isna(value) else str(value) for value in values]
        expected = expected.astype({"x": object})
    assert_same(found, expected)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("kind", "values", "read"), READ_HERE)
def test_text_means_what_it_means_in_a_file(kind, values, read, key):
    contract, text = contract_of(kind), json.dumps(body_of(key, values))
    assert ours(contract, text)["x"].tolist() == read


@pytest.mark.parametrize("key", KEYS[:2])
@pytest.mark.parametrize(("kind", "values"), cases(ACCEPTED_AS_NULL))
def test_null_in_a_string_column_is_null_as_behind_mlflow(kind, values, key):
    contract, text = contract_of(kind), json.dumps(body_of(key, values))
    found, expected = ours(contract, text), theirs(contract, text)
    if kind == "string" and key in KEYS[:2]:
        # MLflow leaves numbers there, which no model of texts knows.
        expected["x"] = [None if pd.isna(value) else str(value) for value in values]
        expected = expected.astype({"x": object})
    assert_same(found, expected)


@pytest.mark.parametrize("key", KEYS[2:])
def test_null_in_a_string_column_is_null_where_mlflow_writes_none(key):
    contract, text = contract_of("string"), json.dumps(body_of(key, ["a", None]))
    assert ours(contract, text)["x"].tolist() == ["a", None]
    assert theirs(contract, text)["x"].tolist() == ["a", "None"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("kind", "values"), cases(REJECTED))
def test_what_mlflow_rejects_is_rejected_with_its_place(kind, values, key):
    contract, text = contract_of(kind), json.dumps(body_of(key, values))
    with pytest.raises(PayloadError) as caught:
        ours(contract, text)
    assert {detail.column for detail in caught.value.details} == {"x"}
    assert_mlflow_rejects(contract, text)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(("kind", "values"), cases(REFUSED_HERE))
def test_what_mlflow_would_change_is_refused(kind, values):
    contract, text = contract_of(kind), json.dumps(body_of("dataframe_records", values))
    with pytest.raises(PayloadError, match="row 0, column 'x'"):
        ours(contract, text)
    frame = theirs(contract, text)
    assert kind == "string" or frame["x"].tolist() != values


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("long", "56"),
        ("long", " 56"),
        ("long", "56.0"),
        ("long", "-3"),
        ("double", "1.5"),
        ("double", ""),
        ("double", "inf"),
        ("double", "nan"),
        ("double", "7"),
        ("string", "a b"),
        ("string", '"a,""b"""'),
        ("string", "1"),
        ("string", ""),
        ("boolean", "true"),
        ("boolean", "FALSE"),
        ("boolean", "1"),
        ("boolean", "0"),
    ],
)
def test_csv_cells_are_what_they_are_behind_mlflow(kind, cell):
    contract, text = contract_of(kind), f"n,x\n1,{cell}\n"
    assert_same(ours(contract, text, "text/csv"), theirs(contract, text, "text/csv"))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [("long", "abc"), ("long", ""), ("long", "56.5"), ("double", "x"), ("boolean", "yes")],
)
def test_csv_cells_that_mlflow_rejects_are_rejected(kind, cell):
    contract, text = contract_of(kind), f"n,x\n1,{cell}\n"
    with pytest.raises(PayloadError):
        ours(contract, text, "text/csv")
    assert_mlflow_rejects(contract, text, "text/csv")


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"x": "a", "n": 1}, {"n": 2}]},
        {"dataframe_split": {"columns": ["z", "n", "x"], "data": [[1, 2, "a"]]}},
        {"dataframe_split": {"columns": ["n", "x"], "index": [7], "data": [[2, "a"]]}},
        {"inputs": [{"x": "a", "n": 1, "z": None}]},
        {"inputs": {"x": "a", "n": 1}},
        {"instances": {"x": ["a", "b"], "n": [1, 2]}},
    ],
)
def test_shapes_that_mlflow_takes_give_the_same_frame(body):
    contract, text = contract_of("string"), json.dumps(body)
    expected = theirs(contract, text).reset_index(drop=True)
    assert_same(ours(contract, text), expected[["x", "n"]])


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"x": "a"}]},
        {"dataframe_records": []},
        {"dataframe_records": {"x": ["a"], "n": [1]}},
        {"dataframe_split": {"columns": ["x", "n"], "data": [["a"]]}},
        {"dataframe_split": {"data": [["a", 1]]}},
        {"dataframe_split": {"columns": ["x", "n"], "data": "a"}},
        {"dataframe_split": {"columns": ["x", "n"]}},
        {"instances": {"x": ["a"], "n": [1, 2]}},
        {"other": 1},
        {"instances": [{"x": "a", "n": 1}], "inputs": [{"x": "a", "n": 1}]},
    ],
)
def test_shapes_that_mlflow_rejects_are_rejected(body):
    contract, text = contract_of("string"), json.dumps(body)
    with pytest.raises(PayloadError):
        ours(contract, text)
    assert_mlflow_rejects(contract, text)
