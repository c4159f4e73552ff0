"""Finding the Python of a version that an environment names, wherever this machine has it.

Looked for in this order: the one that runs here, ``PATH``, pyenv, conda and its environments,
what uv has installed; then uv is asked to fetch it (``TWINML_FETCH_PYTHON=off`` leaves that
out). Where nothing is found, another stands in: the nearest that is here, and it is said.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Interpreter", "choose", "installer_environment", "uv"]

ASK_SECONDS = 120
FETCH_SECONDS = 300
SWITCH = "TWINML_FETCH_PYTHON"
_TELL = "import platform, sys; print(sys.executable); print(platform.python_version())"


@dataclass(frozen=True)
class Interpreter:
    """A Python: where it is, its version, and, if it stands in for another, the words for that."""

    path: Path
    version: str
    stand_in: str = ""


def choose(asked: str | None, log: Callable[[str], None]) -> Interpreter:
    """Return the Python for a version such as ``3.8`` or ``3.11.7``; ``None`` takes this one.

    The first two numbers decide; ``log`` is told what is done about it.
    """
    mine = Interpreter(
        Path(getattr(sys, "_base_executable", sys.executable)), platform.python_version()
    )
    match = re.match(r"(\d+)\.(\d+)", asked or mine.version)
    if match is None:
        match = re.match(r"(\d+)\.(\d+)", mine.version)
    assert match is not None
    wanted = (int(match[1]), int(match[2]))
    if wanted == minor(mine.version):
        return mine
    for found in _here(f"{wanted[0]}.{wanted[1]}"):
        if minor(found.version) == wanted:
            return found
    fetched = _fetch(f"{wanted[0]}.{wanted[1]}", log)
    if fetched is not None and minor(fetched.version) == wanted:
        return fetched
    message = (
        f"Python {asked} is not on this machine and could not be fetched; "
        f"{mine.version} stands in for it."
    )
    log(f"WARNING: {message}")
    return Interpreter(mine.path, mine.version, message)


def minor(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version.

    >>> minor("3.11.7")
    (3, 11)
    """
    first, second, *_ = version.split(".")
    return int(first), int(second)


def candidates(wanted: str, environ: Mapping[str, str], home: Path) -> Iterable[Path]:
    """Yield where a Python of version ``wanted`` may be: ``PATH``, then pyenv, then conda."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if folder:
            yield Path(folder) / f"python{wanted}"
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    for found in sorted(pyenv.glob(f"{wanted}.*"), key=_newest_first):
        yield found / "bin" / f"python{wanted}"
    roots = [
        environ.get("CONDA_PREFIX"),
        environ.get("CONDA_ROOT"),
        environ.get("MAMBA_ROOT_PREFIX"),
    ]
    usual = (
        home / name
        for name in ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba")
    )
    for root in [*(Path(each) for each in roots if each), *usual, Path("/opt/conda")]:
        yield root / "bin" / f"python{wanted}"
        for environment in sorted((root / "envs").glob("*")):
            yield environment / "bin" / f"python{wanted}"


def _newest_first(path: Path) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", path.name)]


def _here(wanted: str) -> Iterable[Interpreter]:
    for path in candidates(wanted, os.environ, Path.home()):
        if path.exists():
            found = _ask(path)
            if found is not None:
                yield found
    program = uv()
    if program:
        found = _ask_uv(program, wanted)
        if found is not None:
            yield found


def _ask(path: Path) -> Interpreter | None:
    """Return what an interpreter says of itself; ``None`` for a placeholder that only fails."""
    return _told([str(path), "-I", "-c", _TELL])


def _ask_uv(program: str, wanted: str) -> Interpreter | None:
    command = [program, "python", "find", "--managed-python", "--no-python-downloads", wanted]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ASK_SECONDS,
            env=installer_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _ask(Path(done.stdout.strip())) if done.returncode == 0 else None


def _told(command: list[str]) -> Interpreter | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ASK_SECONDS,
            stdin=subprocess.DEVNULL, env=installer_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != 2:
        return None
    return Interpreter(Path(lines[0]), lines[1])


@lru_cache
def _cannot_be_fetched() -> set[str]:
    """Return the versions that uv could not fetch: it is asked once for each."""
    return set()


def _fetch(wanted: str, log: Callable[[str], None]) -> Interpreter | None:
    program = uv()
    if not program or os.environ.get(SWITCH, "on") == "off" or wanted in _cannot_be_fetched():
        return None
    log(f"Python {wanted} is not on this machine: uv is asked to fetch it")
    try:
        done = subprocess.run(
            [program, "python", "install", "--no-bin", "--quiet", wanted],
            capture_output=True, text=True, check=False, timeout=FETCH_SECONDS,
            env=installer_environment(),
        )  # fmt: skip
        said = done.stderr.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        said, done = [str(error)], None
    if done is None or done.returncode:
        _cannot_be_fetched().add(wanted)
        for line in said[-3:]:
            log(line)
        return None
    return _ask_uv(program, wanted)


def installer_environment() -> dict[str, str]:
    """Return the environment of installers: nothing that leads them to another Python."""
    others = ("PYTHON", "VIRTUAL_ENV", "CONDA", "AZURE")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def uv() -> str | None:
    """Return where uv is, ``None`` if it is not installed."""
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.exists() else shutil.which("uv")
