"""Routes, keys, headers and errors of the scoring server: the front, and the pages behind it.

=====================  ==========================================  =====  ==================
route                  answers                                     key    after
=====================  ==========================================  =====  ==================
``POST /score``        dialects of Azure ML                        asked  Azure ML
``GET /score``         the same as query arguments                 asked  Azure ML
``POST /invocations``  dialects of MLflow and CSV                  asked  MLflow
``POST /feedback``     true labels of scored rows                  asked  ours
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

from collections.abc import Callable, Iterable
from pathlib import Path

from flask import Blueprint, Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from twinml.contract.dialects import ROUTES
from twinml.errors import TwinmlError
from twinml_local.server._errors import Refused, bounded, key_refused, too_large
from twinml_local.server._request_log import RequestLog
from twinml_local.server.deployments.deployment import Serving
from twinml_local.server.routes.about import service_routes
from twinml_local.server.routes.feedback import feedback_route
from twinml_local.server.routes.replies import error_response, json_response
from twinml_local.server.scoring.front import EXCHANGE, Front
from twinml_local.server.scoring.mirror import Mirror
from twinml_local.server.scoring.service import LONGEST_ID, LONGEST_PATH, Exchange, ScoringService
from twinml_local.telemetry import TelemetryClient

__all__ = ["app_of", "create_app"]


def create_app(
    serving: Callable[[], Serving],
    *,
    log: RequestLog | None = None,
    mirror: Mirror | None = None,
    telemetry: TelemetryClient | None = None,
) -> Front:
    """Return the WSGI application of an endpoint.

    Parameters
    ----------
    serving
        Asked once a request for what is served then; name and number of threads are taken
        when the app is made.
    log
        Where requests are noted; ``None`` notes nothing. The caller closes it.
    mirror
        Takes copies of requests; ``None`` mirrors nothing.
    telemetry
        Takes telemetry; ``None`` records nothing. The caller closes it.
    """
    return app_of(ScoringService(serving, log=log, mirror=mirror, telemetry=telemetry))


def app_of(
    service: ScoringService,
    directory: Path | None = None,
    *,
    more: Iterable[Blueprint] = (),
    bound: str = "127.0.0.1",
) -> Front:
    """Return the WSGI application around ``service``: its front, and Flask for the pages.

    Parameters
    ----------
    service
        Scores.
    directory
        The endpoint's folder, where labels that are told are kept; ``None`` takes none.
    more
        Routes besides.
    bound
        The address that the server listens on.
    """
    app = Flask(__name__, static_folder=None)
    if directory is not None:
        app.register_blueprint(feedback_route(directory, service.endpoint))
    for blueprint in (*service_routes(service.endpoint, feedback=directory is not None), *more):
        app.register_blueprint(blueprint)
    _add_frame(app, service)
    _add_errors(app, service)
    return Front(app, service, bound=bound)


def _add_frame(app: Flask, service: ScoringService) -> None:
    """Add what comes before and after every request."""

    @app.before_request
    def begin() -> Response | None:
        exchange: Exchange = request.environ[EXCHANGE]
        g.exchange = exchange
        settings = exchange.serving.settings
        # One more than is allowed: a body without a declared length is cut off at this length
        # without a word, and what was cut must not pass for whole.
        request.max_content_length = settings.max_body_bytes + 1
        overlong = exchange.overlong_id
        if overlong is not None:
            return error_response(431, f"{overlong} must not exceed {LONGEST_ID} characters")
        if settings.documents_need_key and request.path.startswith(("/swagger.json", "/docs")):
            refusal = exchange.refusal()
            if refusal is not None:
                raise key_refused(refusal, service.endpoint)
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        exchange: Exchange = g.exchange
        headers, status = response.headers, response.status_code
        methods = headers.get("Allow", "")
        for name, value in service.headers(exchange, status, methods=methods):
            headers.add(name, value)
        mirror = service.mirror(exchange)
        if mirror is not None:
            # The reply first; closing comes after it.
            response.call_on_close(mirror)
        service.end(
            exchange,
            None if request.url_rule is None else str(request.url_rule),
            request.path,
            status,
            None if response.is_streamed else response.calculate_content_length(),
        )
        return response


def _add_errors(app: Flask, service: ScoringService) -> None:
    """Add what answers when something is refused or fails."""

    @app.errorhandler(Refused)
    def not_taken(refused: Refused) -> Response:
        response = json_response(bounded(refused), refused.status)
        response.headers.extend(refused.headers)
        return response

    @app.errorhandler(TwinmlError)
    def refused(error: TwinmlError) -> Response:
        # Status 500 is ours to mend, and its words may name paths of this machine.
        if error.status == 500:
            return failed(error)
        service.record(g.exchange, error)
        return json_response(bounded(error), error.status)

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> Response | HTTPException:
        status = error.code or 500
        if status < 400:
            return error
        if isinstance(error, RequestEntityTooLarge):
            return not_taken(too_large(g.exchange.serving.settings.max_body_bytes))
        if status == 404:
            # As it came: Flask makes one slash of several at the beginning.
            path = request.environ["PATH_INFO"][:LONGEST_PATH]
            response = error_response(404, f"there is no route {path}", hint=hint_of(path))
        else:
            response = error_response(status, error.name.lower())
        for name, value in error.get_headers():
            if name.lower() == "allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        exchange: Exchange = g.exchange
        service.record(exchange, error)
        service.log_failure(exchange, error)
        return json_response(
            {
                "error_code": "INTERNAL_ERROR",
                "message": "scoring failed",
                "hint": "The endpoint's log has the reason under this request id: twinml logs.",
                "request_id": exchange.request_id,
            },
            500,
        )


def hint_of(path: str) -> str:
    """Return what to do about a path that is no route.

    Examples
    --------
    >>> hint_of("/Score/"), hint_of("//score"), hint_of("/scores")
    ('Send it to /score, letter by letter.', 'Send it to /score, letter by letter.', 'See /docs/.')
    """
    meant = "/" + "/".join(part for part in path.lower().split("/") if part)
    known = [f"/{route}" for route in ROUTES]
    return f"Send it to {meant}, letter by letter." if meant in known else "See /docs/."
