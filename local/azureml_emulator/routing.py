"""Routes: host, method and path of a request matched to its handler.

ARM paths are case-insensitive, names in them keep their case. A path is a template::

    /subscriptions/{subscription}/…/workspaces/{workspace}/data/{name}/versions/{version}
    /{container}/{names:blob}                a name that takes slashes too
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.wrappers import Request, Response

from azureml_emulator.errors import ArmError

__all__ = ["Call", "Handler", "Route", "Router", "json_response"]


@dataclass(frozen=True)
class Call:
    """A request as handlers get it."""

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
BRACKETS = str.maketrans("{}", "<>")


class Route(Rule):
    """A row of the table; ``host`` may be a template too."""

    def __init__(self, method: str, host: str, path: str, handler: Handler) -> None:
        super().__init__(path.lower().translate(BRACKETS), host=host.translate(BRACKETS))
        self.methods = {method}  # werkzeug's own argument would have GET answer HEAD
        self.template = f"{method:7}{host}{path}"
        self.path, self.handler = path, handler


class Router:
    """Finds the handler of a request.

    Parameters
    ----------
    routes
        The table. A word goes before a name, a name before names; of two alike the first wins.

    Examples
    --------
    >>> route = Route("GET", "example.org", "/shelves/{shelf}/{names:book}", Response)
    >>> found = Router([route]).find("GET", "example.org", "/Shelves/A/b/c%20d")
    >>> found[1]
    {'shelf': 'A', 'book': 'b/c d'}
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        hosts = {str(route.host) for route in self.routes}
        self._map = _table(self.routes)
        self._hosts = _table(Rule("/", host=host) for host in hosts)

    def knows_host(self, host: str) -> bool:
        """Return whether any row is about ``host``."""
        return _match(self._hosts, "GET", host, "/") is not None

    def find(self, method: str, host: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """Return the handler of a request and the names in its host and path, or ``None``."""
        found = _match(self._map, method, host, path.lower())
        if found is None:
            return None
        route, names = found
        # Names keep the case in which they were sent.
        segments = path.split("/", route.path.count("/"))
        for part, sent in zip(route.path.split("/"), segments, strict=True):
            if part.startswith("{"):
                names[part.strip("{}").removeprefix("names:")] = unquote(sent)
        return route.handler, names


class _Names(BaseConverter):
    """One segment or more, at the end of a path."""

    regex, part_isolating, weight = ".+", False, 200


def _table(rules: Iterable[Rule]) -> Map:
    return Map(rules, converters={"names": _Names}, host_matching=True, merge_slashes=False)


def _match(table: Map, method: str, host: str, path: str) -> tuple[Any, dict[str, str]] | None:
    # werkzeug would overlook a slash that is missing, or one too many, at the beginning.
    if not re.match("/(?!/)", path):
        return None
    try:
        rule, names = table.bind(host).match(path, method, return_rule=True)
    except HTTPException:
        return None
    return rule, dict(names)


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
