"""Which twinml this is, where it keeps its state, and the environment that its processes run in.

One folder holds everything that is made on this machine: ``$TWINML_HOME``, else the nearest
``.twinml`` in the current folder or above it, else a new one in the current folder::

    .twinml/
    ├── mlflow.db, mlartifacts/   tracking store and registry (MLflow on SQLite)
    ├── data/                     registered data assets, by name and version
    ├── endpoints/                deployed endpoints: state, keys (0600), logs
    ├── pipelines/                published pipelines and their jobs
    └── reports/                  one HTML report a run
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["__version__", "home", "home_is_elsewhere", "quiet_libraries", "tracking_uri"]

__version__ = "0.1.0"

FOLDER = ".twinml"


def home() -> Path:
    """Return the state folder as an absolute path; it may not exist yet.

    One above the current folder counts only if it belongs to the user of this process: models
    in it are code.
    """
    named = os.environ.get("TWINML_HOME")
    if named:
        return Path(named).expanduser().resolve()
    here = Path(FOLDER).resolve()
    if here.exists():
        return here
    return next((above for above in _above() if _is_own(above)), here)


def home_is_elsewhere() -> bool:
    """Tell whether the state folder was found above the current folder."""
    return not os.environ.get("TWINML_HOME") and home() != Path(FOLDER).resolve()


def _above() -> Iterator[Path]:
    return (folder / FOLDER for folder in Path.cwd().parents)


def _is_own(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (os.name == "nt" or found.st_uid == os.getuid())


def tracking_uri() -> str:
    """Return MLflow's tracking and registry URI: ``MLFLOW_TRACKING_URI``, else SQLite at home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def quiet_libraries() -> None:
    """Keep the libraries that we use offline and off the terminal.

    To be called before mlflow is first imported. MLflow would otherwise ask for its
    telemetry settings over the network and print Alembic's migrations.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Addresses of runs, among what --json prints.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # urllib3 warns of every request that it repeats.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
