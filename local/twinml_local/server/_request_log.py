"""One line a request, in the form of Azure ML's inference server, written off the hot path.

::

    2026-11-23 10:00:00,123 I [4711] azmlinfsrv - POST /score 200 17.9ms 6

That is: UTC, level, process, method, path, status, time taken, bytes answered. Requests that
a deployment answered go to ``DEPLOYMENT.log``, all others to ``server.log``. Never a query
string, a header, a payload or a key: a log may be sent to others.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote

from azureml_runner.locks import locked

__all__ = ["RequestLog", "trace"]

SERVER_LOG = "server"
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 3
LONGEST_PATH = 200
MOST_WAITING = 200_000  # entries
WRITE_SECONDS = 0.1
CHUNK, BREATH = 50, 0.0005  # entries between two pauses, and their seconds
REQUEST = "request"


class _SharedFile:
    """A rotating file that several workers append to.

    Parameters
    ----------
    path
        The file; older ones are ``path.1`` to ``path.3``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None

    def append(self, text: bytes) -> None:
        """Append whole lines, following the file when another worker has rotated it."""
        stream = self._current()
        if stream.tell() and stream.tell() + len(text) > MAX_BYTES:
            with locked(self._path.with_name(f".{self._path.name}.lock")):
                # Unless another worker has just done so.
                if self._current() is stream:
                    self._rotate()
            stream = self._current()
        # One call: lines of several workers do not mix.
        stream.write(text)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _current(self) -> BinaryIO:
        if self._stream is not None and self._moved(self._stream.fileno()):
            self.close()
        if self._stream is None:
            self._stream = self._path.open("ab", buffering=0)
        self._stream.seek(0, os.SEEK_END)
        return self._stream

    def _rotate(self) -> None:
        self.close()
        names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, BACKUPS + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)

    def _moved(self, descriptor: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


class RequestLog:
    """Writes request lines from a thread of its own; use it as a context manager.

    The thread writes what has come ten times a second, so that a request costs an entry in a
    queue and no switch between threads. A ``kill -9`` loses the lines of the last tenth.

    Parameters
    ----------
    directory
        Where the log files go; it is made if absent.

    Attributes
    ----------
    on_note
        Called with each note, besides writing it; telemetry keeps them as traces.
    """

    on_note: Callable[[str], object]

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.on_note = len  # does nothing with it
        self._directory = directory
        self._files: dict[str, _SharedFile] = {}
        self._queue: deque[tuple[str | None, float, str, tuple[Any, ...]]] = deque()
        self._left_out = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
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
        self._put(deployment, REQUEST, (method, path, status, milliseconds, n_bytes))

    def failure(self, deployment: str | None, request_id: str, error: BaseException) -> None:
        """Note where ``error`` came from, without its message, which may quote the payload."""
        lines = "".join(trace(error)).rstrip()
        self._put(deployment, "E", (f"request {quote(request_id, safe='')} failed\n{lines}",))

    def note(self, message: str) -> None:
        """Note something about the server itself."""
        self._put(None, "I", (message,))
        self.on_note(message)

    def close(self) -> None:
        """Write what is still waiting and close the files."""
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join(timeout=5)

    def _put(self, deployment: str | None, kind: str, values: tuple[Any, ...]) -> None:
        # Formatting waits for the thread: here only values are kept.
        if len(self._queue) < MOST_WAITING:
            self._queue.append((deployment, time.time(), kind, values))
        else:
            self._left_out += 1

    def _run(self) -> None:
        while not self._closing.wait(WRITE_SECONDS):
            self._write(at_leisure=True)
        self._write(at_leisure=False)
        for file in self._files.values():
            file.close()

    def _write(self, *, at_leisure: bool) -> None:
        lines: dict[str, list[str]] = {}
        for number in range(len(self._queue)):
            deployment, moment, kind, values = self._queue.popleft()
            lines.setdefault(deployment or SERVER_LOG, []).append(_line(moment, kind, values))
            if at_leisure and number % CHUNK == CHUNK - 1:
                time.sleep(BREATH)  # Python runs one thread at a time: make way for requests
        if self._left_out:
            count, self._left_out = self._left_out, 0
            text = f"{count} requests came faster than they could be logged"
            lines.setdefault(SERVER_LOG, []).append(_line(time.time(), "W", (text,)))
        for name, texts in lines.items():
            if name not in self._files:
                self._files[name] = _SharedFile(self._directory / f"{name}.log")
            try:
                for at in range(0, len(texts), CHUNK):  # so that no file outgrows its limit
                    self._files[name].append("".join(texts[at : at + CHUNK]).encode())
            except OSError as error:
                print(f"{name}.log: {error}", file=sys.stderr)  # noqa: T201 - the console log


def _line(moment: float, kind: str, values: tuple[Any, ...]) -> str:
    """Return one entry as it is written."""
    if kind == REQUEST:
        method, path, status, milliseconds, n_bytes = values
        level = "E" if status >= 500 else "I"
        size = "N/A" if n_bytes is None else n_bytes
        text = f"{_shown(method, path)} {status} {milliseconds:.1f}ms {size}"
    else:
        level, (text,) = kind, values
    seconds = int(moment)
    began = f"{_second(seconds)},{int((moment - seconds) * 1000):03d}"
    return f"{began} {level} [{os.getpid()}] azmlinfsrv - {text}\n"


@lru_cache(maxsize=64)
def _shown(method: str, path: str) -> str:
    return f"{quote(method[:20], safe='')} {quote(path, safe='/')[:LONGEST_PATH]}"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


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
