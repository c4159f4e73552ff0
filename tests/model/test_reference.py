"""What a model keeps of its training rows: each column as it was, no row as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import make_table
from twinml import model
from twinml.model._reference import LEAST_ALIKE, groups_alike, shuffled, sound


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
    made = shuffled(rows)
    assert list(made.index) == list(range(len(rows)))
    pd.testing.assert_series_equal(made.dtypes, rows.dtypes)
    for name in rows.columns:
        values, kept = (frame[name].value_counts(dropna=False) for frame in (rows, made))
        pd.testing.assert_series_equal(values.sort_index(), kept.sort_index())


def test_no_row_is_as_it_was_and_none_is_where_it_was() -> None:
    rows = never_called()
    made = sound(rows, shuffled(rows))
    was = set(map(tuple, rows.to_numpy().tolist()))
    assert not [row for row in made.to_numpy().tolist() if tuple(row) in was]
    # Nor can it be turned back: each time it is another shuffle.
    assert not made.equals(shuffled(rows))


def test_what_goes_together_goes_together_still() -> None:
    rows = never_called()
    made = sound(rows, shuffled(rows))
    assert len(made) > 0.98 * len(rows)
    for frame in (rows, made):
        never = frame["previous"] == 0
        assert ((frame["pdays"] == -1) == never).all()
        assert ((frame["outcome"] == "unknown") == never).all()
    line = pd.DataFrame({"a": rows["balance"], "b": 2 * rows["balance"] + rows["age"]})
    alike = shuffled(line)
    assert alike["a"].corr(alike["b"]) > 0.98


@pytest.mark.parametrize(
    ("n", "x", "together", "kept"),
    [
        # Of 100 rows, a share of 0.2 and one of 0.5 would come together in ten: ten is enough.
        (100, 20, False, False),
        (100, 19, False, True),
        (100, 20, True, True),
        # A value that two in a hundred rows have is frequent.
        (1000, 20, False, False),
        (1000, 19, False, True),
    ],
)
def test_values_that_never_came_together_are_kept_apart(
    n: int, x: int, together: bool, kept: bool
) -> None:
    b = ["p"] * (n // 2) + ["q"] * (n - n // 2)
    rows = pd.DataFrame({"a": ["x"] * x + ["y"] * (n - x), "b": b, "c": np.arange(float(n))})
    if together:
        rows.loc[0, "b"] = "q"
    made = pd.DataFrame({"a": ["x", "y"], "b": ["q", "q"], "c": [-1.0, -2.0]})
    assert sound(rows, made)["a"].tolist() == (["x", "y"] if kept else ["y"])


@pytest.mark.parametrize(("whole", "kept"), [(1, 99), (2, 100)])
def test_rows_that_no_shuffle_changes_are_left_out_if_they_are_few(whole: int, kept: int) -> None:
    rows = pd.DataFrame({"a": np.arange(100.0), "b": np.arange(100.0)})
    made = rows + 1000.0
    made.iloc[:whole] = rows.iloc[50 : 50 + whole]
    assert len(sound(rows, made)) == kept


@pytest.mark.parametrize("n", [1, 2, LEAST_ALIKE - 1, 2 * LEAST_ALIKE - 1, 2 * LEAST_ALIKE, 1201])
def test_groups_hold_each_row_once_and_enough_of_them(n: int) -> None:
    groups = groups_alike(never_called(n))
    assert sorted(np.concatenate(groups).tolist()) == list(range(n))
    assert min(len(group) for group in groups) >= min(n, LEAST_ALIKE)
    assert max(len(group) for group in groups) < 2 * LEAST_ALIKE
    assert len(shuffled(never_called(n))) == n
    equal = groups_alike(pd.DataFrame({"a": [1] * n}))
    assert sorted(np.concatenate(equal).tolist()) == list(range(n))


def test_a_single_column_is_its_values() -> None:
    rows = pd.DataFrame({"x": np.arange(50.0)})
    assert sorted(shuffled(rows)["x"]) == rows["x"].tolist()


def test_a_saved_model_holds_no_training_row(described_model: Path) -> None:
    table = make_table(1500, seed=3).drop(columns="y")
    kept = model.load_reference(described_model)
    assert list(kept.columns) == list(table.columns)
    assert len(kept) > 1000
    was = set(map(tuple, table.fillna(-1).to_numpy().tolist()))
    now = list(map(tuple, kept.fillna(-1).to_numpy().tolist()))
    # Without an income, a row is an age and a job that many have.
    assert not [row for row in now if row in was and row[1] != -1]
    assert (described_model / "reference.parquet").stat().st_mode & 0o777 == 0o600
