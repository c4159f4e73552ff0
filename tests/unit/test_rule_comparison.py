"""Which differences of two sides are forgiven or explained, and what each is put down to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from twinml.comparison import Answers, Package, Reference, Refusal, Side, judge
from twinml.comparison._adversarial import Case
from twinml.comparison._judgement import CAUSES, Difference, _agree, _cause, _equal, is_explained
from twinml.comparison.parsing import Changed
from twinml.errors import UsageError

SIDES = (Side("a", "u"), Side("b", "v"))
NAN = math.nan


def answers(*shares: float) -> Answers:
    """One row for each share of the second class; NaN is a refused row."""
    table = np.array([[1 - share, share] for share in shares])
    labels = [None if math.isnan(s) else "yes" if s >= 0.5 else "no" for s in shares]
    refusals = {row: Refusal(400, "no") for row, s in enumerate(shares) if math.isnan(s)}
    return Answers(labels, table, refusals)


@pytest.mark.parametrize("tolerance", [0.0, 1e-9, 0.25])
@pytest.mark.parametrize("cause", ["model", "unknown"])
@pytest.mark.parametrize(
    ("labels", "same"),
    [
        (("no", "no"), True),
        (("no", "yes"), False),
        ((1, True), False),
        ((True, 1), False),
        ((1, 1.0), True),
        ((0, False), False),
        ((True, True), True),
    ],
)
def test_a_change_up_to_the_tolerance_is_forgiven_and_another_label_never(
    tolerance: float, cause: Any, labels: tuple[Any, Any], same: bool
) -> None:
    assert _equal(*labels) is same
    above, below = math.nextafter(tolerance, 1), math.nextafter(tolerance, -1)
    for change, within in ((below, True), (tolerance, True), (above, False), (NAN, False)):
        found = Difference(0, cause, change, labels, ("", ""), "")
        assert is_explained(found, tolerance) is (within and same)


@pytest.mark.parametrize("change", [0.0, 0.5, NAN])
@pytest.mark.parametrize("labels", [("no", "no"), ("no", "yes")])
def test_input_parsing_explains_all_and_a_refusal_nothing(
    change: float, labels: tuple[str, str]
) -> None:
    assert is_explained(Difference(0, "input parsing", change, labels, ("", ""), ""), 0.0)
    assert not is_explained(Difference(0, "refusal", change, labels, ("", ""), ""), 1.0)


# What the model says of the row as it was sent, and as read_json reads it.
SENT, READ, OTHER = 0.1, 0.11, 0.2


@pytest.mark.parametrize(
    ("one", "two", "cause"),
    [
        (SENT, READ, "input parsing"),
        (READ, SENT, "input parsing"),
        (SENT, OTHER, "model"),
        (READ, OTHER, "model"),
        (OTHER, SENT, "model"),
        (OTHER, READ, "model"),
        (OTHER, 0.3, "model"),
        (NAN, SENT, "refusal"),
        (READ, NAN, "refusal"),
        (NAN, OTHER, "refusal"),
        # The last bit counts, and so does the label.
        (SENT, math.nextafter(READ, 1), "model"),
    ],
)
def test_input_parsing_must_explain_both_sides(one: float, two: float, cause: str) -> None:
    # Another row stands before: it must not be looked at.
    sides = (answers(0.9, one), answers(0.9, two))
    reference = Reference(answers(0.8, SENT), answers(0.8, READ), ())
    assert _cause(1, sides, reference) == cause
    without = "refusal" if math.isnan(one) or math.isnan(two) else "unknown"
    assert _cause(1, sides, None) == without
    assert {cause, without} <= set(CAUSES)


def test_a_row_that_the_model_cannot_read_is_input_parsing() -> None:
    reference = Reference(answers(SENT), answers(NAN), ())
    assert _cause(0, (answers(SENT), answers(NAN)), reference) == "input parsing"
    assert _cause(0, (answers(OTHER), answers(NAN)), reference) == "refusal"


@pytest.mark.parametrize(
    ("side", "model", "agree"),
    [
        (0.1, 0.1, True),
        (0.1, math.nextafter(0.1, 1), False),
        (NAN, NAN, True),
        (NAN, 0.1, False),
        (0.1, NAN, False),
    ],
)
def test_a_side_agrees_with_the_model_to_the_last_bit(
    side: float, model: float, agree: bool
) -> None:
    assert _agree(answers(0.9, side), answers(0.8, model), 1) is agree


def test_equal_shares_with_another_label_do_not_agree() -> None:
    one, other = answers(0.4), answers(0.4)
    other.labels[0] = "yes"
    assert not _agree(one, other, 0)
    found = judge(SIDES, (one, other), tolerance=1.0)
    assert (found.passes, found.same_labels, len(found.differences)) == (False, 0, 1)


@pytest.mark.parametrize(
    ("tolerance", "passes"), [(0.25, True), (math.nextafter(0.25, 0), False), (0.0, False)]
)
def test_exactly_at_the_tolerance_is_equal(tolerance: float, passes: bool) -> None:
    found = judge(SIDES, (answers(0.125, 0.0), answers(0.125, 0.25)), tolerance=tolerance)
    assert found.passes is passes
    assert found.max_change == 0.25
    assert [each.row for each in found.differences] == [1]
    assert found.differences[0].change == 0.25


def test_rows_are_counted_by_who_answered_them() -> None:
    one = answers(0.1, NAN, 0.3, NAN, 0.5)
    two = answers(0.1, NAN, NAN, 0.4, 0.2)
    found = judge(SIDES, (one, two))
    assert [(each.row, each.cause) for each in found.differences] == [
        (2, "refusal"),
        (3, "refusal"),
        (4, "unknown"),
    ]
    assert [math.isnan(each.change) for each in found.differences] == [True, True, False]
    assert [each.refusals for each in found.differences] == [
        ("", "400: no"),
        ("400: no", ""),
        ("", ""),
    ]
    assert [each.labels for each in found.differences][:2] == [("no", None), (None, "no")]
    assert (found.both_refused, found.same_labels, found.n_scored) == (1, 1, 2)
    assert found.changes.tolist() == pytest.approx([0.0, 0.3])
    assert found.n_rows == 5


def test_a_difference_says_which_case_it_is_and_which_cells_were_read_otherwise() -> None:
    cases = [Case("x", "one", {"x": 1.0}), Case("x", "two", {"x": 2.0})]
    cells = tuple(
        Changed(row=row, column=column, sent=0.1, became=0.2)
        for row, column in ((1, "x"), (1, "z"), (3, "x"), (0, "x"))
    )
    sent, read = answers(0.1, 0.1, 0.1, 0.1), answers(0.1, 0.2, 0.3, 0.4)
    packages = [Package("numpy", ("1", "2"), True)]
    found = judge(
        SIDES,
        (sent, read),
        cases=cases,
        reference=Reference(sent, read, cells),
        packages=packages,
    )
    assert [(each.row, each.what, each.changed) for each in found.differences] == [
        (1, "", cells[:2]),
        (2, "x: one", ()),
        (3, "x: two", cells[2:3]),
    ]
    assert {each.cause for each in found.differences} == {"input parsing"}
    assert (found.n_adversarial, found.changed_cells, found.tolerance) == (2, 4, 0.0)
    assert found.packages == tuple(packages)
    assert found.sides == SIDES
    bare = judge(SIDES, (sent, read))
    assert (bare.n_adversarial, bare.changed_cells, bare.packages) == (0, None, ())
    assert [each.what for each in bare.differences] == ["", "", ""]
    with pytest.raises(UsageError, match="one side answered 4 rows, the other 1"):
        judge(SIDES, (sent, answers(0.1)))


def test_a_refused_row_has_no_change_even_if_numbers_came_with_it() -> None:
    one, other = answers(0.1), answers(0.3)
    other.refusals[0] = Refusal(400, "no")
    [found] = judge(SIDES, (one, other)).differences
    assert math.isnan(found.change)


def test_rows_of_a_regression_have_no_classes_and_no_rows_have_no_answers() -> None:
    one, other = (Answers([1.5], np.empty((1, 0)), {}) for _ in range(2))
    assert judge(SIDES, (one, other)).passes
    nothing = Answers([], np.empty((0, 2)), {})
    assert judge(SIDES, (nothing, nothing)).changes.tolist() == []
