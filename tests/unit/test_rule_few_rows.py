"""How few rows are enough, and how they are judged where none are held out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinml.data.few_rows import FEWEST_ROWS, fewest_of_class, holds_out
from twinml.training._conformal import fit_intervals
from twinml.training._ensemble import Vote
from twinml.training._out_of_fold import (
    Division,
    coverage_of,
    drawn,
    median_of,
    pooled,
    sources,
)
from twinml.training.estimates import figure_of
from twinml.training.result import Evaluation
from twinml.training.splits import divide
from twinml.training.tasks import Classification


@pytest.mark.parametrize(
    ("rows", "forward", "held_out", "of_class"),
    [
        (FEWEST_ROWS, False, False, 5),
        (99, False, False, 5),
        (100, False, True, 7),
        (101, False, True, 7),
        (30, True, True, 5),
    ],
)
def test_few_rows_are_not_held_out(rows: int, forward: bool, held_out: bool, of_class: int) -> None:
    assert holds_out(rows, forward=forward) is held_out
    assert fewest_of_class(rows) == of_class


@pytest.mark.parametrize(
    ("rows", "split", "tested", "groups"),
    [
        (100, "random", 20, False),
        (99, "random", 99, False),
        (99, "group:shop", 99, True),
        (60, "ordered", 12, False),
        (60, "column:day", 12, False),
    ],
)
def test_rows_on_both_sides(rows: int, split: str, tested: int, groups: bool) -> None:
    features = pd.DataFrame({"shop": np.arange(rows) // 3, "day": np.arange(rows)})
    found = divide(features, np.arange(rows) % 2, split, 0.2, 0, lambda: None)
    assert len(found.test) == tested
    assert found.out_of_fold is (tested == rows)
    assert len(found.train) == (rows if found.out_of_fold else rows - tested)
    assert (found.kind, found.groups is not None) == (split, groups)
    if groups:
        np.testing.assert_array_equal(found.groups, features["shop"])


@pytest.mark.parametrize(
    ("losses", "place"),
    [([0.3], 0), ([0.3, 0.1, 0.2], 2), ([0.1, 0.2], 0), ([5, 1, 2, 3], 2), ([1, 1, 1], 1)],
)
def test_the_division_with_the_median_loss_stands_for_all(losses: list[float], place: int) -> None:
    assert median_of(losses) == place


class _Constant:
    """Says the same of every row, and the row's value of ``x``."""

    def __init__(self, said: float) -> None:
        self.said = said

    def predict(self, X: Any) -> Any:
        return self.said + np.asarray(X)[:, 0]

    def predict_proba(self, X: Any) -> Any:
        return np.tile([1 - self.said, self.said], (len(X), 1))

    def transform(self, X: Any) -> Any:
        return X


class _Number(_Constant):
    predict_proba = None  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        if name == "predict_proba":
            raise AttributeError(name)
        return super().__getattribute__(name)


FOLDS = [(np.array([1, 3]), np.array([0, 2])), (np.array([0, 2]), np.array([1, 3]))]
FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "z": [0.0] * 4})


def test_each_row_is_predicted_by_the_pipeline_of_the_fold_that_tests_it() -> None:
    predict = pooled(FOLDS, [_Number(10), _Number(20)], FRAME)
    places = sources(FRAME)
    assert predict(places).tolist() == [[11.0], [22.0], [13.0], [24.0]]
    permuted = places.copy()
    permuted[:, 0] = [3, 2, 1, 0]
    assert drawn(FRAME, permuted)["x"].tolist() == [4.0, 3.0, 2.0, 1.0]
    both = predict(np.concatenate([permuted, places]))
    assert both[:4].ravel().tolist() == [14.0, 23.0, 12.0, 21.0]
    assert both[4:].tolist() == predict(places).tolist()
    with pytest.raises(ValueError, match="shorter"):
        pooled(FOLDS, [_Number(10)], FRAME)(places)


def test_members_and_votes_have_not_seen_what_they_are_judged_by() -> None:
    def fitted(a: float, b: float) -> Any:
        members = {"a": _Constant(a), "b": _Constant(b)}
        return SimpleNamespace(encoder=_Constant(0), members=members)

    task, y = Classification(classes=("no", "yes")), np.array([0, 1, 0, 1])
    division = Division(FOLDS, [fitted(0.1, 0.8), fitted(0.7, 0.2)])
    alone = division.predictions(task, Vote({"a": 1.0}), FRAME, y, np.ones(4))
    assert alone[:, 1].tolist() == [0.1, 0.7, 0.1, 0.7]
    joined = division.predictions(task, Vote({"a": 0.5, "b": 0.5}), FRAME, y, np.ones(4))
    # Weights come of the other fold: "a" alone is right in both of them.
    np.testing.assert_allclose(joined, alone)


def test_intervals_cover_rows_that_they_were_not_made_of() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    folds = [(np.delete(np.arange(60), part), part) for part in np.split(np.arange(60), 5)]
    # Of 48 rows no level above 48 of 49 is known.
    levels = [0.5, 0.9, 48 / 49, 0.99]
    found = coverage_of(folds, truth, np.zeros(60), levels)
    assert [one.level for one in found] == levels[:3]
    for one in found:
        expected, width = [], []
        for train, test in folds:
            intervals = fit_intervals(truth[train], np.zeros(48))
            assert intervals is not None
            bounds = intervals.bounds(np.zeros(12), one.level)
            expected += list((bounds[:, 0] <= truth[test]) & (truth[test] <= bounds[:, 1]))
            width += list(bounds[:, 1] - bounds[:, 0])
        assert one.share == pytest.approx(np.mean(expected))
        assert one.width == pytest.approx(np.mean(width))
    # Fewer than ten rows make no intervals.
    few = [(np.arange(9), np.arange(9, 12)), (np.arange(3, 12), np.arange(3))]
    assert coverage_of(few, truth[:12], np.zeros(12), [0.5]) == ()


@pytest.mark.parametrize(
    ("split", "out_of_fold", "how", "prefix"),
    [
        ("random", False, "random", "test"),
        ("random", True, "out of fold", "out_of_fold"),
        ("group:shop", True, "out of fold, group:shop", "out_of_fold"),
        ("group:shop", False, "group:shop", "test"),
    ],
)
def test_an_estimate_says_what_it_is_of(
    split: str, out_of_fold: bool, how: str, prefix: str
) -> None:
    empty = np.zeros(0)
    found = Evaluation(split, 0, 0, {}, {}, empty, empty, empty, empty, out_of_fold=out_of_fold)  # type: ignore[arg-type]
    assert (found.how, found.prefix) == (how, prefix)


def test_what_a_run_logged_is_found_by_either_name() -> None:
    assert figure_of({"test_f1": 0.1, "forward_f1": 0.2}, "f1") == ("test", 0.1)
    assert figure_of({"out_of_fold_f1": 0.1}, "f1") == ("out_of_fold", 0.1)
    assert figure_of({"forward_f1": 0.2}, "f1") is None
