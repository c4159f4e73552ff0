"""The held-out rows one by one: predictions to download, worst errors, figures by group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from twinml.contract import model_frame
from twinml.data.safe_csv import safe_frame
from twinml.pages.tables import Cell, Table
from twinml.pages.wording import edge, number, percent, quantity, shorten
from twinml.report._measures import split_name

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training.result import Evaluation, TrainingResult

__all__ = [
    "Group",
    "HeldOut",
    "by_group",
    "group_table",
    "groups_of",
    "held_out",
    "predictions",
    "predicts_numbers",
    "weak",
    "weak_groups",
    "worst",
]

MOST_WORST = 10
MOST_COLUMNS = 5
MOST_VALUES = 6
FEWEST_ROWS = 30
Z = 1.959964
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """The rows of one estimate, whatever is predicted.

    Attributes
    ----------
    truth, predicted
        Class names or numbers, shape (n,).
    loss
        Minus the logarithm of the true class's probability, or the squared error, shape (n,).
    observed, expected
        What happened and what was predicted, to be compared in the mean, shape (n,): of two
        classes the positive one (0 or 1) and its probability, of more whether the prediction is
        right and its probability, else the numbers.
    """

    name: str
    rows: NDArray[np.int64]
    truth: NDArray[Any]
    predicted: NDArray[Any]
    loss: Floats
    observed: Floats
    expected: Floats


def predicts_numbers(result: TrainingResult) -> bool:
    """Tell whether the target is a number, not a class."""
    return result.contract.task == "regression"


def held_out(result: TrainingResult, found: Evaluation) -> HeldOut:
    """Return the rows of an estimate as values that any task has."""
    name, given = split_name(found), found.probabilities
    if predicts_numbers(result):
        predicted = given[:, 0]
        loss = (predicted - found.labels) ** 2
        return HeldOut(name, found.rows, found.labels, predicted, loss, found.labels, predicted)
    from twinml.training.metrics import decide, row_losses

    classes = np.array([str(each) for each in result.contract.classes], dtype=object)
    named = decide(given, result.threshold)
    if result.contract.task == "binary":
        observed, expected = (found.labels == 1).astype(float), given[:, 1]
    else:
        observed = (named == found.labels).astype(float)
        expected = given[np.arange(len(named)), named]
    loss = row_losses(found.labels, given)
    return HeldOut(
        name, found.rows, classes[found.labels], classes[named], loss, observed, expected
    )


def predictions(result: TrainingResult) -> pd.DataFrame:
    """Return a table with a line for each row that was held out, in both estimates.

    ``row`` is the position in the data that the model was trained on, the first one 1.
    """
    parts: list[pd.DataFrame] = []
    for found in [result.test, result.forward]:
        if found is None or (parts and found is result.test):
            continue
        rows = held_out(result, found)
        part = pd.DataFrame(
            {
                "estimate": rows.name,
                "row": rows.rows + 1,
                result.contract.target: rows.truth,
                "predicted": rows.predicted,
            }
        )
        if not predicts_numbers(result):
            for k, label in enumerate(result.contract.classes):
                part[f"probability of {label}"] = found.probabilities[:, k].round(6)
        part["loss"] = rows.loss.round(6)
        parts.append(part)
    return safe_frame(pd.concat(parts, ignore_index=True))


def worst(result: TrainingResult, dataset: Dataset) -> Table:
    """Return the rows of the main estimate with the largest losses, and what is in them."""
    rows = held_out(result, result.test)
    order = np.argsort(-rows.loss, kind="stable")[:MOST_WORST]
    columns = _columns(result, dataset)
    frame = dataset.features.iloc[rows.rows[order]]
    numeric = predicts_numbers(result)
    if numeric:
        heads = [Cell("Predicted", True), Cell("Error", True)]
    else:
        heads = [Cell("Predicted"), Cell("Probability of the true class", True)]
    lines = []
    for place, position in enumerate(order.tolist()):
        truth, named = rows.truth[position], rows.predicted[position]
        if numeric:
            cells = [Cell(quantity(float(named)), True), Cell(quantity(float(named - truth)), True)]
        else:
            cells = [Cell(str(named)), Cell(percent(math.exp(-rows.loss[position])), True)]
        line = frame.iloc[place]
        lines.append(
            (
                Cell(f"{int(rows.rows[position]) + 1:,}", True),
                Cell(quantity(float(truth)) if numeric else str(truth), numeric),
                *cells,
                *(Cell(shorten(quantity(line[name]), 24)) for name in columns),
            )
        )
    return Table(
        f"The {len(lines)} worst predictions, {rows.name.lower()}",
        (Cell("Row", True), Cell("True", numeric), *heads, *(Cell(name) for name in columns)),
        tuple(lines),
    )


def _columns(result: TrainingResult, dataset: Dataset) -> list[str]:
    """Return the most important columns, or the first ones."""
    if len(result.importance):
        names = result.importance["feature"].astype(str).tolist()
    else:
        names = list(result.contract.column_names)
    return [name for name in names if name in dataset.features.columns][:MOST_COLUMNS]


@dataclass(frozen=True)
class Group:
    """Rows with one value of a column, or in one range of it.

    ``loss`` is the mean, with the 95 % interval ``low`` to ``high`` of its difference from the
    mean of the other rows.
    """

    column: str
    value: str
    rows: int
    loss: float
    low: float
    high: float
    observed: float
    expected: float


def weak(low: float, loss: float, overall: float) -> bool:
    """Tell whether a group errs: surely more than the others, and a tenth more than the mean.

    Examples
    --------
    >>> weak(0.01, 0.33, 0.3), weak(0.01, 0.32, 0.3), weak(0.0, 0.6, 0.3)
    (True, False, False)
    """
    return low > 0 and loss >= 1.1 * overall


def groups_of(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return the name of each row's group: a value, ``other``, a quarter of the numbers, or null.

    Examples
    --------
    >>> groups_of(pd.Series(["b", "a", "b", None])).tolist()
    ['b', 'a', 'b', 'null']
    """
    known = values.dropna()
    if is_numeric_dtype(values) and known.nunique() > MOST_VALUES:
        edges = np.unique(known.quantile([0.25, 0.5, 0.75]))
        place = np.searchsorted(edges, values.to_numpy())
        ends = [edge(float(each)) for each in edges]
        between = [f"above {low} to {high}" for low, high in pairwise(ends)]
        names = np.array([f"up to {ends[0]}", *between, f"above {ends[-1]}"])
        found = pd.Series(names[np.minimum(place, len(edges))], index=values.index)
    else:
        kept = known.value_counts().index[:MOST_VALUES]
        found = values.map(quantity).astype(object).where(values.isin(kept), "other")
    return found.mask(values.isna(), "null")


def by_group(result: TrainingResult, dataset: Dataset) -> list[Group]:
    """Return the figures of groups of the main estimate, by the most important columns.

    Groups with fewer than ``FEWEST_ROWS`` rows are left out: their figures say little.
    """
    rows = held_out(result, result.test)
    frame = model_frame(dataset.features).iloc[rows.rows]
    found = []
    for column in _columns(result, dataset):
        names = groups_of(frame[column].reset_index(drop=True)).to_numpy()
        for name in sorted(set(names), key=lambda each: -int((names == each).sum())):
            mark = names == name
            inside, outside = rows.loss[mark], rows.loss[~mark]
            if len(inside) < FEWEST_ROWS or len(outside) < FEWEST_ROWS:
                continue
            apart = float(inside.mean() - outside.mean())
            error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
            found.append(
                Group(
                    column, str(name), len(inside), float(inside.mean()),
                    apart - Z * error, apart + Z * error,
                    float(rows.observed[mark].mean()), float(rows.expected[mark].mean()),
                )
            )  # fmt: skip
    return found


def weak_groups(result: TrainingResult, groups: list[Group]) -> list[Group]:
    """Return the groups that err more than the other rows, the worst first."""
    overall = float(held_out(result, result.test).loss.mean())
    found = [each for each in groups if weak(each.low, each.loss, overall)]
    return sorted(found, key=lambda each: -each.loss)


def group_table(result: TrainingResult, groups: list[Group]) -> Table | None:
    """Return the groups as a table."""
    if not groups:
        return None
    numbers = predicts_numbers(result)
    known = {id(each) for each in weak_groups(result, groups)}
    if numbers:
        heads = ("RMSE", "Mean observed", "Mean predicted")
    elif result.contract.task == "binary":
        positive = shorten(str(result.contract.positive_class), 20)
        heads = ("Log loss", f"Observed “{positive}”", f"Predicted “{positive}”")
    else:
        heads = ("Log loss", "Accuracy", "Mean confidence")

    def written(value: float) -> str:
        return quantity(value) if numbers else percent(value)

    lines = tuple(
        (
            Cell(each.column),
            Cell(shorten(each.value, 32)),
            Cell(f"{each.rows:,}", True, each.rows),
            Cell(
                quantity(math.sqrt(each.loss)) if numbers else number(each.loss),
                True,
                each.loss,
            ),
            Cell(written(each.observed), True, each.observed),
            Cell(written(each.expected), True, each.expected),
            Cell("errs more" if id(each) in known else "–"),
        )
        for each in groups
    )
    return Table(
        f"By group, {split_name(result.test).lower()}",
        (Cell("Column"), Cell("Value"), Cell("Rows", True), *(Cell(head, True) for head in heads),
         Cell("Beside the other rows")),
        lines,
        sortable=True,
    )  # fmt: skip
