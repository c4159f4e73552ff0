"""Dates: what is one, in which form, and that requests, documents, files and models agree."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinml import drift
from twinml.batch._read import Source, types_of
from twinml.contract import Column, Contract, example_rows, infer_contract, openapi, parse
from twinml.contract.dates import (
    DAYS,
    ISO,
    ISO_PATTERN,
    TIMES,
    DateForm,
    date_form_of,
    date_text,
    moment,
    written,
)
from twinml.contract.dialects import DIALECTS
from twinml.contract.notation import Notation
from twinml.data import load
from twinml.errors import DataError, PayloadError
from twinml.model import ood
from twinml.probe._neighbours import nearest_rows
from twinml.probe._perturbations import changes, is_outside
from twinml.probe._response_curves import _places
from twinml.training._dates import date_parts
from twinml_local.compiled._compile import _encoding
from twinml_local.compiled._errors import Refusal
from twinml_local.server.scoring._query import body_from_query

DAY = 86_400.0
GERMAN = DateForm("%d.%m.%Y")


def seconds(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2024-02-29", DateForm(), seconds(2024, 2, 29)),
        (" 2024/2/9 ", DateForm(), seconds(2024, 2, 9)),
        ("2024-01-05 9:05", DateForm(), seconds(2024, 1, 5, 9, 5)),
        ("2024-01-05T09:05:07.25", DateForm(), seconds(2024, 1, 5, 9, 5, 7) + 0.25),
        ("2024-01-05T00:30+01:00", DateForm(), seconds(2024, 1, 4, 23, 30)),
        ("2024-01-05T00:30-0130", DateForm(), seconds(2024, 1, 5, 2)),
        ("2024-01-05 00:30 Z", DateForm(), seconds(2024, 1, 5, 0, 30)),
        ("1678-01-01", DateForm(), seconds(1678, 1, 1)),
        ("2261-12-31T23:59", DateForm(), seconds(2261, 12, 31, 23, 59)),
        ("5.1.2024", GERMAN, seconds(2024, 1, 5)),
        ("2024-01-05", GERMAN, seconds(2024, 1, 5)),
        ("1/31/2024 12:00 AM", DateForm("%m/%d/%Y %I:%M %p", time=True), seconds(2024, 1, 31)),
    ],
)
def test_a_text_is_a_moment(text: str, form: DateForm, expected: float) -> None:
    assert moment(text, form) == expected


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2023-02-29", DateForm()),
        ("2024-01/05", DateForm()),
        ("2024-01-05T24:00", DateForm()),
        ("2024-01-05T00:30+24:00", DateForm()),
        ("2024-01-05T00:30+01:60", DateForm()),
        ("1677-12-31T23:59:59", DateForm()),
        ("2262-01-01", DateForm()),
        ("5.1.2024", DateForm()),
        ("1/5/2024", GERMAN),
        ("２024-01-05", DateForm()),
        ("5.1.２024", GERMAN),
        ("20240105", DateForm()),
        ("2024", DateForm()),
        ("", DateForm()),
    ],
)
def test_what_is_no_date_is_refused(text: str, form: DateForm) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the reader's
        moment(text, form)


@pytest.mark.parametrize(
    ("texts", "form", "time"),
    [
        (["2024-01-05", "2024/1/6"], ISO, False),
        (["2024-01-05T00:00", "2024-01-06T00:00"], ISO, False),
        (["2024-01-05", "2024-01-06T10:00+01:00"], ISO, True),
        (["05.01.2024", "2024-01-06"], "%d.%m.%Y", False),
        (["13/12/2024"], "%d/%m/%Y", False),
        (["12/13/2024", "01/02/2024"], "%m/%d/%Y", False),
        (["5 May 2024"], "%d %b %Y", False),
        (["05-Jan-24"], "%d-%b-%y", False),
        (["01.02.10"], "%d.%m.%y", False),
        (["1/31/2024 3:05 PM"], "%m/%d/%Y %I:%M %p", True),
        (["Fri, 05 Jan 2024 10:00:00 +0100"], "%a, %d %b %Y %H:%M:%S %z", True),
    ],
)
def test_the_form_of_a_column_is_found(texts: list[str], form: str, time: bool) -> None:
    assert date_form_of(texts) == DateForm(form, time)


@pytest.mark.parametrize(
    "texts",
    [
        ["01/02/2024", "03/04/2024"],  # of two orders
        ["1.2.10"],  # a version
        ["2024-01-05", "soon"],
        ["13/12/2024", "12/13/2024"],
        ["1.5", "2.5"],
    ],
)
def test_texts_of_no_one_form_stay_text(texts: list[str]) -> None:
    assert date_form_of(texts) is None


def test_a_form_is_a_known_one() -> None:
    with pytest.raises(ValueError, match="%Q"):
        DateForm("%Q")
    assert str(DateForm()) == "YYYY-MM-DD"
    assert str(GERMAN) == "DD.MM.YYYY"


@pytest.mark.parametrize(
    "form",
    [*(f"{day}" for day in DAYS), *(DAYS[0] + time for time in TIMES), f"{DAYS[0]} %H:%M %z"],
)
def test_model_document_and_request_read_every_form_alike(form: str) -> None:
    """The pipeline's parts are of the moment that the contract means."""
    known = DateForm(form, time="%M" in form)
    at = [seconds(2024, 2, 9, 15, 5), seconds(1999, 12, 28, 0, 59), seconds(2031, 7, 1, 12)]
    texts = [written(one, known) for one in at]
    assert all(re.search(known.pattern, text) for text in texts)
    parts = date_parts(known).fit_transform(pd.Series([*texts, None, "soon"], dtype=object))
    for row, text in enumerate(texts):
        meant = datetime.fromtimestamp(moment(text, known), UTC)
        expected = [meant.weekday(), meant.month, meant.day]
        expected += [meant.hour, meant.minute] if known.time else []
        assert parts[row, :-1].tolist() == expected
        days = moment(text, known) / DAY + 2440587.5
        assert parts[row, -1] == pytest.approx(days, abs=1e-6)
    assert np.isnan(parts[3:]).all()
    iso = pd.Series([written(one, DateForm(time=True)) + "Z" for one in at], dtype=object)
    if known.time:
        whole = DateForm(form, time=True)
        again = date_parts(whole).fit(iso).transform(iso)
        assert again[:, 0].tolist() == [datetime.fromtimestamp(x, UTC).weekday() for x in at]


@pytest.mark.parametrize(
    "text", ["2024-02-29T10:00:00+01:00", "2024/2/9 9:05", "2024-01-05T10:00Z"]
)
def test_the_model_reads_iso_8601_as_the_contract_does(text: str) -> None:
    parts = date_parts(DateForm(time=True)).fit_transform(pd.Series([text], dtype=object))
    assert parts[0, -1] == pytest.approx(moment(text, DateForm()) / DAY + 2440587.5, abs=1e-6)


@pytest.fixture
def contract() -> Contract:
    rows = pd.DataFrame(
        {
            "since": ["05.01.2024", "07.03.2024", None],
            "at": ["2024-01-05T10:00Z", None, "2024-01-06T12:00Z"],
            "n": [1.5, 2.5, 3.5],
        }
    )
    forms: dict[str, Notation | DateForm] = {"since": GERMAN, "at": DateForm(time=True)}
    labels = pd.Series(["a", "b", "a"], name="y")
    return infer_contract(rows, labels, name="dates", notations=forms)


def test_the_contract_says_form_and_range(contract: Contract) -> None:
    since = contract.columns[0]
    assert since == Column(
        "since",
        "datetime",
        nullable=True,
        minimum=seconds(2024, 1, 5),
        maximum=seconds(2024, 3, 7),
        dates=GERMAN,
    )
    assert contract.column_types == ("string", "string", "double")
    assert contract.to_dict()["format_version"] == 4
    assert Contract.from_json(contract.to_json()) == contract
    assert example_rows(contract, 1)[0]["since"] == "05.02.2024"


@pytest.mark.parametrize(
    ("type_", "form"), [("string", GERMAN), ("double", GERMAN), ("datetime", None)]
)
def test_only_dates_have_the_form_of_dates(type_: Any, form: DateForm | None) -> None:
    with pytest.raises(DataError, match="form of dates"):
        Column("since", type_, nullable=True, dates=form)


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_every_dialect_takes_dates(contract: Contract, name: str) -> None:
    dialect = DIALECTS[name]
    rows = example_rows(contract, 2)
    body = dialect.example(rows, "predict")
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    asked = parse(contract, raw, content_type=dialect.media_type, route=dialect.routes[0])
    assert asked.columns["since"] == ["05.02.2024", "29.01.2024"]
    assert asked.frame()["at"].dtype == object


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2024-01-06", "2024-01-06"), (" 6.1.2024 ", "6.1.2024"), (None, None), ("NA", None)],
)
def test_a_request_may_write_dates_in_two_ways(
    contract: Contract, value: str | None, expected: str | None
) -> None:
    body = json.dumps({"data": [{"since": value, "at": None, "n": 1}]}).encode()
    asked = parse(contract, body, content_type="application/json", route="score")
    assert asked.columns["since"] == [expected]


@pytest.mark.parametrize("value", ["31.02.2024", "soon", 20240105, True, "1/5/2024"])
def test_what_is_no_date_is_a_400_with_row_column_and_value(contract: Contract, value: Any) -> None:
    body = json.dumps({"data": [{"since": value, "at": None, "n": 1}]}).encode()
    with pytest.raises(PayloadError) as refused:
        parse(contract, body, content_type="application/json", route="score")
    assert refused.value.status == 400
    assert "row 0, column 'since'" in refused.value.message
    assert "a date as YYYY-MM-DD or DD.MM.YYYY or null" in refused.value.message
    assert refused.value.details[0].value == value


def test_a_query_keeps_dates_as_text(contract: Contract) -> None:
    body = body_from_query(contract, [("since", "2024-01-05"), ("at", "null"), ("n", "1")])
    asked = parse(contract, body, content_type="application/json", route="score")
    assert asked.columns == {"since": ["2024-01-05"], "at": [None], "n": [1.0]}


def test_documents_say_date_and_date_time(contract: Contract) -> None:
    for version in ("2", "3"):
        row = json.dumps(openapi(contract, version=version))  # type: ignore[arg-type]
        assert '"format": "date"' in row
        assert '"format": "date-time"' in row
    whole = openapi(contract, version="3.1")
    since = whole["components"]["schemas"]["Row"]["properties"]["since"]
    assert since["anyOf"][0] == {
        "type": ["string", "null"],
        "format": "date",
        "pattern": ISO_PATTERN,
    }
    assert re.search(since["anyOf"][1]["pattern"], "05.01.2024")
    assert "Training rows: 05.01.2024 to 07.03.2024." in since["description"]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("2024-01-05", True),
        ("2024-01-31T23:59:59.5+13:00", True),
        ("2024-04-31", False),
        ("2024-02-28 10:00", True),
        ("2300-01-01", False),
        ("1700-01-01Z", False),
    ],
)
def test_what_the_documents_promise_is_taken(text: str, fits: bool) -> None:
    assert bool(re.search(ISO_PATTERN, text)) == fits
    if fits:
        assert date_text(text, DateForm()) == text


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_batch_reads_dates_and_refuses_what_is_none(
    contract: Contract, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"rows.{kind}"
    notations = {column.name: column.dates or column.notation for column in contract.columns}
    rows = pd.DataFrame(
        {"since": ["5.1.2024", None], "at": pd.to_datetime(["2024-01-05 10:00"] * 2), "n": 1.0}
    )
    if kind == "csv":
        rows.to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pandas(rows), path)
    table = next(Source(path, types_of(contract.columns), notations=notations).chunks(10))
    assert table.column("since").to_pylist() == ["5.1.2024", None]
    assert [moment(one, DateForm()) for one in table.column("at").to_pylist()] == [
        seconds(2024, 1, 5, 10)
    ] * 2
    path = tmp_path / "wrong.csv"
    path.write_text("since,at,n\n5.1.2024,,1\n31.2.2024,,1\n")
    with pytest.raises(DataError, match=r"row 2, column 'since': found '31.2.2024'"):
        list(Source(path, types_of(contract.columns), notations=notations).chunks(10))


def test_what_is_read_as_dates_is_said_and_profiled(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    days = pd.date_range("2024-01-01", periods=60)
    rows = pd.DataFrame(
        {
            "iso": days.strftime("%Y-%m-%d"),
            "short": days.strftime("%d-%b-%y"),
            "either": "01/02/2024",
            "y": ["a", "b"] * 30,
        }
    )
    rows.loc[3, "iso"] = "NA"
    rows.to_csv(path, index=False)
    data = load(path, "y", keep="all")
    assert data.notations == {"iso": DateForm(), "short": DateForm("%d-%b-%y")}
    assert data.frame["iso"].isna().sum() == 1
    assert data.profile().set_index("feature")["type"].to_dict() == {
        "iso": "datetime",
        "short": "datetime",
        "either": "string",
    }
    said = {finding.column: finding for finding in data.findings if finding.kind == "dates"}
    assert said["iso"].message == "'iso' is read as dates (YYYY-MM-DD), such as '2024-01-01'"
    assert not said["iso"].decision
    assert said["short"].decision
    assert "of no form or of several" in said["either"].message
    # Without keep a date that differs in every row is no key.
    assert "short" in load(path, "y").frame


def test_dates_of_parquet_are_dates(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    at = pd.date_range("2024-01-01", periods=60, freq="h", tz="Europe/Berlin")
    pd.DataFrame({"at": at, "y": ["a", "b"] * 30}).to_parquet(path)
    data = load(path, "y")
    assert data.notations == {"at": DateForm(time=True)}
    assert moment(data.frame["at"][0], DateForm()) == seconds(2023, 12, 31, 23)


def test_drift_looks_at_weekdays(contract: Contract) -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=700))
    before = pd.DataFrame({"since": days.dt.strftime("%d.%m.%Y")})
    later = pd.DataFrame({"since": (days + pd.Timedelta(days=700)).dt.strftime("%d.%m.%Y")})
    assert drift.compare(before, later).drifted == ()
    weekend = later[(days.dt.dayofweek >= 5).to_numpy()]
    found = drift.compare(before, weekend)
    assert found.drifted == ("since",)
    assert set(found["since"].labels) == {
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    }  # fmt: skip


def test_dates_are_not_out_of_distribution(contract: Contract) -> None:
    assert [column.name for column in ood.columns_of(contract)] == ["n"]
    rows = pd.DataFrame({"since": ["05.01.2024"] * 50, "at": None, "n": np.arange(50.0)})
    scorer = ood.fit(rows, contract)
    assert scorer.score({"since": ["05.01.2099"], "at": [None], "n": [25.0]}, 1)[0] < 1


def test_the_probe_moves_dates_on(contract: Contract) -> None:
    since = contract.columns[0]
    sent = {probe: change("29.12.2023") for probe, _, change in changes(since)}
    assert sent == {
        "next day": "30.12.2023",
        "next month": "28.01.2024",
        "next year": "28.12.2024",
        "null": None,
    }
    assert [is_outside(since, day) for day in ("04.01.2024", "05.01.2024", "07.03.2024")] == [
        True,
        False,
        False,
    ]
    assert is_outside(since, "08.03.2024")
    places = dict(_places(since))
    assert places["05.01.2024"]
    assert places["07.03.2024"]
    assert not all(places.values())


def test_neighbours_are_near_in_time(contract: Contract) -> None:
    reference = pd.DataFrame({"since": ["05.01.2024", "07.03.2024", None], "n": [1.5, 1.5, 1.5]})
    rows = [{"since": "06.03.2024", "n": 1.5}, {"since": None, "n": 1.5}]
    first, second = (found[0] for found in nearest_rows(contract, reference, rows))
    assert first.position == 1
    assert math.isclose(first.distance, 1 / 62 / 2)
    assert (second.position, second.distance) == (2, 0.0)


def test_the_compiled_form_says_that_dates_are_the_pipelines(contract: Contract) -> None:
    with pytest.raises(Refusal, match="column 'since' holds dates"):
        _encoding(None, contract)
