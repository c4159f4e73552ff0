"""The words and numbers of the report: what each metric means, and how values are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml.training.result import Evaluation, Interval

__all__ = [
    "Measure",
    "interval",
    "measure",
    "number",
    "ordered",
    "percent",
    "quantity",
    "seconds",
    "sentence",
    "shorten",
    "split_name",
]

NOTHING = "–"


@dataclass(frozen=True)
class Measure:
    """A metric for readers: its ``label``, which way is better, and what it says."""

    name: str
    label: str
    higher_is_better: bool
    meaning: str


# In the order in which tables show them.
MEASURES: tuple[Measure, ...] = (
    Measure(
        "roc_auc",
        "ROC AUC",
        True,
        "how well the scores rank: the chance that a row of the class scores above a row of "
        "another class. 0.5 is guessing, 1 is perfect. It does not depend on the threshold.",
    ),
    Measure(
        "average_precision",
        "Average precision",
        True,
        "area under the precision-recall curve. Guessing gives the share of the positive class, "
        "so it tells more than ROC AUC when that class is rare. 1 is perfect.",
    ),
    Measure(
        "accuracy",
        "Accuracy",
        True,
        "share of rows that are labelled right at the decision threshold. Compare it with the "
        "baseline: with a rare class, always naming the other one already scores high.",
    ),
    Measure(
        "balanced_accuracy",
        "Balanced accuracy",
        True,
        "the share labelled right within each class, averaged over the classes. "
        "Always naming one class gives 1 divided by the number of classes.",
    ),
    Measure(
        "f1",
        "F1",
        True,
        "harmonic mean of precision (how many of the rows named positive are) and recall (how "
        "many of the positive rows are named); with more than two classes, averaged over them.",
    ),
    Measure(
        "log_loss",
        "Log loss",
        False,
        "how far the probabilities are from what happened; confident mistakes cost most. "
        "Lower is better, 0 is perfect.",
    ),
    Measure(
        "brier",
        "Brier score",
        False,
        "mean squared distance between the probabilities and what happened. "
        "Lower is better, 0 is perfect.",
    ),
)
BY_NAME = {known.name: known for known in MEASURES}


def measure(name: str) -> Measure:
    """Return what is known about a metric; one that is not known keeps its own name.

    Examples
    --------
    >>> measure("roc_auc").label
    'ROC AUC'
    >>> measure("hinge_loss").higher_is_better
    False

    """
    if name in BY_NAME:
        return BY_NAME[name]
    lower = any(word in name for word in ("loss", "error", "brier"))
    label = name.replace("_", " ").capitalize()
    direction = "Lower" if lower else "Higher"
    return Measure(name, label, not lower, f"{direction} is better.")


def ordered(names: Iterable[str], first: str | None = None) -> list[Measure]:
    """Return the metrics called ``names`` in reading order, ``first`` at the head.

    Examples
    --------
    >>> [each.name for each in ordered({"brier", "accuracy", "roc_auc"}, first="brier")]
    ['brier', 'roc_auc', 'accuracy']

    """
    present = set(names)
    known = [each.name for each in MEASURES if each.name in present]
    names_in_order = known + sorted(present.difference(known))
    if first in present:
        names_in_order.remove(first)
        names_in_order.insert(0, first)
    return [measure(name) for name in names_in_order]


def number(value: Any, digits: int = 3) -> str:
    """Write a number with fixed decimals; a missing one as a dash.

    Examples
    --------
    >>> number(0.94712), number(float("nan")), number(-0.0004)
    ('0.947', '–', '0.000')

    """
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    # "-0.000" would claim a sign that the shown digits do not carry.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def interval(found: Interval | None, digits: int = 3) -> str:
    """Write the ends of an interval, e.g. ``0.941 – 0.953``."""
    if found is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return NOTHING
    return f"{number(found.low, digits)} – {number(found.high, digits)}"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share as per cent.

    Examples
    --------
    >>> percent(0.9063)
    '90.6%'

    """
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}%"


def seconds(value: Any) -> str:
    """Write a duration with one decimal, and from two minutes on in minutes too.

    Examples
    --------
    >>> seconds(0.04), seconds(61.26), seconds(754)
    ('0.0 s', '61.3 s', '12 min 34 s')

    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def quantity(value: Any) -> str:
    """Write any cell of a table: integers with thousands, floats with up to four digits.

    Examples
    --------
    >>> quantity(45211), quantity(0.11698), quantity(1362.2720), quantity("admin."), quantity(None)
    ('45,211', '0.117', '1,362', 'admin.', '–')

    """
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    if isinstance(value, float):
        if not math.isfinite(value):
            return NOTHING
        if value == int(value) and abs(value) < 1e15:
            return f"{int(value):,}".replace("-", "−")
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
        text = f"{value:,.{digits}f}" if abs(value) >= 1 else f"{value:.3g}"
        return text.replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {quantity(item)}" for key, item in value.items()) or NOTHING
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(quantity(item) for item in value) or NOTHING
    return str(value) or NOTHING


def sentence(text: str) -> str:
    """Return ``text`` as a sentence: a capital first, a full stop last.

    Examples
    --------
    >>> sentence("the order of the rows is not known")
    'The order of the rows is not known.'

    """
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def shorten(text: object, length: int = 28) -> str:
    """Return ``text`` on one line of at most ``length`` characters, for labels in pictures.

    Examples
    --------
    >>> shorten("number of contacts during this campaign", 16)
    'number of conta…'

    """
    line = "".join(sign if sign.isprintable() else " " for sign in str(text)).strip()
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def split_name(evaluation: Evaluation) -> str:
    """Name the way in which the rows were held out."""
    return "Random split" if evaluation.split == "random" else "Forward in time"
