"""JSON schemas of rows, requests and replies, in each OpenAPI version's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twinml.contract._example import example, example_rows
from twinml.contract._openapi_columns import (
    MOST_LISTED,
    Schema,
    Version,
    column_schema,
    nullable,
    row_schema,
    values_schema,
)
from twinml.contract._request import ROUTES, Dialect
from twinml.contract._schema import Contract

__all__ = ["REQUEST_SCHEMAS", "Schema", "Version", "error_schemas", "reference", "schemas"]

# Dialect to the name of its request schema; in the order of the documents.
REQUEST_SCHEMAS: dict[Dialect, str] = {
    "input_data": "InputDataRequest",
    "inputs": "InputsRequest",
    "data": "DataRequest",
    "dataframe_split": "DataframeSplitRequest",
    "dataframe_records": "DataframeRecordsRequest",
    "instances": "InstancesRequest",
    "mlflow_inputs": "ColumnsRequest",
}


def reference(name: str, version: Version) -> Schema:
    """Return a reference to the schema called ``name``."""
    return {"$ref": f"#/{'definitions' if version == '2' else 'components/schemas'}/{name}"}


def schemas(contract: Contract, version: Version) -> dict[str, Schema]:
    """Return every schema of the document, by name."""
    row, values, split = (reference(name, version) for name in ("Row", "Values", "Split"))
    parameters = reference("Parameters", version)
    columns = reference("Columns", version)
    ignored = {"type": "number", "description": "Ignored."}
    arrays = [_rows_of(row), _rows_of(values)]
    anyhow = _any_of([*arrays, columns, row], version)
    by_dialect: dict[Dialect, dict[str, Schema]] = {
        "input_data": {"input_data": _any_of([split, *arrays], version), "params": parameters},
        "inputs": {
            "Inputs": {"type": "object", "required": ["data"], "properties": {"data": anyhow}},
            "GlobalParameters": _any_of([parameters, ignored], version),
        },
        "data": {"data": anyhow, "method": _method(version)},
        "dataframe_split": {"dataframe_split": split, "params": parameters},
        "dataframe_records": {"dataframe_records": _rows_of(row), "params": parameters},
        "instances": {"instances": anyhow, "params": parameters},
        "mlflow_inputs": {
            "inputs": _any_of([columns, row, *arrays], version),
            "params": parameters,
        },
    }
    result = {
        "Row": row_schema(contract, version) | _shown(example_rows(contract, 1)[0], version),
        "Values": values_schema(contract, version),
        "Split": _split(contract, version),
        "Columns": {
            "type": "object",
            "description": "Arrays of equal length, by column name.",
            "required": list(contract.column_names),
            "properties": {
                column.name: _rows_of(column_schema(column, version)) for column in contract.columns
            },
        },
        "Parameters": nullable(
            {"type": "object", "properties": {"method": _method(version)}}, version
        ),
        **_predictions(contract, version),
        **error_schemas(version),
    }
    if version == "3.1":
        # To the letter: parameters are read wherever they stand, and rows come once.
        everywhere = {
            "method": _method(version),
            "params": parameters,
            "GlobalParameters": _any_of([parameters, ignored], version),
        }
        for keys in ROUTES.values():
            for key, dialect in keys.items():
                others: Schema = {other: False for other in keys if other != key}
                by_dialect[dialect] = by_dialect[dialect] | everywhere | others
    for dialect, name in REQUEST_SCHEMAS.items():
        result[name] = {
            "type": "object",
            "required": [next(iter(by_dialect[dialect]))],
            "properties": by_dialect[dialect],
            **_shown(example(contract, dialect), version),
        }
    return result


def error_schemas(version: Version) -> dict[str, Schema]:
    """Return the one shape of errors, that of :mod:`twinml.errors`."""
    return {
        "Error": {
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {
                "error_code": {"type": "string"},
                "message": {"type": "string", "description": "What was wrong, and where."},
                "hint": {"type": "string", "description": "What to do about it."},
                "details": {"type": "array", "items": reference("Detail", version)},
            },
        },
        "Detail": {
            "type": "object",
            "description": "One place where something was wrong.",
            "properties": {
                "row": nullable({"type": "integer", "description": "Counts from 0."}, version),
                "column": nullable({"type": "string"}, version),
                "value": {"description": "What was found."},
                "expected": nullable({"type": "string"}, version),
            },
        },
    }


def _rows_of(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _split(contract: Contract, version: Version) -> Schema:
    """Describe columns and rows; 3.1 tells types by place, and for that one order of columns."""
    names: Schema = {
        "type": "array",
        "description": "Column names in the order of the values; any order, others than the "
        "model's are ignored.",
        "items": {"type": "string"},
        "minItems": len(contract.columns),
    }
    data = _rows_of({"type": "array", "items": {}})
    if version == "3.1":
        names |= {
            "prefixItems": [{"const": name} for name in contract.column_names],
            "items": False,
            "description": "Column names in the order of the values: here that of the model. "
            "Any other order of both is taken as well, and columns of other names are ignored.",
        }
        data = _rows_of(reference("Values", version))
    index = {
        "type": "array",
        "description": "Optional; one entry for each row.",
        "items": {},
    }
    return {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {"columns": names, "index": nullable(index, version), "data": data},
    }


def _predictions(contract: Contract, version: Version) -> dict[str, Schema]:
    kinds: dict[type, Schema] = {
        str: {"type": "string"},
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number"},
    }
    label = kinds[type(contract.classes[0])]
    listed = ", ".join(str(value) for value in contract.classes[:MOST_LISTED])
    either = [reference("Label", version), reference("Probabilities", version)]
    items = _any_of(either, version)
    return {
        "Label": {
            **label,
            "description": f"A value of '{contract.target}'.",
            "enum": list(contract.classes),
        },
        "Probabilities": {
            "type": "array",
            "description": f"One probability for each class, in the order {listed}.",
            "items": {"type": "number", "format": "double", "minimum": 0, "maximum": 1},
            "minItems": len(contract.classes),
            "maxItems": len(contract.classes),
        },
        "Predictions": {
            "type": "array",
            "description": "One label for each row; with predict_proba one list of "
            "probabilities for each row.",
            "items": items,
        },
    }


def _method(version: Version) -> Schema:
    method: Schema = {
        "type": "string",
        "description": "predict for labels, predict_proba for probabilities; null is predict.",
        "enum": ["predict", "predict_proba", None],
        "default": "predict",
    }
    if version == "2":
        return method | {"enum": method["enum"][:2], "x-nullable": True}
    return nullable(method, version)


def _any_of(choices: Sequence[Schema], version: Version) -> Schema:
    """Return a schema of alternatives; Swagger 2.0 has none, so there the first one stands."""
    return dict(choices[0]) if version == "2" else {"anyOf": list(choices)}


def _shown(value: Any, version: Version) -> Schema:
    return {"examples": [value]} if version == "3.1" else {"example": value}
