"""The rows that a run held out and what its model said of them: a file with the run's others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinml.data.safe_csv import safe_text
from twinml.report._files import PREDICTIONS

if TYPE_CHECKING:
    from twinml.training.result import TrainingResult

__all__ = ["HeldOutRows", "read", "write"]

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


def write(result: TrainingResult, folder: Path) -> None:
    """Write the rows that a training held out into ``folder``."""
    from twinml.report._held_out import predictions

    predictions(result).to_csv(folder / PREDICTIONS, index=False)


def read(folder: Path) -> HeldOutRows | None:
    """Return the rows of a run's first estimate; ``None`` where there is no such file.

    Parameters
    ----------
    folder
        That of the run's files.
    """
    import pandas as pd

    # Runs of an earlier version have it with their report alone.
    places = [folder / place / PREDICTIONS for place in ("training", "report")]
    try:
        # A class may be called "NA".
        frame = pd.read_csv(
            next((one for one in places if one.is_file()), places[0]),
            dtype=str,
            keep_default_na=False,
        )
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
        numbers_of = {safe_text(label): place for place, label in enumerate(classes)}
        truth = np.array([numbers_of[label] for label in frame.iloc[:, TARGET]])
        shown = frame.iloc[:, PREDICTED + 1 : PREDICTED + 1 + len(classes)].to_numpy(np.float64)
    except (KeyError, ValueError):
        return None
    return HeldOutRows(name, classes, truth, shown / shown.sum(axis=1, keepdims=True))
