"""One SQLite file: a change that ended in its middle is undone, and harms no other."""

from __future__ import annotations

import ctypes
import functools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from azureml_runner.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS parents (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS notes (
    text TEXT, parent TEXT REFERENCES parents (name) DEFERRABLE INITIALLY DEFERRED);
"""


class Killed(BaseException):
    """What nothing catches on its way."""


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "notes.db", SCHEMA)
    yield opened
    opened.close()


def note(database: Database, text: str) -> None:
    database.execute("INSERT INTO notes (text) VALUES (?)", [text])


def on_disk(tmp_path: Path) -> list[str]:
    """Return the notes that another process sees."""
    other = sqlite3.connect(tmp_path / "notes.db")
    try:
        return [text for (text,) in other.execute("SELECT text FROM notes ORDER BY rowid")]
    finally:
        other.close()


def a_commit_that_fails(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        database.execute("INSERT INTO notes VALUES ('orphan', 'nobody')")


def an_error(database: Database) -> None:
    def change() -> None:
        with database.transaction():
            note(database, "undone")
            raise Killed

    with pytest.raises(Killed):
        change()


def an_error_in_the_inner_one(database: Database) -> None:
    def change() -> None:
        with database.transaction():
            note(database, "undone")
            an_error(database)
            raise Killed

    with pytest.raises(Killed):
        change()


def one_that_nobody_ended(database: Database) -> None:
    context = database.transaction()
    context.__enter__()
    note(database, "undone")
    del context


def killed_at(moment: str) -> Callable[[Database], None]:
    """Return what throws ``Killed`` as soon as SQLite is through with a statement."""
    thread, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Killed)
    # No Python in between, where it would be thrown at once.
    strike = functools.partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, thread, error)

    def change(database: Database) -> None:
        traced = database._connection.set_trace_callback
        if moment == "BEGIN":
            traced(strike)
        with database.transaction():
            if moment == "INSERT":
                traced(strike)
            note(database, "committed")
            traced(strike)

    def damage(database: Database) -> None:
        with pytest.raises(Killed):
            change(database)
        database._connection.set_trace_callback(None)

    return damage


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (a_commit_that_fails, []),
        (an_error, []),
        (an_error_in_the_inner_one, []),
        (one_that_nobody_ended, []),
        (killed_at("BEGIN"), []),
        (killed_at("INSERT"), []),
        (killed_at("COMMIT"), ["committed"]),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_comes_after_is_on_disk(tmp_path, database, damage, left, nested):
    damage(database)
    if nested:
        with database.transaction(), database.transaction():
            note(database, "after")
    else:
        note(database, "after")
    assert on_disk(tmp_path) == [*left, "after"]
    thread = threading.Thread(target=note, args=[database, "of another thread"])
    thread.start()
    thread.join(60)
    assert on_disk(tmp_path) == [*left, "after", "of another thread"]
    assert len(database.rows("SELECT * FROM notes")) == len(left) + 2


def test_nothing_is_on_disk_before_the_outermost_ends(tmp_path, database):
    with database.transaction():
        with database.transaction():
            note(database, "one")
        note(database, "two")
        assert on_disk(tmp_path) == []
        assert database.row("SELECT count(*) FROM notes")[0] == 2
    assert on_disk(tmp_path) == ["one", "two"]
