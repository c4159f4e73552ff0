"""``twinml batch``: as the pipeline, in bounded memory, and nothing lost when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.unit.workbooks import workbook
from twinml import model
from twinml.cli import main
from twinml_local.batch import _frame

pytestmark = pytest.mark.e2e

HEADER = "id,age,balance,job,owner\n"
LINES = "a,30,100.5,services,true\nb,70,,retired,false\nc,55,-3e2,,true\nd,61,7,never seen,0\n"


@pytest.fixture
def shared_forms(
    compiled_forms: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Keep compiled forms from test to test: translating the kernel takes long."""
    monkeypatch.setenv("TWINML_HOME", str(compiled_forms))
    return os.environ | {"TWINML_HOME": str(compiled_forms), "OMP_NUM_THREADS": "1"}


def batch(directory: Path, source: Path, out: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-m", "twinml", "batch", "--model", str(directory), "--data", str(source),
        "--out", str(out), "--json", *words,
    ]  # fmt: skip


def test_every_row_is_what_the_pipeline_says(
    ensemble_directory: Path, tmp_path: Path, shared_forms: dict[str, str]
) -> None:
    source, out = tmp_path / "rows.csv", tmp_path / "scored.parquet"
    source.write_text(HEADER + LINES * 250)
    result = CliRunner().invoke(
        main,
        ["batch", "--model", str(ensemble_directory), "--data", str(source), "--out", str(out),
         "--chunk-rows", "300", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["rows"], said["form"], said["resumed"]) == (1000, "compiled", 0)
    scored = pq.read_table(out)
    types = {c.name: c.type for c in model.load_contract(ensemble_directory).columns}
    pipeline = model.load_predictor(ensemble_directory, model.digest(ensemble_directory))
    frame = _frame(scored, types)
    shares = np.column_stack([scored[f"probability_{name}"].to_numpy() for name in ("no", "yes")])
    assert np.array_equal(shares, pipeline.predict_proba(frame))
    assert scored["prediction"].to_pylist() == pipeline.predict(frame).tolist()
    assert scored["id"].to_pylist() == ["a", "b", "c", "d"] * 250


def test_a_workbook_is_scored_as_the_same_rows_in_csv(
    ensemble_directory: Path, tmp_path: Path, shared_forms: dict[str, str]
) -> None:
    lines, out = (HEADER + LINES * 3).splitlines(), tmp_path / "scored.parquet"
    cells: list[list[object]] = [[cell or None for cell in line.split(",")] for line in lines]
    for row in cells[1:]:
        row[1:3] = [row[1] and int(str(row[1])), row[2] and float(str(row[2]))]
    (tmp_path / "rows.xlsx").write_bytes(workbook(Rows=cells, Notes=[["made by hand"]]))
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    scored = []
    for source in ("rows.csv", "rows.xlsx"):
        words = batch(ensemble_directory, tmp_path / source, out, "--restart")[3:]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        scored.append(pq.read_table(out).to_pydict())
    assert len(scored[0]["prediction"]) == 12
    assert scored[0] == scored[1]


def test_memory_does_not_grow_with_the_file(
    ensemble_directory: Path, tmp_path: Path, shared_forms: dict[str, str]
) -> None:
    peaks = {}
    for lines in (60_000, 1_200_000):
        source = tmp_path / f"{lines}.csv"
        source.write_text(HEADER + LINES * (lines // 4))
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
        )
        out = tmp_path / f"{lines}.parquet"
        done = subprocess.run(
            [sys.executable, "-c", code, *batch(ensemble_directory, source, out)],
            env=shared_forms, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks[lines] = int(done.stderr.split()[-1]) / 1024  # MiB
        assert json.loads(done.stdout)["rows"] == lines
        assert pq.read_metadata(out).num_rows == lines
        source.unlink()
    # The rows of the large file alone are some 400 MiB as a frame of objects.
    assert peaks[1_200_000] - peaks[60_000] < 150, peaks


def test_a_killed_run_goes_on_where_it_was(
    ensemble_directory: Path, tmp_path: Path, shared_forms: dict[str, str]
) -> None:
    source, whole, out = tmp_path / "rows.csv", tmp_path / "whole.csv", tmp_path / "scored.csv"
    source.write_text(HEADER + LINES * 10_000)
    words = ("--chunk-rows", "100")
    subprocess.run(
        batch(ensemble_directory, source, whole), env=shared_forms, check=True, capture_output=True
    )
    killed = subprocess.Popen(
        batch(ensemble_directory, source, out, *words), env=shared_forms,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    parts = tmp_path / "scored.csv.parts"
    deadline = time.monotonic() + 120
    while not (parts / "00003.arrow").is_file() and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not out.exists()
    assert (parts / "00003.arrow").is_file()
    other = subprocess.run(
        batch(ensemble_directory, source, out), env=shared_forms, capture_output=True, text=True
    )
    assert other.returncode == 1
    assert "chunk rows is not what it was begun with" in other.stdout
    done = subprocess.run(
        batch(ensemble_directory, source, out, *words), env=shared_forms,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["rows"] == 40_000
    assert 400 <= said["resumed"] < 40_000
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_the_command_says_what_is_wrong_in_one_line(
    ensemble_directory: Path, tmp_path: Path, own_home: Path
) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("id,age\na,1\n")
    directory = str(ensemble_directory)
    for words, message in (
        (["--model", directory], "lacks 3 of 4 columns"),
        ([], "say which model, once"),
        (["--model", directory, "--champion"], "say which model, once"),
        (["--champion"], "no model is registered"),
        (["--model", directory, "--workers", "2"], "--workers goes with --engine spark"),
    ):
        result = CliRunner().invoke(
            main, ["batch", *words, "--data", str(source), "--out", str(tmp_path / "o.csv")]
        )
        assert result.exit_code == 1
        assert message in result.output
        assert result.output.count("\n") == 1
