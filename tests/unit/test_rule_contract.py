"""How many rows a request may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twinml.contract import Column, Contract, parse
from twinml.errors import PayloadError

CONTRACT = Contract(
    name="bank",
    target="y",
    task="binary",
    classes=("no", "yes"),
    n_rows=2,
    columns=(Column("age", "long", nullable=False),),
    samples=(),
)


def bodies(rows: int) -> dict[str, tuple[bytes, str, Any]]:
    """Return the same rows in each form, with content type and route."""
    ages = list(range(rows))
    records = [{"age": age} for age in ages]
    split = {"columns": ["age"], "data": [[age] for age in ages]}
    documents: dict[str, tuple[Any, Any]] = {
        "data": ({"data": records}, "score"),
        "Inputs": ({"Inputs": {"data": records}}, "score"),
        "input_data": ({"input_data": split}, "score"),
        "dataframe_split": ({"dataframe_split": split}, "invocations"),
        "dataframe_records": ({"dataframe_records": records}, "invocations"),
        "instances": ({"instances": records}, "invocations"),
        "inputs": ({"inputs": {"age": ages}}, "invocations"),
    }
    text = "".join(f"{line}\n" for line in ["age", *ages])
    return {
        **{
            name: (json.dumps(document).encode(), "application/json", route)
            for name, (document, route) in documents.items()
        },
        "csv": (text.encode(), "text/csv", "score"),
    }


@pytest.mark.parametrize("form", list(bodies(1)))
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("most", [None, 1, 2, 3])
def test_as_many_rows_as_the_bound_are_taken_and_one_more_is_refused(
    form: str, rows: int, most: int | None
) -> None:
    body, content_type, route = bodies(rows)[form]
    if most is None or rows <= most:
        found = parse(CONTRACT, body, content_type=content_type, route=route, max_rows=most)
        assert found.n_rows == rows
        assert found.columns == {"age": list(range(rows))}
        return
    with pytest.raises(PayloadError) as caught:
        parse(CONTRACT, body, content_type=content_type, route=route, max_rows=most)
    assert caught.value.status == 413
    assert caught.value.message == f"the request holds {rows} rows, at most {most} are taken"


@pytest.mark.parametrize("form", ["data", "csv", "inputs"])
def test_a_request_without_rows_is_refused_whatever_the_bound(form: str) -> None:
    body, content_type, route = bodies(0)[form]
    for most in (None, 0, 5):
        with pytest.raises(PayloadError) as caught:
            parse(CONTRACT, body, content_type=content_type, route=route, max_rows=most)
        assert caught.value.status == 400
        assert "holds no rows" in caught.value.message or "no rows" in caught.value.message


def test_a_bound_of_no_rows_takes_none() -> None:
    body, content_type, route = bodies(1)["data"]
    with pytest.raises(PayloadError) as caught:
        parse(CONTRACT, body, content_type=content_type, route=route, max_rows=0)
    assert caught.value.status == 413
