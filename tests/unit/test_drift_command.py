"""``twinml drift`` on traffic in Azure ML's layout and on files, and the reader behind it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import make_table
from tests.unit.traffic import HOUR, NOW, collect
from twinml.cli import main
from twinml.errors import DataError, NotFound
from twinml.traffic import collected


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def found(result: Result) -> dict[str, Any]:
    shape: dict[str, Any] = json.loads(result.stdout)
    return shape


def test_requests_are_read_with_their_answers_oldest_first(tmp_path: Path):
    collect(tmp_path, make_table(40), moment=NOW - HOUR, name="early")
    collect(tmp_path, make_table(30), deployment="green", labels=True)
    traffic = collected.read(tmp_path)
    assert [request.id for request in traffic.requests[:2]] == ["early-0", "early-1"]
    assert traffic.n_rows == len(traffic.frame()) == len(traffic.times()) == 70
    first, last = traffic.requests[0], traffic.requests[-1]
    assert first.outputs[0] == {"no": 0.9, "yes": 0.1}
    assert last.outputs[0] == {"y": "no"}
    assert (last.deployment, last.model_version) == ("green", "1")
    assert last.time == datetime.fromtimestamp(NOW + 2, UTC)


def test_a_torn_line_is_counted_and_the_rest_is_read(tmp_path: Path):
    collect(tmp_path, make_table(40))
    file = next(tmp_path.rglob("model_inputs/**/*.jsonl"))
    file.write_bytes(file.read_bytes()[:-20])
    traffic = collected.read(tmp_path)
    assert (len(traffic.requests), traffic.torn) == (3, 1)


def test_what_is_not_asked_for_is_left_out(tmp_path: Path):
    collect(tmp_path, make_table(40), moment=NOW - 5 * HOUR, name="old")
    collect(tmp_path, make_table(40), deployment="green")
    since = datetime.fromtimestamp(NOW - HOUR, UTC)
    assert {one.deployment for one in collected.read(tmp_path, since=since).requests} == {"green"}
    assert {one.deployment for one in collected.read(tmp_path, deployments=["blue"]).requests} == {
        "blue"
    }
    cut = collected.read(tmp_path, most_rows=40)
    assert cut.cut_off
    assert cut.n_rows == 40


def test_nothing_collected_and_two_endpoints_are_refused(tmp_path: Path):
    with pytest.raises(NotFound, match="no traffic"):
        collected.read(tmp_path)
    collect(tmp_path, make_table(10))
    place = tmp_path / "modelDataCollector"
    (place / "other").mkdir()
    (place / "shop" / "blue").rename(place / "other" / "blue")
    collect(tmp_path, make_table(10))
    with pytest.raises(DataError, match="2 endpoints: other, shop"):
        collected.read(tmp_path)


def test_traffic_that_changed_is_told_with_the_time_it_began(tmp_path: Path, described_model: Path):
    older = make_table(600, seed=5)
    older["age"] += 30
    collect(tmp_path, make_table(600, seed=4), moment=NOW - 2 * HOUR, name="before")
    collect(tmp_path, older, moment=NOW - HOUR, name="after")
    page = tmp_path / "page" / "drift.html"
    words = ("drift", "--collected", tmp_path, "--model", described_model, "--window", "1h")
    done = run(*words, "--out", page, "--fail-on", "drift", "--json")
    assert done.exit_code == 3
    shape = found(done)
    assert "age" in shape["drifted"]
    drifted = [window["drifted"] for window in shape["windows"]]
    assert len(drifted) == 2
    assert "age" not in drifted[0]
    assert "age" in drifted[1]
    # The answers are compared with what the model says about its training rows.
    assert "(prediction)" in {one["feature"] for one in shape["features"]}
    text = page.read_text(encoding="utf-8")
    assert "age" in text
    assert text.count("<img") == 3


def test_rows_like_those_of_training_pass(tmp_path: Path, described_model: Path):
    rows = tmp_path / "rows.csv"
    make_table(400, seed=8).to_csv(rows, index=False)
    done = run("drift", "--current", rows, "--model", described_model, "--fail-on", "drift")
    assert done.exit_code == 0, done.output
    assert "no drift in 4 features over 400 rows" in done.stdout


def test_a_model_without_training_rows_says_what_to_do(tmp_path: Path, described_model: Path):
    import shutil

    bare = shutil.copytree(described_model, tmp_path / "bare")
    (bare / "reference.parquet").unlink()
    rows = tmp_path / "rows.csv"
    make_table(100).to_csv(rows, index=False)
    done = run("drift", "--current", rows, "--model", bare)
    assert done.exit_code == 1
    assert "no reference.parquet" in done.stderr
    assert run("drift", "--current", rows, "--model", bare, "--reference", rows).exit_code == 0


def test_files_have_no_windows(tmp_path: Path, described_model: Path):
    done = run("drift", "--current", "x.csv", "--model", described_model, "--window", "1h")
    assert done.exit_code == 1
    assert "has no times" in done.stderr
