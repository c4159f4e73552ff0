"""Online A/B tests: verdicts on simulated traffic, the labels behind them, and the command."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import make_table
from tests.unit.traffic import NOW, collect
from twinml.abtest import online
from twinml.cli import main
from twinml.errors import DataError, PlatformError, UsageError
from twinml.traffic.collected import Request, Traffic
from twinml.traffic.feedback import DATABASE, GroundTruth, Recorded, Truth, truths_from
from twinml.traffic.metrics import RequestMetrics

START = datetime(2026, 11, 1, tzinfo=UTC)
Labels = dict[tuple[str, int], str]


def requests_of(
    n: int,
    *,
    right: tuple[float, float] = (0.9, 0.9),
    share: float = 0.5,
    seed: int = 0,
    proba: bool = False,
) -> tuple[list[Request], Labels]:
    """Return single-row requests to blue and green, and the true labels of all."""
    rng = np.random.default_rng(seed)
    labels: Labels = {}
    found = []
    for number in range(n):
        which = int(rng.random() < share)
        truth, wrong = ("yes", "no") if rng.random() < 0.3 else ("no", "yes")
        said = truth if rng.random() < right[which] else wrong
        sure = float(rng.uniform(0.6, 0.9))
        output: dict[str, Any] = {"y": said}
        if proba:
            output = {name: sure if name == said else 1 - sure for name in ("no", "yes")}
        name = f"r{number}"
        labels[name, 0] = truth
        moment = START + timedelta(seconds=number)
        found.append(Request(name, ("blue", "green")[which], "1", moment, [{"x": 1}], [output]))
    return found, labels


def compare(requests: list[Request], labels: Labels, **options: Any) -> online.OnlineResult:
    options.setdefault("expected_share", 0.5)
    traffic = Traffic(tuple(requests))
    return online.compare(traffic, labels, deployments=("blue", "green"), **options)


def test_a_better_b_is_shipped_and_a_worse_one_is_not():
    for right, decision in (((0.85, 0.92), "ship B"), ((0.92, 0.85), "keep A")):
        result = compare(*requests_of(4000, right=right))
        assert result.verdict.decision == decision
        assert result.metric == "accuracy"
        assert result.low < right[1] - right[0] < result.high


def test_equal_deployments_are_decided_only_by_an_effect_that_matters():
    requests, labels = requests_of(6000)
    result = compare(requests, labels)
    assert result.verdict.decision == "not yet"
    assert "may be chance" in result.verdict.reason
    told = compare(requests, labels, effect=0.05)
    assert told.verdict.decision == "keep A"
    assert "smaller than 0.05" in told.verdict.reason


def test_wrong_decisions_on_equal_deployments_stay_below_alpha():
    decisions = [
        compare(*requests_of(1200, seed=seed), tuned_for=800).verdict.decision
        for seed in range(100)
    ]
    assert (
        decisions.count("ship B") + decisions.count("keep A") <= 12
    )  # 0.9998 of binomial(100, 5%)


def test_probabilities_are_judged_by_log_loss_where_lower_is_better():
    result = compare(*requests_of(4000, right=(0.8, 0.9), proba=True))
    assert result.metric == "log_loss"
    assert result.difference < 0
    assert result.verdict.decision == "ship B"
    brier = compare(*requests_of(4000, right=(0.8, 0.9), proba=True), metric="brier")
    assert brier.verdict.decision == "ship B"


def test_the_metric_of_a_request_is_what_scikit_learn_says():
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    requests, labels = requests_of(500, proba=True)
    blue = [one for one in requests if one.deployment == "blue"]
    truth = np.array([labels[one.id, 0] for one in blue])
    yes = np.array([one.outputs[0]["yes"] for one in blue])
    for metric, known in (
        ("log_loss", log_loss(truth, np.column_stack([1 - yes, yes]))),
        ("brier", brier_score_loss(truth, yes, pos_label="yes")),
        ("accuracy", accuracy_score(truth, np.where(yes >= 0.4, "yes", "no"))),
    ):
        found = compare(requests, labels, metric=metric, threshold=0.4).arms[0].value
        assert found == pytest.approx(known)


def test_a_mismatch_of_the_traffic_stops_everything():
    result = compare(*requests_of(4000, right=(0.85, 0.95), share=0.4))
    assert result.mismatch_p is not None
    assert result.mismatch_p < 0.001
    assert result.verdict.decision == "not yet"
    assert "not shared out as the traffic says" in result.verdict.reason


def test_labels_missing_in_one_arm_stop_everything():
    requests, labels = requests_of(3000, right=(0.85, 0.95))
    for request in requests:
        # As if only those that B called "yes" had been phoned.
        if request.deployment == "green" and request.outputs[0]["y"] == "no":
            del labels[request.id, 0]
    result = compare(requests, labels)
    assert result.verdict.decision == "not yet"
    assert "which is not chance" in result.verdict.reason


def measured(b_failures: int = 5, b_p95: float = 5.0) -> list[RequestMetrics]:
    return [
        RequestMetrics("blue", 4000, 5, 4000, 0, 2.0, 5.0, 9.0),
        RequestMetrics("green", 4000, b_failures, 4000, 0, 2.0, b_p95, 9.0),
    ]


def test_guardrails_hold_a_better_model_back():
    better = requests_of(4000, right=(0.85, 0.95))
    assert compare(*better, measured=measured()).verdict.decision == "ship B"
    slow = compare(*better, measured=measured(b_p95=9.0))
    assert slow.verdict.decision == "not yet"
    assert "1.2 TIMES SLOWER" in slow.verdict.reason
    assert compare(*better, measured=measured(b_p95=9.0), slowdown=2).verdict.decision == "ship B"
    failing = compare(*better, measured=measured(b_failures=120))
    assert failing.verdict.decision == "keep A"
    few = compare(*better, measured=measured()[:1])
    assert [rail.broken for rail in few.guardrails] == [None, None]


def test_mirror_traffic_is_left_out_or_compared_in_pairs():
    requests, labels = requests_of(2000, right=(0.8, 0.8))
    copies = [
        Request(one.id, "green", "2", one.time, one.rows, [{"y": labels[one.id, 0]}])
        for one in requests
        if one.deployment == "blue"
    ]
    both = requests + copies
    apart = compare(both, labels, expected_share=0.999)
    assert apart.left_out == {"copies and originals of mirror traffic": 2 * len(copies)}
    pairs = compare(both, labels, mirrored=True)
    assert pairs.verdict.decision == "ship B"
    assert pairs.mismatch_p is None
    assert pairs.arms[0].labelled == pairs.arms[1].labelled == len(copies)
    assert pairs.difference == pytest.approx(0.2, abs=0.04)


def test_an_id_that_came_twice_is_left_out():
    requests, labels = requests_of(1000)
    again = Request(requests[0].id, requests[0].deployment, "1", START, [{"x": 1}], [{"y": "no"}])
    result = compare([*requests, again], labels)
    assert result.left_out == {"requests with an id that came more than once": 2}


def test_rows_of_a_request_count_as_one():
    request = Request(
        "r", "blue", "1", START, [{}, {}, {}], [{"y": "no"}, {"y": "no"}, {"y": "yes"}]
    )
    result = compare([request], {("r", 0): "no", ("r", 1): "yes"})
    assert (result.arms[0].labelled, result.arms[0].value) == (1, 0.5)
    assert result.verdict.decision == "not yet"


def test_what_cannot_be_judged_is_refused():
    requests, labels = requests_of(300)
    with pytest.raises(DataError, match="label without probabilities"):
        compare(requests, labels, metric="log_loss")
    with pytest.raises(UsageError, match="share that B should have"):
        compare(requests, labels, expected_share=None)
    proba, _ = requests_of(300, proba=True)
    with pytest.raises(DataError, match="has the label 'maybe'"):
        compare(proba, {("r0", 0): "maybe"})


# Labels


def test_labels_are_kept_once_corrected_and_all_or_nothing(tmp_path: Path):
    truth = GroundTruth(tmp_path / "new")
    assert truth.labels() == {}
    assert truth.record([Truth("a", 0, "yes"), Truth("a", 0, "yes")]) == Recorded(1, 0, 0)
    with pytest.raises(DataError, match="nothing was recorded"):
        truth.record([Truth("b", 0, "no"), Truth("a", 0, "no"), Truth("a", 0, "yes")])
    assert truth.labels() == {("a", 0): "yes"}
    assert truth.record([Truth("a", 0, "no")]) == Recorded(0, 0, 1)
    assert (tmp_path / "new" / DATABASE).stat().st_mode & 0o077 == 0


def test_labels_from_many_at_once_are_all_kept(tmp_path: Path):
    def tell(number: int) -> Recorded:
        return GroundTruth(tmp_path).record([Truth(f"r{number}", row, "yes") for row in range(50)])

    with ThreadPoolExecutor(8) as pool:
        assert sum(done.new for done in pool.map(tell, range(8))) == 400
    assert len(GroundTruth(tmp_path).labels()) == 400


def test_a_newer_file_is_refused(tmp_path: Path):
    GroundTruth(tmp_path).record([Truth("a", 0, "yes")])
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(PlatformError, match="format 9"):
        GroundTruth(tmp_path).labels()


def test_records_become_labels_and_bad_ones_are_named():
    rows = [{"request_id": "a", "row": 1.0, "label": 3.0}, {"request_id": "b", "label": None}]
    assert list(truths_from(rows)) == [Truth("a", 1, "3")]
    for bad, words in (
        ({"label": "x"}, "record 0 has no 'request_id'"),
        ({"request_id": "", "label": "x"}, "empty 'request_id'"),
        ({"request_id": "a", "row": -1, "label": "x"}, "has the row '-1'"),
        ({"request_id": "a" * 300, "label": "x"}, "holds 300 characters"),
    ):
        with pytest.raises(DataError, match=words):
            list(truths_from([bad]))


# Commands


@pytest.fixture
def run() -> Callable[..., tuple[int, Any]]:
    def invoke(*words: str | Path) -> tuple[int, Any]:
        done = CliRunner().invoke(main, [*map(str, words), "--json"])
        return done.exit_code, json.loads(done.stdout)

    return invoke


def test_from_labels_in_a_file_to_a_verdict_with_a_page(tmp_path: Path, described_model: Path, run):
    table = make_table(1500, seed=2)
    # Blue and green answer alike (traffic.collect), so that nothing can be shipped.
    for name, moment in (("blue", NOW - 600), ("green", NOW - 400)):
        collect(tmp_path, table, moment=moment, deployment=name, name=name)
    outcomes = tmp_path / "outcomes.csv"
    lines = ["request_id,row,label"]
    for name in ("blue", "green"):
        lines += [f"{name}-{i // 10},{i % 10},{label}" for i, label in enumerate(table["y"])]
    outcomes.write_text("\n".join([*lines, "elsewhere-1,0,yes"]) + "\n", encoding="utf-8")
    labelled = tmp_path / "labelled.csv"
    words = ("feedback", "--collected", tmp_path, "--labels", outcomes)
    code, done = run(*words, "--export", labelled, "--model", described_model)
    assert code == 0
    assert (done["new"], done["unmatched"], done["exported"]) == (3001, 1, 3000)
    assert run(*words)[1]["known"] == 3001
    blue = ("--deployment", "blue", "--export", tmp_path / "blue.csv", "--model", described_model)
    assert run("feedback", "--collected", tmp_path, *blue)[1]["exported"] == 1500
    page = tmp_path / "online.html"
    code, result = run(
        *("abtest", "--online", "--collected", tmp_path, "--a", "blue", "--b", "green"),
        *("--expected", "50/50", "--tuned-for", "300", "--out", page),
    )
    assert code == 0
    assert result["verdict"]["decision"] == "not yet"
    assert result["arms"][0]["labelled"] == 150
    assert "confidence sequence" in page.read_text(encoding="utf-8")
    # What came back labelled is a data set like any other.
    code, offline = run(
        *("abtest", "--labels", labelled, "--target", "y", "--a", described_model),
        *("--b", described_model, "--bootstrap", "100", "--out", tmp_path / "offline.html"),
    )
    assert offline["verdict"]["decision"] == "keep A"
    assert (tmp_path / "offline.html").read_text(encoding="utf-8").count("<img") == 1


def test_a_plan_says_how_many_requests_and_days(run):
    words = ("abtest", "--plan", "--baseline", "0.9", "--effect", "0.02", "--expected", "80/20")
    code, plan = run(*words)
    assert code == 0
    assert plan["fixed"] < plan["expected"] * 2
    assert plan["share"] == pytest.approx(0.2)
    shown = CliRunner().invoke(main, [*words, "--per-day", "1000"]).stdout
    assert "days" in shown
    assert f"--tuned-for {plan['sequential']}" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan"], "smallest difference"),
        (["--plan", "--effect", "0.1"], "how the metric spreads"),
        (["--plan", "--effect", "0.1", "--baseline", "0.95"], "cannot become 1.05"),
        (["--plan", "--effect", "0.1", "--deviation", "1", "--expected", "x"], "not a split"),
        (["--online"], "say what to compare"),
        (["--online", "--a", "x", "--b", "y", "--metric", "roc_auc"], "cannot decide here"),
        (["--a", "x", "--b", "y"], "which labelled rows"),
    ],
)
def test_misuse_says_what_to_give(words, said):
    done = CliRunner().invoke(main, ["abtest", *words])
    assert done.exit_code == 1
    assert said in done.stderr
