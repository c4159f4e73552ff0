"""A comparison as an HTML page."""

from __future__ import annotations

import math
from pathlib import Path

from twinml.comparison import _figures as figures
from twinml.comparison._judgement import CAUSES, Comparison, Difference, Side
from twinml.comparison.parsing import Changed
from twinml.pages.figure import Picture
from twinml.pages.result_page import ResultPage, Section, Tile, rows
from twinml.pages.result_page import write as write_page
from twinml.pages.tables import Table

__all__ = ["write"]

MOST_ROWS = 100
MOST_CELLS = 3


def write(comparison: Comparison, path: Path) -> Path:
    """Write the page to ``path`` and return ``path``."""
    return write_page(_result_page(comparison), path)


def _result_page(found: Comparison) -> ResultPage:
    a, b = found.sides
    sections = [_answers(found), _latency(found), _model(found)]
    if found.differences:
        sections.insert(1, _differences(found))
    return ResultPage(
        title=f"{a.name} and {b.name}",
        kind="Comparison of two endpoints",
        verdict=f"{found.verdict}.",
        reason=_reason(found),
        good=found.passes,
        tiles=_tiles(found),
        sections=tuple(sections),
    )


def _reason(found: Comparison) -> str:
    words = [f"{n:,} × {cause}: {CAUSES[cause]}." for cause, n in found.causes.items()]  # type: ignore[index]
    if found.same_model is False:
        words.insert(0, "The digests of their models are not the same: deploy one to both.")
    return " ".join(words) or "Labels and probabilities are equal bit for bit."


def _tiles(found: Comparison) -> tuple[Tile, ...]:
    scored = max(1, found.n_scored)
    labels = 100 * found.same_labels / scored
    exact = int((found.changes == 0).sum())
    same = {True: "the same", False: "different", None: "not known"}[found.same_model]
    return (
        Tile(
            "Rows",
            f"{found.n_rows:,}",
            f"of them {found.n_adversarial:,} adversarial"
            if found.n_adversarial
            else "of the data",
        ),
        Tile(
            "Labels that agree",
            "100 %" if found.same_labels == found.n_scored else f"{labels:.3f} %",
            f"{found.same_labels:,} of {found.n_scored:,}",
        ),
        Tile("Largest |Δp|", f"{found.max_change:.3g}", f"equal to the last bit: {exact:,} rows"),
        Tile("Not explained", f"{len(found.unexplained):,}", "rows beyond the tolerance"),
        Tile("Model", same, (found.sides[0].digest or "")[:12]),
    )


def _answers(found: Comparison) -> Section:
    text = [
        f"Each of {found.n_rows:,} rows went to both endpoints, for its label and for its "
        f"probabilities. {found.n_scored:,} were scored by both"
        + (f", {found.both_refused:,} refused by both" if found.both_refused else "")
        + "."
    ]
    if found.changed_cells is not None:
        text.append(
            f"Read with pandas.read_json, {found.changed_cells:,} cells of these rows become "
            "another value. Where an endpoint answers as the model does to the value so read, "
            "the difference is input parsing."
        )
    exact = int((found.changes == 0).sum())
    return Section(
        "Predictions",
        tuple(text),
        pictures=(
            Picture(
                figures.changes(found.changes),
                f"{exact:,} rows are equal; the largest difference is {found.max_change:.3g}.",
                "The largest difference over the classes of a row. Grey: not a bit differs.",
            ),
        ),
    )


def _differences(found: Comparison) -> Section:
    a, b = found.sides
    unexplained = {each.row for each in found.unexplained}
    listed = sorted(found.differences, key=lambda each: (each.row not in unexplained, each.row))
    return Section(
        "Rows that differ",
        ("Those that are not explained come first.",),
        tables=(
            rows(
                f"{min(MOST_ROWS, len(listed)):,} of {len(listed):,}",
                ("row", "case", "cause", "|Δp|", a.name, b.name, "read otherwise"),
                [_line(each) for each in listed[:MOST_ROWS]],
            ),
        ),
    )


def _line(each: Difference) -> tuple[str | float | int, ...]:
    answers = [each.refusals[n] or str(each.labels[n]) for n in (0, 1)]
    cells = "; ".join(_cell(cell) for cell in each.changed[:MOST_CELLS])
    return (
        each.row,
        each.what or "data",
        each.cause,
        "" if math.isnan(each.change) else f"{each.change:.3g}",
        *answers,
        cells + ("; …" if len(each.changed) > MOST_CELLS else ""),
    )


def _cell(cell: Changed) -> str:
    return f"{cell.column}: {cell.sent!r} became {cell.became!r}"


def _latency(found: Comparison) -> Section:
    timed = [side for side in found.sides if side.latencies]
    if not timed:
        return Section("Latency", ("It was not measured.",))
    lines: list[list[str | float]] = [
        [side.name, *(side.percentile(p) for p in (50, 90, 99)), len(side.latencies)]
        for side in timed
    ]
    return Section(
        "Latency",
        ("Requests with one row, one after the other, the endpoints in turn.",),
        pictures=(
            Picture(
                figures.latencies(timed),
                "; ".join(f"{side.name}: median {side.percentile(50):.1f} ms" for side in timed),
                "Measured from this machine, the way to the endpoint included.",
            ),
        ),
        tables=(rows("Milliseconds", ("endpoint", "median", "90 %", "99 %", "requests"), lines),),
    )


def _model(found: Comparison) -> Section:
    a, b = found.sides
    tables: list[Table] = [
        rows(
            "What answers",
            ("endpoint", "address", "model digest", "versions read from"),
            [_who(side) for side in found.sides],
        )
    ]
    text = ""
    if all(_known(side) for side in found.sides):
        text = "No package differs among those whose versions are known on both sides."
    if found.packages:
        used = sum(package.used for package in found.packages)
        text = (
            f"{len(found.packages)} packages differ or are on one side only; "
            f"the model uses {used} of them."
        )
        tables.append(
            rows(
                "Packages that differ",
                ("package", a.name, b.name, "used by the model"),
                [
                    (p.name, p.versions[0] or "–", p.versions[1] or "–", "yes" if p.used else "")
                    for p in found.packages
                ],
            )
        )
    return Section("Model and environment", (text,) if text else (), tables=tuple(tables))


def _known(side: Side) -> bool:
    return side.packages != "not known"


def _who(side: Side) -> tuple[str, ...]:
    return side.name, side.scoring_uri, side.digest or "not known", side.packages
