"""Units for systemd, and everything back with one ``twinml start``."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from azureml_runner.processes import running
from twinml import model
from twinml.cli import main
from twinml_local import endpoints
from twinml_local.jobs import lifecycle as jobs
from twinml_local.service_units import command_line, passed, unit_text

pytestmark = pytest.mark.e2e

NAME = "bank-test"
OLD = {"age": 70, "balance": 1.5, "job": "admin.", "owner": True}
PIPELINE = """
type: pipeline
display_name: echo
jobs:
  say:
    type: command
    command: echo hello
"""


@pytest.fixture(scope="module")
def place(
    model_directory: Path, compiled_forms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Return a home with a blank in its path, two endpoints and a published pipeline."""
    folder = tmp_path_factory.mktemp("services")
    place = folder / "a home of 100%"
    place.mkdir()
    (place / "compiled").symlink_to(compiled_forms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWINML_HOME", str(place))
        for name in (NAME, "other"):
            endpoints.deploy(
                name,
                "blue",
                directory=model_directory,
                model="m",
                version="1",
                digest=model.digest(model_directory),
            )
        (folder / "pipeline.yml").write_text(PIPELINE)
        jobs.publish("echo", folder / "pipeline.yml")
        yield place
        endpoints.stop()
        jobs.stop()


@pytest.fixture
def home(own_home: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return that home as this test's; whatever runs is left running."""
    monkeypatch.setenv("TWINML_HOME", str(place))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return place


def twinml(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_start_brings_everything_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twinml("stop")
    assert {info.state for info in endpoints.list_endpoints()} == {"stopped"}
    text = twinml("start")
    assert [line.split()[0] for line in text.splitlines()] == [NAME, "other", "the"]
    assert {info.state for info in endpoints.list_endpoints()} == {"running"}
    assert jobs.service_pid() is not None
    pids = [running(home / "endpoints" / name / "server.pid") for name in (NAME, "other")]
    # One that runs is left alone, but for the number of workers.
    monkeypatch.setenv("WORKER_COUNT", "2")
    twinml("start", "--endpoint", "other")
    assert len(list((home / "endpoints" / "other" / "workers").glob("*.json"))) == 2
    monkeypatch.delenv("WORKER_COUNT")
    twinml("start")
    assert pids == [running(home / "endpoints" / name / "server.pid") for name in (NAME, "other")]


@pytest.mark.parametrize("damage", ["", '{"format_version": 1}', "digest"])
def test_one_that_does_not_start_keeps_no_other_from_it(home: Path, damage: str) -> None:
    path = home / "endpoints" / NAME / "endpoint.json"
    whole = path.read_text()
    endpoints.stop(NAME)
    try:
        path.write_text(
            whole.replace(json.loads(whole)["deployments"]["blue"]["digest"], "0" * 64)
            if damage == "digest"
            else damage
        )
        done = CliRunner().invoke(main, ["start"])
    finally:
        path.write_text(whole)
    assert done.exit_code == 1
    assert "other answers at" in done.stdout
    assert "the pipeline service answers" in done.stdout
    assert f"did not start: {NAME}: " in done.output
    assert ("expected 000000000000" in done.output) == (damage == "digest")
    assert ("endpoint.json" in done.output) == (damage != "digest")


def units(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(twinml("service", "install", "--print", "--json"))["units"]
    return found


def test_units_hold_no_secret_and_systemd_reads_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:hidden@db/x")
    found = units(home)
    assert sorted(name.split("-", 2)[2] for name in found) == [
        f"endpoint-{NAME}.service",
        "endpoint-other.service",
        "pipelines.service",
    ]
    keys = endpoints.keys(NAME)
    for name, text in found.items():
        assert "Restart=on-failure" in text
        for secret in (keys.primary, keys.secondary, jobs.keys().primary, "hidden"):
            assert secret not in text
        (tmp_path / name).write_text(text)
    assert not (tmp_path / "config").exists()  # printed is not written
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *(str(tmp_path / name) for name in found)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_a_unit_starts_is_the_endpoint(home: Path) -> None:
    text = next(text for name, text in units(home).items() if NAME in name)
    endpoints.stop(NAME)
    words, environment = [], dict(os.environ)
    for line in text.splitlines():
        key, _, value = line.partition("=")
        plain = value.replace("%%", "%").replace("$$", "$")
        if key == "ExecStart":
            words = shlex.split(plain)
        elif key == "Environment":
            variable, _, content = shlex.split(plain)[0].partition("=")
            environment[variable] = content
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as server:
        deadline = time.monotonic() + 120
        while endpoints.info(NAME).state != "running":
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert running(home / "endpoints" / NAME / "server.pid") == server.pid
        with endpoints.client(NAME) as client:
            assert client.score([OLD]) == ["yes"]
        # A second one leaves it alone, and systemd does not try again.
        second = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        assert "runs already" in second.stderr
        # Told to end, it ends with the status that systemd does not restart.
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert endpoints.info(NAME).state == "stopped"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/a/python", "-m", "x"], '"/a/python" "-m" "x"'),
        (["/a b/c"], '"/a b/c"'),
        (['say "hi"'], '"say \\"hi\\""'),
        (["back\\slash"], '"back\\\\slash"'),
        (["50%"], '"50%%"'),
        (["$HOME"], '"$$HOME"'),
    ],
)
def test_words_are_quoted(words: list[str], expected: str) -> None:
    assert command_line(words) == expected
    assert f"ExecStart={expected}\n" in unit_text("d", words, {})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"AZURE_CLIENT_SECRET": "s"}, {}),
        ({"MLFLOW_TRACKING_URI": "sqlite:////a b/x.db"}, None),
        ({"MLFLOW_TRACKING_URI": "http://user@host"}, None),
        ({"MLFLOW_TRACKING_URI": "http://user:@host"}, {}),
        ({"MLFLOW_TRACKING_URI": "http://user:secret@host"}, {}),
        ({"MLFLOW_TRACKING_URI": "postgresql://host/db?user=u&Password=secret"}, {}),
        ({"MLFLOW_TRACKING_URI": "postgresql://host/db?user=u"}, None),
        ({"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}, None),
    ],
)
def test_passwords_are_not_passed(
    environment: dict[str, str], expected: dict[str, str] | None
) -> None:
    assert passed(environment) == (environment if expected is None else expected)
