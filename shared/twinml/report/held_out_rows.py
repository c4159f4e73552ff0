"""The rows that a run held out, read back from the file that its report wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinml.data.safe_csv import safe_text
from twinml.report._files import PREDICTIONS

__all__ = ["HeldOutRows", "read"]

PROBABILITY = "probability of "
# Before the probabilities: estimate, row, the target, predicted.
TARGET, PREDICTED = 2, 3


@dataclass(frozen=True)
class HeldOutRows:
    """What was held out, and what the model said of it.

    Attributes
    ----------
    name
        Of the estimate, as "Random split".
    classes
        In the order of the probabilities; empty of numbers.
    truth
        Numbers of the classes, or the numbers themselves, shape (n,).
    predicted
        Probabilities, shape (n, k), or predicted numbers, shape (n, 1).
    """

    name: str
    classes: tuple[str, ...]
    truth: NDArray[Any]
    predicted: NDArray[np.float64]


def read(folder: Path) -> HeldOutRows | None:
    """Return the rows of a run's first estimate; ``None`` where the report has no such file.

    Parameters
    ----------
    folder
        Where the report was written to.
    """
    import pandas as pd

    try:
        # A class may be called "NA".
        frame = pd.read_csv(folder / PREDICTIONS, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return None
    if frame.shape[1] <= PREDICTED or not len(frame):
        return None
    name = str(frame.iloc[0, 0])
    frame = frame[frame.iloc[:, 0] == name]
    heads = [str(head) for head in frame.columns[PREDICTED + 1 :]]
    classes = tuple(head.removeprefix(PROBABILITY) for head in heads if head != "loss")
    try:
        if not classes:
            numbers = frame.iloc[:, [TARGET, PREDICTED]].to_numpy(np.float64)
            return HeldOutRows(name, (), numbers[:, 0], numbers[:, 1:])
        places = {safe_text(label): place for place, label in enumerate(classes)}
        truth = np.array([places[label] for label in frame.iloc[:, TARGET]])
        shown = frame.iloc[:, PREDICTED + 1 : PREDICTED + 1 + len(classes)].to_numpy(np.float64)
    except (KeyError, ValueError):
        return None
    return HeldOutRows(name, classes, truth, shown / shown.sum(axis=1, keepdims=True))
