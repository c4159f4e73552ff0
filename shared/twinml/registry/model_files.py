"""The files of a model that is a folder, or registered and fetched into one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from twinml.errors import ModelError, NotFound, UsageError

if TYPE_CHECKING:
    from twinml.platform import ModelVersion
    from twinml.registry.tracking import Tracking

__all__ = ["directory_of", "fetch_model"]


def fetch_model(tracking: Tracking, version: ModelVersion, destination: Path) -> Path:
    """Return ``destination`` with the files of a registered version in it, and no others.

    Files that were changed since they were fetched, or are no longer whole, are replaced by
    those of the store.

    Raises
    ------
    ModelError
        The store does not have them, or other ones than were registered.
    """
    from twinml.model import check_digest, digest

    if (destination / "MLmodel").is_file():
        with suppress(ModelError, ValueError):
            check_digest(destination, version.digest or digest(destination))
            return destination
    shutil.rmtree(destination, ignore_errors=True)
    directory = tracking.download(version.uri, destination)
    try:
        check_digest(directory, version.digest or digest(directory))
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


@contextmanager
def directory_of(text: str) -> Iterator[Path]:
    """Yield the directory of a model: a folder, or what ``ModelReference.parse`` reads.

    Raises
    ------
    ModelError
        The folder holds no model.
    NotFound
        No such model is registered.
    UsageError
        It is neither a folder nor a reference.
    """
    if (Path(text) / "MLmodel").is_file():
        yield Path(text)
        return
    from twinml.platform import ModelReference
    from twinml.registry.tracking import Tracking

    tracking = Tracking()
    try:
        version = tracking.resolve(ModelReference.parse(text))
    except (NotFound, UsageError):
        if Path(text).is_dir():
            raise ModelError(
                f"there is no MLflow model in {text}", hint="Name a folder with an MLmodel file."
            ) from None
        raise
    with tempfile.TemporaryDirectory() as scratch:
        yield fetch_model(tracking, version, Path(scratch) / "model")
