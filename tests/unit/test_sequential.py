"""Simulations: how often a test that is looked at all the time is wrong, and how often right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from twinml.abtest import sequential
from twinml.abtest.sequential import critical, paired, ratio_p_value, sample_size, unpaired
from twinml.errors import UsageError

ALPHA = 0.05


def most(runs: int, rate: float = ALPHA) -> float:
    """Return the share of wrong alarms that chance explains once in ten thousand times."""
    return float(stats.binom.ppf(0.9999, runs, rate)) / runs


def simulated(seed: int, runs: int, n: int, kind: str, effect: float = 0.0, share: float = 0.5):
    rng = np.random.default_rng(seed)
    arm = (rng.random((runs, n)) < share).astype(np.int64)
    uniform = rng.random((runs, n))
    if kind == "accuracy":
        values = (uniform < 0.9 + effect * arm).astype(float)
    elif kind == "rare errors":
        values = (uniform < 0.97).astype(float)
    elif kind == "log loss":  # skewed, as losses are
        values = rng.exponential(0.25, (runs, n)) + effect * arm
    else:
        values = rng.normal(0, 1, (runs, n)) + effect * arm
    return arm, values


@pytest.mark.parametrize("kind", ["normal", "accuracy", "rare errors", "log loss"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_looking_after_every_request_keeps_wrong_alarms_below_five_per_cent(kind, share):
    runs, n = 1000, 3000
    arm, values = simulated(1, runs, n, kind, share=share)
    track = unpaired(arm, values, tuned_for=2000, alpha=ALPHA)
    wrong = ((track.low > 0) | (track.high < 0)).any(axis=1).mean()
    assert wrong <= most(runs)
    assert (track.p_value[:, -1] <= ALPHA).mean() <= most(runs)
    # What it protects from: the usual test, looked at as often, is wrong far more often.
    usual = (np.abs(track.difference) > 1.96 * track.standard_error).any(axis=1).mean()
    assert usual > 3 * ALPHA


def test_interval_and_p_value_agree():
    arm, values = simulated(2, 200, 2000, "normal", effect=0.1)
    track = unpaired(arm, values, tuned_for=2000, alpha=ALPHA)
    outside = np.maximum.accumulate((track.low > 0) | (track.high < 0), axis=1)
    np.testing.assert_array_equal(outside, track.p_value < ALPHA)


def test_the_intervals_hold_the_true_difference_at_all_times():
    arm, values = simulated(3, 1000, 3000, "accuracy", effect=0.05)
    track = unpaired(arm, values, tuned_for=1000, alpha=ALPHA)
    missed = ((track.low > 0.05) | (track.high < 0.05)).any(axis=1).mean()
    assert missed <= most(1000)


@pytest.mark.parametrize("kind", ["accuracy", "normal"])
def test_the_planned_number_of_requests_has_the_power_that_was_planned(kind):
    effect, deviation = (0.06, 0.3) if kind == "accuracy" else (0.2, 1.0)
    other = np.sqrt(0.96 * 0.04) if kind == "accuracy" else None
    planned = sample_size(deviation_a=deviation, deviation_b=other, effect=effect, power=0.8)
    arm, values = simulated(4, 1000, planned.sequential, kind, effect=effect)
    track = unpaired(arm, values, tuned_for=planned.sequential, alpha=ALPHA)
    decided = track.low > 0
    found = decided.any(axis=1).mean()
    assert found >= 0.8 - 0.05
    first = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, planned.sequential)
    assert first.mean() == pytest.approx(planned.expected, rel=0.1)
    assert planned.expected < planned.sequential


def test_the_plan_for_one_look_has_its_power_too():
    planned = sample_size(deviation_a=1.0, effect=0.2, share=0.3)
    arm, values = simulated(5, 1000, planned.fixed, "normal", effect=0.2, share=0.3)
    track = unpaired(arm, values, tuned_for=planned.fixed, alpha=ALPHA)
    found = (track.difference[:, -1] > 1.96 * track.standard_error[:, -1]).mean()
    assert found == pytest.approx(0.8, abs=0.05)


def test_pairs_keep_the_promise_and_need_fewer_requests():
    rng = np.random.default_rng(6)
    base = rng.exponential(0.25, (1000, 2000))
    noise = rng.normal(0, 0.05, base.shape)
    track = paired(base, base + noise, tuned_for=1000, alpha=ALPHA)
    assert ((track.low > 0) | (track.high < 0)).any(axis=1).mean() <= most(1000)
    shifted = paired(base, base + noise + 0.02, tuned_for=1000, alpha=ALPHA)
    assert (shifted.low[:, -1] > 0).all()


def test_before_the_burn_in_and_without_spread_nothing_is_said():
    arm = np.tile([0, 1], 60)
    constant = unpaired(arm, np.ones(120), tuned_for=100, alpha=ALPHA)
    assert np.isnan(constant.low).all()
    assert (constant.p_value == 1).all()
    varied = unpaired(arm, np.arange(120) % 7.0, tuned_for=100, alpha=ALPHA)
    assert np.isnan(varied.low[: 2 * sequential.BURN_IN - 1]).all()
    assert np.isfinite(varied.low[2 * sequential.BURN_IN :]).all()


def test_the_interval_is_narrowest_where_it_is_tuned_for():
    n = np.array([1000.0])
    here = critical(n, tuned_for=1000, alpha=ALPHA)
    assert here < critical(n, tuned_for=200, alpha=ALPHA)
    assert here < critical(n, tuned_for=5000, alpha=ALPHA)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_right_split_is_rarely_called_a_mismatch_however_often_one_looks(share):
    rng = np.random.default_rng(7)
    arm = (rng.random((1000, 3000)) < share).astype(np.int64)
    p_values = np.array([ratio_p_value(one, share)[-1] for one in arm])
    assert (p_values < 0.01).mean() <= most(1000, 0.01)


def test_a_lost_tenth_of_one_arm_is_found():
    rng = np.random.default_rng(8)
    arm = (rng.random(20_000) < 0.45 / 0.95).astype(np.int64)
    assert ratio_p_value(arm, 0.5)[-1] < 0.001


def test_impossible_plans_are_refused():
    with pytest.raises(UsageError, match="effect"):
        sample_size(deviation_a=1, effect=0)
    with pytest.raises(UsageError, match="share of B"):
        sample_size(deviation_a=1, effect=1, share=1)
