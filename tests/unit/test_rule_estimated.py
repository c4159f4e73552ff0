"""Performance estimated without labels: what it comes to, and when it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from twinml.drift.estimated import Told, correction, doubt, estimate, roc_auc, told_by
from twinml.errors import DataError

RIGHT = Told(0.0, 0.01)
ENOUGH = {"rows": 200, "rarest": 20.0, "margin": 0.03, "told": [RIGHT]}


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
        found = estimate(probabilities, told=[Told(0.0, 0.0)])
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
    held_out = Told(0.0, 0.01)
    found = estimate(probabilities, told=[held_out])
    true = roc_auc_score(labels, probabilities[:, 1])
    assert found.knows
    assert found.roc_auc - true > 0.2
    later = told_by(probabilities, labels)
    assert later is not None
    after = estimate(probabilities, told=[held_out, later])
    assert not after.knows
    assert "labels told" in after.doubt


def test_what_labels_told_corrects_the_next_estimate() -> None:
    probabilities, _ = calibrated(4000, 2, 0)
    # Sharper than is right: the true classes are drawn from probabilities nearer to one half.
    true = (probabilities + 0.5) / 2
    labels = (np.random.default_rng(1).random(4000) > true[:, 0]).astype(int)
    first, last = slice(0, 2000), slice(2000, None)
    told = told_by(probabilities[first], labels[first])
    assert told is not None
    assert told.gap < -0.1
    usual, found = (estimate(probabilities[last], told=one) for one in ((), [told]))
    truth = roc_auc_score(labels[last], probabilities[last, 1])
    assert found.roc_auc == pytest.approx(truth, abs=0.02)
    assert usual.roc_auc - truth > 0.1
    assert found.roc_auc == pytest.approx(usual.roc_auc + told.gap)
    assert found.margin == pytest.approx(np.hypot(usual.margin, told.margin))
    perfect = estimate(probabilities[last], told=[Told(0.9, 0.01)])
    assert perfect.roc_auc == 1.0


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ([], None),
        ([Told(0.01, 0.02)], Told(0.01, 0.02)),
        ([Told(0.01, 0.02), Told(0.03, 0.02)], Told(0.02, 0.02 / 2**0.5)),
        # One that is twice as sure counts four times.
        ([Told(0.0, 0.01), Told(0.05, 0.02)], Told(0.01, 0.02 / 5**0.5)),
        # Six are looked at.
        ([Told(0.9, 0.01), *[Told(0.01, 0.06)] * 6], Told(0.01, 0.06 / 6**0.5)),
        ([Told(0.06, 0.01), *[Told(0.0, 0.01)] * 5], Told(0.01, 0.01 / 6**0.5)),
        # None is so sure that it counts alone.
        ([Told(0.0, 0.0), Told(0.02, 0.001)], Told(0.01, 0.001 / 2**0.5)),
    ],
)
def test_the_correction_is_the_mean_of_the_last_gaps(told: list[Told], found: Told | None) -> None:
    mean = correction(told)
    if found is None:
        assert mean is None
    else:
        assert mean is not None
        assert (mean.gap, mean.margin) == pytest.approx((found.gap, found.margin))


def test_labels_of_one_class_tell_nothing() -> None:
    probabilities, _ = calibrated(300, 2, 0)
    assert told_by(probabilities, np.zeros(300, dtype=int)) is None


def test_the_margin_of_many_rows_is_narrower_by_the_root_of_their_number() -> None:
    probabilities, _ = calibrated(20_000, 2, 0)
    one, two = (estimate(np.tile(probabilities, (n, 1))).margin for n in (1, 4))
    assert two == pytest.approx(one / 2)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"rows": 199}, "199 rows"),
        ({"rarest": 19.9}, "20 rows of the rarest class"),
        ({"margin": 0.0301}, "chance alone"),
        ({"margin": float("nan")}, "chance alone"),
        ({"drifted": ("month",)}, "month drifted"),
        ({"drifted": ("a", "b", "c", "d", "e")}, "a, b, c and 2 more drifted"),
        ({"drifted": ("a", "b", "c")}, "a, b, c drifted"),
        ({"told": []}, "no labels have told"),
        ({"told": [Told(-0.3, 0.01)]}, ""),
        ({"told": [Told(0.0, 0.01), Told(0.04, 0.01)]}, ""),
        ({"told": [Told(0.0, 0.01), Told(0.0401, 0.01)]}, "+0.040"),
        ({"told": [Told(0.0, 0.01), Told(-0.0401, 0.01)]}, "-0.040"),
        ({"told": [Told(0.0401, 0.01), Told(0.0, 0.01)]}, "+0.000"),
        ({"told": [Told(0.9, 0.01), *[RIGHT] * 6]}, ""),
        ({"told": [Told(0.9, 0.01), *[RIGHT] * 5]}, "in the mean"),
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
