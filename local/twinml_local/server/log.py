"""One line a request, in the form of Azure ML's inference server, written off the hot path.

::

    2026-11-23 10:00:00,123 I [4711] azmlinfsrv - POST /score 200 17.9ms 6

That is: UTC, level, process, method, path, status, time taken, bytes answered. Requests that
a deployment answered go to ``DEPLOYMENT.log``, all others to ``server.log``. Never a query
string, a header, a payload or a key: a log may be sent to others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from urllib.parse import quote

from twinml_local.processes import locked

__all__ = ["RequestLog", "trace"]

SERVER_LOG = "server"
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 3
LONGEST_PATH = 200


def _utc(seconds: float | None) -> time.struct_time:
    return time.gmtime(seconds)


class _Formatter(logging.Formatter):
    converter = staticmethod(_utc)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s [%(process)d] azmlinfsrv - %(message)s")


class _SharedFile(RotatingFileHandler):
    """A rotating file that several workers append to."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=True
        )
        self.setFormatter(_Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, following the file when another worker has rotated it."""
        if self.stream is not None and self._moved(self.stream.fileno()):
            self.stream.close()
            self.stream = self._open()
        super().emit(record)

    def doRollover(self) -> None:  # noqa: N802 - named by logging
        """Rotate the files unless another worker has just done so."""
        path = Path(self.baseFilename)
        with locked(path.with_name(f".{path.name}.lock")):
            if self.stream is None or not self._moved(self.stream.fileno()):
                super().doRollover()
                return
        self.stream.close()
        self.stream = self._open()

    def _moved(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.baseFilename)
        except FileNotFoundError:
            return True
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


class RequestLog:
    """Writes request lines from a thread of its own; use it as a context manager.

    Parameters
    ----------
    directory
        Where the log files go; it is made if absent.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._files: dict[str, _SharedFile] = {}
        self._queue: SimpleQueue[tuple[str, logging.LogRecord] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._thread.start()

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def request(
        self,
        deployment: str | None,
        method: str,
        path: str,
        status: int,
        milliseconds: float,
        n_bytes: int | None,
    ) -> None:
        """Note one answered request."""
        self._put(
            deployment,
            logging.ERROR if status >= 500 else logging.INFO,
            "%s %s %d %.1fms %s",
            quote(method[:20], safe=""),
            quote(path, safe="/")[:LONGEST_PATH],
            status,
            milliseconds,
            "N/A" if n_bytes is None else n_bytes,
        )

    def failure(self, deployment: str | None, request_id: str, error: BaseException) -> None:
        """Note where ``error`` came from, without its message, which may quote the payload."""
        self._put(
            deployment,
            logging.ERROR,
            "request %s failed\n%s",
            quote(request_id, safe=""),
            "".join(trace(error)).rstrip(),
        )

    def note(self, message: str) -> None:
        """Note something about the server itself."""
        self._put(None, logging.INFO, "%s", message)

    def close(self) -> None:
        """Write what is still waiting and close the files."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join(timeout=5)

    def _put(self, deployment: str | None, level: int, form: str, *values: object) -> None:
        # Formatting waits for the thread: here only values are kept.
        record = logging.LogRecord("azmlinfsrv", level, "", 0, form, values, None)
        self._queue.put((deployment or SERVER_LOG, record))

    def _write(self) -> None:
        for name, record in iter(self._queue.get, None):
            if name not in self._files:
                self._files[name] = _SharedFile(self._directory / f"{name}.log")
            self._files[name].handle(record)
        for file in self._files.values():
            file.close()


def trace(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback with the types of the errors but not their messages.

    Examples
    --------
    >>> try:
    ...     float("4111-1111")
    ... except ValueError as error:
    ...     text = "".join(trace(error))
    >>> "ValueError" in text, "4111" in text.splitlines()[-1]
    (True, False)
    """
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if origin is not None:
        yield from trace(origin)
        yield "which led to\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}\n"
