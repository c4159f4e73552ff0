"""The shortcut for single rows gives what the general parser gives, or leaves it to that."""

import json
import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from twinml.contract import Column, Contract, parse
from twinml.contract._usual import UsualRow
from twinml.contract.dialects import DIALECTS, ROUTES
from twinml.errors import PayloadError

COLUMNS = (
    Column("age", "long", nullable=False),
    Column("balance", "double", nullable=True),
    Column("job", "string", nullable=True),
    Column("owner", "boolean", nullable=False),
)


def contract(n: int) -> Contract:
    return Contract(
        name="bank", target="y", task="binary", classes=("no", "yes"), n_rows=2,
        columns=COLUMNS[:n], samples=(),
    )  # fmt: skip


CONTRACTS = {n: contract(n) for n in (1, 2, 4)}
NAMES = [column.name for column in COLUMNS]
usual_values = [
    st.integers(0, 99),
    st.one_of(st.floats(-1e6, 1e6), st.integers(0, 99), st.none()),
    st.sampled_from(["admin.", "", "ü", None]),
    st.booleans(),
]
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(10**400, 10**401),
    st.floats(),
    st.sampled_from(["", "1", "x"]),
    st.lists(st.integers(), max_size=1),
)
values = [st.sampled_from([one] * 9 + [odd]).flatmap(lambda chosen: chosen) for one in usual_values]
usual_records = st.fixed_dictionaries(dict(zip(NAMES, usual_values, strict=True)))
records = (
    usual_records
    | st.fixed_dictionaries(dict(zip(NAMES, values, strict=True)), optional={"more": odd})
    | st.dictionaries(st.sampled_from(NAMES), odd)
)
matrices = st.tuples(*values).map(list) | st.lists(odd, max_size=6)
rows = st.lists(records | matrices, max_size=2)
splits = st.fixed_dictionaries(
    {
        "columns": st.sampled_from([NAMES, NAMES, NAMES[:2], NAMES[:1], NAMES[::-1], "age", None]),
        "data": st.lists(matrices | records, max_size=2) | odd,
    },
    optional={"index": st.sampled_from([None, [0], [], [0, 1], "x", {}])},
)
method = st.sampled_from([None, "predict", "predict_proba", "other"])


def outcome(n: int, route: Any, body: bytes, most: int | None) -> Any:
    try:
        found = parse(
            CONTRACTS[n], body, content_type="application/json", route=route, max_rows=most
        )
    except PayloadError as error:
        return error.status, error.to_dict()
    # nan is not equal to itself, and 1 == 1.0 == True.
    shown = {
        name: [(type(v), "nan" if v != v else v) for v in column]
        for name, column in found.columns.items()
    }
    return found.dialect, shown, found.n_rows, found.method, found.types


@settings(max_examples=600, deadline=None)
@given(
    n=st.sampled_from([1, 2, 4, 4]),
    route=st.sampled_from(["score", "invocations"]),
    asked=method,
    most=st.sampled_from([None, 1, 0]),
    data=st.data(),
)
def test_both_ways_agree(n: int, route: Any, asked: Any, most: int | None, data: Any) -> None:
    key = data.draw(st.sampled_from(list(ROUTES[route])))
    shapes = [st.lists(records, min_size=1, max_size=1)] * 4
    shapes += [rows, splits, st.fixed_dictionaries({"data": rows}), odd]
    under = data.draw(st.one_of(*shapes))
    if key == "Inputs" and data.draw(st.booleans()):
        under = {"data": under}
    elif "split" in key and type(under) is list and data.draw(st.booleans()):
        names = NAMES[:n]
        cells = [[row.get(name) for name in names] for row in under if type(row) is dict]
        under = {"columns": names, "data": cells}
    body = json.dumps({key: under, "params": {"method": asked}}).encode()
    by_shortcut = outcome(n, route, body, most)
    with mock.patch.object(UsualRow, "columns", return_value=None):
        assert outcome(n, route, body, most) == by_shortcut
    event(f"short: {UsualRow(CONTRACTS[n]).columns(ROUTES[route][key], under) is not None}")


@pytest.mark.parametrize("route", ["score", "invocations"])
def test_the_usual_dialects_take_it(route: Any) -> None:
    row = {"age": 41, "balance": None, "job": "admin.", "owner": True}
    usual = UsualRow(CONTRACTS[4])
    split = {"columns": NAMES, "index": [0], "data": [list(row.values())]}
    for key, dialect in ROUTES[route].items():
        if key == "inputs":
            continue
        value: Any = {"data": [row]} if key == "Inputs" else [row]
        value = split if key == "dataframe_split" else value
        columns = usual.columns(dialect, value)
        assert columns is not None
        assert math.isnan(columns["balance"][0])
        assert [columns[name] for name in ("age", "job", "owner")] == [[41], ["admin."], [True]]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinml.contract._usual.MOST_KNOWN", 3)
    usual = UsualRow(CONTRACTS[2])
    for age in (1, "1", 1.0, None, True):
        for balance in (1, 1.0, None, "1"):
            found = usual.columns(DIALECTS["data"], [[age, balance]])
            assert (found is not None) == (age in (1,) and type(age) is int and balance != "1")
    assert len(usual._known) == 3
