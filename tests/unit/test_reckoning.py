"""What joining, refitting and measuring should take, by what the folds took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twinml.training._found import Found
from twinml.training._reckoning import Reckoning
from twinml.training.learners import LEARNERS

BOOSTING = next(one for one in LEARNERS if one.rounds is not None)
FOREST = next(one for one in LEARNERS if one.rounds is None)
# 1,000 rows of two classes; no share of a budget.
RECKONING = Reckoning(
    rows=1_000, fold_rows=800, folds=5, every_row=1_000, refits=[800], outputs=2, jobs=2, budget=0.0
)
LEAST = 0.5 + 5e-6 * 2_000


def found(learner: object, seconds: float) -> Found:
    return Found(learner, best={}, fold_seconds=seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "slowness", "seconds"),
    [
        (0, 1.0, 0.0),
        (1, 1.0, 0.0),
        (2, 1.0, 6e-7 * 1_000 * 2 * 2 * 6),
        (3, 2.0, 6e-7 * 1_000 * 2 * 3 * 6 * 2),
    ],
)
def test_joining(members: int, slowness: float, seconds: float) -> None:
    one = [found(FOREST, 1.0) for _ in range(members)]
    untried = [Found(FOREST), Found(BOOSTING)]
    assert RECKONING.joining([*one, *untried], slowness) == pytest.approx(seconds)


FLOOR = next(one for one in LEARNERS if one.floor is not None)
A_ROUND = 0.01 * FLOOR.work({**(FLOOR.floor or {}), "n_estimators": 1})


@pytest.mark.parametrize(
    ("one", "blends", "seconds"),
    [
        (Found(FLOOR, second_per_work=0.01), True, 1.5 * A_ROUND),
        (Found(FLOOR, second_per_work=0.01), False, None),
        (Found(FLOOR), True, None),
        (Found(FOREST, second_per_work=0.01), True, None),
    ],
)
def test_a_round_of_a_blend_is_reckoned_by_the_floor(
    one: Found, blends: bool, seconds: float | None
) -> None:
    found = replace(RECKONING, blends=blends).blend_round([Found(FOREST), one])
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_blend_is_left_what_it_takes_but_not_too_much() -> None:
    known = replace(RECKONING, blends=True, budget=1e9)
    members = [replace(found(FLOOR, 1.0), second_per_work=0.01), found(FOREST, 1.0)]
    rest = known.joining(members, 1.0) - RECKONING.joining(members, 1.0)
    # Five folds by two jobs are three after each other; then all rows, with more rounds.
    assert rest == pytest.approx(200 * 1.5 * A_ROUND * (3 + 1.25))
    less = replace(known, budget=2.0)
    assert less.joining(members, 1.0) == pytest.approx(RECKONING.joining(members, 1.0) + 0.3)


@pytest.mark.parametrize(
    ("ready", "changed", "seconds"),
    [
        # As many rows as a fold: as long.
        ([found(BOOSTING, 3.0)], {}, 3.0),
        ([found(FOREST, 3.0)], {}, 3.0),
        # More rows take as much longer, and boosting more rounds, by a quarter at most.
        ([found(FOREST, 3.0)], {"refits": [1_600]}, 6.0),
        ([found(BOOSTING, 3.0)], {"refits": [968]}, 3.0 * 1.21 * 1.1),
        ([found(BOOSTING, 3.0)], {"refits": [1_600]}, 3.0 * 2 * 1.25),
        # They share the cores, and no one is shorter than itself.
        ([found(FOREST, 3.0), found(FOREST, 2.0)], {}, 3.0),
        ([found(FOREST, 3.0), found(FOREST, 4.0)], {}, 4.0),
        ([found(FOREST, 3.0), found(FOREST, 3.0), found(FOREST, 4.0)], {}, 5.0),
        ([found(FOREST, 3.0)], {"refits": [800, 800, 800]}, 4.5),
        ([found(FOREST, 3.0), found(FOREST, 3.0)], {"jobs": 1}, 6.0),
    ],
)
def test_refitting(ready: list[Found], changed: dict[str, object], seconds: float) -> None:
    known = replace(RECKONING, **changed)  # type: ignore[arg-type]
    rest = known.refitting([*ready, Found(FOREST)], 1.0) - seconds
    assert rest == pytest.approx(0.5 + 5e-6 * 2_000 * len(ready))


def test_measuring_takes_longer_beside_others_and_explaining_its_share() -> None:
    nothing = RECKONING.refitting([], 1.0)
    assert nothing == pytest.approx(0.5)
    assert RECKONING.refitting([], 3.0) == pytest.approx(1.5)
    one = [found(FOREST, 2.0)]
    # What has run already was measured beside the others.
    assert RECKONING.refitting(one, 3.0) == pytest.approx(2.0 + 3.0 * LEAST)
    assert replace(RECKONING, budget=100.0).refitting(one, 1.0) == pytest.approx(2.0 + LEAST + 6.0)
    assert replace(RECKONING, every_row=11_000).refitting(one, 1.0) == pytest.approx(
        2.0 + LEAST + 5e-6 * 20_000
    )
