"""What disks and databases refuse, in words; which driver an address of PostgreSQL gets."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from twinml import settings
from twinml.errors import NotFound, PlatformError, PlatformUnavailable, UsageError
from twinml.platform import ModelReference
from twinml.registry.aliases import missing
from twinml.registry.store_errors import explained

HOME = Path("/data/.twinml")


def test_errors_of_anything_else_are_left_alone() -> None:
    for error in (ValueError("locked"), OSError(errno.EACCES, "no"), sqlite3.Error("no table x")):
        assert explained(error, HOME) is None


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EFBIG, "ulimit -f")],
)
def test_a_full_disk_is_named_with_the_file(number: int, words: str) -> None:
    found = explained(OSError(number, os.strerror(number), "/data/model.pkl"), HOME)
    assert isinstance(found, PlatformError)
    assert words in found.message
    assert "/data/model.pkl" in found.message
    assert "TWINML_HOME" in str(found.hint)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("database or disk is full", "the disk is full"),
        ("disk I/O error", "cannot be read or written"),
        ("database is locked", "another process holds a database of /data/.twinml"),
        ("database table is locked: runs", "another process holds"),
        ("attempt to write a readonly database", "may not be written"),
        ("unable to open database file", "cannot be opened"),
        ("database disk image is malformed", "a database of /data/.twinml is damaged"),
        ("file is not a database", "it is no SQLite file"),
    ],
)
def test_what_sqlite_says_is_found_inside_what_wraps_it(said: str, words: str) -> None:
    """As MLflow raises it: around SQLAlchemy's error, which holds the driver's."""
    driver = sqlite3.OperationalError(said)
    try:
        try:
            raise OperationalError("SELECT 1", {}, driver)
        except OperationalError as error:
            raise MlflowException("wrapped") from error
    except MlflowException as error:
        found = explained(error, HOME)
    assert found is not None
    assert words in found.message
    assert said in found.message
    assert found.hint


def test_a_server_that_cannot_be_reached_or_refuses_is_told_in_one_line() -> None:
    away = explained(psycopg2.OperationalError("connection refused\nIs it running?"), HOME)
    assert isinstance(away, PlatformUnavailable)
    assert away.message == "PostgreSQL cannot be reached: connection refused"
    refused = explained(psycopg2.ProgrammingError("permission denied for table runs"), HOME)
    assert isinstance(refused, PlatformError)
    assert not isinstance(refused, PlatformUnavailable)
    assert "permission denied for table runs" in refused.message
    empty = explained(psycopg2.OperationalError(), HOME)
    assert empty is not None
    assert "OperationalError" in empty.message


def test_an_error_of_ours_inside_is_shown_as_it_is() -> None:
    ours = UsageError("no")
    outside = RuntimeError("outside")
    outside.__cause__ = ours
    assert explained(outside, HOME) is ours


@pytest.mark.parametrize("command", [["models"], ["data", "--register"]])
def test_a_disk_without_room_ends_a_command_in_one_line(
    command: list[str], tmp_path: Path, table_csv: Path
) -> None:
    """Files of this process may not grow beyond 4 kB, as little as an empty database has."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    sqlite3.connect(tmp_path / "mlflow.db").close()
    if command[0] == "data":
        command = [*command, "--data", str(table_csv), "--target", "y"]
    else:
        # A file that has no tables yet: MLflow makes them.
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
            store.execute("CREATE TABLE other (one)")
    done = subprocess.run(
        [sys.executable, "-m", "twinml", *command],
        env={**os.environ, "TWINML_HOME": str(tmp_path)},
        preexec_fn=limited,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error"))
    assert "foreseen" not in line
    assert any(word in line for word in ("ulimit -f", "disk", "Check the space"))


def test_postgresql_gets_the_driver_that_mlflow_can_use() -> None:
    rest = "ann:geheim@db:5432/runs?sslmode=require"
    for scheme in ("postgresql", "postgres", "postgresql+psycopg2"):
        assert (
            settings.with_driver(f"{scheme}://{rest}", installed=True)
            == f"postgresql+psycopg2://{rest}"
        )
    for other in ("sqlite:///a.db", "http://localhost:5000", "postgresql+pg8000://db/runs"):
        assert settings.with_driver(other, installed=False) == other


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_without_a_driver_the_extra_is_named_and_no_password(scheme: str) -> None:
    with pytest.raises(UsageError, match=r"twinml\[postgres\]") as error:
        settings.with_driver(f"{scheme}://ann:geheim@db/runs", installed=False)
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+psycopg_async"])
def test_a_driver_on_which_mlflow_fails_is_refused(scheme: str) -> None:
    with pytest.raises(UsageError, match="cannot use the driver") as error:
        settings.with_driver(f"{scheme}://ann:geheim@db/runs", installed=True)
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    ("reference", "versions", "message", "hint"),
    [
        ("bank", {}, "there is no registered model 'bank'", "Registered: none."),
        ("bank/1", {"b": ["1"], "a": []}, "there is no registered model 'bank/1'", "a, b."),
        ("bank", {"bank": []}, "the registered model 'bank' has no version", "register"),
        ("bank", {"bank": ["1"]}, "no version of model 'bank' has the alias 'champion'", "bank/1"),
        ("bank@x", {"bank": ["2", "10"]}, "model 'bank' has the alias 'x'", "bank/2, bank/10."),
        ("bank/3", {"bank": ["2"]}, "model 'bank' has no version 3", "It has: bank/2."),
    ],
)
def test_what_is_missing_is_told_by_what_there_is(
    reference: str, versions: dict[str, list[str]], message: str, hint: str
) -> None:
    found = missing(ModelReference.parse(reference), versions)
    assert isinstance(found, NotFound)
    assert found.message.endswith(message)
    assert hint in str(found.hint)
    many = missing(ModelReference("m", "99"), {"m": [str(number) for number in range(1, 13)]})
    assert many.hint == f"It has: {', '.join(f'm/{number}' for number in range(3, 13))}."
