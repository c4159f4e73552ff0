"""The bank marketing data in data/ is UCI's, and what its README says about it is true."""

import csv
import gzip
import hashlib
from pathlib import Path

import pandas as pd
import pytest

from twinml import data

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
UCI_ORIGINAL = "d1513ec63b385506f7cfce9f2c5caa9fe99e7ba4e8c3fa264b3aaf0f849ed32d"


@pytest.fixture(scope="module")
def bank() -> data.Dataset:
    return data.load(data.bundled(), "y")


def test_checksums_are_those_in_the_readme(bank: data.Dataset) -> None:
    packed = data.bundled().read_bytes()
    assert bank.digest == hashlib.sha256(gzip.decompress(packed)).hexdigest()
    assert f"`{bank.digest}` ({len(gzip.decompress(packed)):,} bytes)" in README
    assert f"`{hashlib.sha256(packed).hexdigest()}` ({len(packed):,} bytes)" in README


def test_file_is_small_and_packed_without_name_or_time() -> None:
    packed = data.bundled().read_bytes()
    assert len(packed) < 900_000
    flags, seconds = packed[3], packed[4:8]
    assert flags == 0
    assert seconds == b"\0\0\0\0"


def test_table_is_ucis_file_byte_for_byte(bank: data.Dataset) -> None:
    text = bank.frame.to_csv(
        index=False, sep=";", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"
    )
    assert hashlib.sha256(text.encode()).hexdigest() == UCI_ORIGINAL
    assert UCI_ORIGINAL in README


def test_ucis_own_spelling_gives_the_same_frame(bank: data.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "bank-full.csv"
    bank.frame.to_csv(file, index=False, sep=";", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    original = data.load(file, "y")
    pd.testing.assert_frame_equal(original.frame, bank.frame)
    assert original.digest == UCI_ORIGINAL
    assert original.chronological
    assert original.name == "bank-full"


def test_frame_is_what_pandas_reads(bank: data.Dataset) -> None:
    expected = pd.read_csv(data.bundled(), low_memory=False, float_precision="round_trip")
    pd.testing.assert_frame_equal(bank.frame, expected)


def test_counts_are_those_in_the_readme(bank: data.Dataset) -> None:
    counts = bank.labels.value_counts()
    assert bank.frame.shape == (45_211, 17)
    assert f"{counts['no']:,} `no` ({counts['no'] / bank.n_rows:.1%})".replace("%", " %") in README
    assert f"{counts['yes']:,} `yes` ({counts['yes'] / bank.n_rows:.1%})".replace("%", " %") in (
        README
    )
    for column in bank.frame.columns:
        assert f"| `{column}` |" in README
    assert bank.frame["job"].nunique() == 12
    for column in ("age", "balance", "day", "duration", "campaign"):
        low, high = bank.frame[column].min(), bank.frame[column].max()
        assert f"{low:,} to {high:,}".replace("-", "−") in README


def test_what_is_known_about_it(bank: data.Dataset) -> None:
    assert bank.name == "bank-full"
    assert bank.chronological
    assert bank.order_note == (
        "rows are in date order (May 2008 to November 2010), as the source documents"
    )
    assert list(bank.leaks) == ["duration"]
    assert [(f.level, f.kind, f.column) for f in bank.findings] == [
        ("warning", "leak", "duration"),
        ("note", "imbalance", "y"),
    ]


def test_zero_seconds_is_always_no(bank: data.Dataset) -> None:
    assert set(bank.labels[bank.frame["duration"] == 0]) == {"no"}


def test_a_dropped_leak_keeps_its_reason_and_belongs_to_this_target_only(tmp_path: Path) -> None:
    without = data.load(data.bundled(), "y", drop=["duration", "pdays"])
    assert list(without.leaks) == ["duration"]
    assert without.dropped == ("duration", "pdays")
    assert "duration" not in without.features.columns
    shuffled = tmp_path / "sample.csv"
    pd.read_csv(data.bundled()).sample(500, random_state=3).to_csv(shuffled, index=False)
    sample = data.load(shuffled, "y", drop=["pdays"])
    assert list(sample.leaks) == ["duration"]
    assert not sample.chronological
    assert data.load(shuffled, "housing").leaks == {}
