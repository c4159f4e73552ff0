"""Loads and scores a model with code of its own. Travels inside every model directory of one.

Such a model is kept as the files of the MLflow model that it was, and loaded by MLflow. MLflow
imports this file from the model's ``code`` folder under the name ``twinml_custom_v1``, so it may
import nothing but what the model's requirements list. Change the name with the behaviour: two
models loaded in one process share the module of a name.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CustomScorer:
    """An MLflow model behind ``predict(frame, params)``, one JSON value a row.

    Parameters
    ----------
    files
        All of the original's, by their path in its folder.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        import mlflow.pyfunc

        folder = Path(tempfile.mkdtemp(prefix="mlflow-model-"))
        weakref.finalize(self, _remove, folder, os.getpid())
        for name, content in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.original = mlflow.pyfunc.load_model(str(folder))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Return what the original gives, an array of shape (n,) of JSON values.

        A table's rows are objects, as MLflow's server writes them.
        """
        import numpy as np

        schema = self.original.metadata.get_input_schema()
        values = values_of(self.original.predict(as_signed(model_input, schema)))
        if len(values) != len(model_input):
            raise ValueError(f"the model gave {len(values)} answers for {len(model_input)} rows")
        made = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            made[row] = value
        return made


def _remove(folder: Path, owner: int) -> None:
    """Remove the files; a forked process ends without them, its parent may still read them."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def as_signed(frame: Any, schema: Any) -> Any:
    """Return a frame of 64-bit numbers in the types of an MLflow schema, ``None`` without one.

    MLflow itself widens numbers and never narrows them.
    """
    if schema is None:
        return frame
    if schema.is_tensor_spec():
        return frame.to_numpy(dtype=schema.inputs[0].type)
    narrow = {"integer": "int32", "float": "float32"}
    types = {
        one.name: narrow[one.type.name]
        for one in schema.inputs
        if one.name in frame.columns and getattr(one.type, "name", "") in narrow
    }
    return frame.astype(types)


def values_of(answer: Any) -> list[Any]:
    """Return a model's answer as one JSON value a row.

    Raises
    ------
    TypeError
        It is no table, array or list, or holds what JSON does not know.
    """
    if hasattr(answer, "to_frame"):  # as MLflow's server does with a series
        answer = answer.to_frame()
    if hasattr(answer, "to_dict") and hasattr(answer, "columns"):
        answer = answer.to_dict(orient="records")
    elif hasattr(answer, "tolist"):
        answer = answer.tolist()
    if not isinstance(answer, list):
        raise TypeError(f"the model gave a {type(answer).__name__}, expected an answer a row")
    return [_plain(value) for value in answer]


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and not hasattr(value, "__len__"):  # a scalar of numpy
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"the model gave a {type(value).__name__}, which JSON does not know")


def _load_pyfunc(path: str) -> CustomScorer:
    """Return what ``mlflow.pyfunc.load_model`` wraps."""
    with open(path, "rb") as stream:
        return CustomScorer(pickle.load(stream))  # noqa: S301 - a model is code; load those you trust
