"""The tables of ``telemetry.db``, named as Application Insights names them.

==================  ============================================  =====================
table               a row is                                      beside the usual
==================  ============================================  =====================
``requests``        a request that was answered                   ``resultCode``
``dependencies``    the model's part in it                        ``target``, ``data``
``exceptions``      what went wrong, without messages of others   ``details``
``traces``          a remark of the server                        ``severityLevel``
``customMetrics``   a minute of a metric                          ``valueSum``, …
``counters``        sums since the endpoint began (Prometheus)    not of Azure
==================  ============================================  =====================

Durations are milliseconds, timestamps UTC as ISO 8601 text, ``success`` is the text
``True`` or ``False``, and ``itemCount`` says how many requests a row stands for, all as
there; so ``sum(itemCount)`` counts requests. A column that is never filled here, such as
``client_City``, is left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from azureml_runner.locks import locked
from twinml.errors import PlatformError

__all__ = ["COLUMNS", "DATABASE", "connect", "existing", "insert_statement"]

DATABASE = "telemetry.db"
VERSION = 1
BUSY_SECONDS = 5.0

_COMMON = (
    "operation_Name",
    "operation_Id",
    "operation_ParentId",
    "customDimensions",
    "customMeasurements",
    "cloud_RoleName",
    "cloud_RoleInstance",
    "sdkVersion",
    "itemCount",
)

# Written columns, in the order of the rows of a batch.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "requests": (
        *("timestamp", "id", "name", "url", "success", "resultCode", "duration"),
        *_COMMON,
    ),
    "dependencies": (
        *("timestamp", "id", "name", "type", "target", "data"),
        *("success", "resultCode", "duration"),
        *_COMMON,
    ),
    "exceptions": (
        *("timestamp", "type", "message", "method", "problemId", "outerType", "innermostType"),
        *("details", "severityLevel", "handledAt"),
        *_COMMON,
    ),
    "traces": ("timestamp", "message", "severityLevel", *_COMMON),
}

_REAL = {"duration"}
_INTEGER = {"itemCount", "severityLevel"}

# Application Insights' words for how long something took.
_BUCKETS = (
    (250, "<250ms"),
    (500, "250ms-500ms"),
    (1_000, "500ms-1sec"),
    (3_000, "1sec-3sec"),
    (7_000, "3sec-7sec"),
    (15_000, "7sec-15sec"),
    (30_000, "15sec-30sec"),
    (60_000, "30sec-1min"),
    (120_000, "1min-2min"),
    (300_000, "2min-5min"),
)
_ITEM_TYPES = {
    "requests": "request",
    "dependencies": "dependency",
    "exceptions": "exception",
    "traces": "trace",
}

_CUSTOM_METRICS = """
CREATE TABLE IF NOT EXISTS customMetrics (
    timestamp TEXT NOT NULL,
    name TEXT NOT NULL,
    customDimensions TEXT NOT NULL,
    cloud_RoleName TEXT NOT NULL,
    cloud_RoleInstance TEXT NOT NULL,
    valueCount INTEGER NOT NULL,
    valueSum REAL NOT NULL,
    valueMin REAL NOT NULL,
    valueMax REAL NOT NULL,
    value REAL GENERATED ALWAYS AS (valueSum) VIRTUAL,
    itemType TEXT GENERATED ALWAYS AS ('customMetric') VIRTUAL,
    PRIMARY KEY (timestamp, name, customDimensions, cloud_RoleInstance)
) WITHOUT ROWID
"""
_COUNTERS = """
CREATE TABLE IF NOT EXISTS counters (
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (name, labels)
) WITHOUT ROWID
"""


def connect(directory: Path) -> sqlite3.Connection:
    """Open the database in ``directory`` to write, making it if it is missing.

    Several processes may hold it open: readers never wait, and writers wait for each other
    up to five seconds. The connection may move between threads, one at a time.

    Raises
    ------
    PlatformError
        A newer version made it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / DATABASE
    # Two processes that make it at once would find each other's tables half made.
    with locked(directory / f".{DATABASE}.lock", timeout=BUSY_SECONDS):
        connection = _open(path, create=True)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                _make(connection)
            elif version > VERSION:
                raise PlatformError(
                    f"{DATABASE} has format {version}, this version writes {VERSION}",
                    hint="Update twinml, or move the file away.",
                )
        except BaseException:
            connection.close()
            raise
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def existing(directory: Path) -> sqlite3.Connection | None:
    """Open the database in ``directory`` to read; ``None`` when nothing was recorded yet."""
    path = directory / DATABASE
    if not path.exists():
        return None
    connection = _open(path, create=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        made = connection.execute("PRAGMA user_version").fetchone()[0] > 0
    except BaseException:
        connection.close()
        raise
    if not made:
        connection.close()
        return None
    return connection


def insert_statement(table: str) -> str:
    """Return the SQL that writes a row of ``table``."""
    columns = COLUMNS[table]
    # Names and placeholders of our own; values never become part of the statement.
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "  # noqa: S608
        f"VALUES ({', '.join('?' * len(columns))})"
    )


def _open(path: Path, *, create: bool) -> sqlite3.Connection:
    mode = "rwc" if create else "rw"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _make(connection: sqlite3.Connection) -> None:
    # Before the first table, or it has no effect: deleted rows give their space back.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Readers and the writer do not wait for each other, and a killed writer leaves the file whole.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for table in COLUMNS:
        connection.execute(_table(table))
    connection.execute(_CUSTOM_METRICS)
    connection.execute(_COUNTERS)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _table(table: str) -> str:
    columns = [f"{name} {_type(name)}" for name in COLUMNS[table]]
    columns.append(f"itemType TEXT GENERATED ALWAYS AS ('{_ITEM_TYPES[table]}') VIRTUAL")
    if "duration" in COLUMNS[table]:
        cases = " ".join(f"WHEN duration < {limit} THEN '{name}'" for limit, name in _BUCKETS)
        columns.append(
            f"performanceBucket TEXT GENERATED ALWAYS AS (CASE {cases} ELSE '>=5min' END) VIRTUAL"
        )
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})"


def _type(column: str) -> str:
    if column in _REAL:
        return "REAL"
    return "INTEGER" if column in _INTEGER else "TEXT"
