"""Loads and scores a saved regression. Travels inside every model directory of one.

MLflow imports this file from the model's ``code`` folder under the name
``twinml_regression_v1``, so it may import nothing but what the model's requirements list, and its
neighbour ``twinml_intervals_v1``. Change the names with the behaviour: two models loaded in one
process share the module of a name.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

METHODS = ("predict", "predict_interval")


class RegressionScorer:
    """A fitted pipeline behind MLflow's ``predict(frame, params)``.

    ``intervals`` tells lower and upper bounds of predictions; ``None`` where none were measured.
    """

    def __init__(self, pipeline: Any, intervals: Any | None = None) -> None:
        self.pipeline = pipeline
        self.intervals = intervals

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return predicted numbers, shape (n,), or lower and upper bounds, shape (n, 2).

        ``params={"method": "predict_interval", "level": 0.9}`` asks for bounds between which 90 %
        of the true values are to lie.
        """
        asked = params or {}
        method = asked.get("method", "predict")
        if method == "predict":
            return self.pipeline.predict(model_input)
        if method == "predict_interval" and self.intervals is not None:
            return self.intervals.bounds(
                self.pipeline.predict(model_input), float(asked.get("level", 0.9))
            )
        raise ValueError(f"found method {method!r}, expected one of {', '.join(METHODS)}")


def load_pipeline(path: str | os.PathLike[str]) -> Any:
    """Return the fitted pipeline from its pickle."""
    with open(path, "rb") as stream:
        return pickle.load(stream)  # noqa: S301 - a model is code; load those you trust


def _load_pyfunc(path: str) -> RegressionScorer:
    """Return what ``mlflow.pyfunc.load_model`` wraps."""
    # Only beside this file in a model directory.
    from twinml_intervals_v1 import (  # type: ignore[import-not-found]
        PredictionIntervals,
    )

    contract = Path(path).parents[1] / "contract.json"
    made = None
    if contract.is_file():
        held = json.loads(contract.read_text(encoding="utf-8")).get("intervals")
        made = None if held is None else PredictionIntervals.from_dict(held)
    return RegressionScorer(load_pipeline(path), made)
