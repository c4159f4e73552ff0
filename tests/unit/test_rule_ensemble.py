"""Which members an ensemble takes: against a plain reckoning of the same rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from twinml.training import _ensemble as ensemble
from twinml.training._ensemble import best_round, cross_fitted, fit_stack, fit_vote, kept_members
from twinml.training.tasks import Classification

TASK = Classification(classes=(0, 1))


@pytest.mark.parametrize(
    ("losses", "rounds"),
    [
        ([0.5], 1),
        ([0.5, 0.4, 0.3], 3),
        ([0.5, 0.3, 0.4], 2),
        ([0.3, 0.4, 0.5], 1),
        ([0.5, 0.3, 0.4, 0.29, 0.35], 4),
        ([0.5, 0.3, 0.3], 2),
        # A gain that is noise does not add a member; it is measured from the best so far.
        ([0.5, 0.5 - 0.9e-7], 1),
        ([0.5, 0.5 - 1.1e-7], 2),
        ([0.5, 0.5 - 0.9e-7, 0.5 - 1.8e-7], 3),
        ([1.0, 1.0 - ensemble._LEAST_GAIN], 1),
        ([1.0, math.nextafter(1.0 - ensemble._LEAST_GAIN, 0)], 2),
    ],
)
def test_the_best_round_ends_a_vote_and_not_the_last(losses: list[float], rounds: int) -> None:
    assert best_round(losses) == rounds


@pytest.mark.parametrize(
    ("weights", "kept"),
    [
        ({"a": 0.5, "b": 0.5}, ("a", "b")),
        ({"b": 0.97, "a": 0.03}, ("b", "a")),
        ({"a": math.nextafter(0.03, 1), "b": 0.9}, ("a", "b")),
        ({"a": math.nextafter(0.03, 0), "b": 0.97}, ("b",)),
        ({"a": 0.0, "b": 1.0, "c": 0.0}, ("b",)),
        ({"a": 0.02, "b": 0.01}, ("a", "b")),
        ({"a": math.nan, "b": math.nan}, ("a", "b")),
    ],
)
def test_a_stack_drops_the_members_below_the_least_share(
    weights: dict[str, float], kept: tuple[str, ...]
) -> None:
    assert kept_members(weights) == kept


def views(k: int, n: int = 60) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return members of differing use, labels and row weights."""
    rng = np.random.default_rng(3)
    labels = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    found = {}
    for name, signal in (("weak", 0.4), ("good", 1.6), ("other", 1.2), ("none", 0.0)):
        raw = np.exp(signal * np.eye(k)[labels] + rng.normal(0, 1, (n, k)))
        found[name] = raw / raw.sum(axis=1, keepdims=True)
    return found, labels, rng.uniform(0.5, 2.0, n)


def picked_plainly(
    members: dict[str, np.ndarray], labels: np.ndarray, weights: np.ndarray, rounds: int = 30
) -> list[str]:
    """Return what greedy selection takes, round by round, up to the best round."""
    taken: list[str] = []
    best: tuple[float, int] = (math.inf, 0)
    for size in range(1, rounds + 1):
        losses = {}
        for name in members:
            mean = sum(members[each] for each in [*taken, name]) / size
            true = [math.log(mean[row, label]) for row, label in enumerate(labels)]
            losses[name] = -float(np.average(true, weights=weights))
        taken.append(min(losses, key=lambda name: losses[name]))
        best = min(best, (losses[taken[-1]], size))
    return taken[: best[1]]


@pytest.mark.parametrize("k", [2, 3])
def test_a_vote_counts_how_often_each_member_was_taken(k: int) -> None:
    members, labels, weights = views(k)
    taken = picked_plainly(members, labels, weights)
    assert 1 < len(set(taken)) < len(members)
    assert len(taken) < 30  # else the best round is the last, and this shows nothing
    vote = fit_vote(TASK, members, labels, weights)
    expected = {name: taken.count(name) / len(taken) for name in members if name in taken}
    assert dict(vote.weights) == expected
    assert list(vote.weights) == list(expected)
    mean = vote.predict(members)
    by_hand = sum(share * members[name] for name, share in expected.items())
    np.testing.assert_allclose(mean, by_hand, rtol=1e-12)


@pytest.mark.parametrize(("rounds", "best"), [(1, 1), (2, 2), (3, 3), (6, 3), (7, 7)])
def test_a_vote_ends_after_so_many_rounds(
    rounds: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, labels, weights = views(3)
    assert ensemble._ROUNDS == 30
    monkeypatch.setattr(ensemble, "_ROUNDS", rounds)
    taken = picked_plainly(members, labels, weights, rounds)
    assert len(taken) == best
    # Only the share of each row counts, not the unit of the weights.
    for unit in (1.0, 1e-6, 1e6):
        vote = fit_vote(TASK, members, labels, weights * unit)
        expected = {name: taken.count(name) / len(taken) for name in members if name in taken}
        assert dict(vote.weights) == expected


def test_a_member_that_is_as_good_as_another_is_not_added() -> None:
    """The first of equals is taken, and no round after the first lowers the loss."""
    labels = np.array([0, 1, 0, 1])
    one = np.where(np.eye(2)[labels] == 1, 0.8, 0.2)
    vote = fit_vote(TASK, {"first": one, "second": one.copy()}, labels, np.ones(4))
    assert dict(vote.weights) == {"first": 1.0}


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    """A probability of 0 for the true class is clipped: its loss is large and finite."""
    truth = np.array([0.25, 0.75])
    losses = TASK.losses_of(np.array([[0.5, 0.5], [1.0, 0.0], [2.0, 1.0]]), np.zeros(2), truth)
    assert losses[0] == pytest.approx(math.log(2))
    assert losses[1] == pytest.approx(0.75 * -math.log(1e-15))
    assert losses[2] == 0.0


@pytest.mark.parametrize("k", [2, 3])
def test_a_stack_is_fitted_again_without_the_members_that_hardly_count(k: int) -> None:
    members, labels, weights = views(k, 600)
    rng = np.random.default_rng(5)
    # As good as constant: its log-odds move the result by next to nothing.
    members["none"] = np.full((600, k), 1 / k) + rng.normal(0, 1e-9, (600, 1))
    stack = fit_stack(TASK, members, labels, weights)
    kept = ("weak", "good", "other")
    assert stack.members == kept
    alone = fit_stack(TASK, {name: members[name] for name in kept}, labels, weights)
    np.testing.assert_array_equal(stack.predict(members), alone.predict(members))
    assert not np.array_equal(
        alone.predict(members),
        fit_stack(TASK, members, labels, np.ones(600)).predict(members),
    )
    assert fit_stack(TASK, {"good": members["good"]}, labels, weights).members == ("good",)


def test_members_of_a_stack_stand_side_by_side() -> None:
    two = np.array([[0.2, 0.8], [0.6, 0.4]])
    three = np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
    np.testing.assert_array_equal(ensemble.side_by_side([two, two / 2]), [[0.8, 0.4], [0.4, 0.2]])
    np.testing.assert_array_equal(ensemble.side_by_side([three]), three)


def test_an_ensemble_predicts_rows_that_its_weights_were_not_fitted_on() -> None:
    members, labels, weights = views(2)
    rows = np.arange(len(labels))
    folds = [(rows[rows % 2 == 1], rows[rows % 2 == 0]), (rows[rows % 2 == 0], rows[rows % 2 == 1])]
    found = cross_fitted(TASK, fit_vote, members, labels, weights, folds)
    for train, test in folds:
        part = {name: one[train] for name, one in members.items()}
        vote = fit_vote(TASK, part, labels[train], weights[train])
        expected = vote.predict({name: one[test] for name, one in members.items()})
        np.testing.assert_array_equal(found[test], expected)
