"""Performance estimated without labels: what it comes to, and when it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from twinml.drift.estimated import doubt, estimate, roc_auc
from twinml.errors import DataError

ENOUGH = {"rows": 200, "rarest": 20.0, "margin": 0.02}


def calibrated(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, and labels that are drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.6), n)
    labels = (rng.random(n)[:, None] > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
    return probabilities, labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_calibrated_probabilities_tell_the_figures_within_the_margin(classes: int) -> None:
    inside = 0
    for seed in range(8):
        probabilities, labels = calibrated(3000, classes, seed)
        found = estimate(probabilities)
        truth = np.eye(classes)[labels]
        true = (
            roc_auc_score(labels, probabilities[:, 1])
            if classes == 2
            else roc_auc_score(truth, probabilities, average="macro")
        )
        assert found.knows
        assert found.roc_auc == pytest.approx(true, abs=0.02)
        inside += abs(found.roc_auc - true) <= found.margin
        right = accuracy_score(labels, probabilities.argmax(axis=1))
        assert found.accuracy == pytest.approx(right, abs=0.03)
        assert found.log_loss == pytest.approx(log_loss(labels, probabilities), abs=0.04)
    # A margin promised for 95 of 100 holds fewer than 5 of 8 once in a thousand times.
    assert inside >= 5


@pytest.mark.parametrize("classes", [2, 4])
def test_with_labels_as_weights_it_is_the_usual_roc_auc(classes: int) -> None:
    probabilities, labels = calibrated(300, classes, 3)
    # Ties count half.
    probabilities = np.round(probabilities, 1)
    truth = np.eye(classes)[labels]
    usual = (
        roc_auc_score(labels, probabilities[:, 1])
        if classes == 2
        else roc_auc_score(truth, probabilities, average="macro")
    )
    assert roc_auc(probabilities, truth) == pytest.approx(usual, abs=1e-12)


def test_a_row_is_not_compared_with_itself() -> None:
    # By hand: of two rows, the pairs (a over b) and (b over a); a ranks above.
    p, q = 0.8, 0.3
    probabilities = np.array([[1 - p, p], [1 - q, q]])
    won, lost = p * (1 - q), q * (1 - p)
    assert roc_auc(probabilities, probabilities) == pytest.approx(won / (won + lost))


def test_probabilities_that_are_no_longer_right_are_found_by_the_labels_alone() -> None:
    probabilities, _ = calibrated(3000, 2, 0)
    labels = np.random.default_rng(1).integers(0, 2, 3000)  # the concept is another one
    found = estimate(probabilities)
    true = roc_auc_score(labels, probabilities[:, 1])
    assert found.knows
    assert found.roc_auc - true > 0.2
    after = estimate(probabilities, last_gap=true - found.roc_auc, last_margin=found.margin)
    assert not after.knows
    assert "the last labels" in after.doubt


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"rows": 199}, "199 rows"),
        ({"rarest": 19.9}, "20 rows of the rarest class"),
        ({"margin": 0.0201}, "chance alone"),
        ({"margin": float("nan")}, "chance alone"),
        ({"drifted": ("month",)}, "month drifted"),
        ({"drifted": ("a", "b", "c", "d", "e")}, "a, b, c and 2 more drifted"),
        ({"drifted": ("a", "b", "c")}, "a, b, c drifted"),
        ({"last_gap": 0.02}, ""),
        ({"last_gap": -0.02}, ""),
        ({"last_gap": 0.021}, "+0.021"),
        ({"last_gap": -0.021}, "-0.021"),
        ({"last_gap": -0.04, "last_margin": 0.02}, ""),
        ({"last_gap": -0.041, "last_margin": 0.02}, "-0.041"),
        ({"last_gap": 0.0}, ""),
    ],
)
def test_it_says_when_it_does_not_know(changes: dict[str, object], found: str) -> None:
    said = doubt(**{**ENOUGH, **changes})  # type: ignore[arg-type]
    assert found in said
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    "wrong", [np.empty((0, 2)), np.ones((3, 1)), np.array([[0.5, 0.6]]), np.array([[1.5, -0.5]]),
              np.array([[np.nan, 1.0]]), np.array([0.5, 0.5])],
)  # fmt: skip
def test_what_is_no_probability_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError):
        estimate(wrong)


def test_one_class_alone_leaves_the_roc_auc_open() -> None:
    found = estimate(np.tile([1.0, 0.0], (300, 1)))
    assert np.isnan(found.roc_auc)
    assert not found.knows
    assert (found.accuracy, found.log_loss) == (1.0, 0.0)
