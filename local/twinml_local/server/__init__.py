"""The scoring server of this machine: one process an endpoint, one Flask app behind granian.

::

    __main__   the process: reads the endpoint's folder, listens, drains on SIGTERM
    app        routes, keys, headers, errors
    deployment a loaded model and its contract; which one answers a request
    listen     granian, or waitress where there is none
    worker     what a worker process does before it serves
    state      endpoint.json: all that the process is told, besides its keys
    log        one line a request, written off the hot path
"""

from __future__ import annotations

from twinml_local.server.app import create_app
from twinml_local.server.deployment import Deployment, Predictor
from twinml_local.server.log import RequestLog
from twinml_local.server.state import ServerSettings

__all__ = ["Deployment", "Predictor", "RequestLog", "ServerSettings", "create_app"]
