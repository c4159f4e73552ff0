"""Routes, keys, headers and errors of the scoring server.

=====================  ==========================================  =====  ==================
route                  answers                                     key    after
=====================  ==========================================  =====  ==================
``POST /score``        dialects of Azure ML                        asked  Azure ML
``GET /score``         the same as query arguments                 asked  Azure ML
``POST /invocations``  dialects of MLflow and CSV                  asked  MLflow
``/swagger.json``      OpenAPI, ``?version=2|3|3.1``               open   Azure ML
``/docs/``             Swagger UI, from the installed package      open   the course
``/``                  ``Healthy``                                 open   Azure ML
``/ping``, ``/health`` an empty line                               open   MLflow
``/version``           MLflow's version                            open   MLflow
``/ready``             what is loaded                              open   ours
``/metrics``           counters for Prometheus, from the worker    open   ours
=====================  ==========================================  =====  ==================

The documents are open because they show the schema and no data, and because the server
listens on loopback only; ``ServerSettings.documents_need_key`` closes them. Everything that
is not a prediction is answered in the one JSON shape of ``twinml.errors``.
"""

from __future__ import annotations

import hmac
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version as installed_version
from typing import Any, Literal

from flask import Flask, Response, g, request
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from twinml import __version__
from twinml.contract import parse, render
from twinml.errors import TwinmlError
from twinml_local.server.cors import headers as cors_headers
from twinml_local.server.deployment import Deployment, Serving, mirrored
from twinml_local.server.documents import document
from twinml_local.server.log import RequestLog
from twinml_local.server.mirror import Copy, Mirror, record_scored
from twinml_local.server.query import body_from_query
from twinml_local.telemetry import Recorder

__all__ = ["create_app"]

DEPLOYMENT_HEADER = "azureml-model-deployment"
# Asked every few seconds by whoever watches: no telemetry of that.
PROBES = frozenset({"/", "/health", "/ping", "/ready", "/metrics"})
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
    serving: Callable[[], Serving],
    *,
    log: RequestLog | None = None,
    mirror: Mirror | None = None,
    recorder: Recorder | None = None,
) -> Flask:
    """Return the WSGI app of an endpoint.

    Parameters
    ----------
    serving
        Asked once a request for what is served then; name and number of threads are taken
        when the app is made.
    log
        Where requests are noted; ``None`` notes nothing. The caller closes it.
    mirror
        Takes copies of requests; ``None`` mirrors nothing.
    recorder
        Takes telemetry; ``None`` records nothing. The caller closes it.
    """
    endpoint = serving().endpoint
    turns = threading.BoundedSemaphore(serving().settings.threads)
    server_version = f"twinml/{__version__}"
    documents: dict[tuple[str, str], bytes] = {}

    app = Flask(__name__, static_folder=None)

    def refuse_without_key(keys: Sequence[str]) -> Response | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        offered = given.strip().encode() if scheme.lower() == "bearer" else b""
        # Every key is compared, and in constant time: an answer's timing says nothing.
        matches = [hmac.compare_digest(offered, key.encode()) for key in keys]
        if any(matches):
            return None
        refusal = error_response(
            401,
            "the key is missing" if not offered else "the key is wrong",
            hint="Send a key of the endpoint as the header 'Authorization: Bearer KEY'.",
        )
        refusal.headers["WWW-Authenticate"] = f'Bearer realm="{endpoint}"'
        return refusal

    def body_and_type(deployment: Deployment, limit: int) -> tuple[bytes, str | None]:
        if request.method in ("GET", "HEAD"):
            arguments = request.args.items(multi=True)
            return body_from_query(deployment.contract, arguments), "application/json"
        body = request.get_data(cache=False)
        if len(body) > limit:
            raise RequestEntityTooLarge
        return body, request.headers.get("Content-Type")

    def predictions(route: Literal["score", "invocations"]) -> Response:
        now: Serving = g.serving
        refusal = refuse_without_key(now.keys)
        if refusal is not None:
            return refusal
        wanted = request.headers.get(DEPLOYMENT_HEADER)
        deployment = now.chosen(wanted, random.random())  # noqa: S311 - traffic, not a secret
        g.deployment, g.model, g.contract = deployment.name, deployment.model, deployment.contract
        body, content_type = body_and_type(deployment, now.settings.max_body_bytes)
        if mirror is not None and now.mirror and wanted is None:
            point = random.random()  # noqa: S311 - as above
            name = mirrored(now.mirror, tuple(now.deployments), point=point)
            if name is not None:
                g.copy = Copy(
                    now.deployments[name],
                    body,
                    content_type,
                    route,
                    g.request_id,
                    now.settings.max_rows,
                )
        g.function_failed = False
        # Bodies are read before this line: a slow client waits for nobody's turn.
        with turns:
            started = time.perf_counter()
            try:
                scoring = parse(
                    deployment.contract,
                    body,
                    content_type=content_type,
                    route=route,
                    max_rows=now.settings.max_rows,
                )
                labels, probabilities = deployment.predict(scoring)
                reply = render(deployment.contract, scoring, labels, probabilities)
            except Exception as error:
                g.function_failed = not isinstance(error, TwinmlError) or error.status >= 500
                raise
            finally:
                g.function_ms = (time.perf_counter() - started) * 1e3
        g.n_rows = scoring.n_rows
        if recorder is not None:
            record_scored(recorder, deployment, scoring, labels, probabilities, g.request_id)
        return Response(reply, mimetype="application/json")

    @app.get("/score")
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
        now: Serving = g.serving
        loaded = {
            name: {"model": deployment.model, "digest": deployment.digest}
            for name, deployment in now.deployments.items()
        }
        return json_response(
            {"endpoint": endpoint, "deployments": loaded, "traffic": now.traffic},
            200 if loaded else 503,
        )

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
        now: Serving = g.serving
        # Of several deployments the one with the most traffic is documented.
        heaviest = max(now.deployments, key=lambda name: now.traffic.get(name, 0), default=None)
        contract = now.chosen(request.headers.get(DEPLOYMENT_HEADER, heaviest), 0.0).contract
        key = contract.digest, version
        if key not in documents:
            documents[key] = document(contract, version, title=endpoint)
        return Response(documents[key], mimetype="application/json")

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
        g.serving = serving()
        g.deployment = None
        # One more than is allowed: a body without a declared length is cut off at this length
        # without a word, and what was cut must not pass for whole.
        request.max_content_length = g.serving.settings.max_body_bytes + 1
        g.request_id = str(uuid.uuid4())
        for name in ("x-request-id", "x-ms-request-id", "x-ms-client-request-id"):
            if len(request.headers.get(name, "")) > LONGEST_ID:
                return error_response(431, f"{name} must not exceed {LONGEST_ID} characters")
        g.request_id = request.headers.get("x-request-id") or g.request_id
        closed = request.path.startswith(("/swagger.json", "/docs"))
        if closed and g.serving.settings.documents_need_key:
            return refuse_without_key(g.serving.keys)
        return None

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
        origins = g.serving.settings.cors_origins
        if origins:
            headers.extend(
                cors_headers(origins, request.method, request.headers, headers.get("Allow", ""))
            )
        if "copy" in g and mirror is not None:
            # The reply first; closing comes after it.
            response.call_on_close(partial(mirror.submit, g.copy))
        milliseconds = (time.perf_counter() - g.started) * 1e3
        if recorder is not None and request.path not in PROBES:
            recorder.record_request(
                f"{request.method} {request.url_rule}" if request.url_rule else "other",
                request.path[:LONGEST_PATH],
                response.status_code,
                milliseconds,
                operation_id=g.request_id,
                deployment=g.deployment,
                model=g.get("model"),
                rows=g.get("n_rows"),
                scoring_ms=g.get("function_ms"),
                client_request_id=client_id[:LONGEST_ID] or None,
            )
        if log is not None:
            log.request(
                g.deployment,
                request.method,
                request.path,
                response.status_code,
                milliseconds,
                None if response.is_streamed else response.calculate_content_length(),
            )
        return response

    def record(error: Exception) -> None:
        if recorder is not None:
            recorder.record_exception(
                error,
                operation_id=g.request_id,
                deployment=g.deployment,
                contract=g.get("contract"),
                handled=isinstance(error, TwinmlError),
            )

    @app.errorhandler(TwinmlError)
    def refused(error: TwinmlError) -> Response:
        if error.status != 500:
            record(error)
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
                f"the body is larger than {g.serving.settings.max_body_bytes} bytes",
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
        record(error)
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
