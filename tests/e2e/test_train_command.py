"""``twinml train`` as a user runs it: a process of its own, interrupted, repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from twinml.data import bundled

pytestmark = pytest.mark.e2e

TWINML = [sys.executable, "-m", "twinml"]


def train(*arguments: str, home: Path) -> dict:
    done = subprocess.run(
        [*TWINML, "train", *arguments, "--json"],
        env={**os.environ, "TWINML_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def report(model: str, *, home: Path) -> Path:
    done = subprocess.run(
        [*TWINML, "report", model, "--no-open"],
        env={**os.environ, "TWINML_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def test_trials_and_seed_give_the_same_model_digest_in_another_process(
    table_csv: Path, tmp_path: Path
) -> None:
    """Bit for bit, with every learner; neither the folder nor the hash seed matters."""
    arguments = ["--data", str(table_csv), "--target", "y", "--trials", "8", "--seed", "3"]
    first = train(*arguments, home=tmp_path / "one")
    second = train(*arguments, "--jobs", "1", home=tmp_path / "two")
    assert first["digest"] == second["digest"]
    assert first["test"] == second["test"]
    other = train(*arguments[:-1], "4", home=tmp_path / "one")
    assert other["digest"] != first["digest"]
    assert (first["version"], other["version"]) == ("1", "2")
    name = first["model"]
    shown = [report(each, home=tmp_path / "one") for each in (f"{name}/1", f"{name}/2", name)]
    champion = next(each for each in (other, first) if "champion" in each["aliases"])
    assert shown[0] != shown[1]
    assert shown[2] == shown[int(champion["version"]) - 1]
    assert all(
        each["run_id"] in page.parts for each, page in zip((first, other), shown, strict=False)
    )
    assert shown[1].read_bytes() == Path(other["report"]).read_bytes()


def test_ctrl_c_keeps_the_best_so_far_and_registers_it(tmp_path: Path) -> None:
    file = tmp_path / "bank.csv"
    pd.read_csv(bundled()).sample(8000, random_state=0).to_csv(file, index=False)
    process = subprocess.Popen(
        [*TWINML, "train", "--data", str(file), "--target", "y", "--budget", "300s", "--json"],
        env={**os.environ, "TWINML_HOME": str(tmp_path), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "best" in line:
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=500)
    assert process.returncode == 0, rest
    result = json.loads(out)
    assert result["interrupted"] is True
    assert result["version"] == "1"
    assert result["test"]["roc_auc"]["value"] > 0.85


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "no/such.csv", "--target", "y"], "no/such.csv"),
        (["--data", "{table}"], "--target"),
        (["--data", "{table}", "--target", "why"], "why"),
        (["--metric", "rmse"], "rmse"),
        (["--budget", "soon"], "soon"),
        (["--learners", "SVM"], "SVM"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(
    arguments: list[str], says: str, table_csv: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*TWINML, "train", *(one.format(table=table_csv) for one in arguments)],
        env={**os.environ, "TWINML_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_two_first_runs_at_once_make_one_store(table_csv: Path, tmp_path: Path) -> None:
    """Both make the tables of the tracking store; neither may find them half made."""
    arguments = ["--data", str(table_csv), "--target", "y", "--trials", "1", "--json"]
    runs = [
        subprocess.Popen(
            [*TWINML, "train", *arguments, "--learners", "LogisticRegression", "--seed", seed],
            env={**os.environ, "TWINML_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    ended = [(*run.communicate(timeout=300), run.returncode) for run in runs]
    assert [code for _, _, code in ended] == [0, 0], [err for _, err, _ in ended]
    assert sorted(json.loads(out)["version"] for out, _, _ in ended) == ["1", "2"]
