"""Probes of fitted pipelines, and of scoring functions that refuse, crash or lie."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from twinml.cli import main
from twinml.contract import Column, Contract, infer_contract, model_frame, openapi, parse, render
from twinml.contract.dates import DateForm
from twinml.data import load, read_records
from twinml.endpoint import request_body
from twinml.errors import DataError, EndpointError, ModelError, PayloadError, UsageError
from twinml.probe import run as probe
from twinml.probe._perturbations import PROBES, WHOLE_ROW, choose, perturbations

Rows = list[dict[str, Any]]


def people(n: int = 400) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "visits": rng.integers(0, 9, n),
            "income": rng.normal(50, 15, n).round(2),
            "debt": rng.normal(5, 2, n).round(2),
            "job": rng.choice(["clerk", "nurse", "smith"], n),
            "member": rng.random(n) < 0.5,
        }
    )
    frame.loc[frame.index[:20], "income"] = np.nan
    logit = (frame["age"] - 50) / 10 + (frame["job"] == "nurse") * 2 - frame["debt"] / 3
    labels = pd.Series(np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no"), name="y")
    return frame, labels


@pytest.fixture(scope="module")
def fitted() -> tuple[Contract, Callable[[Rows], list[list[float]]], Rows]:
    frame, labels = people()
    contract = infer_contract(frame, labels, name="people")
    numbers = ["age", "visits", "income", "debt"]
    pipeline = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore"), ["job"]),
            ("passthrough", ["member"]),
        ),
        LogisticRegression(),
    ).fit(frame, labels)

    def score_proba(rows: Rows) -> list[list[float]]:
        answer: list[list[float]] = pipeline.predict_proba(pd.DataFrame(rows)).tolist()
        return answer

    return contract, score_proba, frame.to_dict("records")


def by_probe(result: probe.ProbeResult, feature: str) -> dict[str, probe.Shift]:
    return {shift.probe: shift for shift in result.shifts if shift.feature == feature}


def test_every_feature_gets_the_probes_of_its_type(fitted):
    contract, score_proba, rows = fitted
    result = probe.run(contract, score_proba, rows)
    numeric = {"below range", "far below", "above range", "far above", "zero", "negated", "huge"}
    assert set(by_probe(result, "age")) == numeric | {"largest integer", "swapped"}
    assert set(by_probe(result, "income")) == numeric | {"infinity", "-infinity", "null", "swapped"}
    assert set(by_probe(result, "debt")) == numeric | {"infinity", "-infinity", "null"}
    text = {"unseen category", "empty", "very long", "other case", "whitespace", "null"}
    assert set(by_probe(result, "job")) == text
    assert by_probe(result, "member") == {}
    assert set(by_probe(result, WHOLE_ROW)) == {"null"}
    assert {shift.probe for shift in result.shifts} <= set(PROBES)


def test_the_changes_are_those_of_the_model(fitted):
    contract, score_proba, rows = fitted
    result = probe.run(contract, score_proba, rows, n_base=15, seed=3, threshold=0.4)
    base = choose(contract, rows, 15, 3)
    before = np.array(score_proba(base))
    after = np.array(score_proba([row | {"job": "unseen category"} for row in base]))
    change = np.abs(after - before).max(axis=1)
    shift = by_probe(result, "job")["unseen category"]
    assert (shift.rows, shift.outside, shift.outcome) == (15, 15, "answered")
    assert shift.mean_change == pytest.approx(change.mean())
    assert shift.max_change == pytest.approx(change.max())
    assert shift.flips == ((after[:, 1] >= 0.4) != (before[:, 1] >= 0.4)).sum()
    # Age drives this model and visits hardly does.
    age, visits = by_probe(result, "age")["far above"], by_probe(result, "visits")["above range"]
    assert age.mean_change > 5 * visits.mean_change
    assert age.flips > 0


def test_the_values_sent_lie_where_they_should(fitted):
    contract, _, rows = fitted
    base = choose(contract, rows, 20, 0)
    attempts = {(a.feature, a.probe): a for a in perturbations(contract, base)}
    age = next(column for column in contract.columns if column.name == "age")
    width = age.maximum - age.minimum
    sent = {p: a.rows[0]["age"] for (f, p), a in attempts.items() if f == "age"}
    assert sent["below range"] == age.minimum - width
    assert sent["far above"] == age.maximum + 10 * width
    assert sent["huge"] == 10**15
    assert sent["largest integer"] == 2**63 - 1
    assert all(type(value) is int for value in sent.values())
    assert attempts["age", "swapped"].rows[0]["age"] == base[0]["visits"]
    assert attempts["age", "swapped"].rows[0]["visits"] == base[0]["age"]
    negated = attempts["debt", "negated"]
    assert negated.rows[0]["debt"] == -base[negated.positions[0]]["debt"]
    assert attempts["job", "other case"].rows[0]["job"] == base[0]["job"].upper()
    assert len(attempts["job", "very long"].rows[0]["job"]) == 10_000
    assert attempts[WHOLE_ROW, "null"].rows[0] == base[0] | dict.fromkeys(["income", "debt", "job"])
    # Everything else in a row stays as it was.
    for (feature, name), attempt in attempts.items():
        if name == "swapped" or feature == WHOLE_ROW:
            continue
        for position, row in zip(attempt.positions, attempt.rows, strict=True):
            assert {k: v for k, v in row.items() if k != feature} == {
                k: v for k, v in base[position].items() if k != feature
            }
            assert row[feature] != base[position][feature]


def test_rows_that_have_the_value_already_are_left_out():
    contract = Contract(
        name="two",
        columns=(
            Column("n", "long", nullable=False, minimum=0, maximum=0),
            Column("s", "string", nullable=True, categories=("unseen category",)),
        ),
        target="y", task="binary", classes=("no", "yes"), samples=(), n_rows=3,
    )  # fmt: skip
    base = [{"n": 0, "s": "unseen category"}, {"n": 0, "s": None}]
    attempts = {(a.feature, a.probe): a for a in perturbations(contract, base)}
    assert ("n", "zero") not in attempts
    assert ("n", "negated") not in attempts
    assert attempts["n", "below range"].rows[0]["n"] == -1  # a range without width still has one
    assert attempts["s", "null"].positions == (0,)
    assert attempts["s", "whitespace"].positions == (0,)
    assert attempts["s", "unseen category"].rows[0]["s"] == "unseen category_"


def test_a_date_that_is_missing_is_not_moved_on():
    column = Column("day", "datetime", True, None, 0.0, 86_400.0, dates=DateForm())
    contract = Contract(
        name="t", target="y", task="binary", classes=(0, 1), n_rows=2, samples=(), columns=(column,)
    )
    base = [{"day": None}, {"day": "1970-01-02"}]
    attempts = {(one.feature, one.probe): one for one in perturbations(contract, base)}
    assert attempts["day", "next day"].positions == (1,)
    assert attempts["day", "next day"].rows == ({"day": "1970-01-03"},)
    assert attempts["day", "null"].positions == (1,)
    assert {probe for _, probe in attempts} == {"next day", "next month", "next year", "null"}
    assert {probe for _, probe in attempts} <= set(PROBES)
    result = probe.run(contract, lambda rows: [[0.5, 0.5]] * len(rows), base)
    assert {shift.probe for shift in result.shifts} == {one for _, one in attempts}


def test_a_long_near_the_end_of_its_type_stays_within_it():
    column = Column("n", "long", nullable=False, minimum=-(2**62), maximum=2**62)
    contract = Contract(
        name="wide", columns=(column,), target="y", task="binary", classes=(0, 1),
        samples=(), n_rows=1,
    )  # fmt: skip
    for attempt in perturbations(contract, [{"n": 5}]):
        assert -(2**63) <= attempt.rows[0]["n"] <= 2**63 - 1


def test_a_crash_is_a_failure_and_a_refusal_is_not(fitted):
    contract, score_proba, rows = fitted

    def picky(rows: Rows) -> list[list[float]]:
        if any(row["job"] == "" for row in rows):
            raise PayloadError("column 'job': found '', expected text")
        if any(row["age"] is not None and row["age"] < 0 for row in rows):
            raise EndpointError("answered 400: age is negative", status=400)
        if any(row["debt"] == 10**15 for row in rows):
            raise EndpointError("answered 500: overflow", status=500)
        return score_proba(rows)

    result = probe.run(contract, picky, rows)
    job, age, debt = (by_probe(result, name) for name in ("job", "age", "debt"))
    assert job["empty"].outcome == "refused"
    assert job["empty"].message == "column 'job': found '', expected text"
    assert {name for name, shift in age.items() if shift.outcome == "refused"} == {
        "below range", "far below", "negated",
    }  # fmt: skip
    assert debt["huge"].outcome == "failed"
    assert debt["huge"].message == "answered 500: overflow"
    # scikit-learn itself refuses infinity with a ValueError: a crash, since nobody caught it.
    assert debt["infinity"].outcome == "failed"
    assert debt["infinity"].message.startswith("ValueError: Input X contains infinity")
    assert math.isnan(debt["infinity"].mean_change)
    counts = result.counts
    assert (counts["refused"], counts["failed"]) == (4, 5)
    assert counts["answered"] == counts["probes"] - 9
    assert [shift.outcome for shift in result.worst(5)] == ["failed"] * 5
    # Refusals split requests in halves; the rest still goes in few.
    assert result.n_requests < 60


def test_without_refusals_there_are_few_requests(fitted):
    contract, _, rows = fitted
    sizes = []

    def constant(rows: Rows) -> list[list[float]]:
        sizes.append(len(rows))
        return [[0.5, 0.5]] * len(rows)

    result = probe.run(contract, constant, rows, n_base=100)
    assert max(sizes) <= 1000
    assert len(sizes) == result.n_requests <= 8
    assert sum(sizes[1:]) == result.counts["rows"] > 3000
    assert result.counts["flips"] == 0
    assert all(shift.max_change == 0 for shift in result.shifts)


def test_what_is_no_probability_is_counted(fitted):
    contract, _, rows = fitted

    def broken(rows: Rows) -> list[list[float]]:
        return [
            [math.nan, math.nan] if row["job"] is None
            else [math.inf, -math.inf] if row["job"] == ""
            else [0.5, 0.6] if row["age"] == 10**15
            else [1.5, -0.5] if row["visits"] == 10**15
            else [0.4, 0.6]
            for row in rows
        ]  # fmt: skip

    result = probe.run(contract, broken, rows, n_base=10)
    assert by_probe(result, "job")["null"].broken == 10
    assert math.isnan(by_probe(result, "job")["null"].mean_change)
    assert by_probe(result, "job")["empty"].broken == 10
    assert by_probe(result, "age")["huge"].broken == 10
    assert by_probe(result, "visits")["huge"].broken == 10
    assert result.counts["broken"] == 50  # with null in the whole row
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "reply", [[[0.5, 0.5]], [[0.2, 0.3, 0.5]], [0.5], [["x", "y"]], [[0.5], [0.5, 0.5]], None]
)
def test_a_reply_of_the_wrong_shape_is_a_failure(fitted, reply):
    contract, score_proba, rows = fitted

    def odd(rows: Rows) -> Any:
        return reply if any(row["job"] == "" for row in rows) else score_proba(rows)

    shift = by_probe(probe.run(contract, odd, rows), "job")["empty"]
    assert shift.outcome == "failed"
    assert "the reply" in shift.message


def test_an_endpoint_that_falls_silent_ends_the_run(fitted):
    contract, score_proba, rows = fitted
    gone: list[bool] = []

    def dying(rows: Rows) -> list[list[float]]:
        if gone or any(row["job"] == "" for row in rows):
            gone.append(True)
            raise EndpointError("cannot be reached (ConnectionError)")
        return score_proba(rows)

    with pytest.raises(EndpointError, match="cannot be reached"):
        probe.run(contract, dying, rows)
    assert len(gone) < 12  # it gives up soon


def test_an_endpoint_that_dies_of_one_input_and_comes_back_goes_on(fitted):
    contract, score_proba, rows = fitted

    def restarting(rows: Rows) -> list[list[float]]:
        if any(row["job"] == "" for row in rows):
            raise EndpointError("cannot be reached (ConnectionError)")
        return score_proba(rows)

    result = probe.run(contract, restarting, rows)
    assert by_probe(result, "job")["empty"].outcome == "failed"
    assert by_probe(result, "job")["very long"].outcome == "answered"


def test_more_than_two_classes():
    frame, _ = people(200)
    labels = pd.Series(np.array(["a", "b", "c"])[frame["age"] // 31], name="y")
    contract = infer_contract(frame[["age", "debt"]], labels, name="three")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        frame[["age", "debt"]], labels
    )

    def score_proba(rows: Rows) -> list[list[float]]:
        answer: list[list[float]] = model.predict_proba(
            pd.DataFrame(rows).astype(float).fillna(0)
        ).tolist()
        return answer

    result = probe.run(contract, score_proba, frame.to_dict("records"))
    assert by_probe(result, "age")["far above"].mean_change > 0.3
    assert by_probe(result, "age")["far above"].flips > 5


def test_the_same_seed_takes_the_same_rows(fitted):
    contract, score_proba, rows = fitted
    assert choose(contract, rows, 20, 1) == choose(contract, rows, 20, 1)
    assert choose(contract, rows, 20, 1) != choose(contract, rows, 20, 2)
    assert probe.run(contract, score_proba, rows[:5]).n_base == 5
    first, second = (probe.run(contract, score_proba, rows, seed=1).to_dict() for _ in range(2))
    assert first == second


def test_what_cannot_be_probed_is_refused(fitted):
    contract, score_proba, rows = fitted
    with pytest.raises(DataError, match="no rows"):
        probe.run(contract, score_proba, [])
    with pytest.raises(DataError, match="row 0 has no column 'visits'"):
        probe.run(contract, score_proba, [{"age": 3}])
    with pytest.raises(UsageError, match="n_base is 0"):
        probe.run(contract, score_proba, rows, n_base=0)
    for threshold in (2, 0, math.nan):
        with pytest.raises(UsageError, match=f"threshold is {threshold}"):
            probe.run(contract, score_proba, rows, threshold=threshold)
    with pytest.raises(ModelError, match="unchanged rows already"):
        probe.run(contract, lambda rows: [[0.5, 0.1]] * len(rows), rows)


def test_the_result_can_be_read_saved_and_drawn(fitted, tmp_path: Path):
    contract, score_proba, rows = fitted
    result = probe.run(contract, score_proba, rows)
    shape = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert shape["counts"] == result.counts
    assert shape["features"] == ["age", "visits", "income", "debt", "job", "member"]
    infinity = [s for s in shape["shifts"] if s["probe"] == "infinity"]
    assert {s["mean_change"] for s in infinity} == {None}
    assert sum(shift["rows"] for shift in shape["shifts"]) == shape["counts"]["rows"]
    text = result.text(5)
    assert "failed 4" in text
    assert len(text.splitlines()) == 4 + 5
    path = result.picture(tmp_path / "probe.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_a_picture_of_many_features_keeps_the_worst(tmp_path: Path):
    names = [f"f{number}" for number in range(60)]
    contract = Contract(
        name="wide",
        columns=tuple(Column(n, "double", nullable=True, minimum=0.0, maximum=1.0) for n in names),
        target="y", task="binary", classes=(0, 1), samples=(), n_rows=9,
    )  # fmt: skip

    def score_proba(rows: Rows) -> list[list[float]]:
        return [[0.1, 0.9] if row["f59"] == 2.0 else [0.9, 0.1] for row in rows]

    result = probe.run(contract, score_proba, [dict.fromkeys(names, 0.5)])
    (worst,) = result.worst(1)
    assert (worst.feature, worst.probe, worst.flips) == ("f59", "above range", 1)
    assert result.picture(tmp_path / "wide.png").stat().st_size > 10_000


@pytest.fixture
def deployed(fitted) -> Iterator[str]:
    """The fitted model behind HTTP, requests read and answered by its contract."""
    contract, score_proba, _ = fitted

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.answer(200, json.dumps(openapi(contract, version="3")).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != "Bearer the-key":
                self.answer(401, b'{"message": "wrong key"}')
                return
            try:
                request = parse(contract, body, content_type="application/json", route="score")
                proba = np.array(score_proba(request.frame().to_dict("records")))
                labels = [contract.classes[place] for place in proba.argmax(axis=1)]
                self.answer(200, render(contract, request, labels, proba))
            except PayloadError as error:
                self.answer(error.status, json.dumps(error.to_dict()).encode())
            except (ValueError, RuntimeWarning) as error:  # scikit-learn at infinity
                self.answer(500, json.dumps({"message": str(error)}).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/score"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_command_probes_an_endpoint(
    fitted, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    contract, score_proba, rows = fitted
    (tmp_path / "contract.json").write_text(contract.to_json())
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.setenv("THE_KEY", "the-key")
    arguments = [
        "probe", "--url", deployed, "--key-env", "THE_KEY", "--model-dir", str(tmp_path),
        "--data", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "drawn" / "probe.png"),
    ]  # fmt: skip
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    shape = json.loads(result.stdout)
    # The model cannot take infinity, so its server answers 500, and that is what was found.
    assert result.exit_code == 1
    assert {s["probe"] for s in shape["shifts"] if s["outcome"] == "failed"} == {
        "infinity", "-infinity",
    }  # fmt: skip
    assert (tmp_path / "drawn" / "probe.png").is_file()
    # The same answers as from the pipeline in memory.
    here = probe.run(contract, score_proba, rows)
    there = {(s["feature"], s["probe"]): s["mean_change"] for s in shape["shifts"]}
    for shift in here.shifts:
        if shift.outcome == "answered":
            assert there[shift.feature, shift.probe] == pytest.approx(shift.mean_change, abs=1e-12)
    text = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert f"{len(here.shifts)} probes of 6 features, 20 base rows" in text


def test_the_benchmark_command_sends_the_example_of_the_endpoint(
    deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TWINML_KEY", "the-key")
    page = tmp_path / "benchmark.html"
    arguments = [
        "benchmark",
        "--url",
        deployed,
        "--key-env",
        "TWINML_KEY",
        "--requests",
        "12",
        "--concurrency",
        "2",
    ]
    result = CliRunner().invoke(
        main,
        [*arguments, "--rows", "3", "--warmup", "2", "--json", "--report", str(page)],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    shape = json.loads(result.stdout)
    found = shape["runs"][0]
    assert (found["good"], found["failed"], found["rows"]) == (12, 0, 3)
    assert found["latency_ms"]["p50"] > 0
    assert page.is_file()
    # With the wrong key every request fails, and so does the command.
    monkeypatch.setenv("TWINML_KEY", "another-key")
    result = CliRunner().invoke(main, [*arguments, "--warmup", "0"], catch_exceptions=False)
    assert result.exit_code == 1
    assert "401" in result.stdout
    assert "another-key" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe"], "there is no endpoint"),
        (["benchmark", "--endpoint", "e", "--url", "http://127.0.0.1:1/score"], "got both"),
        (["probe", "--url", "http://127.0.0.1:1/score"], "does not tell the model's contract"),
        (["benchmark", "--url", "http://127.0.0.1:1/score", "--rows", "0"], "--rows is 0"),
    ],
)
def test_the_commands_say_in_one_line_what_is_missing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TWINML_HOME", str(tmp_path))
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 1
    assert message in json.loads(result.stdout)["message"]


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_is_none_is_refused(seed: str):
    result = CliRunner().invoke(main, ["probe", "--seed", seed])
    assert result.exit_code == 2
    assert "0<=x<=4294967295" in result.stderr


def test_a_parquet_file_that_trains_is_scored_as_the_same_rows(tmp_path: Path):
    n = 60
    file = tmp_path / "calls.parquet"
    pd.DataFrame(
        {
            "moment": pd.date_range("2024-01-01", periods=n, freq="7h", tz="UTC"),
            "lasted": pd.to_timedelta(np.arange(n) * 1.5, unit="s"),
            "flag": pd.array([True, None] * (n // 2), dtype="boolean"),
            "small": np.arange(n, dtype="int8"),
            "price": np.where(np.arange(n) % 7, 0.5, np.nan),
            "y": ["no", "yes"] * (n // 2),
        }
    ).to_parquet(file)
    trained = load(file, "y")
    contract = infer_contract(trained.features, trained.labels, name="calls")
    texts = frozenset(column.name for column in contract.columns if column.type == "string")
    rows = read_records(file, text=texts)
    body = request_body(rows, dialect="data")
    sent = parse(contract, body, content_type="application/json", route="score").frame()
    pd.testing.assert_frame_equal(sent, model_frame(trained.features))


def test_the_score_command_reads_a_file_as_training_does(
    fitted, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _, score_proba, rows = fitted
    monkeypatch.setenv("THE_KEY", "the-key")
    arguments = ["score", "--url", deployed, "--key-env", "THE_KEY", "--json", "--data"]
    file = tmp_path / "rows.csv"
    pd.DataFrame(rows[:50]).to_csv(file, index=False, sep=";")
    result = CliRunner().invoke(main, [*arguments, str(file)], catch_exceptions=False)
    likely = [proba[1] > 0.5 for proba in score_proba(rows[:50])]
    assert json.loads(result.stdout)["predictions"] == ["yes" if p else "no" for p in likely]
    for content, message in (
        ("", "'rows.csv' is empty"),
        ("age\n41\n", "lacks 5 of 6 columns: 'visits', 'income', 'debt', 'job', 'member'"),
        (",".join(rows[0]) + "\n41,2\n", "Expected 6 columns, got 2"),
    ):
        file.write_text(content)
        result = CliRunner().invoke(main, [*arguments, str(file)])
        assert result.exit_code == 1
        assert message in json.loads(result.stdout)["message"]


def test_the_score_command_keeps_the_columns_of_the_rows(
    fitted, deployed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _, _, rows = fitted
    monkeypatch.setenv("THE_KEY", "the-key")
    file, out = tmp_path / "rows.csv", tmp_path / "scored.csv"
    mine = {"prediction": "mine", "prediction_1": "too", "probability_yes": 7}
    pd.DataFrame(rows[:3]).assign(**mine).to_csv(file, index=False)
    arguments = ["score", "--url", deployed, "--key-env", "THE_KEY", "--data", str(file)]
    # Labels and probabilities are two requests.
    twice = ["request_id", "request_id_proba"]
    for options, added in (
        ([], ["prediction_2", "request_id"]),
        (["--proba"], ["prediction_2", "probability_no", "probability_yes_1", *twice]),
    ):
        result = CliRunner().invoke(main, [*arguments, *options, "--out", str(out)])
        assert result.exit_code == 0, result.output
        scored = pd.read_csv(out)
        assert list(scored) == [*rows[0], *mine, *added]
        assert scored[list(mine)].to_dict("records") == [mine] * 3
    nowhere = tmp_path / "new" / "scored.csv"
    result = CliRunner().invoke(main, [*arguments, "--json", "--out", str(nowhere)])
    assert result.exit_code == 1
    refusal = json.loads(result.stdout)
    assert str(nowhere.parent) in refusal["message"]
    assert refusal["hint"] == "Make it first."
