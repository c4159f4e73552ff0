"""What twinml would make in a workspace, and what it made: the plan and the teardown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twinml.errors import NotFound
from twinml.provision import TRAIN_HERE, Change
from twinml.workflow import DEPLOYMENT, endpoint_name
from twinml_azure.assets import data_tags, table_name
from twinml_azure.resources import CLUSTER, Sizes, get, is_ours, tagged

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml_azure.connection import Connection

__all__ = ["plan", "removable", "remove"]

# What can be deleted, in the order in which nothing is left that another one needs; and what
# the service keeps for ever, which can be archived: hidden, and never billed but as storage.
ARCHIVED = ("model", "data", "environment", "component")


def plan(connection: Connection, sizes: Sizes, dataset: Dataset, train: str) -> tuple[Change, ...]:
    """Return what a run would create, change and keep; reads only."""
    return tuple(_planned(connection, sizes, dataset, train))


def _planned(
    connection: Connection, sizes: Sizes, dataset: Dataset, train: str
) -> Iterator[Change]:
    client, marks = connection.client, data_tags(dataset)
    with connection.errors("to look at the workspace"):
        yield _asset(
            client.data, "data", dataset.name, f"uri_file of {dataset.n_rows:,} rows", marks
        )
        if train == "automl":
            yield _asset(client.data, "data", table_name(dataset.name), "mltable", marks)
        if train != TRAIN_HERE:
            yield _cluster(get(client.compute, CLUSTER), sizes)
            yield Change(
                "create", "job", f"training of {dataset.name}", f"{train}; found again if done"
            )
        model = dataset.name if train != "automl" else f"{dataset.name}-automl"
        known = tagged(client.models, model)
        yield (
            Change("create", "model", model, "the version that training gives")
            if known is None
            else Change(
                "keep", "model", model, f"version {known.version}, unless training gives another"
            )
        )
        endpoint = endpoint_name(model)
        found = get(client.online_endpoints, endpoint)
        yield Change(
            "create" if found is None else "keep", "online endpoint", endpoint, "key authentication"
        )
        present = found and get(client.online_deployments, DEPLOYMENT, endpoint_name=endpoint)
        yield Change(
            "keep" if present else "create",
            "online deployment",
            f"{endpoint}/{DEPLOYMENT}",
            f"1 × {sizes.instance_type}, billed while it is there"
            + ("; changed if the model is another one" if present else ""),
        )


def _asset(operations: Any, kind: str, name: str, detail: str, marks: Mapping[str, str]) -> Change:
    found = tagged(operations, name, **marks)
    if found is not None:
        return Change("keep", kind, name, f"version {found.version}, the same file")
    return Change("create", kind, name, detail)


def _cluster(found: Any, sizes: Sizes) -> Change:
    if found is None:
        return Change(
            "create",
            "cluster",
            CLUSTER,
            f"0 to {sizes.cluster_nodes} × {sizes.cluster_size}, nodes end after "
            f"{sizes.idle_seconds} s without work",
        )
    return Change("keep", "cluster", CLUSTER, f"up to {found.max_instances} × {found.size}")


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
