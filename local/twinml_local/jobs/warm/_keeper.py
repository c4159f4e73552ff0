"""Keeps one warm process for a service, and the ``python`` that its steps find."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from azureml_runner.files import write_atomic
from twinml_local.jobs.warm import _launcher as launcher

__all__ = ["WarmSteps"]

log = logging.getLogger("twinml.jobs")

SWITCH = "TWINML_PIPELINE_WARM"
SOCKET = launcher.SOCKET
END_SECONDS = 5.0


class WarmSteps:
    """A warm process, started with the first step that can use it.

    Parameters
    ----------
    folder
        The service's own, for the launcher and the warm process's log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._former: list[subprocess.Popen[bytes]] = []
        self._software = ""
        self._scratch: Path | None = None
        self._closed = False

    def environment(self, command: str, path: str, *, software: str) -> Mapping[str, str]:
        """Return the variables that make a step's command a fork; none where it cannot be one.

        Parameters
        ----------
        command
            The step's text.
        path
            Its ``PATH``; the launcher is put before it.
        software
            Stands for the code on disk: a warm process that imported other code is replaced.
        """
        if command.split()[:2] != ["python", "-m"] or launcher.STEPS not in command:
            return {}
        if sys.platform != "linux" or os.environ.get(SWITCH, "on") == "off":
            return {}
        try:
            with self._lock:
                if self._closed:
                    return {}
                socket = self._ensure(software)
        except OSError as error:
            log.warning("no warm process, steps start cold: %s", error)
            return {}
        return {"PATH": f"{self._folder}{os.pathsep}{path}", SOCKET: str(socket)}

    def close(self) -> None:
        """End the warm process; steps that it runs are killed."""
        with self._lock:
            self._closed = True
            self._let_go()
            for process in self._former:
                process.terminate()
                try:
                    process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _ensure(self, software: str) -> Path:
        """Return the socket of a warm process that has imported ``software``."""
        alive = self._process is not None and self._process.poll() is None
        if alive and self._software == software and self._scratch is not None:
            return self._scratch / "socket"
        self._let_go()
        self._write_launcher()
        # A socket's path has at most 107 characters, which a state folder may exceed.
        scratch = Path(tempfile.mkdtemp(prefix="twinml-steps-"))
        with (self._folder / "warm.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "twinml_local.jobs.warm", str(scratch / "socket")],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its own session: a terminal's ^C is for the service to pass on.
                start_new_session=True,
            )
        # It listens before it imports, so a launcher may come at once, and wait.
        self._scratch, self._software = scratch, software
        log.info("process %d imports what the steps need", self._process.pid)
        return scratch / "socket"

    def _let_go(self) -> None:
        """Let a warm process end once its steps have."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            self._former.append(process)
        self._former = [one for one in self._former if one.poll() is None]
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _write_launcher(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Without site and the environment Python starts in some ten milliseconds.
        call = shlex.join([sys.executable, "-I", "-S", str(Path(launcher.__file__).resolve())])
        write_atomic(self._folder / "python", f'#!/bin/sh\nexec {call} "$@"\n', mode=0o700)
