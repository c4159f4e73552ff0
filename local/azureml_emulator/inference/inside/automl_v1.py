"""Score with the model of an AutoML child run, in the older form; Python 3.8 or newer.

::

    {"data": [rows], "method": "predict_proba"}   →   {"result": [answers]}
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

METHODS = ("predict", "predict_proba")
loaded: dict[str, Any] = {}


def init() -> None:
    """Load the model."""
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    loaded["model"] = joblib.load(next(folder.rglob("model.pkl")))


def run(raw_data: str) -> dict[str, Any]:
    """Return the model's answers for the rows of a request."""
    body = json.loads(raw_data)
    method = body.get("method", "predict")
    if method not in METHODS:
        raise ValueError("method is '{}', not one of {}".format(method, ", ".join(METHODS)))
    rows = pd.DataFrame(body["data"])
    answer = getattr(loaded["model"], method)(rows)
    return {"result": answer.tolist()}
