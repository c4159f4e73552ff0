"""The schemas that those of requests and replies are put together from, by name."""

from __future__ import annotations

from collections.abc import Iterable

from twinml.contract._openapi_columns import Schema, Version, nullable

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


def beside(version: Version) -> dict[str, Schema]:
    """Return what may stand beside rows, each of which may name the method."""
    method: Schema = {
        "type": "string",
        "description": "predict for labels, predict_proba for probabilities; null is predict.",
        "enum": ["predict", "predict_proba", None],
        "default": "predict",
    }
    if version == "2":
        method |= {"enum": method["enum"][:2], "x-nullable": True}
    else:
        method = nullable(method, version)
    parameters = reference("Parameters", version)
    ignored = {"type": "number", "description": "Ignored."}
    return {
        "method": method,
        "params": parameters,
        "GlobalParameters": any_of([parameters, ignored], version),
    }


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
