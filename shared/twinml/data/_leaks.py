"""Features that give the target away: all but perfect on their own, or for one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinml.data._finding import Finding
from twinml.data._words import listed, shown

__all__ = ["Sign", "adding_up", "explaining", "sign_of", "suspects", "tells", "terms_of"]

SUSPICIOUS_AUC = 0.98
SUSPICIOUS_SHARE = 0.98
LEAK_ROWS = 20_000
LEAK_CLASSES = 20
LEAK_BINS = 50
# Of the rows with a value, this share at least is of one class, and they are so much of it.
PURITY = 0.97
RECALL = 0.5
# Others are at most this share of what chance has among the rows with the value, ...
SHARE_OF_CHANCE = 0.1
# ... which are so many that chance would have this number of them.
FEWEST_BY_CHANCE = 10.0
CHECK = "check that it is known when the model is asked"
# Of the variance of a total, what rounding may leave over; the least share of its deviation that
# a term has; rows for each column, so that few rows do not add up by chance.
LEFT_OVER = 1e-6
LEAST_TERM = 1e-2
FEWEST_ROWS_A_TERM = 5
MOST_TERMS = 200  # more columns take seconds
# A line each; the columns that say the same of a class share one.
MOST_LINES = 5


def tells(rows: int, hits: int, members: int, total: int) -> bool:
    """Tell whether a value of a column gives a class away.

    Parameters
    ----------
    rows
        With the value.
    hits
        Of them, those of the class.
    members
        Rows of the class.
    total
        All rows.

    Examples
    --------
    >>> tells(100, 98, 110, 1000), tells(100, 90, 110, 1000), tells(10, 10, 110, 1000)
    (True, False, False)
    """
    by_chance = rows * (total - members) / total
    return (
        by_chance >= FEWEST_BY_CHANCE
        and hits >= PURITY * rows
        and hits >= RECALL * members
        and rows - hits <= SHARE_OF_CHANCE * by_chance
    )


def suspects(frame: pd.DataFrame, target: str, features: Sequence[str]) -> Iterator[Finding]:
    """Yield features that tell the classes apart all but perfectly, or one class by one value.

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
    signs: dict[tuple[str, int], list[tuple[str, Sign]]] = {}
    for column in features:
        codes = _bins(sample[column])
        areas = [_separation(codes, labels == label, learn) for label in wanted]
        area = float(np.mean(areas))
        if area > SUSPICIOUS_AUC:
            message = f"'{column}' alone tells the classes apart (AUC {area:.3f}): {CHECK}"
            yield Finding("warning", "leak-suspect", column, message)
        else:
            sign = sign_of(sample[column], labels.astype(np.int64), len(classes))
            if sign is not None:
                signs.setdefault((sign.words, sign.label), []).append((column, sign))
    for (words, label), found in list(signs.items())[:MOST_LINES]:
        column, sign = found[0]
        names = [name for name, _ in found]
        one = len(found) == 1
        message = (
            f"{listed(names)} {'gives' if one else 'give'} class {shown(classes[label])} away: "
            f"{'it' if one else shown(column)} is {words} in "
            f"{sign.recall:.1%} of its rows, and {sign.purity:.1%} of the rows where that is so "
            f"are of it; {CHECK}"
        )
        yield Finding("warning", "leak-suspect", column if one else None, message)


def explaining(frame: pd.DataFrame, target: str, features: Sequence[str]) -> Iterator[Finding]:
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
                f"'{column}' alone explains {explained:.1%} of the ranks of '{target}': {CHECK}"
            )
            yield Finding("warning", "leak-suspect", column, message)


def adding_up(frame: pd.DataFrame, target: str, features: Sequence[str]) -> Iterator[Finding]:
    """Yield a finding if some features, each times a number, add up to a target of numbers.

    A total in the columns that it is the total of is no prediction.
    """
    rng = np.random.default_rng(0)
    sample = frame.iloc[rng.permutation(len(frame))[:LEAK_ROWS]]
    names = [name for name in features if frame[name].dtype.kind in "iufb"]
    numbers = sample[[*names, target]].to_numpy(np.float64)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    if not 2 <= len(names) <= MOST_TERMS or len(numbers) < FEWEST_ROWS_A_TERM * len(names):
        return
    terms = terms_of(numbers[:, :-1], numbers[:, -1])
    if len(terms) > 1:
        named = [names[place] for place in terms]
        yield Finding(
            "warning", "leak-suspect", None,
            f"{listed(named)} add up to '{target}': {CHECK.replace('it is', 'they are')}",
        )  # fmt: skip


def terms_of(X: NDArray[np.float64], y: NDArray[np.float64]) -> list[int]:
    """Return the columns that add up to ``y``, each times a number; none if they do not.

    Parameters
    ----------
    X, y
        Shapes (n, p) and (n,).

    Examples
    --------
    >>> X = np.array([[1.0, 4.0, 3.0], [2.0, 2.0, 9.0], [3.0, 5.0, 1.0], [5.0, 1.0, 1.0]])
    >>> terms_of(X, X[:, 0] + X[:, 1]), terms_of(X[:, :2], X[:, 0] * X[:, 1])
    ([0, 1], [])
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of 1e300 there is no variance
        spread, total = X.std(axis=0), float(y.std())
    used = np.flatnonzero((spread > 0) & np.isfinite(spread))
    if not 0 < total < np.inf or not len(used):
        return []
    standard = (X[:, used] - X[:, used].mean(axis=0)) / spread[used]
    wanted = (y - y.mean()) / total
    shares = np.linalg.lstsq(standard, wanted, rcond=None)[0]
    if float(np.mean((wanted - standard @ shares) ** 2)) > LEFT_OVER:
        return []
    return [int(place) for place in used[np.abs(shares) > LEAST_TERM]]


@dataclass(frozen=True)
class Sign:
    """What a column is where a class is: ``empty``, ``not empty``, a value, or not that value.

    ``purity`` is the share of the class among the rows that are so, ``recall`` the share of
    them among the rows of the class.
    """

    words: str
    label: int
    purity: float
    recall: float


def sign_of(values: pd.Series, labels: NDArray[np.int64], n_classes: int) -> Sign | None:
    """Return what gives a class away in a column, the best such sign; ``None`` if nothing does.

    Looked at are missing values, the values that are frequent, and all others than the most
    frequent one.

    Parameters
    ----------
    labels
        Class indices, shape (n,).
    """
    members = np.bincount(labels, minlength=n_classes)
    least = RECALL * members.min()
    missing = values.isna().to_numpy()
    counts = values.value_counts()
    common = [value for value, rows in counts.items() if rows >= least]
    marks: list[tuple[str, NDArray[np.bool_]]] = [("empty", missing), ("not empty", ~missing)]
    marks += [(shown(value), (values == value).fillna(False).to_numpy()) for value in common]
    if len(common):
        marks.append((f"not {shown(common[0])}", ~missing & ~marks[2][1]))
    best: Sign | None = None
    for words, mark in marks:
        hits = np.bincount(labels[mark], minlength=n_classes)
        label, rows = int(hits.argmax()), int(mark.sum())
        if tells(rows, int(hits[label]), int(members[label]), len(labels)):
            sign = Sign(
                words, label, float(hits[label] / rows), float(hits[label] / members[label])
            )
            if best is None or sign.recall > best.recall:
                best = sign
    return best


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
