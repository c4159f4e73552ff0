"""Class or number: what a target's values say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinml.data import load
from twinml.data._task import check_numbers, choose_task
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
