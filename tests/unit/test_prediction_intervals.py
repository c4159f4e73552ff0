"""Conformal intervals: which residual decides, and that they hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinml.contract._method import level_of
from twinml.contract.intervals import PredictionIntervals
from twinml.errors import PayloadError
from twinml.training._conformal import coverage, fit_intervals

NINE = PredictionIntervals((0.0,), (1.0,), tuple(float(n) for n in range(1, 10)))


@pytest.mark.parametrize(
    ("level", "reach"),
    # The ceil(10 * level)-th of nine scores.
    [
        (0.9, 9.0), (0.8, 8.0), (math.nextafter(0.8, 1) + 1e-7, 9.0), (0.5, 5.0), (0.1, 1.0),
        (0.001, 1.0), (0.11, 2.0),
    ],
)  # fmt: skip
def test_the_score_of_a_level(level: float, reach: float) -> None:
    assert NINE.bounds([7.0], level).tolist() == [[7.0 - reach, 7.0 + reach]]


@pytest.mark.parametrize("level", [0.0, -0.1, 0.9000001, 1.0, math.nan])
def test_a_level_that_so_few_scores_cannot_give(level: float) -> None:
    assert NINE.highest_level == 0.9
    with pytest.raises(ValueError, match=r"at most 0\.9"):
        NINE.bounds([7.0], level)


def test_spreads_are_on_the_line_between_knots_and_constant_beyond() -> None:
    made = PredictionIntervals((0.0, 10.0), (1.0, 3.0), (1.0, 2.0, 4.0))
    bounds = made.bounds([-5.0, 0.0, 5.0, 10.0, 99.0], 0.5)
    assert (bounds[:, 1] - bounds[:, 0]).tolist() == [4.0, 4.0, 8.0, 12.0, 12.0]
    assert PredictionIntervals.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(
    ("knots", "spreads", "scores"),
    [
        ((), (), (1.0,)),
        ((0.0,), (1.0,), ()),
        ((0.0,), (0.0,), (1.0,)),
        ((0.0, 1.0), (1.0,), (1.0,)),
        ((1.0, 0.0), (1.0, 1.0), (1.0,)),
        ((0.0,), (1.0,), (2.0, 1.0)),
        ((0.0,), (1.0,), (-1.0,)),
        ((0.0,), (1.0,), (math.inf,)),
    ],
)
def test_what_makes_no_intervals_is_refused(
    knots: tuple[float, ...], spreads: tuple[float, ...], scores: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=r"intervals|spreads|knots"):
        PredictionIntervals(knots, spreads, scores)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_new_rows_lie_inside_as_often_as_promised(level: float) -> None:
    rng = np.random.default_rng(3)

    def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
        predicted = rng.uniform(0, 100, n)
        return predicted + rng.normal(0, 1 + predicted / 10), predicted

    made = fit_intervals(*rows(4_000))
    assert made is not None
    truth, predicted = rows(20_000)
    assert coverage(made, truth, predicted, level) == pytest.approx(level, abs=0.015)
    # Not on average alone: where errors are large the intervals are wide.
    for part in (predicted < 20, predicted > 80):
        assert coverage(made, truth[part], predicted[part], level) == pytest.approx(level, abs=0.05)


def test_one_width_where_errors_do_not_grow_and_few_rows_give_none() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=99)
    assert fit_intervals(predicted[:9], predicted[:9]) is None
    # Fewer than two groups of 50 rows: one spread.
    made = fit_intervals(predicted + rng.normal(size=99), predicted)
    assert made is not None
    assert len(made.knots) == 1
    exact = fit_intervals(predicted, predicted)
    assert exact is not None
    assert coverage(exact, predicted, predicted, 0.9) == 1.0


def test_of_many_scores_so_many_are_kept_that_levels_err_on_the_safe_side() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=5_000)
    made = fit_intervals(truth, np.zeros(5_000))
    assert made is not None
    assert len(made.scores) == 500
    for level in (0.1, 0.5, 0.9, 0.99):
        full = np.sort(np.abs(truth))[math.ceil(5_001 * level) - 1]
        reach = made.bounds([0.0], level)[0, 1]
        assert full <= reach <= np.sort(np.abs(truth))[min(4_999, math.ceil(5_001 * level) + 11)]


@pytest.mark.parametrize(
    ("document", "level"),
    [
        ({}, 0.9),
        ({"level": 0.5}, 0.5),
        ({"level": 0.5, "params": {"level": 0.7}}, 0.7),
        ({"GlobalParameters": {"level": 0.6}, "params": {}}, 0.6),
        ({"GlobalParameters": 1.0, "params": None}, 0.9),
    ],
)
def test_a_level_stands_where_a_method_may(document: dict[str, object], level: float) -> None:
    assert level_of(document, NINE) == level


@pytest.mark.parametrize("level", [0, 1, 1.5, -0.5, "0.9", True, [0.9], 0.91])
def test_other_levels_are_refused(level: object) -> None:
    with pytest.raises(PayloadError, match="the level is"):
        level_of({"params": {"level": level}}, NINE)


@pytest.mark.parametrize(("rows", "made"), [(9, False), (10, True), (11, True)])
def test_ten_rows_make_intervals(rows: int, made: bool) -> None:
    truth = np.arange(rows) * 1.0
    assert (fit_intervals(truth, truth + 0.25) is not None) is made


def test_small_errors_are_errors_and_exact_rows_have_the_shortest_intervals() -> None:
    truth = np.arange(40.0)
    small = fit_intervals(truth, truth + 0.25)
    assert small is not None
    assert small.spreads == (0.25,)
    exact = fit_intervals(truth, truth)
    assert exact is not None
    assert exact.spreads == (float(np.finfo(np.float64).tiny),)
    assert set(exact.scores) == {0.0}


@pytest.mark.parametrize(("rows", "knots"), [(99, 1), (100, 2), (149, 2), (150, 3), (2000, 20)])
def test_fifty_rows_are_a_knot_where_errors_grow(rows: int, knots: int) -> None:
    predicted = np.arange(rows) / rows
    # Within a knot errors differ little, between them much.
    truth = predicted + np.where(np.arange(rows) % 2, 1.0, -1.0) * 10.0 ** (3 * predicted)
    found = fit_intervals(truth, predicted)
    assert found is not None
    assert len(found.knots) == len(found.spreads) == knots
    assert list(found.knots) == sorted(found.knots)
    assert min(found.spreads) >= 0.1 * np.abs(truth - predicted).mean() - 1e-12


def test_one_width_where_spreads_would_make_no_interval_shorter() -> None:
    truth = np.where(np.arange(100) % 2, 1.0, -1.0) + np.arange(100)
    found = fit_intervals(truth, np.arange(100.0))
    assert found is not None
    # Both are as long: then the plain one is taken.
    assert len(found.knots) == 1


@pytest.mark.parametrize("rows", [500, 501, 1001])
def test_scores_that_are_kept_are_at_least_what_a_level_asks_for(rows: int) -> None:
    errors = np.arange(1.0, rows + 1.0)
    found = fit_intervals(errors, np.zeros(rows))
    assert found is not None
    assert len(found.scores) == 500
    kept = [round(score * errors.mean()) for score in found.scores]
    wanted = [min(math.ceil(place * (rows + 1) / 501), rows) for place in range(1, 501)]
    assert kept == wanted
