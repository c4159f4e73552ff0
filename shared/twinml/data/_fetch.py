"""Get a public data file from its publisher, whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from twinml.data._download import received, write_whole
from twinml.data._known import BANK_ADDITIONAL_SHA256, BANK_FULL_SHA256
from twinml.data._source import near
from twinml.errors import DataError

__all__ = ["FETCHABLE", "fetch"]

UCI_BANK = "https://archive.ics.uci.edu/static/public/222/bank+marketing.zip"
LARGEST_DOWNLOAD = 100_000_000


@dataclass(frozen=True)
class Source:
    """Where a file is published; ``sha256`` is that of the file inside the zip."""

    url: str
    sha256: str


FETCHABLE: dict[str, Source] = {
    "bank-additional-full": Source(UCI_BANK, BANK_ADDITIONAL_SHA256),
    "bank-full": Source(UCI_BANK, BANK_FULL_SHA256),
}


def fetch(
    name: str,
    destination: Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download a public data file, check it, and give it its name only then.

    A file of that name with the right checksum is kept and nothing is downloaded.

    Parameters
    ----------
    name
        ``bank-additional-full`` or ``bank-full``.
    destination
        A folder; it is made if need be.
    url, sha256
        Another place that has the same kind of zip, and the checksum of the file inside.
    timeout
        Seconds without an answer until it is given up.

    Returns
    -------
    The path of ``NAME.csv`` in ``destination``.

    Raises
    ------
    DataError
        There is no file of that name to fetch; the publisher cannot be reached or answers
        with an error; or what came is not the file that it should be.
    """
    if name not in FETCHABLE:
        raise DataError(
            f"there is no file '{name}' to fetch",
            hint=f"{near(name, list(FETCHABLE))}Known: {', '.join(FETCHABLE)}.",
        )
    known = FETCHABLE[name]
    url, sha256 = url or known.url, sha256 or known.sha256
    file = Path(destination) / f"{name}.csv"
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256:
        return file
    content = _member(received(url, LARGEST_DOWNLOAD, timeout), f"{name}.csv", url)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"'{name}.csv' from {url} has SHA-256 {found}, expected {sha256}",
            hint="The publisher changed the file, or something on the way did; nothing was kept.",
        )
    write_whole(file, content)
    return file


def _member(content: bytes, file: str, url: str) -> bytes:
    """Return a file from a zip, looking into the zips inside it."""
    try:
        found = _search(content, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(
            f"{url} did not send a whole zip file: {error}", hint="Try again; nothing was kept."
        ) from error
    if found is None:
        raise DataError(
            f"the zip from {url} does not hold '{file}'",
            hint="The publisher changed the file; nothing was kept.",
        )
    return found


def _search(content: bytes, file: str, depth: int = 0) -> bytes | None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            base = member.rsplit("/", 1)[-1]
            if base == file:
                return archive.read(member)
            if base.endswith(".zip") and depth < 2:
                found = _search(archive.read(member), file, depth + 1)
                if found is not None:
                    return found
    return None
