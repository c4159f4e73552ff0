"""What a decision threshold costs, and which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twinml.pages.tables import Cell, Table
from twinml.pages.wording import number, percent, shorten
from twinml.report._measures import split_name

if TYPE_CHECKING:
    from twinml.training.result import TrainingResult

__all__ = ["cheapest", "confused_pairs", "cost_table", "threshold_table"]

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# How many false alarms a missed row is worth.
RATIOS = (1.0, 2.0, 5.0, 10.0, 20.0)
MOST_PAIRS = 10

Floats = NDArray[np.float64]


def threshold_table(result: TrainingResult) -> Table | None:
    """Return what becomes of the test rows at some thresholds; of two classes only."""
    if result.contract.task != "binary" or result.threshold is None:
        return None
    hit, score = result.test.labels == 1, result.test.probabilities[:, 1]
    positive = shorten(str(result.contract.positive_class), 20)
    levels = sorted({*THRESHOLDS, round(float(result.threshold), 6)})
    rows = []
    for level in levels:
        named = score >= level
        right, alarms = int((named & hit).sum()), int((named & ~hit).sum())
        missed = int(hit.sum()) - right
        rows.append(
            (
                Cell(number(level, 3 if round(level, 2) != level else 2), True),
                Cell(f"{int(named.sum()):,}", True),
                Cell(percent(float(named.mean())), True),
                Cell(f"{right:,}", True),
                Cell(f"{alarms:,}", True),
                Cell(f"{missed:,}", True),
                Cell(percent(right / (right + alarms) if named.any() else None), True),
                Cell(percent(right / hit.sum() if hit.any() else None), True),
            )
        )
    heads = ("Threshold", f"Named “{positive}”", "Share of rows", "Right", "False alarms", "Missed",
             "Precision", "Recall")  # fmt: skip
    return Table(
        f"What each threshold does with {len(hit):,} rows, {split_name(result.test).lower()}; "
        "the one in use is set in bold",
        tuple(Cell(head, True) for head in heads),
        tuple(rows),
        emphasis=levels.index(round(float(result.threshold), 6)),
    )


def cheapest(hit: NDArray[np.bool_], score: Floats, ratio: float) -> tuple[float, float]:
    """Return the threshold with the least cost, and that cost for each row.

    A false alarm costs 1, a missed row of the class ``ratio``. A threshold above 1 names nothing.

    Examples
    --------
    >>> cheapest(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.6, 0.8]), 2.0)
    (0.4, 0.25)
    """
    order = np.argsort(-score)
    ranked, event = score[order], hit[order]
    alarms = np.concatenate([[0], np.cumsum(~event)])
    missed = int(event.sum()) - np.concatenate([[0], np.cumsum(event)])
    # A threshold takes all rows with its score.
    ends = np.concatenate([[True], np.append(ranked[1:] != ranked[:-1], True)])
    costs = np.where(ends, alarms + ratio * missed, np.inf)
    best = int(np.argmin(costs))
    return (float(ranked[best - 1]) if best else 1.01), float(costs[best]) / len(hit)


def cost_table(result: TrainingResult) -> Table | None:
    """Return the cheapest threshold by what a missed row costs; of two classes only."""
    if result.contract.task != "binary" or result.threshold is None:
        return None
    hit, score = result.test.labels == 1, result.test.probabilities[:, 1]
    named = score >= result.threshold
    alarms, missed = float((named & ~hit).mean()), float((~named & hit).mean())
    rows = []
    for ratio in RATIOS:
        level, least = cheapest(hit, score, ratio)
        rows.append(
            (
                Cell(f"{ratio:g}", True),
                Cell(number(level) if level <= 1 else "name none", True),
                Cell(number(least, 4), True),
                Cell(number(alarms + ratio * missed, 4), True),
                Cell(number(ratio * float(hit.mean()), 4), True),
                Cell(number(float((~hit).mean()), 4), True),
            )
        )
    heads = ("A missed row costs", "Cheapest threshold", "Cost there", "Cost as it is",
             "Naming none", "Naming all")  # fmt: skip
    return Table(
        "Costs for each test row, in false alarms; the cheapest threshold is chosen on these rows, "
        "so it promises a little too much",
        tuple(Cell(head, True) for head in heads),
        tuple(rows),
    )


def confused_pairs(result: TrainingResult) -> Table | None:
    """Return the classes that are most often taken for another one; of more than two only."""
    if result.contract.task != "multiclass":
        return None
    counts = np.array(result.test.confusion, dtype=np.int64)
    rows = np.maximum(counts.sum(axis=1), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts.ravel(), kind="stable")[:MOST_PAIRS]
    names = [str(each) for each in result.contract.classes]
    lines = []
    for true, named in (divmod(int(place), len(names)) for place in order):
        if counts[true, named]:
            lines.append(
                (
                    Cell(names[true]),
                    Cell(names[named]),
                    Cell(f"{counts[true, named]:,}", True),
                    Cell(percent(counts[true, named] / rows[true]), True),
                )
            )
    if not lines:
        return None
    return Table(
        f"Classes taken for another, {split_name(result.test).lower()}",
        (Cell("True"), Cell("Predicted"), Cell("Rows", True), Cell("Of the true class", True)),
        tuple(lines),
    )
