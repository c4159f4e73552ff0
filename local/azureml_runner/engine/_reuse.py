"""Results of earlier steps, found by what they were made from.

A step's key is a SHA-256 of its command, its code, its environment and the *content* of its
inputs. Under the key are the paths and digests of its outputs; they count only as long as
the files still have those digests::

    reuse/3f/3f9c….json   {"outputs": {"model": {"path": "/…/outputs/model", "digest": "…"}}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from azureml_runner.files import digest_of, write_atomic
from azureml_runner.locks import locked

__all__ = ["ReuseStore"]


class ReuseStore:
    """The results in one folder; safe to use from several processes.

    Parameters
    ----------
    folder
        Made when the first result is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold off whoever deletes results, between finding one and having it on record."""
        with locked(self._folder / "lock"):
            yield

    def entries_within(self, folders: Sequence[Path]) -> list[Path]:
        """Return the files of the entries that have an output in one of ``folders``."""
        found = []
        for entry in sorted(self._folder.glob("??/*.json")):
            try:
                content = json.loads(entry.read_text(encoding="utf-8"))
                paths = [Path(item["path"]) for item in content["outputs"].values()]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if any(path.is_relative_to(folder) for path in paths for folder in folders):
                found.append(entry)
        return found

    def find(self, key: str) -> dict[str, Path] | None:
        """Return the outputs kept under ``key``, ``None`` if any is missing or has changed."""
        try:
            content = json.loads(self._path(key).read_text(encoding="utf-8"))
            kept = {name: Path(item["path"]) for name, item in content["outputs"].items()}
            unchanged = all(
                digest_of(path) == content["outputs"][name]["digest"] for name, path in kept.items()
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if unchanged else None

    def keep(self, key: str, outputs: Mapping[str, Path]) -> None:
        """Keep outputs under ``key``; the files stay where they are."""
        content = {
            "outputs": {
                name: {"path": str(path), "digest": digest_of(path)}
                for name, path in outputs.items()
            }
        }
        write_atomic(self._path(key), json.dumps(content))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
