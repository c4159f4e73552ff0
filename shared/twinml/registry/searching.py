"""Searches while they run, for those who watch from another process: a file for each.

::

    HOME/searching/PID-NUMBER.json   what it learns from, where it is, the best so far over time

The process that searches replaces its file at most once a second and removes it at the end. One
that was killed leaves a file behind, which is passed over and removed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from twinml import settings

if TYPE_CHECKING:
    from twinml.data import Dataset
    from twinml.training import Progress

__all__ = ["Search", "announced", "searches"]

FOLDER = "searching"
SECONDS_BETWEEN = 1.0
_numbers = count(1)


@dataclass(frozen=True)
class Search:
    """A search that runs.

    Attributes
    ----------
    id
        Of the process and the search in it.
    data, target
        What it learns from.
    started
        Seconds since 1970.
    phase
        ``floor``, ``search``, ``ensemble``, ``refit``, ``evaluate``.
    trials, total_trials, elapsed, left
        So far; ``left`` in seconds, where there is a budget.
    best
        Name and loss each time that the best so far changed, with seconds and trials until then;
        the last one is the best.
    candidates
        Each learner that has been judged, best first: name, its best loss, trials and seconds.
    """

    id: str
    data: str
    target: str
    started: float
    phase: str
    trials: int
    total_trials: int | None
    elapsed: float
    left: float | None
    best: tuple[tuple[str, float, float, int], ...] = ()
    candidates: tuple[tuple[str, float, int, float], ...] = ()


@contextmanager
def announced(
    dataset: Dataset, progress: Callable[[Progress], None]
) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that passes moments on to ``progress`` and shows them to others."""
    folder = settings.home() / FOLDER
    settings.private_folder(folder)
    name = f"{os.getpid()}-{next(_numbers)}"
    path = folder / f"{name}.json"
    started, written = time.time(), 0.0
    best: list[tuple[str, float, float, int]] = []
    candidates: tuple[tuple[str, float, int, float], ...] = ()
    phase = ""

    def show(moment: Progress) -> None:
        nonlocal written, phase, candidates
        # Only moments of the search itself tell them.
        candidates = tuple(sorted(moment.candidates, key=lambda one: one[1])) or candidates
        loss, leader = moment.best_loss, moment.best_name
        if loss is not None and leader is not None and (not best or loss < best[-1][1]):
            best.append((leader, loss, moment.elapsed, moment.trials))
        now = time.monotonic()
        if moment.phase != phase or now - written >= SECONDS_BETWEEN:
            written, phase = now, moment.phase
            _write(
                path,
                Search(
                    id=name,
                    data=dataset.name,
                    target=dataset.target,
                    started=started,
                    phase=moment.phase,
                    trials=moment.trials,
                    total_trials=moment.total_trials,
                    elapsed=moment.elapsed,
                    left=moment.left,
                    best=tuple(best),
                    candidates=candidates,
                ),
            )
        progress(moment)

    try:
        yield show
    finally:
        path.unlink(missing_ok=True)


def searches() -> tuple[Search, ...]:
    """Return the searches that run on this machine with this state folder, oldest first."""
    found = []
    for path in (settings.home() / FOLDER).glob("*.json"):
        if not _alive(int(path.name.partition("-")[0])):
            path.unlink(missing_ok=True)
            continue
        with suppress(OSError, ValueError, TypeError, KeyError):
            shape = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(map(tuple, shape[name])) for name in ("best", "candidates")}
            found.append(Search(**{**shape, **lists}))
    return tuple(sorted(found, key=lambda one: one.started))


def _write(path: Path, search: Search) -> None:
    scratch = path.with_suffix(".part")
    # A disk that is full ends no search.
    with suppress(OSError):
        scratch.write_text(json.dumps(asdict(search)), encoding="utf-8")
        scratch.replace(path)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # Signal 0 is Ctrl-C there.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
