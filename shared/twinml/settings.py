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

import importlib.util
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from twinml.errors import UsageError

__all__ = [
    "__version__",
    "artifact_root",
    "cache",
    "home",
    "home_is_elsewhere",
    "private_folder",
    "quiet_libraries",
    "tracking_uri",
    "with_driver",
]

__version__ = "0.1.0"

FOLDER = ".twinml"
DRIVER = "psycopg2"
# SQLAlchemy takes psycopg 3 for an address without a driver, on which MLflow's queries fail.
PLAIN = ("postgresql://", "postgres://")
OTHER = ("postgresql+psycopg://", "postgresql+psycopg_async://")


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


def cache() -> Path:
    """Return the folder for what can be made anew, of this user; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "twinml"


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


def private_folder(path: Path) -> None:
    """Make a folder that its owner alone can open, whatever the umask.

    So is the state folder, if it is made now.
    """
    root = home()
    if path.is_relative_to(root):
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)


def tracking_uri() -> str:
    """Return MLflow's tracking and registry URI: ``MLFLOW_TRACKING_URI``, else SQLite at home.

    Raises
    ------
    UsageError
        As ``with_driver``.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return with_driver(named) if named else f"sqlite:///{home() / 'mlflow.db'}"


def artifact_root() -> str | None:
    """Return where files of runs go, as MLflow's own ``MLFLOW_DEFAULT_ARTIFACT_ROOT`` says."""
    return os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or None


def with_driver(uri: str, *, installed: bool | None = None) -> str:
    """Return a PostgreSQL address with the driver that MLflow can use; others as they are.

    Parameters
    ----------
    installed
        Whether that driver is there; ``None`` looks.

    Raises
    ------
    UsageError
        There is no such driver here, or the address names another one.

    Examples
    --------
    >>> with_driver("postgresql://ann@db/runs", installed=True)
    'postgresql+psycopg2://ann@db/runs'
    >>> with_driver("sqlite:///mlflow.db", installed=False)
    'sqlite:///mlflow.db'
    """
    scheme, separator, rest = uri.partition("://")
    if not scheme.startswith("postgres"):
        return uri
    if scheme + separator in OTHER:
        raise UsageError(
            f"MLflow cannot use the driver of {scheme}://",
            hint="Write postgresql:// without a driver, and install twinml[postgres].",
        )
    if scheme + separator not in (*PLAIN, f"postgresql+{DRIVER}://"):
        return uri
    if installed is None:
        installed = importlib.util.find_spec(DRIVER) is not None
    if not installed:
        raise UsageError(
            f"the tracking store is on PostgreSQL, and its driver {DRIVER} is not installed",
            hint="Install the extra: pip install 'twinml[postgres]'.",
        )
    return f"postgresql+{DRIVER}://{rest}"


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
