"""When a feature has drifted: each part of the rule at its boundary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from twinml import drift
from twinml.drift._compare import _chi_squared, either, is_drift, level_of, psi
from twinml.errors import UsageError

BELOW_ALPHA = math.nextafter(0.05, 0)
BELOW_PSI = math.nextafter(0.1, 0)


@pytest.mark.parametrize(
    ("p", "index", "enough", "drifted"),
    [
        (BELOW_ALPHA, 0.1, True, True),
        (0.0, 5.0, True, True),
        # All of the three must say so.
        (0.05, 0.1, True, False),
        (BELOW_ALPHA, BELOW_PSI, True, False),
        (BELOW_ALPHA, 0.1, False, False),
        (0.05, BELOW_PSI, True, False),
        (1.0, 5.0, True, False),
        (0.0, 0.0, True, False),
        (0.05, BELOW_PSI, False, False),
        (math.nan, 5.0, True, False),
    ],
)
def test_a_feature_drifts_if_chance_and_distance_and_number_say_so(
    p: float, index: float, enough: bool, drifted: bool
) -> None:
    assert is_drift(p, index, alpha=0.05, min_psi=0.1, enough=enough) is drifted


@pytest.mark.parametrize(
    ("index", "level"),
    [
        (0.0, "stable"),
        (BELOW_PSI, "stable"),
        (0.1, "moderate"),
        (math.nextafter(0.25, 0), "moderate"),
        (0.25, "major"),
        (3.0, "major"),
    ],
)
def test_a_distance_has_its_usual_name(index: float, level: str) -> None:
    assert level_of(index) == level


@pytest.mark.parametrize(
    ("p_value", "null_p", "both"),
    [(0.01, 0.5, 0.02), (0.5, 0.01, 0.02), (0.5, 0.9, 1.0), (0.6, 0.9, 1.0), (0.0, 1.0, 0.0)],
)
def test_the_smaller_of_two_p_values_is_doubled(p_value: float, null_p: float, both: float) -> None:
    assert either(p_value, null_p) == both


def test_a_psi_is_that_of_shares_with_half_a_row_more_each() -> None:
    before, after = np.array([30.0, 70.0, 0.0]), np.array([5.0, 10.0, 5.0])
    old = [(count + 0.5) / 101.5 for count in before]
    new = [(count + 0.5) / 21.5 for count in after]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(old, new, strict=True))
    assert psi(before, after) == pytest.approx(expected, rel=1e-12)
    assert psi(before, before) == 0.0


@pytest.mark.parametrize(
    ("table", "tested"),
    [
        # Expected in the smaller sample: exactly 5 stands alone, fewer go together.
        ([[90, 10], [45, 5]], [[90, 10], [45, 5]]),
        ([[60, 30, 10, 10], [60, 30, 0, 0]], [[60, 30, 10, 10], [60, 30, 0, 0]]),
        ([[80, 8, 12], [40, 7, 3]], [[80, 8, 12], [40, 7, 3]]),
        ([[60, 40, 1], [50, 49, 0]], [[60, 40, 1], [50, 49, 0]]),
        ([[100, 3, 3], [100, 4, 2]], [[100, 6], [100, 6]]),
        ([[60, 40, 4], [45, 50, 5]], [[60, 40, 4], [45, 50, 5]]),
        ([[600, 400, 4], [45, 50, 5]], [[600, 400, 4], [45, 50, 5]]),
    ],
)
def test_values_too_rare_for_the_test_go_together(table: Any, tested: Any) -> None:
    counts = np.array(table, dtype=np.float64)
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    rare = expected < 5
    together = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    known = stats.chi2_contingency(together[:, together.sum(axis=0) > 0], correction=False)
    assert _chi_squared(counts) == pytest.approx((known.statistic, known.pvalue))
    again = stats.chi2_contingency(np.array(tested), correction=False)
    if len(tested[0]) == together[:, together.sum(axis=0) > 0].shape[1]:
        assert known.statistic == pytest.approx(again.statistic)


@pytest.mark.parametrize(
    "table",
    [[[0, 0], [5, 7]], [[5, 7], [0, 0]], [[40], [60]], [[40, 0], [60, 0]], [[3, 1], [1, 3]]],
)
def test_a_table_that_shows_nothing_has_a_p_value_of_one(table: list[list[float]]) -> None:
    assert _chi_squared(np.array(table, dtype=np.float64)) == (0.0, 1.0)


def before_and_after(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return 200 reference rows of two words, and n rows with the other word."""
    return pd.DataFrame({"job": ["a", "b"] * 100}), pd.DataFrame({"job": ["b"] * n})


@pytest.mark.parametrize(("n", "enough"), [(49, False), (50, True), (51, True)])
def test_fewer_than_fifty_rows_never_drift(n: int, enough: bool) -> None:
    report = drift.compare(*before_and_after(n))
    assert report.enough is enough
    assert report.drifted == (("job",) if enough else ())
    assert report["job"].p_value < 1e-6


def test_nulls_count_as_a_test_of_their_own() -> None:
    before = pd.DataFrame({"job": ["a", "b"] * 100})
    after = pd.DataFrame({"job": ["a", "b"] * 40 + [None] * 20})
    found = drift.compare(before, after)["job"]
    of_nulls = stats.chi2_contingency([[0, 200], [20, 80]], correction=False)
    assert found.p_value == pytest.approx(2 * of_nulls.pvalue)
    assert (found.null_reference, found.null_current) == (0.0, 0.2)
    assert found.labels == ("a", "b", "(null)")
    assert found.reference == (0.5, 0.5, 0.0)
    assert found.current == (0.4, 0.4, 0.2)
    # Where there are none on either side nothing is doubled.
    moved = drift.compare(before, pd.DataFrame({"job": ["a"] * 60 + ["b"] * 40}))["job"]
    known = stats.chi2_contingency([[100, 100], [60, 40]], correction=False)
    assert moved.p_value == pytest.approx(known.pvalue)


@pytest.mark.parametrize(("alpha", "min_psi"), [(0.0, 0.1), (1.0, 0.1), (0.05, -0.1)])
def test_a_rule_without_sense_is_refused(alpha: float, min_psi: float) -> None:
    with pytest.raises(UsageError):
        drift.compare(*before_and_after(60), alpha=alpha, min_psi=min_psi)


def test_a_rule_at_its_limits_is_taken() -> None:
    pair = before_and_after(60)
    assert drift.compare(*pair, alpha=1e-300).drifted == ()
    assert drift.compare(*pair, alpha=0.999, min_psi=0.0).drifted == ("job",)
    assert drift.compare(*pair, min_psi=1e6).drifted == ()
