"""One SQLite file, shared by threads and processes; every change is one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Database"]

BUSY_SECONDS = 10.0  # for another process to end its transaction


class Database:
    """A connection that threads take in turns.

    Parameters
    ----------
    path
        The file; it is made if it is missing.
    schema
        Statements that make the tables, each harmless when they are there already.
    """

    def __init__(self, path: Path, schema: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._inside = False
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A commit is on disk before the answer is sent, so not even a power cut undoes it.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            for statement in schema.split(";"):
                self._connection.execute(statement)

    def add_columns(self, table: str, *columns: str) -> None:
        """Give a table text columns that files of earlier versions do not have."""
        with self.transaction():
            held = {row["name"] for row in self.rows(f"PRAGMA table_info({table})")}
            for column in columns:
                if column not in held:
                    self.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what happens inside one change: all of it, or after an error none.

        Transactions may be nested in one thread; the outermost one commits.
        """
        with self._lock:
            if self._inside:
                yield
                return
            self._settle()
            try:
                self._inside = True
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            finally:
                self._inside = False
                self._settle()

    def _settle(self) -> None:
        """Undo a transaction that nobody will end, as one whose COMMIT failed.

        Whatever came after it would be part of it: seen in here, and never on disk.
        """
        if not self._inside and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with self._lock:
            self._settle()
            return self._connection.execute(statement, values).rowcount

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._lock:
            self._settle()
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or ``None``."""
        with self._lock:
            self._settle()
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
