"""Routes, keys, headers and errors of the scoring server.

=====================  ==========================================  =====  ==================
route                  answers                                     key    after
=====================  ==========================================  =====  ==================
``POST /score``        dialects of Azure ML and MLflow             asked  Azure ML
``POST /invocations``  dialects of MLflow and CSV                  asked  MLflow
``/swagger.json``      OpenAPI, ``?version=2|3|3.1``               open   Azure ML
``/docs/``             Swagger UI, from the installed package      open   the course
``/``                  ``Healthy``                                 open   Azure ML
``/ping``, ``/health`` an empty line                               open   MLflow
``/version``           MLflow's version                            open   MLflow
``/ready``             what is loaded                              open   ours
=====================  ==========================================  =====  ==================

The documents are open because they show the schema and no data, and because the server
listens on loopback only; ``ServerSettings.documents_need_key`` closes them. Everything that
is not a prediction is answered in the one JSON shape of ``twinml.errors``.
"""

from __future__ import annotations

import hmac
import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import Any, Literal

from flask import Flask, Response, g, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from twinml import __version__
from twinml.contract import openapi, parse, render
from twinml.errors import TwinmlError
from twinml_local.server.deployment import Deployment, choose
from twinml_local.server.log import RequestLog
from twinml_local.server.state import ServerSettings

__all__ = ["create_app"]

DEPLOYMENT_HEADER = "azureml-model-deployment"
LONGEST_ID = 100  # characters, as Azure ML's server has it
LONGEST_PATH = 200  # characters of a path that an error repeats
SWAGGER_VERSIONS: Mapping[str, Literal["2", "3", "3.1"]] = {"2": "2", "3": "3", "3.1": "3.1"}

# MLflow's names where it has one.
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_LIMIT_EXCEEDED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    431: "REQUEST_HEADER_TOO_LARGE",
}


def create_app(
    *,
    endpoint: str,
    deployments: Mapping[str, Deployment],
    traffic: Mapping[str, int],
    keys: Sequence[str],
    settings: ServerSettings | None = None,
    log: RequestLog | None = None,
) -> Flask:
    """Return the WSGI app that serves ``deployments``.

    Parameters
    ----------
    endpoint
        Its name, for ``/ready`` and the documents' title.
    deployments
        Loaded models by deployment name; at least one.
    traffic
        Per cent of the requests by deployment name.
    keys
        Any of them opens ``/score`` and ``/invocations``.
    settings
        Limits; ``None`` takes the defaults.
    log
        Where requests are noted; ``None`` notes nothing. The caller closes it.
    """
    settings = settings or ServerSettings()
    secrets = tuple(key.encode() for key in keys)
    server_version = f"twinml/{__version__}"
    names = tuple(deployments)
    documents: dict[tuple[str, str], bytes] = {}

    app = Flask(__name__, static_folder=None)
    # One more than is allowed: a body without a declared length is cut off at this length
    # without a word, and what was cut must not pass for whole.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes + 1

    def refuse_without_key() -> Response | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        offered = given.strip().encode() if scheme.lower() == "bearer" else b""
        # Every key is compared, and in constant time: an answer's timing says nothing.
        matches = [hmac.compare_digest(offered, secret) for secret in secrets]
        if any(matches):
            return None
        refusal = error_response(
            401,
            "the key is missing" if not offered else "the key is wrong",
            hint="Send a key of the endpoint as the header 'Authorization: Bearer KEY'.",
        )
        refusal.headers["WWW-Authenticate"] = f'Bearer realm="{endpoint}"'
        return refusal

    def chosen(point: float) -> Deployment:
        wanted = request.headers.get(DEPLOYMENT_HEADER)
        return deployments[choose(traffic, names, wanted=wanted, point=point)]

    def predictions(route: Literal["score", "invocations"]) -> Response:
        refusal = refuse_without_key()
        if refusal is not None:
            return refusal
        deployment = chosen(random.random())  # noqa: S311 - traffic, not a secret
        g.deployment = deployment.name
        body = request.get_data(cache=False)
        if len(body) > settings.max_body_bytes:
            raise RequestEntityTooLarge
        g.function_failed = False
        started = time.perf_counter()
        try:
            scoring = parse(
                deployment.contract,
                body,
                content_type=request.headers.get("Content-Type"),
                route=route,
                max_rows=settings.max_rows,
            )
            labels, probabilities = deployment.predict(scoring)
            reply = render(deployment.contract, scoring, labels, probabilities)
        except Exception as error:
            g.function_failed = not isinstance(error, TwinmlError) or error.status >= 500
            raise
        finally:
            g.function_ms = (time.perf_counter() - started) * 1e3
        return Response(reply, mimetype="application/json")

    @app.post("/score")
    def score() -> Response:
        return predictions("score")

    @app.post("/invocations")
    def invocations() -> Response:
        return predictions("invocations")

    @app.get("/")
    def alive() -> Response:
        return Response("Healthy", mimetype="text/html")

    @app.get("/ping")
    @app.get("/health")
    def health() -> Response:
        return Response("\n", mimetype="application/json")

    @app.get("/version")
    def mlflow_version() -> Response:
        return Response(installed_version("mlflow"), mimetype="text/html")

    @app.get("/ready")
    def ready() -> Response:
        loaded = {
            name: {"model": deployment.model, "digest": deployment.digest}
            for name, deployment in deployments.items()
        }
        return json_response({"endpoint": endpoint, "deployments": loaded, "traffic": traffic})

    @app.get("/swagger.json")
    def swagger() -> Response:
        # Azure ML's server, too, answers with version 2 unless asked for another.
        asked = request.args.get("version", "2")
        version = SWAGGER_VERSIONS.get(asked)
        if version is None:
            return error_response(
                404,
                f"Swagger version [{asked[:20]}] is not supported",
                hint=f"Supported: {', '.join(SWAGGER_VERSIONS)}.",
            )
        heaviest = max(names, key=lambda name: traffic.get(name, 0))
        wanted = request.headers.get(DEPLOYMENT_HEADER, heaviest)
        name = choose(traffic, names, wanted=wanted, point=0.0)
        if (name, version) not in documents:
            shape = openapi(deployments[name].contract, version=version, title=endpoint)
            documents[name, version] = json.dumps(shape).encode()
        return Response(documents[name, version], mimetype="application/json")

    app.register_blueprint(
        get_swaggerui_blueprint(
            "/docs",
            "../swagger.json?version=3",
            config={
                "app_name": f"{endpoint} - twinml",
                # Both would otherwise name an address outside: an online validator, and
                # one taken from the Host header.
                "validatorUrl": None,
                "oauth2RedirectUrl": None,
            },
        )
    )

    @app.before_request
    def begin() -> Response | None:
        g.started = time.perf_counter()
        g.deployment = None
        g.request_id = str(uuid.uuid4())
        for name in ("x-request-id", "x-ms-request-id", "x-ms-client-request-id"):
            if len(request.headers.get(name, "")) > LONGEST_ID:
                return error_response(431, f"{name} must not exceed {LONGEST_ID} characters")
        g.request_id = request.headers.get("x-request-id") or g.request_id
        closed = settings.documents_need_key and request.path.startswith(("/swagger.json", "/docs"))
        return refuse_without_key() if closed else None

    @app.after_request
    def finish(response: Response) -> Response:
        headers = response.headers
        headers["x-ms-server-version"] = server_version
        headers["x-request-id"] = g.request_id
        earlier_id = request.headers.get("x-ms-request-id", "")
        client_id = request.headers.get("x-ms-client-request-id", "")
        if response.status_code != 431:
            headers["x-ms-request-id"] = earlier_id or client_id or g.request_id
            if client_id:
                headers["x-ms-client-request-id"] = client_id
            if "TraceId" in request.headers:
                headers["TraceId"] = request.headers["TraceId"][:LONGEST_ID]
        if g.deployment is not None:
            headers[DEPLOYMENT_HEADER] = g.deployment
        if "function_ms" in g:
            headers["x-ms-run-function-failed"] = str(g.function_failed)
            headers["x-ms-run-fn-exec-ms"] = f"{g.function_ms:.3f}"
        if log is not None:
            log.request(
                g.deployment,
                request.method,
                request.path,
                response.status_code,
                (time.perf_counter() - g.started) * 1e3,
                None if response.is_streamed else response.calculate_content_length(),
            )
        return response

    @app.errorhandler(TwinmlError)
    def refused(error: TwinmlError) -> Response:
        # Status 500 is ours to mend, and its words may name paths of this machine.
        return (
            failed(error) if error.status == 500 else json_response(error.to_dict(), error.status)
        )

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> Response | HTTPException:
        status = error.code or 500
        if status < 400:
            return error
        if isinstance(error, RequestEntityTooLarge):
            return error_response(
                413,
                f"the body is larger than {settings.max_body_bytes} bytes",
                hint="Send the rows in smaller chunks.",
            )
        if status == 404:
            response = error_response(
                404, f"there is no route {request.path[:LONGEST_PATH]}", hint="See /docs/."
            )
        else:
            response = error_response(status, error.name.lower())
        for name, value in error.get_headers():
            if name.lower() == "allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        if log is not None:
            log.failure(g.deployment, g.request_id, error)
        return json_response(
            {
                "error_code": "INTERNAL_ERROR",
                "message": "scoring failed",
                "hint": "The endpoint's log has the reason under this request id: twinml logs.",
                "request_id": g.request_id,
            },
            500,
        )

    return app


def error_response(status: int, message: str, *, hint: str | None = None) -> Response:
    """Return an error that is no ``TwinmlError`` in the shape of one."""
    shape = {"error_code": ERROR_CODES.get(status, "INTERNAL_ERROR"), "message": message}
    if hint:
        shape["hint"] = hint
    return json_response(shape, status)


def json_response(shape: Mapping[str, Any], status: int = 200) -> Response:
    """Return ``shape`` as a JSON response."""
    return Response(json.dumps(shape), status, mimetype="application/json")
