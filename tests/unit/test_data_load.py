"""Reading files: every spelling of one table gives one frame, the rest is refused by place."""

import gzip
import hashlib
import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinml import data
from twinml.errors import DataError

ROWS = [
    (i, f"{i / 8}", ["red", "green", "blue"][i % 3], "no" if i % 2 else "yes") for i in range(60)
]


def text(delimiter: str = ",", rows: list[tuple] | None = None) -> str:
    lines = [("n", "x", "colour", "y"), *(ROWS if rows is None else rows)]
    return "".join(delimiter.join(map(str, line)) + "\n" for line in lines)


def save(folder: Path, content: bytes | str, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def refused(file: Path, target: str = "y", **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        data.load(file, target, **options)
    assert caught.value.hint
    return caught.value


def zipped(**members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


EXPECTED = pd.DataFrame(ROWS, columns=["n", "x", "colour", "y"]).astype({"x": float})


@pytest.mark.parametrize(
    "content",
    [
        text().encode(),
        text(";").encode(),
        text("\t").encode(),
        text("|").encode(),
        b"\xef\xbb\xbf" + text().encode(),
        text().replace("\n", "\r\n").encode(),
        text().replace("\n", "\r").encode(),
        b"\r\n\n" + text().encode(),
        b"sep=;\n" + text(";").encode(),
        text().rstrip("\n").encode(),
        text().replace("red", '"red"').encode(),
        gzip.compress(text().encode()),
        zipped(**{"folder/": "", "folder/table.csv": text(), "__MACOSX/folder/._table": "x"}),
    ],
    ids=[
        "comma",
        "semicolon",
        "tab",
        "bar",
        "bom",
        "crlf",
        "cr",
        "blank lines first",
        "excel sep",
        "no last newline",
        "quotes",
        "gzip",
        "zip",
    ],
)
def test_every_spelling_gives_the_same_frame(tmp_path: Path, content: bytes) -> None:
    dataset = data.load(save(tmp_path, content), "y", keep=["n"], strict=True)
    pd.testing.assert_frame_equal(dataset.frame, EXPECTED)
    assert data.load(save(tmp_path, content), "y").dropped == ("n",)


def test_digest_is_that_of_the_uncompressed_file(tmp_path: Path) -> None:
    expected = hashlib.sha256(text().encode()).hexdigest()
    for name, content in {
        "a.csv": text().encode(),
        "a.csv.gz": gzip.compress(text().encode()),
        "a.zip": zipped(**{"b.csv": text()}),
    }.items():
        file = save(tmp_path, content, name)
        assert data.load(file, "y").digest == expected
        assert data.file_digest(file) == expected
        assert data.load(file, "y").name == "a"


def test_decimal_point_survives_next_to_other_delimiters(tmp_path: Path) -> None:
    rows = [(i, f'"{i},5"', "a;b", "no" if i % 2 else "yes") for i in range(60)]
    frame = data.load(save(tmp_path, text(",", rows)), "y").frame
    assert frame["x"].iloc[3] == 3.5
    assert frame["colour"].iloc[0] == "a;b"


def test_doubles_are_the_nearest_to_their_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**63, 2000, dtype=np.int64)
    exact = bits.view(np.float64)
    exact = exact[np.isfinite(exact)]
    rows = [(i, repr(float(x)), "c", i % 2) for i, x in enumerate(exact)]
    read = data.load(save(tmp_path, text(",", rows)), "y").frame["x"].to_numpy()
    assert np.array_equal(read.view(np.int64), exact.view(np.int64))


def test_nulls_and_null_markers(tmp_path: Path) -> None:
    rows = [[str(i), str(i / 2), "None", "y" if i % 2 else "n"] for i in range(60)]
    rows[0][0], rows[1][1], rows[2][2], rows[3][1], rows[4][2] = "", "NA", "", "", '""'
    dataset = data.load(save(tmp_path, text(",", [tuple(row) for row in rows])), "y")
    frame = dataset.frame
    assert frame["n"].dtype == "Int64"
    assert frame["n"].isna().tolist() == [True] + [False] * 59
    assert frame["n"][59] == 59
    assert frame["x"].isna().tolist()[:5] == [False, True, False, True, False]
    assert frame["colour"].isna().tolist()[:5] == [False, False, True, False, True]
    assert frame["colour"][0] == "None"
    assert [f.message for f in dataset.findings if f.kind == "null-marker"] == [
        "'x' is a number column; 1 cell that holds 'NA' is read as null"
    ]


@pytest.mark.parametrize(
    ("cells", "kind", "first"),
    [
        (["1", "-2", "+3"], "int64", 1),
        ([" 1", "2 "], "int64", 1),
        (["1", ""], "Int64", 1),
        (["1", "NA"], "Int64", 1),
        (["1.0", ""], "float64", 1.0),
        (["9007199254740992", ""], "Int64", 2**53),
        (["9007199254740993", ""], "object", "9007199254740993"),
        (["9223372036854775807", "1"], "int64", 2**63 - 1),
        (["9223372036854775808", "1"], "object", "9223372036854775808"),
        (["9" * 5000, "1"], "object", "9" * 5000),
        (["1e3", "2"], "float64", 1000.0),
        ([".5", "1."], "float64", 0.5),
        (["inf", "-Infinity", "0"], "float64", float("inf")),
        (["0", "1"], "int64", 0),
        (["02139", "10001"], "object", "02139"),
        (["true", "FALSE"], "bool", True),
        (["true", "", "false"], "boolean", True),
        (["FALSE ", "n/a", "True"], "boolean", False),
        (["True", "xyz", ""], "object", "True"),
        (["True", "1"], "object", "True"),
        (["1_000", "2_000"], "object", "1_000"),
        (["１２", "１３"], "object", "１２"),
        (["1e1", "2"], "float64", 10.0),
        (["0x10", "0x11"], "object", "0x10"),
        (["2020-01-02", "2020-01-03"], "object", "2020-01-02"),
        ([" padded", "b"], "object", " padded"),
    ],
)
def test_types(tmp_path: Path, cells: list[str], kind: str, first: object) -> None:
    rows = [(i, cells[i % len(cells)], "c", "no" if i % 3 else "yes") for i in range(60)]
    column = data.load(save(tmp_path, text(",", rows)), "y").frame["x"]
    assert column.dtype == kind
    assert column.iloc[0] == first


def test_text_stays_as_it_is(tmp_path: Path) -> None:
    rows = [
        (i, "unknown", '"two\nlines, ""quoted"""', " yes" if i % 3 else "no") for i in range(60)
    ]
    dataset = data.load(save(tmp_path, text(",", rows)), "y")
    assert dataset.frame["colour"][0] == 'two\nlines, "quoted"'
    assert dataset.frame["x"][0] == "unknown"
    assert set(dataset.labels) == {" yes", "no"}
    assert ("blanks", "y") in [(f.kind, f.column) for f in dataset.findings]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'table.csv' is empty"),
        (b" \n\n", "'table.csv' is empty"),
        (b"\xef\xbb\xbf", "'table.csv' is empty"),
        (b"n,x,y\n", "'table.csv' has a header but no rows"),
        (b"n,x,y", "'table.csv' has a header but no rows"),
        (b"n:x:y\n1:2:3\n", "'table.csv' has a single column"),
        (b"n,x,y\n1,2,3\n\n1,2\n", "'table.csv', line 4: 2 fields, the header has 3"),
        (b"n,x,y\n1,2,3,4\n1,2,3\n", "'table.csv', line 2: 4 fields, the header has 3"),
        (b"n,x,y\n1,2,3,4,5\n", "'table.csv', line 2: 5 fields, the header has 3"),
        (b'n,x,y\n"a\nb",2,3\n1\n', "'table.csv', line 4: 1 field, the header has 3"),
        (b"\n\nsep=;\nn;x;y\n1;2\n", "'table.csv', line 5: 2 fields, the header has 3"),
        (b'n,y\n1,2\n3,"4\n5,6\n', "'table.csv', line 3: unexpected end of data"),
        ("n,y\n1,Москва\n".encode("cp1251"), "nor Windows-1252: byte 0xcc at offset 6, line 2"),
        (b"n,y\n1,\x81\n", "nor Windows-1252: byte 0x81 at offset 6, line 2"),
        ("n,y\n1,2\n".encode("utf-16")[:-1], "begins like UTF-16 and is not"),
        (b"n,y\n1,\x00\n", "a zero byte in line 2"),
        (b'{"data": ', "is neither an array of JSON objects nor one object a line"),
        (b"[1, 2]", "'table.csv', row 1 is no JSON object"),
        (b"[]", "'table.csv' holds no rows"),
        (b'[{"a": 1, "y": [2]}]', "column 'y', row 1: found a list, expected a number"),
        (b'{"a": 1, "y": 2}\n{"a": {"b": 1}}', "column 'a', row 2: found an object"),
        (b"<!DOCTYPE html>", "is not CSV: it looks like HTML or XML"),
        (gzip.compress(b"n,y\n1,2\n", mtime=0)[:-6], "'table.csv' cannot be unpacked"),
        (b"PK\x03\x04 no zip", "'table.csv' cannot be unpacked"),
        (zipped(a="1", b="2"), "'table.csv' holds 2 files, expected one: a, b"),
        (zipped(), "'table.csv'"),
        (zipped(**{"[Content_Types].xml": "", "word/w.xml": ""}), "is an Office document, but no"),
        (zipped(**{"[Content_Types].xml": "", "xl/w.xml": ""}), "is no whole workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 cut", "is no whole workbook"),
        (b"PAR1 cut", "is not a whole Parquet file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refused(save(tmp_path, content)).message


def test_no_such_file_names_its_neighbour(tmp_path: Path) -> None:
    save(tmp_path, text(), "bank-full.csv")
    error = refused(tmp_path / "bankfull.csv")
    assert error.hint == (
        "Did you mean 'bank-full.csv'? Name a file of CSV, Parquet, Excel or JSON lines."
    )
    assert "is a folder" in refused(tmp_path).message
    assert "there is no file" in refused(tmp_path / "no" / "where.csv").message


def test_a_first_column_without_a_name_is_an_index(tmp_path: Path) -> None:
    file = save(tmp_path, text().replace("n,x", ",x", 1))
    dataset = data.load(file, "y")
    assert dataset.dropped == ("Unnamed: 0",)
    assert [f.message for f in dataset.findings if f.decision] == [
        "'Unnamed: 0' is the index of a table and is left out of the model; "
        "--keep-column 'Unnamed: 0' keeps it"
    ]
    assert data.load(file, "y", keep=["Unnamed: 0"]).dropped == ()
    assert data.load(file, "y", drop=["Unnamed: 0"], strict=True).dropped == ("Unnamed: 0",)


def test_a_column_without_a_name_elsewhere_stays(tmp_path: Path) -> None:
    dataset = data.load(save(tmp_path, text().replace("n,x", "n,  ", 1)), "y")
    assert list(dataset.features) == ["Unnamed: 1", "colour"]
    assert "columns without a name are called 'Unnamed: 1'" in [f.message for f in dataset.findings]


def test_column_names_that_are_not_there(tmp_path: Path) -> None:
    file = save(tmp_path, text())
    error = refused(file, "Color")
    assert error.message == "'table.csv' has no column 'Color'"
    assert error.hint == "Did you mean 'colour'? Columns: n, x, colour, y."
    error = refused(file, drop=["colours"])
    assert error.message == "'table.csv' has no column 'colours' to drop"
    assert "Did you mean 'colour'?" in str(error.hint)
    assert "cannot be dropped" in refused(file, drop=["y"]).message
    assert "no features left" in refused(file, drop=["n", "x", "colour"]).message


def test_name(tmp_path: Path) -> None:
    file = save(tmp_path, text(), "My calls (2).CSV")
    assert data.load(file, "y").name == "My-calls-2"
    assert data.load(file, "y", name="calls.v1").name == "calls.v1"
    assert "cannot be the name" in refused(file, name="../calls").message


def labelled(labels: list[object]) -> str:
    return text(",", [(i, i / 8, "c", label) for i, label in enumerate(labels)])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["yes", "no"] * 14 + ["no"], "'table.csv' has 29 rows, expected at least 30"),
        (["yes"] * 60, "the target 'y' has one class, 'yes', in all rows"),
        ([""] * 60, "the target 'y' of 'table.csv' is null in all 60 rows"),
        (["yes"] * 94 + ["no"] * 6, "1 class with fewer than 7 rows: 'no' (6)"),
        (["yes"] * 95 + ["no"] * 4, "1 class with fewer than 5 rows: 'no' (4)"),
        ([f"c{i}" for i in range(60)], "60 classes with fewer than 5 rows: 'c0' (1)"),
        ([f"c{i}" for i in range(101)] * 7, "has 101 classes, expected at most 100"),
    ],
)
def test_targets_that_are_refused(tmp_path: Path, labels: list[object], message: str) -> None:
    assert message in refused(save(tmp_path, labelled(labels))).message


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(["yes", "no", ""], "object"), ([1, 2, ""], "int64"), (["true", "false", ""], "bool")],
)
def test_rows_without_a_target_are_left_out_and_counted(
    tmp_path: Path, labels: list[object], kind: str
) -> None:
    dataset = data.load(save(tmp_path, labelled(labels * 40)), "y")
    assert (dataset.n_rows, dataset.labels.dtype) == (80, kind)
    assert dataset.frame.index.tolist() == list(range(80))
    assert dataset.frame["x"][2] == 3 / 8
    assert [f.message for f in dataset.findings if f.kind == "null-target"] == [
        "40 of 120 rows have no value in the target 'y' and are left out"
    ]


RARE = ["yes", "no"] * 50 + ["a"] * 6 + ["b"]
FEW = ["yes", "no"] * 15 + ["a"] * 4


@pytest.mark.parametrize(
    ("labels", "rare", "classes", "message"),
    [
        (RARE, "drop", {"yes": 50, "no": 50}, "left out with their 7 rows, and never predicted: "),
        (RARE, "join", {"yes": 50, "no": 50, "other": 7}, "are joined into 'other': 'a' (6)"),
        (RARE[:-1], "join", {"yes": 50, "no": 50}, "is left out with its 6 rows"),
        (FEW, "join", {"yes": 15, "no": 15}, "1 class of 'y' with fewer than 5 rows is left out"),
        ([*FEW, "b"], "join", {"yes": 15, "no": 15, "other": 5}, "are joined into 'other'"),
        (
            [*RARE, *["other"] * 7],
            "join",
            {"yes": 50, "no": 50, "other": 7, "other_": 7},
            "'other_'",
        ),
        ([*["yes"] * 99, *["a"] * 6, "b"], "join", {"yes": 99, "other": 7}, "joined into 'other'"),
        ([1, 2] * 50 + [3] * 6, "drop", {1: 50, 2: 50}, "1 class of 'y' with fewer than 7 rows is"),
    ],
)  # fmt: skip
def test_rare_classes(
    tmp_path: Path, labels: list[object], rare: data.Rare, classes: dict[object, int], message: str
) -> None:
    file = save(tmp_path, labelled(labels))
    dataset = data.load(file, "y", rare=rare)
    assert dataset.labels.value_counts().to_dict() == classes
    assert message in next(f.message for f in dataset.findings if f.kind.startswith("rare-"))
    assert refused(file, rare="refuse").message.startswith("the target 'y' has ")
    assert "is not read strictly" in refused(file, rare=rare, strict=True).message


def test_rare_classes_that_cannot_be_joined(tmp_path: Path) -> None:
    file = save(tmp_path, labelled([1, 2] * 30 + [3]))
    assert "no text, so 1 rare one cannot be joined: 3 (1)" in refused(file, rare="join").message
    assert "does not say what becomes of rare classes" in refused(file, rare="keep").message


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["yes", "no"] * 15, "object"),
        (["yes"] * 25 + ["no"] * 5, "object"),
        ([0, 1, 2] * 20, "int64"),
        (list(range(100)) * 7, "int64"),
        ([f"c{i}" for i in range(100)] * 7, "object"),
        ([0.5, 1.5] * 30, "float64"),
        (["true", "false"] * 30, "bool"),
    ],
)
def test_targets_that_are_taken(tmp_path: Path, labels: list[object], kind: str) -> None:
    dataset = data.load(save(tmp_path, labelled(labels)), "y")
    assert dataset.labels.dtype == kind
    assert len(dataset.labels) == dataset.n_rows == len(labels)


def test_parquet_becomes_the_four_types(tmp_path: Path) -> None:
    n = 60
    columns = {
        "small": pa.array(range(n), pa.int8()),
        "unsigned": pa.array(range(n), pa.uint64()),
        "huge": pa.array([2**63 + i for i in range(n)], pa.uint64()),
        "holes": pa.array([None, *range(1, n)], pa.int32()),
        "single": pa.array([i / 4 for i in range(n)], pa.float32()),
        "money": pa.array([Decimal(i) / 100 for i in range(n)], pa.decimal128(10, 2)),
        "flag": pa.array([i % 2 == 0 for i in range(n)]),
        "maybe": pa.array([None, *[i % 2 == 0 for i in range(1, n)]]),
        "kind": pa.array(["a", "b", None] * (n // 3)).dictionary_encode(),
        "day": pa.array([date(2020, 1, 1 + i % 28) for i in range(n)]),
        "moment": pa.array([datetime(2020, 1, 1 + i % 28, tzinfo=UTC) for i in range(n)]),
        "nothing": pa.nulls(n),
        "y": pa.array(["yes", "no"] * (n // 2), pa.large_string()),
    }
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), file)
    dataset = data.load(file, "y", keep="all")
    kinds = {name: str(kind) for name, kind in dataset.frame.dtypes.items()}
    assert kinds == {
        "small": "int64",
        "unsigned": "int64",
        "huge": "object",
        "holes": "Int64",
        "single": "float64",
        "money": "float64",
        "flag": "bool",
        "maybe": "boolean",
        "kind": "object",
        "day": "object",
        "moment": "object",
        "y": "object",
    }
    assert dataset.dropped == ("nothing",)
    frame = dataset.frame
    assert frame["huge"][0] == str(2**63)
    assert frame["holes"].isna()[0]
    assert frame["holes"][1] == 1
    assert frame["money"][25] == 0.25
    assert frame["maybe"].isna()[0]
    assert not frame["maybe"][1]
    assert frame["kind"].isna().sum() == n // 3
    assert frame["day"][0] == "2020-01-01"
    assert frame["moment"][0] == "2020-01-01T00:00:00+00:00"
    assert dataset.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_parquet_that_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": [[1, 2]] * 60, "y": [0, 1] * 30}), file)
    assert "column 'a': a Parquet column of type list" in refused(file).message
    assert "no features left" in refused(file, drop=["a"]).message
    pq.write_table(pa.table({"a": pa.array([], pa.int64()), "y": pa.array([], pa.int64())}), file)
    assert "has columns but no rows" in refused(file).message


def test_rows_are_read_without_a_target_and_from_a_single_column(tmp_path: Path) -> None:
    file = save(tmp_path, "plain\n1\n2\n")
    assert data.read_rows(file)["plain"].tolist() == [1, 2]
    assert "has a single column" in refused(file).message
    whole = data.read_rows(save(tmp_path, gzip.compress(text(";").encode())))
    pd.testing.assert_frame_equal(whole, EXPECTED)
    file = save(tmp_path, "a,empty\n1,\n2,\n")
    assert data.read_rows(str(file))["empty"].isna().all()
    with pytest.raises(DataError, match=r"'table\.csv' is empty"):
        data.read_rows(save(tmp_path, ""))


def test_columns_of_a_contract_stay_text(tmp_path: Path) -> None:
    file = save(tmp_path, "code,word,flag\n7,NA,true\n08,,false\n")
    frame = data.read_rows(file, text={"code", "word", "flag", "elsewhere"})
    assert frame["code"].tolist() == ["7", "08"]
    assert frame["word"][0] == "NA"
    assert pd.isna(frame["word"][1])
    assert frame["flag"].tolist() == ["true", "false"]
    pq.write_table(pa.table({"code": [7, None], "flag": [True, False]}), file)
    frame = data.read_rows(file, text={"code", "flag"})
    assert frame["code"][0] == "7"
    assert pd.isna(frame["code"][1])
    assert frame["flag"].tolist() == ["True", "False"]
