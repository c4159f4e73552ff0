"""What a compiled form was made and verified with, and whether its files are still those."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from twinml.training import learners
from twinml_local.compiled import _kernel

__all__ = [
    "ARRAYS",
    "CODE",
    "DESCRIPTION",
    "changed_versions",
    "digest_of_form",
    "form_digest",
    "made_with",
    "read_form",
    "versions",
]

ARRAYS, DESCRIPTION, CODE = "compiled.npz", "compiled.json", "kernel.o"


def versions() -> dict[str, str | None]:
    """Return the versions of the libraries that the compiled form is equal to."""
    found: dict[str, str | None] = {}
    for name in ("numpy", "scipy", *learners.packages()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def made_with() -> str:
    """Return a digest of what a compiled form depends on besides its model, on this machine."""
    return hashlib.sha256(json.dumps([versions(), _kernel.key()]).encode()).hexdigest()[:16]


def read_form(directory: Path) -> dict[str, bytes]:
    """Return the files that ``CompiledModel.save`` wrote, by name; raises ``OSError``."""
    return {name: (directory / name).read_bytes() for name in (DESCRIPTION, ARRAYS, CODE)}


def digest_of_form(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of the files of a compiled form."""
    parts = (hashlib.sha256(files[name]).digest() for name in (DESCRIPTION, ARRAYS, CODE))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def form_digest(directory: Path) -> str:
    """Return the SHA-256 of what ``CompiledModel.save`` wrote; empty if a file is missing."""
    try:
        return digest_of_form(read_form(directory))
    except OSError:
        return ""


def changed_versions(then: Mapping[str, str | None], now: Mapping[str, str | None]) -> str:
    """Return in words which libraries have changed; empty when none has.

    Examples
    --------
    >>> changed_versions({"numpy": "2.1", "scipy": "1.0"}, {"numpy": "2.2", "scipy": "1.0"})
    'numpy 2.1, now 2.2'
    >>> changed_versions({"xgboost": "3.2"}, {"xgboost": None})
    'xgboost 3.2, now none'
    """
    return ", ".join(
        f"{name} {then.get(name) or 'none'}, now {now.get(name) or 'none'}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    )
