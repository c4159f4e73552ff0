"""Searches that are started from the site: ``twinml train`` in a process of its own.

::

    HOME/studio/searches/ID/about.json, train.log, train.pid
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from azureml_runner.files import write_atomic
from azureml_runner.logs import last_lines
from azureml_runner.processes import running, start_detached
from twinml.data.reading import NONE, options_of
from twinml.errors import NotFound, UsageError
from twinml.platform import DataAsset
from twinml.settings import home, private_folder
from twinml_local.assets import READING, dropped_columns

__all__ = ["Launched", "launch", "launched", "one_launched"]

BUDGET = re.compile(r"[1-9][0-9]{0,4}(s|m|h)?")
ID = re.compile(r"[0-9]{1,20}")
MOST = 20
LOG_LINES = 400


@dataclass(frozen=True)
class Launched:
    """A search that was started here; ``running`` says whether its process is alive."""

    id: str
    data: str
    version: str
    budget: str
    started: float
    running: bool = False

    @property
    def log(self) -> list[str]:
        """The last lines that it printed."""
        return last_lines(_folder(self.id) / "train.log", LOG_LINES)


def command_line(asset: DataAsset, budget: str, metric: str) -> list[str]:
    """Return the words of ``twinml train`` for a version of the data, as it was read.

    Raises
    ------
    UsageError
        The budget cannot be read.

    Examples
    --------
    >>> asset = DataAsset("bank", "2", "data.csv", "", "y", 9, 3, "", {"reading": "rare=join"})
    >>> " ".join(command_line(asset, "60s", "auto"))
    'train --data data.csv --target y --name bank --budget 60s --metric auto --rare join'
    """
    if not BUDGET.fullmatch(budget):
        raise UsageError(
            f"the budget is '{budget[:20]}', expected seconds, minutes or hours",
            hint="Write it as in 90s, 10m or 2h.",
        )
    reading = options_of(asset.tags.get(READING, NONE))
    kept = reading.get("keep", ())
    return [
        *("train", "--data", asset.path, "--target", asset.target, "--name", asset.name),
        *("--budget", budget, "--metric", metric),
        *(word for column in dropped_columns(asset) for word in ("--drop", column)),
        *(
            word
            for column in ([kept] if kept == "all" else kept)
            for word in ("--keep-column", column)
        ),
        *(
            word
            for name in ("rare", "sheet", "task")
            if name in reading
            for word in (f"--{name}", str(reading[name]))
        ),
    ]


def launch(asset: DataAsset, *, budget: str, metric: str) -> Launched:
    """Start a search on a version of the data; returns once its process runs.

    Raises
    ------
    UsageError
        The budget cannot be read.
    """
    words = command_line(asset, budget, metric)
    one = Launched(str(time.time_ns()), asset.name, asset.version, budget, time.time())
    folder = _folder(one.id)
    private_folder(folder)
    write_atomic(folder / "about.json", json.dumps(asdict(one)))
    start_detached(
        [sys.executable, "-m", "twinml", *words],
        log=folder / "train.log",
        pid_file=folder / "train.pid",
        env={**os.environ, "TWINML_HOME": str(home())},
    )
    return one


def launched() -> list[Launched]:
    """Return the last searches that were started here, newest first."""
    names = [path.parent.name for path in (home() / "studio/searches").glob("*/about.json")]
    known = sorted(filter(ID.fullmatch, names), key=int, reverse=True)[:MOST]
    found = []
    for name in known:
        with suppress(NotFound):
            found.append(_read(name))
    return found


def one_launched(name: str) -> Launched:
    """Return a search that was started here; ``NotFound`` if there is none of that id."""
    if not ID.fullmatch(name):
        raise NotFound("there is no such search", hint="See the list of jobs.")
    return _read(name)


def _folder(name: str) -> Path:
    return home() / "studio" / "searches" / name


def _read(name: str) -> Launched:
    try:
        shape = json.loads((_folder(name) / "about.json").read_text(encoding="utf-8"))
        one = Launched(**shape)
    except (OSError, ValueError, TypeError):
        raise NotFound("there is no such search", hint="See the list of jobs.") from None
    return replace(one, running=running(_folder(name) / "train.pid") is not None)
