"""The sequential tests against a plain reckoning, one observation after the other."""

from __future__ import annotations

import math
from statistics import NormalDist, fmean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import betaln

from twinml.abtest import sequential
from twinml.abtest.sequential import (
    Track,
    critical,
    paired,
    ratio_p_value,
    sample_size,
    tuning,
    unpaired,
)
from twinml.errors import UsageError

BURN_IN = 100
SETTINGS = {"tuned_for": 250, "alpha": 0.05}


def reach(n: int, tuned_for: float, alpha: float) -> tuple[float, float]:
    """Return how many standard errors the interval reaches at n observations, and r."""
    r = tuning(alpha) * n / tuned_for
    return math.sqrt(2 * (1 + 1 / r) * (math.log(1 / alpha) + math.log1p(r) / 2)), r


def check(track: Track, plainly: list[tuple[int, float, float, float | None]]) -> None:
    """Compare a track with (n, mean of A, mean of B, standard error or None) at each step."""
    smallest = 1.0
    for at, (n, a, b, error) in enumerate(plainly):
        assert track.n[at] == n
        np.testing.assert_allclose([track.a[at], track.b[at]], [a, b], rtol=1e-9, err_msg=str(at))
        if error is None:
            said = [part[at] for part in (track.difference, track.standard_error)]
            said += [track.low[at], track.high[at]]
            assert np.isnan(said).all(), at
        else:
            half, r = reach(n, **SETTINGS)
            z = (b - a) / error
            smallest = min(smallest, math.exp(-(z**2 * r / (1 + r) - math.log1p(r)) / 2))
            expected = [b - a, error, b - a - half * error, b - a + half * error]
            found = [track.difference[at], track.standard_error[at], track.low[at], track.high[at]]
            np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=str(at))
        assert track.p_value[at] == pytest.approx(smallest, rel=1e-9, abs=0), at


def squares(values: list[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def unpaired_plainly(
    arm: NDArray[np.int64], values: NDArray[np.float64]
) -> list[tuple[int, float, float, float | None]]:
    seen: tuple[list[float], list[float]] = ([], [])
    found: list[tuple[int, float, float, float | None]] = []
    for which, value in zip(arm, values, strict=True):
        seen[which].append(value)
        counts = [len(part) for part in seen]
        means = [fmean(part) if part else math.nan for part in seen]
        error = None
        if min(counts) >= BURN_IN:
            of_both = sum(map(squares, seen)) / (sum(counts) - 2)
            # An arm's variance leans on that of both as if BURN_IN more had been observed.
            variances = [(squares(s) + BURN_IN * of_both) / (len(s) - 1 + BURN_IN) for s in seen]
            error = math.sqrt(sum(v / n for v, n in zip(variances, counts, strict=True)))
        found.append((sum(counts), means[0], means[1], error))
    return found


def test_the_burn_in_is_a_hundred_observations_an_arm() -> None:
    assert sequential.BURN_IN == BURN_IN


@pytest.mark.parametrize("share", [0.5, 0.3])
@pytest.mark.parametrize("first", [0, 1])
def test_an_unpaired_track_is_that_of_the_definition(share: float, first: int) -> None:
    rng = np.random.default_rng(11)
    arm = np.r_[first, (rng.random(399) < share).astype(np.int64)]
    values = rng.normal(0, 1, 400) * np.where(arm == 1, 3.0, 1.0) + 0.9 * arm
    check(unpaired(arm, values, **SETTINGS), unpaired_plainly(arm, values))
    check(unpaired(1 - arm, values, **SETTINGS), unpaired_plainly(1 - arm, values))


def test_an_arm_without_an_error_does_not_pass_for_one_that_makes_none() -> None:
    arm = np.tile([0, 0, 0, 1], 150)
    values = np.where((arm == 0) & (np.arange(600) % 5 == 0), 0.0, 1.0)
    track = unpaired(arm, values, **SETTINGS)
    check(track, unpaired_plainly(arm, values))
    assert track.standard_error[-1] > 0


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_paired_track_is_that_of_the_definition(scale: float) -> None:
    rng = np.random.default_rng(12)
    a = rng.exponential(0.3, 180)
    b = a + rng.normal(0.05, scale, 180)
    plainly: list[tuple[int, float, float, float | None]] = []
    for n in range(1, 181):
        moved = [float(d) for d in b[:n] - a[:n]]
        error = None
        if n >= BURN_IN:
            error = math.sqrt(squares(moved) / (n - 1) / n)
        plainly.append((n, fmean(a[:n]), fmean(b[:n]), error))
    check(paired(a, b, **SETTINGS), plainly)


def test_several_runs_at_once_are_each_a_run_of_their_own() -> None:
    rng = np.random.default_rng(13)
    arm = (rng.random((3, 300)) < 0.5).astype(np.int64)
    values = rng.normal(0, 1, (3, 300))
    for together, alone in (
        (
            unpaired(arm, values, **SETTINGS),
            [unpaired(*one, **SETTINGS) for one in zip(arm, values, strict=True)],
        ),
        (
            paired(values, values**2, **SETTINGS),
            [paired(one, one**2, **SETTINGS) for one in values],
        ),
    ):
        for name in ("n", "a", "b", "difference", "standard_error", "low", "high", "p_value"):
            for run, one in enumerate(alone):
                found = np.broadcast_to(getattr(together, name), values.shape)[run]
                np.testing.assert_allclose(found, getattr(one, name), rtol=1e-12)


def test_without_spread_nothing_is_said() -> None:
    ones = np.ones(250)
    for track in (
        paired(ones, 2 * ones, **SETTINGS),
        unpaired(np.tile([0, 1], 125), ones, **SETTINGS),
    ):
        for part in (track.difference, track.standard_error, track.low, track.high):
            assert np.isnan(part).all()
        assert (track.p_value == 1).all()


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("tuned_for", [200, 5000])
def test_the_interval_reaches_as_far_as_the_formula_says(alpha: float, tuned_for: int) -> None:
    sizes = np.array([1, 100, 4000])
    expected = [reach(int(n), tuned_for, alpha)[0] for n in sizes]
    found = critical(sizes, tuned_for=tuned_for, alpha=alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_ratio_test_is_a_ratio_of_beta_functions(share: float) -> None:
    arm = np.random.default_rng(14).integers(0, 2, 300)
    smallest = 1.0
    found = ratio_p_value(arm, share)
    for n in range(1, 301):
        in_b = int(arm[:n].sum())
        in_a = n - in_b
        a, b = 100 * (1 - share), 100 * share
        evidence = betaln(a + in_a, b + in_b) - betaln(a, b)
        evidence -= in_a * math.log(1 - share) + in_b * math.log(share)
        smallest = min(smallest, math.exp(-evidence))
        assert found[n - 1] == pytest.approx(smallest, rel=1e-8, abs=0)


@pytest.mark.parametrize(
    ("a", "b", "effect", "share", "alpha", "power"),
    [
        (0.3, None, 0.02, 0.5, 0.05, 0.8),
        (0.3, 0.2, -0.02, 0.5, 0.01, 0.9),
        (1.0, 2.0, 0.1, 0.2, 0.05, 0.8),
    ],
)
def test_a_plan_is_that_of_the_two_formulas(
    a: float, b: float | None, effect: float, share: float, alpha: float, power: float
) -> None:
    found = sample_size(
        deviation_a=a, deviation_b=b, effect=effect, share=share, alpha=alpha, power=power
    )
    unit = a**2 / (1 - share) + (a if b is None else b) ** 2 / share
    z = NormalDist().inv_cdf
    assert found.fixed == math.ceil(unit * ((z(1 - alpha / 2) + z(power)) / effect) ** 2)
    bound = reach(1, 1, alpha)[0]
    assert found.sequential == math.ceil(unit * ((bound + z(power)) / effect) ** 2)
    assert found.fixed < found.sequential
    assert (found.effect, found.share, found.alpha, found.power) == (
        abs(effect),
        share,
        alpha,
        power,
    )


def test_a_plan_is_the_same_each_time() -> None:
    known = {seed: sample_size(deviation_a=0.3, effect=0.02, seed=seed).expected for seed in (0, 1)}
    assert sample_size(deviation_a=0.3, effect=0.02).expected == known[0] != known[1]


def test_a_plan_is_never_shorter_than_the_burn_in_of_the_smaller_arm() -> None:
    for share in (0.25, 0.75):
        found = sample_size(deviation_a=1.0, effect=10.0, share=share)
        assert (found.fixed, found.sequential) == (400, 400)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"deviation_a": 0.0}, "the deviation is 0"),
        ({"deviation_a": -1.0}, "the deviation is -1"),
        ({"deviation_a": math.inf}, "the deviation is inf"),
        ({"deviation_b": 0.0}, "the deviation is 0"),
        ({"effect": 0.0}, "the effect is 0"),
        ({"effect": math.nan}, "the effect is nan"),
        ({"share": 0.0}, "the share of B is 0"),
        ({"share": 1.0}, "the share of B is 1"),
        ({"alpha": 0.0}, "the alpha is 0"),
        ({"alpha": 1.0}, "the alpha is 1"),
        ({"power": 0.0}, "the power is 0"),
        ({"power": 1.0}, "the power is 1"),
    ],
)
def test_a_plan_without_sense_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sample_size(**{"deviation_a": 1.0, "effect": 1.0, **wrong})
