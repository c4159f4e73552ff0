"""Reading any size in typed chunks, and writing parts that survive."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twinml.batch import Parts, Source, result_columns
from twinml.batch import _read as read
from twinml.batch._read import BLOCK
from twinml.contract.notation import Notation
from twinml.errors import DataError, TwinmlError, UsageError

TYPES = {"n": "long", "x": "double", "word": "string", "yes": "boolean"}
LINES = [
    "id,n,x,word,yes",
    "a,1,1.5,one,true",
    'b,2,,"two, and\nmore",False',
    "c,3.0,1e3,,1",
    "d,-4,0.1,007,TRUE",
    "e,5,7,ü,0",
]
EXPECTED = {
    "id": ["a", "b", "c", "d", "e"],
    "n": [1, 2, 3, -4, 5],
    "x": [1.5, None, 1000.0, 0.1, 7.0],
    "word": ["one", "two, and\nmore", None, "007", "ü"],
    "yes": [True, False, True, True, False],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def together(source: Source, rows: int) -> tuple[list[int], dict[str, list[object]]]:
    tables = list(source.chunks(rows))
    return [table.num_rows for table in tables], pa.concat_tables(tables).to_pydict()


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_chunks_are_cut_at_the_same_rows_whatever_the_blocks(
    file: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, found = together(Source(file, TYPES), rows)
    assert found == EXPECTED
    assert sizes == [min(rows, 5 - start) for start in range(0, 5, rows)]
    monkeypatch.setattr(read, "BLOCK", 60)  # bytes: a few lines each
    assert together(Source(file, TYPES), rows) == (sizes, found)


def test_packed_parquet_and_other_delimiters_are_read_alike(file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert together(Source(packed, TYPES), 2)[1] == EXPECTED
    bars = tmp_path / "bars.csv"
    bars.write_text("n|x\n1|2.5\n3|4\n")
    source = Source(bars, {"n": "long", "x": "double"})
    assert together(source, 9)[1] == {"n": [1, 3], "x": [2.5, 4.0]}
    assert source.share == 1.0
    parquet = tmp_path / "rows.parquet"
    pq.write_table(pa.table(EXPECTED), parquet)
    assert together(Source(parquet, TYPES), 2) == ([2, 2, 1], EXPECTED)
    # A column of another type than promised, but with values that fit, is cast.
    other = pa.table(EXPECTED | {"n": [1.0, 2.0, 3.0, -4.0, 5.0], "x": [1, 2, 3, 4, 5]})
    pq.write_table(other, parquet)
    found = together(Source(parquet, TYPES), 9)[1]
    assert found["n"] == EXPECTED["n"]
    assert found["x"] == [1.0, 2.0, 3.0, 4.0, 5.0]


def as_lines(text: str) -> bytes:
    frame = pd.read_csv(io.StringIO(text), dtype={"word": "string"})
    return frame.to_json(orient="records", lines=True, force_ascii=False).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv.bz2", lambda text: bz2.compress(text.encode())),
        ("rows.csv.xz", lambda text: lzma.compress(text.encode())),
        ("rows.csv.zst", lambda text: pa.compress(text.encode(), "zstd", asbytes=True)),
        ("utf-16.csv", lambda text: text.encode("utf-16")),
        ("windows.csv", lambda text: text.encode("cp1252")),
        ("rows.jsonl", as_lines),
    ],
)
def test_what_training_reads_is_read(
    name: str, content: Callable[[str], bytes], file: Path, tmp_path: Path
) -> None:
    """The same values, whatever holds them; texts that look like numbers stay as they are."""
    path = tmp_path / name
    path.write_bytes(content(file.read_text(encoding="utf-8")))
    source = Source(path, TYPES)
    sizes, found = together(source, 2)
    assert sizes == [2, 2, 1]
    assert {one: found[one] for one in EXPECTED} == EXPECTED
    assert source.share == 1.0
    with pytest.raises(DataError, match="lacks 1 of 5 columns: 'age'"):
        Source(path, {**TYPES, "age": "long"})


@pytest.mark.parametrize(
    "text",
    [
        "n,word,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\nSource: the office\n",
        "n,word,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\n\n# end\n",
        "n,word,x\n1,a,0.5\n# break\n2,b,1.5\n3,a,2.5\n",
        "Sales of May\n\nn,word,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\nprinted on Monday\n",
        "n;word;x\n1;a;0.5\n2;b;1.5\n3;a;2.5\nStand: 01.01.2020\n",
    ],
)
@pytest.mark.parametrize("block", [BLOCK, 30])
def test_lines_that_are_no_rows_are_left_out_as_in_training(
    text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With small blocks rows are given before the line is seen.
    monkeypatch.setattr("twinml.batch._read.BLOCK", block)
    path = tmp_path / "rows.csv"
    path.write_text(text)
    source = Source(path, {"n": "long", "word": "string", "x": "double"})
    assert together(source, 2) == (
        [2, 1],
        {"n": [1, 2, 3], "word": ["a", "b", "a"], "x": [0.5, 1.5, 2.5]},
    )
    assert source.share == 1.0


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("7", "Every line must have as many fields"),
        ("Total,,4.5", "row 4, column 'n': found 'Total', expected a long"),
        (",,4.5", "row 4, column 'n': found null"),
    ],
)
def test_rows_that_are_cut_off_or_total_the_others_are_refused(
    last: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"n,word,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\n{last}\n")
    with pytest.raises(DataError) as refused:
        together(Source(path, {"n": "long", "word": "string", "x": "double"}), 9)
    assert message in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,a,0.5\n2,b,1.5\n3,a,2.5\n", ("C1", "C2", "C3")),  # no header
        ("n word x\n1 a 0.5\n2 b 1.5\n3 a 2.5\n", ("n", "word", "x")),
        ('"n" "word" "x"\n"1" 1 "a" 0.5\n"2" 2 "b" 1.5\n"3" 3 "a" 2.5\n', ("n", "word", "x")),
        ("n,word,x\nr1,1,a,0.5\nr2,2,b,1.5\nr3,3,a,2.5\n", ("n", "word", "x")),  # R's row names
        ("n,word,x\n1,a,0.5,\n2,b,1.5,\n3,a,2.5,\n", ("n", "word", "x")),
        (" n,word ,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\n", ("n", "word", "x")),
        ("Sales,,\n,,\nn,word,x\n1,a,0.5\n2,b,1.5\n3,a,2.5\n", ("n", "word", "x")),
    ],
)
def test_a_header_is_looked_for_as_in_training(
    text: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    kinds = dict(zip(names, ("long", "string", "double"), strict=True))
    found = together(Source(path, kinds), 9)[1]
    assert [found[name] for name in names] == [[1, 2, 3], ["a", "b", "a"], [0.5, 1.5, 2.5]]
    with pytest.raises(DataError, match=r"of 4 columns: .*'age'"):
        Source(path, {**kinds, "age": "long"})


def test_numbers_are_read_in_their_notation_whatever_holds_them(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes("n;x\n1;1.234,50 €\n2;0,5 €\n".encode("cp1252"))
    types = {"n": "long", "x": "double"}
    euros = {"x": Notation(decimal=",", thousands=".", unit="€")}
    assert together(Source(path, types, notations=euros), 9)[1] == {
        "n": [1, 2],
        "x": [1234.5, 0.5],
    }


@pytest.mark.parametrize(
    ("start", "is_csv"),
    [
        (b"", True),
        (b"a,b\n", True),
        ("ä".encode(), True),
        (b"\xef\xbb\xbfa,b\n", True),
        ("ä".encode("cp1252"), False),
        ("ä".encode()[:1], False),  # a whole file, which ends in half a character
        (b"a" * (read.HEAD - 1) + "ä".encode()[:1], True),  # the start of one that goes on
        (b"a" * (read.HEAD - 2) + b"\xe4a", False),
        (b" [1]", False),
        (b"{", False),
        (b"a\0b", False),
        (b"PK\x03\x04", False),
        (b"a\tb\r\n\x1b", True),
    ],
)
def test_what_is_read_in_parts(start: bytes, is_csv: bool) -> None:
    assert read.is_csv(start) is is_csv


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("d,-4,", "d,four,", "row 4, column 'n': found 'four', expected a long"),
        ("d,-4,", "d,,", "row 4, column 'n': found null, expected a long"),
        ("d,-4,", "d,4.5,", "row 4, column 'n': found '4.5', expected a long"),
        ("d,-4,", "d,1e300,", "row 4, column 'n': found '1e300', expected a long"),
        ("0.1", "tenth", "row 4, column 'x': found 'tenth', expected a double"),
        ("TRUE", "perhaps", "row 4, column 'yes': found 'perhaps', expected a boolean"),
        ("d,-4,0.1,007,TRUE", "d,-4", "cannot be read to its end"),
    ],
)
@pytest.mark.parametrize("rows", [2, 100])
def test_a_cell_that_is_not_of_its_type_is_named(
    file: Path, old: str, new: str, message: str, rows: int
) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        together(Source(file, TYPES), rows)


def test_what_cannot_be_read_is_refused_at_once(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        Source(tmp_path / "none.csv", TYPES)
    with pytest.raises(DataError, match=r"lacks 1 of 5 columns: 'word2'"):
        Source(file, TYPES | {"word2": "string"})
    for content, message in (
        (b"", "is empty"),
        (b"<html>a</html>", "neither CSV nor Parquet"),
        (b'[{"a": [1]}]', "column 'a', row 1: found a list"),
        (b"a,a\n1,2\n", r"names a column twice: 'a'\."),
        (b"b;a;b;a\n1;2;3;4\n", r"names a column twice: 'a', 'b'\."),
        (b"a,,Unnamed: 1\n1,2,3\n", r"names a column twice: 'Unnamed: 1'\."),
        (b"x" * 99 + b",a," + b"x" * 99 + b"\n1,2,3\n", rf"twice: '{'x' * 80}'\."),
        (b"PAR1 no", "not a whole Parquet file"),
    ):
        path = tmp_path / "odd"
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            Source(path, {"a": "long"})
    header = tmp_path / "header.csv"
    header.write_text("n,x\n")
    with pytest.raises(DataError, match="holds no rows"):
        list(Source(header, {"n": "long"}).chunks(5))


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".parquet"])
def test_parts_become_one_file_in_one_move(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    parts = Parts(out, {"input": "abc"})
    parts.add(1, pa.table({"a": [3], "b": [float("nan")]}))
    parts.add(0, pa.table({"a": [1, 2], "b": [0.5, None]}))
    assert not out.exists()
    assert Parts(out, {"input": "abc"}).has(1)
    with pytest.raises(DataError, match="beginning of something else: input is not"):
        Parts(out, {"input": "other"})
    parts.join(range(2))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    if ending == ".parquet":
        assert pq.read_table(out).column("a").to_pylist() == [1, 2, 3]
        return
    text = out.read_text(encoding="utf-8")
    if ending == ".csv":
        assert text == '"a","b"\n1,0.5\n2,\n3,nan\n'
        return
    rows = json.loads(text) if ending == ".json" else [json.loads(s) for s in text.splitlines()]
    assert rows == [{"a": 1, "b": 0.5}, {"a": 2, "b": None}, {"a": 3, "b": None}]


def test_an_output_that_cannot_be_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "out.xlsx", "ends in '.xlsx'"),
        (tmp_path / "none" / "out.csv", "there is no folder"),
    ):
        with pytest.raises(TwinmlError, match=message):
            Parts(path, {})
    with pytest.raises(UsageError):
        Parts(tmp_path / "out", {})


def test_columns_of_the_input_keep_their_names() -> None:
    assert result_columns(["prediction", "a"], ["no", "yes"], 2) == (
        "prediction_1",
        ["probability_no", "probability_yes"],
    )
    assert result_columns([], ["no"], 2)[1] == ["probability_0", "probability_1"]
