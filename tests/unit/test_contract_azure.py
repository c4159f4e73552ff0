"""What Azure's side would refuse of a request, or read otherwise; the facts are measured.

``tests/emulator/test_emulator_serving.py`` asks Microsoft's server about most of them; booleans
and methods were asked of it by hand, with a model that has both.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from twinml.contract import Column, Contract, ScoringRequest, parse
from twinml.contract.intervals import PredictionIntervals
from twinml.contract.notation import Notation

CONTRACT = Contract(
    name="m", target="y", task="binary", classes=("no", "yes"), samples=(), n_rows=0,
    columns=(
        Column("age", "long", nullable=False),
        Column("income", "double", nullable=True),
        Column("city", "string", nullable=True, categories=("1", "Rome")),
        Column("member", "boolean", nullable=False),
        Column("paid", "boolean", nullable=True),
    ),
)  # fmt: skip
ROW: dict[str, Any] = {"age": 41, "income": 0.5, "city": "Rome", "member": True, "paid": None}


def read(
    body: Any,
    *,
    contract: Contract = CONTRACT,
    route: Any = "score",
    kind: str = "application/json",
) -> ScoringRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(contract, raw, content_type=kind, route=route)


def split(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows], **more}


def flag(request: ScoringRequest) -> tuple[str, int] | None:
    found = request.azure
    return None if found is None else (found.header, found.status)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input_data": split(ROW)}, None),
        ({"input_data": split(ROW, ROW)}, None),
        ({"input_data": split(ROW, index=[0])}, None),
        ({"input_data": split(ROW, name="x")}, ("refused; form", 424)),
        ({"input_data": split(ROW, ROW, name="x")}, ("refused; form", 424)),
        ({"input_data": [ROW]}, ("refused; form", 424)),
        ({"input_data": [ROW, ROW]}, ("refused; form", 424)),
        ({"input_data": [list(ROW.values())]}, ("refused; form", 424)),
        ({"input_data": split({" age": 41, **{k: ROW[k] for k in list(ROW)[1:]}})},
         ("refused; columns", 424)),
        ({"input_data": split(dict(reversed(ROW.items())))}, None),
        ({"input_data": split({**ROW, "more": 1})}, None),
        ({"data": [ROW]}, ("refused; dialect", 424)),
        ({"Inputs": {"data": [ROW]}}, ("refused; dialect", 424)),
        ({"input_data": split(ROW), "note": 1}, None),
        ({"input_data": split(ROW), "params": None}, None),
        ({"input_data": split(ROW), "params": {}}, None),
        ({"input_data": split(ROW), "params": {"method": "predict_proba"}}, None),
        ({"input_data": split(ROW), "params": {"method": None}}, ("refused; params", 424)),
        ({"input_data": split(ROW), "method": "predict"}, None),
        ({"input_data": split(ROW), "method": "predict_proba"}, ("differs; method", 400)),
        ({"input_data": split(ROW), "GlobalParameters": {"method": "predict_proba"}},
         ("differs; method", 400)),
        ({"input_data": split(ROW), "GlobalParameters": {"method": "predict"},
          "params": {"method": "predict_proba"}}, None),
        ({"input_data": split(ROW), "method": "predict_proba",
          "params": {"method": "predict_proba"}}, None),
    ],
)  # fmt: skip
def test_forms_of_bodies(body: Any, expected: Any) -> None:
    assert flag(read(body)) == expected


def test_routes_and_media_types() -> None:
    csv = b"age,income,city,member,paid\n41,0.5,Rome,true,\n"
    assert flag(read(csv, kind="text/csv")) == ("refused; media-type", 424)
    assert flag(read(csv, kind="text/csv", route="invocations")) == ("refused; route", 404)
    body = {"dataframe_split": split(ROW)}
    assert flag(read(body, route="invocations")) == ("refused; route", 404)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("age", 41.0, None),
        ("age", 41.5, None),
        ("age", True, None),
        ("age", "41", None),
        ("age", " 41 ", None),
        ("age", "41.0", "refused"),
        ("age", "1e3", "refused"),
        ("income", 7, None),
        ("income", True, None),
        ("income", math.inf, None),
        ("income", "7.5", None),
        ("income", "NaN", None),
        ("income", "NA", "refused"),
        ("income", "null", "refused"),
        ("city", "Oslo", None),
        ("city", None, None),
        ("city", 1, "differs"),
        ("member", 1, None),
        ("member", 0, None),
        ("member", "true", None),
        ("member", "1", None),
        ("member", "false", "differs"),
        ("member", "0", "differs"),
        ("paid", False, None),
        ("paid", 1, None),
        ("paid", "1", None),
        ("paid", "true", "refused"),
    ],
)
@pytest.mark.parametrize("others", [0, 1])
def test_values(column: str, value: Any, expected: str | None, others: int) -> None:
    rows = [ROW] * others + [{**ROW, column: value}]
    found = read({"input_data": split(*rows)}).azure
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.header == f"{expected}; value"
    assert found.detail is not None
    assert (found.detail.row, found.detail.column) == (others, column)
    error = found.error()
    assert error.status == (424 if expected == "refused" else 400)
    assert f"row {others}, column '{column}'" in error.message


def test_a_notation_of_its_own_is_read_otherwise() -> None:
    column = Column(
        "price", "double", nullable=False, notation=Notation(decimal=",", thousands=".")
    )
    contract = Contract(
        name="m", target="y", task="binary", classes=("no", "yes"), samples=(), n_rows=0,
        columns=(column,),
    )  # fmt: skip
    for text, expected in (("1.234", "differs; value"), ("1.234,5", "refused; value")):
        found = read({"input_data": split({"price": text})}, contract=contract)
        assert found.azure is not None
        assert found.azure.header == expected


def test_a_level_beside_the_rows_is_ignored_there() -> None:
    contract = Contract(
        name="m", target="y", task="regression", classes=(), samples=(), n_rows=0,
        target_range=(0.0, 1.0), columns=CONTRACT.columns[:1],
        intervals=PredictionIntervals((0.0,), (1.0,), tuple(0.1 * at for at in range(100))),
    )  # fmt: skip
    inside = {"method": "predict_interval"}
    body = {"input_data": split({"age": 1}), "params": inside}
    assert read(body, contract=contract).azure is None
    assert flag(read({**body, "level": 0.8}, contract=contract)) == ("differs; method", 400)
    inside["level"] = 0.8  # type: ignore[assignment]
    assert read(body, contract=contract).azure is None
