"""The page of one result: escaped, self-contained, numbers to the right."""

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from twinml.pages.figure import Picture
from twinml.pages.figure_style import BLUE, canvas, drawn
from twinml.pages.result_page import ResultPage, Section, Tile, rows, write


@drawn
def line() -> Figure:
    figure, axes = canvas(height=2.0)
    axes.plot([0, 1], [0, 1], color=BLUE)
    return figure


@pytest.fixture
def page(tmp_path: Path) -> str:
    shown = ResultPage(
        "a <b> & c",
        kind="Comparison",
        verdict="3 of 4 agree.",
        reason="One <does> not.",
        good=False,
        tiles=(Tile("rows", "4", "all of them"),),
        sections=(
            Section(
                "Differences",
                paragraphs=("A paragraph.",),
                pictures=(Picture(line(), "A line that rises.", "A caption."),),
                tables=(
                    rows("By month", ("month", "rows", "shift"), [("may", 7957, -0.125)]),
                    rows("Nothing", ("month",), []),
                ),
            ),
        ),
    )
    return write(shown, tmp_path / "made" / "page.html").read_text(encoding="utf-8")


def test_text_is_escaped(page: str) -> None:
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert "One &lt;does&gt; not." in page


def test_it_loads_nothing(page: str) -> None:
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "default-src 'none'" in page


def test_the_style_of_the_training_report_is_inside(page: str) -> None:
    assert ".tiles {" in page


def test_a_bad_verdict_is_a_warning(page: str) -> None:
    assert re.search(r'class="warning">\s*<p><strong>3 of 4 agree.</strong>', page)


def test_numbers_stand_to_the_right_with_commas_and_a_real_minus(page: str) -> None:
    assert '<td class="number" data-sort="7957.0">7,957</td>' in page
    assert '<td class="number" data-sort="-0.125">−0.125</td>' in page
    assert '<th scope="row">may</th>' in page


def test_pictures_have_a_text_and_a_size(page: str) -> None:
    assert re.search(
        r'src="data:image/png;base64,[^"]+" alt="A line that rises." width="660" height="300"', page
    )
