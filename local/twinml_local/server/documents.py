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
from twinml_local.server.oddness import HEADER

__all__ = ["document"]

Version: TypeAlias = Literal["2", "3", "3.1"]
Shape: TypeAlias = dict[str, Any]

SCORING = ("/score", "/invocations")
MEDIA_TYPES = {"/health": "application/json", "/ping": "application/json", "/version": "text/html"}


def document(contract: Contract, version: Version, *, title: str) -> bytes:
    """Return the document of an endpoint that serves ``contract``, as JSON.

    Parameters
    ----------
    contract
        Of the served model.
    version
        ``2`` for Swagger 2.0, ``3`` for OpenAPI 3.0, ``3.1`` for OpenAPI 3.1.
    title
        The endpoint's name.
    """
    shape = openapi(contract, version=version, title=title)
    paths = shape["paths"]
    for path, media_type in MEDIA_TYPES.items():
        _answers_in(paths[path]["get"], media_type, version)
    for path in SCORING:
        _tells_oddness(paths[path]["post"], version)
    score = paths["/score"]
    if version != "2":
        replies = score["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        of_csv = paths["/invocations"]["post"]["responses"]["200"]["content"]
        replies["anyOf"] = [*replies["anyOf"], of_csv["application/json"]["schema"]]
    score["get"] = _score_by_query(contract, score["post"], version)
    paths["/ready"] = {"get": _ready(version)}
    return json.dumps(shape).encode()


def _tells_oddness(operation: Shape, version: Version) -> None:
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
    method: Shape = {"type": "string", "enum": ["predict", "predict_proba"], "default": "predict"}
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
        "request body (data, Inputs, input_data) holds its JSON instead.",
        "security": post["security"],
        "parameters": [*by_id, *parameters],
        "responses": deepcopy(post["responses"]),
        **({"produces": ["application/json"]} if version == "2" else {}),
    }


def _argument(column: Column, version: Version) -> Shape:
    """Describe a column as an argument; of text columns all that is written is text."""
    if version == "3.1" and column.type != "string":
        return column_schema(column, version)
    types = {"long": "integer", "double": "number", "string": "string", "boolean": "boolean"}
    return {"type": types[column.type]}


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
