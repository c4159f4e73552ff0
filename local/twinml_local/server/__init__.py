"""The scoring server of this machine: one process an endpoint, one Flask app behind granian.

::

    __main__   the process: reads the endpoint's folder, listens, drains on SIGTERM
    listen     granian, or waitress where there is none
    worker     what a worker process does before it serves
    watch      follows the folder: new models, traffic and keys without a restart
    lane       the usual scoring request, before Flask
    app        scoring routes, errors
    service    what both do: ids, keys, choice, scoring, headers, notes
    service_routes  health, readiness, documents
    replies    errors as JSON
    documents  OpenAPI
    query      GET /score
    cors       pages of other origins
    compiling  compiled forms, made when a model is deployed
    deployment loaded models, and which of them answers a request
    mirror     copies of requests for another deployment
    shares     which percentages may be
    state      endpoint.json: all that the process is told, besides its keys
    log        one line a request, written off the hot path
    environment  settings by environment variables
    code       which version of the code a server runs
    control    starting, stopping and steering the process from outside
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml_local.server.app import create_app
    from twinml_local.server.deployment import Deployment, Predictor, Serving
    from twinml_local.server.log import RequestLog
    from twinml_local.server.state import ServerSettings

__all__ = ["Deployment", "Predictor", "RequestLog", "ServerSettings", "Serving", "create_app"]

_MODULES = {
    "Deployment": "deployment",
    "Predictor": "deployment",
    "RequestLog": "log",
    "ServerSettings": "state",
    "Serving": "deployment",
    "create_app": "app",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the process that minds the workers loads no application."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
