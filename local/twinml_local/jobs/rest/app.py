"""The REST API of the published pipelines: a Flask application.

====================================  ====================================================
``POST /pipelines/NAME/jobs``         start a job
``GET  /pipelines/NAME/jobs``         list jobs, newest first (``?limit=&status=``)
``GET  /pipelines/NAME/jobs/ID``      describe a job and its steps
``GET  /pipelines/NAME/jobs/ID/logs`` what its steps printed so far, as text
``GET  …/jobs/ID/outputs/OUTPUT``     a file, or a folder as a zip, once it has completed
``POST /pipelines/NAME/jobs/ID/cancel``  end it
``…    /pipelines/NAME/schedules``    see ``schedule_routes``
``GET  /pipelines/NAME``              the definition and its inputs
``GET  /health``, ``/swagger.json``, ``/docs/``  open; the rest needs ``Authorization: Bearer KEY``
====================================  ====================================================
"""

from __future__ import annotations

import logging
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request, send_file, url_for
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException

from azureml_runner.store import ENDED, STATUSES
from twinml.errors import Detail, NotFound, TwinmlError, UsageError
from twinml_local.jobs._job import JobRecord
from twinml_local.jobs._job_log import job_log
from twinml_local.jobs._runner import Runner
from twinml_local.jobs._store import JobStore
from twinml_local.jobs.rest._openapi import document
from twinml_local.jobs.rest._schedules import schedule_routes
from twinml_local.jobs.rest._submission import read_submission
from twinml_local.keys import offered_key, opens, read_key_values

__all__ = ["create_app"]

log = logging.getLogger("twinml.jobs")

MAX_BODY_BYTES = 1_000_000
DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
OPEN_ROUTES = ("/health", "/swagger.json", "/docs")


class KeyMissing(TwinmlError):
    """The request has no valid key."""

    error_code = "UNAUTHENTICATED"
    status = 401


def create_app(store: JobStore, runner: Runner, keys_file: Path) -> Flask:
    """Return the application.

    Parameters
    ----------
    store, runner
        Where jobs are kept, and what runs them.
    keys_file
        The two keys; read at each request, so that new keys count at once.
    """
    app = Flask("twinml_local.jobs", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_blueprint(
        get_swaggerui_blueprint(
            "/docs",
            "../swagger.json",
            # Both would otherwise name an address outside.
            config={
                "app_name": "twinml pipelines",
                "validatorUrl": None,
                "oauth2RedirectUrl": None,
            },
        )
    )
    app.register_blueprint(schedule_routes(store))
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_key_check(app, keys_file)
    _add_errors(app)

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="Healthy", service="pipelines")

    @app.get("/swagger.json")
    def swagger() -> Response:
        return jsonify(document(request.host_url.rstrip("/")))

    @app.get("/pipelines/<name>")
    def definition(name: str) -> Response:
        found, version = store.definition(name)
        return jsonify(
            name=found.name,
            version=str(version),
            description=found.description,
            inputs=found.inputs(),
            definition=found.content,
        )

    @app.post("/pipelines/<name>/jobs")
    def start(name: str) -> tuple[Response, int, dict[str, str]]:
        found, version = store.definition(name)
        wanted = read_submission(request.get_data(), content_type=request.content_type)
        inputs = found.accepted(wanted.inputs)
        experiment = wanted.experiment or found.content.get("experiment_name")
        job = store.accept(found, version, inputs, experiment=experiment)
        assert job is not None  # Only a schedule can come too late.
        runner.wake()
        location = {"Location": url_for("describe", name=name, job_id=job.id)}
        if wanted.form == "ExperimentName":
            return jsonify(Id=job.id), 200, location
        return jsonify(job.to_dict()), 201, location

    @app.get("/pipelines/<name>/jobs")
    def listing(name: str) -> Response:
        store.definition(name)
        status = request.args.get("status")
        if status is not None and status not in STATUSES:
            raise _bad_argument("status", status, f"one of: {', '.join(STATUSES)}")
        found = store.jobs(name, status=status, limit=_limit(request.args.get("limit")))
        return jsonify(jobs=[job.to_dict() for job in found])

    @app.get("/pipelines/<name>/jobs/<job_id>")
    def describe(name: str, job_id: str) -> Response:
        return jsonify(store.job(name, job_id).to_dict())

    @app.get("/pipelines/<name>/jobs/<job_id>/logs")
    def logs(name: str, job_id: str) -> Response:
        job = store.job(name, job_id)
        return Response(job_log(job, runner.job_directory(job.id)), mimetype="text/plain")

    @app.get("/pipelines/<name>/jobs/<job_id>/outputs/<output>")
    def fetch(name: str, job_id: str, output: str) -> Response:
        return _output(store.job(name, job_id), output)

    @app.post("/pipelines/<name>/jobs/<job_id>/cancel")
    def cancel(name: str, job_id: str) -> tuple[Response, int]:
        job = store.request_cancel(name, job_id)
        runner.cancel(job.id)
        return jsonify(job.to_dict()), 200 if job.status in ENDED else 202

    return app


def _add_key_check(app: Flask, keys_file: Path) -> None:
    @app.before_request
    def check_key() -> None:
        if request.path in OPEN_ROUTES or request.path.startswith("/docs/"):
            return
        offered = offered_key(request.headers.get("Authorization", ""))
        if not offered:
            raise KeyMissing(
                "the request has no key", hint="Send the header Authorization: Bearer KEY."
            )
        if not opens(offered, [key.encode() for key in read_key_values(keys_file)]):
            raise KeyMissing(
                "the key is not one of this service's", hint="Ask for the keys of the pipelines."
            )


def _add_errors(app: Flask) -> None:
    def ours(error: TwinmlError) -> tuple[Response, int]:
        response = jsonify(error.to_dict())
        if error.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response, error.status

    def http(error: HTTPException) -> Response:
        response = jsonify(
            error_code=HTTP_CODES.get(error.code or 500, "BAD_REQUEST"),
            message=HTTP_MESSAGES.get(error.code or 500, error.name),
        )
        for header, value in error.get_headers():
            if header.lower() == "allow":
                response.headers[header] = value
        response.status_code = error.code or 500
        return response

    def unforeseen(error: Exception) -> tuple[Response, int]:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        shape = {"error_code": "INTERNAL_ERROR", "message": "the pipeline service failed"}
        return jsonify({**shape, "hint": "Its log says why."}), 500

    handlers: list[tuple[type[Exception], Callable[..., Any]]] = [
        (TwinmlError, ours),
        (HTTPException, http),
        (Exception, unforeseen),
    ]
    for kind, handler in handlers:
        app.register_error_handler(kind, handler)


HTTP_CODES = {
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "INVALID_PAYLOAD",
    500: "INTERNAL_ERROR",
}
HTTP_MESSAGES = {
    404: "there is no such route; see /swagger.json",
    405: "this route does not take that method; see /swagger.json",
    413: f"the body is larger than {MAX_BODY_BYTES} bytes",
}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise _bad_argument("limit", text, f"an integer from 1 to {MAX_LIMIT}")
    return int(text)


def _bad_argument(name: str, value: str, expected: str) -> UsageError:
    shown = value[:80].encode(errors="replace").decode()
    return UsageError(
        f"{name}: found '{shown}', expected {expected}",
        details=[Detail(column=name, value=shown, expected=expected)],
    )


def _output(job: JobRecord, name: str) -> Response:
    """Return an output of a job: a file as it is, a folder as a zip."""
    held = job.outputs.get(name)
    path = Path(held["path"]) if held else None
    if path is None or not path.exists():
        known = ", ".join(job.outputs) or "none"
        raise NotFound(
            f"job '{job.id}' has no output '{name[:64]}'",
            hint=f"It is {job.status}; its outputs: {known}.",
        )
    if path.is_file():
        return send_file(path, mimetype="application/octet-stream", download_name=name)
    packed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the reply
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            archive.write(file, file.relative_to(path).as_posix())
    packed.seek(0)
    return send_file(packed, mimetype="application/zip", download_name=f"{name}.zip")
