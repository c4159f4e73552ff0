"""What holds for every verb, as a shell sees it: start-up, streams, homes, Ctrl-C, completion."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from twinml.cli import VERBS
from twinml.platform import EndpointInfo

pytestmark = pytest.mark.e2e

HEAVY = ("flaml", "lightgbm", "matplotlib", "mlflow", "numba", "numpy", "pandas", "pyarrow",
         "scipy", "sklearn", "sqlalchemy")  # fmt: skip
SCRIPT = Path(sys.executable).with_name("twinml")
# A test may run in the background, where SIGINT is ignored unless a process asks for it.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from twinml.cli import main
main()
"""
PIPELINE = """
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
jobs:
  say:
    type: command
    command: echo said
    environment: azureml:any@latest
"""


def loaded_by(calls: list[list[str]]) -> list[str]:
    """Return the heavy packages that one process had imported after these calls."""
    program = f"""
import contextlib, io, sys
from twinml.cli import main
for words in {calls!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(words)
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by([["--help"], *([verb, "--help"] for verb in VERBS)]) == []


def test_verbs_that_only_read_load_nothing_heavy(running_endpoint: EndpointInfo) -> None:
    verbs = ("status", "keys", "traffic", "logs", "metrics", "models")
    assert loaded_by([[verb] for verb in verbs]) == []


def twinml(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *words],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "TWINML_HOME"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_home_above_is_used_and_said(tmp_path: Path) -> None:
    (tmp_path / "project" / ".twinml").mkdir(parents=True)
    below = tmp_path / "project" / "a" / "b"
    below.mkdir(parents=True)
    done = twinml("status", cwd=below)
    assert done.stderr == f"using {tmp_path / 'project' / '.twinml'}\n"
    assert done.stdout.startswith("nothing is deployed")
    assert twinml("status", cwd=below.parents[1]).stderr == ""
    assert twinml("status", "--help", cwd=below).stderr == ""


def test_a_reader_that_has_enough_ends_it_quietly(running_endpoint: EndpointInfo) -> None:
    done = subprocess.run(
        f'"{SCRIPT}" swagger | head -c 1', shell=True, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.fixture
def silent_server():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def interrupt(*words: str, server: socket.socket | None = None) -> tuple[int, str]:
    """Send Ctrl-C to a verb once it has called ``server``, or has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as held:
        if server is None:
            assert process.stdout is not None
            process.stdout.readline()
        else:
            server.settimeout(120)
            held.enter_context(server.accept()[0])
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_ctrl_c_says_what_is_kept(silent_server: socket.socket) -> None:
    uri = f"http://127.0.0.1:{silent_server.getsockname()[1]}/score"
    code, said = interrupt(
        "benchmark", "--url", uri, "--no-report", "--any-reply", server=silent_server
    )
    assert (code, said.strip()) == (130, "interrupted. Nothing is kept of this run.")


def test_following_a_log_ends_with_ctrl_c(running_endpoint: EndpointInfo) -> None:
    code, said = interrupt("logs", "--follow")
    assert (code, said.strip()) == (130, "")


def completed(words: str, number: int) -> list[str]:
    """Return what bash is told about word ``number`` of a line that begins with the program."""
    done = subprocess.run(
        [SCRIPT],
        env={
            **os.environ,
            "_TWINML_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "number", "found"),
    [
        ("twinml sta", 1, ["plain,status", "plain,start"]),
        ("twinml logs --endpoint ban", 3, ["plain,bank-test"]),
        ("twinml logs --endpoint nothing", 3, []),
        ("twinml logs --deployment ", 3, ["plain,blue"]),
        ("twinml logs --endpoint other --deployment ", 5, []),
        ("twinml keys --on azure --endpoint ", 5, []),
        ("twinml keys --on az", 3, ["plain,azure"]),
        ("twinml score --data ro", 3, ["file,ro"]),
    ],
)
def test_the_shell_completes(
    running_endpoint: EndpointInfo, line: str, number: int, found: list[str]
) -> None:
    assert completed(line, number) == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_every_shell(shell: str) -> None:
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, "_TWINML_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_TWINML_COMPLETE" in done.stdout


def test_status_after_stop_is_true(own_home: Path, tmp_path: Path) -> None:
    file = tmp_path / "speak.yml"
    file.write_text(PIPELINE, encoding="utf-8")
    home = {"TWINML_HOME": str(own_home)}
    try:
        assert twinml("pipeline", "publish", str(file), cwd=tmp_path, **home).returncode == 0
        twinml("pipeline", "schedule", "speak", "--every", "1d", cwd=tmp_path, **home)
        runs = twinml("status", cwd=tmp_path, **home).stdout
    finally:
        twinml("stop", cwd=tmp_path, **home)
    stopped = twinml("status", cwd=tmp_path, **home).stdout
    assert "speak  version 1, running" in runs
    assert "every 1d  next 20" in runs
    assert "speak  version 1, stopped" in stopped
    assert "every 1d  stopped" in stopped
    assert "next 20" not in stopped
    assert "twinml pipeline run speak" in stopped
    assert completed("twinml pipeline run sp", 3) == ["plain,speak"]
