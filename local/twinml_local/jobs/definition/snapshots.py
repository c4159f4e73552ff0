"""Copies of the steps' code, by content: what was published stays as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from azureml_runner.engine.attempt import NOT_COPIED
from azureml_runner.files import digest_of
from twinml.errors import UsageError

__all__ = ["keep_code"]


def keep_code(source: Path, folder: Path) -> Path:
    """Return the copy of ``source`` in ``folder``; the same content is copied once.

    Raises
    ------
    UsageError
        It cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".copying-") as scratch:
        copied = Path(scratch) / source.name
        try:
            if source.is_dir():
                ignored = shutil.ignore_patterns(*NOT_COPIED)
                shutil.copytree(source, copied, ignore=ignored, symlinks=True)
            else:
                shutil.copy2(source, copied)
            target = folder / digest_of(copied) / source.name
        except OSError as error:
            raise UsageError(f"code '{source}' cannot be copied: {error.strerror}") from error
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            try:
                os.rename(copied, target)
            except OSError:
                if not target.exists():  # Another process may have been first.
                    raise
    return target
