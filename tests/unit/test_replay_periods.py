"""Periods cover all rows once, in order, and none is shorter than asked."""

import itertools

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinml.data import bundled, load
from twinml.errors import DataError, UsageError
from twinml.workflow.replay import Period, by_column, by_count


def sizes(periods: tuple[Period, ...]) -> list[int]:
    return [period.n_rows for period in periods]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_periods_by_column_cover_the_rows(runs: list[tuple[str, int]], least: int) -> None:
    values = [name for name, count in runs for _ in range(count)]
    frame = pd.DataFrame({"month": values})
    try:
        periods = by_column(frame, "month", min_rows=least)
    except DataError:
        # No place where the value changes leaves enough rows on both sides.
        changes = [n for n in range(1, len(values)) if values[n] != values[n - 1]]
        assert not any(least <= n <= len(values) - least for n in changes) or (
            _first_end(changes, least) > len(values) - least
        )
        return
    assert periods[0].start == 0
    assert periods[-1].stop == len(frame)
    assert all(a.stop == b.start for a, b in itertools.pairwise(periods))
    assert min(sizes(periods)) >= least
    assert [period.number for period in periods] == list(range(1, len(periods) + 1))
    assert len({period.label for period in periods}) == len(periods)
    # A period begins only where the value changes.
    assert all(values[p.start] != values[p.start - 1] for p in periods[1:])


@given(st.integers(0, 200), st.integers(-1, 120))
def test_periods_by_count(n_rows: int, rows: int) -> None:
    if rows < 1 or n_rows < 2 * rows:
        with pytest.raises(UsageError):
            by_count(n_rows, rows)
        return
    periods = by_count(n_rows, rows)
    assert sum(sizes(periods)) == n_rows
    assert set(sizes(periods)[:-1]) == {rows}
    assert rows <= sizes(periods)[-1] < 2 * rows


def _first_end(changes: list[int], least: int) -> int:
    """Return where the first period ends: at the first change with enough rows before it."""
    return next(n for n in changes if n >= least)


def test_the_months_of_the_bank(bank: pd.DataFrame) -> None:
    periods = by_column(bank, "month", min_rows=200)
    assert [p.label for p in periods[:5]] == ["may", "jun", "jul", "aug", "oct-nov"]
    assert sizes(periods)[0] == 7957
    assert len(periods) == 27
    assert "may 3" in [p.label for p in periods]


def test_a_column_that_is_not_there_is_named(bank: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column 'week'"):
        by_column(bank, "week", min_rows=10)


def test_one_value_is_no_period() -> None:
    with pytest.raises(DataError, match="makes 1 period"):
        by_column(pd.DataFrame({"month": ["may"] * 50}), "month", min_rows=10)


def test_nulls_in_a_row_are_one_period() -> None:
    frame = pd.DataFrame({"month": ["may"] * 3 + [None] * 3 + ["jun"] * 3})
    assert sizes(by_column(frame, "month", min_rows=3)) == [3, 3, 3]


@pytest.fixture(scope="module")
def bank() -> pd.DataFrame:
    return load(bundled(), "y").frame
