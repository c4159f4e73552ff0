"""Checks of a table: what forbids training a classifier, and what is only worth knowing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.data._finding import Finding
from twinml.errors import DataError, Detail

__all__ = ["check_target", "check_unnamed", "empty_columns", "findings"]

# A fifth of the rows is held out and the rest split into five folds: with 50 rows a fold
# has 8 and the held-out part 10. Fewer give no estimate that means anything.
FEWEST_ROWS = 50
# The same arithmetic for one class: of 7 rows, 5 or 6 stay, one for each fold at least.
FEWEST_CLASS_ROWS = 7
FEW_CLASS_ROWS = 50
MOST_CLASSES = 100
MOST_FLOAT_CLASSES = 20
MANY_CATEGORIES = 1000
HIGH_NULL_SHARE = 0.5
DATE_SHARE = 0.95
MAJORITY_SHARE = 0.8
SUSPICIOUS_AUC = 0.98
LEAK_ROWS = 20_000
LEAK_CLASSES = 20
LEAK_BINS = 50
SHOWN = 5

ID_NAME = re.compile(
    r"(^|[_. -])(id|uid|uuid|guid|key|index|idx|rowid|row)$|^__index_level_\d+__$", re.I
)
DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{4}/\d{1,2}/\d{1,2}.*"
    r"|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})( .*)?"
)


def check_unnamed(columns: Sequence[str], drop: Sequence[str], file: str) -> None:
    """Refuse columns that have no name in the header and are not left out."""
    for position, column in enumerate(columns):
        if column not in drop and (not column.strip() or column.startswith("Unnamed: ")):
            raise DataError(
                f"'{file}' has a column without a name, position {position} counted from 0",
                hint=f"Name it in the header or leave it out: --drop '{column}'.",
            )


def check_target(labels: pd.Series, file: str) -> None:
    """Refuse a target that no classifier can be trained and tested on."""
    name = str(labels.name)
    null = np.flatnonzero(labels.isna().to_numpy())
    if len(labels) < FEWEST_ROWS:
        raise DataError(
            f"'{file}' has {len(labels)} rows, expected at least {FEWEST_ROWS}",
            hint="A fifth is held out for the test and the rest is split into five folds.",
        )
    if len(null):
        rows = ", ".join(f"{row + 1:,}" for row in null[:SHOWN])
        rows += ", …" if len(null) > SHOWN else ""
        raise DataError(
            f"the target '{name}' is null in {len(null):,} of {len(labels):,} rows: data rows "
            f"{rows} (the first is 1)",
            hint="Leave these rows out of the file, or name another target.",
            details=[
                Detail(row=int(row), column=name, value=None, expected="a class")
                for row in null[:SHOWN]
            ],
        )
    counts = labels.value_counts()
    _check_classes(name, counts, labels)


def _check_classes(name: str, counts: pd.Series, labels: pd.Series) -> None:
    if len(counts) == 1:
        raise DataError(
            f"the target '{name}' has one class, {_shown(counts.index[0])}, in all rows",
            hint="A classifier needs at least two; name another target or add rows.",
        )
    continuous = labels.dtype.kind == "f" and len(counts) > MOST_FLOAT_CLASSES
    if continuous or (len(counts) > MOST_CLASSES and labels.dtype.kind in "if"):
        raise DataError(
            f"the target '{name}' has {len(counts):,} distinct numbers: predicting a number is "
            "regression, which is not supported",
            hint="Name a target with classes, or make classes of it, such as low and high.",
        )
    if len(counts) > MOST_CLASSES:
        raise DataError(
            f"the target '{name}' has {len(counts):,} classes, expected at most {MOST_CLASSES}",
            hint="Name another target, or join rare classes.",
        )
    rare = counts[counts < FEWEST_CLASS_ROWS]
    if len(rare):
        shown = ", ".join(f"{_shown(label)} ({count})" for label, count in rare.head(SHOWN).items())
        raise DataError(
            f"the target '{name}' has {_count(len(rare), 'class', 'classes')} with fewer than "
            f"{FEWEST_CLASS_ROWS} rows: {shown}",
            hint="Each class must be in the test part and in all five folds; join it with "
            "another class or leave its rows out.",
        )


def empty_columns(columns: Sequence[str]) -> list[Finding]:
    """Say which columns were left out because they hold no value."""
    return [
        Finding("warning", "empty", column, f"'{column}' has no value in any row and is left out")
        for column in columns
    ]


def findings(frame: pd.DataFrame, target: str, leaks: Mapping[str, str]) -> list[Finding]:
    """Return what is worth knowing about the columns, the classes and the rows."""
    features = [str(column) for column in frame.columns if column != target]
    found = list(_classes(frame[target]))
    for column in features:
        values = frame[column]
        if column in leaks:
            message = f"'{column}' leaks the target: {leaks[column]}"
            found.append(Finding("warning", "leak", column, message))
        found += _column(column, values)
        found += _text(column, values) if values.dtype == object else _number(column, values)
    found += _suspects(frame, target, [column for column in features if column not in leaks])
    twice = int(frame.duplicated().sum())
    if twice:
        message = f"{_count(twice, 'row repeats', 'rows repeat')} an earlier row in every column"
        found.append(Finding("note", "duplicates", None, message))
    return found


def _classes(labels: pd.Series) -> Iterator[Finding]:
    name = str(labels.name)
    counts = labels.value_counts()
    if labels.dtype == object and any(label != label.strip() for label in counts.index):
        message = f"classes of '{name}' begin or end with a blank; they are kept as they are"
        yield Finding("note", "blanks", name, message)
    share = counts.iloc[0] / len(labels)
    if share >= MAJORITY_SHARE:
        message = (
            f"{share:.1%} of the rows are {_shown(counts.index[0])}: always saying so has that "
            "accuracy"
        )
        yield Finding("note", "imbalance", name, message)
    elif counts.iloc[-1] / len(labels) < 1 / (5 * len(counts)):
        message = (
            f"class {_shown(counts.index[-1])} has {counts.iloc[-1] / len(labels):.1%} of the rows"
        )
        yield Finding("note", "imbalance", name, message)
    for label, count in counts[counts < FEW_CLASS_ROWS].items():
        message = f"class {_shown(label)} has {count} rows: figures about it will be rough"
        yield Finding("warning", "rare-class", name, message)


def _column(name: str, values: pd.Series) -> Iterator[Finding]:
    """Yield what holds for columns of any type."""
    null = float(values.isna().mean())
    distinct = values.nunique()
    if null > HIGH_NULL_SHARE:
        yield Finding("note", "nulls", name, f"'{name}' is null in {null:.1%} of the rows")
    if distinct == 1 and null == 0:
        message = f"'{name}' is {_shown(values.iloc[0])} in all rows and tells nothing"
        yield Finding("warning", "constant", name, message)
    if distinct == len(values) and _id_like(name, values):
        message = f"'{name}' differs in every row like a key and tells nothing about new rows"
        yield Finding("warning", "id-like", name, f"{message}; leave it out with --drop")


def _id_like(name: str, values: pd.Series) -> bool:
    """Tell whether distinct values are a key: any text, or numbers by name or by counting."""
    if values.dtype == object:
        return not _dates(values)
    if values.dtype.kind != "i":
        return False
    steps = np.abs(np.diff(np.sort(values.to_numpy())))
    return bool(ID_NAME.search(name)) or bool((steps == 1).all())


def _text(name: str, values: pd.Series) -> Iterator[Finding]:
    distinct = values.nunique()
    if _dates(values):
        message = (
            f"'{name}' looks like dates and stays text: dates to come are values never seen; "
            "use parts such as the month"
        )
        yield Finding("note", "dates", name, message)
    if distinct > MANY_CATEGORIES:
        message = f"'{name}' has {distinct:,} different texts: most are too rare to learn from"
        yield Finding("note", "many-categories", name, message)
    if any(value != value.strip() for value in values.dropna().unique()):
        message = f"values of '{name}' begin or end with a blank; they are kept as they are"
        yield Finding("note", "blanks", name, message)


def _number(name: str, values: pd.Series) -> Iterator[Finding]:
    if values.dtype.kind == "f":
        infinite = int(np.isinf(values.to_numpy()).sum())
        if infinite:
            message = f"'{name}' is infinite in {_count(infinite, 'row', 'rows')}"
            yield Finding("warning", "infinite", name, message)


def _dates(values: pd.Series) -> bool:
    distinct = values.dropna().unique()
    match = sum(bool(DATE.fullmatch(value.strip())) for value in distinct)
    return bool(match >= DATE_SHARE * len(distinct))


# --- leaks ---------------------------------------------------------------------------------


def _suspects(frame: pd.DataFrame, target: str, features: Sequence[str]) -> Iterator[Finding]:
    """Yield features that tell the classes apart all but perfectly, each on its own.

    Class shares by value are learnt on one half of the rows and judged on the other, so that
    a key with a value of its own for each row is no suspect.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(frame))[:LEAK_ROWS]
    sample = frame.iloc[rows]
    labels, classes = pd.factorize(sample[target])
    frequent = np.argsort(-np.bincount(labels), kind="stable")[:LEAK_CLASSES]
    wanted = frequent[:1] if len(classes) == 2 else frequent
    learn = np.arange(len(sample)) % 2 == 0
    for column in features:
        codes = _bins(sample[column])
        areas = [_separation(codes, labels == label, learn) for label in wanted]
        area = float(np.mean(areas))
        if area > SUSPICIOUS_AUC:
            message = (
                f"'{column}' alone tells the classes apart (AUC {area:.3f}): check that it is "
                "known when the model is asked"
            )
            yield Finding("warning", "leak-suspect", column, message)


def _bins(values: pd.Series) -> NDArray[np.int64]:
    """Return values as small whole numbers; numbers by quantile, nulls as a value."""
    if values.dtype.kind in "if" and values.nunique() > LEAK_BINS:
        bins = np.floor(values.rank(pct=True).to_numpy() * LEAK_BINS)
        return np.where(np.isnan(bins), LEAK_BINS + 1, bins).astype(np.int64)
    return pd.factorize(values, use_na_sentinel=False)[0].astype(np.int64)


def _separation(
    codes: NDArray[np.int64], positive: NDArray[np.bool_], learn: NDArray[np.bool_]
) -> float:
    """Return the AUC of the class share by value, learnt on one half, judged on the other."""
    size = int(codes.max()) + 1
    rows = np.bincount(codes[learn], minlength=size)
    hits = np.bincount(codes[learn], weights=positive[learn], minlength=size)
    prior = positive[learn].mean()
    score = ((hits + prior) / (rows + 1))[codes[~learn]]
    truth = positive[~learn]
    n_positive = int(truth.sum())
    n_negative = len(truth) - n_positive
    if not n_positive or not n_negative:
        return 0.5
    ranks = pd.Series(score).rank().to_numpy()
    above = ranks[truth].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def _shown(value: object) -> str:
    """Return a class or value for a message: texts in quotes and cut, numbers as they are."""
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 40 else f"'{value[:39]}…'"
    return str(value)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
