"""``twinml data`` on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twinml import data
from twinml.cli import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "calls.csv"
    rows = "".join(f"{i * 37 % 61},{'a' if i % 3 else 'b'},{i % 2}\n" for i in range(60))
    file.write_text("n,[red]kind,answer\n" + rows)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_the_bank_data_is_the_default() -> None:
    result = run("--json", "--drop", "duration")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["name"] == "bank-full"
    assert shown["classes"] == {"no": 39922, "yes": 5289}
    assert shown["chronological"] is True
    assert list(shown["leaks"]) == ["duration"]
    assert shown["dropped"] == ["duration"]
    assert [f["feature"] for f in shown["features"]][:2] == ["age", "job"]
    assert shown["features"][1]["mean"] is None
    assert shown["asset"] is None


def test_text_shows_columns_findings_and_order(table: Path) -> None:
    result = run("--data", table, "--target", "answer")
    assert result.exit_code == 0
    assert "calls: 60 rows, target answer: 0 50.0%, 1 50.0%" in result.stdout
    assert "[red]kind" in result.stdout
    assert "b 33.3%" in result.stdout
    assert "Order: rows look " in result.stdout
    assert (
        "warning: 2 classes of 'answer' have fewer than 50 rows, 1 has 30: figures about them "
        "will be rough." in result.stdout
    )


def test_errors_are_one_line_and_exit_code_1(table: Path) -> None:
    result = run("--data", table, "--target", "anwser")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "'calls.csv' has no column 'anwser'. Did you mean 'answer'?" in result.stderr
    result = run("--data", table, "--target", "anwser", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error_code"] == "INVALID_DATA"


def test_a_file_needs_a_target(table: Path) -> None:
    result = run("--data", table, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["hint"] == "Name it: --target COLUMN."


def test_fetch_keeps_a_file_that_is_there_and_goes_alone(tmp_path: Path) -> None:
    original = tmp_path / "bank-full.csv"
    frame = data.load(data.bundled(), "y").frame
    frame.to_csv(original, index=False, sep=";", quoting=2, lineterminator="\n")
    result = run("--fetch", "bank-full", "--to", tmp_path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["path"] == str(original)
    assert run("--fetch", "bank-full", "--to", tmp_path).stdout == f"{original}\n"
    result = run("--fetch", "bank-full", "--register", "--json")
    assert result.exit_code == 1
    assert "only downloads" in json.loads(result.stdout)["message"]


def test_register_on_this_machine(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("twinml_local.platform")
    monkeypatch.setenv("TWINML_HOME", str(tmp_path / "home"))
    versions = []
    for drop in ([], [], ["--drop", "n"]):
        arguments = ["--data", table, "--target", "answer", "--register", "--json", *drop]
        result = run(*arguments, "--name", "calls")
        assert result.exit_code == 0, result.output
        versions.append(json.loads(result.stdout)["asset"]["version"])
    assert versions == ["1", "1", "2"]
    assert (tmp_path / "home" / "data" / "calls" / "2" / "data.csv").read_bytes() == (
        table.read_bytes()
    )


def test_an_unknown_platform(table: Path) -> None:
    result = run("--data", table, "--target", "answer", "--register", "--on", "moon", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["message"] == "there is no platform 'moon'"


def test_how_a_file_is_read_is_said_and_can_be_refused(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    rows = "".join(f'K{i:03};"{i % 9},5";{"a" if i % 2 else "b"}\n' for i in range(60))
    file.write_bytes(("no;größe;answer\n" + rows).encode("cp1252"))
    result = run("--data", file, "--target", "answer", "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert [one["message"] for one in shown["findings"] if one["decision"]] == [
        "'sales.csv' is read as Windows-1252",
        "'größe' is read as numbers with a decimal comma, such as '0,5'",
        "'no' differs in every row like a key and is left out of the model; "
        "--keep-column 'no' keeps it",
    ]
    assert [one["type"] for one in shown["features"]] == ["double"]
    kept = run("--data", file, "--target", "answer", "--keep-column", "no", "--json")
    assert [one["feature"] for one in json.loads(kept.stdout)["features"]] == ["no", "größe"]
    result = run("--data", file, "--target", "answer", "--strict")
    assert result.exit_code == 1
    assert "is not read strictly: 'sales.csv' is read as Windows-1252; and 2 more" in result.stderr
