"""The server as a process: started and ended from outside, its workers, its port, its settings."""

import sys

# gunicorn would rename the process where setproctitle is installed, and that overwrites the
# command line and the environment that /proc shows, by which people and tools know a process.
sys.modules.setdefault("setproctitle", None)  # type: ignore[arg-type]
