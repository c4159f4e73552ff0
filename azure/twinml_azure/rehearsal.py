"""The platform ``rehearsal``: the Azure platform, with the emulator in Azure's place.

Nothing of the platform is changed and nothing of the SDK is patched: the emulator is started
by its command, as a process of its own, and environment variables point this process at it::

    rehearsal ── starts ──▶ python -m azureml_emulator ── writes ──▶ environment.json
        └── sets HTTPS_PROXY, REQUESTS_CA_BUNDLE, AZURE_* ──▶ AzurePlatform, unchanged

Its state, in ``rehearsal`` under the state folder, outlives it: a second rehearsal finds what
the first one made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from twinml.errors import PlatformUnavailable
from twinml.settings import home
from twinml_azure.connection import Connection, WorkspaceAddress, find_workspace
from twinml_azure.platform import AzurePlatform

__all__ = ["RehearsalPlatform", "rehearsed"]

START_SECONDS, STOP_SECONDS = 120.0, 30.0
POLL_SECONDS = 0.1
# What could lead to the real cloud, or to another proxy.
FOREIGN = ("AZURE", "MSI_", "IDENTITY_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# The SDK looks at a job every 2 s and then ever more rarely, up to once a minute.
QUICK = {"AZUREML_RUN_POLLING_INTERVAL_MIN": "1", "AZUREML_RUN_POLLING_INTERVAL_MAX": "2"}


def rehearsed(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` pointed at the emulator, with nothing left that leads elsewhere.

    >>> rehearsed({"PATH": "/bin", "AZURE_CLIENT_SECRET": "mine", "https_proxy": "http://other"},
    ...           {"HTTPS_PROXY": "http://127.0.0.1:1"})["PATH"]
    '/bin'
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(FOREIGN) and name not in BUNDLES
    }
    return {**kept, **QUICK, **variables}


class Stage:
    """The emulator's process: started, found again and ended.

    Parameters
    ----------
    directory
        Its state folder; the log and the pid are beside it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.with_name(f"{directory.name}.log")
        self._pid = directory.with_name(f"{directory.name}.pid")
        self._environment = directory / "environment.json"

    def variables(self) -> dict[str, str] | None:
        """Return the variables that point at the running emulator; ``None`` if none runs."""
        if self._free():
            return None
        try:
            found: dict[str, str] = json.loads(self._environment.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def start(self, faults: Sequence[str] = ()) -> dict[str, str]:
        """Start the emulator, and return its variables once it answers.

        Raises
        ------
        PlatformUnavailable
            It ended at once, or does not answer.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._environment.unlink(missing_ok=True)
        options = [word for fault in faults for word in ("--fault", fault)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "azureml_emulator", "-v"),
                    *("--directory", str(self.directory), *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self._pid.write_text(str(process.pid), encoding="ascii")
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            found = self.variables()
            if found is not None:
                return found
            time.sleep(POLL_SECONDS)
        ended = process.poll() is not None
        if not ended:
            process.terminate()
        raise PlatformUnavailable(
            f"the emulator {'ended at once' if ended else 'does not answer'}: {self._last_words()}",
            hint=f"Its log is {self.log}.",
        )

    def stop(self) -> bool:
        """End the emulator; tells whether one ran."""
        if self._free():
            return False
        # The folder's lock is held, so the process that took it still lives.
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._pid.read_text(encoding="ascii")), signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not self._free():
            if time.monotonic() > deadline:
                raise PlatformUnavailable(
                    f"the emulator did not end within {STOP_SECONDS:.0f} s",
                    hint=f"Its log is {self.log}.",
                )
            time.sleep(POLL_SECONDS)
        self._pid.unlink(missing_ok=True)
        return True

    def clear(self) -> None:
        """Remove what the emulator holds; it must not run."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _free(self) -> bool:
        """Whether the folder is unlocked: a running emulator holds its lock."""
        lock = self.directory / "lock"
        if not lock.exists():
            return True
        if sys.platform == "win32":
            import msvcrt

            with lock.open("a+b") as file:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                except OSError:
                    return False
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
            return True
        import fcntl

        with lock.open("a+b") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


class RehearsalConnection(Connection):
    """The way to the emulator's workspace; starts the emulator when it is first needed."""

    def __init__(self) -> None:
        self._require_packages()
        self.stage = Stage(home() / "rehearsal")

    @cached_property
    def address(self) -> WorkspaceAddress:  # type: ignore[override]
        """The workspace that the emulator has."""
        self.begin()
        return find_workspace()

    def begin(self, faults: Sequence[str] = ()) -> None:
        """Start the emulator unless it runs, and point this process at it."""
        variables = self.stage.variables() or self.stage.start(faults)
        pointed = rehearsed(os.environ, variables)
        os.environ.clear()
        os.environ.update(pointed)


class RehearsalPlatform(AzurePlatform):
    """Azure Machine Learning as the emulator plays it.

    Raises
    ------
    PlatformUnavailable
        The Azure SDK is not installed.
    """

    name = "rehearsal"
    rehearsed = AzurePlatform.name

    def __init__(self) -> None:
        self._rehearsal = RehearsalConnection()
        super().__init__(self._rehearsal)

    def begin(self, *, fresh: bool = False, faults: Sequence[str] = ()) -> None:
        """Start the emulator unless it runs, and point this process at it and at nothing else.

        Parameters
        ----------
        fresh
            Forget what was rehearsed before.
        faults
            Rules of the bad day, in the emulator's words; they start it anew.
        """
        stage = self._rehearsal.stage
        if fresh or faults:
            stage.stop()
        if fresh:
            stage.clear()
        self._rehearsal.begin(faults)

    def stop(self, endpoint: str | None = None) -> tuple[str, ...]:
        """End the emulator with all it runs; its state is kept. An endpoint is never stopped."""
        ended = endpoint is None and self._rehearsal.stage.stop()
        return ("rehearsal",) if ended else ()
