"""Tests that may be looked at any time: always-valid intervals, p-values and sample sizes.

A fixed-sample test that is looked at again and again rejects a true null far more often than it
says. The intervals here hold at every look at once: under equal arms the chance that *any* of
them ever leaves out zero is at most ``alpha``, however often and for whatever reason one looks.

The interval is that of the normal-mixture sequential probability ratio test (Robbins, "Statistical
methods related to the law of the iterated logarithm", Ann. Math. Stat. 1970; for A/B tests Johari,
Koomen, Pekelis, Walsh, "Always Valid Inference", Operations Research 2022), with estimated
variances as an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Ann. Stat. 2024). With
n observations, tuned for N of them::

    r = c n / N        difference ± standard error × sqrt(2 (1 + 1/r) (log(1/alpha) + log(1+r)/2))

``c`` makes the interval narrowest at N. The theory is asymptotic; ``BURN_IN`` observations an arm
come before the first look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.errors import UsageError

__all__ = [
    "BURN_IN",
    "SampleSize",
    "Track",
    "critical",
    "paired",
    "ratio_p_value",
    "sample_size",
    "unpaired",
]

Floats = NDArray[np.float64]

BURN_IN = 100
# Weight of the expected shares in the ratio test, in observations: small mismatches of large
# samples are found, and large ones within a few hundred.
RATIO_PRIOR = 100.0
SIMULATED = 2_000
LOOKS = 200


@cache
def tuning(alpha: float) -> float:
    """Return the constant c that makes the interval narrowest where it is tuned for."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda c: (1 + 1 / c) * (math.log(1 / alpha) + math.log1p(c) / 2),
        bounds=(0.1, 1_000),
        method="bounded",
    )
    return float(found.x)


def critical(n: NDArray[Any], *, tuned_for: float, alpha: float) -> Floats:
    """Return how many standard errors the interval reaches at ``n`` observations.

    Parameters
    ----------
    n
        Observations of both arms together, any shape.
    tuned_for
        Number of observations where the interval is to be narrowest, chosen beforehand.
    alpha
        Chance that the intervals ever leave out the truth.

    Examples
    --------
    >>> critical(np.array([100, 2000, 50_000]), tuned_for=2000, alpha=0.05).round(2).tolist()
    [4.67, 3.04, 3.37]
    """
    r = tuning(alpha) * n / tuned_for
    return np.sqrt(2 * (1 + 1 / r) * (math.log(1 / alpha) + np.log1p(r) / 2))


@dataclass(frozen=True)
class Track:
    """A difference as it developed, one entry an observation; all arrays have shape (n,).

    Attributes
    ----------
    n
        Observations so far.
    a, b
        Means so far; NaN before the first of an arm.
    difference, standard_error
        ``b - a`` and its standard error; NaN before ``BURN_IN`` observations an arm.
    low, high
        The confidence sequence.
    p_value
        Always-valid: the smallest so far; one may stop at any of them.
    """

    n: NDArray[np.int64]
    a: Floats
    b: Floats
    difference: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    p_value: Floats


def unpaired(arm: NDArray[np.int64], values: Floats, *, tuned_for: float, alpha: float) -> Track:
    """Follow the difference of two arms' means.

    Parameters
    ----------
    arm
        0 for A and 1 for B, in the order in which they came, shape (n,) or (runs, n).
    values
        Of the metric, same shape.
    tuned_for, alpha
        As for ``critical``.
    """
    counts, means, spreads = [], [], []
    with np.errstate(invalid="ignore"):
        for which in (0, 1):
            chosen = arm == which
            count = np.cumsum(chosen, axis=-1)
            mean = np.cumsum(np.where(chosen, values, 0.0), axis=-1) / count
            square = np.cumsum(np.where(chosen, values**2, 0.0), axis=-1) / count
            counts.append(count)
            means.append(mean)
            spreads.append(np.maximum(square - mean**2, 0.0) * count)
        early = (counts[0] < BURN_IN) | (counts[1] < BURN_IN)
        # A small arm without a single error would pass for an arm that makes none: each arm's
        # variance leans on that of both.
        both = (spreads[0] + spreads[1]) / (counts[0] + counts[1] - 2)
        variances = [
            (spreads[which] + BURN_IN * both) / (counts[which] - 1 + BURN_IN) for which in (0, 1)
        ]
        error = np.sqrt(variances[0] / counts[0] + variances[1] / counts[1])
    return _track(counts[0] + counts[1], means[0], means[1], error, early, tuned_for, alpha)


def paired(a: Floats, b: Floats, *, tuned_for: float, alpha: float) -> Track:
    """Follow the mean difference of values of A and B for the same requests, shape (n,)."""
    n = np.broadcast_to(np.arange(1, a.shape[-1] + 1), a.shape)
    differences = b - a
    with np.errstate(invalid="ignore"):
        mean = np.cumsum(differences, axis=-1) / n
        square = np.cumsum(differences**2, axis=-1) / n
        error = np.sqrt(np.maximum(square - mean**2, 0.0) / (n - 1))
    means = [np.cumsum(each, axis=-1) / n for each in (a, b)]
    return _track(n, means[0], means[1], error, n < BURN_IN, tuned_for, alpha)


def _track(
    n: NDArray[np.int64],
    a: Floats,
    b: Floats,
    error: Floats,
    early: NDArray[np.bool_],
    tuned_for: float,
    alpha: float,
) -> Track:
    # No spread at all is no knowledge of the spread.
    early = early | ~(error > 0)
    error = np.where(early, np.nan, error)
    difference = np.where(early, np.nan, b - a)
    half = critical(n, tuned_for=tuned_for, alpha=alpha) * error
    r = tuning(alpha) * n / tuned_for
    evidence = 0.5 * (difference / error) ** 2 * r / (1 + r) - 0.5 * np.log1p(r)
    log_p = -np.where(early, 0.0, evidence)
    p_value = np.exp(np.minimum.accumulate(np.minimum(log_p, 0.0), axis=-1))
    return Track(
        np.asarray(n), a, b, difference, error, difference - half, difference + half, p_value
    )


def ratio_p_value(arm: NDArray[np.int64], share: float) -> Floats:
    """Return the always-valid p-value of "B gets this share of the requests", so far, shape (n,).

    Sequential multinomial test with a beta mixture (Lindon and Malek, "Anytime-Valid Inference for
    Multinomial Count Data", NeurIPS 2022). A small one is a sample ratio mismatch: requests of one
    arm are lost or sent elsewhere, and the arms cannot be compared (Fabijan et al., KDD 2019).

    Parameters
    ----------
    arm
        0 for A and 1 for B, in order, shape (n,).
    share
        Expected of B, between 0 and 1.

    Examples
    --------
    >>> balanced, lopsided = np.tile([0, 1], 500), np.tile([0, 0, 1], 300)
    >>> round(float(ratio_p_value(balanced, 0.5)[-1]), 9)
    1.0
    >>> bool(ratio_p_value(lopsided, 0.5)[-1] < 1e-6)
    True
    """
    from scipy.special import gammaln

    n = np.arange(1, arm.shape[-1] + 1)
    in_b = np.cumsum(arm)
    in_a = n - in_b
    prior_a, prior_b = RATIO_PRIOR * (1 - share), RATIO_PRIOR * share
    log_evidence = (
        gammaln(RATIO_PRIOR)
        - gammaln(RATIO_PRIOR + n)
        + gammaln(prior_a + in_a)
        - gammaln(prior_a)
        + gammaln(prior_b + in_b)
        - gammaln(prior_b)
        - in_a * math.log(1 - share)
        - in_b * math.log(share)
    )
    smallest: Floats = np.exp(np.minimum.accumulate(np.minimum(-log_evidence, 0.0)))
    return smallest


@dataclass(frozen=True)
class SampleSize:
    """How many requests with labels an online test needs.

    Attributes
    ----------
    effect
        The smallest difference that matters.
    share
        Of the requests that go to B.
    alpha, power
        Chance of a wrong alarm, and of finding the effect if it is there.
    fixed
        Requests of both arms for a test that is looked at once, at the end.
    sequential
        At most so many for one that may be looked at any time.
    expected
        How many that one takes on average until it is decided, if the effect is there: mean of
        2,000 simulated runs, each ended at ``sequential``.
    """

    effect: float
    share: float
    alpha: float
    power: float
    fixed: int
    sequential: int
    expected: int


def sample_size(
    *,
    deviation_a: float,
    deviation_b: float | None = None,
    effect: float,
    share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
    seed: int = 0,
) -> SampleSize:
    """Return the sample sizes that show a difference of two means.

    Parameters
    ----------
    deviation_a, deviation_b
        Standard deviation of the metric over requests; B's is A's by default. For accuracy p it
        is ``sqrt(p (1 - p))``.
    effect
        The smallest difference that matters, in the metric's unit.
    share
        Of the requests that go to B.
    alpha, power
        As in ``SampleSize``.
    seed
        Of the simulation.

    Raises
    ------
    UsageError
        A value is out of range.

    Examples
    --------
    >>> found = sample_size(deviation_a=0.3, effect=0.02)
    >>> found.fixed, found.sequential
    (7064, 13527)
    """
    other = deviation_a if deviation_b is None else deviation_b
    for name, value in (("deviation", deviation_a), ("deviation", other), ("effect", abs(effect))):
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"the {name} is {value:g}", hint="It must be above 0.")
    for name, value in (("share of B", share), ("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise UsageError(f"the {name} is {value:g}", hint="It must be between 0 and 1.")
    unit = deviation_a**2 / (1 - share) + other**2 / share  # variance of the difference, times n
    normal = NormalDist()
    reach = normal.inv_cdf(power)
    fixed = math.ceil(unit * ((normal.inv_cdf(1 - alpha / 2) + reach) / effect) ** 2)
    bound = float(critical(np.array(1.0), tuned_for=1.0, alpha=alpha))
    sequential = math.ceil(unit * ((bound + reach) / effect) ** 2)
    least = math.ceil(BURN_IN / min(share, 1 - share))
    fixed, sequential = max(fixed, least), max(sequential, least)
    return SampleSize(
        abs(effect),
        share,
        alpha,
        power,
        fixed,
        sequential,
        _mean_stop(abs(effect), unit, sequential, alpha, seed),
    )


def _mean_stop(effect: float, unit: float, most: int, alpha: float, seed: int) -> int:
    """Return after how many requests the test is decided on average, by simulation."""
    rng = np.random.default_rng(seed)
    looks = np.linspace(most / LOOKS, most, LOOKS)
    steps = rng.normal(effect * most / LOOKS, math.sqrt(unit * most / LOOKS), (SIMULATED, LOOKS))
    seen = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(unit * looks)  # the z-value at each look
    crossed = seen > critical(looks, tuned_for=most, alpha=alpha)
    first = np.where(crossed.any(axis=1), looks[crossed.argmax(axis=1)], most)
    return math.ceil(float(first.mean()))
