"""Predictions to the reply that the request's dialect expects.

The predictions are one label or number a row, or what else a custom model gives; with
``predict_proba`` one list a row, the probabilities in the order of the contract's classes, and with
``predict_interval`` one list a row of the lower and the upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from twinml.contract._method import METHODS
from twinml.contract._request import ScoringRequest
from twinml.contract._schema import Contract, Label
from twinml.contract._words import shown
from twinml.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["render"]


def render(
    contract: Contract,
    request: ScoringRequest,
    labels: Sequence[Label] | NDArray[Any],
    probabilities: NDArray[np.float64] | Sequence[Sequence[float]] | None,
    ood_scores: Sequence[float] | None = None,
) -> bytes:
    """Return the reply's JSON; floats are written so that they read back exactly.

    Parameters
    ----------
    contract
        Of the model that scored.
    request
        What was asked; its dialect and method decide the shape.
    labels
        Shape (n_rows,); looked at when the method is ``predict``.
    probabilities
        Shape (n_rows, n_classes) when the method is ``predict_proba``, (n_rows, 2) when it is
        ``predict_interval``, else ``None``.
    ood_scores
        Where they were asked for: one a row, in a member of that name beside the predictions.
        A reply that is a list has no place for them.

    Raises
    ------
    ModelError
        The model gave another number of rows or classes than it should, or what is no finite
        number: JSON has none, and null would be a wrong answer.
    """
    if request.method != "predict":
        values = [] if probabilities is None else _plain(probabilities)
        wanted = len(contract.classes) or 2
        if any(len(row) != wanted for row in values):
            raise ModelError(
                f"the model gave {len(values[0])} {METHODS[request.method]} a row for "
                f"{wanted} {'classes' if contract.classes else 'bounds'}",
                hint="Save the model again with its own contract.",
            )
    else:
        values = _plain(labels)
    if len(values) != request.n_rows:
        raise ModelError(
            f"the model gave {len(values)} predictions for {request.n_rows} rows",
            hint="Save the model again.",
        )
    if not _is_finite(labels if request.method == "predict" else probabilities):
        _refuse_infinite(values)
    beside = {} if ood_scores is None else {"ood_scores": list(ood_scores)}
    return orjson.dumps(request.dialect.reply(values, beside))


def _is_finite(given: Any) -> bool:
    """Tell quickly whether all are finite numbers; false where that is not known."""
    if getattr(given, "dtype", None) is None or given.dtype.kind not in "bif":
        return False
    import numpy as np  # loaded where there is an array

    return bool(np.isfinite(given).all())


def _refuse_infinite(values: Sequence[Any]) -> None:
    for row, value in enumerate(values):
        for number in _numbers_in(value):
            if not math.isfinite(number):
                raise ModelError(
                    f"the model gave {shown(number)} for row {row}, expected a finite number",
                    hint="Look at the row; if it is an ordinary one, train the model again.",
                )


def _numbers_in(value: Any) -> Iterator[float]:
    """Yield all floats of a JSON value."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(inner)


def _plain(values: Any) -> list[Any]:
    """Return arrays, and lists of numpy scalars, as lists of Python values."""
    if hasattr(values, "tolist"):
        listed: list[Any] = values.tolist()
        return listed
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]
