"""JSON schemas of rows, requests and replies, in each OpenAPI version's own words."""

from __future__ import annotations

from typing import Any

from twinml.contract._example import example, example_rows
from twinml.contract._openapi_columns import (
    MOST_LISTED,
    column_schema,
    nullable,
    row_schema,
    values_schema,
)
from twinml.contract._openapi_shapes import Schema, Version, any_of, array_of, beside, reference
from twinml.contract._schema import AnswerType, Contract
from twinml.contract.dialects import ROUTES, documented

__all__ = ["error_schemas", "schemas"]


def schemas(contract: Contract, version: Version) -> dict[str, Schema]:
    """Return every schema of the document, by name."""
    parameters = beside(contract, version)
    result = {
        "Row": row_schema(contract, version) | _shown(example_rows(contract, 1)[0], version),
        "Values": values_schema(contract, version),
        "Split": _split(contract, version),
        "Columns": {
            "type": "object",
            "description": "Arrays of equal length, by column name.",
            "required": list(contract.column_names),
            "properties": {
                column.name: array_of(column_schema(column, version)) for column in contract.columns
            },
        },
        "Parameters": nullable(
            {
                "type": "object",
                "properties": {
                    name: parameters[name] for name in ("method", "level") if name in parameters
                },
            },
            version,
        ),
        **_predictions(contract, version),
        **error_schemas(version),
    }
    for dialect in documented():
        properties = dialect.schema(contract, version)
        if version == "3.1":
            # To the letter: parameters are read wherever they stand, and rows come once.
            properties |= parameters
            for route in dialect.routes:
                properties |= {key: False for key in ROUTES[route] if key != dialect.key}
        result[dialect.schema_name] = {
            "type": "object",
            "required": [dialect.key],
            "properties": properties,
            **_shown(example(contract, dialect.name), version),
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


def _split(contract: Contract, version: Version) -> Schema:
    """Describe columns and rows; 3.1 tells types by place, and for that one order of columns."""
    names: Schema = {
        "type": "array",
        "description": "Column names in the order of the values; any order, others than the "
        "model's are ignored.",
        "items": {"type": "string"},
        "minItems": len(contract.columns),
    }
    data = array_of({"type": "array", "items": {}})
    if version == "3.1":
        names |= {
            "prefixItems": [{"const": name} for name in contract.column_names],
            "items": False,
            "description": "Column names in the order of the values: here that of the model. "
            "Any other order of both is taken as well, and columns of other names are ignored.",
        }
        data = array_of(reference("Values", version))
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
    if contract.task == "regression":
        return _numbers(contract, version)
    if contract.answer_type is not None:
        return _answers(contract.answer_type, version)
    kinds: dict[type, Schema] = {
        str: {"type": "string"},
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number"},
    }
    label = kinds[type(contract.classes[0])]
    listed = ", ".join(str(value) for value in contract.classes[:MOST_LISTED])
    either = [reference("Label", version), reference("Probabilities", version)]
    items = any_of(either, version)
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


def _numbers(contract: Contract, version: Version) -> dict[str, Schema]:
    """Describe what a regression gives."""
    number: Schema = {"type": "number", "format": "double"}
    low, high = contract.target_range or (0.0, 0.0)
    value = {
        **number,
        "description": f"A predicted value of '{contract.target}', in its own unit.",
        "x-training-minimum": low,
        "x-training-maximum": high,
    }
    either, more = [reference("Value", version)], {}
    words = "One number for each row"
    if contract.intervals is not None:
        either.append(reference("Interval", version))
        words += "; with predict_interval one list of two for each row"
        more["Interval"] = {
            "type": "array",
            "description": "The lower and the upper bound.",
            "items": number,
            "minItems": 2,
            "maxItems": 2,
        }
    return {
        "Value": value,
        **more,
        "Predictions": {
            "type": "array",
            "description": f"{words}.",
            "items": any_of(either, version),
        },
    }


def _answers(answer_type: AnswerType, version: Version) -> dict[str, Schema]:
    """Describe what a model with code of its own gives."""
    kinds: dict[AnswerType, Schema] = {
        "long": {"type": "integer"},
        "double": {"type": "number", "format": "double"},
        "string": {"type": "string"},
        "boolean": {"type": "boolean"},
        "object": {},
    }
    return {
        "Answer": {**kinds[answer_type], "description": "What the model's own code gives."},
        "Predictions": {
            "type": "array",
            "description": "One answer for each row.",
            "items": reference("Answer", version),
        },
    }


def _shown(value: Any, version: Version) -> Schema:
    return {"examples": [value]} if version == "3.1" else {"example": value}
