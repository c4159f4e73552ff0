"""The differences between the packages of two sides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions

__all__ = ["Package", "differing", "installed", "pinned"]


@dataclass(frozen=True)
class Package:
    """A package and its version on either side; ``None`` where it is not there.

    ``used`` says whether the model itself needs it.
    """

    name: str
    versions: tuple[str | None, str | None]
    used: bool


def normal(name: str) -> str:
    """Return a package's name as indexes compare it.

    >>> normal("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Return the packages of this process by normal name."""
    return {normal(found.metadata["Name"]): found.version for found in distributions()}


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """Return the packages that requirements pin by normal name; others are left out.

    >>> pinned(["numpy==2.4.1", "# a remark", "pandas>=2", "mlflow==3.15.0  # why"])
    {'numpy': '2.4.1', 'mlflow': '3.15.0'}
    """
    found = {}
    for line in lines:
        match = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*==\s*([^\s;#]+)", line)
        if match:
            found[normal(match[1])] = match[2]
    return found


def differing(
    one: Mapping[str, str], other: Mapping[str, str], used: Iterable[str]
) -> tuple[Package, ...]:
    """Return the packages whose versions differ, those that the model uses first.

    Examples
    --------
    >>> for package in differing({"numpy": "2.4", "a": "1"}, {"numpy": "2.3", "a": "1"}, ["numpy"]):
    ...     print(package.name, package.versions, package.used)
    numpy ('2.4', '2.3') True
    """
    needed = {normal(name) for name in used}
    found = [
        Package(name, (one.get(name), other.get(name)), name in needed)
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    return tuple(sorted(found, key=lambda package: not package.used))
