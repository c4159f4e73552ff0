"""A stack that boosts on predictions and features: when it is taken, and what it learns from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml.data import load
from twinml.training import TrainingOptions, train
from twinml.training._boosted_stack import BoostedStack, fit_boosted_stack, rate_within
from twinml.training._ensemble import Stack
from twinml.training._found import Found
from twinml.training._leaderboard import leaderboard
from twinml.training.learners import LEARNERS
from twinml.training.tasks import Classification

pytestmark = pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")

TASK = Classification(classes=("no", "yes"))
ROWS = np.arange(1_200)
FOLDS = [(ROWS[fold != ROWS % 3], ROWS[fold == ROWS % 3]) for fold in range(3)]
ONES = np.ones(len(ROWS))


def of_second(shares: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - shares, shares])


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """One member knows the rows of some regions, the other those of others; after X and y."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, len(ROWS))
    region = rng.integers(0, 4, len(ROWS))
    right = np.where(y == 1, 0.9, 0.1)
    guess = rng.uniform(0.1, 0.9, (2, len(ROWS)))
    members = {
        "LightGBM": of_second(np.where(region % 2 == 0, right, guess[0])),
        "RandomForest": of_second(np.where(region % 2 == 1, right, guess[1])),
    }
    return np.column_stack([region, rng.normal(size=len(ROWS))]), y, members


def boosted(known: Any, *, seconds: float = math.inf, jobs: int = 1, weights: Any = ONES) -> Any:
    X, y, members = known
    return fit_boosted_stack(
        TASK, members, X, y, weights, FOLDS, TASK.shape(1, 0), ROWS + 7,
        seconds=seconds, round_seconds=0.001, jobs=jobs,
    )  # fmt: skip


def test_it_finds_out_which_member_to_believe_where(known) -> None:
    X, y, members = known
    stack, predicted = boosted(known)
    assert stack.members == tuple(members)
    assert TASK.loss(y, predicted) < 0.1
    assert min(TASK.loss(y, one) for one in members.values()) > 0.4
    # By rows that it has not seen: what it says of those that it has is still better.
    seen = stack.final.predict_proba(stack.data.X)
    assert TASK.loss(y, seen) < TASK.loss(y, predicted)
    assert np.array_equal(stack.data.X[:, 2:], X)
    assert np.array_equal(stack.data.X[:, :2].T, [one[:, 1] for one in members.values()])
    assert stack.final.get_params()["cat_feature"] == [2]
    assert sum(stack.weights.values()) == pytest.approx(1)
    assert all(share > 0.3 for share in stack.weights.values())


def test_the_number_of_jobs_changes_nothing(known) -> None:
    one, two = boosted(known), boosted(known, jobs=2)
    assert np.array_equal(one[1], two[1])
    assert one[0].config == two[0].config


@pytest.mark.parametrize(
    ("rounds", "rate"),
    [(math.inf, 0.04), (200.0, 0.04), (199.0, 8 / 199), (80.0, 0.1), (40.0, 0.2), (39.9, None)],
)
def test_it_learns_as_fast_as_the_time_wants(rounds: float, rate: float | None) -> None:
    assert rate_within(rounds) == (None if rate is None else pytest.approx(rate))


# A round takes 1 ms here; three folds one after the other, and 1.25 for all rows.
@pytest.mark.parametrize(("seconds", "rate"), [(4.25 * 0.2, 0.04), (4.25 * 0.1, 0.08)])
def test_all_folds_and_the_last_fit_share_the_time(known, seconds: float, rate: float) -> None:
    stack, _ = boosted(known, seconds=seconds)
    assert stack.config["learning_rate"] == pytest.approx(rate)


def test_it_is_not_begun_where_it_would_not_come_to_its_end(known) -> None:
    assert boosted(known, seconds=4.25 * 0.0399) is None
    assert boosted(known, seconds=-1.0) is None


def test_folds_are_stopped_after_their_share_of_the_time(known) -> None:
    X, y, members = known
    every = np.tile(X, (1, 60))
    stack, predicted = fit_boosted_stack(
        TASK, members, every, y, ONES, FOLDS, TASK.shape(0, 0), ROWS,
        seconds=4.25e-4, round_seconds=1e-6, jobs=1,
    )  # fmt: skip
    # A tenth of a millisecond each: a round, or hardly more.
    assert stack.config["n_estimators"] < 20
    assert TASK.loss(y, predicted) < math.log(2)


def test_weights_count(known) -> None:
    _, y, _ = known
    heavy = np.where(y == 1, 9.0, 1.0)
    assert boosted(known, weights=heavy)[1][:, 1].mean() > boosted(known)[1][:, 1].mean()


def test_other_codes_are_learned_anew_and_the_same_ones_are_not(known) -> None:
    X, y, _ = known
    stack, _ = boosted(known)
    assert stack.suited(lambda rows: X[rows - 7]) is stack
    shifted = X + np.array([1, 0])  # as one more text at the front of the alphabet makes it
    other = stack.suited(lambda rows: shifted[rows - 7])
    assert other is not stack
    assert other.config == stack.config
    same = other.final.predict_proba(other.data.X)
    assert TASK.loss(y, same) == pytest.approx(
        TASK.loss(y, stack.final.predict_proba(stack.data.X)), abs=0.01
    )


def test_only_allowed_rows_are_learned_from(known) -> None:
    X, y, _ = known
    stack, _ = boosted(known)
    early = stack.suited(lambda rows: X[rows - 7], np.arange(600))
    assert early.rows.tolist() == list(range(7, 600))
    assert np.array_equal(early.data.y, y[:593])
    assert np.array_equal(early.data.X, stack.data.X[:593])
    assert len(early.data.weights) == 593
    assert early.final is not stack.final


@pytest.mark.parametrize(
    ("found", "left", "kind"),
    [
        ("better", 1e9, BoostedStack),
        ("worse", 1e9, Stack),
        (None, 1e9, Stack),
        # What is not boosted has no time to be judged: then the boosted one is there alone.
        ("worse", 1e-9, BoostedStack),
        (None, 1e-9, None),
    ],
)
def test_out_of_fold_decides_which_stack_it_is(known, found, left, kind) -> None:
    _, y, members = known
    made, predicted = boosted(known)
    worse = np.full_like(predicted, 0.5)
    asked: list[tuple[tuple[str, ...], float]] = []

    def boost(given: Any, seconds: float) -> Any:
        asked.append((tuple(given), seconds))
        return None if found is None else (made, predicted if found == "better" else worse)

    by_name = {one.name: one for one in LEARNERS}
    ready = [Found(by_name[name], best={}, fold_seconds=0.0) for name in members]
    options = TrainingOptions(budget=60.0 if left > 1 else 1e-9)
    board = leaderboard(
        TASK, ready, members, y, ONES, FOLDS, None, options, lambda names: left, boost=boost
    )  # fmt: skip
    assert asked == [(tuple(members), left)]
    stack = board.joins.get("StackEnsemble")
    assert (None if stack is None else type(stack)) == kind
    assert ("StackEnsemble" in [one.name for one in board.candidates]) == (kind is not None)
    if kind is not None:
        given = board.out_of_fold["StackEnsemble"]
        assert np.array_equal(given, predicted) == (found == "better")
        assert np.array_equal(given, worse) == (found == "worse" and kind is BoostedStack)


@pytest.fixture(scope="module")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in whose north the size of a sum decides, elsewhere the sum: no learner has both."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_500, 12))
    direction = rng.normal(size=12)
    summed = X @ direction / np.linalg.norm(direction)
    frame = pd.DataFrame(X.round(4), columns=[f"x{place}" for place in range(12)])
    frame["region"] = rng.choice(["north", "south", "west"], len(X))
    bent = np.where(frame["region"] == "north", np.abs(summed) - 0.7, summed)
    frame["y"] = np.where(bent + 0.3 * rng.normal(size=len(X)) > 0, "yes", "no")
    path = tmp_path_factory.mktemp("bent") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_run_takes_it_where_it_pays(bent: Path) -> None:
    dataset = load(bent, "y")
    options = TrainingOptions(trials=2, learners=("LightGBM", "LogisticRegression"), jobs=2)
    result = train(dataset, options)
    assert result.leaderboard[0].name == "StackEnsemble"
    losses = {one.name: one.metrics["log_loss"] for one in result.leaderboard}
    assert losses["StackEnsemble"] < 0.9 * losses["LightGBM"]
    # What the test rows say is no better than what out of fold promised, nor much worse.
    assert result.test.metrics["log_loss"].value == pytest.approx(losses["StackEnsemble"], abs=0.03)
    for pipeline in (result.pipeline, result.measured):
        model = pipeline.named_steps["model"]
        assert model.passthrough
        assert type(model.final_estimator_.estimator).__name__ == "LGBMClassifier"
    again = train(dataset, replace(options, jobs=1))
    rows = dataset.features.head(500)
    assert np.array_equal(result.pipeline.predict_proba(rows), again.pipeline.predict_proba(rows))
