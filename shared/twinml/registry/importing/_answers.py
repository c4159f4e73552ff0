"""Answers of a model from elsewhere, and those that MLflow gives with the original."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from twinml import model
from twinml.contract import Contract
from twinml.errors import ModelError
from twinml.registry.importing._source import Source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_with_original"]


def compare_with_original(
    predictor: Any, contract: Contract, source: Source, rows: list[dict[str, Any]]
) -> tuple[list[Any], int]:
    """Compare with the answers that MLflow gives with the original, bit for bit.

    Returns
    -------
    tuple
        The answers that JSON can hold, and how many were compared.

    Raises
    ------
    ModelError
        The model cannot score the rows, or answers otherwise.
    """
    import numpy as np

    frame = model.LoadedModel(contract, predictor).frame(rows)
    answers, shares = _answered(predictor, contract, frame)
    held = [value for value in answers.tolist() if _is_json(value)]
    # With a signature of "any", MLflow hands on one column, whatever it is sent.
    if source.directory is None or any(one.get("type") == "any" for one in source.signature or ()):
        return held, 0
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's remarks on versions and optional columns.
        original = mlflow.pyfunc.load_model(str(source.directory))
        given = original.predict(model.as_signed(frame, original.metadata.get_input_schema()))
    if contract.task == "custom":
        ours, theirs = answers.tolist(), model.values_of(given)
    else:
        ours, theirs = _shaped(answers, shares, contract, np.asarray(given))
    both = zip(_plain(ours), _plain(theirs), strict=True)
    differ = [row for row, (a, b) in enumerate(both) if a != b and (_is_json(a) or _is_json(b))]
    if differ:
        raise ModelError(
            f"row {differ[0]} is answered {ours[differ[0]]!r}, and {theirs[differ[0]]!r} by the "
            f"original ({len(differ)} of {len(frame)} rows differ)",
            hint="Log the model again with the signature of the rows that it was fitted on; one "
            "that answers by chance cannot be imported.",
        )
    return held, len(frame)


def _answered(predictor: Any, contract: Contract, frame: pd.DataFrame) -> tuple[Any, Any]:
    """Return answers, shape (n,), and of classes probabilities."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The model's own remarks.
            answers = np.asarray(predictor.predict(frame))
            shares = predictor.predict_proba(frame) if contract.classes else None
    except Exception as error:  # whatever a model from elsewhere may raise
        raise ModelError(
            f"the model cannot score rows of its own columns: {type(error).__name__}: "
            f"{str(error)[:200]}",
            hint="Name rows like those that it was trained on: --data FILE.",
        ) from error
    if shares is not None and shares.shape != (len(frame), len(contract.classes)):
        raise ModelError(
            f"the model gives probabilities of shape {shares.shape}, expected "
            f"{(len(frame), len(contract.classes))}",
            hint="Import a classifier with one target.",
        )
    if shares is not None:  # CatBoost's labels are a column
        answers = answers.reshape(-1)
    if answers.shape != (len(frame),):
        raise ModelError(
            f"the model gives answers of shape {answers.shape}, expected {(len(frame),)}",
            hint="Log it with MLflow; then any answer is taken as it is.",
        )
    if not any(_is_json(value) for value in answers.tolist()):
        raise ModelError(
            f"row 0 is answered {answers[0]!r}, which JSON cannot hold",
            hint="Have the model answer with text, finite numbers, objects and lists.",
        )
    return answers, shares


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _shaped(answers: Any, shares: Any, contract: Contract, theirs: Any) -> tuple[Any, Any]:
    """Return ours and theirs in one shape: labels, numbers, or what a bare booster gives."""
    if shares is None:
        return answers, theirs.reshape(answers.shape)
    # A bare booster's flavour gives probabilities, of two classes those of the second.
    numeric = theirs.dtype.kind == "f"
    if theirs.ndim == 2 and numeric and theirs.shape != answers.shape:
        ours = shares
    elif theirs.ndim == 1 and numeric and not set(theirs) <= set(contract.classes):
        ours = shares[:, 1]
    else:
        ours = answers
    return ours, theirs.reshape(ours.shape)


def _plain(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else values
    return listed
