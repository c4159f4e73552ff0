"""Which code a server runs: a process keeps what it loaded when the files change."""

from __future__ import annotations

from pathlib import Path

import azureml_runner
import twinml
import twinml_local
from azureml_runner.files import digest_of, digest_of_parts

__all__ = ["installed_code"]


def installed_code() -> str:
    """Return a digest of the installed code as they are on disk now.

    Examples
    --------
    >>> installed_code() == installed_code()
    True
    """
    folders = [Path(package.__path__[0]) for package in (twinml, twinml_local, azureml_runner)]
    return digest_of_parts(folders=[digest_of(folder) for folder in folders])[:16]
