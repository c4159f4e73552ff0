"""Score an MLflow model by the contract of Azure's no-code deployments.

Runs in the model's own environment (Python 3.8 or newer), loaded by azmlinfsrv::

    {"input_data": …, "params": {…}}   →   the predictions as a bare list

``input_data`` is read by the server's own ``inference_schema``, with types from the model's
input example, or else from its signature: a table is parsed by ``pandas.read_json`` at its
default precision and cast to the example's types; arrays become numpy's. What is not so fails
here as it fails there, as "An unexpected error occurred in scoring script".
"""

from __future__ import annotations

import json
import logging
import os
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd

# Azure's script needs it to start, whether or not data is collected: a model that does not
# require it crashes there at its start, and so it does here.
from azureml.ai.monitoring import Collector
from inference_schema.parameter_types.abstract_parameter_type import AbstractParameterType
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType,
)
from inference_schema.schema_decorators import input_schema, output_schema
from mlflow.models import Model
from mlflow.pyfunc.scoring_server import _get_jsonable_obj  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)


class Anything(AbstractParameterType):  # type: ignore[misc]
    """A parameter of which no sample is known: it is handed on as it came."""

    def __init__(self) -> None:
        super().__init__(None)

    def deserialize_input(self, input_data: Any) -> Any:
        """Return what came."""
        return input_data

    def input_to_swagger(self) -> dict[str, Any]:
        """Return the schema of an object."""
        return {"type": "object", "example": {}}


def example_of(model: Model, directory: Path) -> Any:
    """Return the model's saved input example, or ``None``."""
    info = model.saved_input_example_info
    if not info:
        return None
    content = json.loads((directory / info["artifact_path"]).read_text(encoding="utf-8"))
    if info["type"] == "dataframe":
        text = StringIO(json.dumps(content))
        if "columns" in content:
            return pd.read_json(text, orient="split", dtype=False)
        return pd.read_json(text, orient="values", dtype=False)
    if info["type"] == "ndarray":
        inputs = content["inputs"]
        if isinstance(inputs, dict):
            return {name: np.asarray(value) for name, value in inputs.items()}
        return np.asarray(inputs)
    return content


def sample_of(schema: Any) -> Any:
    """Return an empty table with the columns of a signature, or arrays of zeros."""
    if schema.is_tensor_spec():
        arrays = {
            spec.name: np.zeros([1 if size == -1 else size for size in spec.shape], spec.type)
            for spec in schema.inputs
        }
        return arrays if schema.has_input_names() else next(iter(arrays.values()))
    names = schema.input_names()
    types = dict(zip(names, schema.pandas_types()))  # noqa: B905 -- not before Python 3.10
    return pd.DataFrame(columns=names).astype(types)


def parameter_of(sample: Any, orient: str) -> AbstractParameterType:
    """Return how ``inference_schema`` reads values like ``sample``."""
    if isinstance(sample, pd.DataFrame):
        return PandasParameterType(sample, enforce_shape=False, orient=orient)
    if isinstance(sample, np.ndarray):
        return NumpyParameterType(sample, enforce_shape=False)
    if isinstance(sample, dict):
        arrays = {
            name: NumpyParameterType(np.asarray(value), enforce_shape=False)
            for name, value in sample.items()
        }
        return StandardPythonParameterType(arrays)
    return Anything()


def described(model: Model, directory: Path) -> tuple[Any, Any, Any]:
    """Return the parameter types of ``input_data``, ``params`` and the answer."""
    signature = model.signature
    try:
        sample = example_of(model, directory)
    except Exception as error:
        logger.warning("The model's input example cannot be used: %s", error)
        sample = None
    if signature is None:
        return parameter_of(sample, "split"), Anything(), Anything()
    if sample is None and signature.inputs is not None:
        sample = sample_of(signature.inputs)
    answer = None if signature.outputs is None else sample_of(signature.outputs)
    # Before 2.6 MLflow's signatures have none, and its models take none.
    params = {param.name: param.default for param in getattr(signature, "params", None) or []}
    known = params and all(value is not None for value in params.values())
    return (
        parameter_of(sample, "split"),
        StandardPythonParameterType(params) if known else Anything(),
        parameter_of(answer, "records"),
    )


folder = Path(os.environ["AZUREML_MODEL_DIR"]) / os.environ["MLFLOW_MODEL_FOLDER"]
input_type, params_type, output_type = described(Model.load(str(folder)), folder)
model = mlflow.pyfunc.load_model(str(folder))


collectors: dict[str, Collector] = {}


def collected_names() -> set[str]:
    """Return the names of the collections that the deployment has."""
    settings = os.environ.get("AZUREML_MDC_CONFIG_PATH")
    if not settings:
        return set()
    return set(json.loads(Path(settings).read_text(encoding="utf-8"))["collections"])


def not_collected(error: Exception) -> None:
    """Log why something is not collected: the answer does not depend on it."""
    logger.warning("Not collected: %s", error)


def collected(name: str, rows: Any, context: Any) -> Any:
    """Hand rows to a collector, if there is one; returns what ties both halves of a request."""
    if name not in collectors:
        return context
    try:
        return collectors[name].collect(pd.DataFrame(rows), context)
    except Exception as error:
        not_collected(error)
        return context


def init() -> None:
    """Log that the model is loaded: it was with the script, as on Azure."""
    for name in ("model_inputs", "model_outputs"):
        if name in collected_names():
            collectors[name] = Collector(name=name, on_error=not_collected)
    logger.info("MLflow model loaded from %s", folder.name)


def table_of(data: Any) -> Any:
    """Return what an input without a known type is read as."""
    if isinstance(data, str):
        data = json.loads(data)
    if isinstance(data, dict) and "input_data" in data:
        data = data["input_data"]
    if isinstance(data, list):
        return np.asarray(data)
    if isinstance(data, dict) and {"columns", "index", "data"} <= set(data):
        return pd.read_json(StringIO(json.dumps(data)), orient="split", dtype=False)
    return {name: np.asarray(value) for name, value in data.items()}


@input_schema("input_data", input_type)  # type: ignore[untyped-decorator]
@input_schema("params", params_type, optional=True)  # type: ignore[untyped-decorator]
@output_schema(output_type)  # type: ignore[untyped-decorator]
def run(input_data: Any, params: dict[str, Any] | None = None) -> Any:
    """Return the model's answer as JSON's plain types."""
    arrays = isinstance(input_data, dict) and any(
        isinstance(value, np.ndarray) for value in input_data.values()
    )
    if not arrays and not isinstance(input_data, (pd.DataFrame, np.ndarray)):
        input_data = table_of(input_data)
    context = collected("model_inputs", input_data, None)
    answer = model.predict(input_data, params=params) if params else model.predict(input_data)
    collected("model_outputs", answer, context)
    return _get_jsonable_obj(answer, pandas_orient="records")  # type: ignore[no-untyped-call]
