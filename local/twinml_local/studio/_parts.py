"""Parts of pages that cost seconds: made one at a time, in a process of their own, and kept.

::

    HOME/studio/parts/KEY.html

A part's key is a digest of all that it depends on, the code among it, so that a part which is found
is never stale. A page is answered at once: with the part, or with a sentence in its place, and is
loaded again when the part is there.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread

from flask import Blueprint, Response
from markupsafe import Markup

from azureml_runner.files import write_atomic
from twinml.errors import NotFound
from twinml.settings import home, private_folder
from twinml_local.studio._live import follow

__all__ = ["REFUSED", "WAITING", "Part", "Parts", "key_of", "live"]

log = logging.getLogger("twinml.studio")

KEY = re.compile(r"[0-9a-f]{64}")
# What the process that makes a part ends with when an error of ours is why it made none.
REFUSED = 3
MOST_KEPT = 200
MOST_WAITING = 50
# A part that could not be made is tried again, when it is asked for after so long.
PROBLEM_SECONDS = 10.0
LOOK_SECONDS = 0.2
WAITING = "This is being computed from the rows, and appears here by itself."


@dataclass(frozen=True)
class Part:
    """A part of a page: its HTML, or why there is none; neither while it is made."""

    key: str
    html: Markup | None = None
    problem: str = ""

    @property
    def waits(self) -> bool:
        """Whether it is being made."""
        return self.html is None and not self.problem

    @property
    def waiting(self) -> str:
        """What a page says in its place meanwhile."""
        return WAITING


def key_of(code: str, words: Sequence[str], state: str) -> str:
    """Return the digest of what a part depends on.

    Examples
    --------
    >>> key_of("a", ["x", "yz"], "s") == key_of("a", ["xy", "z"], "s")
    False
    """
    return sha256("\0".join([code, *words, "", state]).encode()).hexdigest()


class Parts:
    """The parts that are kept, and those that are being made.

    Parameters
    ----------
    code
        The mark of the code that makes them.
    """

    def __init__(self, code: str) -> None:
        self._code, self._home, self._lock = code, home(), Lock()
        self._waiting: dict[str, Sequence[str]] = {}
        self._problems: dict[str, tuple[float, str]] = {}
        self._works = False

    def get(self, words: Sequence[str], state: str) -> Part:
        """Return a part, and have it made where it is not there yet.

        Parameters
        ----------
        words
            What ``twinml_local.studio.part`` is told to make.
        state
            All else that the part depends on.
        """
        key = key_of(self._code, words, state)
        found = self.look(key)
        if found is not None:
            return found
        with self._lock:
            self._waiting[key] = list(words)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            if not self._works:
                self._works = True
                Thread(target=self._work, name="parts", daemon=True).start()
        return Part(key)

    def look(self, key: str) -> Part | None:
        """Return the part of a key; ``None`` if it is neither there nor being made."""
        if not KEY.fullmatch(key):
            return None
        with self._lock:
            if key in self._waiting:
                return Part(key)
            at, problem = self._problems.get(key, (0.0, ""))
        try:
            text = (self._folder / f"{key}.html").read_text(encoding="utf-8")
            return Part(key, Markup(text))  # noqa: S704 - a template escaped what it holds
        except OSError:
            recent = problem and time.monotonic() - at < PROBLEM_SECONDS
            return Part(key, problem=problem) if recent else None

    def _work(self) -> None:
        """Make what waits, what was asked for last first, until nothing waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                key, words = next(reversed(self._waiting.items()))
            problem = self._make(key, words)
            with self._lock:
                self._waiting.pop(key, None)
                self._problems.pop(key, None)
                if problem:
                    self._problems[key] = time.monotonic(), problem
                while len(self._problems) > MOST_WAITING:
                    self._problems.pop(next(iter(self._problems)))

    def _make(self, key: str, words: Sequence[str]) -> str:
        """Make a part and keep it; return why it cannot be made, or nothing."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "twinml_local.studio.part", *words],
                capture_output=True, text=True, encoding="utf-8", check=False,
                env={**os.environ, "TWINML_HOME": str(self._home), "PYTHONUTF8": "1"},
            )  # fmt: skip
            if done.returncode == REFUSED:
                return done.stderr.strip().splitlines()[-1]
            if done.returncode == 0:
                private_folder(self._folder)
                write_atomic(self._folder / f"{key}.html", done.stdout)
                _remove_oldest(self._folder)
                return ""
            log.error("%s was not made: %s", " ".join(words), done.stderr.strip())
        except OSError as error:
            log.error("%s was not made: %s", " ".join(words), error)
        return "this could not be computed: the log of the site says why"

    @property
    def _folder(self) -> Path:
        return self._home / "studio" / "parts"


def _remove_oldest(folder: Path) -> None:
    found = sorted(folder.glob("*.html"), key=os.path.getmtime)
    for file in found[:-MOST_KEPT]:
        file.unlink(missing_ok=True)


def live(parts: Parts) -> Blueprint:
    """Return what tells a page that the part it waits for is there."""
    made = Blueprint("parts", __name__)

    @made.get("/parts/<key>/live")
    def wait(key: str) -> Response:
        def nothing_yet() -> str | None:
            found = parts.look(key)
            if found is None:
                raise NotFound("this is not being made")
            return WAITING if found.waits else None

        return follow(nothing_yet, every=LOOK_SECONDS)

    return made
