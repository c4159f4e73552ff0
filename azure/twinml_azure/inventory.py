"""What twinml made in a workspace, and its removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound
from twinml.platform.abilities import Change
from twinml_azure.resources import is_ours

if TYPE_CHECKING:
    from twinml_azure.connection import Connection

__all__ = ["removable", "remove"]

# What can be deleted, in the order in which nothing is left that another one needs; and what
# the service keeps for ever, which can be archived: hidden, and never billed but as storage.
ARCHIVED = ("model", "data", "environment", "component")


def removable(connection: Connection) -> tuple[Change, ...]:
    """Return what carries twinml's tag, in the order of its removal."""
    client = connection.client
    found: list[Change] = []
    with connection.errors("to list what twinml made"):
        for kind, operations in _deletable(client).items():
            found += [
                Change("delete", kind, item.name, _detail(item))
                for item in _listed(operations)
                if is_ours(item)
            ]
        for kind, operations in _archivable(client).items():
            for container in operations.list():
                found += [
                    Change("delete", kind, f"{item.name}:{item.version}", "archived, not erased")
                    for item in operations.list(name=container.name)
                    if is_ours(item)
                ]
    return tuple(found)


def remove(connection: Connection, change: Change) -> None:
    """Delete or archive one thing that ``removable`` returned; fine if it is gone."""
    client = connection.client
    with connection.errors(f"to remove {change.kind} '{change.name}'"):
        try:
            if change.kind in ARCHIVED:
                name, _, version = change.name.rpartition(":")
                _archivable(client)[change.kind].archive(name=name, version=version)
            else:
                _delete(client, change)
        except Exception as error:
            if _gone(error):
                return
            raise


def _listed(operations: Any) -> list[Any]:
    """Return what there is of a kind; a workspace that does not know the kind has none."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return list(operations.list())
    except ResourceNotFoundError:
        return []


def _delete(client: Any, change: Change) -> None:
    if change.kind == "schedule":
        client.schedules.begin_disable(change.name).result()
    deletion: Callable[[str], Any] = _deletable(client)[change.kind].begin_delete
    deletion(change.name).result()


def _deletable(client: Any) -> dict[str, Any]:
    return {
        "schedule": client.schedules,
        "batch endpoint": client.batch_endpoints,
        "online endpoint": client.online_endpoints,
        "cluster": client.compute,
    }


def _archivable(client: Any) -> dict[str, Any]:
    return {
        "model": client.models,
        "data": client.data,
        "environment": client.environments,
        "component": client.components,
    }


def _detail(item: Any) -> str:
    traffic = getattr(item, "traffic", None)
    return f"traffic {traffic}" if traffic else ""


def _gone(error: Exception) -> bool:
    from azure.core.exceptions import ResourceNotFoundError

    return isinstance(error, (ResourceNotFoundError, NotFound))
