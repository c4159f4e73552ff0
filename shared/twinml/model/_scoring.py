"""Loads and scores a saved pipeline. Travels inside every model directory.

MLflow imports this file from the model's ``code`` folder under the name
``twinml_scoring_v1``, so it may import nothing but what the model's requirements list: no
twinml, no FLAML, not even MLflow. Change the name with the behaviour: two models loaded in
one process share the module of a name.
"""

from __future__ import annotations

import os
import pickle
from typing import Any

PIPELINE = "pipeline.pkl"
METHODS = ("predict", "predict_proba")


class Scorer:
    """A fitted pipeline behind MLflow's ``predict(frame, params)``."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return labels, shape (n,), or probabilities, shape (n, k).

        ``params={"method": "predict_proba"}`` asks for probabilities, columns in the order
        of the contract's classes.
        """
        method = (params or {}).get("method", "predict")
        if method == "predict":
            return self.pipeline.predict(model_input)
        if method == "predict_proba":
            return self.pipeline.predict_proba(model_input)
        raise ValueError(f"found method {method!r}, expected one of {', '.join(METHODS)}")

    def predict_proba(self, model_input: Any) -> Any:
        """Return probabilities, shape (n, k)."""
        return self.pipeline.predict_proba(model_input)


def load_pipeline(path: str | os.PathLike[str]) -> Any:
    """Return the fitted pipeline from its pickle."""
    with open(path, "rb") as stream:
        return pickle.load(stream)  # noqa: S301 - a model is code; load those you trust


def _load_pyfunc(path: str) -> Scorer:
    """Return what ``mlflow.pyfunc.load_model`` wraps."""
    return Scorer(load_pipeline(path))
