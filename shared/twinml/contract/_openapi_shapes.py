"""The schemas that those of requests and replies are put together from, by name."""

from __future__ import annotations

from collections.abc import Iterable

from twinml.contract._method import Method
from twinml.contract._openapi_columns import Schema, Version, nullable
from twinml.contract._schema import Contract
from twinml.contract.intervals import DEFAULT_LEVEL, PredictionIntervals

__all__ = ["Schema", "Version", "any_of", "array_of", "beside", "forms", "object_of", "reference"]


def forms(version: Version) -> dict[str, Schema]:
    """Return the forms in which rows come."""
    row, columns = reference("Row", version), reference("Columns", version)
    return {
        "records": array_of(row),
        "arrays": array_of(reference("Values", version)),
        "columns": columns,
        "row": row,
        "split": reference("Split", version),
    }


WORDS: dict[Method, str] = {
    "predict": "predict for labels",
    "predict_proba": "predict_proba for probabilities",
    "predict_interval": "predict_interval for lower and upper bounds",
}


def beside(contract: Contract, version: Version) -> dict[str, Schema]:
    """Return what may stand beside rows, each of which may name the method."""
    words = ", ".join(WORDS[method] for method in contract.methods)
    if not contract.classes:
        words = words.replace("labels", "answers" if contract.answer_type else "numbers")
    method: Schema = {
        "type": "string",
        "description": f"{words}; null is predict.",
        "enum": [*contract.methods, None],
        "default": "predict",
    }
    if version == "2":
        method |= {"enum": method["enum"][:-1], "x-nullable": True}
    else:
        method = nullable(method, version)
    parameters = reference("Parameters", version)
    ignored = {"type": "number", "description": "Ignored."}
    level = {} if contract.intervals is None else {"level": _level(contract.intervals, version)}
    return {
        "method": method,
        **level,
        "params": parameters,
        "GlobalParameters": any_of([parameters, ignored], version),
    }


def _level(intervals: PredictionIntervals, version: Version) -> Schema:
    bounds: Schema = (
        {"exclusiveMinimum": 0} if version == "3.1" else {"minimum": 0, "exclusiveMinimum": True}
    )
    return nullable(
        {
            "type": "number",
            "description": "The share of rows that intervals are to hold.",
            **bounds,
            "maximum": intervals.highest_level,
            "default": DEFAULT_LEVEL,
        },
        version,
    )


def reference(name: str, version: Version) -> Schema:
    """Return a reference to the schema called ``name``."""
    return {"$ref": f"#/{'definitions' if version == '2' else 'components/schemas'}/{name}"}


def any_of(choices: Iterable[Schema], version: Version) -> Schema:
    """Return a schema of alternatives; Swagger 2.0 has none, so there the first one stands."""
    first, *others = choices
    return {"anyOf": [first, *others]} if others and version != "2" else dict(first)


def array_of(items: Schema) -> Schema:
    """Return the schema of an array with at least one item."""
    return {"type": "array", "items": items, "minItems": 1}


def object_of(key: str, schema: Schema) -> Schema:
    """Return the schema of an object that has ``key``."""
    return {"type": "object", "required": [key], "properties": {key: schema}}
