"""Rows like those that a model from elsewhere was trained on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twinml.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rows", "read_like_training"]


@dataclass(frozen=True)
class Rows:
    """What a file holds: all columns but the label, and the label if it has one."""

    features: pd.DataFrame
    labels: pd.Series | None = None


def read_like_training(file: str, target: str | None, *, text: Collection[str] = ()) -> Rows:
    """Read a file whole: what training would leave out, as keys, a model from elsewhere may take.

    Parameters
    ----------
    target
        The label among the columns, if there is one.
    text
        Columns whose values stay text.

    Raises
    ------
    DataError
        It cannot be read, or has no column called ``target``.
    """
    from twinml.data import read_rows

    frame = read_rows(file, text=text)
    if target is None:
        return Rows(frame)
    if target not in frame.columns:
        raise DataError(
            f"the rows have no column '{target}'",
            hint=f"They have: {', '.join(map(str, list(frame.columns)[:20]))}. Rows without a "
            "label are taken too: leave --target out.",
        )
    kept = frame[frame[target].notna()]
    return Rows(kept.drop(columns=target), kept[target])
