"""How well a request was answered, once the true labels of its rows are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from twinml.errors import DataError
from twinml.traffic.collected import Request

__all__ = ["METRICS", "Metric", "best_metric", "known", "value"]

Metric = Literal["accuracy", "log_loss", "brier", "squared_error", "absolute_error"]

METRICS: dict[str, str] = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "squared_error": "squared error",
    "absolute_error": "absolute error",
}
OF_NUMBERS = ("squared_error", "absolute_error")


def known(request: Request, labels: Mapping[tuple[str, int], str]) -> dict[int, str]:
    """Return the labels of a request that are known, by row."""
    found = {row: labels.get((request.id, row)) for row in range(len(request.rows))}
    return {row: label for row, label in found.items() if label is not None}


def best_metric(requests: Sequence[Request]) -> Metric:
    """Return log loss where every answer holds probabilities, else accuracy.

    The squared error where every answer is a number with a fraction, as regressions give them.
    """
    rows = [output for request in requests for output in request.outputs]
    if rows and all(len(one) == 1 and isinstance(next(iter(one.values())), float) for one in rows):
        return "squared_error"
    return "log_loss" if rows and all(len(output) > 1 for output in rows) else "accuracy"


def value(request: Request, truth: Mapping[int, str], metric: Metric, threshold: float) -> float:
    """Return the metric of a request: the mean over its rows with a label.

    Raises
    ------
    DataError
        The answer does not hold what the metric needs, or a label is none of its classes.
    """
    return float(
        np.mean(
            [_row_value(request, row, label, metric, threshold) for row, label in truth.items()]
        )
    )


def _row_value(request: Request, row: int, label: str, metric: Metric, threshold: float) -> float:
    output = request.outputs[row]
    if not output:
        raise DataError(
            f"the answer to request {request.id} was not collected",
            hint="Collect outputs as well as inputs.",
        )
    if metric in OF_NUMBERS:
        return _error(request, output, label) ** (2 if metric == "squared_error" else 1)
    if len(output) == 1:
        if metric != "accuracy":
            raise DataError(
                f"the answer to request {request.id} is a label without probabilities",
                hint="Ask for probabilities (predict_proba), or compare by accuracy.",
            )
        return float(str(next(iter(output.values()))) == label)
    if label not in output:
        raise DataError(
            f"request {request.id} row {row} has the label {label!r}",
            hint=f"The classes are: {', '.join(output)}.",
        )
    names, shares = list(output), np.array(list(output.values()), dtype=np.float64)
    place = names.index(label)
    if metric == "log_loss":
        return float(-np.log(np.clip(shares[place], np.finfo(np.float64).eps, 1.0)))
    if metric == "brier":
        hit = np.zeros(len(names))
        hit[place] = 1.0
        # Of two classes both deviations are equal: the usual score counts one of them.
        return float(np.sum((shares - hit) ** 2) / (2 if len(names) == 2 else 1))
    chosen = int(shares[1] >= threshold) if len(names) == 2 else int(shares.argmax())
    return float(chosen == place)


def _error(request: Request, output: Mapping[str, Any], label: str) -> float:
    try:
        (value,) = output.values()
        return abs(float(value) - float(label))
    except (TypeError, ValueError):
        raise DataError(
            f"the answer to request {request.id}, or its label {label!r}, is no number",
            hint="Errors are of models that predict a number.",
        ) from None
