"""Charts as SVG: where things are, what is escaped, and what is left out."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from twinml.pages.charts import Node, Series, bars, graph, lines, ticks

HOSTILE = '"><script>alert(1)</script>'


def places(svg: str, kind: str) -> list[dict[str, str]]:
    root = ElementTree.fromstring(re.search(r"<svg.*?</svg>", svg, re.DOTALL)[0])  # type: ignore[index]
    return [each.attrib for each in root.iter() if each.tag == kind]


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 1.01, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]),
        (-3, 12, [-5.0, 0.0, 5.0, 10.0, 15.0]),
        (-3, 7, [-4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0]),
        (5, 5, [4.0, 4.5, 5.0, 5.5, 6.0]),
        (1e-6, 3e-6, [1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6]),
    ],
)
def test_ticks_are_round_and_hold_all_values(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(found)


def test_points_are_where_their_values_are() -> None:
    chart = lines([Series("a", [(0, 0), (5, 5), (10, 10)])], title="t")
    dots = [(float(dot["cx"]), float(dot["cy"])) for dot in places(chart, "circle")]
    (x1, y1), (x2, y2), (x3, y3) = dots
    assert x1 < x2 < x3
    assert y1 > y2 > y3
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y2 - y1 == pytest.approx(y3 - y2)


def test_what_is_not_finite_is_left_out_and_nothing_is_no_chart() -> None:
    chart = lines([Series("a", [(0, math.nan), (1, 2), (2, math.inf)])], title="t")
    assert len(places(chart, "circle")) == 1
    assert lines([Series("a", [(0, math.nan)])], title="t") == ""
    assert lines([], title="t") == bars({}, title="t") == graph([], [], title="t") == ""


def test_a_best_so_far_holds_until_the_next_one() -> None:
    points = [(0.0, 3.0), (1.0, 2.0)]
    (path,) = [one for one in places(lines([Series("a", points)], title="t", steps=True), "path")
               if one["class"] == "line s0"]  # fmt: skip
    assert re.fullmatch(r"M[\d. ]+H[\d.]+V[\d.]+", path["d"])
    chart = lines([Series("a", points), Series("b", points, dots=True)], title="t", steps=True)
    assert "line s1" not in {one["class"] for one in places(chart, "path")}
    assert len(places(chart, "circle")) == 4


def test_bars_below_zero_go_to_the_left_of_those_above() -> None:
    up, down = (one for one in places(bars({"a": 2.0, "b": -1.0}, title="t"), "rect"))
    assert float(down["x"]) + float(down["width"]) == pytest.approx(float(up["x"]))
    assert float(up["width"]) == pytest.approx(2 * float(down["width"]), rel=1e-3)
    assert "below" in down["class"]


@pytest.mark.parametrize("across", [False, True])
def test_a_box_is_after_all_that_lead_to_it(across: bool) -> None:
    nodes = [Node(name, name) for name in "abcd"]
    edges = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "d"), ("d", "a")]
    boxes = places(graph(nodes, edges[:4], title="t", across=across), "rect")
    along = [float(box["x" if across else "y"]) for box in boxes]
    assert along == sorted(along)
    assert len(set(along)) == 4
    # A circle is drawn all the same.
    assert len(places(graph(nodes, edges, title="t"), "rect")) == 4


@pytest.mark.parametrize(
    "chart",
    [
        lines([Series(HOSTILE, [(0, 1), (1, 2)]), Series("b", [(0, 1)])], title=HOSTILE,
              x=HOSTILE, y=HOSTILE),
        bars({HOSTILE: 1.0}, title=HOSTILE, text=lambda value: HOSTILE),
        graph([Node(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE)],
              title=HOSTILE),
    ],
)  # fmt: skip
def test_names_are_text(chart: str) -> None:
    assert "<script" not in chart
    assert chart.count("&lt;script") >= 2
