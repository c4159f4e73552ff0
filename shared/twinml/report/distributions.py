"""How the target and the columns are distributed, as bars that the page draws itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from twinml.contract import model_frame
from twinml.pages.tables import Cell, Table
from twinml.pages.wording import counted, edge, percent, quantity, shorten

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training.result import TrainingResult

__all__ = ["Distribution", "distribution", "features", "missing", "target"]

BINS = 16
MOST_VALUES = 6
MOST_CLASSES = 12
MOST_COLUMNS = 24
# Ends of a histogram: what lies beyond is in its first and last bar.
TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class Distribution:
    """The bars of one column.

    Attributes
    ----------
    bars
        Shares of the known values with their labels; of numbers one for each range, ascending.
    ends
        Where the first and the last range of numbers begin and end; empty for values.
    aside
        What else is to be said: different values, and missing ones.
    """

    name: str
    bars: tuple[tuple[str, float], ...]
    ends: tuple[str, ...] = ()
    aside: str = ""

    @property
    def most(self) -> float:
        """The largest share."""
        return max((share for _, share in self.bars), default=0.0)

    @property
    def alt(self) -> str:
        """The bars in words."""
        return ", ".join(f"{label} {percent(share)}" for label, share in self.bars)


def distribution(name: str, values: pd.Series[Any], most_values: int = MOST_VALUES) -> Distribution:
    """Return the bars of a column."""
    known = values.dropna()
    lost = len(values) - len(known)
    distinct = int(known.nunique())
    aside = counted(distinct, "value")
    if lost:
        aside += f", {percent(lost / len(values))} missing"
    numeric = is_numeric_dtype(values) and not is_bool_dtype(values)
    if (numeric or is_datetime64_any_dtype(values)) and distinct > most_values:
        bars, ends = _ranges(known)
        return Distribution(name, bars, ends, aside)
    counts = known.value_counts()
    if numeric and len(counts) <= most_values:
        counts = counts.sort_index()
    top = counts.head(most_values)
    shares = [(shorten(quantity(label), 24), rows / len(known)) for label, rows in top.items()]
    if len(counts) > len(top):
        rest = counted(len(counts) - len(top), "other", "others")
        shares.append((rest, float(counts.iloc[len(top) :].sum() / len(known))))
    return Distribution(name, tuple(shares), (), aside)


def _ranges(known: pd.Series[Any]) -> tuple[tuple[tuple[str, float], ...], tuple[str, str]]:
    dates = is_datetime64_any_dtype(known)
    numbers = (known.astype("int64") if dates else known).to_numpy(dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low, high = np.quantile(numbers, TAILS)
    if low == high:
        low, high = numbers.min(), numbers.max()
    if (numbers == np.round(numbers)).all():
        low, high = np.floor(low), np.ceil(high)
    edges = np.linspace(low, high, BINS + 1)
    counts, _ = np.histogram(np.clip(numbers, low, high), edges)

    def written(value: float) -> str:
        return str(pd.Timestamp(int(value)).date()) if dates else edge(float(value))

    labels = [f"from {written(edge)}" for edge in edges[:-1]]
    shares = counts / len(numbers)
    return tuple(zip(labels, shares.tolist(), strict=True)), (written(low), written(high))


def target(dataset: Dataset) -> Distribution:
    """Return the bars of the target, all its classes where they are not too many."""
    return distribution(dataset.target, dataset.labels, MOST_CLASSES)


def features(result: TrainingResult, dataset: Dataset) -> list[Distribution]:
    """Return the bars of the columns, the most important first."""
    frame = model_frame(dataset.features)
    first = result.importance["feature"].astype(str).tolist() if len(result.importance) else []
    names = list(dict.fromkeys([*first, *map(str, frame.columns)]))
    return [distribution(name, frame[name]) for name in names if name in frame.columns][
        :MOST_COLUMNS
    ]


def missing(dataset: Dataset) -> Table | None:
    """Return the columns with missing values, those with the most first; ``None`` without any."""
    counts = dataset.features.isna().sum()
    counts = counts[counts > 0].sort_values(ascending=False, kind="stable")
    if counts.empty:
        return None
    rows = tuple(
        (Cell(str(name)), Cell(f"{int(lost):,}", True), Cell(percent(lost / dataset.n_rows), True))
        for name, lost in counts.head(MOST_COLUMNS).items()
    )
    caption = f"Missing values in {counted(len(counts), 'column')}"
    if len(counts) > len(rows):
        caption += f"; the first {len(rows)}"
    return Table(caption, (Cell("Column"), Cell("Rows", True), Cell("Share", True)), rows)
