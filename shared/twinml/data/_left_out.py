"""Columns that a model is better without: row numbers, keys, columns without any value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from twinml.data._finding import Finding
from twinml.data._names import is_unnamed
from twinml.data._words import count, listed

__all__ = ["CAMEL_ID", "ID_NAME", "KEY_SHARE", "dates", "is_key", "left_out"]

DATE_SHARE = 0.95
ID_NAME = re.compile(r"(^|[_. -])(id|uid|uuid|guid|key|index|idx|rowid|row|rownames)$", re.I)
CAMEL_ID = re.compile(r"[a-z0-9](Id|ID|Key|Index|Idx)$")
INDEX_NAME = re.compile(r"__index_level_\d+__")
DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{4}/\d{1,2}/\d{1,2}.*"
    r"|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})( .*)?"
    r"|\d{4}-?(W\d{2}(-?\d)?|Q[1-4]|\d{2})|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?"
)
# Whole numbers that all differ and take up this share of their range are counted, with gaps.
DENSE = 0.5
# Where they stand in order as well, far fewer will do.
DENSE_IN_ORDER = 0.05
# A short table may hold such numbers by chance, but for those from 0 or 1 on in order.
FEWEST_COUNTED = 100
# Of the values of a key, this share differs at least: some rows are stored twice.
KEY_SHARE = 0.98
LONGEST_KEY = 64


def left_out(
    frame: pd.DataFrame, target: str, keep: Collection[str] | None
) -> tuple[list[str], list[Finding]]:
    """Return the columns that a model is better without, with remarks, a line for each kind.

    Parameters
    ----------
    keep
        Columns that stay even so, if they hold a value; all of them for ``None``.
    """
    features = [name for name in map(str, frame.columns) if name != target]
    kinds: dict[str, list[str]] = {}
    for name in features:
        kind = reason(name, frame[name], first=name == frame.columns[0])
        if kind and (kind == "empty" or not (keep is None or name in keep)):
            kinds.setdefault(kind, []).append(name)
    if sum(map(len, kinds.values())) == len(features):
        # A model of keys is better than none.
        kinds = {kind: names for kind, names in kinds.items() if kind == "empty"}
    return [name for names in kinds.values() for name in names], list(_findings(kinds))


def reason(name: str, values: pd.Series, *, first: bool = False) -> str:
    """Return why a column is left out: ``empty``, ``index``, ``row-number``, ``id-like`` or ""."""
    if values.isna().all():
        return "empty"
    if INDEX_NAME.fullmatch(name):
        return "index"
    distinct = values.nunique()
    if first and is_unnamed(name) and distinct == len(values):
        return "index"
    if is_key(name, values, distinct):
        return "row-number" if values.dtype.kind == "i" and _in_order(values) else "id-like"
    return ""


def is_key(name: str, values: pd.Series, distinct: int) -> bool:
    """Tell whether values only tell rows apart.

    Text without blanks that differs all but everywhere does, unless it is a date; whole numbers
    do if they all differ and are named as a key or counted, also with gaps.
    """
    known = len(values) - int(values.isna().sum())
    named = bool(ID_NAME.search(name) or CAMEL_ID.search(name))
    if values.dtype == object:
        return distinct >= KEY_SHARE * known and known == len(values) and _words(values)
    if values.dtype.kind != "i":
        return False
    if named and distinct >= KEY_SHARE * len(values):
        return True
    if distinct < len(values) or len(values) < 2:
        return False
    span = float(values.max()) - float(values.min()) + 1
    if len(values) < FEWEST_COUNTED:
        return _in_order(values) and span == len(values) and values.min() in (0, 1)
    return len(values) / span >= (DENSE_IN_ORDER if _in_order(values) else DENSE)


def _words(values: pd.Series) -> bool:
    """Tell whether all texts are single short words and no dates."""
    texts = values.unique()
    plain = all(len(text) <= LONGEST_KEY and len(text.split()) == 1 for text in texts)
    return plain and not dates(values)


def _in_order(values: pd.Series) -> bool:
    return bool(values.is_monotonic_increasing or values.is_monotonic_decreasing)


def dates(values: pd.Series) -> bool:
    """Tell whether texts look like dates, all but a few."""
    distinct = values.dropna().unique()
    match = sum(bool(DATE.fullmatch(value.strip())) for value in distinct)
    return bool(match >= DATE_SHARE * len(distinct))


WORDS = {
    "empty": ("has no value in any row", "have no value in any row"),
    "index": ("is the index of a table", "are indexes of a table"),
    "row-number": ("numbers the rows", "number the rows"),
    "id-like": ("differs in every row like a key", "differ in every row like keys"),
}


def _findings(kinds: dict[str, list[str]]) -> Iterator[Finding]:
    for kind, names in kinds.items():
        one = len(names) == 1
        column = names[0] if one else None
        what = f"{_who(names)} {WORDS[kind][not one]} and {'is' if one else 'are'} left out"
        if kind == "empty":
            named = not all(map(is_unnamed, names))
            yield Finding("warning" if named else "note", kind, column, what)
        else:
            message = f"{what} of the model; --keep-column '{names[0]}' keeps it"
            yield Finding("note", kind, column, message, decision=True)


def _who(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"'{names[0]}'"
    return f"{count(len(names), 'column', 'columns')} ({listed(list(names))})"
