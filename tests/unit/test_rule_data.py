"""Rules on data and targets: order of dates, sums, logarithms, encodings, lines above a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer

from twinml.contract.encoding import codec_of
from twinml.data._checks import alike_but_for_case
from twinml.data._csv import _blanks_delimit, _is_note, _rows_above, _sniffed
from twinml.data._leaks import terms_of
from twinml.data._names import has_groups_above
from twinml.data._order import direction
from twinml.training.learner import Shape
from twinml.training.log_target import (
    Bounds,
    bounds_of,
    learned_inside,
    logarithmic,
    worth_trying,
)


@pytest.mark.parametrize(
    ("low", "skewness", "tried"),
    [
        (0.0, 0.6, True),
        (3.0, 7.0, True),
        (-1e-9, 7.0, False),
        (0.0, 0.5, False),
        (0.0, 0.51, True),
        (5.0, -2.0, False),
    ],
)
def test_when_it_is_tried(low: float, skewness: float, tried: bool) -> None:
    assert worth_trying(low, skewness) is tried


def test_predictions_turned_back_stay_near_the_numbers_that_are_known() -> None:
    bounds = Bounds(0.0, 6.0)
    learned = np.array([-0.5, 0.0, 1.0, np.log1p(6.0) + 1e-9, 800.0])
    back = bounds.turned_back(learned)
    assert back.tolist() == [0.0, 0.0, float(np.expm1(1.0)), 6.0, 6.0]
    # As XGBoost answers, so that a compiled form can follow it.
    narrow = bounds.turned_back(learned.astype(np.float32))
    assert narrow.dtype == np.float32
    assert narrow[2] == np.expm1(np.float32(1.0))


SHAPE = Shape(0, 1, 0, "Regressor", largest=9.0, log_target=True)


def made() -> Any:
    """Return a straight line through the logarithm of 0 to 9."""
    x = np.arange(10.0)[:, None]

    def build(config: Any, X: Any, shape: Shape) -> Any:
        assert X is x
        assert shape is SHAPE
        return Ridge(**config)

    return logarithmic(build)({"alpha": 0.5}, x, SHAPE).fit(x, x[:, 0])


def test_what_learns_the_logarithm_turns_it_back() -> None:
    member, x = made(), np.array([[-9.0], [0.0], [4.5], [99.0]])
    inside = learned_inside(member)
    assert (type(inside), inside.alpha) == (Ridge, 0.5)
    assert learned_inside(inside) is None
    # A check at each fit costs time, and warns of what is clipped.
    assert [step.check_inverse for _, step in member.transformer_.steps] == [False, False]
    assert bounds_of(member) == Bounds(0.0, 18.0)
    wanted = np.clip(np.expm1(inside.predict(x)), 0.0, 18.0)
    assert member.predict(x).tolist() == wanted.tolist()
    assert wanted.tolist()[::3] == [0.0, 18.0]


@pytest.mark.parametrize(
    "transformer",
    [
        None,
        FunctionTransformer(np.log1p, np.expm1, check_inverse=False),
        "exp2",
        "kept",
        "no bounds",
        "named",
    ],
)
def test_what_turns_back_in_another_way_is_told(transformer: Any) -> None:
    member = made()
    steps = member.transformer_.steps
    if isinstance(transformer, str):
        if transformer == "exp2":
            steps[1][1].inverse_func = np.exp2
        elif transformer == "kept":
            steps[0][1].func = np.clip
        elif transformer == "no bounds":
            steps[0][1].inv_kw_args = {"a_min": 0.0}
        else:
            steps[0] = ("other", steps[0][1])
    else:
        member.transformer_ = transformer
    assert bounds_of(member) is None
    assert isinstance(member, TransformedTargetRegressor)


@pytest.mark.parametrize(
    ("hours", "way"),
    [
        (range(10), 1),
        (range(9), 0),
        ([*range(10), 9], 1),
        ([*range(10), 8], 0),
        ([0, *range(10)], 1),
        ([1, *range(10)], 0),
        (range(10, 0, -1), -1),
        ([*range(10, 0, -1), 1], -1),
        ([*range(10, 0, -1), 2], 0),
        ([5] * 40, 0),
        ([], 0),
    ],
)
def test_which_way_moments_go(hours: list[int], way: int) -> None:
    for step in (0.5, 1.0, 3600.0):
        assert direction([step * hour for hour in hours]) == way


@pytest.mark.parametrize(
    ("target", "terms"),
    [
        (lambda x: x[:, 0] + x[:, 1], [0, 1]),
        (lambda x: 3 * x[:, 2] - 0.1 * x[:, 0] + 7, [0, 2]),
        (lambda x: x[:, 1], [1]),
        (lambda x: np.round(x[:, 0] + x[:, 1], 2), [0, 1]),
        (lambda x: x[:, 0] * x[:, 1], []),
        (lambda x: x[:, 0] + x[:, 1] + 0.02 * x[:, 0] ** 2, []),
        (lambda x: x[:, 0] + 1e-4 * x[:, 1], [0]),
        (lambda x: np.full(len(x), 3.0), []),
        (lambda x: x[:, 0] * 1e300, []),
        (lambda x: 1e-3 * (x[:, 0] + x[:, 1]), [0, 1]),
        # What is left over is as much above as below.
        (lambda x: x[:, 0] + x[:, 1] + np.tile([5.0, -5.0], 30), []),
    ],
)
def test_terms_of_a_sum(target: Callable[[np.ndarray], np.ndarray], terms: list[int]) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)) * 10
    x[:, 3] = 5.0  # says nothing
    y = target(x)
    assert terms_of(x, y) == terms
    # Whatever the units of the columns; of what is huge there is no variance.
    assert terms_of(x * [1e-3, 1.0, 1e-3, 1.0], y) == terms
    for huge in (x[:, 2] * 1e300, np.tile([1.7e308, 1.7e308, -1.7e308, -1.7e308], 15)):
        assert terms_of(np.column_stack([x[:, :3], huge]), y) == terms


@pytest.mark.parametrize(
    ("content", "codec"),
    [
        (b"", "utf-8-sig"),
        (b"a,b", "utf-8-sig"),
        ("a,ä".encode(), "utf-8-sig"),
        ("a,ä".encode("utf-8-sig"), "utf-8-sig"),
        ("a,ä".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "a,ä".encode("utf-16-be"), "utf-16"),
        ("a,b".encode("utf-16-le"), "utf-16-le"),
        ("a,b".encode("utf-16-be"), "utf-16-be"),
        ("ab".encode("utf-16-be"), "utf-16-be"),
        (("a" * 600 + "\u4e2d").encode("utf-16-le"), "utf-16-le"),
        (b"\0a", "utf-8-sig"),
        (b"a\0b\0\0\0", "utf-8-sig"),
        ("größe,naïve".encode("cp1252"), "cp1252"),
        ("ÄÖ".encode("cp1252"), "cp1252"),
        ("ÄÖÜ".encode("cp1252"), None),
        ("привет".encode("cp1251"), None),
        (b"a\x81", None),
    ],
)
def test_what_a_text_is_encoded_in(content: bytes, codec: str | None) -> None:
    assert codec_of(content) == codec


TABLE = [["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]


@pytest.mark.parametrize(
    ("rows", "above"),
    [
        (TABLE, 0),
        ([["# made in 2024"], *TABLE], 1),
        ([["# made"], ["# in 2024"], *TABLE], 2),
        ([["# a", "b"], ["c", "d"]], 0),  # a header may begin so
        ([["# a", "b", "c"], *TABLE], 0),
        ([["Sales"], *TABLE], 1),
        ([["Sales", "", ""], *TABLE], 1),
        ([["Sales"], ["by day"], *TABLE], 2),
        ([["Sales", "May", ""], *TABLE], 0),
        ([["Sales"], ["a", "b"], ["1", "2"]], 0),  # two columns are no table for sure
        ([["Sales"], *TABLE, ["7", "8"]], 0),
        ([["Sales"], *TABLE, ["by us"]], 1),
        ([["Sales"], *TABLE, ["by us"], ["in May"]], 1),
        ([["Sales"], *TABLE, ["cut"]], 0),
        ([["Sales"], ["a", "b", "c"], ["1", "2", "3"], ["by us"]], 1),
        ([["Sales"], ["a", "b", "c"]], 0),
        ([["Sales"], ["a", "b", "c"], ["1", "2", "3"]], 1),
        ([["x"]] * 19 + TABLE, 19),
        ([["x"]] * 20 + TABLE, 20),
        ([["x"]] * 21 + TABLE, 0),
        ([["# x"]] * 20 + TABLE, 20),
        ([["# x"]] * 21 + TABLE, 0),
    ],
)
def test_lines_above_a_table(rows: list[list[str]], above: int) -> None:
    assert _rows_above(rows) == above


@pytest.mark.parametrize(
    ("row", "note"),
    [(["by us"], True), (["cut"], False), ([""], False), (["by us", ""], False), (["a b c"], True)],
)
def test_notes_below_a_table(row: list[str], note: bool) -> None:
    assert _is_note(row) is note


@pytest.mark.parametrize(
    ("text", "blanks"),
    [
        ("a b\n1 2\n3 4\n", True),
        ("a   b\n1\t2\n3 4\n", True),
        ("a\n1 2\n3 4\n", True),  # R's row names have no head
        ("a b c\n1 2\n3 4\n", False),
        ("a\n1 2 3\n3 4 5\n", False),
        ("a\n1\n2\n", False),
        ("a b\n1 2\n3\n", False),
        ("a b\n1 2\n\n3 4\n", True),
        ("a b\n", False),
        ('"a" "b c"\n1 "2 3"\n4 "5"\n', True),
        ('"a" "b c"\n1 "2" 3\n4 "5"\n', False),
        ('"a" "b\n', False),
        ("a b\n" + "1 2\n" * 48 + "3 4\n5\n", True),  # beyond what is looked at
        ("a b\n" + "1 2\n" * 48 + "5\n", False),
    ],
)
def test_whether_blanks_part_columns(text: str, blanks: bool) -> None:
    assert _blanks_delimit(text) is blanks


@pytest.mark.parametrize(
    ("text", "above", "delimiter"),
    [
        ("a;b;y\n1,5;2,5;3,5\n4,5;5,5;6,5\n", 0, ";"),
        ("a;b;y\n1,5;2;3\n4,5;5;6\n", 0, ";"),
        ("Sales\na;b;c\n1,5;2,5;3,5\n4,5;5,5;6,5\n", 1, ";"),
        ("Sales, May\n\na;b;c\n1;2;3\n4;5;6\n", 1, ";"),
        ("a,b\n1,2\n3,4\n", 0, ","),
        ("a;b,c;d,e\n1;2,3;4,5\n", 0, ","),
        ("a|b|c,d\n1|2|3,4\n", 0, "|"),
        ("a\n1\n2\n", 0, None),
        ("Sales\na,b,c\n1,2,3\n4,5,6\n", 1, ","),
    ],
)
def test_the_delimiter_and_the_lines_above(text: str, above: int, delimiter: str | None) -> None:
    found = _sniffed(text)
    assert found[1] == delimiter
    # Empty lines count as those that they stand below.
    assert min(found[0], 1) == above


GROUPS = [["who", "", "what"], ["age", "job", "y"], ["41", "cook", "no"]]


@pytest.mark.parametrize(
    ("rows", "expected", "told"),
    [
        (GROUPS, {"y"}, True),
        (GROUPS, {"age", "z"}, True),
        (GROUPS, {" y"}, False),
        (GROUPS, set(), False),
        (GROUPS, {"who"}, False),
        (GROUPS, {"who", "y"}, False),
        (GROUPS[:2], {"y"}, False),
        ([["who", "how", "what"], *GROUPS[1:]], {"y"}, False),  # no gap
        ([["who", " ", "what"], *GROUPS[1:]], {"y"}, True),
        ([["who", ""], *GROUPS[1:]], {"y"}, False),
        ([GROUPS[0], ["age", "", "y"], GROUPS[2]], {"y"}, False),
        ([["", "", ""], *GROUPS[1:]], {"y"}, True),
    ],
)
def test_groups_above_a_header(rows: list[list[str]], expected: set[str], told: bool) -> None:
    assert has_groups_above(rows, expected) is told


@pytest.mark.parametrize(
    ("classes", "alike"),
    [
        (["yes", "no"], []),
        (["yes", "Yes", "no"], ["yes", "Yes"]),
        (["yes", "yes ", "no"], ["yes", "yes "]),
        (["a  b", "a b", "ab"], ["a  b", "a b"]),
        (["STRASSE", "straße", "x"], ["STRASSE", "straße"]),
        ([], []),
    ],
)
def test_classes_that_differ_by_case_or_blanks(classes: list[str], alike: list[str]) -> None:
    assert alike_but_for_case(classes) == alike
