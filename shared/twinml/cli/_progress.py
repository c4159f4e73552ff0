"""The live line of a training run: trials, best so far, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twinml.cli._common import console

if TYPE_CHECKING:
    from twinml.training import Progress

__all__ = ["counting", "live", "wording"]

_SECONDS_BETWEEN_LINES = 10.0


def wording(moment: Progress) -> str:
    """Return one line about a moment of a training run."""
    parts = [moment.phase]
    of = f" of {moment.total_trials}" if moment.total_trials is not None else ""
    parts.append(f"{moment.trials}{of} trials")
    if moment.best_name is not None:
        parts.append(f"best {moment.best_name} (log loss {moment.best_loss:.4f})")
    if moment.left is not None:
        parts.append(f"{max(moment.left, 0.0):.0f} s left")
    else:
        parts.append(f"{moment.elapsed:.0f} s")
    return " · ".join(parts)


@contextmanager
def live() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback for ``twinml.training.train``.

    On a terminal one line changes in place; elsewhere a line is printed now and then.
    """
    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda moment: status.update(wording(moment))
        return
    printed = time.monotonic()
    phase = "search"

    def print_now_and_then(moment: Progress) -> None:
        nonlocal printed, phase
        due = time.monotonic() - printed >= _SECONDS_BETWEEN_LINES
        if due or (moment.phase != phase and moment.phase != "done"):
            console.print(f"        {wording(moment)}", soft_wrap=True)
            printed, phase = time.monotonic(), moment.phase

    yield print_now_and_then


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, float], None]]:
    """Yield a callback for how many were done and which share that is, 0 to 1.

    On a terminal one line changes in place; elsewhere a line is printed now and then.
    """
    started = printed = time.monotonic()

    def said(done: int, share: float) -> str:
        seconds = time.monotonic() - started
        left = f", {seconds * (1 - share) / share:.0f} s left" if share > 0.02 else ""
        return f"{done:,} {what}, {share:.0%}{left}"

    if console.is_terminal:
        with console.status("starting") as status:
            yield lambda done, share: status.update(said(done, share))
        return

    def print_now_and_then(done: int, share: float) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            console.print(f"        {said(done, share)}", soft_wrap=True)
            printed = time.monotonic()

    yield print_now_and_then
