"""Writing batches to the database, and keeping it as small and as young as was asked."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from twinml_local.telemetry._flush import Batch, iso
from twinml_local.telemetry._schema import COLUMNS, connect, insert_statement

__all__ = ["Store"]

DELETED_AT_ONCE = 5_000  # rows; other workers write in between
SHRINK_TO = 0.9  # of the allowed size
STEPS_AT_ONCE = 200  # most deletions in one round

_INSERTS = {table: insert_statement(table) for table in COLUMNS}
_ADD_COUNTER = """
INSERT INTO counters (name, labels, value) VALUES (?, ?, ?)
ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value
"""
_ADD_METRIC = """
INSERT INTO customMetrics (timestamp, name, customDimensions, cloud_RoleName,
    cloud_RoleInstance, valueCount, valueSum, valueMin, valueMax)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (timestamp, name, customDimensions, cloud_RoleInstance) DO UPDATE SET
    valueCount = valueCount + excluded.valueCount,
    valueSum = valueSum + excluded.valueSum,
    valueMin = min(valueMin, excluded.valueMin),
    valueMax = max(valueMax, excluded.valueMax)
"""


class Store:
    """The database of one endpoint, opened when it is first written to.

    One thread at a time may use it; other processes may hold the same database.

    Parameters
    ----------
    directory
        Where ``telemetry.db`` is; made if absent.
    retention_days
        Age from which rows go; whole or part of a day.
    max_bytes
        Size from which the oldest rows go.
    """

    def __init__(self, directory: Path, *, retention_days: float, max_bytes: int) -> None:
        self._directory = directory
        self._retention_seconds = retention_days * 86_400
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None

    def write(self, batch: Batch) -> None:
        """Write a batch whole or not at all.

        Raises
        ------
        sqlite3.Error
            It was not written; the next attempt opens the database anew.
        """
        connection = self._opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for table, rows in batch.rows.items():
                connection.executemany(_INSERTS[table], rows)
            connection.executemany(
                _ADD_COUNTER,
                [(name, labels, value) for (name, labels), value in batch.counters.items()],
            )
            connection.executemany(
                _ADD_METRIC,
                [
                    (minute, name, dimensions, batch.origin.role, batch.origin.instance, *values)
                    for (minute, name, dimensions), values in batch.metrics.items()
                ],
            )
            connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise

    def maintain(self, now: float | None = None) -> int:
        """Delete rows that are too old or too many; returns how many.

        Counters stay: they are sums since the endpoint began.

        Raises
        ------
        sqlite3.Error
            The database cannot be written.
        """
        connection = self._opened()
        try:
            cutoff = iso((time.time() if now is None else now) - self._retention_seconds)
            deleted = sum(self._delete_older(connection, table, cutoff) for table in COLUMNS)
            deleted += connection.execute(
                "DELETE FROM customMetrics WHERE timestamp < ?", (cutoff,)
            ).rowcount
            if self._used(connection) > self._max_bytes:
                deleted += self._shrink(connection)
            if deleted:
                # It gives back a page a step, and execute would take the first step only.
                connection.executescript("PRAGMA incremental_vacuum")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            self.close()
            raise
        return deleted

    def close(self) -> None:
        """Close the database; a transaction under way is undone."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._directory)
        return self._connection

    def _delete_older(self, connection: sqlite3.Connection, table: str, cutoff: str) -> int:
        deleted = 0
        for _ in range(STEPS_AT_ONCE):
            # Rows are almost in the order of time, so the first ones are the oldest: no index
            # is needed to find them. Those that are younger than the cutoff stay.
            n = connection.execute(
                f"DELETE FROM {table} WHERE timestamp < ? AND rowid IN "  # noqa: S608
                f"(SELECT rowid FROM {table} ORDER BY rowid LIMIT {DELETED_AT_ONCE})",
                (cutoff,),
            ).rowcount
            deleted += n
            if n == 0:
                break
        return deleted

    def _shrink(self, connection: sqlite3.Connection) -> int:
        deleted = 0
        for _ in range(STEPS_AT_ONCE):
            if self._used(connection) <= SHRINK_TO * self._max_bytes:
                break
            sizes = {table: self._extent(connection, table) for table in COLUMNS}
            largest = max(sizes, key=lambda table: sizes[table])
            if sizes[largest] == 0:
                break
            deleted += connection.execute(
                f"DELETE FROM {largest} WHERE rowid IN "  # noqa: S608
                f"(SELECT rowid FROM {largest} ORDER BY rowid LIMIT {DELETED_AT_ONCE})"
            ).rowcount
        return deleted

    def _extent(self, connection: sqlite3.Connection, table: str) -> int:
        """Return about how many rows a table has, without counting them."""
        first, last = connection.execute(
            f"SELECT min(rowid), max(rowid) FROM {table}"  # noqa: S608
        ).fetchone()
        return 0 if first is None else int(last) - int(first) + 1

    def _used(self, connection: sqlite3.Connection) -> int:
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size
