"""A server that outlives whoever starts it: started, waited for until it answers, ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azureml_runner.errors import RunnerError
from azureml_runner.processes import running, start_detached, terminate

__all__ = ["Service", "Silent", "healthy"]

POLL_SECONDS = 0.02


class Silent(RunnerError):
    """The server ``ended``, or did not answer in time."""

    def __init__(self, name: str, log: Path, *, ended: bool) -> None:
        message = f"{name} {'ended' if ended else 'does not answer'}"
        super().__init__(message, hint=f"Its log says why: {log}")
        self.ended = ended


@dataclass(frozen=True)
class Service:
    """One server, by the files that describe it.

    Attributes
    ----------
    name
        What it is called in messages: ``the pipeline service``.
    pid_file, log
        Its process, and what it prints.
    answers
        Asks it whether it is ready; gives up after seconds.
    """

    name: str
    pid_file: Path
    log: Path
    answers: Callable[[], bool]

    def running(self) -> bool:
        """Whether its process is alive."""
        return running(self.pid_file) is not None

    def start(self, command: Sequence[str], *, env: Mapping[str, str], seconds: float) -> None:
        """Start it and return once it answers; what does not answer in time is ended.

        Raises
        ------
        Silent
            It ended, or does not answer; the hint names its log.
        RunnerError
            It cannot be started.
        """
        start_detached(command, log=self.log, pid_file=self.pid_file, env=env)
        if not self.wait(seconds):
            ended = not self.running()
            self.end()
            raise Silent(self.name, self.log, ended=ended)

    def wait(self, seconds: float) -> bool:
        """Return whether it answers, at the latest after ``seconds``; ``False`` once it ended."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            if self.answers():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def end(self, timeout: float = 10.0) -> bool:
        """End it, and kill what is left after ``timeout`` seconds; returns whether it ran."""
        return terminate(self.pid_file, timeout)


def healthy(port: int | None, service: str) -> bool:
    """Tell whether the service of this name answers at a port of loopback, past any proxy."""
    import requests

    with requests.Session() as asking:
        asking.trust_env = False
        try:
            reply = asking.get(f"http://127.0.0.1:{port}/health", timeout=5)
            return bool(reply.ok and reply.json().get("service") == service)
        except (requests.RequestException, ValueError):
            return False
