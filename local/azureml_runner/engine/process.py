r"""One command: a process in a session of its own, with its output in files.

A small shell stands between us and the command. It waits for a line before it starts the
command, so that nothing runs before its process is on record; and it writes the exit code to
a file, so that a command which ended while nobody looked is not run again. Files, in a
folder of the command's own::

    std_log.txt    what it printed to either stream; grows while it runs
    process.json   its process, on record before the command starts
    began          is there once the command starts
    exit           the exit code, once there is one

>>> import os, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> files = StepFiles(Path(folder.name))
>>> process = StepProcess(["/bin/echo", "hello"], files=files, directory=files.folder, env={})
>>> process.go()
>>> while not process.ended():
...     time.sleep(0.01)
>>> process.close(), files.log.read_text()
(0, 'hello\n')
>>> folder.cleanup()
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from azureml_runner.errors import RunnerError
from azureml_runner.files import write_atomic
from azureml_runner.processes import process_identity

__all__ = ["StepFiles", "StepProcess", "end_orphans"]

# TERM is trapped, not ignored: the command gets it too, and the shell outlives it.
LAUNCH = """
exit_file=$1; began=$2; shift 2
trap : TERM
read -r go || exit 125
: >"$began"
"$@" </dev/null
code=$?
echo "$code" >"$exit_file.new" && mv "$exit_file.new" "$exit_file"
exit "$code"
"""
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.02
# Why a process was ended by who ran it.
Ended: TypeAlias = Literal["stopped", "late"]


@dataclass(frozen=True)
class StepFiles:
    """The files of one command, in a folder that nothing else uses."""

    folder: Path

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "std_log.txt"

    @property
    def process(self) -> Path:
        """Its process."""
        return self.folder / "process.json"

    @property
    def began(self) -> Path:
        """There once the command starts."""
        return self.folder / "began"

    @property
    def exit(self) -> Path:
        """Its exit code."""
        return self.folder / "exit"

    def exit_code(self) -> int | None:
        """Return the exit code if the command ended by itself."""
        try:
            return int(self.exit.read_text())
        except (OSError, ValueError):
            return None

    def record(self) -> tuple[int, str] | None:
        """Return pid and identity of the process that was started here."""
        try:
            content = json.loads(self.process.read_text(encoding="utf-8"))
            return int(content["pid"]), str(content["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


class StepProcess:
    """A started command that waits for ``go``; to be ended by ``close`` in any case.

    Parameters
    ----------
    command
        The full path of the program, and its arguments.
    files
        Where its output goes; the log is appended to.
    directory
        Its working folder.
    env
        Its whole environment.

    Raises
    ------
    RunnerError
        The process cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, files: StepFiles, directory: Path, env: Mapping[str, str]
    ) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        files.exit.unlink(missing_ok=True)
        files.began.unlink(missing_ok=True)
        own = [str(files.exit), str(files.began)]
        launch = ["/bin/sh", "-c", LAUNCH, "azureml-step", *own, *command]
        with files.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    launch,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                raise RunnerError(f"its process cannot be started: {error.strerror}") from error
        self.pid = self._process.pid
        self.identity = process_identity(self.pid) or ""
        self.peak_bytes: int | None = None
        write_atomic(
            files.process, json.dumps({"pid": self.pid, "identity": self.identity}), mode=0o600
        )

    def go(self) -> None:
        """Let the command start."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def run(
        self,
        stopping: Callable[[], bool],
        *,
        poll: float,
        timeout: float | None = None,
        look: Callable[[], object] = object,
    ) -> Ended | None:
        """Let the command start, and wait until it ends; ``close`` comes after it in any case.

        Parameters
        ----------
        stopping
            Whether somebody wants it to end.
        poll
            Seconds between two looks.
        timeout
            Seconds after which it is ended; ``None`` for never.
        look
            Called before each pause.

        Returns
        -------
        Why it was ended from here, or ``None`` if it ended by itself.
        """
        self.go()
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended():
            if stopping():
                self.end()
                return "stopped"
            if deadline is not None and time.monotonic() > deadline:
                self.end()
                return "late"
            look()
            time.sleep(poll)
        return None

    def ended(self) -> bool:
        """Whether the command ended; its pid stays taken until ``close``."""
        if self._process.returncode is not None:
            return True
        if sys.platform == "linux":
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, flags) is not None
        return self._process.poll() is not None

    def end(self) -> None:
        """Ask the whole group to end, and kill it if it has not after a few seconds."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def close(self) -> int:
        """End whatever is left of the group and return the exit code.

        ``peak_bytes`` then is the most memory that one process of it had, if that is known.
        """
        # Until the exit status is taken, the pid, which is the group's id, cannot be reused.
        self._signal(signal.SIGKILL)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.returncode is None:
            _, status, usage = os.wait4(self.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            # It covers the shell and all that was waited for below it. The kernel counts in what
            # the parent had when it forked: only what is more is the command's own.
            if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
                self.peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def end_orphans(pid: int, identity: str, *, mark: str, timeout: float = 10.0) -> None:
    """Kill what is left of a command whose parent died; returns once it is gone.

    Parameters
    ----------
    pid, identity
        The recorded process. Another one that has the same pid today is left alone.
    mark
        ``NAME=value`` that the step had in its environment. On Linux, it finds members of
        the step's session that outlived the recorded process.
    timeout
        Seconds after which this is given up.

    Raises
    ------
    RunnerError
        Something could not be ended.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = _marked_session_members(pid, mark)
        if process_identity(pid) == identity:
            left.append(pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for member in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if not left:
            return
        if time.monotonic() > deadline:
            raise RunnerError(f"process {pid} of an interrupted step does not end")
        time.sleep(POLL_SECONDS)


def _marked_session_members(session: int, mark: str) -> list[int]:
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_bytes()
            fields = stat[stat.rindex(b")") + 2 :].split()
            if int(fields[3]) != session or fields[0] in (b"Z", b"X"):
                continue
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                members.append(int(folder.name))
        except (OSError, ValueError):
            continue  # It ended while we looked, or is somebody else's.
    return members
