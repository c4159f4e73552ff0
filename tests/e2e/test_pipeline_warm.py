"""Steps as forks of a warm process: the same files, exit codes and ends as ordinary ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azureml_runner.engine.process import StepFiles, StepProcess
from twinml_local.jobs.warm import WarmSteps

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="steps are forked on Linux only"),
]

PREPARE = "python -m twinml.pipeline.steps.prepare --data {data} --target y --prepared {out}"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmSteps]:
    made = WarmSteps(tmp_path_factory.mktemp("warm") / "steps")
    yield made
    made.close()


def start(
    warm: WarmSteps | None, script: str, folder: Path, **variables: str
) -> tuple[StepProcess, StepFiles]:
    """Start a step as the engine does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, **variables}
    if warm is not None:
        env |= warm.environment(script, path, software="1")
    files = StepFiles(folder)
    folder.mkdir(parents=True, exist_ok=True)
    process = StepProcess(["/bin/sh", "-c", script], files=files, directory=folder, env=env)
    process.go()
    return process, files


def wait(process: StepProcess) -> int:
    deadline = time.monotonic() + 120
    while not process.ended():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process.close()


def forks() -> dict[int, bytes]:
    """Return the processes that run as forks of a warm process, by pid."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if b"twinml_local.jobs.warm" in line and state != "Z":
            found[int(folder.name)] = line
    return found


def test_a_fork_does_what_a_process_does(warm: WarmSteps, table_csv: Path, tmp_path: Path) -> None:
    logs, made = [], []
    for name, kind in (("cold", None), ("forked", warm)):
        out = tmp_path / name / "out"
        script = PREPARE.format(data=table_csv, out=out)
        process, files = start(kind, script, tmp_path / name)
        assert wait(process) == 0, files.log.read_text()
        assert files.exit_code() == 0
        logs.append(files.log.read_text())
        made.append(json.loads((out / "dataset.json").read_text()))
    assert "rows" in logs[0]
    assert logs[0] == logs[1]
    assert made[0] == made[1]


def test_an_error_is_its_exit_code_and_its_log(warm: WarmSteps, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a,y\n")
    script = PREPARE.format(data=tmp_path / "one.csv", out=tmp_path / "out")
    logs = []
    for name, kind in (("cold", None), ("forked", warm)):
        process, files = start(kind, script, tmp_path / name)
        assert wait(process) == 1
        logs.append(files.log.read_text())
    assert logs[0] == logs[1]
    assert logs[0].startswith("error: ")
    # click's own: wrong options are 2.
    process, files = start(warm, "python -m twinml.pipeline.steps.prepare --no", tmp_path / "no")
    assert wait(process) == 2
    assert "No such option" in files.log.read_text()


def test_what_is_not_a_step_runs_as_ever(warm: WarmSteps, tmp_path: Path) -> None:
    assert warm.environment("python train.py", "/bin", software="1") == {}
    # Several commands in one text: each of twinml's own is forked, the others are not.
    script = (
        "python -m twinml.pipeline.steps.prepare --help >/dev/null && "
        "python -c 'import os, sys; print(os.environ[\"COLOUR\"], sys.executable)'"
    )
    process, files = start(warm, script, tmp_path / "step", COLOUR="blue")
    assert wait(process) == 0
    assert files.log.read_text() == f"blue {sys.executable}\n"


def test_a_killed_step_is_gone_with_its_launcher(
    warm: WarmSteps, table_csv: Path, tmp_path: Path
) -> None:
    # A pipe that nobody writes to is a file that takes forever to read.
    os.mkfifo(tmp_path / "never.csv")
    before = set(forks())
    script = PREPARE.format(data=tmp_path / "never.csv", out=tmp_path / "out")
    process, _ = start(warm, script, tmp_path / "step")
    deadline = time.monotonic() + 60
    while not (begun := set(forks()) - before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [pid] = begun
    # The fork is there a moment before it leads a session of its own.
    while os.getsid(pid) != pid:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.close()
    while pid in forks():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # The warm process goes on.
    process, _ = start(warm, PREPARE.format(data=table_csv, out=tmp_path / "b"), tmp_path / "next")
    assert wait(process) == 0


def test_a_fork_that_is_killed_ends_its_step(warm: WarmSteps, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.csv")
    before = set(forks())
    script = PREPARE.format(data=tmp_path / "never.csv", out=tmp_path / "out")
    process, files = start(warm, script, tmp_path / "step")
    deadline = time.monotonic() + 60
    while not (begun := set(forks()) - before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(begun.pop(), signal.SIGKILL)
    assert wait(process) == 137
    assert files.exit_code() == 137


def test_without_a_warm_process_a_step_starts_cold(table_csv: Path, tmp_path: Path) -> None:
    ended = WarmSteps(tmp_path / "steps")
    script = PREPARE.format(data=table_csv, out=tmp_path / "out")
    variables = dict(ended.environment(script, "/bin", software="1"))
    ended.close()
    process, files = start(None, script, tmp_path / "step", **{
        "TWINML_WARM_SOCKET": variables["TWINML_WARM_SOCKET"],
        "PATH": f"{tmp_path / 'steps'}{os.pathsep}{os.environ['PATH']}",
    })  # fmt: skip
    assert wait(process) == 0, files.log.read_text()
    assert ended.environment(script, "/bin", software="1") == {}


def test_other_code_gets_another_warm_process(table_csv: Path, tmp_path: Path) -> None:
    keeper = WarmSteps(tmp_path / "steps")
    script = PREPARE.format(data=table_csv, out=tmp_path / "out")
    first = keeper.environment(script, "/bin", software="1")
    assert keeper.environment(script, "/bin", software="1") == first
    second = keeper.environment(script, "/bin", software="2")
    assert second["TWINML_WARM_SOCKET"] != first["TWINML_WARM_SOCKET"]
    keeper.close()


def test_it_ends_with_its_service(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from twinml_local.jobs.warm import WarmSteps\n"
        "kept = WarmSteps(Path(sys.argv[1]))\n"
        "kept.environment('python -m twinml.pipeline.steps.prepare', '/bin', software='1')\n"
        "print(kept._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "steps")], capture_output=True, text=True
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 120
    while pid in forks():
        assert time.monotonic() < deadline
        time.sleep(0.1)
