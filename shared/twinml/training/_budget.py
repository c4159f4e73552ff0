"""How the budget is shared out: pure rules on seconds that were measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = [
    "FLOOR_SHARE",
    "OVERTIME_SHARE",
    "Clock",
    "Progress",
    "another_wave",
    "enough_rounds",
    "hopeless",
    "rows_for",
    "seconds_for_start",
    "too_slow",
    "trees_for",
    "worth_searching_on",
    "worth_starting",
]

# A fold of the floor that takes a larger share of the budget leaves no time to refit twice, which
# takes twice as long: then rows are sampled.
FLOOR_SHARE = 0.25
# After so many rounds it is known how long all take: the first ones hold what is done once.
_ROUNDS_KNOWN = 25
# Further folds of the floor are fitted while all of them take no more of the budget.
_FOLDS_SHARE = 0.15
# Of the budget: where more is left once the winner is known, the search goes on.
_MORE_SHARE = 0.04
# Of the budget, by which refitting an ensemble may end after it.
OVERTIME_SHARE = 0.1
# A fold of the floor on a sample is to take this share.
_SAMPLE_SHARE = 0.05
# Of the time left, for the tuned configuration of the learner that the floor is of.
_TUNED_SHARE = 0.5
# Boosting that gets less than this share of what it wants is stopped too early to be of use.
_LEAST_SHARE = 0.6
# So many trees a forest has at least; of what they may take this share is reckoned with.
_FEWEST_TREES = 30
_TREES_SHARE = 0.8
_HOPELESS = 1.01
_LEAST_OF_A_CLASS = 5


@dataclass(frozen=True)
class Progress:
    """A moment of a training run, for those who watch.

    ``candidates`` are the learners that have been judged: name, best loss, trials and seconds.
    """

    phase: str
    trials: int
    best_name: str | None
    best_loss: float | None
    elapsed: float
    left: float | None
    total_trials: int | None = None
    candidates: tuple[tuple[str, float, int, float], ...] = ()


class Clock:
    """Seconds since the start, and until the end of the budget (never, without one)."""

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds until the budget ends; infinite without one."""
        return float("inf") if self.budget is None else self.budget - self.elapsed


def another_wave(spent: float, wave: float, budget: float | None, rarest: int) -> bool:
    """Tell whether more folds of the floor are fitted.

    Parameters
    ----------
    spent, wave
        Seconds of all folds so far, and of those that ran together last.
    rarest
        Rows of the rarest class that were judged so far: a few say nothing.
    """
    if budget is None or rarest < _LEAST_OF_A_CLASS:
        return True
    return spent + wave <= _FOLDS_SHARE * budget


def enough_rounds(usual: int, at_once: int, left: Callable[[float], float]) -> Callable[[], bool]:
    """Return what is asked after each round of a fold of the floor whether it ends.

    It ends after the usual rounds where there is time for other configurations too. Where the
    rows are so many that there is none, it goes on as long as refitting it is possible.

    Parameters
    ----------
    at_once
        Folds that run at the same time.
    left
        From the seconds that a fold takes to those that are left beside refitting it.
    """
    began, done, alone = time.monotonic(), 0, False

    def enough() -> bool:
        nonlocal done, alone
        done += 1
        if done < usual:
            return False
        seconds = time.monotonic() - began
        spare = left(seconds)
        if done == usual:
            alone = not worth_starting(seconds * at_once, spare, stoppable=True)
        return not alone or spare <= 0

    return enough


def hopeless(losses: Sequence[float], best: Sequence[float]) -> bool:
    """Tell whether a configuration is so much worse on its first folds that it is given up."""
    done = len(losses)
    return done < len(best) and sum(losses) > _HOPELESS * sum(best[:done])


def rows_for(rows: int, fold_seconds: float, budget: float) -> int:
    """Return how many rows to search on where a fold of the floor on ``rows`` takes too long."""
    return min(rows, int(rows * _SAMPLE_SHARE * budget / fold_seconds))


def seconds_for_start(left: float, jobs: int, untried: int, tuned: bool) -> float:
    """Return what the first configuration of a learner may take, of the ``left`` seconds.

    Parameters
    ----------
    untried
        Learners without a configuration, this one included.
    tuned
        Whether the floor is of this learner: what it gains is most likely to be kept.
    """
    evenly = left * jobs / (untried + 1)
    return min(left, max(evenly, _TUNED_SHARE * left) if tuned else evenly)


def too_slow(spent: float, done: int, usual: int, allowed: float) -> bool:
    """Tell whether a fold of the floor will take more than it may, by the rounds that are done.

    Parameters
    ----------
    spent
        Seconds of the ``done`` of its ``usual`` rounds.
    allowed
        Seconds of all of them.
    """
    return _ROUNDS_KNOWN <= done < usual and spent * usual / done > allowed


def trees_for(trees: int, seconds: float, left: float) -> int:
    """Return how many of a forest's trees to grow; 0 where so few fit that it is not worth it.

    Parameters
    ----------
    seconds
        What all of them should take, refitting included.
    left
        Seconds that nothing else needs.
    """
    fitting = trees if seconds <= left else int(trees * _TREES_SHARE * left / seconds)
    return fitting if fitting >= min(_FEWEST_TREES, trees) else 0


def worth_starting(predicted: float, left: float, stoppable: bool) -> bool:
    """Tell whether another configuration of a learner is begun.

    Parameters
    ----------
    predicted
        Seconds that its best took, all folds.
    stoppable
        Whether it is of use if it is stopped a little early, as boosting is.
    """
    return predicted * (_LEAST_SHARE if stoppable else 1.0) <= left


def worth_searching_on(left: float, budget: float | None) -> bool:
    """Tell whether the search goes on with the ``left`` seconds that nobody needs any more."""
    return budget is not None and left > _MORE_SHARE * budget
