"""OpenAPI 3.1 and 3.0 and Swagger 2.0 documents of a contract's endpoint.

The same documents answer ``/swagger.json?version=``, lie in model directories as
``swagger2.json`` and ``swagger3.json``, and go to Azure with the model.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from twinml.contract._example import example, example_rows
from twinml.contract._method import METHODS
from twinml.contract._openapi_schemas import schemas
from twinml.contract._openapi_shapes import Schema, Version, reference
from twinml.contract._schema import Contract
from twinml.contract.dialects import (
    DIALECTS,
    JSON,
    ROUTES,
    TEXTS,
    Dialect,
    Route,
    documented,
)
from twinml.errors import UsageError

__all__ = ["openapi"]

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
    only: str | None = None,
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
        Name of the dialect of a server that is not twinml's: it takes no other, and has
        ``/score`` only.

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
    foreign = {each.schema_name for each in documented() if only not in (None, each.name)}
    known = {k: v for k, v in schemas(contract, version).items() if k not in foreign}
    if only is not None:
        # Not the keys that twinml's own server lets stand beside those of the dialect.
        name = DIALECTS[only].schema_name
        own = DIALECTS[only].schema(contract, version)
        known[name] = {**known[name], "properties": own}
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


def _scoring(contract: Contract, route: Route, version: Version, only: str | None = None) -> Schema:
    """Describe a scoring route; a server that takes one dialect only reads no CSV either."""
    dialects = [each for each in documented() if route in each.routes and only in (None, each.name)]
    labels: list[Any] = list(contract.classes[:2] or contract.target_range or ())
    asked = contract.methods[-1]
    bodies: dict[str, Schema] = {}
    replies: dict[str, Schema] = {}
    for each in dialects:
        bodies[each.name] = {"summary": each.summary, "value": example(contract, each.name)}
        replies[each.name] = {"summary": each.summary, "value": each.reply(labels, {})}
    last = dialects[-1]
    if asked != "predict":
        bodies[f"{last.name}_{METHODS[asked]}"] = {
            "summary": f"{last.summary}, {METHODS[asked]}",
            "value": example(contract, last.name, method=asked),
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
            "consumes": [JSON] if only else [JSON, *TEXTS],
            "produces": [JSON],
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
                    "schema": _reply_schema(dialects, version),
                    "examples": {JSON: replies[dialects[0].name]["value"]},
                },
                **errors,
            },
        }
    request = {"anyOf": [reference(each.schema_name, version) for each in dialects]}
    content: Schema = {JSON: {"schema": request, "examples": bodies}}
    for media_type, each in TEXTS.items() if only is None else ():
        text = each.example(example_rows(contract), "predict")
        content[media_type] = {
            "schema": each.schema(contract, version),
            "examples": {each.name: {"summary": each.summary, "value": text}},
        }
    return operation | {
        "parameters": [REQUEST_ID | {"schema": {"type": "string", "maxLength": 100}}],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "One prediction for each row.",
                "content": {
                    JSON: {
                        "schema": _reply_schema(dialects, version),
                        "examples": replies,
                    }
                },
            },
            **errors,
        },
    }


def _joined_request(contract: Contract, route: Route, dialects: list[Dialect]) -> Schema:
    """Return one object with the keys of all dialects: Swagger 2.0 has no alternatives."""
    properties: Schema = {}
    for each in dialects:
        properties |= each.schema(contract, "2")
    return {
        "type": "object",
        "description": f"Exactly one of {', '.join(ROUTES[route])}.",
        "minProperties": 1,
        "properties": properties,
        "example": example(contract, dialects[0].name),
    }


def _reply_schema(dialects: list[Dialect], version: Version) -> Schema:
    """Describe the replies that belong to ``dialects``; Swagger 2.0 has words for several."""
    predictions = reference("Predictions", version)
    forms: list[Schema] = []
    for each in dialects:
        form = each.reply_schema(predictions)
        if form not in forms:
            forms.append(form)
    if len(forms) == 1:
        return forms[0]
    if version == "2":
        words = ", ".join(f"{each.reply_words()} for {each.key}" for each in dialects)
        return {"description": f"{words[0].upper()}{words[1:]}."}
    return {"anyOf": forms}


def _errors(version: Version, *statuses: str) -> Schema:
    schema = reference("Error", version)
    content = {"schema": schema} if version == "2" else {"content": {JSON: {"schema": schema}}}
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
            "produces": [JSON],
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
                "content": {JSON: {"schema": anything}},
            },
            "404": {
                "description": "There is no such version.",
                "content": {JSON: {"schema": error}},
            },
        },
    }
