"""One step's folder: its attempts, its outputs, and the record that it is done.

::

    steps/train/
        attempt-1/          StepFiles: std_log.txt, process.json, began, exit
            work/           where the command runs: a copy of its code
        outputs/model/
        done.json           {"outputs": {"model": "…"}, "reused": false, "attempt": 1}

``done.json`` is written last and whole, so a step is done or it is not, whatever crashes.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azureml_runner.engine._host import Control
from azureml_runner.engine._restart import AttemptEnd, attempt_end, ended_by
from azureml_runner.engine.process import StepFiles, StepProcess, end_orphans
from azureml_runner.files import write_atomic

__all__ = ["Done", "Ended", "StepFolder"]

MARK = "TWINML_STEP"
POLL_SECONDS = 0.05
SAME_SIGNAL_SECONDS = 1.0
TIMED_OUT = 124  # as the command ``timeout`` has it
TAIL_LINES = 8
TAIL_CHARACTERS = 900
TAIL_BYTES = 64_000
NOT_COPIED = (".git", ".venv")

# The step folders that a thread of this process works in, and the lock that guards the set.
_held: set[Path] = set()
_released = threading.Condition()


@dataclass(frozen=True)
class Done:
    """How a step completed."""

    outputs: Mapping[str, Path]
    attempt: int
    reused: bool


@dataclass(frozen=True)
class Ended:
    """How a command ended by itself; ``peak_bytes`` is the most that one process of it had."""

    exit_code: int
    peak_bytes: int | None = None


class StepFolder:
    """The folder of one step of one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def mark(self) -> tuple[str, str]:
        """Name and value of the variable that marks this step's processes."""
        return MARK, str(self.folder)

    def files(self, attempt: int) -> StepFiles:
        """Return the files of an attempt."""
        return StepFiles(self.folder / f"attempt-{attempt}")

    def attempts(self) -> Sequence[int]:
        """Return the numbers of the attempts so far."""
        names = (path.name.removeprefix("attempt-") for path in self.folder.glob("attempt-*"))
        return sorted(int(name) for name in names if name.isdigit())

    def output(self, name: str) -> Path:
        """Return where an output is written unless the host says otherwise."""
        return self.folder / "outputs" / name

    def done(self) -> Done | None:
        """Return how the step completed, ``None`` if it has not."""
        try:
            content = json.loads((self.folder / "done.json").read_text(encoding="utf-8"))
            outputs = {name: Path(path) for name, path in content["outputs"].items()}
            return Done(outputs, int(content["attempt"]), bool(content["reused"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def complete(self, done: Done) -> None:
        """Record that the step completed."""
        content = {
            "outputs": {name: str(path) for name, path in done.outputs.items()},
            "attempt": done.attempt,
            "reused": done.reused,
        }
        write_atomic(self.folder / "done.json", json.dumps(content))

    @contextmanager
    def held(self, control: Control) -> Iterator[None]:
        """Keep the other threads of this process out, and wait for one that is in here.

        A worker that dies leaves the thread of its step behind: whoever runs the job again must
        not start the step beside it.

        Raises
        ------
        Interrupted, Canceled
            ``control`` asked for it before the folder was free.
        """
        with _released:
            while self.folder in _held:
                control.check()
                _released.wait(POLL_SECONDS)
            _held.add(self.folder)
        try:
            yield
        finally:
            with _released:
                _held.discard(self.folder)
                _released.notify_all()

    def end_orphan(self, attempt: int) -> None:
        """Kill what is left of an attempt whose runner died."""
        files = self.files(attempt)
        record = files.record()
        if record is not None and files.exit_code() is None:
            end_orphans(*record, mark="=".join(self.mark))

    def end(self, attempt: int, *, of_command: bool) -> AttemptEnd:
        """Return how an attempt ended that nobody watched to its end.

        Parameters
        ----------
        of_command
            Whether the exit code is all that was waited for; a host has more to do after it.
        """
        files = self.files(attempt)
        return attempt_end(
            began=files.began.exists(),
            stopped=(files.folder / "interrupted").exists(),
            exit_code=files.exit_code() if of_command else None,
        )

    def run(
        self,
        attempt: int,
        script: str,
        *,
        env: Mapping[str, str],
        code: Path | None,
        timeout: float | None,
        control: Control,
    ) -> Ended | None:
        """Run a shell text and return how it ended by itself; ``None`` if it took too long.

        Raises
        ------
        Interrupted, Canceled
            It was ended, because ``control`` asked for it.
        """
        files = self.files(attempt)
        work = files.folder / "work"
        _copy(code, work)
        shell = shutil.which("bash") or "/bin/sh"
        command = (shell, "-c", script)
        name, value = self.mark
        process = StepProcess(command, files=files, directory=work, env={**env, name: value})
        try:
            why = process.run(lambda: control.stopping, poll=POLL_SECONDS, timeout=timeout)
        finally:
            exit_code = process.close()
        stopped, timed_out = why == "stopped", why == "late"
        written = files.exit_code()
        if written is not None:
            # It ended by itself, even if the shell was killed right after it wrote this.
            exit_code = written
        if not (stopped or timed_out) and ended_by(exit_code) == "SIGTERM":
            stopped = _stopped_as_well(control)
        if stopped:
            # Ended by us: its exit code says nothing about the work.
            files.exit.unlink(missing_ok=True)
            write_atomic(files.folder / "interrupted", "")
            control.check()
        if timed_out:
            write_atomic(files.exit, f"{TIMED_OUT}\n")
            return None
        if written is None:  # The signal ended the shell, too.
            write_atomic(files.exit, f"{128 - exit_code if exit_code < 0 else exit_code}\n")
        return Ended(exit_code, process.peak_bytes)

    def tail(self, attempt: int) -> str:
        """Return the end of an attempt's log."""
        path = self.files(attempt).log
        try:
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        # Without the marks that Python sets below the lines of a traceback.
        lines = [line for line in text.splitlines() if line.strip(" ^~")][-TAIL_LINES:]
        return "\n".join(lines)[-TAIL_CHARACTERS:]


def _stopped_as_well(control: Control) -> bool:
    """Return whether the run is stopped: who ends a service may signal its steps first."""
    deadline = time.monotonic() + SAME_SIGNAL_SECONDS
    while not control.stopping and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return control.stopping


def _copy(code: Path | None, work: Path) -> None:
    if code is None:
        work.mkdir(parents=True, exist_ok=True)
    elif code.is_dir():
        ignore = shutil.ignore_patterns(*NOT_COPIED)
        shutil.copytree(code, work, ignore=ignore, symlinks=True, dirs_exist_ok=True)
    else:
        work.mkdir(parents=True, exist_ok=True)
        shutil.copy2(code, work)
