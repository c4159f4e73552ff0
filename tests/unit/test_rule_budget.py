"""How the search shares out its budget, and what may win: rules with their boundaries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from twinml.training import _budget
from twinml.training._budget import (
    another_wave,
    enough_rounds,
    hopeless,
    rows_for,
    seconds_for_start,
    too_slow,
    trees_for,
    worth_searching_on,
    worth_starting,
)
from twinml.training._ensemble import Vote
from twinml.training._leaderboard import Leaderboard, affordable, judges, rank
from twinml.training._rounds import best_rounds, patience, rate_for, rounds_for
from twinml.training.result import Candidate


@pytest.mark.parametrize(
    ("curves", "rounds"),
    [
        ([[0.5]], 1),
        ([[0.5, 0.4, 0.3]], 3),
        ([[0.5, 0.3, 0.4]], 2),
        ([[0.5, 0.3, 0.3]], 2),
        # The mean decides, not one fold.
        ([[0.5, 0.1, 0.4], [0.5, 0.6, 0.2]], 3),
        ([[0.5, 0.2, 0.4], [0.5, 0.4, 0.3]], 2),
        # Only what all folds reached counts.
        ([[0.5, 0.4, 0.1], [0.5, 0.4]], 2),
        ([[0.5], [0.5, 0.1]], 1),
    ],
)
def test_one_number_of_rounds_is_best_for_all_folds(curves: list, rounds: int) -> None:
    assert best_rounds(curves) == rounds


@pytest.mark.parametrize(("rate", "rounds"), [(0.1, 30), (0.04, 75), (0.02, 150), (6.1, 1)])
def test_slow_boosting_is_waited_for_longer(rate: float, rounds: int) -> None:
    assert patience(rate) == rounds


@pytest.mark.parametrize(
    ("rounds", "share", "taken"),
    [
        (100, 1.0, 100),
        (100, 1.25, 112),
        (100, 1.5625, 125),
        (100, 25.0, 125),
        (300, 25.0, 375),
        # Few rounds on a sample: up to the hundred of the defaults, no further.
        (40, 25.0, 100),
        (40, 4.0, 80),
        (40, 1.21, 44),
        (90, 25.0, 112),
        (100, 0.64, 80),
        (1, 0.1, 1),
    ],
)
def test_more_rows_take_more_rounds(rounds: int, share: float, taken: int) -> None:
    assert rounds_for(rounds, share) == taken


@pytest.mark.parametrize(
    ("rate", "rounds", "taken"),
    [
        (0.04, 10_000, 0.04),
        (0.04, 600, 0.04),
        (0.04, 400, 0.06),
        (0.04, 240, 0.1),
        (0.04, 100, 0.1),
        (0.04, 0, 0.1),
        (0.15, 100, 0.15),
    ],
)
def test_fewer_rounds_take_larger_steps(rate: float, rounds: float, taken: float) -> None:
    assert rate_for(rate, rounds) == pytest.approx(taken)


@pytest.mark.parametrize(
    ("spent", "wave", "budget", "rarest", "goes_on"),
    [
        (5.0, 4.0, 60.0, 5, True),
        (5.0, 4.0001, 60.0, 5, False),
        (8.0, 4.0, 60.0, 100, False),
        (4.9, 4.0, 60.0, 100, True),
        (8.0, 4.0, 60.0, 4, True),
        (1e9, 1e9, None, 100, True),
    ],
)
def test_folds_of_the_floor_go_on_within_their_share(
    spent: float, wave: float, budget: float | None, rarest: int, goes_on: bool
) -> None:
    assert another_wave(spent, wave, budget, rarest) is goes_on


@pytest.mark.parametrize(
    ("losses", "best", "given_up"),
    [
        ([1.0], [], False),
        ([1.01], [1.0, 1.0], False),
        ([1.0101], [1.0, 1.0], True),
        ([0.9, 1.2], [1.0, 1.0, 5.0], True),
        ([1.2, 0.8], [1.0, 1.0, 5.0], False),
        # All folds are there: nothing is left to save.
        ([9.0, 9.0], [1.0, 1.0], False),
    ],
)
def test_what_is_behind_on_its_first_folds_is_given_up(
    losses: list[float], best: list[float], given_up: bool
) -> None:
    assert hopeless(losses, best) is given_up


@pytest.mark.parametrize(
    ("rows", "fold_seconds", "budget", "kept"),
    [(1_000_000, 60.0, 60.0, 50_000), (1_000_000, 30.0, 60.0, 100_000), (100, 1.0, 60.0, 100)],
)
def test_rows_are_sampled_by_what_a_fold_took(
    rows: int, fold_seconds: float, budget: float, kept: int
) -> None:
    assert rows_for(rows, fold_seconds, budget) == kept


@pytest.mark.parametrize(
    ("left", "jobs", "untried", "tuned", "seconds"),
    [
        (40.0, 2, 7, False, 10.0),
        (40.0, 2, 7, True, 20.0),
        (40.0, 1, 7, False, 5.0),
        (40.0, 2, 2, True, 40.0 * 2 / 3),
        (40.0, 8, 1, False, 40.0),
        (40.0, 8, 1, True, 40.0),
        (-1.0, 2, 7, True, -1.0),
    ],
)
def test_a_first_configuration_gets_its_share(
    left: float, jobs: int, untried: int, tuned: bool, seconds: float
) -> None:
    assert seconds_for_start(left, jobs, untried, tuned) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("predicted", "left", "stoppable", "begun"),
    [
        (10.0, 10.0, False, True),
        (10.0, math.nextafter(10.0, 0), False, False),
        (10.0, 6.0, True, True),
        (10.0, math.nextafter(6.0, 0), True, False),
        (0.0, -1.0, True, False),
    ],
)
def test_what_can_be_stopped_is_begun_with_less_time(
    predicted: float, left: float, stoppable: bool, begun: bool
) -> None:
    assert worth_starting(predicted, left, stoppable) is begun


@pytest.mark.parametrize(
    ("left", "budget", "more"),
    [
        (2.5, 60.0, True),
        (2.4, 60.0, False),
        (0.1, 2.0, True),
        (0.08, 2.0, False),
        (99, None, False),
    ],
)
def test_what_no_refit_needs_any_more_is_searched_with(
    left: float, budget: float | None, more: bool
) -> None:
    assert worth_searching_on(left, budget) is more


@pytest.mark.parametrize(
    ("order", "refitted"),
    [
        (["vote", "one", "two"], {"A", "B"}),
        # Beside an ensemble the best single one runs up, which may be of another learner.
        (["vote", "two", "one"], {"A", "B", "C"}),
        (["one", "vote"], {"A", "B"}),
        (["one", "two", "vote"], {"A", "C"}),
        # A vote for one member alone is that member: nothing runs up.
        (["one", "same"], {"A"}),
        (["one"], {"A"}),
    ],
)
def test_what_is_refitted_is_what_the_first_two_are_made_of(
    order: list[str], refitted: set[str]
) -> None:
    joins = {
        "one": Vote({"A": 1.0}),
        "two": Vote({"C": 1.0}),
        "vote": Vote({"A": 0.5, "B": 0.5}),
        "same": Vote({"A": 1.0}),
    }
    kinds = {"vote": "ensemble", "same": "ensemble"}
    board = Leaderboard(
        "roc_auc",
        tuple(Candidate(name=name, kind=kinds.get(name, "single"), metrics={}) for name in order),
        joins,
        {},
    )
    assert board.refitted == refitted


@pytest.mark.parametrize(
    ("first", "second", "higher"),
    [
        # value, log loss, floor
        ((0.90, 0.20, 0.25), (0.80, 0.10, 0.25), True),
        ((0.80, 0.20, 0.25), (0.90, 0.10, 0.25), False),
        # Above the floor nothing wins, however good the metric is.
        ((0.80, 0.25, 0.25), (0.90, 0.2502, 0.25), True),
        ((0.90, 0.25004, 0.25), (0.80, 0.20, 0.25), True),
        # Equal to four digits: log loss.
        ((0.90001, 0.20, 0.25), (0.90004, 0.21, 0.25), True),
        ((0.80, 0.20, 0.25), (math.nan, 0.10, 0.25), True),
        ((0.90, 0.20, math.inf), (0.80, 9.0, math.inf), True),
    ],
)
def test_the_metric_decides_among_those_that_the_floor_lets_pass(
    first: tuple[float, float, float], second: tuple[float, float, float], higher: bool
) -> None:
    assert rank(*first, higher) < rank(*second, higher)


def test_a_figure_that_is_none_is_last() -> None:
    assert np.isinf(rank(math.nan, 0.1, 0.2, higher_is_better=True)[1])


TOOK = {"LightGBM": 3.0, "XGBoost": 2.0, "RandomForest": 9.0, "CatBoost": 9.0}


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (23.1, ["LightGBM", "XGBoost", "RandomForest", "CatBoost"]),
        (23.0, ["LightGBM", "XGBoost", "CatBoost"]),  # of two that are as dear, the better goes on
        (14.1, ["LightGBM", "XGBoost", "CatBoost"]),
        (14.0, ["LightGBM", "XGBoost"]),
        (5.1, ["LightGBM", "XGBoost"]),
        (5.0, ["LightGBM"]),
        (0.0, ["LightGBM"]),
    ],
)
def test_ensembles_are_of_what_can_be_refitted(seconds: float, kept: list[str]) -> None:
    def left(names: Sequence[str]) -> float:
        return seconds - sum(TOOK[name] for name in names)

    assert affordable(list(TOOK), TOOK, left) == kept


def test_the_best_learner_is_refitted_however_dear_it_is() -> None:
    took = {"RandomForest": 9.0, "LightGBM": 1.0}
    assert affordable(list(took), took, lambda names: -1.0) == ["RandomForest"]


@pytest.mark.parametrize(
    ("seconds", "spare", "budget", "judged"),
    [
        (5.0, 5.0, 60.0, True),
        (5.01, 5.0, 60.0, False),
        (1.2, 1.0, 60.0, True),
        (1.2, -9.0, 60.0, True),
        (1.21, -9.0, 60.0, False),
        (1.2, -9.0, 59.0, False),
        (1e9, float("inf"), 60.0, True),
    ],
)
def test_an_ensemble_is_judged_if_it_fits_or_is_cheap(
    seconds: float, spare: float, budget: float, judged: bool
) -> None:
    assert judges(seconds, spare, budget) == judged


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (lambda seconds: 100.0, 3),
        # Two folds of three seconds: others would start with six tenths of six.
        (lambda seconds: 6.6 - seconds, 3),
        (lambda seconds: 6.59 - seconds, 7),
        (lambda seconds: 5.0 - seconds, 5),
        # What was chosen at the usual rounds stays so.
        (lambda seconds: 1.0 if seconds < 4 else 9.0 if seconds < 6 else 0.0, 6),
        # There is not even time to refit.
        (lambda seconds: 0.0, 3),
        (lambda seconds: 2.9 - seconds, 3),
    ],
)
def test_the_floor_goes_on_where_nothing_else_has_time(
    left: Callable[[float], float], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(99))
    monkeypatch.setattr(_budget, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    enough = enough_rounds(3, 2, left)
    # A round takes a second; the clock is looked at from the third on.
    next(seconds), next(seconds)
    assert next(number for number in range(1, 99) if enough()) == asked


@pytest.mark.parametrize(
    ("trees", "seconds", "left", "grown"),
    [
        (120, 10.0, 11.0, 120),
        (120, 10.0, 10.0, 120),
        # Four fifths of what would just fit.
        (120, 10.1, 10.0, 95),
        (100, 20.0, 10.0, 40),
        (75, 20.0, 10.0, 30),
        (74, 20.0, 10.0, 0),
        (120, 10.0, -1.0, 0),
        # A small forest by its own choice.
        (10, 1.0, 1.0, 10),
        (10, 2.0, 1.0, 0),
    ],
)
def test_a_forest_has_the_trees_that_fit(
    trees: int, seconds: float, left: float, grown: int
) -> None:
    assert trees_for(trees, seconds, left) == grown


@pytest.mark.parametrize(
    ("spent", "done", "allowed", "slow"),
    [
        (9.0, 24, 15.0, False),
        (9.0, 25, 15.0, True),
        (3.75, 25, 15.0, False),
        (3.76, 25, 15.0, True),
        (7.5, 50, 15.0, False),
        (7.6, 50, 15.0, True),
        # What is done beyond the usual rounds is another matter.
        (99.0, 99, 15.0, True),
        (99.0, 100, 15.0, False),
        (9.0, 25, math.inf, False),
    ],
)
def test_a_floor_that_will_be_late_is_told_early(
    spent: float, done: int, allowed: float, slow: bool
) -> None:
    assert too_slow(spent, done, 100, allowed) == slow
