"""Free text: what is some, and that contract, model, drift and probe take it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinml import drift
from twinml.contract import Contract, example_rows, infer_contract, openapi, parse
from twinml.contract.free_text import FreeText, is_free_text
from twinml.data import load
from twinml.model import ood
from twinml.probe._perturbations import changes, is_outside
from twinml.training._free_text import DIMENSIONS, words
from twinml.training._preprocessing import encoder, string_columns
from twinml.training.encoded import encoded_columns
from twinml_local.compiled._compile import _encoding
from twinml_local.compiled._errors import Refusal

TEXTS = [f"the parcel number {one} came late" for one in range(40)]


@pytest.mark.parametrize(
    ("texts", "cells", "expected"),
    [
        (TEXTS[:20], 40, True),
        (TEXTS[:19], 19, False),  # too few
        (TEXTS[:20], 41, False),  # they come again
        ([f"a b {one} {one}" for one in range(20)], 20, True),
        ([*(f"a b {one} {one}" for one in range(19)), "a b c"], 20, False),  # too short
        ([f"{one}-{one}" for one in range(20)], 20, False),
    ],
)
def test_free_text_differs_and_has_words(texts: list[str], cells: int, expected: bool) -> None:
    assert is_free_text(texts, cells) == expected


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame({"said": [*TEXTS, *TEXTS[:19], None], "n": np.arange(60.0), "c": "x"})


@pytest.fixture
def contract(rows: pd.DataFrame) -> Contract:
    labels = pd.Series(["a", "b"] * 30, name="y")
    return infer_contract(rows, labels, name="texts", notations={"said": FreeText()})


def test_the_contract_holds_none_of_the_texts(contract: Contract) -> None:
    said = contract.columns[0]
    assert (said.type, said.nullable, said.categories) == ("text", True, None)
    assert contract.column_types[0] == "string"
    assert contract.to_dict()["format_version"] == 4
    assert Contract.from_json(contract.to_json()) == contract
    assert example_rows(contract, 1)[0]["said"] == "text"
    for version in ("2", "3", "3.1"):
        whole = json.dumps(openapi(contract, version=version))  # type: ignore[arg-type]
        assert "Free text." in whole
        assert "parcel" not in whole


@pytest.mark.parametrize(("value", "expected"), [("any text", "any text"), (None, None), (7, "7")])
def test_a_request_may_hold_any_text(
    contract: Contract, value: object, expected: str | None
) -> None:
    body = json.dumps({"data": [{"said": value, "n": 1, "c": "x"}]}).encode()
    asked = parse(contract, body, content_type="application/json", route="score")
    assert asked.columns["said"] == [expected]


def test_the_encoder_makes_dimensions_of_words(rows: pd.DataFrame) -> None:
    forms = {"said": FreeText()}
    assert string_columns(rows, forms) == ["c"]
    made = encoder(rows, forms).fit(rows)
    names = encoded_columns(made.named_steps["columns"])
    assert names == ["c", "n", *["said"] * DIMENSIONS]
    matrix = made.transform(rows)
    assert matrix.dtype == np.float64
    assert not matrix[-1, 2:].any()  # null has no words
    alone = made.transform(rows.assign(said=pd.Series([None] * 60, dtype=object)))
    assert not alone[:, 2:].any()


@pytest.mark.parametrize(
    ("texts", "width"),
    [([None], 1), (["a"], 1), (["a b", "a", "b"], 2), (["a b", None, "b c", "c d e"], 4)],
)
def test_few_words_are_few_dimensions(texts: list[str | None], width: int) -> None:
    series = pd.Series(texts, dtype=object)
    assert words(series).fit_transform(series).shape == (len(texts), width)


def test_what_is_read_as_free_text_is_said_and_profiled(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pd.DataFrame({"said": [*TEXTS, *TEXTS[:20]], "y": ["a", "b"] * 30}).to_csv(path, index=False)
    data = load(path, "y")
    assert data.notations == {"said": FreeText()}
    assert data.profile()["type"].tolist() == ["text"]
    said = [finding for finding in data.findings if finding.column == "said"]
    assert [finding.kind for finding in said] == ["free-text"]
    assert not said[0].decision
    assert said[0].message.startswith("'said' is free text: the model learns from words")


def test_drift_looks_at_how_long_texts_are() -> None:
    before = pd.DataFrame({"said": [f"{one} " * (5 + one % 20) for one in range(600)]})
    same = pd.DataFrame({"said": [f"new{one} " * (5 + one % 20) for one in range(600)]})
    longer = pd.DataFrame({"said": [f"{one} " * (15 + one % 20) for one in range(600)]})
    assert drift.compare(before, same).drifted == ()
    assert drift.compare(before, longer).drifted == ("said",)


def test_texts_are_neither_odd_nor_compiled(contract: Contract, rows: pd.DataFrame) -> None:
    assert [column.name for column in ood.columns_of(contract)] == ["n", "c"]
    assert "very long" in {probe for probe, _, _ in changes(contract.columns[0])}
    assert not is_outside(contract.columns[0], "any text")
    with pytest.raises(Refusal, match="column 'said' holds free text"):
        _encoding(None, contract)
