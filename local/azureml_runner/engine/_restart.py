"""Whether a step starts another attempt, completes or fails: a rule of its past attempts.

A step may bring down the service that runs it, and must not be begun for ever. But a service
also dies for reasons of its own, many times in a row, and then no step is to blame::

    how an attempt ended                                            what it says of the step
    COMPLETED   with exit code 0                                    it is done
    FAILED      with another exit code, by itself                   counts for its retries
    STOPPED     it was ended to be made again later                 nothing
    NOT_BEGUN   the service died before the command began           nothing
    LOST        the service died while the command ran, or a        perhaps to blame
                signal ended the command while no service ran

The first two lost attempts are followed by another one at once. Then pauses follow that double:
a service that dies again in a pause takes no attempt with it, whereas a step that is to blame
uses one up each time. After ``MAX_LOST`` the step fails.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["MAX_LOST", "AttemptEnd", "Fail", "Start", "Take", "after", "attempt_end", "ended_by"]

MAX_LOST = 10
LOST_WITHOUT_PAUSE = 2
LONGEST_PAUSE_SECONDS = 60.0
# What a machine that shuts down, or has no memory left, sends to everything.
FROM_OUTSIDE = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")


class AttemptEnd(enum.Enum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    NOT_BEGUN = "not begun"
    LOST = "lost"


@dataclass(frozen=True)
class Take:
    """The attempt at this index (from 0) completed the step."""

    place: int


@dataclass(frozen=True)
class Fail:
    """The step fails; ``place`` is the attempt that says why, ``None`` after too many lost."""

    place: int | None


@dataclass(frozen=True)
class Start:
    """Another attempt follows, after a pause in seconds."""

    pause: float = 0.0


def ended_by(exit_code: int) -> str | None:
    """Return the name of the signal that an exit code stands for, as shells count.

    Examples
    --------
    >>> ended_by(137), ended_by(-9), ended_by(1), ended_by(128)
    ('SIGKILL', 'SIGKILL', None, None)
    """
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number > signal.SIGSYS:  # signals for real time, which no shell reports
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def attempt_end(*, began: bool, stopped: bool, exit_code: int | None) -> AttemptEnd:
    """Return how an attempt ended that nobody watched to its end.

    Parameters
    ----------
    began
        Whether its command was begun.
    stopped
        Whether it was ended on purpose, to be made again.
    exit_code
        ``None`` where there is none.
    """
    if stopped:
        return AttemptEnd.STOPPED
    if exit_code == 0:
        return AttemptEnd.COMPLETED
    if exit_code is not None and ended_by(exit_code) not in FROM_OUTSIDE:
        return AttemptEnd.FAILED
    return AttemptEnd.LOST if began else AttemptEnd.NOT_BEGUN


def after(ends: Sequence[AttemptEnd], *, max_retries: int) -> Take | Fail | Start:
    """Return what follows these attempts, oldest first.

    Parameters
    ----------
    max_retries
        Failed attempts that are each followed by another one.
    """
    if AttemptEnd.COMPLETED in ends:
        return Take(ends.index(AttemptEnd.COMPLETED))
    failed = [place for place, end in enumerate(ends) if end is AttemptEnd.FAILED]
    if len(failed) > max_retries:
        return Fail(failed[-1])
    lost = ends.count(AttemptEnd.LOST)
    if lost >= MAX_LOST:
        return Fail(None)
    if lost <= LOST_WITHOUT_PAUSE:
        return Start()
    return Start(min(2.0 ** (lost - LOST_WITHOUT_PAUSE - 1), LONGEST_PAUSE_SECONDS))
