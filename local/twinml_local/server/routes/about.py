"""Routes that tell about the endpoint: health, what is loaded, documents."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as installed_version
from typing import Literal

from flask import Blueprint, Response, g, request
from flask_swagger_ui import get_swaggerui_blueprint

from twinml_local.server.deployments.deployment import Serving
from twinml_local.server.routes._documents import document, with_prefix
from twinml_local.server.routes.replies import error_response, json_response
from twinml_local.server.scoring.service import DEPLOYMENT_HEADER

__all__ = ["service_routes"]

SWAGGER_VERSIONS: Mapping[str, Literal["2", "3", "3.1"]] = {"2": "2", "3": "3", "3.1": "3.1"}


def service_routes(endpoint: str, *, feedback: bool = False) -> tuple[Blueprint, ...]:
    """Return the routes that need no model to answer, and Swagger UI.

    Parameters
    ----------
    endpoint
        Its name.
    feedback
        Whether it has the route ``/feedback``.
    """
    routes = Blueprint("service", __name__)
    documents: dict[tuple[str, str], bytes] = {}

    @routes.get("/")
    def alive() -> Response:
        return Response("Healthy", mimetype="text/html")

    @routes.get("/ping")
    @routes.get("/health")
    def health() -> Response:
        return Response("\n", mimetype="application/json")

    @routes.get("/version")
    def mlflow_version() -> Response:
        return Response(installed_version("mlflow"), mimetype="text/html")

    @routes.get("/ready")
    def ready() -> Response:
        now: Serving = g.exchange.serving
        loaded = {
            name: {"model": deployment.model, "digest": deployment.digest}
            for name, deployment in now.deployments.items()
        }
        shape = {"endpoint": endpoint, "deployments": loaded, "traffic": now.traffic}
        if now.failed:
            # Reasons may name paths of this machine: they are for those who have the key.
            opened = g.exchange.refusal() is None
            hidden = "not served; the key shows the reason, and so does twinml status"
            shape["failed"] = {
                name: reason if opened else hidden for name, reason in now.failed.items()
            }
        # What is loaded has scored a row.
        ready = loaded and not any(now.traffic.get(name, 0) for name in now.failed)
        return json_response(shape, 200 if ready else 503)

    @routes.get("/swagger.json")
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
        now: Serving = g.exchange.serving
        # Of several deployments the one with the most traffic is documented.
        heaviest = max(now.deployments, key=lambda name: now.traffic.get(name, 0), default=None)
        contract = now.chosen(request.headers.get(DEPLOYMENT_HEADER, heaviest), 0.0).contract
        key = contract.digest, version
        if key not in documents:
            documents[key] = document(contract, version, title=endpoint, feedback=feedback)
        return Response(
            with_prefix(documents[key], version, request.script_root), mimetype="application/json"
        )

    # Relative addresses are right behind any prefix.
    pages: Blueprint = get_swaggerui_blueprint(
        ".",
        "../swagger.json?version=3",
        config={
            "app_name": f"{endpoint} - twinml",
            # Both would otherwise name an address outside: an online validator, and one
            # taken from the Host header.
            "validatorUrl": None,
            "oauth2RedirectUrl": None,
        },
    )
    pages.url_prefix = "/docs"
    return routes, pages
