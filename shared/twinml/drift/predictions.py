"""Predictions as one more column to compare: what was answered, against what the model answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from twinml.contract import Contract
    from twinml.traffic.collected import Traffic

__all__ = ["PREDICTION", "with_predictions"]

PREDICTION = "(prediction)"


def with_predictions(
    now: pd.DataFrame,
    traffic: Traffic,
    before: pd.DataFrame,
    directory: Path,
    contract: Contract,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add what was answered, and what the model answers for the reference rows.

    Parameters
    ----------
    now, traffic
        The collected rows, and the requests that they are of.
    before
        The reference rows.

    Returns
    -------
    tuple of DataFrame
        Both with the column ``PREDICTION``; without it where answers are labels in part and
        probabilities in part, or those of a custom model, so that nothing can be compared.
    """
    if contract.task == "custom":
        return now, before
    import numpy as np

    from twinml.model import digest, load_predictor

    outputs = [output for request in traffic.requests for output in request.outputs]
    names = [str(label) for label in contract.classes]
    scorer = load_predictor(directory, digest(directory))
    features = before[list(contract.column_names)]
    if outputs and names and all(names[-1] in output for output in outputs):
        shares = np.array([[output[name] for name in names] for output in outputs])
        was = np.asarray(scorer.predict_proba(features))
        if len(names) == 2:
            values, predicted = shares[:, 1], was[:, 1]
        else:
            values, predicted = (
                np.array(names, dtype=object)[part.argmax(axis=1)] for part in (shares, was)
            )
    elif outputs and all(contract.target in output for output in outputs):
        kind = object if names else np.float64
        values = np.array([output[contract.target] for output in outputs], dtype=kind)
        predicted = scorer.predict(features)
    else:
        return now, before
    return now.assign(**{PREDICTION: values}), before.assign(**{PREDICTION: predicted})
