"""Score with the model of an AutoML child run; Python 3.8 or newer.

::

    {"Inputs": {"data": [rows]}, "GlobalParameters": {"method": "predict_proba"}}
                                                        →   {"Results": [answers]}
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
    settings = body.get("GlobalParameters")
    method = settings.get("method", "predict") if isinstance(settings, dict) else "predict"
    if method not in METHODS:
        raise ValueError("method is '{}', not one of {}".format(method, ", ".join(METHODS)))
    rows = pd.DataFrame(body["Inputs"]["data"])
    answer = getattr(loaded["model"], method)(rows)
    return {"Results": answer.tolist()}
