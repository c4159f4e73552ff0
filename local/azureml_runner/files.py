"""Atomic writes of files, and digests of their content."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

__all__ = ["digest_of", "digest_of_parts", "write_atomic"]


def write_atomic(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``path`` by ``text`` so that a reader, or a crash, sees the old or the new whole.

    Parameters
    ----------
    path
        The file; its folder is made if it is missing.
    text
        The new content, written as UTF-8.
    mode
        The permissions, set before the first byte is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def digest_of_parts(**parts: Any) -> str:
    """Return the SHA-256 of JSON-like parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's names and bytes.

    Bytecode caches do not count.

    Raises
    ------
    OSError
        It cannot be read.
    """
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        raise FileNotFoundError(path)
    whole = hashlib.sha256(b"folder")
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        if "__pycache__" not in file.parts:
            whole.update(f"\0{file.relative_to(path).as_posix()}\0".encode())
            whole.update(_file_digest(file).encode())
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
