"""The definition in a folder of its own, with the code of its steps: ready for Azure ML."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import yaml

from twinml.errors import UsageError
from twinml.platform import PLATFORMS
from twinml.settings import __version__

__all__ = ["DEFINITION", "VARIANTS", "stage"]

DEFINITION = Path(__file__).parent / "pipeline.yml"
# By who searches: twinml's own step, or an AutoML node of Azure's kind.
VARIANTS = {"twinml": DEFINITION, "automl": DEFINITION.with_name("pipeline-automl.yml")}
PARTS = ("components", "environment")
NOT_COPIED = ("__pycache__", "*.pyc")


def stage(
    folder: Path,
    *,
    packages: Sequence[str] = ("twinml",),
    variables: Mapping[str, str] | None = None,
    definition: Path = DEFINITION,
) -> Path:
    """Write a definition and the code of its steps, and return the definition's path.

    ``az ml job create -f`` takes that file: each component's ``code`` is the folder ``code``
    beside it, which holds the packages.

    Parameters
    ----------
    folder
        Made, or replaced where an earlier ``stage`` made it.
    packages
        Copied into ``code``; the deploy step needs that of its platform as well.
    variables
        Environment variables of every component, such as ``TWINML_PLATFORM``, set by the
        shell that runs its command.
    definition
        One of ``VARIANTS``.

    Raises
    ------
    UsageError
        The folder holds something else, or a package is not installed.
    """
    ours = any((folder / one.name).is_file() for one in VARIANTS.values())
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise UsageError(f"'{folder}' is not empty", hint="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(definition, folder / definition.name)
    for part in PARTS:
        _replace(DEFINITION.parent / part, folder / part)
    for package in packages:
        _replace(_location(package), folder / "code" / package)
    _announce_platforms(folder / "code", packages)
    for path in sorted((folder / "components").glob("*.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["code"] = "../code"
        if variables:
            # Azure ML keeps no environment variables of a component.
            given = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
            content["command"] = " ".join([*given, content["command"]])
        path.write_text(yaml.safe_dump(content, sort_keys=False, width=96), encoding="utf-8")
    return folder / definition.name


def _announce_platforms(code: Path, packages: Sequence[str]) -> None:
    """Write the metadata by which ``twinml.platform.load`` finds the platforms among packages.

    They are not installed where the code runs; the import system reads such a folder as well.
    """
    points = {
        point.name: point.value
        for point in entry_points(group=PLATFORMS)
        if point.module.partition(".")[0] in packages
    }
    information = code / "twinml_code.dist-info"
    shutil.rmtree(information, ignore_errors=True)
    if points:
        # A name of its own: the installed package, where there is one, stays visible.
        information.mkdir()
        facts = f"Metadata-Version: 2.1\nName: twinml-code\nVersion: {__version__}\n"
        (information / "METADATA").write_text(facts, encoding="utf-8")
        lines = [f"[{PLATFORMS}]", *(f"{name} = {value}" for name, value in sorted(points.items()))]
        (information / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _location(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"package '{package}' is not installed")
    return Path(next(iter(found.submodule_search_locations)))


def _replace(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
