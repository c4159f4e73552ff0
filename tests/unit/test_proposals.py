"""Who is asked next for a configuration, and what is asked."""

from __future__ import annotations

import pytest

from twinml.training._found import Found
from twinml.training._proposals import begin, propose, turn
from twinml.training._rounds import rate_for
from twinml.training.learners import LEARNERS

LIGHTGBM = next(one for one in LEARNERS if one.name == "LightGBM")
FOREST = next(one for one in LEARNERS if one.rounds is None)


def tried(loss: float, spent: float) -> Found:
    return Found(LIGHTGBM, searcher=object(), loss=loss, spent=spent)


@pytest.mark.parametrize(
    ("found", "order"),
    [
        # The untried first, in their own order.
        ([tried(0.5, 1.0), Found(LIGHTGBM), Found(FOREST)], [1, 2, 0]),
        # Whoever has had less time.
        ([tried(0.5, 3.0), tried(0.5, 2.0), tried(0.5, 2.5)], [1, 2, 0]),
        # A hundredth behind counts as half as much time again.
        ([tried(0.505, 2.0), tried(0.5, 2.9)], [1, 0]),
        ([tried(0.505, 2.0), tried(0.5, 3.1)], [0, 1]),
        # What has failed so far is behind everybody.
        ([tried(float("inf"), 1.0), tried(0.5, 9.0)], [1, 0]),
        # The best is perfect.
        ([tried(0.1, 1.0), tried(0.0, 9.0)], [1, 0]),
    ],
)
def test_the_turn(found: list[Found], order: list[int]) -> None:
    by_turn = sorted(found, key=lambda one: turn(one, found))
    assert [found.index(one) for one in by_turn] == order


@pytest.mark.parametrize(
    ("second_per_work", "seconds", "rounds"),
    [
        (None, 10.0, None),  # nothing is known of the costs
        (1e-3, float("inf"), None),
        (1e-3, 10.0, 10.0),
        (1e-3, 4.0, 4.0),
    ],
)
def test_the_first_proposal_is_the_start_as_fast_as_the_time_asks(
    second_per_work: float | None, seconds: float, rounds: float | None
) -> None:
    start = LIGHTGBM.start_on(100)
    assert LIGHTGBM.rounds is not None
    del start[LIGHTGBM.rounds.name]
    one = Found(LIGHTGBM)
    if second_per_work is not None:
        # So that a round of the start takes a fifth of a second; five folds of it take one.
        one.second_per_work = 0.2 / LIGHTGBM.work({**start, LIGHTGBM.rounds.name: 1})
    begin(one, seconds, rows=100, folds=5, seed=0)
    if rounds is not None:
        start["learning_rate"] = rate_for(start["learning_rate"], rounds)
        assert start["learning_rate"] > LIGHTGBM.start["learning_rate"]
    trial_id, config = propose(one, lambda config: False) or ("", {})
    assert trial_id == "LightGBM-0"
    assert config == pytest.approx(start)
    assert all(type(value) in (int, float) for value in config.values())


def test_the_seed_decides_what_comes_after_the_start() -> None:
    def second(seed: int) -> dict[str, float]:
        one = Found(FOREST)
        begin(one, 1.0, rows=1_000, folds=5, seed=seed)
        trial_id, config = propose(one, lambda config: False) or ("", {})
        one.searcher.on_trial_complete(trial_id, {"loss": 0.5, "config": dict(config)})
        return dict((propose(one, lambda config: False) or ("", {}))[1])

    assert second(0) == second(0) != second(1)


def test_a_searcher_is_asked_five_times_for_what_can_be_afforded() -> None:
    one = Found(FOREST)
    begin(one, 1.0, rows=1_000, folds=5, seed=0)
    asked: list[object] = []
    assert propose(one, lambda config: asked.append(config) is None) is None
    assert one.proposals == len(asked) == 5
    number, _ = propose(one, lambda config: False) or ("", {})
    assert number == f"{FOREST.name}-5"
