"""What load remarks about columns, classes, rows and their order."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twinml import data
from twinml.data._checks import counted_dates
from twinml.data._copies import copies, repeats
from twinml.data._left_out import dates
from twinml.errors import DataError

N = 400
Load = Callable[..., data.Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Save shuffled columns beside a plain feature and a target, and load them."""
    rng = np.random.default_rng(11)
    base = {"x": rng.normal(size=N).round(9), "y": rng.choice(["no", "yes"], N)}

    def save_and_load(**columns: object) -> data.Dataset:
        file = tmp_path / "table.csv"
        pd.DataFrame({**base, **columns}).to_csv(file, index=False)
        return data.load(file, "y")

    return save_and_load


def found(dataset: data.Dataset, column: str | None) -> list[tuple[str, str]]:
    return [(f.level, f.kind) for f in dataset.findings if f.column == column]


def test_a_plain_table_has_no_findings(load: Load) -> None:
    assert load().findings == ()


def test_columns_without_information(load: Load) -> None:
    dataset = load(empty=None, same="a", key=[f"k{i * 7919 % N}" for i in range(N)])
    assert found(dataset, "empty") == [("warning", "empty")]
    assert found(dataset, "same") == [("warning", "constant")]
    assert found(dataset, "key") == [("note", "id-like")]
    assert dataset.dropped == ("empty", "key")
    assert list(dataset.features.columns) == ["x", "same"]


def spread(step: int) -> list[int]:
    return [int(row) * step for row in np.random.default_rng(2).permutation(N)]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("client_id", spread(13), "id-like"),
        ("clientId", spread(13), "id-like"),
        ("valid", spread(13), None),
        ("amount", spread(13), None),
        ("amount", spread(2), "id-like"),  # counted, every other number
        ("amount", spread(3), None),
        ("amount", sorted(spread(19)), "row-number"),  # in order, with gaps
        ("amount", sorted(spread(19), reverse=True), "row-number"),
        ("amount", sorted(spread(21)), None),
        ("client_id", [*spread(13)[8:], *range(8)], "id-like"),
        ("client_id", [row // 2 for row in range(N)], None),  # a customer comes twice
        ("code", [f"A{row}" for row in spread(1)], "id-like"),
        ("code", [f"A{max(row, 8)}" for row in spread(1)], "id-like"),  # 98 per cent differ
        ("code", [f"A{max(row, 9)}" for row in spread(1)], None),
        ("code", [*(f"A{row}" for row in range(N - 1)), None], None),
        ("text", [f"words {row}" for row in spread(1)], None),
        ("day", [f"2020-01-01 10:{row}" for row in range(100, 100 + N)], None),
        ("link", ["x" * 61 + f"{row:03}" for row in range(N)], "id-like"),
        ("link", ["x" * 62 + f"{row:03}" for row in range(N)], None),
        ("__index_level_0__", [row % 7 for row in range(N)], "index"),
    ],
)
def test_keys_and_row_numbers_are_left_out(
    load: Load, name: str, values: list[object], kind: str | None
) -> None:
    dataset = load(**{name: values})
    kinds = [f.kind for f in dataset.findings if f.decision]
    assert kinds == ([kind] if kind else [])
    assert dataset.dropped == ((name,) if kind else ())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (range(60), "row-number"),
        (range(1, 61), "row-number"),
        (range(2, 62), None),
        ([*range(59), 60], None),
        ([1, 0, *range(2, 60)], None),
        (range(20, 119), None),
        (range(20, 120), "row-number"),
    ],
)
def test_row_numbers_of_short_tables_begin_with_0_or_1(
    tmp_path: Path, values: Sequence[int], kind: str | None
) -> None:
    file = tmp_path / "table.csv"
    rows = [f"{value},{place % 7},{place % 2}" for place, value in enumerate(values)]
    file.write_text("n,x,y\n" + "\n".join(rows))
    assert [f.kind for f in data.load(file, "y").findings if f.column == "n"] == (
        [kind] if kind else []
    )


def test_a_table_of_keys_alone_keeps_them(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = [f"{row},A{row},{row % 2}" for row in range(60)]
    file.write_text("n,code,y\n" + "\n".join(rows))
    assert data.load(file, "y").dropped == ()


def test_odd_columns(load: Load) -> None:
    rng = np.random.default_rng(4)
    numbers = rng.integers(0, 9, N)
    dataset = load(
        holes=[1.5 if i % 3 == 0 else None for i in range(N)],
        mixed=["many" if i == 17 else str(v) for i, v in enumerate(numbers)],
        comma=[f"{v},5" for v in numbers],
        endless=["inf" if i == 3 else str(v) for i, v in enumerate(numbers)],
        day=[f"2020-01-{1 + v:02d}" for v in numbers],
        padded=[f" {v}x" for v in numbers],
    )
    assert found(dataset, "holes") == [("note", "nulls")]
    assert found(dataset, "mixed") == [("warning", "mixed-types")]
    assert found(dataset, "comma") == [("note", "notation")]
    assert found(dataset, "endless") == [("warning", "infinite")]
    assert found(dataset, "day") == [("note", "dates")]
    assert found(dataset, "padded") == [("note", "unit"), ("note", "blanks")]
    (message,) = (f.message for f in dataset.findings if f.kind == "mixed-types")
    assert message == (
        "'mixed' mixes numbers and text and is read as text: 1 of 400 values is not a number, "
        "the first is 'many' in data row 18"
    )


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("x", [19_000_101, 21_001_231], "days as YYYYMMDD"),
        ("x", [19_000_100, 20_240_101], ""),
        ("x", [20_240_101, 20_240_230], ""),
        ("x", [20_240_101, 21_010_101], ""),
        ("ts", [946_684_800, 2_208_988_799], "seconds since 1970"),
        ("ts", [946_684_799, 1_000_000_000], ""),
        ("ts", [1_000_000_000, 2_208_988_800], ""),
        ("created_at", [946_684_800_000, 2_208_988_799_999], "milliseconds since 1970"),
        ("created_at", [946_684_799_999, 1_000_000_000_000], ""),
        ("created_at", [1_000_000_000, 1_000_000_000_000], ""),
        ("phone", [1_000_000_000], ""),
        ("format", [1_000_000_000], ""),
        ("EventTime", [1_000_000_000], "seconds since 1970"),
        ("ts", [1_000_000_000.5], ""),
    ],
)
def test_numbers_that_look_like_dates(name: str, values: list[float], expected: str) -> None:
    assert counted_dates(name, pd.Series(values)) == expected
    null = pd.array([None], dtype="Int64")
    assert counted_dates(name, pd.Series(null)) == ""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-W01", "2024-W52-7", "2024W011"], True),
        (["2024-01", "2024-12"], True),
        (["2024Q1", "2024-Q4"], True),
        (["7:30", "23:59:59", "00:00:00.5"], True),
        (["2024-Q5"], False),
        (["2024-W1"], False),
        (["7:3"], False),
        (["2024"], False),
    ],
)
def test_texts_that_look_like_dates(texts: list[str], expected: bool) -> None:
    assert dates(pd.Series(texts)) == expected


def test_a_dropped_column_is_not_talked_about(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = "".join(f"00{i},{i * 37 % 11},{i % 2}\n" for i in range(60))
    file.write_text("code,x,y\n" + rows)
    assert found(data.load(file, "y"), "code")
    assert found(data.load(file, "y", drop=["code"]), "code") == []


def test_free_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    file = tmp_path / "table.csv"
    words = [f"word {i}" for i in rng.integers(0, 5000, 3000)]
    pd.DataFrame({"t": words, "y": rng.choice([0, 1], 3000)}).to_csv(file, index=False)
    assert found(data.load(file, "y"), "t") == [("note", "many-categories")]


@pytest.mark.parametrize("kind", ["number", "text", "middle"])
def test_leak_suspects(load: Load, kind: str) -> None:
    positive = (load().labels == "yes").to_numpy()
    rng = np.random.default_rng(8)
    columns = {
        "number": positive * 10 + rng.normal(size=N),
        "text": np.where(positive, "signed", rng.choice(["open", "lost"], N)),
        "middle": np.where(positive, 0, rng.choice([-1, 1], N)) + rng.normal(size=N) / 50,
    }
    assert found(load(after=columns[kind]), "after") == [("warning", "leak-suspect")]
    weak = positive * 1.0 + rng.normal(size=N)
    assert found(load(after=weak.round(6)), "after") == []


def test_copies_are_told_from_what_few_values_give_by_chance() -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"x": rng.normal(size=50), "c": rng.choice(["a", "b", None], 50)})
    table["y"] = [0, 1] * 25
    assert copies(table, "y") is None
    twice = pd.concat([table, table[:10]], ignore_index=True)
    groups = copies(twice, "y")
    assert groups is not None
    assert groups.tolist() == [*range(50), *range(10)]
    few = pd.DataFrame({"c": rng.choice(["a", "b"], 200), "y": rng.choice([1, 2, 3], 200)})
    assert repeats(few) == 194
    assert copies(few, "y") is None


@pytest.mark.parametrize(("different", "told"), [(6, False), (7, True)])
def test_each_class_needs_different_rows_for_copies_to_count(different: int, told: bool) -> None:
    rows = [(row, -row, 0) for row in range(40)] * 2
    rows += [(100 + row % different, row % different, 1) for row in range(20)]
    assert (copies(pd.DataFrame(rows, columns=["x", "z", "y"]), "y") is not None) == told


def test_repeated_rows_and_uneven_classes(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = [f"{i * 37 % 101},{'yes' if i % 9 == 0 else 'no'}" for i in range(100)]
    file.write_text("x,y\n" + "\n".join([*rows, rows[4], rows[5]]) + "\n")
    dataset = data.load(file, "y")
    assert found(dataset, None) == [("note", "duplicates")]
    assert found(dataset, "y") == [("warning", "rare-class"), ("note", "imbalance")]
    messages = [f.message for f in dataset.findings]
    assert "2 rows repeat an earlier row in every column" in messages
    assert "88.2% of the rows are 'no': always saying so has that accuracy" in messages


def test_order_of_shuffled_rows(load: Load) -> None:
    rng = np.random.default_rng(1)
    dataset = load(month=rng.choice(["may", "jun"], N, p=[0.9, 0.1]))
    assert dataset.order_note.startswith("rows look shuffled")
    assert not dataset.chronological


@pytest.mark.parametrize(
    ("sign", "chronological", "note"),
    [
        (1, True, "rows are in the order of the dates in 'day'"),
        (
            -1,
            False,
            "rows are in the order of the dates in 'day', the last ones first; "
            "--split column:day holds out the latest",
        ),
    ],
)
@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y %H:%M"])
def test_order_of_dates_is_time(
    load: Load, form: str, sign: int, chronological: bool, note: str
) -> None:
    days = pd.date_range("2020-11-03", periods=N // 4, freq="D").repeat(4)[::sign]
    dataset = load(block=[i // 100 for i in range(N)], day=days.strftime(form).tolist())
    assert (dataset.order_note, dataset.chronological) == (note, chronological)


def test_dates_that_go_back_or_miss_are_no_order(load: Load) -> None:
    days = pd.date_range("2020-11-03", periods=N, freq="D").strftime("%Y-%m-%d").tolist()
    assert load(day=days).chronological
    assert not load(day=[*days[1:], days[0]]).chronological
    assert not load(day=["", *days[1:]]).chronological


def test_columns_that_add_up_to_the_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 900, (N, 3)), columns=["casual", "registered", "heat"])
    frame["spot"] = rng.choice(["n", "s"], N)
    frame["count"] = frame["casual"] + frame["registered"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    (finding,) = (one for one in data.load(tmp_path / "t.csv", "count").findings)
    assert finding.kind == "leak-suspect"
    assert finding.message == (
        "'casual', 'registered' add up to 'count': check that they are known when the model "
        "is asked"
    )
    assert not data.load(tmp_path / "t.csv", "count", drop=["casual"]).findings


def test_order_by_a_column_that_moves_slowly(load: Load) -> None:
    months = ["may", "jun", "jul", "may", "jun", "jul", "aug", "may"]
    dataset = load(month=[months[i * 8 // N] for i in range(N)])
    assert dataset.order_note.startswith("rows look ordered by 'month' (a row agrees with the row")
    assert dataset.order_note.endswith("if that is time, pass --split ordered")
    assert not dataset.chronological


@pytest.mark.parametrize(
    "column",
    [
        [f"2020-{1 + i // 40:02d}" for i in range(N)],
        [i * 3.5 for i in range(N)],
        [-(i // 3) for i in range(N)],
        ["b"] * 90 + ["c"] * 210 + ["a"] * 100,
    ],
    ids=["dates", "rising", "falling", "blocks"],
)
def test_order_of_sorted_rows(load: Load, column: list[object]) -> None:
    assert load(c=column).order_note == (
        "rows are sorted by 'c'; if that is time, pass --split ordered"
    )


def test_one_odd_row_at_the_end_is_no_order(load: Load) -> None:
    assert load(c=["a"] * (N - 1) + ["b"]).order_note.startswith("rows look shuffled")


def test_rows_sorted_by_the_target(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = "".join(f"{i * 37 % 101},{'yes' if i >= 40 else 'no'}\n" for i in range(100))
    file.write_text("x,y\n" + rows)
    dataset = data.load(file, "y")
    assert dataset.order_note.startswith("rows are sorted by the target 'y'")
    assert ("warning", "sorted-by-target") in found(dataset, "y")


def test_profile(load: Load) -> None:
    flags = [i % 4 == 0 for i in range(N)]
    dataset = load(
        n=[row // 2 * 2 for row in range(N)], c=["a", "a", "b", None] * (N // 4), f=flags
    )
    profile = dataset.profile().set_index("feature")
    assert list(profile.index) == ["x", "n", "c", "f"]
    assert profile["type"].tolist() == ["double", "long", "string", "boolean"]
    assert profile.loc["n", ["minimum", "median", "maximum", "mean"]].tolist() == [
        0,
        199.0,
        398,
        199.0,
    ]
    assert profile.loc["c", ["nulls", "distinct", "top"]].tolist() == [100, 2, "a 66.7%, b 33.3%"]
    assert profile.loc["f", "top"] == "False 75.0%, True 25.0%"


def test_rates(load: Load) -> None:
    dataset = load(
        c=["a", "a", "b", None] * (N // 4), n=[i % 7 for i in range(N)], f=[1, 0, 0, 0] * (N // 4)
    )
    table = dataset.rates("c").set_index("value")
    assert table["rows"].to_dict() == {"a": 200, "b": 100, "null": 100}
    truth = (dataset.labels[dataset.frame["c"] == "a"] == "yes").mean()
    assert table.loc["a", "yes"] == pytest.approx(truth)
    assert (table["no"] + table["yes"]).tolist() == pytest.approx([1, 1, 1])
    assert dataset.rates("c", groups=1)["value"].tolist() == ["a", "other", "null"]
    assert dataset.rates("n", groups=3)["value"].tolist() == ["0 to 2", "3 to 4", "5 to 6"]
    assert dataset.rates("f")["value"].tolist() == ["0", "1"]
    with pytest.raises(DataError, match="there is no feature 'y'"):
        dataset.rates("y")
