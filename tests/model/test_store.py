"""A store's schema, its lock and its registrations that break off, on real SQLite files."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine

from twinml.cli import main
from twinml.platform import ModelReference
from twinml.registry.aliases import Aliases
from twinml.registry.store import MADE_BY, SCHEMA, alone, artifact_location
from twinml.registry.tracking import Tracking


@pytest.fixture
def file(own_home: Path) -> Path:
    own_home.mkdir()
    return own_home / "mlflow.db"


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as store:
        return str(store.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def make_store(file: Path, wanted: str) -> None:
    """Make a store as the MLflow of that revision made it."""
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(str(engine.url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, wanted)
        connection.exec_driver_sql(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage) "
            "VALUES ('kept', '/x', 'active')"
        )
    engine.dispose()


def older() -> str:
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    return [each.revision for each in scripts.walk_revisions()][5]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_the_schema_that_opens_without_a_second_look_is_that_of_the_installed_mlflow() -> None:
    assert utils._get_latest_schema_revision() == SCHEMA


def test_an_older_schema_is_migrated_after_a_backup_that_is_named(file: Path) -> None:
    made = older()
    make_store(file, made)
    done = run("models")
    assert done.exit_code == 0, done.output
    backup = file.with_name(f"mlflow.db.{made}.backup")
    assert str(backup) in done.stderr
    assert revision(file) == SCHEMA
    assert revision(backup) == made
    with closing(sqlite3.connect(backup)) as store:
        assert store.execute("SELECT name FROM experiments").fetchall() == [("kept",)]
    assert Tracking().client.get_experiment_by_name("kept") is not None
    # Once: what is up to date needs none.
    assert "backup" not in run("models").stderr
    assert list(file.parent.glob("*.backup*")) == [backup]


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = older()
    make_store(file, made)
    # A table that a later migration makes is in its way.
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    later = {each.revision for each in scripts.walk_revisions()}
    assert made in later
    Tracking("sqlite:///" + str(file.with_name("new.db")))
    with (
        closing(sqlite3.connect(file.with_name("new.db"))) as new,
        closing(sqlite3.connect(file)) as store,
    ):
        have = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
        want = {
            name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        table = sorted(want - have)[0]
        store.execute(f'CREATE TABLE "{table}" (mine INTEGER)')
        store.commit()
    before = list(closing_dump(file))
    done = run("models")
    assert done.exit_code == 1
    assert str(file.with_name(f"mlflow.db.{made}.backup")) in done.stderr
    assert list(closing_dump(file)) == before
    # The next try does not write over the first backup.
    run("models")
    assert file.with_name(f"mlflow.db.{made}.backup2").exists()


def closing_dump(file: Path) -> Iterator[str]:
    with closing(sqlite3.connect(file)) as store:
        yield from store.iterdump()


def test_a_newer_schema_is_refused_with_the_versions_to_install(file: Path) -> None:
    Tracking()
    with closing(sqlite3.connect(file)) as store:
        (made_by,) = store.execute(
            "SELECT value FROM experiment_tags WHERE key = ?", (MADE_BY,)
        ).fetchone()
        assert made_by.startswith("mlflow 3.15.0 and twinml ")
        store.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        store.execute(
            "UPDATE experiment_tags SET value = 'mlflow 4.1.0 and twinml 0.9' WHERE key = ?",
            (MADE_BY,),
        )
        store.commit()
    before = file.read_bytes()
    done = run("models")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "mlflow 4.1.0 and twinml 0.9" in line
    assert "foreseen" not in line
    assert file.read_bytes() == before
    with closing(sqlite3.connect(file)) as store:
        store.execute("DROP TABLE experiment_tags")
    assert "Install a newer twinml" in run("models").stderr


@pytest.mark.parametrize("damage", ["no database", "cut off", "written over"])
def test_a_damaged_store_is_named_at_once(file: Path, damage: str) -> None:
    Tracking()
    whole = file.read_bytes()
    file.write_bytes(
        {
            "no database": b"hello " * 2000,
            "cut off": whole[: len(whole) // 3],
            "written over": whole[:1024] + b"\xff" * (len(whole) - 1024),
        }[damage]
    )
    done = run("models")
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()[-1:]
    assert "damaged" in line
    assert str(file.parent) in line
    assert "foreseen" not in line


def test_a_locked_store_says_that_another_process_holds_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tracking()
    for name in ("listing", "store"):
        monkeypatch.setattr(f"twinml.registry.{name}.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = run("models")
    assert done.exit_code == 1
    assert "another process holds a database of" in done.stderr
    assert "foreseen" not in done.stderr


def test_only_one_is_alone(file: Path) -> None:
    uri, order = f"sqlite:///{file}", []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with alone(uri):
            inside.set()
            leave.wait(60)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(60)
    threading.Timer(0.3, leave.set).start()
    with alone(uri):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def a_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


class Ended(BaseException):
    """The process ends."""


@pytest.mark.parametrize("beats", [True, False])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_registration_that_breaks_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beats: bool, writes: int
) -> None:
    """Whatever was written before the process ended, the next registration ends alike."""
    tracking = Tracking()
    runs = []
    for number in range(2):
        run_id = tracking.upload(
            "m",
            a_model(tmp_path / "model"),
            digest=str(number) * 64,
            tags={"twinml.judged": "same"},
            metrics={"test_roc_auc": 0.8 if number == 0 else (0.9 if beats else 0.7)},
        )
        runs.append(run_id)
    tracking.register("m", run_id=runs[0], digest="0" * 64, metric="roc_auc")
    give, left = Aliases.give, [writes]

    def breaking(self: Aliases, version: Any, title: str) -> None:
        if left[0] == 0:
            raise Ended
        left[0] -= 1
        give(self, version, title)

    def register() -> Any:
        return tracking.register("m", run_id=runs[1], digest="1" * 64, metric="roc_auc")

    with monkeypatch.context() as patched:
        patched.setattr(Aliases, "give", breaking)
        try:
            register()
        except Ended:
            pass
        else:
            assert writes == (2 if beats else 1) or writes > 1
    # Nobody is without a champion in between.
    assert tracking.resolve(ModelReference("m")).version in ("1", "2")
    done = register()
    assert done.version == "2"
    assert done.aliases == (("champion",) if beats else ("challenger",))
    other = tracking.resolve(ModelReference("m", "1"))
    assert other.aliases == (("challenger",) if beats else ("champion",))
    assert len(tracking.versions("m")) == 2
    assert register() == done


def test_an_error_of_the_registry_is_no_missing_model(file: Path, tmp_path: Path) -> None:
    """What the registry cannot answer is not told as: there is no such model."""
    tracking = Tracking()
    run_id = tracking.upload("bank", a_model(tmp_path / "model"), digest="0" * 64)
    tracking.register("bank", run_id=run_id, digest="0" * 64)
    with closing(sqlite3.connect(file)) as store:
        store.execute("DROP TABLE registered_model_aliases")
    done = run("deploy", "--model", "bank")
    assert done.exit_code == 1
    assert "no registered model" not in done.stderr
    assert "registered_model_aliases" in done.stderr


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (None, "file:///state/mlartifacts/bank"),
        ("/shared/files", "file:///shared/files/bank"),
        ("s3://bucket/runs/", "s3://bucket/runs/bank"),
    ],
)
def test_files_of_a_new_experiment_go_to_the_root_that_is_named(
    root: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINML_HOME", "/state")
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", root or "")
    for uri in ("sqlite:////state/mlflow.db", "postgresql+psycopg2://db/runs"):
        assert artifact_location(uri, "bank") == expected
    assert artifact_location("http://localhost:5000", "bank") is None
    assert artifact_location("azureml://x", "bank") is None


def told(file: Path) -> dict[str, Any]:
    """Return a store's tables as SQL, and the experiments in it without their times."""
    with closing(sqlite3.connect(file)) as store:
        made = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        rows = "SELECT experiment_id, name, artifact_location, lifecycle_stage FROM experiments"
        # MLflow writes the constraints of a table in any order.
        tables = {name: sorted(sql.split("\n\t")) for name, sql in store.execute(made)}
        return {"tables": tables, "rows": store.execute(rows).fetchall()}


def test_a_new_store_is_what_mlflow_makes_whether_the_cache_can_be_written_or_not(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [tmp_path / name for name in ("first.db", "copied.db")]
    barred = tmp_path / "barred"
    barred.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(barred))
    Tracking(f"sqlite:///{file}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for other in others:
        Tracking(f"sqlite:///{other}")
    [empty] = (tmp_path / "cache" / "twinml").glob("*.sqlite")
    assert told(empty)["rows"] == []
    assert told(empty)["tables"] == told(file)["tables"]
    assert [told(other) for other in others] == [told(file)] * 2
    assert {revision(each) for each in (file, *others)} == {SCHEMA}
    assert sorted(each.name for each in tmp_path.glob("*.db*")) == sorted(
        name for each in others for name in (each.name, f"{each.name}.lock")
    )


def test_a_cache_that_is_damaged_is_made_anew_or_left_alone(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Tracking(f"sqlite:///{file}")
    [empty] = (tmp_path / "twinml").glob("*.sqlite")
    for number, content in enumerate((b"", b"no database at all" * 99)):
        empty.write_bytes(content)
        other = tmp_path / f"{number}.db"
        Tracking(f"sqlite:///{other}")
        assert told(other) == told(file)
