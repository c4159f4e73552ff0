"""Virtual environments that are built once for what they hold, and then found again.

An environment is named by a digest of everything that decides its content, so jobs and
deployments that ask for the same packages share one, and so do emulators::

    ~/.cache/twinml/venvs/          or where TWINML_VENVS points
    ├── 3f2c….lock                  held while somebody builds 3f2c…
    └── 3f2c…/
        ├── bin, lib, …             the environment
        ├── requirements.lock       what was resolved, with hashes (uv only)
        ├── complete.json           written last: without it the next one begins anew
        └── used                    touched whenever somebody takes it

What nobody took for ``TWINML_VENVS_DAYS`` (30) days is removed when the next one is built, and
of the others the longest unused beyond ``TWINML_VENVS_GB`` (20). A process that works with an
environment holds ``3f2c….use`` shared, so that it stays.

Whoever comes second waits for the first; what a killed process left half done has no
``complete.json`` and is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from azureml_emulator.environments._eviction import USE, USED, bounds, evict, hold
from azureml_emulator.environments._interpreters import choose, installer_environment, uv
from azureml_runner.errors import RunnerError
from azureml_runner.files import write_atomic
from azureml_runner.locks import locked

__all__ = ["BuildError", "Requirements", "Venv", "VenvCache", "cache_directory"]

Log = Callable[[str], None]
FORMAT = 1
TAIL_LINES = 25
COMPLETE = "complete.json"
LOCK = "requirements.lock"
# What conda puts beside each Python, unless the specification names it otherwise. Setuptools 81
# was the first without pkg_resources, which many older packages still import.
_BESIDE_PYTHON = {"pip": "pip", "setuptools": "setuptools<81", "wheel": "wheel"}
# What may be installed only as it is now, not by a hash: another place, a path, an option.
_UNHASHABLE = re.compile(r"^\s*(-|\.|/|git\+|https?:|file:)|@")


class BuildError(RunnerError):
    """An environment cannot be built; ``tail`` has the last lines of the installer."""

    def __init__(self, message: str, tail: Iterable[str]) -> None:
        super().__init__(message, hint="Mend the requirements; the log has the installer's words.")
        self.tail = tuple(tail)


@dataclass(frozen=True)
class Requirements:
    """What an environment has to hold.

    Parameters
    ----------
    packages
        Lines as in a ``requirements.txt``.
    python
        The version asked for, ``3.11`` or ``3.11.7``; ``None`` takes the one that runs here.
    """

    packages: tuple[str, ...]
    python: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Requirements:
        r"""Return what a ``requirements.txt`` asks for.

        Examples
        --------
        >>> Requirements.from_text("numpy==2.2  # fast\n\n# none\nscipy\n").packages
        ('numpy==2.2', 'scipy')
        """
        lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines())
        return cls(tuple(line for line in lines if line))

    @classmethod
    def from_conda(cls, specification: str | Mapping[str, Any]) -> Requirements:
        """Return what a ``conda.yaml`` asks for, and what conda puts beside each Python.

        Conda's own packages are taken from the Python index.

        Raises
        ------
        BuildError
            It is not a conda specification.

        Examples
        --------
        >>> wanted = Requirements.from_conda("dependencies: [python=3.8, pip=24, {pip: [six]}]")
        >>> wanted.packages, wanted.python
        (('pip==24.*', 'six', 'setuptools<81', 'wheel'), '3.8')
        """
        if isinstance(specification, str):
            try:
                specification = yaml.safe_load(specification)
            except yaml.YAMLError as error:
                raise BuildError(f"the conda specification is not YAML: {error}", []) from error
        wanted = specification.get("dependencies") if isinstance(specification, Mapping) else None
        if not isinstance(wanted, list):
            raise BuildError("the conda specification has no list of 'dependencies'", [])
        python, packages = None, list[str]()
        for item in wanted:
            if isinstance(item, Mapping):
                lines = "\n".join(str(line) for line in item.get("pip") or [])
                packages += cls.from_text(lines).packages
                continue
            name, relation, version = _conda_match(str(item))
            if name == "python":
                python = version or None
            else:
                packages.append(_pip_match(name, relation, version))
        named = cls(tuple(packages), python)
        missing = _BESIDE_PYTHON.keys() - named.names()
        beside = (line for name, line in _BESIDE_PYTHON.items() if name in missing)
        return named.with_packages(*beside)

    def with_packages(self, *more: str) -> Requirements:
        """Return these and ``more``."""
        return Requirements((*self.packages, *more), self.python)

    def names(self) -> set[str]:
        """Return the names of the packages, normalised."""
        found = (re.match(r"[A-Za-z0-9._-]+", package) for package in self.packages)
        return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


@dataclass(frozen=True)
class Venv:
    """A built environment; ``stand_in`` says so if its Python is not the one asked for."""

    directory: Path
    stand_in: str = ""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


class VenvCache:
    """Builds environments, or finds those that were built before.

    Parameters
    ----------
    directory
        Where they are; by default the user's cache, see ``cache_directory``.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or cache_directory()
        bounds()  # a bound that is no number is told now, not when something was built

    def get(self, wanted: Requirements, *, log: Log, preferred: str = "") -> Venv:
        """Return the environment that holds ``wanted``, built now if need be.

        Parameters
        ----------
        wanted
            Packages and Python's version.
        log
            Gets each line that the installer prints.
        preferred
            A lock: its versions are taken wherever ``wanted`` leaves a choice.

        Raises
        ------
        BuildError
            The packages cannot be installed.
        """
        python = choose(wanted.python, log)
        interpreter, program = python.path, uv()
        decisive = [
            str(FORMAT), sys.platform, platform.machine(), str(interpreter), python.version,
            "uv" if program else "pip", preferred, *wanted.packages,
        ]  # fmt: skip
        digest = hashlib.sha256("\0".join(decisive).encode()).hexdigest()[:32]
        venv = Venv(self._directory / digest, python.stand_in)
        with locked(self._directory / f"{digest}.lock"):
            # From here to the end of this process nobody removes it.
            hold(self._directory / f"{digest}{USE}")
            if (venv.directory / COMPLETE).exists():
                (venv.directory / USED).touch()
                log(f"environment {digest[:12]}: found in the cache")
                return venv
            shutil.rmtree(venv.directory, ignore_errors=True)
            log(f"environment {digest[:12]}: building with {len(wanted.packages)} requirements")
            try:
                if program:
                    _build_with_uv(program, venv, interpreter, wanted, preferred, log)
                else:
                    _build_with_pip(venv, interpreter, wanted, log)
            except BaseException:
                shutil.rmtree(venv.directory, ignore_errors=True)
                raise
            content = {"python": wanted.python, "packages": list(wanted.packages)}
            (venv.directory / USED).touch()
            write_atomic(venv.directory / COMPLETE, json.dumps(content, indent=2))
            log(f"environment {digest[:12]}: ready")
        for name in evict(self._directory):
            log(f"environment {name[:12]}: removed, long unused")
        return venv


def cache_directory() -> Path:
    """Return where environments are kept: ``TWINML_VENVS``, or below the user's cache."""
    given = os.environ.get("TWINML_VENVS")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "twinml" / "venvs"


def _build_with_uv(
    program: str, venv: Venv, interpreter: Path, wanted: Requirements, preferred: str, log: Log
) -> None:
    _run([program, "venv", "--quiet", "--python", str(interpreter), str(venv.directory)], log)
    source, lock = venv.directory / "requirements.in", venv.directory / LOCK
    source.write_text("\n".join(wanted.packages) + "\n", encoding="utf-8")
    target = ["--python", str(venv.python)]
    if any(_UNHASHABLE.search(package) for package in wanted.packages):
        _run([program, "pip", "install", *target, "-r", str(source)], log)
        return
    # uv keeps to the versions that it finds in its output file as far as it can.
    lock.write_text(preferred, encoding="utf-8")
    flags = ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"]
    _run([program, "pip", "compile", *target, *flags, str(source), "-o", str(lock)], log)
    _run([program, "pip", "install", *target, "--require-hashes", "-r", str(lock)], log)


def _build_with_pip(venv: Venv, interpreter: Path, wanted: Requirements, log: Log) -> None:
    _run([str(interpreter), "-m", "venv", str(venv.directory)], log)
    source = venv.directory / "requirements.in"
    source.write_text("\n".join(wanted.packages) + "\n", encoding="utf-8")
    pip = [str(venv.python), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, "--progress-bar", "off", "-r", str(source)], log)


def _run(arguments: list[str], log: Log) -> None:
    """Run an installer; its lines go to the log, the last ones into the error."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=installer_environment(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            log(line.rstrip())
    if process.returncode:
        what = " ".join([Path(arguments[0]).name, *arguments[1:3]])
        raise BuildError(f"'{what} …' failed with exit code {process.returncode}", tail)


def _conda_match(text: str) -> tuple[str, str, str]:
    """Return name, relation and version of ``channel::name=1.2=build``."""
    match = re.match(r"\s*(?:[\w.-]+::)?([\w.-]+)\s*([=<>!~]*)\s*([^=\s]*)", text)
    return (match[1].lower(), match[2], match[3]) if match else (text, "", "")


def _pip_match(name: str, relation: str, version: str) -> str:
    if not version:
        return name
    if relation == "=":  # conda's one sign is pip's "any version that begins so"
        return f"{name}=={version}" if version.endswith("*") else f"{name}=={version}.*"
    return f"{name}{relation}{version}"
