"""The resources of the emulated subscription by their ARM ids, in SQLite.

A resource is a JSON body under an id; its collection is the id without the last segment, so
the versions of a data asset are in ``…/data/bank/versions``. Ids differ by more than case.
An operation is something that has been accepted. Most end by themselves at a set time, whether
or not the process lived until then, because their end is looked up and not waited for; an
operation of real work ends when ``finish`` is told what became of it.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from azureml_runner.database import Database

__all__ = ["Effect", "Operation", "Resource", "ResourceStore", "timestamp"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    key TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, id TEXT NOT NULL,
    collection TEXT NOT NULL, body TEXT NOT NULL, etag TEXT NOT NULL,
    created TEXT NOT NULL, modified TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS resources_by_collection ON resources (collection, number);
CREATE TABLE IF NOT EXISTS numbers (last INTEGER NOT NULL);
INSERT INTO numbers SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM numbers);
CREATE TABLE IF NOT EXISTS secrets (
    key TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS schedule_times (
    key TEXT PRIMARY KEY, etag TEXT NOT NULL, next REAL);
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, resource TEXT NOT NULL, effect TEXT NOT NULL,
    started REAL NOT NULL, ends REAL NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS failures (
    operation TEXT PRIMARY KEY, error TEXT NOT NULL);
"""

_PREFIX = re.compile("/azureml(?::|%3a)")

# What "work" comes to is known when somebody has done it; all others end at a set time.
Effect = Literal["succeed", "delete", "none", "work"]


@dataclass(frozen=True)
class Resource:
    """A stored resource; ``body`` has everything but ``id``, ``name`` and ``systemData``.

    ``number`` grows with each resource that is made and so orders them by age.
    """

    id: str
    number: int
    body: Mapping[str, Any]
    etag: str
    created: str
    modified: str

    @property
    def name(self) -> str:
        """The last segment of the id."""
        return self.id.rpartition("/")[2]

    @property
    def properties(self) -> dict[str, Any]:
        """The properties, as a copy."""
        return dict(self.body.get("properties") or {})

    @property
    def archived(self) -> bool:
        """Whether the resource is left out of lists."""
        return bool(self.properties.get("isArchived"))


@dataclass(frozen=True)
class Operation:
    """Accepted work; ``effect`` is what happens to the resource when it ends."""

    id: str
    resource: str
    effect: Effect
    started: float
    ends: float
    done: bool
    error: Mapping[str, Any] | None = None


class ResourceStore:
    """All resources and operations of one emulator.

    Parameters
    ----------
    path
        The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all reads and changes inside one step that nobody comes between."""
        with self._database.transaction():
            yield

    def get(self, resource_id: str) -> Resource | None:
        """Return a resource, or ``None``."""
        # Of ``azureml:bank@latest`` the SDK takes ``azureml:bank`` for the asset's name.
        key = _PREFIX.sub("/", resource_id.lower())
        row = self._database.row("SELECT * FROM resources WHERE key = ?", [key])
        return None if row is None else _resource(row)

    def put(self, resource_id: str, body: Mapping[str, Any]) -> tuple[Resource, bool]:
        """Store a resource whole; returns it and whether it is new."""
        now, etag = timestamp(), uuid.uuid4().hex
        key, content = resource_id.lower(), json.dumps(body)
        with self.transaction():
            changed = self._database.execute(
                "UPDATE resources SET body = ?, etag = ?, modified = ? WHERE key = ?",
                [content, etag, now, key],
            )
            if not changed:
                # Numbers are never given twice: a client's place in a list stays right.
                self._database.execute("UPDATE numbers SET last = last + 1")
                self._database.execute(
                    "INSERT INTO resources (key, number, id, collection, body, etag, created,"
                    " modified) SELECT ?, last, ?, ?, ?, ?, ?, ? FROM numbers",
                    [key, resource_id, key.rpartition("/")[0], content, etag, now, now],
                )
            stored = self.get(resource_id)
        assert stored is not None
        return stored, not changed

    def delete(self, resource_id: str) -> bool:
        """Remove a resource, all below it and their secrets; returns whether it was there."""
        key = resource_id.lower()
        below = key + "/"
        with self.transaction():
            removed = 0
            for table in ("secrets", "schedule_times", "resources"):
                removed = self._database.execute(
                    f"DELETE FROM {table} WHERE key = ? OR substr(key, 1, ?) = ?",  # noqa: S608
                    [key, len(below), below],
                )
        return removed > 0

    def list(self, collection: str) -> list[Resource]:
        """Return the resources of a collection, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM resources WHERE collection = ? ORDER BY number", [collection.lower()]
        )
        return [_resource(row) for row in rows]

    def find(self, pattern: str) -> tuple[Resource, ...]:
        """Return the resources whose ids, in lower case, fit a glob that begins with ``*/``.

        No other star takes a slash: ``*/onlineendpoints/*/deployments/*``.
        """
        rows = self._database.rows(
            "SELECT * FROM resources WHERE key GLOB ? ORDER BY number", [pattern]
        )
        depth = pattern.count("/")
        fitting = (row for row in rows if _below_workspace(row["key"]).count("/") == depth - 1)
        return tuple(_resource(row) for row in fitting)

    def set_secret(self, resource_id: str, content: Mapping[str, Any]) -> None:
        """Keep what answers of a resource never show."""
        self._database.execute(
            "INSERT OR REPLACE INTO secrets (key, content) VALUES (?, ?)",
            [resource_id.lower(), json.dumps(content)],
        )

    def secret(self, resource_id: str) -> dict[str, Any] | None:
        """Return what ``set_secret`` kept."""
        row = self._database.row("SELECT content FROM secrets WHERE key = ?", [resource_id.lower()])
        return None if row is None else dict(json.loads(row["content"]))

    def due(self, schedule: Resource) -> tuple[bool, float | None]:
        """Return whether it is known when a schedule, as it is, is due next; and when, if ever."""
        row = self._database.row(
            "SELECT next FROM schedule_times WHERE key = ? AND etag = ?",
            [schedule.id.lower(), schedule.etag],
        )
        return (False, None) if row is None else (True, row["next"])

    def set_due(self, schedule: Resource, moment: float | None) -> None:
        """Write down when a schedule, as it is, is due next."""
        self._database.execute(
            "INSERT OR REPLACE INTO schedule_times (key, etag, next) VALUES (?, ?, ?)",
            [schedule.id.lower(), schedule.etag, moment],
        )

    def begin(self, resource_id: str, effect: Effect, seconds: float) -> Operation:
        """Accept an operation that ends ``seconds`` from now."""
        now = time.time()
        ends = math.inf if effect == "work" else now + seconds
        operation = Operation(str(uuid.uuid4()), resource_id, effect, now, ends, False)
        self._database.execute(
            "INSERT INTO operations (id, resource, effect, started, ends) VALUES (?, ?, ?, ?, ?)",
            [operation.id, resource_id, effect, operation.started, operation.ends],
        )
        return operation

    def operation(self, operation_id: str) -> Operation | None:
        """Return an operation, or ``None``."""
        row = self._database.row(
            "SELECT operations.*, error FROM operations"
            " LEFT JOIN failures ON operation = id WHERE id = ?",
            [operation_id],
        )
        return None if row is None else _operation(row)

    def open_operations(self) -> tuple[Operation, ...]:
        """Return the operations that have not ended, oldest first."""
        rows = self._database.rows(
            "SELECT *, NULL AS error FROM operations WHERE done = 0 ORDER BY started"
        )
        return tuple(_operation(row) for row in rows)

    def finish(self, operation_id: str, error: Mapping[str, Any] | None = None) -> bool:
        """End work, well or with ARM's ``error``; returns whether its resource is still there."""
        with self.transaction():
            operation = self.operation(operation_id)
            if operation is None:
                return False
            if error is not None:
                self._database.execute(
                    "INSERT OR REPLACE INTO failures (operation, error) VALUES (?, ?)",
                    [operation_id, json.dumps(error)],
                )
            self._database.execute(
                "UPDATE operations SET done = 1, ends = ? WHERE id = ?", [time.time(), operation_id]
            )
            return self._set_state(operation.resource, "Failed" if error else "Succeeded")

    def settle(self) -> None:
        """Carry out the effects of all operations whose time has come."""
        query = "SELECT *, NULL AS error FROM operations WHERE done = 0 AND ends <= ? ORDER BY ends"
        if not self._database.rows(query, [time.time()]):
            return
        with self.transaction():
            for row in self._database.rows(query, [time.time()]):
                operation = _operation(row)
                self._apply(operation)
                self._database.execute(
                    "UPDATE operations SET done = 1 WHERE id = ?", [operation.id]
                )

    def _apply(self, operation: Operation) -> None:
        if operation.effect == "delete":
            self.delete(operation.resource)
        elif operation.effect == "succeed":
            self._set_state(operation.resource, "Succeeded")

    def _set_state(self, resource_id: str, state: str) -> bool:
        resource = self.get(resource_id)
        # Whoever is about to delete it has the last word.
        if resource is None or resource.properties.get("provisioningState") == "Deleting":
            return False
        properties = {**resource.properties, "provisioningState": state}
        self.put(resource.id, {**resource.body, "properties": properties})
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def timestamp(moment: float | None = None) -> str:
    """Return a moment, by default now, as ARM writes it: UTC, seven digits of a second."""
    when = datetime.now(UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _resource(row: Any) -> Resource:
    return Resource(
        row["id"],
        row["number"],
        json.loads(row["body"]),
        row["etag"],
        row["created"],
        row["modified"],
    )


def _operation(row: Any) -> Operation:
    return Operation(
        row["id"],
        row["resource"],
        row["effect"],
        row["started"],
        row["ends"],
        bool(row["done"]),
        json.loads(row["error"]) if row["error"] else None,
    )


def _below_workspace(key: str) -> str:
    """Return what comes after the workspace's name."""
    return key.partition("/workspaces/")[2].partition("/")[2]
