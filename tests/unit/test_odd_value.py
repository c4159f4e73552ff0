"""Which value of a request a model from elsewhere most likely fails on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from twinml.contract import Column, Contract
from twinml_local.server.scoring.service import odd_value

CONTRACT = Contract(
    name="m", target="y", task="regression", classes=(), samples=(), n_rows=0,
    target_range=(0.0, 1.0),
    columns=(
        Column("age", "double", nullable=True),
        Column("city", "string", nullable=True, categories=("Bern", "Rome")),
        Column("note", "string", nullable=True),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("ages", "cities", "notes", "found"),
    [
        ([1.0, 2.0], ["Rome", "Bern"], ["a", "b"], None),
        ([1.0, math.inf], ["Rome", "Oslo"], ["a", "b"], (1, "age", "Infinity", "a finite number")),
        ([1.0, -math.inf], ["Rome"] * 2, ["a", "b"], (1, "age", "-Infinity", "a finite number")),
        ([math.nan, 1.0], ["Rome", "Bern"], ["a", "b"], (0, "age", "null", "a value")),
        ([1.0, 1.0], ["Rome", "Oslo"], ["a", "b"], (1, "city", "Oslo", "one of Bern, Rome")),
        ([1.0, 1.0], ["Rome", None], ["a", "b"], (1, "city", "null", "a value")),
        ([1.0, 1.0], ["Rome", "Bern"], ["a", None], (1, "note", "null", "a value")),
    ],
)  # fmt: skip
def test_the_first_odd_value(
    ages: list[Any], cities: list[Any], notes: list[Any], found: tuple[Any, ...] | None
) -> None:
    odd = odd_value(CONTRACT, {"age": ages, "city": cities, "note": notes})
    assert (odd and (odd.row, odd.column, odd.value, odd.expected)) == found


def test_many_categories_are_counted() -> None:
    names = tuple(f"c{at:02}" for at in range(21))
    contract = Contract(
        name="m", target="y", task="regression", classes=(), samples=(), n_rows=0,
        target_range=(0.0, 1.0),
        columns=(Column("city", "string", nullable=False, categories=names),),
    )  # fmt: skip
    odd = odd_value(contract, {"city": ["x"]})
    assert odd is not None
    assert odd.expected is not None
    assert odd.expected.endswith("c19 … (21 in all)")
