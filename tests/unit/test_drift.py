"""Drift: what is found, what is not, and how often chance is taken for drift."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from twinml import drift
from twinml.errors import DataError, UsageError


def customers(n: int, seed: int, **change: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40 + change.get("older", 0), 10, n).round(),
            "balance": rng.lognormal(7, 1, n),
            "job": rng.choice(["clerk", "nurse", "smith"], n, p=[0.5, 0.3, 0.2]),
            "calls": rng.integers(1, 6, n),
            "member": rng.random(n) < 0.4,
        }
    )
    frame.loc[rng.random(n) < change.get("null", 0.02), "balance"] = np.nan
    return frame


def test_rows_of_the_same_kind_do_not_drift():
    report = drift.compare(customers(2000, 0), customers(800, 1))
    assert report.drifted == ()
    assert report.verdict() == "no drift in 5 features over 800 rows"


def test_what_changed_is_named_and_comes_first():
    now = customers(800, 1, older=8)
    now["job"] = "pilot"
    report = drift.compare(customers(2000, 0), now)
    assert report.drifted == ("job", "age")
    assert [one.feature for one in report.features][:2] == ["job", "age"]
    assert report["job"].outside == 1.0
    assert report["job"].level == "major"
    assert report["age"].test == "KS"
    assert report["calls"].test == "chi2"


def test_the_figures_are_those_of_scipy_and_of_the_definition():
    before, after = customers(1500, 0, null=0), customers(700, 1, older=2, null=0)
    report = drift.compare(before, after)
    known = stats.ks_2samp(before["balance"], after["balance"], method="asymp")
    assert report["balance"].statistic == pytest.approx(known.statistic)
    assert report["balance"].p_value == pytest.approx(known.pvalue)
    table = np.array([part["job"].value_counts().sort_index() for part in (before, after)])
    known = stats.chi2_contingency(table, correction=False)
    assert report["job"].p_value == pytest.approx(known.pvalue)
    one = report["age"]
    shares = np.array([one.reference, one.current])
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    plain = np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0]))
    assert one.psi == pytest.approx(plain, rel=0.05)
    p_values = [each.p_value for each in report.features]
    adjusted = [each.p_adjusted for each in report.features]
    assert adjusted == pytest.approx(list(stats.false_discovery_control(p_values)))


def test_nulls_that_become_common_are_drift():
    report = drift.compare(customers(2000, 0), customers(800, 1, null=0.4))
    assert report.drifted == ("balance",)
    assert report["balance"].labels[-1] == "(null)"
    assert report["balance"].null_current == pytest.approx(0.4, abs=0.06)


def test_a_column_that_is_all_null_is_drift():
    now = customers(300, 1)
    now["balance"] = np.nan
    report = drift.compare(customers(2000, 0), now)
    assert report.drifted == ("balance",)


def test_a_sure_but_tiny_shift_is_not_called_drift():
    report = drift.compare(customers(100_000, 0), customers(100_000, 1, older=0.6))
    assert report["age"].p_adjusted < 1e-6
    assert report["age"].psi < 0.1
    assert not report["age"].drifted
    assert drift.compare(
        customers(100_000, 0), customers(100_000, 1, older=0.6), min_psi=0
    ).drifted == ("age",)


def test_false_alarms_stay_below_what_is_promised():
    rng = np.random.default_rng(5)
    before = pd.DataFrame(rng.normal(size=(3000, 20)), columns=[f"x{i}" for i in range(20)])
    alarms = 0
    for _ in range(60):
        now = pd.DataFrame(rng.normal(size=(200, 20)), columns=before.columns)
        alarms += bool(drift.compare(before, now, alpha=0.1, min_psi=0).drifted)
    # Under no drift at all the false discovery rate is the chance of any alarm: 10 % of 60.
    assert alarms <= stats.binom.ppf(0.999, 60, 0.1)


def test_few_rows_tell_nothing():
    report = drift.compare(customers(500, 0), customers(20, 1, older=30))
    assert report.drifted == ()
    assert report.verdict().startswith("not enough rows: 20 of the 50")
    assert drift.compare(customers(500, 0), customers(0, 1)).features == ()


def test_missing_and_unknown_columns_are_named():
    now = customers(100, 1).drop(columns="job").assign(campaign="x")
    report = drift.compare(customers(500, 0), now)
    assert report.missing == ("job",)
    assert report.unknown == ("campaign",)
    assert "job did not come at all" in report.verdict()


def test_the_same_number_is_the_same_category_as_int_and_float():
    before = pd.DataFrame({"calls": [1, 2, 3] * 100})
    report = drift.compare(before, before.astype(float))
    assert report["calls"].psi == 0
    assert report["calls"].outside == 0


def test_many_categories_are_cut_off():
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"town": rng.integers(0, 400, 5000).astype(str)})
    report = drift.compare(before, before.sample(900, random_state=1))
    assert len(report["town"].labels) == 51
    assert not report.drifted


def test_windows_show_when_it_began():
    start = datetime(2026, 11, 1, tzinfo=UTC)
    now = pd.concat([customers(360, 1), customers(240, 2, older=20)], ignore_index=True)
    times = [start + timedelta(minutes=place) for place in range(600)]
    found = drift.windows(customers(2000, 0), now, times, length=timedelta(hours=6))
    assert [window.start for window in found] == [start, start + timedelta(hours=6)]
    assert [window.report.drifted for window in found] == [(), ("age",)]
    json.dumps([window.to_dict() for window in found])


def test_misuse_is_refused():
    rows = customers(100, 0)
    with pytest.raises(UsageError, match="alpha"):
        drift.compare(rows, rows, alpha=2)
    with pytest.raises(UsageError, match="no column 'wages'"):
        drift.compare(rows, rows, features=["wages"])
    with pytest.raises(DataError, match="no rows"):
        drift.compare(rows.head(0), rows)
    with pytest.raises(DataError, match="'age' holds numbers"):
        drift.compare(rows, rows.assign(age="old"))
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(300)]
    with pytest.raises(UsageError, match="windows"):
        drift.windows(rows, customers(300, 0), moments, length=timedelta(hours=1))


def test_the_report_prints_and_serialises():
    report = drift.compare(customers(500, 0), customers(200, 1, older=12))
    assert "DRIFT" in report.text()
    assert json.loads(json.dumps(report.to_dict()))["drifted"] == ["age"]
