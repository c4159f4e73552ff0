"""The schemas that those of requests and replies are put together from."""

from __future__ import annotations

from typing import Any

from twinml.contract._openapi_columns import Schema, Version, nullable
from twinml.contract._schema import Contract

__all__ = ["Schema", "Shapes", "Version", "any_of", "array_of", "object_of", "reference"]


class Shapes:
    """The parts of a request in one version of OpenAPI, by reference.

    Attributes
    ----------
    row, split, columns
        A row with names; ``{"columns": …, "data": …}``; an array of values by column.
    records, arrays
        Rows with names; rows of values without.
    rows
        Rows in any form but ``split``.
    method, parameters, global_parameters
        What may stand beside rows.
    """

    def __init__(self, contract: Contract, version: Version) -> None:
        self.contract = contract
        self.version: Version = version
        self.row, values, self.split, self.columns, self.parameters = (
            reference(name, version) for name in ("Row", "Values", "Split", "Columns", "Parameters")
        )
        self.records, self.arrays = array_of(self.row), array_of(values)
        self.rows = self.any_of(self.records, self.arrays, self.columns, self.row)
        self.method = _method(version)
        ignored = {"type": "number", "description": "Ignored."}
        self.global_parameters = self.any_of(self.parameters, ignored)

    def any_of(self, *choices: Schema) -> Schema:
        """Return a schema of alternatives in this version."""
        return any_of(choices, self.version)


def reference(name: str, version: Version) -> Schema:
    """Return a reference to the schema called ``name``."""
    return {"$ref": f"#/{'definitions' if version == '2' else 'components/schemas'}/{name}"}


def any_of(choices: Any, version: Version) -> Schema:
    """Return a schema of alternatives; Swagger 2.0 has none, so there the first one stands."""
    return dict(choices[0]) if version == "2" else {"anyOf": list(choices)}


def array_of(items: Schema) -> Schema:
    """Return the schema of an array with at least one item."""
    return {"type": "array", "items": items, "minItems": 1}


def object_of(key: str, schema: Schema) -> Schema:
    """Return the schema of an object that has ``key``."""
    return {"type": "object", "required": [key], "properties": {key: schema}}


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
