"""The target: rows without one, classes too rare to learn, what no classifier can predict."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pandas as pd

from twinml.data._finding import Finding
from twinml.data._task import check_rows
from twinml.data._words import count, shown
from twinml.data.few_rows import fewest_of_class
from twinml.errors import DataError

__all__ = ["RARE", "Rare", "check_target", "join_or_drop", "labelled"]

Rare: TypeAlias = Literal["drop", "join", "refuse"]
RARE: tuple[Rare, ...] = ("drop", "join", "refuse")
MOST_CLASSES = 100
SHOWN = 5
OTHER = "other"


def labelled(
    frame: pd.DataFrame, target: str, file: str, others: int = 0
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the rows whose target is known, with a remark about those that are not.

    Parameters
    ----------
    others
        Rows of the file without a target that are not in ``frame``.

    Raises
    ------
    DataError
        The target is null in all rows.
    """
    null = frame[target].isna().to_numpy()
    missing = int(null.sum())
    if not missing + others:
        return frame, []
    if missing == len(frame):
        raise DataError(
            f"the target '{target}' of '{file}' is null in all {len(frame):,} rows",
            hint="Name another target.",
        )
    kept = frame[~null].reset_index(drop=True)
    # Without nulls they are plain again, as in a file that never had the rows.
    if kept[target].dtype == pd.Int64Dtype():
        kept[target] = kept[target].astype("int64")
    elif kept[target].dtype == pd.BooleanDtype():
        kept[target] = kept[target].astype("bool")
    missing += others
    rows = "1 row has" if missing == 1 else f"{missing:,} of {len(frame) + others:,} rows have"
    message = f"{rows} no value in the target '{target}' and {_are(missing)} left out"
    return kept, [Finding("note", "null-target", target, message, decision=True)]


def join_or_drop(
    frame: pd.DataFrame, target: str, rare: Rare
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the rows without classes too rare to learn, or with these joined into one.

    Raises
    ------
    DataError
        There are such classes and ``rare`` says to refuse them; numbers cannot be joined; or
        fewer than two classes are left.
    """
    labels = frame[target]
    counts = labels.value_counts()
    fewest = fewest_of_class(len(frame))
    few = counts[counts < fewest]
    if few.empty or len(counts) < 2:
        return frame, []
    if rare == "refuse" or len(counts) - len(few) < (2 if rare == "drop" else 1):
        raise _too_rare(target, few, fewest)
    shown_few = _listed(few)
    if rare == "join" and labels.dtype != object:
        raise DataError(
            f"the classes of '{target}' are no text, so {count(len(few), 'rare one', 'rare ones')} "
            f"cannot be joined: {shown_few}",
            hint="Leave their rows out with --rare drop, or write text in their place.",
        )
    is_few = labels.isin(few.index)
    classes = count(len(few), "class", "classes")
    if rare == "join" and few.sum() >= fewest:
        name = OTHER
        while name in counts.index:
            name += "_"
        made = frame.assign(**{target: labels.mask(is_few, name)})
        message = (
            f"{classes} of '{target}' with fewer than {fewest} rows "
            f"{_are(len(few))} joined into '{name}': {shown_few}"
        )
        return made, [Finding("warning", "rare-joined", target, message, decision=True)]
    if len(counts) - len(few) < 2:
        raise _too_rare(target, few, fewest)
    message = (
        f"{classes} of '{target}' with fewer than {fewest} rows {_are(len(few))} left "
        f"out with {'its' if len(few) == 1 else 'their'} "
        f"{count(int(few.sum()), 'row', 'rows')}, and never predicted: {shown_few}"
    )
    kept = frame[~is_few].reset_index(drop=True)
    return kept, [Finding("warning", "rare-dropped", target, message, decision=True)]


def check_target(labels: pd.Series, file: str) -> None:
    """Refuse a target that no classifier can be trained and tested on."""
    name = str(labels.name)
    counts = labels.value_counts()
    check_rows(len(labels), file)
    fewest = fewest_of_class(len(labels))
    if len(counts) == 1:
        raise DataError(
            f"the target '{name}' has one class, {shown(counts.index[0])}, in all rows",
            hint="A classifier needs at least two; name another target or add rows.",
        )
    frequent = int((counts >= fewest).sum())
    if frequent > MOST_CLASSES or (len(counts) > MOST_CLASSES and frequent < 2):
        raise DataError(
            f"the target '{name}' has {len(counts):,} classes, expected at most {MOST_CLASSES}",
            hint="Name another target, or join rare classes; --task regression predicts numbers.",
        )


def _too_rare(target: str, few: pd.Series, fewest: int) -> DataError:
    return DataError(
        f"the target '{target}' has {count(len(few), 'class', 'classes')} with fewer than "
        f"{fewest} rows: {_listed(few)}",
        hint="Each class must be in every part of the rows: join them with "
        "--rare join, leave their rows out with --rare drop, or add rows.",
    )


def _listed(few: pd.Series) -> str:
    names = ", ".join(f"{shown(label)} ({number})" for label, number in few.head(SHOWN).items())
    return names + (", …" if len(few) > SHOWN else "")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
