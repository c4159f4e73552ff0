"""What holds of every contract and every body, searched for counterexamples."""

from __future__ import annotations

import copy
import csv
import io
import json
import math

import orjson
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinml.contract import Column, Contract, parse, render
from twinml.contract._coerce import each, quick
from twinml.contract.dialects import ROUTES
from twinml.errors import PayloadError

KINDS = ("long", "double", "string", "boolean")
STATUSES = {400, 413, 415}
KEYS = [key for keys in ROUTES.values() for key in keys]

longs = st.integers(-(2**63), 2**63 - 1)
cells = {
    "long": longs,
    "double": st.none() | st.floats(),
    "string": st.none() | st.text(max_size=6),
    "boolean": st.booleans(),
}
names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1", "1.5", "nan", 2**63, -(2**63) - 1, 10**400, 1e300, 0, 1])
)
keys = st.sampled_from([*KEYS, "columns", "index", "params", "GlobalParameters", "method"])
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys | st.sampled_from(["age", "job"]) | st.text(max_size=3), inner)
    ),
    max_leaves=12,
)

BANK = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=2,
    columns=(
        Column("age", "long", False),
        Column("balance", "double", True),
        Column("job", "string", True),
        Column("loan", "boolean", False),
    ),
    samples=(),
)


def contract_of(columns: dict[str, str]) -> Contract:
    return Contract(
        name="t",
        target="y",
        task="binary",
        classes=("no", "yes"),
        n_rows=1,
        columns=tuple(
            Column(name, kind, kind in ("double", "string")) for name, kind in columns.items()
        ),
        samples=(),
    )


@st.composite
def contracts_and_rows(draw: st.DrawFn) -> tuple[Contract, list[dict]]:
    columns = {name: draw(st.sampled_from(KINDS)) for name in draw(names)}
    row = st.fixed_dictionaries({name: cells[kind] for name, kind in columns.items()})
    return contract_of(columns), draw(st.lists(row, min_size=1, max_size=5))


def bodies(contract: Contract, rows: list[dict], order: list[str]) -> list[tuple[str, str, dict]]:
    """Return route, dialect and body of every way to write ``rows``."""
    records = [{name: row[name] for name in order} for row in rows]
    values = [[row[name] for name in contract.column_names] for row in rows]
    columns = {name: [row[name] for row in rows] for name in order}
    split = {"columns": order, "data": [list(row.values()) for row in records]}
    return [
        ("score", "data", {"data": records}),
        ("score", "data", {"data": values}),
        ("score", "data", {"data": columns}),
        ("score", "inputs", {"Inputs": {"data": records}, "GlobalParameters": 1.0}),
        ("score", "inputs", {"Inputs": {"data": values}}),
        ("score", "input_data", {"input_data": split | {"index": list(range(len(rows)))}}),
        ("score", "input_data", {"input_data": records}),
        ("score", "input_data", {"input_data": values}),
        ("invocations", "dataframe_split", {"dataframe_split": split}),
        ("invocations", "dataframe_records", {"dataframe_records": records}),
        ("invocations", "instances", {"instances": records}),
        ("invocations", "instances", {"instances": values}),
        ("invocations", "mlflow_inputs", {"inputs": columns}),
        ("invocations", "mlflow_inputs", {"inputs": records}),
    ]


def expected_frame(contract: Contract, rows: list[dict]) -> pd.DataFrame:
    dtypes = {"long": "int64", "double": "float64", "string": "object", "boolean": "bool"}
    return pd.DataFrame(
        {
            column.name: pd.Series([row[column.name] for row in rows], dtype=dtypes[column.type])
            for column in contract.columns
        }
    )


def check_refusal(error: PayloadError, contract: Contract) -> None:
    """Every refusal is short, can be written as JSON and points at columns that exist."""
    assert error.status in STATUSES
    assert error.hint
    assert len(error.message) < 1000
    assert error.message.isprintable()
    orjson.dumps(error.to_dict())
    assert len(error.details) <= max(20, len(contract.columns))
    assert {detail.column for detail in error.details} <= {None, *contract.column_names}


@settings(deadline=None, max_examples=60)
@given(contracts_and_rows(), st.data())
def test_every_dialect_gives_the_identical_frame(case, data):
    contract, rows = case
    order = data.draw(st.permutations(contract.column_names))
    expected = expected_frame(contract, rows)
    for route, dialect, body in bodies(contract, rows, order):
        raw = json.dumps(body).encode()
        request = parse(contract, raw, content_type="application/json", route=route)
        assert (request.dialect.name, request.n_rows) == (dialect, len(rows))
        pd.testing.assert_frame_equal(request.frame(), expected, check_exact=True)
        assert orjson.loads(render(contract, request, ["no"] * len(rows), None))


@settings(deadline=None, max_examples=50)
@given(contracts_and_rows(), st.data())
def test_csv_gives_the_identical_frame(case, data):
    contract, rows = case
    order = data.draw(st.permutations(contract.column_names))
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(order)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in order])
    raw = text.getvalue().encode()
    request = parse(contract, raw, content_type="text/csv", route="score")
    empty_is_null = [{n: None if v == "" else v for n, v in row.items()} for row in rows]
    expected = expected_frame(contract, empty_is_null)
    pd.testing.assert_frame_equal(request.frame(), expected, check_exact=True)


def same(found: list, expected: list) -> bool:
    return [
        (type(v), v != v or v, math.copysign(1, v) if type(v) is float else 0) for v in found
    ] == [(type(v), v != v or v, math.copysign(1, v) if type(v) is float else 0) for v in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_the_quick_conversion_equals_the_careful_one(kind):
    columns = st.one_of(
        *(st.lists(cell, min_size=1, max_size=6) for cell in (*cells.values(), scalars)),
        st.lists(st.integers() | st.floats(), min_size=1, max_size=6),
    )
    taken = set()

    @settings(deadline=None, max_examples=150)
    @given(columns)
    @example([2**63])
    @example([-(2**63) - 1])
    @example([10**400])
    @example([True, 1])
    @example([1, 2])
    @example([1.0, 2.0])
    @example(["a", None])
    @example([True, False])
    def check(values):
        found = quick(kind, values)
        taken.add(found is not None)
        if found is not None:
            expected, problems = each(kind, values)
            # A nan is null in a string column, and has no place in the quick one.
            assert not problems
            assert same(found, expected)

    check()
    assert taken == {True, False}


@settings(deadline=None, max_examples=150)
@given(documents, st.sampled_from(["score", "invocations"]))
def test_any_json_is_parsed_or_refused(document, route):
    raw = json.dumps(document).encode()
    try:
        request = parse(BANK, raw, content_type="application/json", route=route)
    except PayloadError as error:
        check_refusal(error, BANK)
    else:
        assert len(request.frame()) == request.n_rows


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode()),
    st.sampled_from(["application/json", "text/csv"]) | st.none() | st.text(max_size=20),
    st.sampled_from(["score", "invocations"]),
)
@example(b"[" * 200_000, "application/json", "score")
@example(b'{"data":' * 50_000, "application/json", "score")
@example(b'{"data": [' + b"9" * 5000 + b"]}", "application/json", "score")
@example(b'{"data": "\\ud800"}', "application/json", "score")
@example(b'age,job\n"', "text/csv", "score")
@example(b"a" * 200_000, "text/csv", "score")
@example(b"\x00,\x00\n", "text/csv", "score")
def test_any_bytes_are_parsed_or_refused(raw, content_type, route):
    try:
        parse(BANK, raw, content_type=content_type, route=route)
    except PayloadError as error:
        check_refusal(error, BANK)


def places(document, path=()):
    """Yield the path of every value inside a document."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def mutate(document: dict, path: tuple, action: str, value: object) -> None:
    *parents, last = path
    for key in parents:
        document = document[key]
    if action == "delete":
        del document[last]
    elif action == "double" and isinstance(document, list):
        document.append(copy.deepcopy(document[last]))
    else:
        document[last] = value


@settings(deadline=None, max_examples=150)
@given(contracts_and_rows(), st.data())
def test_a_changed_request_is_parsed_or_refused_with_its_column(case, data):
    contract, rows = case
    route, _, body = data.draw(st.sampled_from(bodies(contract, rows, list(contract.column_names))))
    body = json.loads(json.dumps(body))
    for _ in range(data.draw(st.integers(1, 2))):
        found = list(places(body))
        if not found:
            break
        path = data.draw(st.sampled_from(found))
        action = data.draw(st.sampled_from(["delete", "double", "replace"]))
        mutate(body, path, action, data.draw(documents))
    raw = json.dumps(body).encode()
    try:
        request = parse(contract, raw, content_type="application/json", route=route)
    except PayloadError as error:
        check_refusal(error, contract)
    else:
        frame = request.frame()
        assert list(frame.columns) == list(contract.column_names)
        assert len(frame) == request.n_rows >= 1


@settings(deadline=None, max_examples=60)
@given(contracts_and_rows(), st.data())
def test_a_wrong_cell_is_found_at_its_place(case, data):
    contract, rows = case
    column = data.draw(st.sampled_from(contract.columns))
    number = data.draw(st.integers(0, len(rows) - 1))
    wrong = {"long": "x", "double": "x", "string": ["x"], "boolean": "x"}[column.type]
    rows[number] = rows[number] | {column.name: wrong}
    for route, _, body in bodies(contract, rows, list(contract.column_names)):
        raw = json.dumps(body).encode()
        with pytest.raises(PayloadError) as caught:
            parse(contract, raw, content_type="application/json", route=route)
        (detail,) = caught.value.details
        assert (detail.row, detail.column) == (number, column.name)
        check_refusal(caught.value, contract)
