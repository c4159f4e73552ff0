"""The scoring server of this machine: an endpoint has a supervisor and its workers.

::

    process/      starting and ending it from outside, its port, its workers, its connections
    scoring/      the way of a scoring request
    app           the Flask application of all other routes
    routes/       health, documents, feedback
    deployments/  loaded models, their traffic, and how both change while it runs
    state         endpoint.json: all that the process is told, besides its keys
    cors          pages of other origins
    hosts         names under which it answers, and the path before its own
    request_log   one line a request, written off the hot path
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinml_local.server._app import create_app
    from twinml_local.server._request_log import RequestLog
    from twinml_local.server.deployments.deployment import Deployment, Predictor, Serving
    from twinml_local.server.state import ServerSettings

__all__ = ["Deployment", "Predictor", "RequestLog", "ServerSettings", "Serving", "create_app"]

_MODULES = {
    "Deployment": "deployments.deployment",
    "Predictor": "deployments.deployment",
    "RequestLog": "_request_log",
    "ServerSettings": "state",
    "Serving": "deployments.deployment",
    "create_app": "_app",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the process that minds the workers loads no application."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
