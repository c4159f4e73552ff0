"""How numbers are written: what a file's columns show, and what a request may write then."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from twinml.contract import Column, Contract, infer_contract, parse
from twinml.contract._openapi_columns import column_schema
from twinml.contract.notation import (
    NOTATION,
    PLAIN,
    Notation,
    decimal_mark,
    notation_of,
    plain_number,
)
from twinml.errors import DataError, PayloadError

COMMA, EURO, US = Notation(","), Notation(",", "."), Notation(".", ",")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2.5", "-3e4", ".5", "7."], PLAIN),
        (["1", "22"], PLAIN),
        (["1,5", "12", "-0,25", ",5", "7,", "1,5E+03"], COMMA),
        (["1.234,5", "12"], EURO),
        (["1.234.567", "12"], EURO),
        (["1,234", "12"], US),  # nothing proves another mark
        (["0,234", "1,234"], COMMA),  # no group of thousands begins with 0
        (["1,234.5", "12"], US),
        (["1,234,567", "999"], US),
        (["12,34,567", "1,23,456.5"], US),
        (["1'234.5", "12"], Notation(".", "'")),
        (["1’234", "12"], Notation(".", "'")),
        (["1'234,5", "12"], Notation(",", "'")),
        (["1 234", "12"], Notation(".", " ")),
        (["1\u00a0234,5", "1\u202f234"], Notation(",", " ")),
        (["$1,200", "-$5", "$-6", "$ 8", "$ -  "], Notation(".", ",", "$")),
        (["$1,200", "($5)"], Notation(".", ",", "$", "()")),
        (["1,200 €", "(5 €)", "(5) €"], Notation(".", ",", "€", "()")),
        (["$1,200", "$(5)", "-$6"], Notation(".", ",", "$", "()")),
        (["1.5", "(2.5)"], Notation(negative="()")),
        (["1.5", "2.5-", "3 -"], Notation(negative="1-")),
        (["1,5", "2,5-"], Notation(",", negative="1-")),
        (["5 €", "2-€", "3 €-"], Notation(unit="€", negative="1-")),
        (["1.5", "\u22122.5"], Notation(negative="\u2212")),
        (["-8,090E-01", "1,234E+02"], COMMA),  # no mark between thousands beside an exponent
        (["(1)", "(2)"], None),  # codes
        (["1-", "2-"], None),
        (["\u22121", "\u22122"], Notation(negative="\u2212")),
        (["(1)", "2-"], None),
        (["(1)", "-2"], Notation(negative="()")),
        (["(1,5)", "(2,5)"], Notation(",", negative="()")),
        (["1", "(-2)"], None),
        (["1", "(2-)"], None),
        (["1", "-2-"], None),
        (["1", "+2-"], None),
        (["1", "+(2)"], None),
        (["1", "(2"], None),
        (["1", "2)"], None),
        (["1", "((2))"], None),
        (["5", "-"], None),
        (["$5", "$ --"], None),
        (["1.200,50 €", "3€", "-4 €"], Notation(",", ".", "€")),
        (["CHF 1'200", "CHF 5"], Notation(".", "'", "CHF")),
        (["12.5%", "7 %", "-0.1%"], Notation(".", "", "%")),
        (["12.5‰", "7 ‰"], Notation(".", "", "‰")),
        (["12.5%", "\u22120.1%"], Notation(".", "", "%", "\u2212")),
        (["R$ 1.234,50"], Notation(",", ".", "R$")),
        (["1,5", "x"], None),
        (["1.5", "1,5"], None),
        (["5 €", "5 $"], None),
        (["5%", "5"], None),
        (["12 kg"], None),
        (["€5€"], None),
        (["(-5)"], None),
        (["--5"], None),
        (["1,2,3"], None),
        (["0,123,456"], None),
        (["1,23,45"], None),
        (["1.234.56"], None),
        (["2020-01-02"], None),
        (["12:30"], None),
        (["١٢"], None),
        (["%"], None),
        ([""], None),
    ],
)
def test_the_notation_of_a_column(texts: list[str], expected: Notation | None) -> None:
    assert notation_of(texts) == expected


@pytest.mark.parametrize(
    ("texts", "proved", "likely", "expected"),
    [
        (["1,234"], ",", ".", COMMA),
        (["1,234"], ".", ",", US),
        (["1,234"], None, ",", COMMA),
        (["1.234"], ",", ".", EURO),
        (["1.234"], None, ",", PLAIN),
        (["1.234"], ".", ",", PLAIN),
        (["0.234"], ",", ",", PLAIN),
        (["1234"], ",", ",", PLAIN),
        (["1.5"], ",", ",", PLAIN),
        (["1,5"], ".", ".", COMMA),
        (["1 234"], ",", ".", Notation(",", " ")),
        (["1.234 €"], ",", ".", Notation(",", ".", "€")),
    ],
)
def test_other_columns_decide_what_one_leaves_open(
    texts: list[str], proved: str | None, likely: str, expected: Notation
) -> None:
    assert notation_of(texts, proved=proved, likely=likely) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([["1,5"], ["a"], ["1,234"]], ","),
        ([["1.5"], ["12"]], "."),
        ([["1.5"], ["1,5"]], None),
        ([["12"], ["1.234"], ["1,234"], ["x"]], None),
        ([["1.234,5"]], ","),
        ([["1.234.567"]], ","),
        ([["12%"], ["$0.5"]], "."),
        ([], None),
    ],
)
def test_the_decimal_mark_that_a_file_proves(
    columns: list[list[str]], expected: str | None
) -> None:
    assert decimal_mark(columns) == expected


@pytest.mark.parametrize(
    ("text", "notation", "expected"),
    [
        ("1.234,5", EURO, "1234.5"),
        ("1234,5", EURO, "1234.5"),
        ("1234.5", EURO, "1234.5"),  # a plain number is understood everywhere
        ("1.234", EURO, "1234"),  # as in the file
        ("1.234", COMMA, "1.234"),
        ("1.234,5", COMMA, "1234.5"),  # larger than any in the file
        ("1.234.567", COMMA, "1234567"),
        ("1,234.5 %", Notation(".", "", "%"), "1234.5"),
        ("1'234,5", COMMA, "1'234,5"),
        ("1,234", US, "1234"),
        ("1,23", US, "1,23"),
        ("(1.200 €)", Notation(",", ".", "€"), "-1200"),
        ("-3 €", Notation(",", ".", "€"), "-3"),
        ("+3", EURO, "+3"),
        ("3 $", Notation(",", ".", "€"), "3 $"),
        ("3", Notation(",", ".", "€"), "3"),
        ("x", EURO, "x"),
        ("", EURO, ""),
        ("NA", EURO, "NA"),
        ("inf", EURO, "inf"),
        ("(1.5)", Notation(negative="()"), "-1.5"),
        ("1.5-", Notation(negative="()"), "-1.5"),  # any mark, where the file has one
        ("\u22121,5", COMMA, "-1.5"),
        ("$ -", Notation(unit="$"), "0"),
        ("-", Notation(unit="$"), "-"),
        ("-8,090E-01", COMMA, "-8.090E-01"),
        ("8,090E-01", US, "8,090E-01"),
    ],
)
def test_plain_numbers(text: str, notation: Notation, expected: str) -> None:
    assert plain_number(text, notation) == expected


@pytest.mark.parametrize(
    "marks",
    [
        ("x", "", ""),
        (".", ".", ""),
        (",", ",", ""),
        (".", "x", ""),
        (".", "", "kg"),
        (".", "", "", "-"),
    ],
)
def test_marks_that_are_no_notation(marks: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be written as"):
        Notation(*marks)


PRICE = Column("price", "double", True, minimum=1.0, maximum=9.0, notation=Notation(",", ".", "€"))
COUNT = Column("count", "long", False, minimum=1, maximum=9, notation=US)
CONTRACT = Contract(
    name="t", columns=(PRICE, COUNT), target="y", task="binary", classes=("a", "b"), samples=(),
    n_rows=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("price", "count", "expected"),
    [
        (1234.5, 1234, (1234.5, 1234)),
        ("1.234,5 €", "1,234", (1234.5, 1234)),
        ("1234,5", "1234", (1234.5, 1234)),
        ("1234.5", "1234.0", (1234.5, 1234)),
        (-3, True, (-3.0, 1)),
    ],
)
def test_a_request_writes_numbers_plainly_or_as_the_file(
    price: object, count: object, expected: tuple[float, int]
) -> None:
    body = json.dumps({"data": [{"price": price, "count": count}]}).encode()
    read = parse(CONTRACT, body, content_type="application/json", route="score")
    assert (read.columns["price"][0], read.columns["count"][0]) == expected
    text = f'count,price\n"{count}","{price}"\n'.encode()
    if not isinstance(count, bool):
        read = parse(CONTRACT, text, content_type="text/csv", route="score")
        assert (read.columns["price"][0], read.columns["count"][0]) == expected


@pytest.mark.parametrize(("price", "count"), [("1,2,3", 1), ("5 $", 1), (1, "1,5"), (1, "1,23")])
def test_a_request_in_no_known_notation_is_refused(price: object, count: object) -> None:
    body = json.dumps({"data": [{"price": price, "count": count}]}).encode()
    with pytest.raises(PayloadError, match=r"row 0, column '(price|count)': found"):
        parse(CONTRACT, body, content_type="application/json", route="score")


def test_a_contract_keeps_notations_and_says_so_in_its_format() -> None:
    document = CONTRACT.to_dict()
    assert document["format_version"] == 3
    assert document["columns"][0]["notation"] == {"decimal": ",", "thousands": ".", "unit": "€"}
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
    frame = pd.DataFrame({"x": [1.5, 2.5], "z": [1, 2]})
    labels = pd.Series(["a", "b"], name="y")
    made = infer_contract(frame, labels, name="t", notations={"x": COMMA})
    assert [column.notation for column in made.columns] == [COMMA, PLAIN]
    plain = infer_contract(frame, labels, name="t").to_dict()
    assert plain["format_version"] == 1
    assert "notation" not in plain["columns"][0]
    with pytest.raises(DataError, match="of type string has a notation"):
        Column("x", "string", True, notation=COMMA)


def test_how_negative_numbers_are_marked_is_a_format_of_its_own() -> None:
    marked = Column("x", "double", True, notation=Notation(negative="()"))
    contract = replace(CONTRACT, columns=(marked,))
    document = contract.to_dict()
    assert document["format_version"] == 5
    assert document["columns"][0]["notation"] == {
        "decimal": ".", "thousands": "", "unit": "", "negative": "()",
    }  # fmt: skip
    assert Contract.from_json(contract.to_json()) == contract
    assert "brackets for negative numbers" in column_schema(marked, "3.1")["description"]
    body = b'{"data": [{"x": "(1.5)"}]}'
    read = parse(contract, body, content_type="application/json", route="score")
    assert read.columns["x"] == [-1.5]
    plain = replace(CONTRACT, columns=(Column("x", "double", True),))
    with pytest.raises(PayloadError, match=r"found '\(1.5\)', expected a number"):
        parse(plain, body, content_type="application/json", route="score")


def test_documents_say_how_numbers_may_be_written() -> None:
    schema = column_schema(PRICE, "3.1")
    assert schema[NOTATION] == {"decimal": ",", "thousands": ".", "unit": "€"}
    assert "a decimal comma, '.' between thousands and the unit '€'" in schema["description"]
    pattern = schema["anyOf"][-1]["pattern"]
    for text in ("1.234,5 €", "1234,5", "-3€", "12.345.678"):
        assert re.search(pattern, text)
        assert plain_number(text, PRICE.notation) != text or text == "3"
    for text in ("1,2,3", "1.23", "3 $", "1.234,5 € x"):
        assert not re.search(pattern, text)
    whole = column_schema(COUNT, "3.1")["anyOf"][-1]["pattern"]
    assert re.search(whole, "1,234")
    assert not re.search(whole, "1,234.5")
    assert NOTATION not in column_schema(Column("x", "double", True), "3.1")
