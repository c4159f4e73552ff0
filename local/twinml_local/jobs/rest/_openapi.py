"""The OpenAPI 3.1 document of the pipeline service."""

from __future__ import annotations

from typing import Any

from azureml_runner.store import STATUSES
from twinml import __version__

__all__ = ["document"]


def document(server_url: str) -> dict[str, Any]:
    """Return the document; ``server_url`` is where the service was asked for it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "twinml pipelines",
            "version": __version__,
            "description": "Start and watch jobs of published pipelines.",
        },
        "servers": [{"url": server_url}],
        "security": [{"key": []}],
        "paths": {
            "/pipelines/{name}": {
                "parameters": [_NAME],
                "get": _operation("getPipeline", "Show a pipeline's definition", "Pipeline"),
            },
            "/pipelines/{name}/jobs": {
                "parameters": [_NAME],
                "get": _operation("listJobs", "List jobs, newest first", "Jobs")
                | {"parameters": [_LIMIT, _STATUS]},
                "post": _start(),
            },
            "/pipelines/{name}/jobs/{id}": {
                "parameters": [_NAME, _ID],
                "get": _operation("getJob", "Describe a job and its steps", "Job"),
            },
            "/pipelines/{name}/jobs/{id}/logs": {
                "parameters": [_NAME, _ID],
                "get": _logs(),
            },
            "/pipelines/{name}/jobs/{id}/outputs/{output}": {
                "parameters": [_NAME, _ID, _OUTPUT],
                "get": _output(),
            },
            "/pipelines/{name}/jobs/{id}/cancel": {
                "parameters": [_NAME, _ID],
                "post": _cancel(),
            },
            "/pipelines/{name}/schedules": {
                "parameters": [_NAME],
                "get": _operation("listSchedules", "List schedules, by name", "Schedules"),
            },
            "/pipelines/{name}/schedules/{title}": {
                "parameters": [_NAME, _TITLE],
                "get": _operation("getSchedule", "Describe a schedule", "Schedule"),
                "put": _put_schedule(),
                "delete": _delete_schedule(),
            },
            "/pipelines/{name}/schedules/{title}/enable": {
                "parameters": [_NAME, _TITLE],
                "post": _operation("enableSchedule", "Let it start jobs, from now on", "Schedule"),
            },
            "/pipelines/{name}/schedules/{title}/disable": {
                "parameters": [_NAME, _TITLE],
                "post": _operation("disableSchedule", "Let it start nothing", "Schedule"),
            },
            "/health": {"get": _open("health", "Say whether the service answers")},
            "/swagger.json": {"get": _open("swagger", "This document")},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _SCHEMAS,
        },
    }


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


_NAME = _parameter("name", "path", {"type": "string"})
_ID = _parameter("id", "path", {"type": "string"})
_OUTPUT = _parameter("output", "path", {"type": "string"})
_TITLE = _parameter("title", "path", {"type": "string"})
_LIMIT = _parameter(
    "limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}
)
_STATUS = _parameter("status", "query", {"type": "string", "enum": list(STATUSES)})


def _json(description: str, schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


_ERRORS = {
    "400": _json("The request is not valid", "Error"),
    "401": _json("The key is missing or wrong", "Error"),
    "404": _json("There is no such pipeline or job", "Error"),
}


def _operation(name: str, summary: str, schema: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _json(summary, schema), **_ERRORS},
    }


def _start() -> dict[str, Any]:
    location = {"Location": {"schema": {"type": "string"}, "description": "The job"}}
    forms = {"inputs": "Submission", "batch": "BatchSubmission", "course": "PipelineSubmission"}
    schemas = [{"$ref": f"#/components/schemas/{schema}"} for schema in forms.values()]
    return {
        "operationId": "startJob",
        "summary": "Start a job",
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"anyOf": schemas}}},
        },
        "responses": {
            "200": _json("Accepted; reply to a body with ExperimentName", "Accepted"),
            "201": _json("Accepted", "Job") | {"headers": location},
            **_ERRORS,
            "413": _json("The body is too large", "Error"),
            "415": _json("The body is not JSON", "Error"),
        },
    }


def _put_schedule() -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/ScheduleWish"}}}
    return {
        "operationId": "putSchedule",
        "summary": "Make a schedule, or replace it",
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": _json("It is replaced", "Schedule"),
            "201": _json("It is made", "Schedule"),
            **_ERRORS,
            "409": _json("The name is taken by another pipeline", "Error"),
            "413": _json("The body is too large", "Error"),
            "415": _json("The body is not JSON", "Error"),
        },
    }


def _delete_schedule() -> dict[str, Any]:
    return {
        "operationId": "deleteSchedule",
        "summary": "Delete a schedule",
        "responses": {"204": {"description": "It is deleted"}, **_ERRORS},
    }


def _logs() -> dict[str, Any]:
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "operationId": "getLogs",
        "summary": "Show what the steps printed so far",
        "responses": {"200": {"description": "The end of each step's output", **text}, **_ERRORS},
    }


def _output() -> dict[str, Any]:
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/octet-stream": binary, "application/zip": binary}
    return {
        "operationId": "getOutput",
        "summary": "Fetch an output: a file, or a folder as a zip",
        "responses": {"200": {"description": "The output", "content": content}, **_ERRORS},
    }


def _cancel() -> dict[str, Any]:
    return {
        "operationId": "cancelJob",
        "summary": "End a job",
        "responses": {
            "200": _json("It is canceled", "Job"),
            "202": _json("Its step is being ended", "Job"),
            **_ERRORS,
            "409": _json("It has completed or failed", "Error"),
        },
    }


def _open(name: str, summary: str) -> dict[str, Any]:
    anything = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": summary, "content": anything}},
    }


def _object(
    properties: dict[str, Any], *, required: list[str] | None = None, closed: bool = False
) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if closed:
        schema["additionalProperties"] = False
    return schema | ({"required": required} if required else {})


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_INTEGER = {"type": "integer"}
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
_PATH = {
    "type": "object",
    "properties": {"type": _TEXT, "path": _TEXT},
    "required": ["path"],
}
_VALUE: dict[str, Any] = {"anyOf": [{"type": ["string", "number", "boolean"]}, _PATH]}
_VALUES = {"type": "object", "additionalProperties": _VALUE}
_STEP = _object(
    {
        "name": _TEXT,
        "kind": _TEXT,
        "status": {"type": "string", "enum": ["NotStarted", *STATUSES[1:]]},
        "attempt": _INTEGER,
        "reused": {"type": "boolean"},
        "started": _TEXT_OR_NULL,
        "ended": _TEXT_OR_NULL,
        "exit_code": {"type": ["integer", "null"]},
        "error": _TEXT_OR_NULL,
    }
)
_LITERAL = _object(
    {"JobInputType": {"const": "Literal"}, "Value": {"type": ["string", "number", "boolean"]}},
    required=["JobInputType", "Value"],
)
_URI = _object(
    {
        "JobInputType": {"enum": ["UriFile", "UriFolder", "MLTable", "MLFlowModel", "CustomModel"]},
        "Uri": _TEXT,
    },
    required=["JobInputType", "Uri"],
)
_SCHEMAS: dict[str, Any] = {
    "Submission": _object({"inputs": _VALUES}, closed=True),
    "BatchSubmission": _object(
        {
            "properties": _object(
                {
                    "InputData": {
                        "type": "object",
                        "additionalProperties": {"anyOf": [_LITERAL, _URI]},
                    }
                }
            ),
            "name": {},
            "tags": {},
        },
        required=["properties"],
        closed=True,
    ),
    "PipelineSubmission": _object(
        {
            "ExperimentName": {"type": "string", "minLength": 1, "maxLength": 256},
            "ParameterAssignments": _VALUES,
            "Description": {},
            "DisplayName": {},
            "RunSource": {},
            "Tags": {},
        },
        required=["ExperimentName"],
        closed=True,
    ),
    "Accepted": _object({"Id": _TEXT}, required=["Id"]),
    "Job": _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "pipeline": _TEXT,
            "version": _TEXT,
            "experiment": _TEXT_OR_NULL,
            "schedule": _TEXT_OR_NULL,
            "reason": _TEXT_OR_NULL,
            "status": {"type": "string", "enum": list(STATUSES)},
            "inputs": _ANY_OBJECT,
            "outputs": _ANY_OBJECT,
            "error": _TEXT_OR_NULL,
            "attempt": _INTEGER,
            "cancel_requested": {"type": "boolean"},
            "created": _TEXT,
            "started": _TEXT_OR_NULL,
            "ended": _TEXT_OR_NULL,
            "steps": {"type": "array", "items": _STEP},
        },
        required=["id", "name", "pipeline", "status", "inputs", "outputs", "created", "steps"],
    ),
    "Jobs": _object(
        {"jobs": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}}},
        required=["jobs"],
    ),
    "ScheduleWish": _object(
        {
            "cron": _TEXT_OR_NULL,
            "every": _TEXT_OR_NULL,
            "timezone": {"type": "string", "default": "UTC"},
            "on_drift": _TEXT_OR_NULL,
            "cooldown": _TEXT_OR_NULL,
            "inputs": _VALUES,
            "enabled": {"type": "boolean", "default": True},
        },
        closed=True,
    ),
    "Schedule": _object(
        {
            "name": _TEXT,
            "pipeline": _TEXT,
            "timezone": _TEXT,
            "inputs": _ANY_OBJECT,
            "enabled": {"type": "boolean"},
            **dict.fromkeys(
                (
                    "cron",
                    "every",
                    "on_drift",
                    "cooldown",
                    "next",
                    "last",
                    "checked",
                    "finding",
                    "error",
                ),
                _TEXT_OR_NULL,
            ),
        },
        required=["name", "pipeline", "enabled"],
    ),
    "Schedules": _object(
        {"schedules": {"type": "array", "items": {"$ref": "#/components/schemas/Schedule"}}},
        required=["schedules"],
    ),
    "Pipeline": _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "description": _TEXT,
            "inputs": _ANY_OBJECT,
            "definition": _ANY_OBJECT,
        },
        required=["name", "version", "inputs", "definition"],
    ),
    "Error": _object(
        {
            "error_code": _TEXT,
            "message": _TEXT,
            "hint": _TEXT,
            "details": {"type": "array", "items": _ANY_OBJECT},
        },
        required=["error_code", "message"],
    ),
}
