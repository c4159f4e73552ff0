"""Metrics against scikit-learn and against the plainest way to compute them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from twinml.training import metrics
from twinml.training.result import Interval


def example(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    raw = rng.gamma(1.0, size=(n, k)) + np.eye(k)[labels]
    # Rounded, so that there are ties.
    probabilities = np.round(raw / raw.sum(axis=1, keepdims=True), 2)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_binary_figures_are_scikit_learns() -> None:
    labels, probabilities = example(400, 2)
    found = metrics.score(labels, probabilities)
    positive = probabilities[:, 1]
    assert found["roc_auc"] == roc_auc_score(labels, positive)
    assert found["average_precision"] == average_precision_score(labels, positive)
    assert found["brier"] == pytest.approx(brier_score_loss(labels, positive))
    assert found["f1"] == f1_score(labels, probabilities.argmax(axis=1))
    assert found["log_loss"] == pytest.approx(-np.log(probabilities[np.arange(400), labels]).mean())


@pytest.mark.parametrize("k", [2, 4])
def test_a_resample_of_each_row_once_gives_the_point_estimate(k: int) -> None:
    labels, probabilities = example(300, k)
    found = metrics.score(labels, probabilities)
    once = np.ones((1, 300))
    for name, measure in metrics._measures(labels, probabilities, None).items():
        assert measure(once)[0] == pytest.approx(found[name], abs=1e-12), name


@pytest.mark.parametrize("k", [2, 3])
def test_a_resample_gives_what_the_drawn_rows_give(k: int) -> None:
    labels, probabilities = example(200, k)
    rng = np.random.default_rng(1)
    measures = metrics._measures(labels, probabilities, None)
    for _ in range(5):
        drawn = rng.integers(0, 200, 200)
        counts = np.bincount(drawn, minlength=200).astype(float)[None, :]
        expected = metrics.score(labels[drawn], probabilities[drawn])
        for name, measure in measures.items():
            assert measure(counts)[0] == pytest.approx(expected[name], abs=1e-12), name


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Accuracy of a classifier that is right with probability 0.8, 200 times over."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        labels = rng.integers(0, 2, 150)
        right = rng.random(150) < 0.8
        positive = np.where(right, labels, 1 - labels) * 0.6 + 0.2
        held = metrics.bootstrap(
            labels, np.column_stack([1 - positive, positive]), resamples=200, seed=trial
        )["accuracy"]
        assert held.low <= held.value <= held.high
        covered += held.low <= 0.8 <= held.high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_class_that_no_row_has_leaves_ranking_metrics_open() -> None:
    labels = np.zeros(20, dtype=np.int64)
    found = metrics.score(labels, np.full((20, 2), 0.5))
    assert np.isnan(found["roc_auc"])
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1"])
def test_the_tuned_threshold_is_the_best_there_is(metric: str) -> None:
    labels, probabilities = example(300, 2, seed=3)
    positive = probabilities[:, 1]
    threshold = metrics.tune_threshold(labels, positive, metric)
    tuned = metrics.score(labels, probabilities, threshold)[metric]
    every = [
        metrics.score(labels, probabilities, t)[metric] for t in np.linspace(0.005, 0.995, 199)
    ]
    assert tuned >= max(every)


def test_decisions_at_one_half_are_those_of_argmax() -> None:
    probabilities = np.array([[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]])
    assert metrics.decide(probabilities, 0.5).tolist() == [0, 1, 0]
    assert metrics.decide(probabilities, 0.45).tolist() == [1, 1, 0]


def test_confusion_counts_rows_by_truth_then_by_prediction() -> None:
    counts = metrics.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "interval", "counts", "low", "high"),
    [
        ("accuracy", (1.0, 1.0, 1.0), [30, 39], 0.025 ** (1 / 69), 1.0),
        ("accuracy", (1.0, 1.0, 1.0), [69], 0.025 ** (1 / 69), 1.0),
        ("roc_auc", (1.0, 1.0, 1.0), [30, 39], 0.025 ** (1 / 30), 1.0),
        ("balanced_accuracy", (1.0, 1.0, 1.0), [50, 0, 9], 0.025 ** (1 / 9), 1.0),
        ("f1", (1.0, 0.5, 1.0), [50, 60], 0.5, 1.0),
        ("accuracy", (0.0, 0.0, 0.0), [5, 5], 0.0, 1 - 0.025**0.1),
        ("accuracy", (0.99, 0.98, 1.0), [50, 50], 0.98, 1.0),
        ("log_loss", (1.0, 0.9, 1.1), [50, 50], 0.9, 1.1),
        ("brier", (0.0, 0.0, 0.0), [50, 50], 0.0, 0.0),
    ],
)
def test_ends_that_resampling_cannot_give_are_exact(
    name: str, interval: tuple[float, float, float], counts: list[int], low: float, high: float
) -> None:
    found = metrics.exact_ends(name, Interval(*interval), np.array(counts))
    assert (found.value, found.low, found.high) == (interval[0], low, high)


def test_the_exact_end_is_that_of_clopper_and_pearson() -> None:
    labels = np.array([0, 1] * 30)
    right = np.eye(2)[labels]
    found = metrics.bootstrap(labels, right)
    expected = binomtest(60, 60).proportion_ci(method="exact")
    assert found["accuracy"].low == pytest.approx(expected.low)
    assert found["roc_auc"].low == pytest.approx(binomtest(30, 30).proportion_ci().low)
    assert found["log_loss"].low == found["log_loss"].value
