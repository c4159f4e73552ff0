"""Ensembles are fitted on out-of-fold predictions, and are better than their members."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from twinml.training._ensemble import cross_fitted, fit_stack, fit_vote
from twinml.training.tasks import Classification, task_of

TASK = Classification(classes=(0, 1))


def members(k: int, n: int = 3000) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return three views of one truth: two noisy ones of different kind, and pure noise."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    logits = 1.2 * np.eye(k)[labels]

    def view(noise: float) -> np.ndarray:
        raw = np.exp(logits * (noise < 5) + rng.normal(0, noise, (n, k)))
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    return {"first": view(0.8), "second": view(0.9), "noise": view(9.0)}, labels


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("fit", [fit_vote, fit_stack])
def test_an_ensemble_beats_its_members_on_rows_that_it_did_not_see(fit, k: int) -> None:
    views, labels = members(k)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels))
    weights = np.ones(len(labels))
    joined = cross_fitted(
        Classification(classes=tuple(range(k))), fit, views, labels, weights, folds
    )
    assert joined.shape == (len(labels), k)
    np.testing.assert_allclose(joined.sum(axis=1), 1.0)
    best = min(log_loss(labels, one) for one in views.values())
    assert log_loss(labels, joined) < best - 0.01


@pytest.mark.parametrize("fit", [fit_vote, fit_stack])
def test_a_member_of_no_use_is_left_out(fit) -> None:
    views, labels = members(2)
    weights = fit(TASK, views, labels, np.ones(len(labels))).weights
    assert set(weights) == {"first", "second"}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert all(weight >= 0.03 for weight in weights.values())


def test_row_weights_count() -> None:
    """A member that is good on the heavy rows only gets the vote."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    heavy = np.arange(1000) < 500
    truth = np.eye(2)[labels] * 0.8 + 0.1
    wrong = np.eye(2)[1 - labels] * 0.8 + 0.1
    views = {
        "heavy": np.where(heavy[:, None], truth, wrong),
        "light": np.where(heavy[:, None], wrong, truth),
    }
    vote = fit_vote(TASK, views, labels, np.where(heavy, 100.0, 1.0))
    assert vote.weights["heavy"] > 0.9


def test_certain_members_do_not_make_infinite_log_odds() -> None:
    labels = np.array([0, 1] * 50)
    certain = np.eye(2)[labels]
    certain[:4] = certain[:4][:, ::-1]
    stack = fit_stack(TASK, {"a": certain, "b": np.full((100, 2), 0.5)}, labels, np.ones(100))
    assert np.isfinite(stack.predict({"a": certain, "b": np.full((100, 2), 0.5)})).all()


@pytest.mark.parametrize(("views", "kept"), [(6, 6), (7, 7), (8, 7), (10, 7)])
def test_a_vote_has_seven_members_at_most(views: int, kept: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    # Errors that have nothing to do with each other: every further one is of use.
    members = {f"view {n}": (truth + rng.normal(size=4000))[:, None] for n in range(views)}
    weights = fit_vote(task_of(truth, "regression"), members, truth, np.ones(4000)).weights
    assert len(weights) == kept
    assert sum(weights.values()) == pytest.approx(1.0)
    assert max(weights.values()) < 2 / kept
