"""Requests with the bytes that answer them: what a server elsewhere is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twinml.contract import Contract, example, example_rows, parse, render
from twinml.contract.dialects import DIALECTS, JSON, Method
from twinml.endpoint import request_body
from twinml_local.server.deployments.deployment import Deployment

__all__ = ["proof"]

ROWS = 3


def proof(deployment: Deployment) -> list[Mapping[str, Any]]:
    """Return a request of every dialect and method, each with its reply.

    Returns
    -------
    list
        Objects with ``route``, ``content_type``, ``body`` and ``reply``, all of them text.
    """
    contract = deployment.contract
    asked = [
        _asked(deployment, dialect.routes[0], body(contract, dialect.name, method))
        for dialect in DIALECTS.values()
        if dialect.media_type == JSON
        for method in contract.methods
    ]
    many = request_body(example_rows(contract, 100), dialect="data")
    return [*asked, _asked(deployment, "score", many)]


def body(contract: Contract, dialect: str, method: Method) -> bytes:
    """Return a request of some rows."""
    return json.dumps(example(contract, dialect, n=ROWS, method=method)).encode()


def _asked(deployment: Deployment, route: Any, content: bytes) -> Mapping[str, Any]:
    request = parse(deployment.contract, content, content_type=JSON, route=route)
    reply = render(deployment.contract, request, *deployment.predict(request))
    return {
        "route": f"/{route}",
        "content_type": JSON,
        "body": content.decode(),
        "reply": reply.decode(),
    }
