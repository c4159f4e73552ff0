"""The names of a table's columns: is there a header, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from twinml.contract.text_values import header_names, is_null, is_number
from twinml.data._finding import Finding

__all__ = ["Header", "header_of", "is_unnamed", "missing_header", "named"]

UNNAMED = "Unnamed: "
SHOWN = 5


class Header:
    """Names of all columns; ``lines`` is what the header takes up: none where it is missing."""

    def __init__(self, names: list[str], lines: int, findings: list[Finding]) -> None:
        self.names, self.lines, self.findings = names, lines, findings


def is_unnamed(name: str) -> bool:
    """Tell whether a column has no name in its file."""
    return not name.strip() or name.startswith(UNNAMED)


def header_of(rows: Sequence[Sequence[str]], expected: Collection[str] = ()) -> Header:
    """Return the names that the first row of a table gives, or numbers where it is no header.

    Parameters
    ----------
    rows
        The first rows as text, an empty one is null.
    expected
        Names of which one at least stands in a header.

    Examples
    --------
    >>> header_of([["1", "a"], ["2", "b"], ["3", "a"]]).names
    ['C1', 'C2']
    >>> header_of([["n", " kind", "n"], ["2", "b", "1"]]).names
    ['n', 'kind', 'n.1']
    >>> groups = [["who", "", "what"], ["age", "job", "y"], ["41", "cook", "no"]]
    >>> header_of(groups, {"y"}).names, header_of(groups, {"y"}).lines
    (['age', 'job', 'y'], 2)
    """
    if has_groups_above(rows, expected):
        header = named(rows[1])
        groups = ", ".join(cell.strip() for cell in rows[0] if cell.strip())
        message = f"the line above the header is left out: '{groups[:60]}'"
        found = Finding("note", "above-header", None, message, decision=True)
        return Header(header.names, 2, [found, *header.findings])
    first = list(rows[0])
    width = max(len(row) for row in rows[1:]) if len(rows) > 1 else len(first)
    if len(first) + 1 == width and all(len(row) == width for row in rows[1:]):
        # Rows end with a delimiter, or begin with a name of their own, as R writes them.
        first = [*first, ""] if not any(row[-1] for row in rows[1:]) else ["", *first]
    if missing_header(rows, expected):
        names = [f"C{place}" for place in range(1, len(first) + 1)]
        shown = f"{names[0]} to {names[-1]}"
        message = f"the first row is data like all others, so the columns are called {shown}"
        return Header(names, 0, [Finding("warning", "header", None, message, decision=True)])
    return named(first)


def has_groups_above(rows: Sequence[Sequence[str]], expected: Collection[str]) -> bool:
    """Tell whether the first row names groups of columns, and the second one the columns.

    A group stands above its first column, and leaves gaps above the others.
    """
    if (
        len(rows) < 3
        or len(rows[0]) != len(rows[1])
        or "" not in (cell.strip() for cell in rows[0])
    ):
        return False
    first, second = ({cell.strip() for cell in row} for row in rows[:2])
    return first.isdisjoint(expected) and not second.isdisjoint(expected) and "" not in second


def named(fields: Sequence[str]) -> Header:
    """Return the names that a header gives.

    >>> header = named([" age", "age"])
    >>> header.names, header.findings[1].message
    (['age', 'age.1'], "names that come again are numbered: 'age.1'")
    """
    names = header_names(fields)
    return Header(names, 1, _remarks(fields, names))


def missing_header(rows: Sequence[Sequence[str]], expected: Collection[str] = ()) -> bool:
    """Tell whether the first row is data like the others.

    It is if one of its cells at least is a number above numbers, and no cell is a text above
    numbers, or a text that never comes again above texts that do. Numbers that count up by one
    are names: pandas and pixels are written so.

    Examples
    --------
    >>> rows = [["0", "u"], ["1", "v"], ["2", "u"], ["3", "v"]]
    >>> missing_header(rows), missing_header(rows, {"u"}), missing_header([["a", "u"], *rows])
    (True, False, False)
    """
    first, rest = rows[0], rows[1:]
    if len(rest) < 2 or any(cell.strip() in expected or not cell.strip() for cell in first):
        return False
    numbers = 0
    for place, cell in enumerate(first):
        below = [row[place] for row in rest if place < len(row) and row[place].strip()]
        numeric = bool(below) and all(is_number(one) or is_null(one) for one in below)
        if is_number(cell):
            if not numeric:
                return False
            numbers += 1
        elif numeric or (len(set(below)) < len(below) and cell not in below):
            return False
    counted = [int(cell) for cell in first if cell.strip().isascii() and cell.strip().isdigit()]
    steps = {later - earlier for earlier, later in pairwise(counted)}
    return numbers > 0 and not (len(counted) > 2 and steps == {1})


def _remarks(first: Sequence[str], names: Sequence[str]) -> list[Finding]:
    """Say which names are not as the header has them."""
    padded = [name for cell, name in zip(first, names, strict=True) if cell.strip() != cell != ""]
    renamed = [
        f"'{name}'"
        for cell, name in zip(first, names, strict=True)
        if cell.strip() and cell.strip() != name
    ]
    unnamed = [place for place, cell in enumerate(first) if not cell.strip()]
    found = []
    if padded:
        names_are = "a column's name is" if len(padded) == 1 else f"{len(padded)} names are"
        found.append(f"{names_are} without the blanks around")
    if renamed:
        shown = ", ".join(renamed[:SHOWN]) + (", …" if len(renamed) > SHOWN else "")
        found.append(f"names that come again are numbered: {shown}")
    if len(unnamed) > 1 or (unnamed and unnamed[0] not in (0, len(first) - 1)):
        shown = ", ".join(f"'{names[place]}'" for place in unnamed[:SHOWN])
        found.append(f"columns without a name are called {shown}")
    return [Finding("note", "names", None, message, decision=True) for message in found]
