"""A page about one result: a verdict, its figures, pictures and tables.

What a verb finds (a benchmark, an A/B test, a comparison) becomes one self-contained HTML file
in the style of the training report::

    page = ResultPage(
        "local against rehearsal",
        kind="Comparison",
        verdict="All 45,211 labels agree.",
        sections=(Section("Differences", pictures=(picture,), tables=(rows(...),)),),
    )
    write(page, folder / "compare.html")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from twinml.pages.figure import Picture
from twinml.pages.tables import Cell, Table
from twinml.pages.templates import render

__all__ = ["ResultPage", "Section", "Tile", "rows", "write"]


@dataclass(frozen=True)
class Tile:
    """A figure that is shown large: its label, its value, and a remark below it."""

    label: str
    value: str
    aside: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading: text, then pictures, then tables."""

    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class ResultPage:
    """The content of the page.

    Attributes
    ----------
    title
        What was looked at.
    kind
        What kind of page it is, such as ``Benchmark``.
    verdict, reason
        The answer in one sentence, and why.
    good
        Whether the verdict is shown as an answer or as a warning.
    """

    title: str
    kind: str
    verdict: str = ""
    reason: str = ""
    good: bool = True
    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()


def rows(caption: str, heads: Sequence[str], body: Sequence[Sequence[str | float | int]]) -> Table:
    """Return a table; cells that are numbers are set to the right and written with commas.

    Examples
    --------
    >>> rows("Rows", ("month", "rows"), [("may", 7957)]).rows[0][1]
    Cell(text='7,957', numeric=True, sort=7957.0)
    """
    made = tuple(tuple(_cell(value) for value in line) for line in body)
    numeric = [all(line[place].numeric for line in made) for place in range(len(heads))]
    return Table(
        caption,
        tuple(Cell(head, made != () and numeric[place]) for place, head in enumerate(heads)),
        made,
    )


def write(page: ResultPage, path: Path) -> Path:
    """Write the page to ``path``, in one move, and return ``path``; folders are made."""
    text = render(
        "result_page.html.j2",
        page=page,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    return path


def _cell(value: str | float | int) -> Cell:
    if isinstance(value, (bool, str)):
        return Cell(str(value))
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return Cell(f"−{text[1:]}" if text.startswith("-") else text, True, float(value))
