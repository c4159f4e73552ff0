"""Figures of predicted numbers, against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from twinml.training import _regression_metrics as found
from twinml.training.metrics import HIGHER_IS_BETTER, is_better
from twinml.training.tasks import Regression

RNG = np.random.default_rng(0)
TRUTH = np.round(RNG.normal(50, 10, 41), 0)  # with ties
PREDICTED = np.round(TRUTH + RNG.normal(0, 5, 41), 0)


@pytest.mark.parametrize("n", [40, 41])
def test_figures_are_those_of_the_field(n: int) -> None:
    truth, predicted = TRUTH[:n], PREDICTED[:n]
    figures = found.score(truth, predicted, 80.0)
    expected = {
        "r2_score": sk.r2_score(truth, predicted),
        "root_mean_squared_error": sk.root_mean_squared_error(truth, predicted),
        "mean_absolute_error": sk.mean_absolute_error(truth, predicted),
        "median_absolute_error": sk.median_absolute_error(truth, predicted),
        "spearman_correlation": spearmanr(truth, predicted).statistic,
        "explained_variance": sk.explained_variance_score(truth, predicted),
        "mean_absolute_percentage_error": sk.mean_absolute_percentage_error(truth, predicted),
    }
    for name in ("root_mean_squared_error", "mean_absolute_error", "median_absolute_error"):
        expected[f"normalized_{name}"] = expected[name] / 80.0
    assert figures == pytest.approx(expected, rel=1e-12)
    assert tuple(figures) == found.METRICS


def test_what_rows_cannot_give_is_nan() -> None:
    figures = found.score(np.array([0.0, 0.0]), np.array([1.0, 2.0]), 0.0)
    known = {name for name, value in figures.items() if np.isfinite(value)}
    assert known == {"root_mean_squared_error", "mean_absolute_error", "median_absolute_error"}
    assert np.isnan(found.bootstrap(np.zeros(3), np.ones(3), 0.0, resamples=5)["r2_score"].low)


def test_a_resample_is_measured_as_its_rows_would_be() -> None:
    """Counts of rows and repeated rows give the same figures, the median and ranks too."""
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(41, np.full(41, 1 / 41), size=6).astype(float)
    measures = found._measures(TRUTH, PREDICTED, 80.0)
    for row, counts in enumerate(drawn):
        rows = np.repeat(np.arange(41), counts.astype(int))
        expected = found.score(TRUTH[rows], PREDICTED[rows], 80.0)
        for name, of in measures.items():
            assert of(drawn)[row] == pytest.approx(expected[name], rel=1e-9), name


def test_intervals_hold_the_figure_and_grow_with_fewer_rows() -> None:
    many = found.bootstrap(TRUTH, PREDICTED, 80.0, resamples=200)
    few = found.bootstrap(TRUTH[:12], PREDICTED[:12], 80.0, resamples=200)
    for name, held in many.items():
        assert held.low <= held.value <= held.high
        assert few[name].high - few[name].low > held.high - held.low, name


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("r2_score", True), ("spearman_correlation", True), ("explained_variance", True),
        ("root_mean_squared_error", False), ("mean_absolute_error", False),
        ("mean_absolute_percentage_error", False),
        ("normalized_root_mean_squared_error", False),
    ],
)  # fmt: skip
def test_errors_are_better_when_lower(metric: str, higher: bool) -> None:
    assert HIGHER_IS_BETTER[metric] is higher
    assert is_better(metric, 0.6, 0.5) is higher
    assert is_better(metric, 0.5, 0.6) is not higher


def test_the_loss_is_what_r2_lacks_of_one() -> None:
    task = Regression(low=30.0, high=70.0, unit=float(np.var(TRUTH)))
    predicted = PREDICTED[:, None]
    assert task.loss(TRUTH, predicted) == pytest.approx(1 - sk.r2_score(TRUTH, PREDICTED))
    shares = np.full(41, 1 / 41)
    parts = task.parts({"a": predicted, "b": predicted + 1}, TRUTH)
    assert task.losses_of(parts, TRUTH, shares)[0] == pytest.approx(task.loss(TRUTH, predicted))
    # Figures in the target's unit are compared in its standard deviations.
    assert task.comparable("mean_absolute_error", np.std(TRUTH)) == pytest.approx(1.0)
    assert task.comparable("r2_score", 0.5) == 0.5
    assert task.baseline(TRUTH, 2).tolist() == [[TRUTH.mean()]] * 2


@pytest.mark.parametrize(
    ("n", "groups"), [(19, 1), (20, 1), (40, 2), (199, 9), (200, 10), (999, 10)]
)
def test_strata_are_equal_parts_of_the_values(n: int, groups: int) -> None:
    values = np.random.default_rng(0).normal(size=n)
    strata = Regression().strata(values)
    sizes = np.bincount(strata)
    assert len(sizes) == groups
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(strata[np.argsort(values)]) >= 0).all()
