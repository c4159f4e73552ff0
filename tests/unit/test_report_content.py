"""What a report says, and when it refuses, from a result put together by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from twinml.contract import infer_contract
from twinml.data import Dataset, load
from twinml.errors import NotFound, UsageError
from twinml.pages.wording import quantity, shorten
from twinml.report import newest, write
from twinml.report._content import build
from twinml.report._figure_choice import draw
from twinml.training.result import Candidate, Evaluation, Interval, TrainingResult

LABELS = np.array([0, 1] * 20)
BANK_COLUMNS = ("campaign", "contact", "duration", "month", "pdays", "poutcome", "previous")


def estimate(value: float) -> Interval:
    return Interval(value, value - 0.02, value + 0.02)


def evaluation(split: str, **values: float) -> Evaluation:
    share = np.where(LABELS == 1, 0.7, 0.4)
    return Evaluation(
        split, 60, 40, {name: estimate(value) for name, value in values.items()},
        {"accuracy": 0.6}, np.array([[20, 0], [0, 20]]), LABELS,
        np.column_stack([1 - share, share]), np.arange(40),
    )  # fmt: skip


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    frame = pd.DataFrame({name: np.arange(100) % 7 for name in BANK_COLUMNS})
    frame["y"] = np.where(np.arange(100) % 3 == 0, "yes", "no")
    frame.to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path / "calls.csv"


@pytest.fixture
def bank(calls: Path) -> Dataset:
    return load(calls, "y")


@pytest.fixture
def result(bank: Dataset) -> TrainingResult:
    return TrainingResult(
        infer_contract(bank.features, bank.labels, name=bank.name), None, None, None,
        (Candidate("a", "learner", {"roc_auc": 0.9}),), (), "roc_auc", 0.5,
        evaluation("random", roc_auc=0.9, log_loss=0.3, accuracy=0.8), None, "", pd.DataFrame(
            {"feature": [], "mean": [], "std": []}
        ), {}, {},
    )  # fmt: skip


def values(result: TrainingResult, data: Dataset) -> dict[str, Any]:
    return build(result, data, endpoint=None, model=None, steps=(), environment={})


@pytest.mark.parametrize(
    ("metric", "here", "there", "words"),
    [
        ("roc_auc", 0.9, 0.7, "flatters the model"),
        ("log_loss", 0.2, 0.8, "flatters the model"),
        ("roc_auc", 0.9, 0.89, "agrees with it"),
        ("roc_auc", 0.7, 0.9, "is worse here"),
        ("log_loss", 0.8, 0.2, "is worse here"),
    ],
)
def test_the_two_estimates_are_compared_in_words(
    metric: str, here: float, there: float, words: str, result: TrainingResult, bank: Dataset
) -> None:
    changed = replace(
        result,
        metric=metric,
        test=evaluation("random", **{metric: here}),
        forward=evaluation("ordered", **{metric: there}),
    )
    said = values(changed, bank)["expectation"]
    assert f"{there:.3f} (95% interval {there - 0.02:.3f} – {there + 0.02:.3f})" in said["figure"]
    assert said["figure"].startswith("Next month, expect the forward-in-time figure")
    assert f"({here:.3f}) " in said["why"]
    assert words in said["why"]


def test_without_a_forward_estimate_it_says_why(result: TrainingResult, bank: Dataset) -> None:
    changed = replace(result, forward_note="the order of the rows is not known")
    said = values(changed, bank)["expectation"]
    assert said["figure"].endswith("only while new rows look like these.")
    assert "The order of the rows is not known." in said["why"]


def test_a_main_split_in_order_is_itself_forward(result: TrainingResult, bank: Dataset) -> None:
    ordered = replace(result.test, split="column:day")
    said = values(replace(result, test=ordered, forward_note="it is forward already"), bank)
    assert said["expectation"]["figure"].startswith("Next month, expect ROC AUC")
    assert said["estimates"].heads[1].text == "Forward in time"
    assert "by column day" in said["estimates"].caption


def test_accuracy_is_compared_with_the_majority(result: TrainingResult, bank: Dataset) -> None:
    said = values(result, bank)["accuracy"]
    assert "Accuracy is 80.0% (95% interval 78.0% – 82.0%)" in said
    assert "always answering “no” is right for 60.0%" in said
    assert "gains 20.0 percentage points" in said
    weak = replace(result, test=evaluation("random", roc_auc=0.6, accuracy=0.61))
    assert "not clearly better" in values(weak, bank)["accuracy"]


def test_a_leak_in_use_is_a_warning_with_the_option(result: TrainingResult, bank: Dataset) -> None:
    said = values(result, bank)
    ((level, text, option),) = said["columns"]
    assert (level, option) == ("warning", "--drop duration")
    assert "known only after the event" in text
    assert "do not count on it" in said["expectation"]["why"]


def test_a_dropped_leak_is_no_warning(result: TrainingResult, calls: Path) -> None:
    data = load(calls, "y", drop=["duration"])
    contract = infer_contract(data.features, data.labels, name=data.name)
    said = values(replace(result, contract=contract), data)
    ((level, text, option),) = said["columns"]
    assert (level, option) == ("note", "")
    assert "“duration”" in text
    assert "dropped" in text
    assert "do not count on it" not in said["expectation"]["why"]


def test_a_metric_of_another_name_is_shown_too(result: TrainingResult, bank: Dataset) -> None:
    changed = replace(result, test=evaluation("random", hinge_loss=0.4), metric="hinge_loss")
    said = values(changed, bank)
    assert said["estimates"].rows[0][0].text == "Hinge loss"
    assert said["expectation"]["figure"].startswith("Expect Hinge loss 0.400")


def test_more_classes_than_a_matrix_can_show(result: TrainingResult, bank: Dataset) -> None:
    labels = np.arange(630) % 21
    p = np.random.default_rng(0).dirichlet(np.ones(21), 630)
    names = pd.Series([f"class {k:02}" for k in labels], name="y")
    many = replace(
        result,
        contract=infer_contract(bank.features.iloc[[0] * 630], names, name="many"),
        threshold=None,
        test=replace(
            result.test, labels=labels, probabilities=p, n_test=630,
            confusion=confusion_matrix(labels, p.argmax(axis=1)), rows=np.arange(630) % 100,
        ),
    )  # fmt: skip
    pictures = draw(many, bank)
    assert "confusion" not in pictures
    assert "the 6 most frequent of 21" in pictures["roc"].caption
    assert pictures["roc"].alt.count("class ") == 6
    (classes,) = values(many, bank)["classes"]
    assert len(classes.rows) == 21


def test_options_with_secret_names_are_left_out(result: TrainingResult, bank: Dataset) -> None:
    options = {"seed": 7, "primary_key": "one", "TOKEN": "two", "db_password": "three"}
    shown = values(replace(result, options=options), bank)["options"].rows
    assert [name.text for name, _ in shown] == ["seed"]


def test_a_picture_that_is_none_is_refused_before_anything_is_written(
    result: TrainingResult, bank: Dataset, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture", encoding="utf-8")
    with pytest.raises(UsageError, match="'Latency' is not a PNG"):
        write(result, bank, tmp_path / "out", extras={"Latency": text})
    with pytest.raises(UsageError, match="'Latency' cannot be read"):
        write(result, bank, tmp_path / "out", extras={"Latency": tmp_path / "none.png"})
    assert not (tmp_path / "out").exists()


def test_no_report_is_found_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no report"):
        newest(tmp_path / "none")


def test_labels_stay_on_one_line() -> None:
    assert shorten("a\nb\x00c") == "a b c"
    assert len(shorten("x" * 100, 20)) == 20


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (-3, "−3"), (1e20, "100,000,000,000,000,000,000"), (2.0, "2"), ("", "–"),
     (float("inf"), "–"), ([1, 2.5], "1, 2.50"), ({"a": 1}, "a: 1"), (np.float64(0.25), "0.25")],
)  # fmt: skip
def test_any_value_of_an_option_can_be_written(value: Any, text: str) -> None:
    assert quantity(value) == text


def test_importing_the_report_is_cheap() -> None:
    code = (
        "import sys, twinml.report, twinml.cli.report; "
        "print(sorted({'matplotlib', 'pandas', 'sklearn', 'mlflow', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
