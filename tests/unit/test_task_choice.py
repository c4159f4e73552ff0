"""Class or number: what a target's values say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinml.data import load
from twinml.data._task import check_numbers, choose_task, is_number, maybe_numbers
from twinml.errors import DataError


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 50, "classification"),
        ([f"c{n}" for n in range(100)], "classification"),
        ([True, False] * 50, "classification"),
        ([0, 1] * 50, "classification"),
        (list(range(20)) * 5, "classification"),
        (list(range(21)) * 5, "regression"),
        ([0.0, 1.0] * 50, "classification"),
        ([0.5 * n for n in range(20)] * 5, "classification"),
        ([0.5 * n for n in range(21)] * 5, "regression"),
        # Of few rows: fractions that hardly repeat.
        ([0.5 * n for n in range(15)] * 4, "classification"),
        ([0.5 * n for n in range(15)] * 3, "regression"),
        ([float(n) for n in range(15)] * 3, "classification"),
    ],
)
def test_the_task_is_told_from_the_target(values: list[object], task: str) -> None:
    labels = pd.Series(values, name="y")
    found, reason = choose_task(labels, None, "t.csv")
    assert found == task
    assert "'y'" in reason


@pytest.mark.parametrize("asked", ["classification", "regression"])
def test_who_asks_is_believed(asked: str) -> None:
    numbers = pd.Series(range(30), name="y")
    assert choose_task(numbers, asked, "t.csv") == (asked, f"--task {asked}")  # type: ignore[arg-type]


@pytest.mark.parametrize(("values", "what"), [(["a", "b"], "text"), ([True, False], "booleans")])
def test_no_regression_of_what_is_no_number(values: list[object], what: str) -> None:
    with pytest.raises(DataError, match=f"'t.csv' holds {what}"):
        choose_task(pd.Series(values, name="y"), "regression", "t.csv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.arange(29.0), "'t.csv' has 29 rows"),
        (np.r_[np.arange(60.0), np.inf], "'y' is infinite in 1 row"),
        (np.ones(60), "'y' is 1.0 in all rows"),
    ],
)
def test_targets_of_numbers_that_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_numbers(pd.Series(values, name="y"), "t.csv")
    check_numbers(pd.Series(np.arange(30.0), name="y"), "t.csv")


@pytest.mark.parametrize(
    ("largest", "taken"),
    [(1e100, True), (1.01e100, False), (1e300, False), (1e-100, True), (9.9e-101, False)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_whose_squares_no_double_holds(largest: float, taken: bool, sign: int) -> None:
    numbers = pd.Series(np.linspace(0.0, sign * largest, 40), name="y")
    if taken:
        check_numbers(numbers, "t.csv")
        return
    with pytest.raises(DataError, match=r"'y' reaches .*: squared errors"):
        check_numbers(numbers, "t.csv")


@pytest.mark.parametrize(
    ("form", "task"),
    [
        ("{},50 €", "regression"),
        ("{}%", "regression"),
        ("1.{:03d},5", "regression"),
        ("c{}", "classification"),
        ("{}-a", "classification"),
    ],
)
def test_a_target_may_be_written_in_another_notation(tmp_path: Path, form: str, task: str) -> None:
    lines = [f"{n % 7};{form.format(n % 25 + 10)}" for n in range(250)]
    path = tmp_path / "t.csv"
    path.write_text("x;y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    dataset = load(path, "y")
    assert dataset.task == task
    assert "y" not in dataset.notations
    assert (dataset.labels.dtype.kind in "if") == (task == "regression")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1, 1, 1], "'y' has 1 different value"),
        ([0, 1, 1], "'y' has 2 different values"),
        (["a", "b"], "'y' holds text"),
        ([True, False], "'y' holds booleans"),
        ([0.5 * n for n in range(30)], "'y' holds 30 different numbers with fractions"),
        ([1.0 * n for n in range(1200)], "'y' holds 1,200 different whole numbers"),
        ([1.0 * n for n in range(30)] + [np.inf], "'y' holds 31 different whole numbers"),
    ],
)
def test_the_reason_is_told_in_words(values: list[object], reason: str) -> None:
    assert choose_task(pd.Series(values, name="y"), None, "t.csv")[1] == reason


@pytest.mark.parametrize(
    ("values", "number"),
    [
        (pd.Series([1, 2]), True),
        (pd.Series([1.5, None]), True),
        (pd.Series([1, None], dtype="Int64"), True),
        (pd.Series([True, False]), False),
        (pd.Series([True, None], dtype="boolean"), False),
        (pd.Series(["1", "2"], dtype=object), False),
    ],
)
def test_what_a_column_of_numbers_is(values: pd.Series, number: bool) -> None:
    assert is_number(values) is number


@pytest.mark.parametrize(
    ("texts", "maybe"),
    [
        ([f"{n},5" for n in range(21)], True),
        ([f"{n},5" for n in range(20)], False),  # so few may be classes
        ([f"{n},5" for n in range(21)] * 2, True),
        ([f"{n},5" for n in range(21)] + [None], True),
        ([f"{n},5" for n in range(21)] + ["none"], False),
        ([f"c{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"], False),
        (["5"], False),
    ],
)
def test_texts_that_may_be_numbers(texts: list[object], maybe: bool) -> None:
    frame = pd.DataFrame({"y": pd.Series(texts, dtype=object)})
    assert maybe_numbers(frame, "y") is maybe
    assert maybe_numbers(frame, "z") is False
    assert maybe_numbers(pd.DataFrame({"y": np.arange(30.0)}), "y") is False
