"""The database behind MLflow's client: alone while it is opened, and of this MLflow's schema.

A store in SQLite belongs to one user of one machine: an older schema is migrated, after a backup.
One on a database server may be used by others, whose MLflow a migration would lock out: there its
owner decides. A newer schema is refused everywhere; the store says which versions made it.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from twinml import settings
from twinml.errors import PlatformError, UsageError
from twinml.registry._pages import EXPERIMENT_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Connection, Engine

__all__ = ["SCHEMA", "alone", "artifact_location", "file_of", "open_client", "prepare_experiment"]

SCHEMA = "6f8d9c3b2a1e"  # of MLflow 3.15's tables, as Alembic counts
LOCK_SECONDS = 120
BUSY_SECONDS = 20
# Any number that no other program on the server takes.
SERVER_LOCK = 7_812_450_311
# A tag of the experiment that every store has, "mlflow 3.15.0 and twinml 0.1.0".
DEFAULT_EXPERIMENT = "0"
MADE_BY = "twinml.made_by"
SQLITE = "sqlite:///"


def file_of(uri: str) -> Path | None:
    """Return the file of a store in SQLite; ``None`` for any other store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def on_server(uri: str) -> bool:
    """Tell whether a store is on PostgreSQL, reached without an MLflow server in between."""
    return uri.startswith("postgresql")


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Hold a lock among all who use a store: a file beside SQLite's, PostgreSQL's own.

    Other stores have a server of their own that sees to it.
    """
    file = file_of(uri)
    if file is not None:
        # Only its owner's, where it is made now: beside it are models and rows.
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(
            sqlite3.connect(f"{file}.lock", timeout=LOCK_SECONDS, isolation_level=None)
        ) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield
    elif on_server(uri):
        with _engine(uri) as engine, engine.connect() as connection:
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({SERVER_LOCK})")
            # Closing the connection frees it, however this ends.
            yield
    else:
        yield


def open_client(uri: str) -> MlflowClient:
    """Return MLflow's client of a store, whose tables are made or migrated where need be.

    The caller is ``alone``: two processes that make or migrate tables at once would leave a store
    broken for good.

    Raises
    ------
    PlatformError
        The store's schema is newer than this MLflow's, or older on a server.
    """
    from mlflow import MlflowClient

    file = file_of(uri)
    kept = file is not None or on_server(uri)
    found = _revision(uri) if kept else SCHEMA
    if found not in (None, SCHEMA):
        _bring_up_to_date(uri, found)
    if found is None and file is not None:
        _begin(file)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    if kept:
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        if found != _revision(uri):
            _sign(client)
    return client


def artifact_location(uri: str, experiment: str) -> str | None:
    """Return where a new experiment keeps its files; ``None`` leaves it to the tracking server.

    That is ``MLFLOW_DEFAULT_ARTIFACT_ROOT``, a folder or an address, else a folder beside SQLite's
    file, or in the state folder of the machine that makes the experiment.
    """
    file = file_of(uri)
    if file is None and not on_server(uri):
        return None
    root = settings.artifact_root() or str(
        (settings.home() if file is None else file.parent) / "mlartifacts"
    )
    if "://" in root:
        return f"{root.rstrip('/')}/{quote(experiment)}"
    return (Path(root).expanduser().resolve() / experiment).as_uri()


def prepare_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Make sure that runs of an experiment can be logged from here; return its id.

    Raises
    ------
    PlatformError
        It keeps its files in a folder that this machine does not have.
    UsageError
        The experiment is deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_location(uri, name)
        folder = _folder(location)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            return str(
                client.create_experiment(
                    name, artifact_location=location, tags=dict(EXPERIMENT_TAGS)
                )
            )
        except MlflowException:
            # Another process may have made it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UsageError(
            f"experiment {name!r} is deleted",
            hint="Restore it in MLflow, or choose another --name.",
        )
    folder = None if file_of(uri) is not None else _folder(found.artifact_location)
    if folder is not None and not folder.is_dir():
        raise PlatformError(
            f"experiment {name!r} keeps its files in {folder}, which is not on this machine",
            hint="Mount that folder here, or choose another --name. New experiments can share "
            "one place: MLFLOW_DEFAULT_ARTIFACT_ROOT.",
        )
    return str(found.experiment_id)


def _folder(location: str | None) -> Path | None:
    """Return the folder of a location on this machine; ``None`` for an address elsewhere."""
    parts = urlsplit(location or "")
    if location is None or parts.scheme not in ("", "file"):
        return None
    return Path(url2pathname(parts.path))


@contextmanager
def _engine(uri: str) -> Iterator[Engine]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(uri, poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()


def _revision(uri: str) -> str | None:
    """Return the revision of a store's schema; ``None`` if it has no tables yet."""
    file = file_of(uri)
    if file is not None:
        if not file.exists() or not file.stat().st_size:
            return None
        # MLflow would try a file that is damaged or locked ten times, for a minute and a half.
        with closing(
            sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=BUSY_SECONDS)
        ) as store:
            tables = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            if store.execute(tables).fetchone() is None:
                return None
            rows = store.execute("SELECT version_num FROM alembic_version").fetchall()
            return str(rows[0][0]) if rows else None
    from sqlalchemy import inspect

    with _engine(uri) as engine, engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return None if found is None else str(found)


def _begin(file: Path) -> None:
    """Begin a store as a copy of one without rows: MLflow takes seconds to make its tables.

    Where the user's cache cannot be written, MLflow makes them in the store itself.
    """
    import mlflow
    from mlflow.store.db import utils

    empty = settings.cache() / f"mlflow-{mlflow.__version__}-tables.sqlite"
    half, copy = empty.with_suffix(".half"), file.with_name(f".{file.name}.copy")
    with suppress(OSError, sqlite3.Error):
        with alone(f"{SQLITE}{empty}"):
            if _revision(f"{SQLITE}{empty}") is None:
                half.unlink(missing_ok=True)
                with _engine(f"{SQLITE}{half}") as engine:
                    utils._initialize_tables(engine)  # type: ignore[no-untyped-call]
                half.replace(empty)
        shutil.copyfile(empty, copy)
        copy.replace(file)


def _bring_up_to_date(uri: str, found: str) -> None:
    """Migrate a store whose schema is another one than this MLflow's, or say why not."""
    import mlflow
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    with _engine(uri) as engine:
        scripts = ScriptDirectory.from_config(
            utils._get_alembic_config("")  # type: ignore[no-untyped-call]
        )
        if found not in {each.revision for each in scripts.walk_revisions()}:
            with engine.connect() as connection:
                maker = _maker(connection)
            raise PlatformError(
                f"a newer MLflow than {mlflow.__version__} made the tables of {_shown(uri)} "
                f"(revision {found})",
                hint=f"Install the versions that made it: {maker}."
                if maker
                else f"Install a newer twinml, whose MLflow is newer than {mlflow.__version__}.",
            )
        if found == scripts.get_current_head():
            return
        file = file_of(uri)
        if file is None:
            raise PlatformError(
                f"the tables of {_shown(uri)} are of an MLflow older than {mlflow.__version__} "
                f"(revision {found})",
                hint="Make a backup, let everybody who uses it change to this version, then: "
                "mlflow db upgrade ADDRESS.",
            )
        backup = _back_up(file, found)
        sys.stderr.write(
            f"migrating {file} to the schema of MLflow {mlflow.__version__}; as it was: {backup}\n"
        )
        try:
            utils._upgrade_db(engine)  # type: ignore[no-untyped-call]
        except BaseException:
            engine.dispose()
            _copy(backup, file)
            raise


def _maker(connection: Connection) -> str | None:
    """Return which versions made a store, where it says so."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    with suppress(SQLAlchemyError):  # A newer schema may keep tags elsewhere.
        found = connection.execute(
            text("SELECT value FROM experiment_tags WHERE key = :key"), {"key": MADE_BY}
        ).scalar()
        return None if found is None else str(found)
    return None


def _sign(client: MlflowClient) -> None:
    """Note which versions made or migrated the tables, for older ones that come upon them."""
    import mlflow
    from mlflow.exceptions import MlflowException

    made_by = f"mlflow {mlflow.__version__} and twinml {settings.__version__}"
    with suppress(MlflowException):  # Somebody has deleted that experiment.
        client.set_experiment_tag(DEFAULT_EXPERIMENT, MADE_BY, made_by)


def _back_up(file: Path, revision: str) -> Path:
    """Copy a store beside it, under a name that is free; nothing is left of a copy that fails."""
    backup, number = file.with_name(f"{file.name}.{revision}.backup"), 1
    while backup.exists():
        number += 1
        backup = file.with_name(f"{file.name}.{revision}.backup{number}")
    try:
        backup.touch(mode=file.stat().st_mode & 0o777)
        _copy(file, backup)
    except BaseException:
        backup.unlink(missing_ok=True)
        raise
    return backup


def _copy(source: Path, destination: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(destination)) as other:
        one.backup(other)


def _shown(uri: str) -> str:
    """Return a store's address without a password."""
    from sqlalchemy import make_url

    file = file_of(uri)
    return str(file) if file is not None else make_url(uri).render_as_string(hide_password=True)
