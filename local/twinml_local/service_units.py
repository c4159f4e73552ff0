"""Units of systemd's user manager: one for each endpoint, one for the pipeline service.

systemd starts them with the user's session (or with the machine, where lingering is enabled) and
again whenever they fail or are killed. A server that was told to end does so with status 0 and is
left alone: ``twinml stop`` and ``systemctl --user stop`` both stop.
Settings, keys and ports stay in twinml's home: a unit holds no secret and no limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from azureml_runner.files import write_atomic
from azureml_runner.processes import free_port
from twinml.errors import PlatformError, UsageError
from twinml.settings import home
from twinml_local import endpoint_folders
from twinml_local.jobs import lifecycle as jobs
from twinml_local.server.process.control import MALLOC

__all__ = ["command_line", "install", "uninstall", "unit_folder", "units"]

PASSED = ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_TRACKING_URI")
SYSTEMCTL_SECONDS = 120.0


def command_line(words: Sequence[str]) -> str:
    """Return words as ``ExecStart`` takes them: quoted, with nothing to be expanded.

    Examples
    --------
    >>> print(command_line(["/opt/my python", "100%", "$HOME"]))
    "/opt/my python" "100%%" "$$HOME"
    """
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def _quoted(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UsageError("a path with a line break cannot be in a unit", hint="Rename the folder.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit_text(description: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the text of a unit that runs ``words``."""
    variables = "\n".join(
        f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(environment.items())
    )
    return f"""[Unit]
Description={description.replace("%", "%%")}
StartLimitIntervalSec=0

[Service]
ExecStart={command_line(words)}
{variables}
Restart=on-failure
RestartSec=2
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""


def passed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment goes into units: no address with a password in it.

    Examples
    --------
    >>> passed({"MLFLOW_TRACKING_URI": "postgresql://u:secret@host/db", "HOME": "/"})
    {}
    """
    return {
        name: environment[name]
        for name in PASSED
        if name in environment and not _has_password(environment[name])
    }


def _has_password(address: str) -> bool:
    parts = urlsplit(address)
    return parts.password is not None or "password" in parts.query.lower()


def units() -> dict[str, str]:
    """Return the text of the units of this home, by file name.

    Raises
    ------
    UsageError
        A path has a line break.
    """
    place = home()
    mark = hashlib.sha256(str(place).encode()).hexdigest()[:6]  # two homes, two sets of units
    common = {"TWINML_HOME": str(place), "PYTHONUNBUFFERED": "1", **passed(os.environ)}
    found = {}
    for name in endpoint_folders.names():
        words = (sys.executable, "-m", "twinml_local.server", "--service", "--directory")
        found[f"twinml-{mark}-endpoint-{name}.service"] = unit_text(
            f"twinml endpoint {name} of {place}",
            [*words, str(endpoint_folders.folder_of(name))],
            {**MALLOC, **common, "OMP_NUM_THREADS": "1"},
        )
    files = jobs.ServiceFiles(place / "pipelines")
    if files.store.exists():
        port = files.port()
        if port is None:
            port = free_port()
            write_atomic(files.address, json.dumps({"port": port}))
        found[f"twinml-{mark}-pipelines.service"] = unit_text(
            f"twinml pipeline service of {place}",
            [
                *(sys.executable, "-m", "twinml_local.jobs"),
                *("--directory", str(files.directory), "--port", str(port)),
            ],
            common,
        )
    return found


def unit_folder() -> Path:
    """Return where a user's own units are."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "systemd" / "user"


def managed() -> bool:
    """Tell whether systemd's user manager answers here."""
    return shutil.which("systemctl") is not None and _systemctl("show-environment") is None


def install() -> tuple[str, ...]:
    """Write the units and hand what runs over to systemd; returns their names.

    Units of this home whose endpoint is gone are removed.

    Raises
    ------
    PlatformError
        systemd refused.
    """
    from twinml_local import endpoints

    wanted = units()
    uninstall(but=wanted)
    for name, text in wanted.items():
        write_atomic(unit_folder() / name, text, mode=0o600)
    _must("daemon-reload")
    endpoints.stop()
    jobs.stop()
    for name in wanted:
        _must("enable", "--now", name)
    return tuple(wanted)


def uninstall(*, but: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """End and remove the units of this home, all or those not in ``but``; returns their names."""
    mark = hashlib.sha256(str(home()).encode()).hexdigest()[:6]
    found = sorted(unit_folder().glob(f"twinml-{mark}-*.service"))
    gone = [path for path in found if path.name not in (but or {})]
    for path in gone:
        if managed():
            _must("disable", "--now", path.name)
        path.unlink()
    if gone and managed():
        _must("daemon-reload")
    return tuple(path.name for path in gone)


def _must(*words: str) -> None:
    if (said := _systemctl(*words)) is not None:
        raise PlatformError(
            f"systemctl --user {' '.join(words)} failed: {said}",
            hint="Print the units instead: twinml service install --print.",
        )


def _systemctl(*words: str) -> str | None:
    """Call systemd's user manager; return what it says if it fails."""
    try:
        done = subprocess.run(
            ["systemctl", "--user", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=SYSTEMCTL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or "no reason") if done.returncode else None
