"""Looks whether the traffic of an endpoint drifted, in a process of its own.

The comparison reads a model and its training rows; neither belongs into the service, which
has to stay small and alive.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from twinml.errors import PlatformError

__all__ = ["DriftWatch"]

LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class DriftWatch:
    """Looks at the endpoints of the state folder ``home``."""

    home: Path

    def look(self, endpoint: str, since: str | None) -> tuple[bool, str]:
        """Return whether the traffic moved since a moment (UTC, ISO 8601), and what was seen.

        Raises
        ------
        PlatformError
            It cannot be said: there is no such endpoint, or no traffic of it.
        """
        command = [sys.executable, "-m", "twinml.drift.watch", "--endpoint", endpoint]
        if since is not None:
            command += ["--since", since]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "TWINML_HOME": str(self.home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LONGEST_SECONDS,
            )
            found = json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired, ValueError) as error:
            raise PlatformError(
                f"the traffic of '{endpoint}' could not be looked at: {type(error).__name__}"
            ) from error
        if "error" in found:
            raise PlatformError(str(found["error"]))
        return bool(found["moved"]), str(found["says"])
