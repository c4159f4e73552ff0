"""Runs as pages list them: newest first, with figures and tags, without loading MLflow.

As in ``twinml.registry.listing`` the SQLite file of this MLflow's schema is read directly, in one
transaction; any other store, and every doubt, goes through MLflow's client.
"""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from twinml.errors import NotFound
from twinml.registry.listing import from_file

__all__ = ["MODEL_KIND", "Run", "children", "latest", "run"]

PARENT = "mlflow.parentRunId"
MODEL_KIND = "twinml.fingerprint"  # a tag that runs of a search have, and no others
COLUMNS = (
    "r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.artifact_uri "
    "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id"
)
TOP_LEVEL = f"""
SELECT {COLUMNS}
WHERE r.lifecycle_stage = 'active' AND e.workspace = 'default'
AND (:experiment IS NULL OR e.name = :experiment)
AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = '{PARENT}')
ORDER BY r.start_time DESC, r.run_uuid LIMIT :limit OFFSET :offset"""  # noqa: S608 - words of our own
ONE = f"SELECT {COLUMNS} WHERE r.run_uuid = :run AND r.lifecycle_stage = 'active'"
NESTED = f"""
SELECT {COLUMNS} JOIN tags t ON t.run_uuid = r.run_uuid
WHERE t.key = '{PARENT}' AND t.value = :run AND r.lifecycle_stage = 'active'
ORDER BY r.start_time, r.run_uuid"""
MOST_NESTED = 1000


@dataclass(frozen=True)
class Run:
    """A run of MLflow.

    Attributes
    ----------
    status
        ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED`` or ``SCHEDULED``.
    started, ended
        Seconds since 1970; ``None`` where it has not ended.
    artifacts
        The URI of its files.
    metrics, params, tags
        By name, metrics as logged last.
    """

    id: str
    name: str
    experiment: str
    status: str
    started: float
    ended: float | None
    artifacts: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def is_search(self) -> bool:
        """Whether it is a search for a model."""
        return MODEL_KIND in self.tags

    @property
    def folder(self) -> Path | None:
        """The folder of its files on this machine; ``None`` where they are elsewhere."""
        parts = urlsplit(self.artifacts)
        return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def latest(
    uri: str, *, limit: int = 50, offset: int = 0, experiment: str | None = None
) -> tuple[Run, ...]:
    """Return runs that are not part of another one, newest first.

    Parameters
    ----------
    uri
        MLflow's tracking URI.
    limit, offset
        How many, after how many newer ones.
    experiment
        Only those of this one.
    """
    asked = {"limit": limit, "offset": offset, "experiment": experiment}
    read = from_file(uri, lambda store: _read(store, TOP_LEVEL, asked))
    if read is not None:
        return read
    client = _client(uri)
    experiments = [
        one.experiment_id for one in client.search_experiments() if experiment in (None, one.name)
    ]
    if not experiments:
        return ()
    found = client.search_runs(experiments, max_results=5000, order_by=["start_time DESC"])
    own = [one for one in found if PARENT not in one.data.tags]
    names = {one.experiment_id: one.name for one in client.search_experiments()}
    return tuple(_of(one, names) for one in own[offset : offset + limit])


def run(uri: str, run_id: str) -> Run:
    """Return a run; ``NotFound`` if there is none of that id."""
    read = from_file(uri, lambda store: _read(store, ONE, {"run": run_id}))
    if read is not None:
        if not read:
            raise _absent(run_id)
        return read[0]
    from mlflow.exceptions import MlflowException

    client = _client(uri)
    try:
        found_run = client.get_run(run_id)
    except MlflowException as error:
        raise _absent(run_id) from error
    experiment = client.get_experiment(found_run.info.experiment_id)
    return _of(found_run, {experiment.experiment_id: experiment.name})


def children(uri: str, parent: Run) -> tuple[Run, ...]:
    """Return the runs that are part of ``parent``, oldest first."""
    read = from_file(uri, lambda store: _read(store, NESTED, {"run": parent.id}))
    if read is not None:
        return read
    client = _client(uri)
    experiment = client.get_experiment_by_name(parent.experiment)
    found = client.search_runs(
        [experiment.experiment_id],
        filter_string=f"tags.`{PARENT}` = '{parent.id}'",
        max_results=MOST_NESTED,
        order_by=["start_time ASC"],
    )
    return tuple(_of(one, {experiment.experiment_id: experiment.name}) for one in found)


def _read(
    store: sqlite3.Connection, statement: str, values: Mapping[str, str | int | None]
) -> tuple[Run, ...]:
    rows = store.execute(statement, values).fetchall()
    ids = [row[0] for row in rows]
    marks = ", ".join("?" * len(ids))
    told: dict[str, dict[str, dict[str, str]]] = {
        table: defaultdict(dict) for table in ("tags", "params")
    }
    for table, held in told.items():
        asked = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({marks})"  # noqa: S608
        for run_id, key, value in store.execute(asked, ids):
            held[run_id][key] = value
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    asked = f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN ({marks})"  # noqa: S608
    for run_id, key, number, is_nan in store.execute(asked, ids):
        metrics[run_id][key] = math.nan if is_nan else number
    return tuple(
        Run(
            id=run_id,
            name=name or run_id,
            experiment=experiment,
            status=status,
            started=_seconds(started) or 0.0,
            ended=_seconds(ended),
            artifacts=artifacts,
            metrics=metrics.get(run_id, {}),
            params=told["params"].get(run_id, {}),
            tags=told["tags"].get(run_id, {}),
        )
        for run_id, name, experiment, status, started, ended, artifacts in rows
    )


def _seconds(milliseconds: object) -> float | None:
    return None if milliseconds is None else int(str(milliseconds)) / 1000


def _client(uri: str):  # type: ignore[no-untyped-def]
    from twinml.registry.tracking import Tracking

    return Tracking(uri).client


def _of(found, names: Mapping[str, str]) -> Run:  # type: ignore[no-untyped-def]
    return Run(
        id=found.info.run_id,
        name=found.info.run_name or found.info.run_id,
        experiment=names.get(found.info.experiment_id, ""),
        status=found.info.status,
        started=_seconds(found.info.start_time) or 0.0,
        ended=_seconds(found.info.end_time),
        artifacts=found.info.artifact_uri,
        metrics=dict(found.data.metrics),
        params=dict(found.data.params),
        tags=dict(found.data.tags),
    )


def _absent(run_id: str) -> NotFound:
    return NotFound(f"there is no run '{run_id[:64]}'", hint="See the list of jobs.")
