"""The route table: which host, method and path goes where; and what a handler is given.

ARM paths are case-insensitive, names in them keep their case. A path is a template::

    /subscriptions/{subscription}/…/workspaces/{workspace}/data/{name}/versions/{version}
    /{container}/{blob*}                     a starred name takes slashes too
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from werkzeug.wrappers import Request, Response

from azureml_emulator.errors import ArmError

__all__ = ["Call", "Handler", "Route", "Router", "json_response"]


@dataclass(frozen=True)
class Call:
    """A request on its way to a handler."""

    request: Request
    host: str
    path: str
    parameters: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.parameters[name]

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters; a repeated one counts once."""
        return self.request.args

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers as they came, names in lower case.

        WSGI turns ``-`` into ``_`` and servers therefore drop names that hold a ``_``, such
        as the SDK's ``x-ms-meta-upload_status``.
        """
        return dict(self.request.environ["azureml_emulator.headers"])

    def json(self) -> dict[str, Any]:
        """Return the body, which has to be a JSON object.

        Raises
        ------
        ArmError
            It is not.
        """
        try:
            body = orjson.loads(self.request.get_data() or b"{}")
        except orjson.JSONDecodeError as error:
            raise ArmError(
                400, "InvalidRequestContent", f"The request content is not valid JSON: {error}."
            ) from error
        if not isinstance(body, dict):
            raise ArmError(
                400, "InvalidRequestContent", "The request content is not a JSON object."
            )
        return body


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """A row of the table; ``host`` may be a template too."""

    method: str
    host: str
    path: str
    handler: Handler


class Router:
    """Finds the handler of a request.

    Parameters
    ----------
    routes
        The table; the first row that fits wins.

    Examples
    --------
    >>> route = Route("GET", "example.org", "/shelves/{shelf}/{book*}", lambda call: Response())
    >>> found = Router([route]).find("GET", "example.org", "/Shelves/A/b/c%20d")
    >>> found[1]
    {'shelf': 'A', 'book': 'b/c d'}
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._table = [
            (_compiled(route.host), route.method, _compiled(route.path), route)
            for route in self.routes
        ]

    def knows_host(self, host: str) -> bool:
        """Return whether any row is about ``host``."""
        return any(pattern.fullmatch(host) for pattern, *_ in self._table)

    def find(self, method: str, host: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the row for a request and the names in its host and path, or ``None``."""
        for host_pattern, route_method, path_pattern, route in self._table:
            if route_method != method:
                continue
            where, match = host_pattern.fullmatch(host), path_pattern.fullmatch(path)
            if where is not None and match is not None:
                found = {**where.groupdict(), **match.groupdict()}
                return route, {name: unquote(value) for name, value in found.items()}
        return None


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return ``body`` as a JSON answer."""
    return Response(
        orjson.dumps(body),
        status=status,
        headers=dict(headers or {}),
        content_type="application/json; charset=utf-8",
    )


def _compiled(template: str) -> re.Pattern[str]:
    pattern = ""
    for literal, name, starred in re.findall(r"([^{]+)|\{(\w+)(\*?)\}", template):
        if literal:
            pattern += re.escape(literal)
        else:
            pattern += f"(?P<{name}>{'.+' if starred else '[^/]+'})"
    return re.compile(pattern, re.IGNORECASE)
