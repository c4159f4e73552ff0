"""From a path or an address to the bytes of a file, without its compression."""

from __future__ import annotations

import bz2
import difflib
import gzip
import hashlib
import io
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from twinml.data._download import download
from twinml.errors import DataError
from twinml.settings import home

__all__ = ["file_digest", "is_workbook", "local_file", "near", "raw_bytes"]

ADDRESS = re.compile(r"(https?|file)://", re.IGNORECASE)
OTHER_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
LARGEST_FILE = 2_000_000_000
OLD_WORKBOOK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
WORKBOOK_MEMBERS = ({"[Content_Types].xml", "xl/"}, {"content.xml", "mimetype"})
UNPACKING = (
    EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError
)  # fmt: skip
KINDS = "CSV, Parquet, Excel or JSON lines"


def near(name: str, names: list[str]) -> str:
    """Return the first half of a hint: the names that look like ``name``, or nothing.

    Examples
    --------
    >>> near("depost", ["age", "deposit"])
    "Did you mean 'deposit'? "
    >>> near("Age", ["age", "deposit"])
    "Did you mean 'age', which differs by case only? "
    >>> near("x", ["age", "deposit"])
    ''
    """
    lower = {candidate.strip().lower(): candidate for candidate in names}
    same = lower.get(name.strip().lower())
    if same is not None and same.strip() != name.strip():
        return f"Did you mean '{same}', which differs by case only? "
    matches = difflib.get_close_matches(name.strip().lower(), lower, n=3, cutoff=0.7)
    if not matches:
        return ""
    return "Did you mean " + " or ".join(f"'{lower[match]}'" for match in matches) + "? "


def local_file(source: Path | str) -> Path:
    """Return the path of a file that is named by a path or an address.

    What ``http://`` or ``https://`` names is fetched into ``downloads/`` of the state folder,
    anew every time; ``file://`` names a file of this machine.

    Raises
    ------
    DataError
        The address cannot be fetched, or names another machine's file.
    """
    if isinstance(source, Path) or not ADDRESS.match(source):
        if other := OTHER_ADDRESS.match(str(source)):
            raise DataError(
                f"an address with {other[1]}:// cannot be fetched",
                hint="Download it elsewhere, or name one with https://, http:// or file://.",
            )
        return Path(source)
    parts = urlsplit(source)
    path = unquote(parts.path)
    if parts.scheme.lower() == "file":
        if parts.netloc in (".", ".."):
            return Path(parts.netloc + path)
        if parts.netloc not in ("", "localhost"):
            raise DataError(
                f"'file://{parts.netloc}' names a file of another machine",
                hint="Write file:///PATH, or the path alone.",
            )
        return Path(path)
    place = hashlib.sha256(source.encode()).hexdigest()[:12]
    return download(
        source, home() / "downloads" / place / (Path(path).name or "data"), LARGEST_FILE
    )


def file_digest(source: Path) -> str:
    """Return the SHA-256 of a file's uncompressed bytes, hexadecimal; see ``raw_bytes``."""
    return hashlib.sha256(raw_bytes(source)).hexdigest()


def raw_bytes(source: Path) -> bytes:
    """Return the bytes of a file, without its gzip, bzip2, xz, zstd or zip wrapping.

    Raises
    ------
    DataError
        There is no such file, or it cannot be unpacked.
    """
    if source.is_dir():
        raise DataError(f"'{source}' is a folder", hint=f"Name one file of {KINDS}.")
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        beside = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(
            f"there is no file '{source}'",
            hint=near(source.name, beside) + f"Name a file of {KINDS}.",
        ) from None
    except OSError as error:
        raise DataError(
            f"'{source}' cannot be read: {error.strerror}", hint="Check its permissions."
        ) from error
    try:
        return _unpacked(source.name, content)
    except UNPACKING as error:
        raise DataError(
            f"'{source.name}' cannot be unpacked: {error}",
            hint="The file is cut short, damaged or encrypted; fetch it again.",
        ) from error


def _unpacked(name: str, content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if re.match(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)", content):
        return bz2.decompress(content)
    if content.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            unpacked: bytes = stream.read()
        return unpacked
    if content.startswith(b"PK\x03\x04") and not is_workbook(content):
        return _only_member(name, content)
    return content


def is_workbook(content: bytes) -> bool:
    """Tell whether bytes are a workbook of Excel or LibreOffice."""
    if content.startswith(OLD_WORKBOOK):
        return True
    if not content.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.namelist()
    return any(
        all(any(member.startswith(part) for member in members) for part in parts)
        for parts in WORKBOOK_MEMBERS
    )


def _only_member(name: str, content: bytes) -> bytes:
    """Return the one file inside a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [
            member
            for member in archive.namelist()
            if not member.endswith("/") and not member.startswith("__MACOSX/")
        ]
        if "[Content_Types].xml" in members:
            raise DataError(
                f"'{name}' is an Office document, but no workbook",
                hint="Save its table as a workbook or as CSV.",
            )
        if len(members) != 1:
            shown = ", ".join(members[:5]) + (", …" if len(members) > 5 else "")
            raise DataError(
                f"'{name}' holds {len(members)} files, expected one"
                + (f": {shown}" * (shown != "")),
                hint="Unpack it and name the file that you mean.",
            )
        return archive.read(members[0])
