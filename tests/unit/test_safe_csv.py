"""Formulas in CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from twinml.batch._parts import Parts
from twinml.data.safe_csv import safe_frame, safe_table, safe_text

CELLS = [
    ("=1+1", "'=1+1"),
    ("=HYPERLINK(\"http://x\",\"y\")", "'=HYPERLINK(\"http://x\",\"y\")"),
    ("+49 30 12", "'+49 30 12"),
    ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"),
    ("\r=1", "'\r=1"),
    ("-", "'-"),
    ("+", "'+"),
    ("-5-3", "'-5-3"),
    ("-1e", "'-1e"),
    # Numbers stay numbers.
    ("-5", "-5"),
    ("+5", "+5"),
    ("-.5", "-.5"),
    ("-5.", "-5."),
    ("-1.5e-3", "-1.5e-3"),
    # Text that no spreadsheet runs stays as it is.
    ("a=b", "a=b"),
    (" =1", " =1"),
    ("'=1", "'=1"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "safe"), CELLS)
def test_a_cell(cell: str, safe: str) -> None:
    assert safe_text(cell) == safe


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_table_is_safe_as_its_cells_are(kind: pa.DataType) -> None:
    cells = [cell for cell, _ in CELLS] + [None]
    table = pa.table({"=text": pa.array(cells, kind), "n": [-1.0] * len(cells)})
    safe = safe_table(table)
    assert safe.column_names == ["'=text", "n"]
    assert safe["'=text"].to_pylist() == [safe for _, safe in CELLS] + [None]
    assert safe["n"].equals(table["n"])


def test_a_frame_is_safe_as_its_cells_are() -> None:
    frame = pd.DataFrame(
        {"@text": [cell for cell, _ in CELLS], "n": -1, "mixed": [-1] * len(CELLS)}
    )
    frame["mixed"] = frame["mixed"].astype(object)
    frame["category"] = pd.Categorical(["=1"] * len(CELLS))
    safe = safe_frame(frame)
    assert list(safe) == ["'@text", "n", "mixed", "category"]
    assert list(safe["'@text"]) == [safe for _, safe in CELLS]
    assert set(safe["n"]) == set(safe["mixed"]) == {-1}
    assert set(safe["category"]) == {"'=1"}
    assert list(frame) == ["@text", "n", "mixed", "category"]


@pytest.mark.parametrize(("name", "safe", "found"), [
    ("out.csv", True, "'=1"), ("out.csv", False, "=1"), ("out.jsonl", True, '{"a": "=1"}'),
])  # fmt: skip
def test_only_csv_is_changed_and_only_when_asked(
    tmp_path: Path, name: str, safe: bool, found: str
) -> None:
    parts = Parts(tmp_path / name, {}, safe_csv=safe)
    parts.add(0, pa.table({"a": ["=1"]}))
    text = parts.join([0]).read_text(encoding="utf-8")
    rows = [row[0] for row in csv.reader(io.StringIO(text))] if name.endswith(".csv") else [text]
    assert rows[-1].strip() == found
