"""Lists of resources: filters, order and pages."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azureml_emulator.arm.resources import Resource
from azureml_emulator.errors import ArmError

__all__ = ["PAGE_SIZE", "Page", "merged", "page", "workspaces"]

PAGE_SIZE = 30


@dataclass(frozen=True)
class Page:
    """A part of a list; ``next_token`` leads to the rest."""

    items: Sequence[Resource]
    next_token: str | None


def page(found: Sequence[Resource], query: Mapping[str, str]) -> Page:
    """Return the part of ``found`` (oldest first) that a query asks for.

    Understood are ``listViewType``, ``tags``, ``hash``, ``names``, ``isDefault``,
    ``$orderBy`` (``createdtime asc`` or ``desc``), ``$top``, ``count`` (the size of a page)
    and ``$skip`` (a token from an earlier page).

    Raises
    ------
    ArmError
        A value is not one that can be understood.
    """
    chosen = [item for item in found if _wanted(item, query)]
    newest_first = query.get("$orderBy", "").lower().endswith("desc")
    if newest_first:
        chosen.reverse()
    after = _position(query.get("$skip"))
    if after is not None:
        chosen = [
            item
            for item in chosen
            if (item.number < after if newest_first else item.number > after)
        ]
    limit = _number(query, "$top")
    if limit is not None:
        return Page(chosen[:limit], None)
    size = _number(query, "count") or PAGE_SIZE
    items = chosen[:size]
    return Page(items, _token(items[-1].number) if len(chosen) > size else None)


def workspaces(found: Sequence[Resource], query: Mapping[str, str]) -> list[Resource]:
    """Return the workspaces of the kinds that a query names, in any case."""
    kinds = {kind.lower() for kind in query.get("kind", "").split(",") if kind}
    return [
        item for item in found if not kinds or item.body.get("kind", "Default").lower() in kinds
    ]


def merged(old: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with ``change`` merged in as RFC 7396 says: ``None`` removes.

    Examples
    --------
    >>> merged({"tags": {"a": "1", "b": "2"}, "x": 1}, {"tags": {"a": None, "c": "3"}})
    {'tags': {'b': '2', 'c': '3'}, 'x': 1}
    """
    result = dict(old)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def _wanted(item: Resource, query: Mapping[str, str]) -> bool:
    view = query.get("listViewType", "ActiveOnly")
    if view in ("EnabledOnly", "DisabledOnly"):
        if bool(item.properties.get("isEnabled")) != (view == "EnabledOnly"):
            return False
        view = "All"
    if view not in ("ActiveOnly", "ArchivedOnly", "All"):
        raise ArmError(400, "ValidationError", f"The value '{view}' of listViewType is unknown.")
    if view != "All" and item.archived != (view == "ArchivedOnly"):
        return False
    properties = item.properties
    tags = properties.get("tags") or item.body.get("tags") or {}
    for wanted in filter(None, query.get("tags", "").split(",")):
        name, equals, value = wanted.partition("=")
        if name not in tags or (equals and tags[name] != value):
            return False
    digest = query.get("hash")
    if digest is not None and (properties.get("properties") or {}).get("hash_sha256") != digest:
        return False
    default = query.get("isDefault")
    if default is not None and properties.get("isDefault") != (default.lower() == "true"):
        return False
    names = query.get("names")
    return names is None or item.name in names.split(",")


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ArmError(400, "ValidationError", f"The value '{value}' of {name} is not a number.")
    return int(value)


def _token(number: int) -> str:
    return base64.urlsafe_b64encode(f"after:{number}".encode()).decode()


def _position(token: str | None) -> int | None:
    if token is None:
        return None
    try:
        word, _, number = base64.urlsafe_b64decode(token).decode().partition(":")
        if word != "after":
            raise ValueError(token)
        return int(number)
    except ValueError as error:
        raise ArmError(
            400, "ValidationError", "The continuation token in $skip is not one of ours."
        ) from error
