"""The files of a model that is a folder, or registered and fetched into one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twinml.errors import ModelError, NotFound, UsageError

__all__ = ["directory_of"]


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
        yield tracking.fetch_model(version, Path(scratch) / "model")
