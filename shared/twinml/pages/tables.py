"""Tables as the template shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pandas.api import types as pd_types

from twinml.pages.wording import quantity, seconds

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "Table", "pairs", "profile_column"]


@dataclass(frozen=True)
class Cell:
    """One cell: its text, whether it is a number, and the value to sort by."""

    text: str
    numeric: bool = False
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A table as the template shows it; the first cell of each row names the row."""

    caption: str
    heads: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    pairs: bool = False
    emphasis: int | None = None


def pairs(caption: str, values: Mapping[str, Any], write: Callable[[Any], str]) -> Table:
    """Return a table of names and values, each written with ``write``."""
    numeric = write is seconds
    rows = tuple((Cell(str(name)), Cell(write(value), numeric)) for name, value in values.items())
    return Table(caption, (Cell("Name"), Cell("Value", numeric)), rows, pairs=True)


def profile_column(name: str, values: pd.Series) -> tuple[Cell, list[Cell]]:
    """Return the head and cells of a column; decimals are the same in all its cells."""
    head = name.replace("_", " ").capitalize()
    plain = values.tolist()
    if not pd_types.is_numeric_dtype(values) or pd_types.is_bool_dtype(values):
        return Cell(head), [Cell(quantity(value)) for value in plain]
    known = [value for value in plain if math.isfinite(value)]
    if all(value == int(value) for value in known):
        cells = [f"{int(value):,}" if math.isfinite(value) else "–" for value in plain]
    elif any(0 < abs(value) < 0.01 for value in known):
        cells = [quantity(value) for value in plain]
    else:
        cells = [f"{value:,.2f}" if math.isfinite(value) else "–" for value in plain]
    return Cell(head, True), [Cell(text.replace("-", "−"), True) for text in cells]
