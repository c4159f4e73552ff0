"""OpenAPI 3.1 and 3.0 and Swagger 2.0 documents of a contract's endpoint.

The same documents answer ``/swagger.json?version=``, lie in model directories as
``swagger2.json`` and ``swagger3.json``, and go to Azure with the model.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from twinml.contract._example import example, example_csv
from twinml.contract._openapi_columns import csv_schema
from twinml.contract._openapi_schemas import (
    REQUEST_SCHEMAS,
    Schema,
    Version,
    reference,
    schemas,
)
from twinml.contract._request import ROUTES, Dialect, Route
from twinml.contract._schema import Contract
from twinml.errors import UsageError

__all__ = ["openapi"]

SUMMARIES: dict[Dialect, str] = {
    "input_data": "Azure managed endpoint, MLflow model",
    "inputs": "Azure AutoML",
    "data": "Azure AutoML, first version",
    "dataframe_split": "MLflow, columns and rows",
    "dataframe_records": "MLflow, records",
    "instances": "MLflow, instances",
    "mlflow_inputs": "MLflow, columns",
    "csv": "CSV with a header; an empty cell is null",
}

ERRORS: dict[str, str] = {
    "400": "The request does not keep the contract; message and details say where.",
    "401": "The key is missing or wrong.",
    "413": "The body is too large or holds too many rows.",
    "415": "The content type is not application/json or text/csv in UTF-8.",
    "431": "A request id is longer than 100 characters.",
}

REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "required": False,
    "description": "Comes back on the reply; at most 100 characters.",
}


def openapi(
    contract: Contract,
    *,
    version: Version,
    server_url: str | None = None,
    title: str | None = None,
    only: Dialect | None = None,
) -> dict[str, Any]:
    """Return the document of the endpoint that serves ``contract``.

    Known categories and training ranges are told (``x-known-values``,
    ``x-training-minimum``, ``x-training-maximum``) but not enforced: the endpoint scores
    other values too. Every example in the document is a request that the endpoint takes.

    Parameters
    ----------
    contract
        Of the served model.
    version
        ``3.1`` for OpenAPI 3.1, ``3`` for OpenAPI 3.0, ``2`` for Swagger 2.0.
    server_url
        Where the endpoint answers, without a route; by default wherever the document is.
    title
        By default the contract's name.
    only
        The dialect of a server that is not twinml's: it takes no other, and has ``/score`` only.

    Raises
    ------
    UsageError
        There is no such version.
    """
    if version not in ("2", "3", "3.1"):
        raise UsageError(
            f"there is no OpenAPI version {version!r} here", hint="Choose 2, 3 or 3.1."
        )
    shared: Schema = {
        "info": {
            "title": title or contract.name,
            "description": f"Predicts '{contract.target}' from {len(contract.columns)} columns.",
            # The document changes when the contract does, and only then.
            "version": contract.digest[:12],
        },
        "tags": [
            {"name": "scoring", "description": "Score rows with the model."},
            {"name": "service", "description": "Health, version and this document."},
        ][: 1 if only else 2],
        "paths": {"/score": {"post": _scoring(contract, "score", version, only)}},
    }
    if only is None:
        shared["paths"] |= {
            "/invocations": {"post": _scoring(contract, "invocations", version)},
            **_service_paths(version),
        }
    foreign = {name for dialect, name in REQUEST_SCHEMAS.items() if only not in (None, dialect)}
    known = {k: v for k, v in schemas(contract, version).items() if k not in foreign}
    if only is not None:
        # The keys that twinml's own server lets stand beside those of the dialect.
        name = REQUEST_SCHEMAS[only]
        own = schemas(contract, "3")[name]["properties"]
        kept = {key: held for key, held in known[name]["properties"].items() if key in own}
        known[name] = {**known[name], "properties": kept}
    if version == "2":
        return {
            "swagger": "2.0",
            **_address(server_url),
            **shared,
            "definitions": known,
            "securityDefinitions": {
                "bearer": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "Bearer, a space, and a key of the endpoint.",
                }
            },
        }
    return {
        "openapi": "3.1.0" if version == "3.1" else "3.0.3",
        **shared,
        **({"servers": [{"url": server_url.rstrip("/")}]} if server_url else {}),
        "components": {
            "schemas": known,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the endpoint.",
                }
            },
        },
    }


def _address(server_url: str | None) -> Schema:
    """Return Swagger 2.0's three parts of an address."""
    if not server_url:
        return {}
    parts = urlsplit(server_url)
    return {
        "host": parts.netloc,
        "basePath": parts.path.rstrip("/") or "/",
        "schemes": [parts.scheme],
    }


def _scoring(
    contract: Contract, route: Route, version: Version, only: Dialect | None = None
) -> Schema:
    """Describe a scoring route; a server that takes one dialect only reads no CSV either."""
    dialects = [
        dialect
        for dialect in REQUEST_SCHEMAS
        if dialect in ROUTES[route].values() and only in (None, dialect)
    ]
    bodies: dict[str, Schema] = {}
    replies: dict[str, Schema] = {}
    for dialect in dialects:
        bodies[dialect] = {"summary": SUMMARIES[dialect], "value": example(contract, dialect)}
        replies[dialect] = {"summary": SUMMARIES[dialect], "value": _reply(contract, dialect)}
    last = dialects[-1]
    bodies[f"{last}_probabilities"] = {
        "summary": f"{SUMMARIES[last]}, probabilities",
        "value": example(contract, last, method="predict_proba"),
    }
    # Another server has errors of its own shape.
    errors = _errors(version) if only is None else {"401": {"description": ERRORS["401"]}}
    operation: Schema = {
        "operationId": route,
        "tags": ["scoring"],
        "summary": "Score rows" if route == "score" else "Score rows as an MLflow server does",
        "description": f"Takes {only}, JSON only."
        if only
        else f"Takes one of {', '.join(ROUTES[route])}; the reply has the shape that belongs to "
        "it.",
        "security": [{"bearer": []}],
    }

    if version == "2":
        return operation | {
            "consumes": ["application/json"] if only else ["application/json", "text/csv"],
            "produces": ["application/json"],
            "parameters": [
                REQUEST_ID | {"type": "string", "maxLength": 100},
                {
                    "name": "body",
                    "in": "body",
                    "required": True,
                    "schema": _joined_request(contract, route, dialects),
                    "x-examples": bodies,
                },
            ],
            "responses": {
                "200": {
                    "description": "One prediction for each row.",
                    "schema": _reply_schema(route, version, only),
                    "examples": {"application/json": replies[dialects[0]]["value"]},
                },
                **errors,
            },
        }
    request = {"anyOf": [reference(REQUEST_SCHEMAS[dialect], version) for dialect in dialects]}
    content: Schema = {"application/json": {"schema": request, "examples": bodies}}
    if only is None:
        csv_example = {"summary": SUMMARIES["csv"], "value": example_csv(contract)}
        content["text/csv"] = {
            "schema": csv_schema(contract, version),
            "examples": {"csv": csv_example},
        }
    return operation | {
        "parameters": [REQUEST_ID | {"schema": {"type": "string", "maxLength": 100}}],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "One prediction for each row.",
                "content": {
                    "application/json": {
                        "schema": _reply_schema(route, version, only),
                        "examples": replies,
                    }
                },
            },
            **errors,
        },
    }


def _joined_request(contract: Contract, route: Route, dialects: list[Dialect]) -> Schema:
    """Return one object with the keys of all dialects: Swagger 2.0 has no alternatives."""
    every = schemas(contract, "2")
    properties: Schema = {}
    for dialect in dialects:
        properties |= every[REQUEST_SCHEMAS[dialect]]["properties"]
    return {
        "type": "object",
        "description": f"Exactly one of {', '.join(ROUTES[route])}.",
        "minProperties": 1,
        "properties": properties,
        "example": example(contract, dialects[0]),
    }


def _reply(contract: Contract, dialect: Dialect) -> Any:
    labels = list(contract.classes[:2])
    if dialect == "data":
        return json.dumps({"result": labels})
    if dialect == "inputs":
        return {"Results": labels}
    return labels if dialect == "input_data" else {"predictions": labels}


def _reply_schema(route: Route, version: Version, only: Dialect | None = None) -> Schema:
    predictions = reference("Predictions", version)
    if only == "input_data":
        return predictions
    if route == "invocations":
        return _object_of("predictions", predictions)
    if version == "2":
        return {
            "description": "An array of predictions for input_data, an object with Results for "
            "Inputs, a text that holds JSON with result for data."
        }
    text = {"type": "string", "description": 'For data: JSON text, {"result": […]}.'}
    return {"anyOf": [predictions, _object_of("Results", predictions), text]}


def _object_of(key: str, schema: Schema) -> Schema:
    return {"type": "object", "required": [key], "properties": {key: schema}}


def _errors(version: Version, *statuses: str) -> Schema:
    schema = reference("Error", version)
    content = (
        {"schema": schema}
        if version == "2"
        else {"content": {"application/json": {"schema": schema}}}
    )
    return {status: {"description": ERRORS[status], **content} for status in statuses or ERRORS}


def _service_paths(version: Version) -> Schema:
    """Describe the routes that tell about the service; they need no key."""
    return {
        "/health": {"get": _plain_text("health", "Tell that the model is loaded", version)},
        "/ping": {"get": _plain_text("ping", "Tell that the model is loaded", version)},
        "/version": {"get": _plain_text("version", "Tell the MLflow version", version)},
        "/": {"get": _plain_text("root", "Tell that the server is up", version, "text/html")},
        "/swagger.json": {"get": _document(version)},
    }


def _plain_text(
    operation_id: str, summary: str, version: Version, media_type: str = "text/plain"
) -> Schema:
    operation: Schema = {
        "operationId": operation_id,
        "tags": ["service"],
        "summary": summary,
        "security": [],
    }
    text = {"type": "string"}
    if version == "2":
        reply: Schema = {"description": "It is.", "schema": text}
        return operation | {"produces": [media_type], "responses": {"200": reply}}
    reply = {"description": "It is.", "content": {media_type: {"schema": text}}}
    return operation | {"responses": {"200": reply}}


def _document(version: Version) -> Schema:
    choice: Schema = {"type": "string", "enum": ["2", "3", "3.1"], "default": "2"}
    parameter: Schema = {
        "name": "version",
        "in": "query",
        "required": False,
        "description": "2 for Swagger 2.0, 3 for OpenAPI 3.0, 3.1 for OpenAPI 3.1.",
    }
    operation: Schema = {
        "operationId": "swagger",
        "tags": ["service"],
        "summary": "Give this document",
        "security": [],
    }
    anything = {"type": "object"}
    error = reference("Error", version)
    if version == "2":
        return operation | {
            "produces": ["application/json"],
            "parameters": [parameter | choice],
            "responses": {
                "200": {"description": "The document.", "schema": anything},
                "404": {"description": "There is no such version.", "schema": error},
            },
        }
    return operation | {
        "parameters": [parameter | {"schema": choice}],
        "responses": {
            "200": {
                "description": "The document.",
                "content": {"application/json": {"schema": anything}},
            },
            "404": {
                "description": "There is no such version.",
                "content": {"application/json": {"schema": error}},
            },
        },
    }
