"""The paired comparison against brute force, against simulation, and its verdicts."""

from __future__ import annotations

import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from twinml import model
from twinml.abtest._paired import Ranking, delong, difference_test, mcnemar, resamples
from twinml.abtest.offline import RULE, compare
from twinml.cli import main
from twinml.contract import infer_contract
from twinml.errors import DataError, UsageError

Floats = NDArray[np.float64]

# Said by MLflow of its own types when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


def two(positive: Floats) -> Floats:
    """Probabilities of both classes, shape (n, 2)."""
    return np.column_stack([1 - positive, positive])


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def models(
    rng: np.random.Generator, n: int, noise_a: float, noise_b: float
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Labels drawn from a true probability, and two noisy views of its log-odds."""
    logit = rng.normal(-1, 1.5, n)
    labels = (rng.random(n) < sigmoid(logit)).astype(np.int64)
    a, b = (sigmoid(logit + rng.normal(0, noise, n)) for noise in (noise_a, noise_b))
    return labels, two(a), two(b)


def mann_whitney(positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """All comparisons of a positive with a negative, shape (m, n): 1, one half at ties, 0."""
    difference = scores[positive][:, None] - scores[~positive][None, :]
    return np.asarray((difference > 0) + 0.5 * (difference == 0))


@pytest.mark.parametrize("levels", [5, 10_000])
def test_delong_is_the_brute_force_covariance_with_and_without_ties(levels: int):
    rng = np.random.default_rng(levels)
    positive = rng.random(150) < 0.3
    scores = [
        np.round((rng.normal(positive * 1.0) + shift) * levels / 8) for shift in (0.0, 0.4, -0.2)
    ]
    areas, covariance = delong(positive, scores)

    wins = [mann_whitney(positive, score) for score in scores]
    m, n = wins[0].shape
    np.testing.assert_allclose(areas, [w.mean() for w in wins], rtol=1e-12)
    for i, j in itertools.product(range(3), repeat=2):
        over_positives = np.cov(wins[i].mean(axis=1), wins[j].mean(axis=1))[0, 1] / m
        over_negatives = np.cov(wins[i].mean(axis=0), wins[j].mean(axis=0))[0, 1] / n
        assert covariance[i, j] == pytest.approx(over_positives + over_negatives, rel=1e-10)


def test_delong_and_the_bootstrap_agree_on_the_interval():
    labels, a, b = models(np.random.default_rng(1), 3000, 1.0, 0.8)
    result = compare(labels, a, b, n_bootstrap=2000)["roc_auc"]
    assert result.interval_method == "DeLong"
    width, bootstrap_width = result.high - result.low, result.bootstrap_high - result.bootstrap_low
    assert bootstrap_width == pytest.approx(width, rel=0.08)
    assert result.bootstrap_low == pytest.approx(result.low, abs=0.08 * width)
    # And the p-value is that of the interval's normal distribution.
    z = result.difference / result.standard_error
    assert result.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))


def test_delong_needs_two_rows_of_either_class():
    with pytest.raises(DataError, match="found 1 and 2"):
        delong([1, 0, 0], [[0.1, 0.2, 0.3]])


def test_equal_rankings_have_no_variance():
    labels = np.array([0, 1] * 20)
    score = np.random.default_rng(0).normal(size=40) + labels
    areas, covariance = delong(labels, [score, np.exp(score)])
    assert difference_test(float(areas[1] - areas[0]), covariance) == (0.0, 1.0)
    perfect = np.asarray(labels, dtype=np.float64)
    areas, covariance = delong(labels, [perfect, -perfect])
    assert difference_test(float(areas[1] - areas[0]), covariance) == (0.0, 0.0)


def test_mcnemar_is_the_sum_of_binomial_terms():
    for b, c in itertools.product(range(9), repeat=2):
        n = b + c
        terms = [math.comb(n, k) / 2**n for k in range(n + 1)]
        tail = sum(terms[: min(b, c) + 1])
        exact, mid_p = mcnemar(b, c)
        assert exact == pytest.approx(min(1.0, 2 * tail))
        assert mid_p == pytest.approx(min(1.0, 2 * tail - terms[min(b, c)]))
        assert mcnemar(c, b) == (exact, mid_p)


@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_a_weighted_auc_is_the_auc_of_the_rows_drawn(levels: int):
    rng = np.random.default_rng(3)
    positive = rng.random(60) < 0.4
    scores = np.round(rng.normal(positive * 1.0) * levels)
    ranking = Ranking(positive, scores)
    assert ranking.auc() == pytest.approx(mann_whitney(positive, scores).mean())
    (weights,) = resamples(60, 25, seed=0)
    for weight, area in zip(weights, ranking.weighted(weights), strict=True):
        assert weight.sum() == 60
        drawn = np.repeat(np.arange(60), weight.astype(int))
        expected = mann_whitney(positive[drawn], scores[drawn]).mean()
        assert area == pytest.approx(expected)
    nothing = np.zeros((1, 60))
    assert np.isnan(ranking.weighted(nothing)).all()


def test_resamples_are_the_same_for_the_same_seed_and_cover_all_chunks():
    first, second = (np.concatenate(list(resamples(30_000, 100, seed=5))) for _ in range(2))
    assert first.shape == (100, 30_000)
    assert (first == second).all()
    assert (first.sum(axis=1) == 30_000).all()
    assert not (first[0] == first[-1]).all()


def test_a_bootstrap_interval_of_a_mean_is_the_normal_one():
    labels, a, b = models(np.random.default_rng(2), 4000, 1.0, 0.6)
    result = compare(labels, a, b, n_bootstrap=2000)["log_loss"]
    half = 1.96 * result.standard_error
    assert result.low == pytest.approx(result.difference - half, abs=0.1 * half)
    assert result.high == pytest.approx(result.difference + half, abs=0.1 * half)


def binomial_range(n: int, p: float) -> tuple[float, float]:
    """Four standard errors around p: 1 in 16,000 runs of a right test would leave it."""
    half = 4 * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


@pytest.mark.parametrize("primary", ["roc_auc", "log_loss", "accuracy"])
def test_false_positives_under_equal_models_are_as_claimed(primary):
    runs, rng = 500, np.random.default_rng(11)
    significant = ships = 0
    for seed in range(runs):
        labels, a, b = models(rng, 400, 1.0, 1.0)
        result = compare(labels, a, b, n_bootstrap=200, seed=seed, primary=primary)
        significant += result[primary].significant
        ships += result.verdict.decision == "ship B"
    low, high = binomial_range(runs, 0.05)
    assert low <= significant / runs <= high
    # One side of a two-sided test, and other metrics can only hold it back.
    assert ships / runs <= binomial_range(runs, 0.025)[1]
    assert ships > 0


@pytest.mark.parametrize("primary", ["roc_auc", "log_loss", "accuracy"])
def test_the_required_rows_show_a_real_difference_four_times_out_of_five(primary):
    # The true difference, from very many rows, says how many rows are needed …
    rng = np.random.default_rng(5)
    truth = compare(*models(rng, 200_000, 1.6, 0.9), n_bootstrap=100, primary=primary)[primary]
    assert truth.required_rows is not None
    # … and so many show it in four out of five comparisons.
    runs = 250
    found = sum(
        compare(
            *models(rng, truth.required_rows, 1.6, 0.9), n_bootstrap=200, seed=seed, primary=primary
        )[primary].significant
        for seed in range(runs)
    )
    low, high = binomial_range(runs, 0.8)
    assert low <= found / runs <= high


def test_a_real_difference_is_shipped_and_the_reverse_is_kept():
    labels, a, b = models(np.random.default_rng(7), 5000, 1.6, 0.4)
    forward, backward = compare(labels, a, b), compare(labels, b, a)
    assert forward.verdict.decision == "ship B"
    assert backward.verdict.decision == "keep A"
    assert forward["roc_auc"].difference == pytest.approx(-backward["roc_auc"].difference)
    assert forward["log_loss"].gain > 0 > backward["log_loss"].gain
    assert forward.only_b_right == backward.only_a_right > 0


def test_equal_models_are_not_yet_with_the_rows_needed():
    labels, a, b = models(np.random.default_rng(0), 400, 1.0, 0.97)
    results = [compare(labels, a, b), compare(labels, b, a)]
    ahead, behind = sorted(results, key=lambda result: -result["roc_auc"].gain)
    assert (ahead.verdict.decision, behind.verdict.decision) == ("not yet", "not yet")
    assert "B is not ahead" in behind.verdict.reason
    needed = ahead["roc_auc"].required_rows
    assert needed is not None
    assert needed > 400
    known = f"{needed:,} labelled rows would show it" if needed <= 40_000 else "hardly show"
    assert known in ahead.verdict.reason


def test_the_same_probabilities_keep_a():
    labels, a, _ = models(np.random.default_rng(0), 100, 1.0, 1.0)
    result = compare(labels, a, a.copy(), names=("old", "new"))
    assert str(result.verdict) == "keep A: both give the same predictions on every row"
    assert [item.required_rows for item in result.differences] == [None] * 3


def test_a_better_ranking_with_worse_probabilities_is_not_shipped():
    labels, a, b = models(np.random.default_rng(4), 5000, 1.5, 0.3)
    shrunk = two(0.6 + 0.3 * b[:, 1])  # the same order, all far too high
    result = compare(labels, a, shrunk)
    assert result["roc_auc"].significant
    assert result["roc_auc"].gain > 0
    assert result.verdict.decision == "not yet"
    assert "worse in log loss" in result.verdict.reason


def test_the_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, a, b = models(np.random.default_rng(9), 800, 1.0, 0.5)
    result = compare(labels, a, b, threshold=0.3)
    for item, given in (("a", a), ("b", b)):
        expected = {
            "roc_auc": metrics.roc_auc_score(labels, given[:, 1]),
            "log_loss": metrics.log_loss(labels, given),
            "accuracy": metrics.accuracy_score(labels, given[:, 1] >= 0.3),
        }
        for metric, value in expected.items():
            assert getattr(result[metric], item) == pytest.approx(value, rel=1e-12)


def test_more_than_two_classes_use_macro_auc_and_log_loss_decides():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 1500)
    a, b = (
        np.exp(rng.normal(size=(1500, 4)) + strength * np.eye(4)[labels]) for strength in (0.8, 1.2)
    )
    a, b = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
    result = compare(labels, a, b)
    assert (result.primary, result.threshold, result.n_classes) == ("log_loss", None, 4)
    auc = result["roc_auc"]
    assert auc.b == pytest.approx(metrics.roc_auc_score(labels, b, multi_class="ovr"))
    assert (auc.p_value, auc.interval_method) == (None, "paired bootstrap")
    assert auc.low < auc.difference < auc.high
    assert result.verdict.decision == "ship B"
    assert result["accuracy"].a == pytest.approx((a.argmax(axis=1) == labels).mean())


def test_ten_thousand_rows_take_less_than_three_seconds():
    labels, a, b = models(np.random.default_rng(0), 10_000, 1.0, 0.9)
    started = time.process_time()
    compare(labels, a, b, n_bootstrap=1000)
    assert time.process_time() - started < 3


def test_the_result_is_json_and_reads_well():
    labels, a, b = models(np.random.default_rng(3), 500, 1.0, 0.9)
    result = compare(labels, a, b, names=("bank/1", "bank/2"))
    shape = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert shape["verdict"]["decision"] == result.verdict.decision
    assert shape["rule"] == RULE
    assert [item["metric"] for item in shape["differences"]] == ["roc_auc", "log_loss", "accuracy"]
    text = result.text()
    assert "B = bank/2" in text
    assert f"Verdict: {result.verdict.decision}" in text
    with pytest.raises(KeyError):
        result["f1"]


GOOD = two(np.array([0.1, 0.2, 0.8, 0.9]))


@pytest.mark.parametrize(
    ("labels", "a", "b", "options", "message"),
    [
        ([0, 0, 1, 1], GOOD[:3], GOOD, {}, r"prob_a has shape \(3, 2\)"),
        ([0, 0, 1, 1], GOOD, GOOD[:, 1], {}, r"prob_b has shape \(4,\)"),
        ([0, 0, 1, 1], GOOD, GOOD * 0.9, {}, "prob_b holds rows that are not probabilities"),
        ([0, 0, 1, 1], GOOD * np.nan, GOOD, {}, "prob_a holds rows"),
        ([0, 0, 1, 1], GOOD, np.full((4, 3), 1 / 3), {}, "2 classes, prob_b has 3"),
        ([0, 0, 1, 2], GOOD, GOOD, {}, "indices from 0 to 2, expected 0 to 1"),
        (["no", "no", "yes", "yes"], GOOD, GOOD, {}, "y_true has shape"),
        ([0, 0, 0, 1], GOOD, GOOD, {}, "1 of class 1"),
        ([], GOOD[:0], GOOD[:0], {}, "y_true has"),
        ([0, 0, 1, 1], GOOD, GOOD, {"n_bootstrap": 10}, "n_bootstrap is 10"),
        ([0, 0, 1, 1], GOOD, GOOD, {"threshold": 1.0}, "threshold is 1.0"),
        ([0, 0, 1, 1], GOOD, GOOD, {"primary": "f1"}, "primary is 'f1'"),
    ],
)
def test_what_cannot_be_compared_is_refused(labels, a, b, options, message):
    with pytest.raises((UsageError, DataError), match=message):
        compare(labels, a, b, **options)


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A file of labelled rows, a model that saw little of the data, and one that saw more."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    folder = tmp_path_factory.mktemp("abtest")
    rng = np.random.default_rng(0)
    n = 2000
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "debt": np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 2, n).round(2)),
            "job": rng.choice(["clerk", "nurse", "smith"], n),
        }
    )
    logit = (frame["age"] - 50) / 15 + (frame["job"] == "nurse") * 2
    labels = pd.Series(np.where(rng.random(n) < sigmoid(logit.to_numpy()), "yes", "no"), name="y")
    made = []
    for name, columns in (("poor", ["job"]), ("rich", ["job", "age"])):
        contract = infer_contract(frame[:1000], labels[:1000], name=name)
        pipeline = make_pipeline(
            make_column_transformer(
                (OneHotEncoder(), ["job"]),
                ("passthrough", [column for column in columns if column != "job"]),
            ),
            LogisticRegression(),
        ).fit(frame[:1000], labels[:1000])
        model.save(pipeline, contract, folder / name)
        made.append(folder / name)
    rows = folder / "rows.csv"
    frame[1000:].assign(y=labels[1000:]).to_csv(rows, index=False)
    return rows, made[0], made[1]


def test_the_command_compares_two_model_directories(two_models: tuple[Path, Path, Path]):
    rows, poor, rich = two_models
    arguments = [
        "abtest",
        "--labels",
        str(rows),
        "--target",
        "y",
        "--a",
        str(poor),
        "--b",
        str(rich),
    ]
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    shape = json.loads(result.stdout)
    assert shape["verdict"]["decision"] == "ship B"
    assert shape["n_rows"] == 1000
    assert shape["names"] == [str(poor), str(rich)]
    # The same figures as from the pipelines themselves.
    frame = pd.read_csv(rows)
    truth = (frame["y"] == "yes").to_numpy().astype(int)
    given = [
        model.load_predictor(path, model.digest(path)).predict_proba(frame) for path in (poor, rich)
    ]
    expected = compare(truth, *given, names=(str(poor), str(rich)))
    assert shape["differences"][0]["difference"] == expected["roc_auc"].difference
    text = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert "Verdict: ship B: it is better in ROC AUC" in text


def test_the_command_says_in_one_line_what_is_wrong(
    two_models: tuple[Path, Path, Path], tmp_path: Path
):
    rows, poor, rich = two_models
    strange = tmp_path / "strange.csv"
    frame = pd.read_csv(rows)
    frame.loc[3:22, "y"] = "perhaps"
    frame.to_csv(strange, index=False)
    models = ["--a", str(poor), "--b", str(rich), "--json"]
    result = CliRunner().invoke(
        main, ["abtest", "--labels", str(strange), "--target", "y", *models]
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["message"] == (
        "row 3 has the label 'perhaps', which the models do not know"
    )
    frame.assign(y="no").drop(columns="age").assign(y=["no", "yes"] * 500).to_csv(
        strange, index=False
    )
    result = CliRunner().invoke(
        main, ["abtest", "--labels", str(strange), "--target", "y", *models]
    )
    assert result.exit_code == 1
    assert "'age' is missing" in json.loads(result.stdout)["message"]


def test_the_command_names_the_columns_that_a_file_lacks(
    two_models: tuple[Path, Path, Path], tmp_path: Path
):
    rows, poor, rich = two_models
    strange = tmp_path / "strange.csv"
    arguments = [
        "abtest", "--labels", str(strange), "--target", "y", "--a", str(poor), "--b", str(rich),
    ]  # fmt: skip
    frame = pd.read_csv(rows)
    # Without a feature there is no verdict, not even where the model takes nulls for it.
    for lacking, words in ((["debt"], "'debt' is"), (["age", "debt"], "'age', 'debt' are")):
        frame.drop(columns=lacking).to_csv(strange, index=False)
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 1
        shape = json.loads(result.stdout)
        assert shape["error_code"] == "INVALID_DATA"
        assert shape["message"] == (
            f"'strange.csv' lacks features of model 'poor': {words} missing"
        )
    # One that is there without any value is a column of nulls.
    frame.assign(debt=np.nan).to_csv(strange, index=False)
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["verdict"]["decision"] == "ship B"
    frame.assign(job=np.nan, age=np.nan).to_csv(strange, index=False)
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 1
    assert "column 'age': found null" in json.loads(result.stdout)["message"]


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_is_none_is_refused(seed: str):
    result = CliRunner().invoke(
        main, ["abtest", "--labels", "x", "--target", "y", "--a", "a", "--b", "b", "--seed", seed]
    )
    assert result.exit_code == 2
    assert "0<=x<=4294967295" in result.stderr
