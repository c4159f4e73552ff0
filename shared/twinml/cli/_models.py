"""Which model a verb is about: a folder, or a registered one fetched for the while."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["directory_of"]


@contextmanager
def directory_of(reference: str) -> Iterator[Path]:
    """Yield the directory of a model: ``DIRECTORY``, ``NAME``, ``NAME/VERSION`` or ``NAME@ALIAS``.

    Raises
    ------
    NotFound
        No such model is registered.
    """
    if (Path(reference) / "MLmodel").is_file():
        yield Path(reference)
        return
    from twinml.registry.tracking import Tracking

    tracking = Tracking()
    with tempfile.TemporaryDirectory() as scratch:
        yield tracking.fetch(tracking.resolve(reference), Path(scratch) / "model")
