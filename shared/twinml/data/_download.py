"""Get a file by its address, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from twinml.errors import DataError

__all__ = ["download", "received", "write_whole"]

CHUNK = 1 << 16
TIMEOUT = 30.0


def download(url: str, file: Path, largest: int) -> Path:
    """Fetch ``url`` into ``file`` and return its path; ``largest`` is in bytes.

    Raises
    ------
    DataError
        It cannot be fetched or written. The message names the address without user, password
        and query, which may be secret.
    """
    write_whole(file, received(url, largest, TIMEOUT))
    return file


def shown_address(url: str) -> str:
    """Return an address without the parts that may be secret.

    >>> shown_address("https://me:secret@example.org:8443/a.csv?sig=secret")
    'https://example.org:8443/a.csv'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def received(url: str, largest: int, timeout: float) -> bytes:
    """Return what an address sends; see ``download``.

    Parameters
    ----------
    timeout
        Seconds without an answer until it is given up.
    """
    import requests

    body, shown = bytearray(), shown_address(url)
    try:
        with requests.get(url, stream=True, timeout=timeout) as response:
            if response.status_code != 200:
                raise DataError(
                    f"{shown} answered {response.status_code} {response.reason}, expected 200",
                    hint="Try again later, or download it by hand and name it with --data.",
                )
            for chunk in response.iter_content(CHUNK):
                body += chunk
                if len(body) > largest:
                    raise DataError(
                        f"{shown} sends more than {largest:,} bytes",
                        hint="That is not the file that was meant; nothing was kept.",
                    )
    except requests.RequestException as error:
        raise DataError(
            f"{shown} cannot be fetched: {_reason(error)}",
            hint="Check the network, or download it elsewhere and name it with --data.",
        ) from error
    return bytes(body)


def _reason(error: Exception) -> str:
    """Return what went wrong in plain words; the libraries nest four exceptions deep."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate cannot be verified"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(partial, 0o644)
            os.replace(partial, file)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise DataError(
            f"'{file}' cannot be written: {error.strerror}", hint="Name another folder."
        ) from error
