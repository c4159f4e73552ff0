"""Groups stay on one side, in the hold-out and in the folds; which metric chooses and decides."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from twinml.data._groups import agreement_within, beyond, group_keys, is_group_key
from twinml.data._leaks import sign_of, suspects, tells
from twinml.data._order import evidence
from twinml.errors import DataError
from twinml.training._importance import affordable_repeats, spread
from twinml.training.metrics import beats, chosen_metric, ties
from twinml.training.splits import (
    MOST_GROUPS,
    Split,
    folds_of,
    group_split,
    groups_of,
    hold_out,
    is_forward,
    is_split,
    without_groups,
)


def customers(n_groups: int, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and groups: rows of customers, who mostly have one class."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, rows)
    likely = rng.random(n_groups)[groups]
    return (rng.random(rows) < likely).astype(np.int64), groups.astype(np.int64)


@pytest.mark.parametrize("n_groups", [40, MOST_GROUPS + 500])
@pytest.mark.parametrize("test_size", [0.2, 0.1])
def test_groups_stay_on_one_side(n_groups: int, test_size: float) -> None:
    labels, groups = customers(n_groups, 6000)
    split = group_split(labels, test_size, 3, groups, "group:customer")
    assert split.kind == "group:customer"
    assert split.groups is groups
    assert not set(groups[split.train]) & set(groups[split.test])
    assert sorted([*split.train, *split.test]) == list(range(6000))
    assert len(split.test) / 6000 == pytest.approx(test_size, abs=0.03 if n_groups > 100 else 0.06)
    assert labels[split.test].mean() == pytest.approx(labels.mean(), abs=0.06)
    folds = folds_of(labels, 5, 3, groups=groups)
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(6000))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    again = group_split(labels, test_size, 3, groups, "group:customer")
    assert (again.test == split.test).all()
    other = group_split(labels, test_size, 4, groups, "group:customer")
    assert set(groups[other.test]) != set(groups[split.test])


def test_there_are_no_more_folds_than_groups() -> None:
    labels, groups = np.tile([0, 1], 30), np.repeat([0, 1, 2], 20)
    assert len(folds_of(labels, 5, 0, groups=groups)) == 3
    with pytest.raises(DataError, match="3 groups are too few to divide the rows into 5 parts"):
        group_split(labels, 0.2, 0, groups, "group:g")
    assert len(group_split(labels, 0.33, 0, groups, "group:g").test) == 20


@pytest.mark.parametrize(("holders", "said"), [(1, "learn from"), (2, "test on"), (5, "")])
def test_every_class_is_on_both_sides(holders: int, said: str) -> None:
    groups = np.repeat(np.arange(20), 10)
    labels = np.where((groups < holders) & (np.arange(200) % 10 < 5), 1, 0)
    if said:
        with pytest.raises(DataError, match=f"{said}.* lack 1 of"):
            group_split(labels, 0.2, 0, groups, "group:g")
    else:
        split = group_split(labels, 0.2, 0, groups, "group:g")
        assert set(labels[split.test]) == {0, 1}


def test_a_row_without_a_group_is_one_of_its_own() -> None:
    frame = pd.DataFrame({"g": ["a", None, "b", "a", None], "n": [1.0, 2.0, np.nan, 1.0, 3.0]})
    assert groups_of(frame, "g").tolist() == [0, 2, 1, 0, 3]
    assert groups_of(frame, "n").tolist() == [0, 1, 3, 0, 2]
    with pytest.raises(DataError, match="there is no column 'h' to split by"):
        groups_of(frame, "h")


def test_the_forward_estimate_learns_from_no_group_of_the_test() -> None:
    split = Split("ordered", np.array([0, 1, 2, 3]), np.array([4, 5]))
    kept = without_groups(split, np.array([7, 8, 7, 9, 7, 6]))
    assert (kept.kind, kept.train.tolist(), kept.test.tolist()) == ("ordered", [1, 3], [4, 5])
    assert kept.groups is not None


@pytest.mark.parametrize(
    ("split", "forward"),
    [("random", False), ("ordered", True), ("column:day", True), ("group:day", False)],
)
def test_hold_out(split: str, forward: bool) -> None:
    assert is_split(split)
    assert is_forward(split) is forward
    frame = pd.DataFrame({"day": np.arange(100)[::-1] // 7 * 7})
    labels = np.tile([0, 1], 50)
    asked = []
    found = hold_out(frame, labels, split, 0.2, 0, lambda: asked.append(1))
    again = hold_out(frame, labels, split, 0.2, 5, lambda: None)
    assert (set(again.test) == set(found.test)) is forward
    assert found.kind == split
    assert len(found.test) == {"column:day": 23, "group:day": 21}.get(split, 20)
    assert asked == ([1] if split == "random" else [])
    last = {"ordered": list(range(80, 100)), "column:day": list(range(23))}
    assert split not in last or sorted(found.test) == last[split]
    apart = not set(frame.day[found.train]) & set(frame.day[found.test])
    assert apart is split.endswith(":day")


@pytest.mark.parametrize(
    "split", ["", "group:", "column:", "groups:x", "Random", "group", "x group:y"]
)
def test_what_is_no_split(split: str) -> None:
    assert not is_split(split)


# --- the headline --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "new", "old", "same"),
    [
        ("roc_auc", 0.75, 0.75, True),
        ("roc_auc", 0.7505, 0.75, True),
        ("roc_auc", 0.75049, 0.75, True),
        ("roc_auc", 0.75, 0.75049, True),
        ("roc_auc", 0.75, 0.7506, False),
        ("average_precision", 0.75, 0.7504, True),
        ("log_loss", 0.75, 0.75, False),
        ("accuracy", 0.75, 0.75, False),
        ("roc_auc", math.nan, 0.75, False),
    ],
)
def test_areas_tie(metric: str, new: float, old: float, same: bool) -> None:
    assert ties(metric, new, old) is same


@pytest.mark.parametrize(
    ("asked", "n_classes", "areas", "metric"),
    [
        ("auto", 2, [], "roc_auc"),
        ("auto", 2, [0.9], "roc_auc"),
        ("auto", 2, [0.9, 0.9], "log_loss"),
        ("auto", 2, [0.9, 0.9003], "log_loss"),
        ("auto", 2, [0.9, 0.8], "roc_auc"),
        ("auto", 2, [0.9, 0.9, 0.8, 0.8], "roc_auc"),
        ("auto", 2, [0.9, 0.9, 0.9, 0.8], "log_loss"),
        ("auto", 3, [0.9, 0.8], "log_loss"),
        ("auto", 3, [], "log_loss"),
        ("roc_auc", 3, [0.9, 0.9], "roc_auc"),
        ("accuracy", 2, [0.9, 0.9], "accuracy"),
        ("auto", 2, [math.nan, math.nan], "roc_auc"),
    ],
)
def test_the_metric_that_chooses(
    asked: str, n_classes: int, areas: list[float], metric: str
) -> None:
    assert chosen_metric(asked, n_classes, areas) == metric


@pytest.mark.parametrize(
    ("metric", "area", "loss", "min_gain", "found"),
    [
        ("roc_auc", 0.81, 0.60, 0.0, (True, "roc_auc")),
        ("roc_auc", 0.79, 0.40, 0.0, (False, "roc_auc")),
        ("roc_auc", 0.8004, 0.60, 0.0, (False, "log_loss")),
        ("roc_auc", 0.7996, 0.40, 0.0, (True, "log_loss")),
        ("roc_auc", 0.80, 0.50, 0.0, (False, "log_loss")),
        ("roc_auc", 0.8004, 0.60, 0.0001, (True, "roc_auc")),
        ("roc_auc", 0.8004, 0.40, 0.001, (False, "roc_auc")),
        ("log_loss", 0.80, 0.49, 0.0, (True, "log_loss")),
        ("log_loss", 0.80, 0.49, 0.02, (False, "log_loss")),
    ],
)
def test_a_tie_of_areas_is_decided_by_log_loss(
    metric: str, area: float, loss: float, min_gain: float, found: tuple[bool, str]
) -> None:
    new, old = {"roc_auc": area, "log_loss": loss}, {"roc_auc": 0.80, "log_loss": 0.50}
    assert beats(metric, new, old, min_gain) == found
    if not min_gain:
        assert beats(metric, new, old) == found


# --- leaks of one class ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "hits", "members", "total", "found"),
    [
        (100, 100, 100, 1000, True),
        (100, 97, 100, 1000, True),
        (100, 96, 100, 1000, False),  # too many others
        (100, 100, 200, 1000, True),
        (100, 100, 201, 1000, False),  # not half of the class
        (20, 20, 40, 80, True),  # chance would have 10 others
        (19, 19, 38, 76, False),
        (500, 500, 900, 1000, True),  # a common class: 50 others by chance, ...
        (500, 495, 900, 1000, True),  # ... at most a tenth of them are there
        (500, 494, 900, 1000, False),
    ],
)
def test_what_tells_a_class(rows: int, hits: int, members: int, total: int, found: bool) -> None:
    assert tells(rows, hits, members, total) is found


def signs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    state = rng.choice(["on time", "late", "cancelled", "diverted"], 3000, p=[0.6, 0.3, 0.05, 0.05])
    off = state == "cancelled"
    noise = rng.normal(size=3000)
    return pd.DataFrame(
        {
            "state": state,
            "air_time": np.where(off, np.nan, noise),
            "boat": np.where(off, noise, np.nan),
            "balance": np.where(state == "late", 0.0, 1 + rng.random(3000)),
            "refund": np.where(off, 1 + rng.random(3000), 0.0),
            "desk": np.where(off, "closed", rng.choice(["a", "b"], 3000)),
            "gaps": np.where(rng.random(3000) < 0.2, np.nan, noise),
            "zeros": np.where(rng.random(3000) < 0.2, 0.0, noise),
            "half": np.where(off & (rng.random(3000) < 0.4), np.nan, noise),
        }
    )


@pytest.mark.parametrize(
    ("column", "words", "label"),
    [
        ("air_time", "empty", "cancelled"),
        ("boat", "not empty", "cancelled"),
        ("balance", "0.0", "late"),
        ("refund", "not 0.0", "cancelled"),
        ("desk", "'closed'", "cancelled"),
        ("gaps", None, None),
        ("zeros", None, None),
        ("half", None, None),
    ],
)
def test_leaks_are_looked_for_class_by_class(
    column: str, words: str | None, label: str | None
) -> None:
    table = signs()
    labels, classes = pd.factorize(table["state"])
    sign = sign_of(table[column], labels, len(classes))
    if words is None:
        assert sign is None
    else:
        assert sign is not None
        assert (sign.words, classes[sign.label], sign.purity, sign.recall) == (words, label, 1, 1)
    told = list(suspects(table[["state", column]], "state", [column]))
    assert [one.column for one in told] == ([] if words is None else [column])
    for one in told:
        assert one.message.startswith(
            f"'{column}' gives class '{label}' away: it is {words} in 100.0% of its rows, and "
            "100.0% of the rows where that is so are of it; check"
        )


def test_columns_that_say_the_same_share_a_line() -> None:
    table = signs()
    table["arrival"], table["gate"] = table["air_time"] * 2, table["air_time"] + 1
    (told,) = suspects(table, "state", ["air_time", "arrival", "gate", "gaps"])
    assert told.column is None
    assert told.message.startswith("'air_time', 'arrival', 'gate' give class 'cancelled' away: ")


# --- columns that repeat like a customer -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("customer_id", np.arange(60) // 3, True),
        ("customer_id", np.arange(60) // 3 + 0.5, False),  # no key
        ("customer_id", pd.array([*range(20)] * 2 + [None], dtype="Int64"), True),
        ("customer_id", np.arange(60) % 2 == 0, False),
        ("customer_id", np.arange(57) // 3, False),  # 19 of them
        ("customer_id", [*range(20), *range(10)], True),  # 1.5 rows each
        ("customer_id", [*range(20), *range(9)], False),
        ("Patient No", np.arange(60) // 3, True),
        ("amount", np.arange(60) // 3, False),
        ("customer_age", np.arange(60) // 3, False),
        ("plane", [f"N{1000 + i // 3}" for i in range(300)], True),
        ("plane", [f"N{1000 + i // 3}" for i in range(297)], False),  # 99 codes
        ("plane", [f"N{1000 + i // 3}" for i in range(299)] + ["none"], False),
        ("city", ["abcdefghij"[i % 10] + "abcdefghij"[i // 30] for i in range(300)], False),
    ],
)
def test_keys_of_groups(name: str, values: object, found: bool) -> None:
    assert is_group_key(name, pd.Series(values)) is found


def test_agreement_within_groups() -> None:
    groups, labels = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0, 1])
    # Of the 4 pairs within a group 2 agree, of all 15 pairs 6.
    three = np.array([0, 0, 0, 1, 1, 1]), np.array([2, 2, 1, 0, 0, 2])
    assert agreement_within(*three) == (2 / 6, 4 / 15)
    assert agreement_within(groups, labels) == (0.5, 0.4)
    assert agreement_within(np.arange(3), np.array([0, 1, 0])) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "chance", "far"),
    [(0.75, 0.5, 0.5), (1.0, 0.2, 1.0), (0.2, 0.2, 0.0), (1.0, 1.0, 0.0)],
)
def test_how_far_beyond_chance(found: float, chance: float, far: float) -> None:
    assert beyond(found, chance) == far


@pytest.mark.parametrize(("same", "level"), [(0.95, "warning"), (0.0, "note")])
def test_a_split_by_groups_is_proposed(same: float, level: str) -> None:
    rng = np.random.default_rng(2)
    customer = rng.integers(0, 300, 3000)
    own = rng.integers(0, 2, 300)[customer]
    chance = rng.integers(0, 2, 3000)
    label = np.where(rng.random(3000) < same, own, chance)
    table = pd.DataFrame({"customer": customer, "x": rng.normal(size=3000), "y": label})
    (told,) = group_keys(table, "y")
    assert (told.level, told.kind, told.column) == (level, "group", "customer")
    assert told.message.endswith("pass --split group:customer")
    codes = pd.DataFrame({"plane": [f"N{each:04}" for each in customer], "y": label})
    assert len(list(group_keys(codes, "y"))) == (same > 0)


# --- the order behind a row number -----------------------------------------------------------


def months() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = 1200
    return pd.DataFrame(
        {
            "number": np.arange(1, rows + 1),
            "month": np.repeat(list("abcdef"), rows // 6),
            "x": rng.normal(size=rows),
            "y": rng.integers(0, 2, rows),
        }
    )


def test_a_row_number_hides_no_order() -> None:
    table = months()
    assert evidence(table, "y").note.startswith("rows are sorted by 'month'; if that is time")
    shuffled = table.sample(frac=1, random_state=0)
    told = "in the order of 'number' rows are sorted by 'month'; if that is time, pass --split "
    assert evidence(shuffled, "y").note == told + "column:number"
    without = shuffled.drop(columns="number")
    assert evidence(without, "y", shuffled[["number"]]).note == told + "column:number"
    assert evidence(without, "y").note.startswith("rows look shuffled")
    only = table.drop(columns="month")
    assert evidence(only, "y").note.startswith("rows are numbered by 'number', and look shuffled")


# --- importance ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("once", "allowed", "rows", "plan"),
    [
        (1.0, 5.0, 2000, (5, 2000)),
        (1.0, 50.0, 2000, (5, 2000)),
        (1.0, 2.5, 2000, (5, 1000)),
        (1.0, 1.25, 2000, (5, 500)),
        (1.0, 1.0, 2000, (4, 500)),
        (1.0, 0.1, 2000, (1, 500)),
        (1.0, 0.1, 300, (1, 300)),
        (0.0, 1.0, 2000, (5, 2000)),
    ],
)
def test_repeats_of_the_importance(
    once: float, allowed: float, rows: int, plan: tuple[int, int]
) -> None:
    assert affordable_repeats(once, allowed, rows) == plan


def test_one_repeat_has_no_spread() -> None:
    assert math.isnan(spread([0.3]))
    assert spread([0.1, 0.3]) == pytest.approx(0.1 * math.sqrt(2))
