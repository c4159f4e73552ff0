"""``twinml score`` from every kind of input to every kind of output, and on after a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.unit.toy_endpoint import ROWS, Toy, label, toy
from tests.unit.workbooks import workbook
from twinml.cli import main


def score(server: Toy, *words: str, stdin: str | None = None) -> Result:
    runner = CliRunner(env={"TOY_KEY": server.key})
    return runner.invoke(
        main, ["score", "--url", server.uri, "--key-env", "TOY_KEY", *words], input=stdin
    )


def sent(server: Toy) -> list[int]:
    return [row[0] for body in server.bodies for row in body["input_data"]["data"]]


@pytest.mark.parametrize(
    "text",
    [
        "n,name\n3,a\n4,b\n",
        '{"n": 3, "name": "a"}\n{"n": 4, "name": "b"}\n',
        '[{"n": 3, "name": "a"}, {"n": 4, "name": "b"}]',
    ],
    ids=["csv", "lines", "list"],
)
def test_rows_of_standard_input_are_told_by_their_first_character(text: str) -> None:
    with toy() as server:
        result = score(server, "--data", "-", stdin=text)
        assert result.exit_code == 0, result.output
        assert result.stdout == "odd\neven\n"
        assert server.key not in result.output


def test_a_body_on_standard_input_is_posted_as_it_is() -> None:
    body = {"input_data": {"columns": ["n"], "data": [[8]]}}
    with toy() as server:
        result = score(server, "--data", "-", "--json", stdin=json.dumps(body))
        assert json.loads(result.stdout) == ["even"]
        assert server.bodies == [body]


def test_a_key_that_some_rows_lack_is_null_in_all_dialects() -> None:
    lines = '{"n": 2, "m": 5}\n{"n": 4}\n'
    with toy() as server:
        result = score(server, "--data", "-", stdin=lines)
        assert result.exit_code == 0, result.output
        (body,) = server.bodies
        assert body["input_data"]["data"] == [[2, 5], [4, None]]


@pytest.mark.parametrize(
    "written",
    [
        {"n": {"0": 2, "1": 4}, "m": {"0": 0.1, "1": None}},
        {"n": {"a": 2, "b": 4}, "m": {"a": 0.1}},
        {"n": [2, 4], "m": [0.1, None]},
        {"columns": ["n", "m"], "index": [0, 1], "data": [[2, 0.1], [4, None]]},
        {"rows": [{"n": 2, "m": 0.1}, {"n": 4, "m": None}]},
        [{"n": 2, "m": 0.1}, {"n": 4}],
    ],
    ids=["columns", "gap", "lists", "split", "inside", "rows"],
)
@pytest.mark.parametrize("source", ["rows.json", "-"])
def test_json_as_pandas_writes_tables(tmp_path: Path, written: object, source: str) -> None:
    text = json.dumps(written)
    (tmp_path / "rows.json").write_text(text)
    given = "-" if source == "-" else str(tmp_path / source)
    with toy() as server:
        result = score(server, "--data", given, stdin=text)
        assert result.exit_code == 0, result.output
        (body,) = server.bodies
    assert body["input_data"]["columns"] == ["n", "m"]
    assert body["input_data"]["data"] == [[2, 0.1], [4, None]]


def test_a_table_whose_rows_are_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"columns": ["n"], "data": [[2], [4, 5]]}')
    with toy() as server:
        result = score(server, "--data", str(tmp_path / "rows.json"))
    assert result.exit_code == 1
    assert "rows.json is no table of pandas" in result.output
    assert not server.bodies


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl", ".json"])
@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet", "rows.jsonl", "rows.xlsx"])
def test_every_input_to_every_output(tmp_path: Path, source: str, ending: str) -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c"], "n": [1, 2, 3]})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    cells = [list(frame), *frame.to_numpy().tolist()]
    (tmp_path / "rows.xlsx").write_bytes(workbook(A=cells))
    out = tmp_path / f"scored{ending}"
    words = ("--data", str(tmp_path / source), "--out", str(out), "--chunk-rows", "2", "--proba")
    with toy() as server:
        result = score(server, *words)
        assert result.exit_code == 0, result.output
    if ending == ".json":
        scored = pd.DataFrame(json.loads(out.read_text()))
    else:
        reading = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
        scored = pd.read_json(out, lines=True) if ending == ".jsonl" else reading[ending](out)
    assert scored["id"].tolist() == ["a", "b", "c"]
    assert scored["prediction"].tolist() == ["odd", "even", "odd"]
    assert scored["probability_even"].tolist() == [0.2, 0.9, 0.2]
    assert scored["probability_odd"].tolist() == [0.8, 0.1, 0.8]
    # One request for the labels and one for the probabilities of each chunk.
    assert scored["request_id"].tolist() == ["id-1", "id-1", "id-3"]
    assert scored["request_id_proba"].tolist() == ["id-2", "id-2", "id-4"]


def test_after_a_failure_no_row_is_sent_twice_and_none_is_lost(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.csv", tmp_path / "scored.csv"
    source.write_text("n\n" + "".join(f"{n}\n" for n in range(50)))
    words = ("--data", str(source), "--out", str(out), "--chunk-rows", "10")
    with toy(lambda number: (500 if number == 3 else 200, None)) as server:
        failed = score(server, *words)
        assert failed.exit_code == 1
        assert "answered 500" in failed.output
        assert not out.exists()
        source.write_text("n\n" + "".join(f"{n}\n" for n in range(1, 51)))
        changed = score(server, *words)
        assert "input is not what it was begun with" in changed.output
        source.write_text("n\n" + "".join(f"{n}\n" for n in range(50)))
        done = score(server, *words, "--json")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert (said["n_rows"], said["resumed"]) == (50, 30)
        counted = Counter(sent(server))
    assert counted == Counter(range(50)) + Counter(range(30, 40))  # the refused chunk, again
    assert pd.read_csv(out)["n"].tolist() == list(range(50))
    assert not (tmp_path / "scored.csv.parts").exists()


# Where tests run in the background, a child begins with SIGINT ignored.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from twinml.cli import main; main()"
)


def test_ctrl_c_keeps_what_was_scored(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.csv", tmp_path / "scored.csv"
    source.write_text("n\n" + "".join(f"{n}\n" for n in range(200)))

    def slow(number: int) -> tuple[int, None]:
        time.sleep(0.05)
        return 200, None

    with toy(slow) as server:
        words = ["--data", str(source), "--out", str(out), "--chunk-rows", "2"]
        running = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "score", "--url", server.uri,
             "--key-env", "TOY_KEY", *words],
            env=os.environ | {"TOY_KEY": server.key}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while len(server.bodies) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 130
        assert "the same command goes on" in said
        assert "Traceback" not in said
        server.before = None
        done = score(server, *words, "--json")
        assert json.loads(done.stdout)["resumed"] >= 8
        counted = Counter(sent(server))
    # The request that Ctrl-C met may have been answered and not kept.
    assert sum(counted.values()) - 200 in (0, 2)
    assert set(counted) == set(range(200))
    scored = pd.read_csv(out)
    assert scored["prediction"].tolist() == [label({"n": n}) for n in range(200)]


def test_an_example_goes_to_data_json_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with toy() as server:
        assert score(server, "--example").exit_code == 0
        assert json.loads((tmp_path / "data.json").read_text()) == {"data": ROWS[:2]}
        assert score(server, "--example").exit_code == 0  # the same again
        (tmp_path / "data.json").write_text("mine")
        refused = score(server, "--example")
        assert refused.exit_code == 1
        assert "there is a 'data.json' already" in refused.output
        assert score(server, "--example", "--out", "data.json").exit_code == 0
        printed = score(server, "--example", "--dialect", "input_data", "--out", "-")
        assert json.loads(printed.stdout)["input_data"]["columns"] == ["n"]


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("--data", "-"), "", "nothing came on standard input"),
        (("--data", "-"), '{"n": 1}\n{"n": \n', "line 2: not JSON"),
        (("--data", "-"), '{"n": 1}\n[2]\n', "line 2: found '[2]', expected an object"),
        (("--data", "-"), "n\nmany\n", "row 1, column 'n': found 'many', expected a long"),
        (("--data", "-"), "m\n1\n", "lacks 1 of 1 columns: 'n'"),
        (("--sample", "1", "--out", "rows.txt"), "", "ends in '.txt'"),
        (("--sample", "1", "--out", "no/where.csv"), "", "there is no folder"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], stdin: str, message: str) -> None:
    with toy() as server:
        result = score(server, *words, stdin=stdin)
        assert result.exit_code == 1
        assert message in result.output
        assert result.output.count("\n") == 1
        assert server.bodies == []
