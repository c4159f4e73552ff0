"""Options say what was wrong with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from twinml.errors import DataError, UsageError
from twinml.training import TrainingOptions, parse_seconds
from twinml.training._flaml_without_spark import tune
from twinml.training.learners import LEARNERS, select
from twinml.training.splits import folds_of, ordered_split, random_split, time_column


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ({"budget": 0}, "0"),
        ({"trials": 0}, "0"),
        ({"metric": "rmse"}, "rmse"),
        ({"split": "sideways"}, "sideways"),
        ({"split": "column:"}, "column:"),
        ({"test_size": 0.9}, "0.9"),
        ({"folds": 1}, "1"),
        ({"class_weight": "heavy"}, "heavy"),
        ({"threshold": 1.5}, "1.5"),
        ({"threshold": "auc"}, "auc"),
        ({"jobs": 0}, "0"),
        ({"refit": "some"}, "some"),
        ({"seed": -1}, "-1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(setting: dict, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainingOptions(**setting)
    assert found in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "fast", "-3s", "5 weeks", "1e3"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a time was expected"):
        parse_seconds(text)


def test_learners_keep_their_order_and_unknown_ones_are_named() -> None:
    chosen = select(("xgboost", "LightGBM"))
    assert [learner.name for learner in chosen] == ["LightGBM", "XGBoost"]
    with pytest.raises(UsageError, match="SVM"):
        select(("SVM",))


def test_every_search_starts_inside_its_space() -> None:
    for learner in LEARNERS:
        # Rounds are measured, not searched.
        counted = {learner.rounds.name} if learner.rounds else set()
        assert set(learner.start) - counted == set(learner.space(tune)), learner.name
        assert counted <= set(learner.start)
        assert learner.work(learner.start) > 0


def test_a_random_split_keeps_the_shares_and_misses_no_row() -> None:
    labels = np.array([0] * 900 + [1] * 100)
    split = random_split(labels, 0.2, seed=1)
    assert sorted([*split.train, *split.test]) == list(range(1000))
    assert labels[split.test].sum() == 20


def test_an_ordered_split_holds_out_the_last_rows() -> None:
    labels = np.tile([0, 1], 50)
    split = ordered_split(labels, 0.2)
    assert split.test.tolist() == list(range(80, 100))
    backwards = ordered_split(labels, 0.2, np.arange(100)[::-1])
    assert backwards.test.tolist() == list(range(19, -1, -1))


def test_rows_sorted_by_the_target_cannot_be_split_in_order() -> None:
    with pytest.raises(DataError, match="sorted by the target"):
        ordered_split(np.repeat([0, 1], 50), 0.2)


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["2024-10-01", "2024-09-01", "2023-12-31"], [2, 1, 0]),
        (["01/02/2024", "13/01/2024", "02/02/2024", "25/12/2023"], [3, 1, 0, 2]),
        (["2024-01-01T00:00:00Z", "2023-12-31T23:00:00"], [1, 0]),
        (["31.12.2023 09:30", "01.01.2024 00:00", "31.12.2023 09:29"], [2, 0, 1]),
    ],
)
def test_a_time_column_is_ordered_as_dates_not_as_text(dates: list[str], order: list[int]) -> None:
    assert time_column(pd.DataFrame({"when": dates}), "when")[0].tolist() == order


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["jan", "feb", "mar"], "no date, for example 'jan'"),
        (["01/02/2024", "03/01/2024"], "read in 2 ways"),
        (["2024-01-01", None], "1 null"),
    ],
)
def test_text_that_is_no_clear_date_is_refused(values: list[str | None], says: str) -> None:
    with pytest.raises(DataError, match=says):
        time_column(pd.DataFrame({"when": values}), "when")


def test_an_unknown_time_column_is_named() -> None:
    with pytest.raises(DataError, match="no column 'day'"):
        time_column(pd.DataFrame({"when": [1, 2]}), "day")


def test_rows_of_the_same_time_stay_on_one_side() -> None:
    labels = np.tile([0, 1], 50)
    days = np.repeat(np.arange(10), 10)
    split = ordered_split(labels, 0.25, np.arange(100), "column:day", days)
    assert split.test.tolist() == list(range(70, 100))
    with pytest.raises(DataError, match="one value only"):
        ordered_split(labels, 0.25, np.arange(100), "column:day", np.zeros(100))


def test_folds_are_as_many_as_the_rarest_class_allows() -> None:
    assert len(folds_of(np.array([0] * 50 + [1] * 3), 5, 0)) == 3
    with pytest.raises(DataError, match="rarest class has 1"):
        folds_of(np.array([0] * 50 + [1]), 5, 0)


def copied() -> tuple[np.ndarray, np.ndarray]:
    """Return labels and groups of 80 cases, of which number k is stored k % 4 + 1 times."""
    times = np.arange(80) % 4 + 1
    labels, groups = np.repeat(np.arange(80) % 3 % 2, times), np.repeat(np.arange(80), times)
    order = np.random.default_rng(0).permutation(len(groups))
    return labels[order], groups[order]


def test_copies_stay_on_one_side_of_the_split_and_in_one_fold() -> None:
    labels, groups = copied()
    split = random_split(labels, 0.25, 1, groups)
    assert sorted([*split.train, *split.test]) == list(range(len(labels)))
    assert not set(groups[split.train]) & set(groups[split.test])
    assert len(set(groups[split.test])) == 20
    assert split.test.tolist() == sorted(split.test)
    folds = folds_of(labels, 5, 0, groups)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(labels)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[test]) == {0, 1}


def test_groups_of_one_row_change_nothing() -> None:
    labels = np.array([0, 1, 1] * 20)
    alone = np.arange(60)
    assert random_split(labels, 0.2, 3, alone).test.tolist() == (
        random_split(labels, 0.2, 3).test.tolist()
    )
    plain, grouped = folds_of(labels, 4, 3), folds_of(labels, 4, 3, alone)
    assert all(
        one[1].tolist() == other[1].tolist() for one, other in zip(plain, grouped, strict=True)
    )
