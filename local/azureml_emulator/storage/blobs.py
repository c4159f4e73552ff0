"""Blobs on disk: content in files, everything else in SQLite.

A blob's content is a file of its own that is never changed, only replaced: a reader sees the
old content or the new, and so does whoever looks after a crash. A file that no row names is
what a killed process was still writing; it is removed at the next start.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from azureml_emulator.errors import StorageError
from azureml_runner.database import Database

__all__ = ["Blob", "BlobStore", "Readable"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (name TEXT PRIMARY KEY, modified REAL NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (
    container TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL,
    md5 TEXT NOT NULL, content_type TEXT NOT NULL, metadata TEXT NOT NULL,
    etag TEXT NOT NULL, created REAL NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (container, name));
CREATE TABLE IF NOT EXISTS blocks (
    container TEXT NOT NULL, name TEXT NOT NULL, block TEXT NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (container, name, block));
"""
PIECE = 1 << 20


class Readable(Protocol):
    """What content can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        ...


@dataclass(frozen=True)
class Blob:
    """What is known about a blob; ``modified`` and ``created`` are seconds since 1970."""

    container: str
    name: str
    path: Path
    size: int
    md5: str
    content_type: str
    metadata: Mapping[str, str]
    etag: str
    created: float
    modified: float

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from ``start`` up to, not including, ``end``."""
        left = (self.size if end is None else end) - start
        with self.path.open("rb") as file:
            file.seek(start)
            while left > 0:
                piece = file.read(min(PIECE, left))
                left -= len(piece)
                yield piece


class BlobStore:
    """The containers of one storage account.

    Parameters
    ----------
    directory
        Where ``blobs.sqlite`` and the folder ``content`` are.
    """

    def __init__(self, directory: Path) -> None:
        self._content = directory / "content"
        self._content.mkdir(parents=True, exist_ok=True)
        self._database = Database(directory / "blobs.sqlite", SCHEMA)
        self._remove_unnamed_files()

    def _remove_unnamed_files(self) -> None:
        named = {
            row["file"]
            for row in self._database.rows("SELECT file FROM blobs UNION SELECT file FROM blocks")
        }
        for path in self._content.iterdir():
            if path.name not in named:
                path.unlink()

    def create_container(self, name: str) -> bool:
        """Make a container; returns whether it is new."""
        statement = "INSERT OR IGNORE INTO containers (name, modified) VALUES (?, ?)"
        return self._database.execute(statement, [name, time.time()]) == 1

    def has_container(self, name: str) -> bool:
        """Return whether there is a container of that name."""
        return self._database.row("SELECT 1 FROM containers WHERE name = ?", [name]) is not None

    def get(self, container: str, name: str) -> Blob | None:
        """Return a blob, or ``None``."""
        row = self._database.row(
            "SELECT * FROM blobs WHERE container = ? AND name = ?", [container, name]
        )
        return None if row is None else self._blob(row)

    def put(
        self,
        container: str,
        name: str,
        content: Readable,
        *,
        metadata: Mapping[str, str],
        content_type: str,
        overwrite: bool = True,
        md5: str | None = None,
    ) -> Blob:
        """Store a blob whole.

        Raises
        ------
        StorageError
            There is one already and ``overwrite`` is false, there is no such container, or
            the content does not have the ``md5`` that was announced.
        """
        self._require_container(container)
        if not overwrite and self.get(container, name) is not None:
            raise _exists()
        with self._new_file() as (file, path):
            found = _written(content, file, md5)
            size = file.tell()
            return self._commit(
                container, name, path, size, found, metadata, content_type, overwrite
            )

    def put_block(
        self, container: str, name: str, block: str, content: Readable, *, md5: str | None = None
    ) -> str:
        """Keep a part of a blob until ``put_blocks`` names it; returns its MD5."""
        self._require_container(container)
        with self._new_file() as (file, path):
            found = _written(content, file, md5)
            with self._database.transaction():
                values = [container, name, block]
                old = self._database.row(
                    "SELECT file FROM blocks WHERE container = ? AND name = ? AND block = ?",
                    values,
                )
                self._database.execute(
                    "INSERT OR REPLACE INTO blocks (container, name, block, file)"
                    " VALUES (?, ?, ?, ?)",
                    [*values, path.name],
                )
        if old is not None:
            (self._content / old["file"]).unlink(missing_ok=True)
        return found

    def put_blocks(
        self,
        container: str,
        name: str,
        blocks: Sequence[str],
        *,
        metadata: Mapping[str, str],
        content_type: str,
        overwrite: bool = True,
    ) -> Blob:
        """Make a blob of blocks that were put before, and forget them.

        Raises
        ------
        StorageError
            A block was never put.
        """
        rows = self._database.rows(
            "SELECT block, file FROM blocks WHERE container = ? AND name = ?", [container, name]
        )
        files = {row["block"]: self._content / row["file"] for row in rows}
        if any(block not in files for block in blocks):
            raise StorageError(
                400, "InvalidBlockList", "The specified block list is invalid: a block is missing."
            )
        blob = self.put(
            container,
            name,
            _Joined([files[block] for block in blocks]),
            metadata=metadata,
            content_type=content_type,
            overwrite=overwrite,
        )
        self._database.execute(
            "DELETE FROM blocks WHERE container = ? AND name = ?", [container, name]
        )
        for path in files.values():
            path.unlink(missing_ok=True)
        return blob

    def set_metadata(self, container: str, name: str, metadata: Mapping[str, str]) -> Blob | None:
        """Replace the metadata of a blob; ``None`` if there is none."""
        self._database.execute(
            "UPDATE blobs SET metadata = ?, etag = ?, modified = ?"
            " WHERE container = ? AND name = ?",
            [json.dumps(metadata), _etag(), time.time(), container, name],
        )
        return self.get(container, name)

    def delete(self, container: str, name: str) -> bool:
        """Remove a blob; returns whether there was one."""
        with self._database.transaction():
            blob = self.get(container, name)
            self._database.execute(
                "DELETE FROM blobs WHERE container = ? AND name = ?", [container, name]
            )
        if blob is not None:
            blob.path.unlink(missing_ok=True)
        return blob is not None

    def list(self, container: str, prefix: str) -> list[Blob]:
        """Return the blobs whose names begin with ``prefix``, by name."""
        rows = self._database.rows(
            "SELECT * FROM blobs WHERE container = ? AND substr(name, 1, ?) = ? ORDER BY name",
            [container, len(prefix), prefix],
        )
        return [self._blob(row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _require_container(self, name: str) -> None:
        if not self.has_container(name):
            raise StorageError(
                404, "ContainerNotFound", f"The specified container '{name}' does not exist."
            )

    @contextmanager
    def _new_file(self) -> Iterator[tuple[IO[bytes], Path]]:
        path = self._content / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                yield file, path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _commit(
        self,
        container: str,
        name: str,
        path: Path,
        size: int,
        md5: str,
        metadata: Mapping[str, str],
        content_type: str,
        overwrite: bool,
    ) -> Blob:
        now = time.time()
        with self._database.transaction():
            old = self.get(container, name)
            if old is not None and not overwrite:
                raise _exists()
            created = now if old is None else old.created
            self._database.execute(
                "INSERT OR REPLACE INTO blobs (container, name, file, size, md5, content_type,"
                " metadata, etag, created, modified) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    container, name, path.name, size, md5, content_type,
                    json.dumps(metadata), _etag(), created, now,
                ],
            )  # fmt: skip
            blob = self.get(container, name)
        if old is not None:
            old.path.unlink(missing_ok=True)
        assert blob is not None
        return blob

    def _blob(self, row: Any) -> Blob:
        return Blob(
            row["container"],
            row["name"],
            self._content / row["file"],
            row["size"],
            row["md5"],
            row["content_type"],
            json.loads(row["metadata"]),
            row["etag"],
            row["created"],
            row["modified"],
        )


class _Joined:
    """Files read one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._pieces = (piece for path in paths for piece in _pieces(path))

    def read(self, size: int = -1, /) -> bytes:
        """Return the next piece, whatever its size; nothing at the end."""
        return next(self._pieces, b"")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _exists() -> StorageError:
    return StorageError(409, "BlobAlreadyExists", "The specified blob already exists.")


def _etag() -> str:
    return f"0x{uuid.uuid4().hex[:15].upper()}"


def _written(content: Readable, file: IO[bytes], announced: str | None) -> str:
    """Copy ``content`` to disk and return its MD5 as HTTP writes it."""
    digest = hashlib.md5(usedforsecurity=False)
    while piece := content.read(PIECE):
        digest.update(piece)
        file.write(piece)
    found = base64.b64encode(digest.digest()).decode()
    if announced not in (None, found):
        raise StorageError(
            400,
            "Md5Mismatch",
            f"The MD5 value specified in the request, {announced}, did not match with the MD5 "
            f"value calculated by the server, {found}.",
        )
    file.flush()
    os.fsync(file.fileno())
    return found
