"""Remarks about columns, classes and rows that are worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.data._copies import copies, repeats
from twinml.data._finding import Finding
from twinml.data._left_out import dates
from twinml.data._task import TaskKind
from twinml.data._words import count, shown

__all__ = ["findings"]

FEW_CLASS_ROWS = 50
MANY_CATEGORIES = 1000
HIGH_NULL_SHARE = 0.5
MAJORITY_SHARE = 0.8
SUSPICIOUS_AUC = 0.98
SUSPICIOUS_SHARE = 0.98
LEAK_ROWS = 20_000
LEAK_CLASSES = 20
LEAK_BINS = 50


def findings(
    frame: pd.DataFrame,
    target: str,
    leaks: Mapping[str, str],
    task: TaskKind = "classification",
) -> list[Finding]:
    """Return what is worth knowing about the columns, the classes and the rows."""
    features = [str(column) for column in frame.columns if column != target]
    found = list(_classes(frame[target])) if task == "classification" else []
    for column in features:
        values = frame[column]
        if column in leaks:
            message = f"'{column}' leaks the target: {leaks[column]}"
            found.append(Finding("warning", "leak", column, message))
        found += _column(column, values)
        found += _text(column, values) if values.dtype == object else _number(column, values)
    others = [column for column in features if column not in leaks]
    found += (_suspects if task == "classification" else _explaining)(frame, target, others)
    twice = repeats(frame)
    if twice:
        message = f"{count(twice, 'row repeats', 'rows repeat')} an earlier row in every column"
        if copies(frame, target) is not None:
            message += "; copies stay on one side of a random split"
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
            message = f"'{name}' is infinite in {count(infinite, 'row', 'rows')}"
            yield Finding("warning", "infinite", name, message)


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


def _explaining(frame: pd.DataFrame, target: str, features: Sequence[str]) -> Iterator[Finding]:
    """Yield features of which each alone explains nearly all of a target of numbers.

    Means by value are learnt on one half of the rows and judged on the other; ranks are what is
    explained, so that a few large values do not decide.
    """
    rng = np.random.default_rng(0)
    sample = frame.iloc[rng.permutation(len(frame))[:LEAK_ROWS]]
    ranks = sample[target].rank(pct=True).to_numpy()
    learn = np.arange(len(sample)) % 2 == 0
    total = float(np.var(ranks[~learn]))
    for column in features:
        codes = _bins(sample[column])
        size = int(codes.max()) + 1
        rows = np.bincount(codes[learn], minlength=size)
        sums = np.bincount(codes[learn], weights=ranks[learn], minlength=size)
        means = (sums + ranks[learn].mean()) / (rows + 1)
        explained = 1.0 - float(np.mean((ranks[~learn] - means[codes[~learn]]) ** 2)) / total
        if explained > SUSPICIOUS_SHARE:
            message = (
                f"'{column}' alone explains {explained:.1%} of the ranks of '{target}': check "
                "that it is known when the model is asked"
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
