"""Two machines' state folders on one tracking store in a real PostgreSQL.

The server is Debian's, started here as a user who is not root, with a cluster in a temporary
folder, on a port of loopback.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner

from azureml_runner.processes import free_port
from tests.conftest import make_table
from twinml.cli import main

pytestmark = pytest.mark.e2e

USER = "twinml"
PASSWORD = "only-for-this-test"


def program(name: str) -> str | None:
    """Return the path of a program of PostgreSQL; Debian keeps the server's out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def demoted() -> dict[str, Any]:
    """Return how to start a process as somebody else than root, whom PostgreSQL refuses."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the address of a server, without a database; it ends with the tests."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("there is no PostgreSQL here: apt-get install postgresql")
    who, port = demoted(), free_port()
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        (folder / "password").write_text(PASSWORD)
        if who:
            for path in (folder, folder / "password"):
                os.chown(path, who["user"], who["group"])
        data, log = str(folder / "data"), str(folder / "log")
        same: Any = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL, **who}
        secret = f"--pwfile={folder / 'password'}"
        subprocess.run([initdb, "-D", data, "-U", USER, "-A", "scram-sha-256", secret], **same)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        subprocess.run([pg_ctl, "-D", data, "-l", log, "-w", "-o", options, "start"], **same)
        try:
            yield f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}"
        finally:
            subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "stop"], **same)


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database."""
    name = f"runs_{abs(hash(request.node.name))}"
    with closing(psycopg2.connect(f"{server}/postgres")) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def start(home: Path, uri: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TWINML_HOME": str(home), "MLFLOW_TRACKING_URI": uri}
    return subprocess.Popen(
        [sys.executable, "-m", "twinml", *arguments],
        env=environment,
        cwd=home,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def twinml(home: Path, uri: str, *arguments: str, **more: str) -> tuple[int, str, str]:
    environment = {"TWINML_HOME": str(home), "MLFLOW_TRACKING_URI": uri, **more}
    done = CliRunner().invoke(main, arguments, env=environment)
    assert PASSWORD not in done.stdout + done.stderr
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.timeout(1800)
def test_two_homes_on_one_server(database: str, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    data = tmp_path / "customers.csv"
    make_table(200).to_csv(data, index=False)
    train = ("train", "--data", str(data), "--target", "y", "--trials", "1", "--json")
    # Both make the tables of the empty database, at once.
    listing = [start(home, database, "models", "--json") for home in homes]
    for process in listing:
        out, err = process.communicate()
        assert (process.returncode, json.loads(out)) == (0, []), err

    one, two = homes
    code, out, err = twinml(one, database, *train, "--learners", "LightGBM")
    assert code == 0, err
    # What the other machine registered is deployed here: its files are fetched.
    try:
        code, out, err = twinml(two, database, "deploy", "--model", "customers", "--json")
        assert code == 0, err
    finally:
        twinml(two, database, "stop")
    assert list((two / "models").iterdir())
    code, out, err = twinml(two, database, *train, "--learners", "LogisticRegression")
    assert code == 0, err
    code, out, err = twinml(one, database, "models", "--json")
    assert [model["version"] for model in json.loads(out)] == ["2", "1"]

    # A machine without the folder says so, before it searches, and when it fetches.
    (one / "mlartifacts").rename(tmp_path / "elsewhere")
    code, out, err = twinml(two, database, *train, "--learners", "LightGBM", "--seed", "5")
    assert code == 1
    # With --json an error is JSON on stdout.
    assert f"keeps its files in {one}/mlartifacts/customers" in out + err
    assert "MLFLOW_DEFAULT_ARTIFACT_ROOT" in out + err
    shutil.rmtree(two / "models")
    code, _, err = twinml(two, database, "deploy", "--model", "customers")
    assert code == 1
    assert f"the files of the model are not in file://{one}" in err

    # One place for all of them.
    shared = tmp_path / "shared"
    root = {"MLFLOW_DEFAULT_ARTIFACT_ROOT": str(shared)}
    code, out, err = twinml(
        two, database, *train, "--learners", "LogisticRegression", "--name", "joint", **root
    )
    assert code == 0, err
    assert list(shared.glob("joint/*/artifacts/model/MLmodel"))


def test_what_is_wrong_with_a_server_is_told_in_one_line(database: str, tmp_path: Path) -> None:
    def error(uri: str) -> str:
        code, _, err = twinml(tmp_path, uri, "models")
        assert code == 1
        (line,) = (line for line in err.splitlines() if line.startswith("error"))
        assert "foreseen" not in line
        return line

    assert "PostgreSQL cannot be reached" in error(database + "x")
    assert "does not exist" in error(database + "x")
    assert "authentication failed" in error(database.replace(PASSWORD, "wrong"))
    assert "cannot use the driver" in error(database.replace("postgresql:", "postgresql+psycopg:"))
    assert twinml(tmp_path, database, "models", "--json")[:2] == (0, "[]\n")

    def set_revision(revision: str) -> None:
        with closing(psycopg2.connect(database)) as connection, connection:
            connection.cursor().execute("UPDATE alembic_version SET version_num = %s", [revision])

    set_revision("ffffffffffff")
    assert "Install the versions that made it: mlflow 3.15.0 and twinml" in error(database)
    # Others use the server too: nothing is migrated behind their backs.
    set_revision("451aebb31d03")
    assert "mlflow db upgrade" in error(database)
