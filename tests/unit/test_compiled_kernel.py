"""The kernel's decisions on their bounds, in Python: no translation into machine code."""

import math
from typing import Any

import numpy as np
import pytest

from twinml_local.compiled import _source_ranks
from twinml_local.compiled import _source_trees as source
from twinml_local.compiled._layout import HIGHEST_RANK
from twinml_local.compiled._nodes import NODE as LAID
from twinml_local.compiled._nodes import Forest
from twinml_local.compiled._ranks import ranked

FLUSH = float(np.float32(1e-35))


def above(value: float) -> float:
    return float(np.nextafter(value, math.inf))


def below(value: float) -> float:
    return float(np.nextafter(value, -math.inf))


@pytest.mark.parametrize(
    ("value", "flushed"),
    [
        (0.0, 0.0),
        (FLUSH, 0.0),
        (-FLUSH, 0.0),
        (below(FLUSH), 0.0),
        (above(-FLUSH), 0.0),
        (5e-324, 0.0),
        (above(FLUSH), above(FLUSH)),
        (below(-FLUSH), below(-FLUSH)),
        (1.0, 1.0),
        (-1.0, -1.0),
    ],
)
def test_what_lightgbm_takes_for_zero(value: float, flushed: float) -> None:
    as_is, view, single, nulls = views([value])
    assert (as_is, view, nulls) == ([value], [flushed], False)
    assert single == [float(np.float32(value))]


def views(
    values: list[float], low: float = -10.0, high: float = 10.0
) -> tuple[list[float], list[float], list[float], bool]:
    rows = np.empty(3 * len(values))
    n = len(values)
    nulls = source._views.py_func(np.array(values), n, 0, n, 1, low, high, 1, n, n, rows)
    first, second, third = rows.reshape(3, n).tolist()
    return first, second, third, bool(nulls)


def test_values_are_kept_within_the_bounds_and_nulls_are_seen() -> None:
    values = [-10.5, -10.0, below(10.0), 10.0, above(10.0), math.inf, -math.inf]
    kept = [-10.0, -10.0, below(10.0), 10.0, 10.0, 10.0, -10.0]
    assert views(values)[0] == kept
    assert views(values)[3] is False
    first, second, third, nulls = views([1.0, math.nan, 2.0])
    assert nulls
    for view in (first, second, third):
        assert [view[0], math.isnan(view[1]), view[2]] == [1.0, True, 2.0]
    # A block of a request: rows 1 and 2 of four, of two features.
    columns = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    rows = np.empty(12)
    source._views.py_func(columns, 4, 1, 2, 2, -10.0, 10.0, 2, 1, 4, rows)
    assert rows[:4].tolist() == [1.0, 5.0, 2.0, 6.0], "row by row"
    source._views.py_func(columns, 4, 1, 2, 2, -10.0, 10.0, 1, 2, 4, rows)
    assert rows[:4].tolist() == [1.0, 2.0, 5.0, 6.0], "feature by feature"


# No sets of categories.
SETS = np.zeros(0, dtype=np.uint32)
# One node, its place counted in halves: its threshold, its left child and where nulls go.
NODE = np.zeros(
    3, np.dtype([("threshold", "<f8"), ("left", "<u4"), ("to", "<u2"), ("null", "<u2")])
)
CASES = [
    (math.nextafter(0.5, 0.0), "left"),
    (0.5, "left"),
    (above(0.5), "right"),
    (-math.inf, "left"),
    (math.inf, "right"),
    (-0.0, "left"),
]


def stump(*, null_left: bool) -> tuple[Any, Any, Any]:
    """Return a tree of one question, is it at most 0.5, as the three views the kernel has."""
    nodes = NODE.copy()
    nodes["threshold"] = [0.5, math.inf, math.inf]
    nodes["left"] = [2, 2, 4]
    nodes["null"] = [null_left, 1, 1]
    raw = nodes.tobytes()
    halves = np.frombuffer(raw, "<f8")
    return halves, np.frombuffer(raw, "<u4"), np.frombuffer(raw, "<u2")


@pytest.mark.parametrize("null_left", [False, True])
@pytest.mark.parametrize(("value", "way"), CASES)
def test_one_row_at_a_node(value: float, way: str, null_left: bool) -> None:
    to = source._step.py_func(*stump(null_left=null_left), SETS, np.array([value]), 0, 0)
    assert {2: "left", 4: "right"}[int(to)] == way


@pytest.mark.parametrize("null_left", [False, True])
def test_a_null_at_a_node(null_left: bool) -> None:
    rows = np.array([math.nan])
    tree = stump(null_left=null_left)
    assert source._step.py_func(*tree, SETS, rows, 0, 0) == (2 if null_left else 4)


@pytest.mark.parametrize("null_left", [False, True])
@pytest.mark.parametrize("nulls", [False, True])
def test_many_rows_at_a_node(nulls: bool, null_left: bool) -> None:
    values = [value for value, _ in CASES] + ([math.nan] if nulls else [])
    ways = [way for _, way in CASES] + (["left" if null_left else "right"] if nulls else [])
    thresholds, lefts, features = stump(null_left=null_left)
    n = len(values)
    order = np.zeros(2 * n, dtype=np.int64)
    order[:n] = range(n)
    middle = source._split.py_func(
        thresholds, lefts, features, SETS, np.array(values), 0, n, 0, 0, n, order, 0, n, nulls
    )
    left = [place for place, way in enumerate(ways) if way == "left"]
    right = [place for place, way in enumerate(ways) if way == "right"]
    assert middle == len(left)
    given = order[n:].tolist()
    assert given[:middle] == left
    assert sorted(given[middle:]) == right


# The set 1, 31, 32, 255 is the second one.
CATEGORIES = np.zeros((2, 8), dtype=np.uint32)
CATEGORIES[1, [0, 1, 7]] = [1 << 1 | 1 << 31, 1, 1 << 31]
OF_CATEGORIES = [
    (-math.inf, "right"),
    (-1.0, "right"),
    (above(-1.0), "right"),  # cut off it is 0
    (0.0, "right"),
    (below(1.0), "right"),
    (1.0, "left"),
    (below(2.0), "left"),
    (2.0, "right"),
    (30.0, "right"),
    (31.0, "left"),
    (32.0, "left"),
    (33.0, "right"),
    (254.0, "right"),
    (255.0, "left"),
    (below(256.0), "left"),
    (256.0, "right"),
    (257.0, "right"),
    (1e38, "right"),
    (math.inf, "right"),
    (math.nan, "right"),
]


def splitting_categories() -> tuple[Any, Any, Any, Any]:
    nodes = NODE.copy()
    nodes["threshold"] = math.inf
    nodes["left"] = [2, 2, 4]
    nodes["null"] = [2, 1, 1]
    raw = bytearray(nodes.tobytes())
    raw[:4] = (1).to_bytes(4, "little")
    views_of = (np.frombuffer(bytes(raw), kind) for kind in ("<f8", "<u4", "<u2"))
    return *views_of, CATEGORIES.ravel()


@pytest.mark.parametrize(("value", "way"), OF_CATEGORIES)
def test_one_category_at_a_node(value: float, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_within", source._within.py_func)
    to = source._step.py_func(*splitting_categories(), np.array([value]), 0, 0)
    assert {2: "left", 4: "right"}[int(to)] == way


def test_zero_is_a_category_and_what_is_cut_off_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = np.array([1, *[0] * 7], dtype=np.uint32)
    within = [
        source._within.py_func(sets, 0, value) for value in (-1.0, above(-1.0), 0.0, 0.5, 1.0)
    ]
    assert within == [False, True, True, True, False]


@pytest.mark.parametrize("nulls", [False, True])
def test_many_categories_at_a_node(nulls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_within", source._within.py_func)
    thresholds, lefts, features, sets = splitting_categories()
    values = np.array([value for value, _ in OF_CATEGORIES])
    n = len(values)
    order = np.zeros(2 * n, dtype=np.int64)
    order[:n] = range(n)
    middle = source._split.py_func(
        thresholds, lefts, features, sets, values, 0, n, 0, 0, n, order, 0, n, nulls
    )
    ways = [way for _, way in OF_CATEGORIES]
    given = order[n:].tolist()
    assert given[:middle] == [place for place, way in enumerate(ways) if way == "left"]
    assert sorted(given[middle:]) == [place for place, way in enumerate(ways) if way == "right"]


KNOWN = [-2.0, 0.5, 0.75, 3.0]


@pytest.mark.parametrize(
    ("value", "rank"),
    [
        (-math.inf, 0),
        (-2.0, 0),
        (above(-2.0), 1),
        (below(0.5), 1),
        (0.5, 1),
        (above(0.5), 2),
        (0.75, 2),
        (1.0, 3),
        (3.0, 3),
        (above(3.0), 4),
        (math.inf, 4),
    ],
)
@pytest.mark.parametrize("beside", [0, 2])
def test_a_rank_is_how_many_thresholds_are_below(value: float, rank: int, beside: int) -> None:
    thresholds = np.array([9.0] * beside + KNOWN + [-9.0])
    assert _source_ranks._rank.py_func(value, thresholds, beside, len(KNOWN)) == rank
    assert _source_ranks._rank.py_func(value, np.array([0.5]), 0, 1) == int(value > 0.5)


def test_ranks_of_rows_have_two_planes_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_source_ranks, "_rank", _source_ranks._rank.py_func)
    # Two features, of which the second is asked about in the first view and in the second one.
    rows = np.array([0.0, 0.6, 0.0, math.nan, 0.0, 5.0, 0.0, -5.0])
    questions = np.array([0, 1, 0, 4, 1, 1, 1, 2])
    ranks = np.zeros(8, dtype=np.uint32)
    thresholds = np.array(KNOWN)
    _source_ranks.ranks_of.py_func(rows, 4, 2, 2, questions, 2, thresholds, ranks)
    assert ranks.tolist() == [2, 2, 2, 2, 0, HIGHEST_RANK, 0, 0]


@pytest.mark.parametrize("null_left", [False, True])
@pytest.mark.parametrize(("value", "way"), [*CASES, (math.nan, "null")])
def test_a_node_of_ranks_leads_where_its_threshold_does(
    value: float, way: str, null_left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_source_ranks, "_rank", _source_ranks._rank.py_func)
    nodes = np.zeros(6, dtype=LAID)
    # Two trees of one question each, the second one's at most 0.25.
    nodes["threshold"] = [0.5, math.inf, math.inf, 0.25, math.inf, math.inf]
    nodes["left"] = [2, 2, 4, 8, 8, 10]
    nodes["null_left"] = [null_left, 1, 1, not null_left, 1, 1]
    none = np.zeros(0)
    roots = np.array([0, 6])
    forest = Forest(nodes, none, roots, roots, roots, SETS.reshape(0, 8))
    ranks = ranked(forest, np.array([[1, 0, 2, 1, 1, 0]]))
    assert ranks.members.tolist() == [True]
    assert ranks.questions.tolist() == [[0, 0, 0, 2]]
    planes = np.zeros(2, dtype=np.uint32)
    _source_ranks.ranks_of.py_func(
        np.array([value]), 1, 1, 1, ranks.questions.ravel(), 1, ranks.thresholds, planes
    )

    def step(at: int) -> int:
        return int(_source_ranks._step.py_func(ranks.nodes, planes, 0, at))

    expected = {"left": 1, "right": 2, "null": 1 if null_left else 2}[way]
    assert step(0) == expected
    assert [step(leaf) for leaf in (1, 2, 4, 5)] == [1, 2, 4, 5]
    assert step(3) == (4 if value <= 0.25 or (value != value and not null_left) else 5)


def test_members_that_split_categories_have_no_ranks() -> None:
    nodes = np.zeros(3, dtype=LAID)
    nodes["left"] = [2, 2, 4]
    nodes["null_left"] = [2, 1, 1]
    roots = np.array([0])
    forest = Forest(nodes, np.zeros(0), roots, roots, roots, CATEGORIES)
    assert not ranked(forest, np.array([[1, 0, 1, 1, 1, 0]])).members.any()


def test_trees_that_ask_nothing_have_no_ranks() -> None:
    """A leaf compares with the first plane: without a question there is none."""
    nodes = np.zeros(1, dtype=LAID)
    nodes["threshold"] = np.inf
    roots = np.array([0])
    forest = Forest(nodes, np.zeros(1), roots, roots, roots, CATEGORIES)
    assert not ranked(forest, np.array([[1, 0, 1, 1, 1, 0]])).members.any()
