"""The endpoint's OpenAPI documents: the contract's, and what this server has besides.

The contract's document also goes to Azure ML with the model, so it holds what every server of
the model has. Here are added ``GET /score``, ``/ready``, the reply to CSV on ``/score``, the header
``x-twinml-ood-score``, and the media types in which MLflow's server answers on its service
routes.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, Literal, TypeAlias

from twinml.contract import Column, Contract, column_schema, openapi
from twinml.contract.dialects import ROUTES
from twinml_local.server.deployments.ood import HEADER
from twinml_local.server.routes.feedback import LARGEST_ROW, LONGEST_ID, PRINTABLE

__all__ = ["document", "with_prefix"]

Version: TypeAlias = Literal["2", "3", "3.1"]
Shape: TypeAlias = dict[str, Any]

SCORING = ("/score", "/invocations")
MEDIA_TYPES = {"/health": "application/json", "/ping": "application/json", "/version": "text/html"}


def document(contract: Contract, version: Version, *, title: str, feedback: bool = False) -> bytes:
    """Return the document of an endpoint that serves ``contract``, as JSON.

    Parameters
    ----------
    contract
        Of the served model.
    version
        ``2`` for Swagger 2.0, ``3`` for OpenAPI 3.0, ``3.1`` for OpenAPI 3.1.
    title
        The endpoint's name.
    feedback
        Whether it has the route ``/feedback``.
    """
    shape = openapi(contract, version=version, title=title)
    paths = shape["paths"]
    for path, media_type in MEDIA_TYPES.items():
        _answers_in(paths[path]["get"], media_type, version)
    for path in SCORING:
        _tells_ood_scores(paths[path]["post"], version)
    score = paths["/score"]
    if version != "2":
        replies = score["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        of_csv = paths["/invocations"]["post"]["responses"]["200"]["content"]
        replies["anyOf"] = [*replies["anyOf"], of_csv["application/json"]["schema"]]
    score["get"] = _score_by_query(contract, score["post"], version)
    paths["/ready"] = {"get": _ready(version)}
    if feedback:
        paths["/feedback"] = {"post": _feedback(contract, score["post"], version)}
    return json.dumps(shape, allow_nan=False).encode()


def with_prefix(shape: bytes, version: Version, prefix: str) -> bytes:
    """Return a document whose paths lie behind ``prefix``; empty for none."""
    if not prefix:
        return shape
    where = {"basePath": prefix} if version == "2" else {"servers": [{"url": prefix}]}
    return json.dumps(json.loads(shape) | where).encode()


def _tells_ood_scores(operation: Shape, version: Version) -> None:
    """Describe the out-of-distribution score of who asks for it."""
    text: Shape = {"type": "string"}
    kind = text if version == "2" else {"schema": text}
    asked = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Any value asks for an out-of-distribution score of the rows.",
    }
    operation["parameters"] = [*operation["parameters"], asked | kind]
    operation["responses"]["200"]["headers"] = {
        HEADER: {
            "description": "The largest score of the rows, 0 to 1, where it was asked for; "
            "unavailable for a model without a scorer.",
            **kind,
        }
    }


def _answers_in(operation: Shape, media_type: str, version: Version) -> None:
    if version == "2":
        operation["produces"] = [media_type]
        return
    # No schema: MLflow answers on /ping with an empty line and calls that JSON.
    operation["responses"]["200"]["content"] = {media_type: {}}


def _score_by_query(contract: Contract, post: Shape, version: Version) -> Shape:
    described: list[tuple[Shape, Shape]] = [
        ({"name": column.name, "in": "query", "required": True}, _argument(column, version))
        for column in contract.columns
    ]
    method: Shape = {"type": "string", "enum": [*contract.methods], "default": "predict"}
    described.append(({"name": "method", "in": "query", "required": False}, method))
    by_id = [parameter for parameter in post["parameters"] if parameter["in"] == "header"]
    if version == "2":
        parameters = [place | kind for place, kind in described]
    else:
        parameters = [place | {"schema": kind} for place, kind in described]
    return {
        "operationId": "score_by_query",
        "tags": post["tags"],
        "summary": "Score one row",
        "description": "Columns as query arguments. An argument that is named like a key of a "
        f"request body ({', '.join(ROUTES['score'])}) holds its JSON instead.",
        "security": post["security"],
        "parameters": [*by_id, *parameters],
        "responses": deepcopy(post["responses"]),
        **({"produces": ["application/json"]} if version == "2" else {}),
    }


def _feedback(contract: Contract, scoring: Shape, version: Version) -> Shape:
    spelt = [str(label) for label in contract.classes]
    kind: Shape = {"enum": list(dict.fromkeys([*contract.classes, *spelt]))}
    if contract.target_range is not None:
        kind = {"type": "number"}
    record: Shape = {
        "type": "object",
        "required": ["request_id", "label"],
        "properties": {
            "request_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": LONGEST_ID,
                "pattern": PRINTABLE,
                "description": "The x-request-id of the reply.",
            },
            "row": {
                "type": "integer",
                "minimum": 0,
                "maximum": LARGEST_ROW,
                "default": 0,
                "description": "Row of that request, counted from 0.",
            },
            "label": {
                **kind,
                "description": "What turned out to be true.",
            },
        },
        "additionalProperties": False,
        "example": {
            "request_id": "8f0c2a",
            "row": 0,
            "label": (contract.classes or contract.target_range or (0,))[0],
        },
    }
    several: Shape = {"type": "array", "minItems": 1, "items": record}
    counts: Shape = {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in ("new", "known", "corrected")},
    }
    responses = {
        status: deepcopy(reply)
        for status, reply in scoring["responses"].items()
        if status in ("400", "401", "413", "431")
    }
    operation: Shape = {
        "operationId": "feedback",
        "tags": ["scoring"],
        "summary": "Tell what turned out to be true of scored rows",
        "description": "All labels are kept or none. A label that is told again counts once, one "
        "that is told otherwise replaces the first.",
        "security": scoring["security"],
    }
    by_id = [parameter for parameter in scoring["parameters"] if parameter["in"] == "header"]
    if version == "2":
        done: Shape = {"description": "The labels are kept.", "schema": counts}
        body = {"in": "body", "name": "body", "required": True, "schema": several}
        return operation | {
            "consumes": ["application/json"],
            "produces": ["application/json"],
            "parameters": [*by_id, body],
            "responses": {"200": done, **responses},
        }
    done = {
        "description": "The labels are kept.",
        "content": {"application/json": {"schema": counts}},
    }
    schema = {"anyOf": [record, several]}
    return operation | {
        "parameters": by_id,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": done, **responses},
    }


def _argument(column: Column, version: Version) -> Shape:
    """Describe a column as an argument; of text columns all that is written is text."""
    if version == "3.1" and column.type != "string":
        return column_schema(column, version)
    types = {"long": "integer", "double": "number", "string": "string", "boolean": "boolean"}
    return {"type": types[column.mlflow_type]}


def _ready(version: Version) -> Shape:
    anything: Shape = {"type": "object"}
    content: Shape = (
        {"schema": anything}
        if version == "2"
        else {"content": {"application/json": {"schema": anything}}}
    )
    return {
        "operationId": "ready",
        "tags": ["service"],
        "summary": "Tell which models are loaded",
        "security": [],
        "responses": {
            "200": {"description": "The deployments that answer.", **content},
            "503": {"description": "No model is loaded.", **content},
        },
        **({"produces": ["application/json"]} if version == "2" else {}),
    }
