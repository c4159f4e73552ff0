"""The report's parts by hand: groups, worst errors, thresholds and costs, confusions, omissions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from twinml.contract import infer_contract
from twinml.data import Dataset, load
from twinml.pages.tables import Table
from twinml.report import model_card
from twinml.report._decisions import cheapest, confused_pairs, cost_table, threshold_table
from twinml.report._held_out import (
    by_group,
    group_table,
    groups_of,
    held_out,
    predictions,
    weak,
    weak_groups,
    worst,
)
from twinml.report._omissions import omissions
from twinml.report.distributions import distribution, missing
from twinml.training.result import Candidate, Evaluation, Interval, TrainingResult

N = 400


def made(folder: Path, classes: list[str]) -> tuple[TrainingResult, Dataset]:
    """Return a data set in which region 'west' is hard, and what was measured on half of it."""
    rng = np.random.default_rng(0)
    k = len(classes)
    truth = np.arange(N) % k
    frame = pd.DataFrame(
        {
            "region": np.where(np.arange(N) % 8 < 6, "east", "west"),
            "age": rng.normal(40, 9, N).round(1),
            "label": np.array(classes)[truth],
        }
    )
    frame.loc[:39, "age"] = np.nan
    frame.to_csv(folder / "calls.csv", index=False)
    data = load(folder / "calls.csv", "label")
    test = np.arange(N // 2, N)
    named = np.searchsorted(sorted(classes), data.labels.iloc[test].to_numpy(dtype=str))
    sure = np.where(frame["region"].iloc[test] == "west", 1 / k, 0.9)
    p = np.repeat(((1 - sure) / (k - 1))[:, None], k, axis=1)
    p[np.arange(len(test)), named] = sure
    figure = {"log_loss": Interval(0.3, 0.2, 0.4), "accuracy": Interval(0.8, 0.7, 0.9)}
    evaluation = Evaluation(
        "random", N // 2, len(test), figure, {"accuracy": 0.5, "log_loss": 0.7},
        confusion_matrix(named, p.argmax(axis=1), labels=range(k)), named, p, test,
    )  # fmt: skip
    importance = pd.DataFrame({"feature": ["region", "age"], "mean": [0.2, 0.1], "std": 0.01})
    return TrainingResult(
        infer_contract(data.features, data.labels, name="calls"), None, None, None,
        (Candidate("a", "single", {"log_loss": 0.3, "accuracy": 0.8}),), (), "log_loss",
        0.5 if k == 2 else None, evaluation, None, "nobody knows the order", importance,
        {}, {"seed": 1},
    ), data  # fmt: skip


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Dataset]:
    return made(tmp_path_factory.mktemp("binary"), ["no", "yes"])


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Dataset]:
    return made(tmp_path_factory.mktemp("three"), ["a", "b", "c"])


def texts(table: Table | None) -> list[list[str]]:
    assert table is not None
    return [[cell.text for cell in row] for row in table.rows]


# --- groups ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "loss", "overall", "found"),
    [(0.01, 0.55, 0.5, True), (0.01, 0.549, 0.5, False), (0.0, 0.9, 0.5, False)],
)
def test_what_errs_more(low: float, loss: float, overall: float, found: bool) -> None:
    assert weak(low, loss, overall) is found


def test_groups_of_a_column() -> None:
    assert groups_of(pd.Series([*"aaabbcdefgh", None])).tolist() == [
        *"aaabbcdef", "other", "other", "null"
    ]  # fmt: skip
    assert groups_of(pd.Series([True, False])).tolist() == ["yes", "no"]
    few = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert groups_of(pd.Series(few)).tolist() == ["1", "2", "3", "4", "5", "6"]
    quarters = groups_of(pd.Series([*np.arange(1.0, 10.0), np.nan])).tolist()
    assert quarters == [
        *["up to 3"] * 3, *["above 3 to 5"] * 2, *["above 5 to 7"] * 2, *["above 7"] * 2, "null"
    ]  # fmt: skip
    whole = pd.Series([*range(1, 10), None], index=range(10, 0, -1), dtype="Int64")
    pd.testing.assert_series_equal(
        groups_of(whole), pd.Series(quarters, index=whole.index), check_dtype=False
    )


def test_a_group_that_errs_is_found(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    groups = by_group(result, data)
    east, west = groups[:2]
    assert (east.value, east.rows, west.value, west.rows) == ("east", 150, "west", 50)
    assert east.loss == pytest.approx(-math.log(0.9))
    assert west.loss == pytest.approx(math.log(2))
    assert west.low == pytest.approx(west.loss - east.loss)
    assert west.observed == pytest.approx(0.5)
    assert west.expected == pytest.approx(0.5)
    assert [each.value for each in weak_groups(result, groups)][:1] == ["west"]
    rows = texts(group_table(result, groups))
    assert rows[0] == ["region", "east", "150", "0.105", "50.0%", "50.0%", "–"]
    assert rows[1][-1] == "errs more"
    assert sum(each.rows for each in groups if each.column == "age") == 200
    assert group_table(result, []) is None


def test_a_small_group_is_left_out(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    data = replace(data, frame=data.frame.assign(region=["x"] * 371 + ["y"] * 29))
    assert "region" not in {each.column for each in by_group(result, data)}
    enough = replace(data, frame=data.frame.assign(region=["x"] * 370 + ["y"] * 30))
    assert [each.value for each in by_group(result, enough) if each.column == "region"] == [
        "x",
        "y",
    ]


def test_more_classes_have_accuracy_and_confidence(three: tuple[TrainingResult, Dataset]) -> None:
    result, data = three
    rows = held_out(result, result.test)
    right = rows.truth == rows.predicted
    assert rows.observed.tolist() == right.astype(float).tolist()
    assert rows.expected == pytest.approx(result.test.probabilities.max(axis=1))
    table = group_table(result, by_group(result, data))
    assert table is not None
    assert [head.text for head in table.heads][4:6] == ["Accuracy", "Mean confidence"]


# --- rows ------------------------------------------------------------------------------------


def test_predictions_are_one_line_a_row(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    table = predictions(result)
    assert list(table) == [
        "estimate", "row", "label", "predicted", "probability of no", "probability of yes", "loss"
    ]  # fmt: skip
    assert table["row"].tolist() == list(range(201, 401))
    assert (table["label"].to_numpy() == data.labels.iloc[200:].to_numpy()).all()
    assert table["loss"].to_numpy() == pytest.approx(
        -np.log(result.test.probabilities[np.arange(200), result.test.labels]), abs=1e-6
    )
    later = replace(result.test, split="ordered", rows=np.arange(200))
    both = predictions(replace(result, forward=later))
    assert both["estimate"].tolist() == ["Random split"] * 200 + ["Forward in time"] * 200
    itself = replace(result, test=later, forward=later)
    assert len(predictions(itself)) == 200


def test_a_class_that_could_be_a_formula_is_no_formula(
    binary: tuple[TrainingResult, Dataset],
) -> None:
    result, data = binary
    labels = data.labels.replace({"no": "=1+1"})
    evil = replace(result, contract=infer_contract(data.features, labels, name="calls"))
    assert set(predictions(evil)["predicted"]) <= {"'=1+1", "yes"}


def test_the_worst_come_first(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    p = result.test.probabilities.copy()
    p[7] = [0.98, 0.02] if result.test.labels[7] == 1 else [0.02, 0.98]
    rows = texts(worst(replace(result, test=replace(result.test, probabilities=p)), data))
    assert len(rows) == 10
    assert rows[0][0] == "208"
    assert rows[0][1] != rows[0][2]
    assert rows[0][3:5] == ["2.0%", data.frame["region"].iloc[207]]


# --- thresholds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "level", "cost"),
    [(0.5, 0.8, 0.125), (1.0, 0.8, 0.25), (2.0, 0.4, 0.25), (0.1, 0.8, 0.025)],
)
def test_the_cheapest_threshold(ratio: float, level: float, cost: float) -> None:
    hit, score = np.array([False, True, False, True]), np.array([0.1, 0.4, 0.6, 0.8])
    assert cheapest(hit, score, ratio) == pytest.approx((level, cost))


def test_where_naming_none_or_all_is_cheapest() -> None:
    hit, score = np.array([True, False, False]), np.array([0.1, 0.2, 0.3])
    assert cheapest(hit, score, 1.0) == pytest.approx((1.01, 1 / 3))
    assert cheapest(hit, score, 5.0) == pytest.approx((0.1, 2 / 3))
    tied = np.array([0.5, 0.5, 0.5])
    assert cheapest(hit, tied, 1.0) == pytest.approx((1.01, 1 / 3))
    assert cheapest(hit, tied, 9.0) == pytest.approx((0.5, 2 / 3))


@pytest.mark.parametrize("between", [[True, False], [False, True]])
def test_a_threshold_divides_no_rows_of_one_score(between: list[bool]) -> None:
    hit, score = np.array([True, *between, False]), np.array([0.9, 0.5, 0.5, 0.1])
    assert cheapest(hit, score, 1.0) == pytest.approx((0.9, 0.25))


def test_thresholds_and_their_costs(binary: tuple[TrainingResult, Dataset]) -> None:
    result, _ = binary
    scores = np.repeat([0.05, 0.35, 0.45, 0.95], 50)
    test = replace(
        result.test,
        labels=np.repeat([0, 1, 0, 1], 50),
        probabilities=np.column_stack([1 - scores, scores]),
    )
    changed = replace(result, test=test, threshold=0.37)
    table = threshold_table(changed)
    rows = {row[0]: row[1:] for row in texts(table)}
    assert rows["0.05"] == ["200", "100.0%", "100", "100", "0", "50.0%", "100.0%"]
    assert rows["0.37"] == ["100", "50.0%", "50", "50", "50", "50.0%", "50.0%"]
    assert rows["0.90"] == ["50", "25.0%", "50", "0", "50", "100.0%", "50.0%"]
    assert table is not None
    assert table.rows[table.emphasis or 0][0].text == "0.37"
    costs = {row[0]: row[1:] for row in texts(cost_table(changed))}
    assert costs["1"] == ["0.950", "0.2500", "0.5000", "0.5000", "0.5000"]
    assert costs["2"] == ["0.350", "0.2500", "0.7500", "1.0000", "0.5000"]


def test_classes_that_are_confused(three: tuple[TrainingResult, Dataset]) -> None:
    result, _ = three
    counts = np.array([[10, 0, 5], [1, 9, 0], [0, 0, 8]])
    changed = replace(result, test=replace(result.test, confusion=counts))
    assert texts(confused_pairs(changed)) == [["a", "c", "5", "33.3%"], ["b", "a", "1", "10.0%"]]
    right = replace(result, test=replace(result.test, confusion=np.diag([5, 5, 5])))
    assert confused_pairs(right) is None
    assert threshold_table(result) is None
    assert cost_table(result) is None


def test_two_classes_have_no_pairs(binary: tuple[TrainingResult, Dataset]) -> None:
    assert confused_pairs(binary[0]) is None


# --- distributions ---------------------------------------------------------------------------


def test_distributions() -> None:
    few = distribution("c", pd.Series([*"aab", None]))
    assert few.bars == (("a", 2 / 3), ("b", 1 / 3))
    assert few.aside == "2 values, 25.0% missing"
    many = distribution("c", pd.Series([*"aaaabbbccdefghi"]))
    assert many.bars[-1] == ("3 others", 3 / 15)
    numbers = distribution("x", pd.Series(np.arange(1000.0)))
    assert len(numbers.bars) == 16
    assert sum(share for _, share in numbers.bars) == pytest.approx(1)
    assert numbers.ends == ("4", "995")
    heavy = distribution("x", pd.Series([0.0] * 1000 + [1, 2, 3, 4, 5, 6, 7, 8]))
    assert heavy.ends == ("0", "3")
    assert heavy.bars[0][1] > 0.99
    ordered = distribution("n", pd.Series([2, 2, 1]))
    assert [label for label, _ in ordered.bars] == ["1", "2"]
    assert distribution("b", pd.Series([True, True, False])).bars[0] == ("yes", 2 / 3)
    days = distribution("d", pd.Series(pd.date_range("2024-01-01", periods=200)))
    assert days.ends[0].startswith("2024-01-0")
    assert distribution("e", pd.Series([None, None], dtype=object)).bars == ()


def test_missing_values(binary: tuple[TrainingResult, Dataset]) -> None:
    assert texts(missing(binary[1])) == [["age", "40", "10.0%"]]
    whole = replace(binary[1], frame=binary[1].frame.fillna({"age": 0.0}))
    assert missing(whole) is None


# --- what was left out -----------------------------------------------------------------------


def test_what_was_left_out(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    assert omissions(result, data) == [
        "There is no estimate forward in time: Nobody knows the order."
    ]
    full = replace(
        result,
        interrupted=True,
        notes=("The search saw a sample of 10 of 20 training rows.",),
        test=replace(result.test, split="group:customer"),
        importance=result.importance.assign(std=math.nan),
    )
    said = omissions(full, replace(data, dropped=("id",)))
    assert said[0].startswith("The search was interrupted")
    assert "1 column of the file is not in the model: “id”." in said
    assert "“customer” divides the rows, and is no column of the model." in said
    assert "The search saw a sample of 10 of 20 training rows." in said
    assert said[-1] == "Permutation importance is of one repeat, so it has no whiskers."
    none = replace(result, importance=result.importance.head(0), forward=result.test)
    assert omissions(none, data) == ["Permutation importance was not measured."]


# --- the card --------------------------------------------------------------------------------


def test_the_card_says_it_all(binary: tuple[TrainingResult, Dataset], tmp_path: Path) -> None:
    result, data = binary
    path = model_card.write(result, data, tmp_path, digest="ab" * 32)
    text = (tmp_path / "model-card.md").read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Model card: calls", "## Intended use", "## Data", "## How it did", "## Where it errs",
        "## Limits", "## What was left out", "## Lineage",
    ]  # fmt: skip
    assert "| region | west | 50 | 0.693 | 50.0% | 50.0% | errs more |" in text
    assert "200 rows were held out at random." in text
    assert "There is no estimate forward in time: Nobody knows the order." in text
    assert f"| model digest | {'ab' * 32} |" in text
    assert data.digest in text
    page = path.read_text(encoding="utf-8")
    assert "Model card" in page
    assert all(f"<h2>{head[3:]}</h2>" in page for head in heads[1:])


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("ordered", "as the last ones of the file"),
        ("column:day", "as the last ones by “day”"),
        ("group:who", "as all rows of some values of “who”, which no row to learn from has"),
    ],
)
def test_the_card_says_how_rows_were_held_out(
    binary: tuple[TrainingResult, Dataset], split: str, words: str
) -> None:
    result, data = binary
    page = model_card.card(replace(result, test=replace(result.test, split=split)), data)
    assert f"held out {words}." in model_card.markdown(page)


def test_text_from_the_data_is_no_markdown(binary: tuple[TrainingResult, Dataset]) -> None:
    result, data = binary
    frame = data.frame.assign(region=np.where(np.arange(N) % 8 < 6, "east", "a|b<script>*x*"))
    text = model_card.markdown(model_card.card(result, replace(data, frame=frame)))
    assert "a\\|b&lt;script>\\*x\\*" in text
    assert "<script>" not in text
