"""What a model keeps of its training rows: each column as it was, no row as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_table
from twinml import model
from twinml.model._reference import LEAST_ALIKE, groups_alike, shuffled_within


def never_called(n: int = 1200) -> pd.DataFrame:
    """Return rows in which who was never called has no days since and no outcome."""
    rng = np.random.default_rng(0)
    previous = np.where(rng.random(n) < 0.8, 0, rng.integers(1, 9, n))
    called = previous > 0
    return pd.DataFrame(
        {
            "age": rng.integers(18, 95, n),
            "balance": rng.normal(1500, 3000, n).round(2),
            "job": rng.choice(["clerk", "cook", "none"], n),
            "previous": previous,
            "pdays": np.where(called, rng.integers(1, 400, n), -1),
            "outcome": np.where(called, rng.choice(["won", "lost"], n), "unknown"),
        }
    )


def awkward(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    nulls = rng.random(n) < 0.3
    return pd.DataFrame(
        {
            "all null": np.full(n, np.nan),
            "constant": 7,
            "flag": np.where(nulls, np.nan, rng.random(n) < 0.5),
            "bool": rng.random(n) < 0.5,
            "text": [None if null else f"person {i}" for i, null in enumerate(nulls)],
            "huge": np.where(nulls, np.inf, 1e300),
            "whole": rng.integers(-(2**62), 2**62, n),
        }
    )


@pytest.mark.parametrize("rows", [never_called(), awkward()], ids=["never called", "awkward"])
def test_each_column_keeps_its_values_and_type(rows: pd.DataFrame) -> None:
    made = shuffled_within(rows, groups_alike(rows))
    assert list(made.index) == list(range(len(rows)))
    pd.testing.assert_series_equal(made.dtypes, rows.dtypes)
    for name in rows.columns:
        values, kept = (frame[name].value_counts(dropna=False) for frame in (rows, made))
        pd.testing.assert_series_equal(values.sort_index(), kept.sort_index())


def test_no_row_is_as_it_was_and_none_is_where_it_was() -> None:
    rows = never_called()
    made = shuffled_within(rows, groups_alike(rows))
    was = set(map(tuple, rows.to_numpy().tolist()))
    assert not [row for row in made.to_numpy().tolist() if tuple(row) in was]
    # Nor can it be turned back: each time it is another shuffle.
    assert not made.equals(shuffled_within(rows, groups_alike(rows)))


def test_what_goes_together_goes_together_still() -> None:
    rows = never_called()
    made = shuffled_within(rows, groups_alike(rows))
    for frame in (rows, made):
        never = frame["previous"] == 0
        assert ((frame["pdays"] == -1) == never).all()
        assert ((frame["outcome"] == "unknown") == never).all()
    line = pd.DataFrame({"a": rows["balance"], "b": 2 * rows["balance"] + rows["age"]})
    alike = shuffled_within(line, groups_alike(line))
    assert alike["a"].corr(alike["b"]) > 0.98


@pytest.mark.parametrize("n", [1, 2, LEAST_ALIKE - 1, 2 * LEAST_ALIKE - 1, 2 * LEAST_ALIKE, 1201])
def test_groups_hold_each_row_once_and_enough_of_them(n: int) -> None:
    groups = groups_alike(never_called(n))
    assert sorted(np.concatenate(groups).tolist()) == list(range(n))
    assert min(len(group) for group in groups) >= min(n, LEAST_ALIKE)
    assert max(len(group) for group in groups) < 2 * LEAST_ALIKE
    equal = groups_alike(pd.DataFrame({"a": [1] * n}))
    assert sorted(np.concatenate(equal).tolist()) == list(range(n))


def test_a_saved_model_holds_no_training_row(described_model: Path) -> None:
    table = make_table(1500, seed=3).drop(columns="y")
    kept = model.load_reference(described_model)
    assert list(kept.columns) == list(table.columns)
    assert len(kept) > 1000
    was = set(map(tuple, table.fillna(-1).to_numpy().tolist()))
    now = list(map(tuple, kept.fillna(-1).to_numpy().tolist()))
    assert sum(row in was for row in now) <= len(now) // 100  # by chance, where income is null
    assert (described_model / "reference.parquet").stat().st_mode & 0o777 == 0o600
