"""Intervals of candidates without resampling, against resampling; partial dependence."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from twinml.training import metrics
from twinml.training._dependence import partial_dependence, places
from twinml.training._intervals import influences, interval

RNG = np.random.default_rng(4)
N = 600


def classes(k: int) -> tuple[np.ndarray, np.ndarray]:
    truth = RNG.integers(0, k, N)
    logits = RNG.normal(size=(N, k)) + 1.5 * np.eye(k)[truth]
    p = np.exp(logits)
    return truth, (p / p.sum(axis=1, keepdims=True)).round(2 if k == 2 else 6)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize(
    "metric", ["roc_auc", "log_loss", "accuracy", "balanced_accuracy", "brier"]
)
def test_they_are_those_of_resamples(metric: str, k: int) -> None:
    truth, predicted = classes(k)
    value = metrics.score(truth, predicted)[metric]
    found = interval(metric, value, truth, predicted, 0.5 if k == 2 else None)
    assert found is not None
    assert found.value == value
    assert (found.low + found.high) / 2 == pytest.approx(value)
    drawn = []
    for _ in range(60):
        rows = RNG.integers(0, N, N)
        drawn.append(metrics.score(truth[rows], predicted[rows])[metric])
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.35)


@pytest.mark.parametrize(
    ("metric", "of"),
    [
        ("root_mean_squared_error", lambda y, p: math.sqrt(np.mean((y - p) ** 2))),
        ("mean_absolute_error", lambda y, p: np.mean(np.abs(y - p))),
        ("r2_score", lambda y, p: 1 - np.mean((y - p) ** 2) / np.var(y)),
    ],
)
def test_so_are_those_of_numbers(metric: str, of: object) -> None:
    truth = RNG.normal(size=N) * 3
    predicted = truth + RNG.normal(size=N)
    found = influences(metric, truth, predicted[:, None])
    assert found is not None
    assert found.mean() == pytest.approx(0, abs=1e-9)
    drawn = []
    for _ in range(200):
        rows = RNG.integers(0, N, N)
        drawn.append(of(truth[rows], predicted[rows]))  # type: ignore[operator]
    assert math.sqrt(np.mean(found**2) / N) == pytest.approx(np.std(drawn), rel=0.35)


def test_where_none_is_known() -> None:
    truth, predicted = classes(2)
    assert interval("f1", 0.5, truth, predicted, 0.5) is None
    assert interval("roc_auc", math.nan, truth, predicted, 0.5) is None
    assert interval("roc_auc", 1.0, np.zeros(N, int), predicted, 0.5) is None
    assert interval("log_loss", 0.1, truth[:1], predicted[:1], 0.5) is None
    assert influences("r2_score", np.ones(5), np.zeros((5, 1))) is None
    exact = np.arange(4.0)
    assert influences("root_mean_squared_error", exact, exact[:, None]).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([5, 1, 5, 3], [1, 3, 5]),
        ([*range(10)], [*range(10)]),
        ([*range(100)], [5, 15, 25, 35, 45, 54, 64, 74, 84, 94]),
        ([0] * 200 + [*range(11)], [0, 2, 4, 6, 8]),
        (["b", "a", "b", None], ["b", "a"]),
        ([True, False, True], [True, False]),
        ([None, 1.5], [1.5]),
    ],
)
def test_places(values: list[object], found: list[object]) -> None:
    assert places(pd.Series(values)) == found


def test_partial_dependence_is_the_mean_prediction() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"], "one": [7, 7, 7]})

    def predict(rows: pd.DataFrame) -> np.ndarray:
        assert (rows.dtypes == frame.dtypes).all()
        value = rows["x"] + 10 * (rows["c"] == "a")
        return np.column_stack([value, -value])

    found = partial_dependence(predict, frame, ["c", "one", "x"])
    assert [(one.feature, one.values, one.rows) for one in found] == [
        ("c", ("a", "b"), 3),
        ("x", (1.0, 2.0, 3.0), 3),
    ]
    assert found[0].predictions.tolist() == [[12, -12], [2, -2]]
    assert found[1].predictions[:, 0] == pytest.approx([1 + 20 / 3, 2 + 20 / 3, 3 + 20 / 3])
    assert partial_dependence(predict, frame, ["c", "x"], seconds=-1) == ()
