"""What a file is shows in its bytes: encodings, wrappings, workbooks, JSON, headers, names."""

from __future__ import annotations

import bz2
import json
import lzma
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.workbooks import workbook
from twinml import data
from twinml.batch._read import Source, types_of
from twinml.contract import infer_contract
from twinml.data._names import missing_header
from twinml.data._source import near
from twinml.data._types import is_total, text_column
from twinml.errors import DataError

CITIES = ["Köln", "Zürich", "Łódź €"]
ROWS = [(i % 9, f"{i % 8 / 8}", CITIES[i % 2], "no" if i % 3 else "yes") for i in range(60)]
TEXT = "n,x,city,y\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
EXPECTED = pd.DataFrame(ROWS, columns=["n", "x", "city", "y"]).astype({"x": float})


def save(folder: Path, content: bytes | str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def decisions(dataset: data.Dataset) -> list[str]:
    return [finding.message for finding in dataset.findings if finding.decision]


HEADER: list[object] = ["n", "x", "city", "y"]
CELLS: list[list[object]] = [[row[0], float(row[1]), row[2], row[3]] for row in ROWS]
RECORDS = [dict(zip(HEADER, row, strict=True)) for row in CELLS]


@pytest.mark.parametrize(
    "content",
    [
        bz2.compress(TEXT.encode()),
        lzma.compress(TEXT.encode()),
        pa.compress(TEXT.encode(), codec="zstd", asbytes=True),
        workbook(Tabelle=[HEADER, *CELLS]),
        json.dumps(RECORDS).encode(),
        "\n".join(json.dumps(record) for record in RECORDS).encode(),
        TEXT.replace(",", " ").encode(),
        TEXT.replace(",", "   ").encode(),
        re.sub("([^,\n0-9.]+)", r'"\1"', TEXT).replace(",", " ").encode(),
        json.dumps({"columns": HEADER, "index": list(range(60)), "data": CELLS}).encode(),
        json.dumps({key: [row[key] for row in RECORDS] for key in HEADER}).encode(),
        json.dumps(
            {key: {str(at): row[key] for at, row in enumerate(RECORDS)} for key in HEADER}
        ).encode(),
        json.dumps({"schema": {"fields": []}, "data": RECORDS}).encode(),
    ],
    ids=[
        "bz2",
        "xz",
        "zst",
        "xlsx",
        "json",
        "json lines",
        "blank",
        "blanks",
        "quotes and blanks",
        "json split",
        "json lists",
        "json columns",
        "json table",
    ],
)
def test_every_form_gives_the_same_frame(tmp_path: Path, content: bytes) -> None:
    dataset = data.load(save(tmp_path, content), "y", strict=True)
    pd.testing.assert_frame_equal(dataset.frame, EXPECTED)
    assert data.column_names(dataset.source) == ["n", "x", "city", "y"]


@pytest.mark.parametrize(
    ("content", "remark"),
    [
        (TEXT.encode("cp1252"), "'table.csv' is read as Windows-1252"),
        (TEXT.encode("utf-16"), "'table.csv' is read as UTF-16"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "'table.csv' is read as UTF-16"),
        (TEXT.encode("utf-16-le"), "'table.csv' is read as UTF-16"),
        ("# made in 2024\n" + TEXT, "1 line above the header of 'table.csv' is left out"),
        ("Sales\nof 2024\n\n" + TEXT, "2 lines above the header of 'table.csv' are left out"),
        (
            workbook(A=[HEADER, *CELLS], B=[HEADER]),
            "'table.csv' has 2 sheets, the first one, 'A', is read",
        ),
        (workbook(A=[["Sales"], HEADER, *CELLS]), "1 row above the header of 'A' left out"),
        ("Sales,,,\n,,,\n" + TEXT, "2 lines above the header of 'table.csv' are left out"),
        (
            TEXT + "# made in 2024\n",
            "1 line between or below the rows of 'table.csv' is left out: '# made in 2024'",
        ),
        (
            TEXT.replace("\n", "\n#\n", 2) + "\nSource: the office\n",
            "3 lines between or below the rows of 'table.csv' are left out: '#'",
        ),
        (TEXT + "Total,9.5,,\n", "the last row sums the others up and is left out"),
        (TEXT + ",Sum:,,yes\n", "the last row sums the others up and is left out"),
        (TEXT + "7,,,\n,,,\n", "2 of 62 rows have no value in the target 'y' and are left out"),
        (TEXT + "years,EUR,,\n", "1 row has no value in the target 'y' and is left out"),
        (json.dumps([{" n" if k == "n" else k: v for k, v in row.items()} for row in RECORDS]),
         "a column's name is without the blanks around"),
        (TEXT.replace("n,x", " n, x", 1), "2 names are without the blanks around"),
        (TEXT.replace("n,x", "n ,x", 1), "a column's name is without the blanks around"),
    ],
)  # fmt: skip
def test_what_could_be_read_otherwise_is_said(
    tmp_path: Path, content: bytes | str, remark: str
) -> None:
    file = save(tmp_path, content)
    dataset = data.load(file, "y")
    pd.testing.assert_frame_equal(dataset.frame, EXPECTED)
    assert decisions(dataset) == [remark]
    with pytest.raises(DataError) as caught:
        data.load(file, "y", strict=True)
    assert caught.value.message == f"'table.csv' is not read strictly: {remark}"


def test_a_sheet_is_chosen_by_its_name(tmp_path: Path) -> None:
    file = save(tmp_path, workbook(Notes=[["x"], ["y"]], Daten=[HEADER, *CELLS]), "book.xlsx")
    dataset = data.load(file, "y", sheet="Daten", strict=True)
    pd.testing.assert_frame_equal(dataset.frame, EXPECTED)
    assert dataset.name == "book"
    assert dataset.reading == {"keep": (), "rare": "drop", "sheet": "Daten"}
    with pytest.raises(DataError) as caught:
        data.load(file, "y", sheet="daten")
    assert str(caught.value.hint).startswith(
        "Did you mean 'Daten', which differs by case only? Sheets: Notes, Daten."
    )
    with pytest.raises(DataError, match=r"sheet 'Leer' of 'book\.xlsx' holds no rows"):
        data.load(save(tmp_path, workbook(Leer=[HEADER]), "book.xlsx"), "y")


def test_cells_of_a_workbook_are_what_csv_would_hold(tmp_path: Path) -> None:
    odd = [[(1 + row % 9,), row % 2 == 0, "007", "#DIV/0!" if row % 2 else 0.1, None, row % 2]
           for row in range(60)]  # fmt: skip
    file = save(tmp_path, workbook(A=[["day", "flag", "code", "ratio", "no", "y"], *odd]))
    frame = data.load(file, "y").frame
    assert frame.iloc[0].tolist() == ["2024-01-01", True, "007", 0.1, 0]
    assert frame["ratio"].isna().sum() == 30
    assert "no" not in frame


def test_duplicate_names_are_numbered_alike_everywhere(tmp_path: Path) -> None:
    text = "a,a,a.1,y\n" + "".join(f"{i % 9},{i % 8},{i % 7},{i % 2}\n" for i in range(60))
    file = save(tmp_path, text)
    dataset = data.load(file, "y")
    assert list(dataset.features) == ["a", "a.2", "a.1"]
    assert decisions(dataset) == ["names that come again are numbered: 'a.2'"]
    contract = infer_contract(dataset.features, dataset.labels, name="t")
    (table,) = Source(file, types_of(contract.columns)).chunks(100)
    assert table.column("a.2").to_pylist() == [i % 8 for i in range(60)]
    pq.write_table(pa.table([[1, 2], [3, 4]], names=["a", "a"]), file)
    assert list(data.read_rows(file)) == ["a", "a.1"]


NUMBERS = [["0", "u"], ["1", "v"], ["2", "u"], ["3", "v"]]


@pytest.mark.parametrize(
    ("rows", "expected", "missing"),
    [
        (NUMBERS, (), True),
        (NUMBERS, {"u"}, False),  # the target is named in the first row
        ([["n", "kind"], *NUMBERS], (), False),
        ([["1", "kind"], *NUMBERS], (), False),  # 'kind' never comes again, its values do
        ([["1", "NA"], ["2", "3"], ["4", "5"], ["4", "5"]], (), False),
        ([["1", "x"], ["2", "a"], ["3", "b"]], (), True),  # texts that all differ say nothing
        ([["a", "u"], ["b", "v"], ["c", "u"]], (), False),  # nor do texts alone
        ([["0", "1", "2"], ["5", "6", "7"], ["5", "6", "7"]], (), False),  # names that count
        ([["0", "2", "1"], ["5", "6", "7"], ["5", "6", "7"]], (), True),
        ([["2019", "2020", "2021"], ["5", "6", "7"], ["5", "6", "7"]], (), False),
        ([["7", "x"], ["a", "u"], ["b", "x"]], (), False),  # a number above texts
        ([["1", ""], ["2", "u"], ["3", "u"]], (), False),
        ([["1", "2"], ["3", "4"]], (), False),  # one row proves nothing
    ],
)
def test_a_missing_header(
    rows: list[list[str]], expected: tuple[str, ...] | set[str], missing: bool
) -> None:
    assert missing_header(rows, expected) == missing


def test_a_file_without_a_header_is_read_by_place(tmp_path: Path) -> None:
    file = save(tmp_path, TEXT.partition("\n")[2])
    dataset = data.load(file, "C4")
    assert decisions(dataset) == [
        "the first row is data like all others, so the columns are called C1 to C4"
    ]
    assert dataset.n_rows == 60
    assert list(dataset.features) == ["C1", "C2", "C3"]
    with pytest.raises(DataError) as caught:
        data.load(file, "y")
    assert "Columns: C1, C2, C3, C4." in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "names", "dropped"),
    [
        ("a,y,\n" + "".join(f"{i % 9},{i % 2},\n" for i in range(60)), ["a"], ("Unnamed: 2",)),
        ("a,y\n" + "".join(f"{i % 9},{i % 2},\n" for i in range(60)), ["a"], ("Unnamed: 2",)),
        ("a,y\n" + "".join(f"r{i},{i % 9},{i % 2}\n" for i in range(60)), ["a"], ("Unnamed: 0",)),
        ('"","a","y"\n' + "".join(f'"r{i}",{i % 9},{i % 2}\n' for i in range(60)), ["a"],
         ("Unnamed: 0",)),
        ("a y\n" + "".join(f"r{i} {i % 9} {i % 2}\n" for i in range(60)), ["a"], ("Unnamed: 0",)),
    ],
    ids=["header and rows end so", "rows end so", "names of rows", "R", "R's table"],
)  # fmt: skip
def test_columns_without_a_name(
    tmp_path: Path, text: str, names: list[str], dropped: tuple[str, ...]
) -> None:
    dataset = data.load(save(tmp_path, text), "y")
    assert list(dataset.features) == names
    assert dataset.dropped == dropped


def test_columns_to_drop_are_not_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    lists = [[1, 2]] * 60
    pq.write_table(pa.table({"a": lists, "b": [1, 2, 3] * 20, "y": [0, 1] * 30}), file)
    with pytest.raises(DataError, match="column 'a': a Parquet column of type list") as caught:
        data.load(file, "y")
    assert "--drop 'a'" in str(caught.value.hint)
    assert list(data.load(file, "y", drop=["a"]).features) == ["b"]
    save(tmp_path, json.dumps([{"a": [1], "b": i % 3, "y": i % 2} for i in range(60)]))
    assert list(data.load(tmp_path / "table.csv", "y", drop=["a"]).features) == ["b"]


def test_durations_are_seconds(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    waits = pa.array([i % 7 * 1_500 for i in range(60)], pa.duration("ms"))
    pq.write_table(pa.table({"wait": waits, "y": [0, 1] * 30}), file)
    dataset = data.load(file, "y")
    assert dataset.frame["wait"][:3].tolist() == [0.0, 1.5, 3.0]
    assert decisions(dataset) == ["'wait' holds durations and is read as numbers of seconds"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_to_score_are_seconds_too(tmp_path: Path, unit: str) -> None:
    file = tmp_path / "table.parquet"
    took = pa.array([1_500_000_000, None], pa.int64()).cast(pa.duration("ns"))
    took = took.cast(pa.duration(unit), safe=False)
    pq.write_table(pa.table({"took": took}), file)
    (table,) = Source(file, {"took": "double"}).chunks(9)
    assert table.column("took").to_pylist() == [1.0 if unit == "s" else 1.5, None]


def test_columns_in_one_notation_are_one_remark(tmp_path: Path) -> None:
    rows = [f"{i % 9},5;{i % 8},25;1.{i % 7:03};{i % 2}" for i in range(60)]
    dataset = data.load(save(tmp_path, "a;b;c;y\n" + "\n".join(rows)), "y")
    assert decisions(dataset) == [
        "2 columns ('a', 'b') are read as numbers with a decimal comma, such as '0,5'",
        "'c' is read as numbers with a decimal comma and '.' between thousands, such as '1.000'",
    ]
    assert dataset.frame.iloc[1, :3].tolist() == [1.5, 1.25, 1001]
    assert set(dataset.notations) == {"a", "b", "c"}


def test_a_target_is_text_where_its_numbers_are_not_plain(tmp_path: Path) -> None:
    rows = [f"{i % 9};{i % 2},5" for i in range(60)]
    dataset = data.load(save(tmp_path, "a;y\n" + "\n".join(rows)), "y")
    assert set(dataset.labels) == {"0,5", "1,5"}


def test_names_that_differ_by_case_only() -> None:
    assert near("Age", ["age", "y"]) == "Did you mean 'age', which differs by case only? "
    assert near("age", ["age ", "y"]) == "Did you mean 'age '? "


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "7\n",  # a row that was cut off
        TEXT + "Source\n",
        TEXT.replace("\n", "\nSource: the office\n", 3),
        TEXT + "Source: the office\n7\n",
        TEXT + "7,# note\n",
    ],
)
def test_other_lines_of_the_wrong_width_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"line \d+: \d fields?, the header has 4"):
        data.load(save(tmp_path, text), "y")


def test_three_columns_may_have_notes_below(tmp_path: Path) -> None:
    text = "n,m,y\n" + "1,5,a\n2,6,b\n" * 30 + "that is all\n"
    dataset = data.load(save(tmp_path, text), "y")
    assert dataset.n_rows == 60
    assert [finding.kind for finding in dataset.findings if finding.decision] == ["notes"]


def test_two_columns_have_no_notes_below(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 62: 1 field, the header has 2"):
        data.load(save(tmp_path, "n,y\n" + "1,a\n2,b\n" * 30 + "that is all\n"), "y")


@pytest.mark.parametrize(
    ("last", "rows"),
    [
        (["Total", "5", None], 2),
        ([None, " SUMME: ", "b"], 2),
        (["Total", "5", "b"], 3),  # no gap
        (["Total", "1", "a"], 3),
        (["Totals of a", None, "b"], 3),
        (["x", None, "b"], 3),
        (["Bonn", None, "b"], 3),
    ],
)
def test_a_row_of_totals(last: list[str | None], rows: int) -> None:
    table = [["Bonn", "1", "a"], ["total", "Sum", "b"], last]
    if last[0] == "Total":
        table[1][0] = "Ulm"
    columns = {
        name: text_column(values)
        for name, values in zip("xyz", zip(*table, strict=True), strict=True)
    }
    assert is_total(columns) == (rows == 2)
    again = {name: text_column([*column.texts, *column.texts]) for name, column in columns.items()}
    assert not is_total(again)


def test_null_markers_beside_the_usual_ones_are_decisions(tmp_path: Path) -> None:
    rows = "".join(
        f"{'-' if i == 3 else i % 9};{'NA' if i == 4 else i % 8};{'  ' if i == 5 else i % 7 + 0.5};"
        f"{'0000-00-00' if i == 6 else f'2024-01-{1 + i % 28:02d}'};{i % 2}\n"
        for i in range(60)
    )
    dataset = data.load(save(tmp_path, "a;b;c;d;y\n" + rows), "y")
    assert dataset.features.isna().sum().tolist() == [1, 1, 1, 1]
    assert decisions(dataset) == [
        "'a' is a number column; 1 cell that holds '-' is read as null",
        "'c' is a number column; 1 cell that holds blanks is read as null",
        "'d' is a date column; 1 cell that holds '0000-00-00' is read as null",
    ]


def test_numbers_with_a_unit_are_text_and_said_so(tmp_path: Path) -> None:
    rows = "".join(
        f"{i % 9} kg,{i % 8}.5k,{i % 7}{'kg' if i else 't'},{i % 2}\n" for i in range(60)
    )
    dataset = data.load(save(tmp_path, "a,b,c,y\n" + rows), "y")
    units = [finding.column for finding in dataset.findings if finding.kind == "unit"]
    assert units == ["a", "b"]


def test_numbers_that_all_differ_are_not_sorted(tmp_path: Path) -> None:
    rows = [f"{i % 9},{(i * 37) % 61}.5\n" for i in range(60)]
    assert "sorted-by-target" not in {
        finding.kind for finding in data.load(save(tmp_path, "a,y\n" + "".join(rows)), "y").findings
    }
    rows.sort(key=lambda row: float(row.split(",")[1]))
    assert "sorted-by-target" in {
        finding.kind for finding in data.load(save(tmp_path, "a,y\n" + "".join(rows)), "y").findings
    }
