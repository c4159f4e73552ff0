"""Remarks about columns, classes and rows that are worth knowing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from twinml.data._copies import copies, repeats
from twinml.data._finding import Finding
from twinml.data._groups import group_keys
from twinml.data._leaks import adding_up, explaining, suspects
from twinml.data._left_out import dates
from twinml.data._task import TaskKind
from twinml.data._words import count, listed, shown

__all__ = ["findings"]

FEW_CLASS_ROWS = 50
MANY_CATEGORIES = 1000
HIGH_NULL_SHARE = 0.5
MAJORITY_SHARE = 0.8
FIRST_DAY, LAST_DAY = 19_000_101, 21_001_231
FIRST_SECOND, LAST_SECOND = 946_684_800, 2_208_988_800  # of the years 2000 and 2040
TIME_NAME = re.compile(r"date|time|stamp|epoch|(^|_)(ts|day|at|on)$", re.IGNORECASE)


def findings(
    frame: pd.DataFrame,
    target: str,
    leaks: Mapping[str, str],
    task: TaskKind = "classification",
    read: Collection[str] = (),
) -> list[Finding]:
    """Return what is worth knowing about the columns, the classes and the rows.

    Parameters
    ----------
    read
        Columns of text that are read as something else, such as dates.
    """
    features = [str(column) for column in frame.columns if column != target]
    found = list(_classes(frame[target])) if task == "classification" else []
    for column in features:
        values = frame[column]
        if column in leaks:
            message = f"'{column}' leaks the target: {leaks[column]}"
            found.append(Finding("warning", "leak", column, message))
        found += _column(column, values)
        if values.dtype != object:
            found += _number(column, values)
        elif column not in read:
            found += _text(column, values)
    others = [column for column in features if column not in leaks]
    if task == "classification":
        found += suspects(frame, target, others)
    else:
        found += (*explaining(frame, target, others), *adding_up(frame, target, others))
    found += group_keys(frame, target)
    twice = repeats(frame)
    if twice:
        message = f"{count(twice, 'row repeats', 'rows repeat')} an earlier row in every column"
        if copies(frame, target if task == "classification" else None) is not None:
            message += "; copies stay on one side of a random split"
        found.append(Finding("note", "duplicates", None, message))
    return found


def alike_but_for_case(classes: Iterable[str]) -> list[str]:
    """Return the classes, as they come, that are written like another one but for case and blanks.

    Examples
    --------
    >>> alike_but_for_case(["yes", "no", " Yes", "NO", "maybe"]), alike_but_for_case(["a", "b"])
    (['yes', 'no', ' Yes', 'NO'], [])
    """
    names = list(classes)
    times = Counter(" ".join(one.split()).casefold() for one in names)
    return [one for one in names if times[" ".join(one.split()).casefold()] > 1]


def _classes(labels: pd.Series) -> Iterator[Finding]:
    name = str(labels.name)
    counts = labels.value_counts()
    if labels.dtype == object and any(label != label.strip() for label in counts.index):
        message = f"classes of '{name}' begin or end with a blank; they are kept as they are"
        yield Finding("note", "blanks", name, message)
    alike = alike_but_for_case(counts.index) if labels.dtype == object else []
    if alike:
        message = (
            f"classes of '{name}' differ by case or blanks only, and are different to the model: "
            f"{listed(alike)}; write each of them in one way"
        )
        yield Finding("warning", "alike", name, message)
    share = counts.iloc[0] / len(labels)
    if share >= MAJORITY_SHARE:
        message = (
            f"{share:.1%} of the rows are {shown(counts.index[0])}: always saying so has that "
            "accuracy"
        )
        yield Finding("note", "imbalance", name, message)
    elif counts.iloc[-1] / len(labels) < 1 / (5 * len(counts)):
        message = (
            f"class {shown(counts.index[-1])} has {counts.iloc[-1] / len(labels):.1%} of the rows"
        )
        yield Finding("note", "imbalance", name, message)
    few = counts[counts < FEW_CLASS_ROWS]
    if len(few) == 1:
        message = (
            f"class {shown(few.index[0])} has {few.iloc[0]} rows: figures about it will be rough"
        )
        yield Finding("warning", "rare-class", name, message)
    elif len(few):
        rarest = f"{shown(few.index[-1])} has {few.iloc[-1]}"
        message = (
            f"{len(few)} classes of '{name}' have fewer than {FEW_CLASS_ROWS} rows, {rarest}: "
            "figures about them will be rough"
        )
        yield Finding("warning", "rare-class", name, message)


def _column(name: str, values: pd.Series) -> Iterator[Finding]:
    """Yield what holds for columns of any type."""
    null = float(values.isna().mean())
    distinct = values.nunique()
    if null > HIGH_NULL_SHARE:
        yield Finding("note", "nulls", name, f"'{name}' is null in {null:.1%} of the rows")
    if distinct == 1 and null == 0:
        message = f"'{name}' is {shown(values.iloc[0])} in all rows and tells nothing"
        yield Finding("warning", "constant", name, message)


def _text(name: str, values: pd.Series) -> Iterator[Finding]:
    distinct = values.nunique()
    if dates(values):
        message = (
            f"'{name}' looks like dates or times, of no form or of several, and stays text; write "
            "them as YYYY-MM-DD, times as YYYY-MM-DD HH:MM:SS"
        )
        yield Finding("note", "dates", name, message)
    if distinct > MANY_CATEGORIES:
        message = f"'{name}' has {distinct:,} different texts: most are too rare to learn from"
        yield Finding("note", "many-categories", name, message)
    if any(value != value.strip() for value in values.dropna().unique()):
        message = f"values of '{name}' begin or end with a blank; they are kept as they are"
        yield Finding("note", "blanks", name, message)


def counted_dates(name: str, values: pd.Series) -> str:
    """Return what whole numbers count if they look like dates, or nothing.

    >>> counted_dates("day", pd.Series([20240131, 20240201]))
    'days as YYYYMMDD'
    >>> counted_dates("created_at", pd.Series([1_700_000_000_000]))
    'milliseconds since 1970'
    >>> counted_dates("phone", pd.Series([1_700_000_000]))
    ''
    """
    if values.dtype.kind not in "iI" or values.nunique() < 1:
        return ""
    low, high = int(values.min()), int(values.max())
    if low >= FIRST_DAY and high <= LAST_DAY:
        texts = values.dropna().astype(str)
        if pd.to_datetime(texts, format="%Y%m%d", errors="coerce").notna().all():
            return "days as YYYYMMDD"
    if TIME_NAME.search(name):
        for unit, factor in (("seconds", 1), ("milliseconds", 1_000)):
            if FIRST_SECOND * factor <= low and high < LAST_SECOND * factor:
                return f"{unit} since 1970"
    return ""


def _number(name: str, values: pd.Series) -> Iterator[Finding]:
    counted = counted_dates(name, values)
    if counted:
        message = (
            f"'{name}' looks like {counted} and is read as a number; written as YYYY-MM-DD "
            "HH:MM:SS the model learns weekdays and hours from it"
        )
        yield Finding("note", "counted-dates", name, message)
    if values.dtype.kind == "f":
        infinite = int(np.isinf(values.to_numpy()).sum())
        if infinite:
            message = f"'{name}' is infinite in {count(infinite, 'row', 'rows')}"
            yield Finding("warning", "infinite", name, message)
