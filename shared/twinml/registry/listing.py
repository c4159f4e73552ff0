"""Registered models with the figures of their runs, without loading MLflow where that can be.

MLflow takes seconds to import; the SQLite file that it keeps answers in milliseconds. The file is
only read, and only where its tables are those of the MLflow version that this was written for.
Any other store, another schema, and every doubt goes through MLflow itself.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from twinml.platform import ModelReference, ModelVersion
from twinml.registry.aliases import CHAMPION, missing
from twinml.registry.store import SCHEMA

__all__ = ["CHAMPION", "DIGEST", "Listed", "from_file", "listed", "named"]

# What ``twinml.registry.tracking`` writes; that would load what this avoids.
DIGEST = "twinml.digest"
BUSY_SECONDS = 10.0
T = TypeVar("T")

VERSIONS = """
SELECT name, version, source, run_id FROM model_versions
WHERE workspace = 'default' AND current_stage != 'Deleted_Internal'
ORDER BY name, version DESC"""
ALIASES = "SELECT name, version, alias FROM registered_model_aliases WHERE workspace = 'default'"
DIGESTS = """
SELECT name, version, value FROM model_version_tags WHERE workspace = 'default' AND "key" = ?"""
METRICS = """
SELECT run_uuid, "key", value, is_nan FROM latest_metrics
WHERE run_uuid IN (SELECT run_id FROM model_versions)"""

# The columns that are read, of a store that nothing was written to.
EMPTY = """
CREATE TABLE model_versions (name, version, source, run_id, workspace, current_stage);
CREATE TABLE registered_model_aliases (name, version, alias, workspace);
CREATE TABLE model_version_tags (name, version, key, value, workspace);
CREATE TABLE latest_metrics (run_uuid, key, value, is_nan);
CREATE TABLE runs (run_uuid, name, experiment_id, status, start_time, end_time, artifact_uri,
    lifecycle_stage);
CREATE TABLE experiments (experiment_id, name, workspace);
CREATE TABLE tags (run_uuid, key, value);
CREATE TABLE params (run_uuid, key, value);
"""


@dataclass(frozen=True)
class Listed:
    """A registered version, and what its run logged last, by name."""

    version: ModelVersion
    metrics: Mapping[str, float] = field(default_factory=dict)


def listed(uri: str, name: str | None = None) -> tuple[Listed, ...]:
    """Return the versions of one model, or of all, by name and newest first.

    Parameters
    ----------
    uri
        MLflow's tracking and registry URI.
    """
    found = from_file(uri, _read)
    if found is not None:
        return tuple(one for one in found if name in (None, one.version.name))
    from twinml.registry.tracking import Tracking

    tracking = Tracking(uri)
    return tuple(
        Listed(version, tracking.metrics(version.run_id) if version.run_id else {})
        for version in tracking.versions(name)
    )


def named(uri: str, reference: ModelReference) -> ModelVersion:
    """Return the version that is meant; a bare name means the champion.

    Raises
    ------
    NotFound
        There is no such model, version or alias.
    """
    found = [one.version for one in listed(uri)]
    for version in found:
        if version.name == reference.name and (
            version.version == reference.version
            if reference.version
            else (reference.alias or CHAMPION) in version.aliases
        ):
            return version
    versions: dict[str, list[str]] = {}
    for version in found:
        versions.setdefault(version.name, []).append(version.version)
    raise missing(reference, versions)


def _file(uri: str) -> Path | None:
    """Return the file of an SQLite URI; ``None`` for what only MLflow understands."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or "?" in path or os.environ.get("MLFLOW_ENABLE_WORKSPACES"):
        return None
    return Path(path)


def from_file(uri: str, read: Callable[[sqlite3.Connection], T]) -> T | None:
    """Return what ``read`` makes of MLflow's file, in one transaction; ``None`` in any doubt.

    A file that is not there yet reads as one that nothing was written to.

    Parameters
    ----------
    uri
        MLflow's tracking and registry URI.
    """
    file = _file(uri)
    if file is None:
        return None
    try:
        if not file.exists():
            with closing(sqlite3.connect(":memory:")) as store:
                store.executescript(EMPTY)
                return read(store)
        with closing(
            sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as store:
            # One transaction, so that nothing changes in between.
            store.execute("BEGIN")
            if store.execute("SELECT version_num FROM alembic_version").fetchall() != [(SCHEMA,)]:
                return None
            return read(store)
    except sqlite3.Error:
        return None


def _read(store: sqlite3.Connection) -> list[Listed]:
    """Return all versions."""
    versions = store.execute(VERSIONS).fetchall()
    aliases = defaultdict(list)
    for name, version, alias in store.execute(ALIASES):
        aliases[name, version].append(alias)
    digests = {
        (name, version): digest for name, version, digest in store.execute(DIGESTS, (DIGEST,))
    }
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    for run, key, value, is_nan in store.execute(METRICS):
        metrics[run][key] = math.nan if is_nan else value
    return [
        Listed(
            ModelVersion(
                name=name,
                version=str(version),
                uri=source or "",
                digest=digests.get((name, version)) or "",
                run_id=run,
                aliases=tuple(sorted(aliases[name, version])),
            ),
            metrics.get(run, {}),
        )
        for name, version, source, run in versions
    ]
