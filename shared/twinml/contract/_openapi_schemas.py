"""JSON schemas of rows, requests and replies, in each OpenAPI version's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from twinml.contract._example import example, example_rows
from twinml.contract._request import Dialect
from twinml.contract._schema import Column, Contract

__all__ = ["REQUEST_SCHEMAS", "Schema", "Version", "error_schemas", "reference", "schemas"]

Schema: TypeAlias = dict[str, Any]
Version: TypeAlias = Literal["2", "3", "3.1"]

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

MOST_LISTED = 20
FORMATS: dict[str, Schema] = {
    "long": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
}


def reference(name: str, version: Version) -> Schema:
    """Return a reference to the schema called ``name``."""
    return {"$ref": f"#/{'definitions' if version == '2' else 'components/schemas'}/{name}"}


def schemas(contract: Contract, version: Version) -> dict[str, Schema]:
    """Return every schema of the document, by name."""
    row, values, split = (reference(name, version) for name in ("Row", "Values", "Split"))
    parameters = reference("Parameters", version)
    columns = reference("Columns", version)
    rows = _any_of([{"type": "array", "items": row}, {"type": "array", "items": values}], version)
    by_dialect: dict[Dialect, dict[str, Schema]] = {
        "input_data": {
            "input_data": _any_of([split, *_choices(rows)], version),
            "params": parameters,
        },
        "inputs": {
            "Inputs": {"type": "object", "required": ["data"], "properties": {"data": rows}},
            "GlobalParameters": parameters,
        },
        "data": {"data": rows, "method": _method()},
        "dataframe_split": {"dataframe_split": split, "params": parameters},
        "dataframe_records": {
            "dataframe_records": {"type": "array", "items": row},
            "params": parameters,
        },
        "instances": {"instances": rows, "params": parameters},
        "mlflow_inputs": {"inputs": columns, "params": parameters},
    }
    result = {
        "Row": _row(contract, version),
        "Values": {
            "type": "array",
            "description": f"One row, in the order {', '.join(contract.column_names)}.",
            "items": {},
            "minItems": len(contract.columns),
            "maxItems": len(contract.columns),
        },
        "Split": _split(contract),
        "Columns": {
            "type": "object",
            "description": "Arrays of equal length, by column name.",
            "required": list(contract.column_names),
            "properties": {
                column.name: {"type": "array", "items": _column(column, version)}
                for column in contract.columns
            },
        },
        "Parameters": {"type": "object", "properties": {"method": _method()}},
        **_predictions(contract, version),
        **error_schemas(version),
    }
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
                "row": _nullable(
                    {"type": "integer", "description": "Counts from 0."}, version=version
                ),
                "column": _nullable({"type": "string"}, version=version),
                "value": {"description": "What was found."},
                "expected": _nullable({"type": "string"}, version=version),
            },
        },
    }


def _row(contract: Contract, version: Version) -> Schema:
    return {
        "type": "object",
        "description": "One row; columns in any order, others than these are ignored.",
        "required": list(contract.column_names),
        "properties": {column.name: _column(column, version) for column in contract.columns},
        **_shown(example_rows(contract, 1)[0], version),
    }


def _column(column: Column, version: Version) -> Schema:
    """Describe a column. What training showed is told, not enforced: other values score too."""
    schema: Schema = dict(FORMATS[column.type])
    remarks = [column.description] if column.description else []
    if column.categories:
        listed = ", ".join(column.categories[:MOST_LISTED])
        more = len(column.categories) - MOST_LISTED
        remarks.append(
            f"Known values: {listed}{f' and {more} more' if more > 0 else ''}; "
            "any other text is an unknown category."
        )
        schema["x-known-values"] = list(column.categories)
    if column.minimum is not None and column.maximum is not None:
        remarks.append(f"Training rows: {column.minimum} to {column.maximum}.")
        schema["x-training-minimum"] = column.minimum
        schema["x-training-maximum"] = column.maximum
    if remarks:
        schema["description"] = " ".join(remarks)
    return _nullable(schema, version=version) if column.nullable else schema


def _split(contract: Contract) -> Schema:
    return {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": {
                "type": "array",
                "description": "Column names in the order of the values; any order, others "
                "than the model's are ignored.",
                "items": {"type": "string"},
                "minItems": len(contract.columns),
            },
            "index": {
                "type": "array",
                "description": "Optional; one entry for each row.",
                "items": {},
            },
            "data": {
                "type": "array",
                "items": {"type": "array", "items": {}},
                "minItems": 1,
            },
        },
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


def _method() -> Schema:
    return {
        "type": "string",
        "description": "predict for labels, predict_proba for probabilities.",
        "enum": ["predict", "predict_proba"],
        "default": "predict",
    }


def _any_of(choices: Sequence[Schema], version: Version) -> Schema:
    """Return a schema of alternatives; Swagger 2.0 has none, so there the first one stands."""
    return dict(choices[0]) if version == "2" else {"anyOf": list(choices)}


def _choices(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf", [schema])
    return found


def _nullable(schema: Schema, *, version: Version) -> Schema:
    if version == "3.1":
        return schema | {"type": [schema["type"], "null"]}
    return schema | {"nullable" if version == "3" else "x-nullable": True}


def _shown(value: Any, version: Version) -> Schema:
    return {"examples": [value]} if version == "3.1" else {"example": value}
