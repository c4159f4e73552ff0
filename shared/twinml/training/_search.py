"""The search: FLAML proposes configurations, cross-validation judges them, under one budget.

Each learner has a searcher of its own (FLAML's CFO, a local search that starts from a
good configuration). Configurations of different learners run at the same time, one core
each; one learner has at most one running, so that its sequence of proposals depends on
nothing but its own results. That is what makes a run with a number of trials reproducible
whatever the timing.

The clock is kept by never starting what would not finish: the cost of a configuration is
predicted from what the learner took so far (at first from a fit on a small sample), and the
time that refitting will need is set aside from the start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.errors import TrainingError
from twinml.training._crossvalidation import FoldData, Judging, fit, here, reason
from twinml.training._flaml_without_spark import CFO, tune
from twinml.training.learners import Learner, Shape
from twinml.training.metrics import log_loss
from twinml.training.result import Trial

__all__ = ["Clock", "Found", "Progress", "Search"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

_PROBE_ROWS = (1_000, 4_000)
# No more learners are probed when this share of the budget is gone.
_PROBE_SHARE = 0.2
# A configuration whose first folds are this much worse than the best's is not finished.
_HOPELESS = 1.01
# Predictions of a cost are rough: a configuration is begun when this times it fits.
_CAUTION = 1.3
# How often a searcher is asked before another learner gets the turn.
_PROPOSALS = 5


@dataclass(frozen=True)
class Progress:
    """A moment of a training run, for those who watch."""

    phase: str
    trials: int
    best_name: str | None
    best_loss: float | None
    elapsed: float
    left: float | None
    total_trials: int | None = None


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


@dataclass
class Found:
    """The state of one learner in the search."""

    learner: Learner
    searcher: Any
    best: Mapping[str, Any] | None = None
    loss: float = float("inf")
    out_of_fold: Matrix | None = None
    fold_losses: list[float] = field(default_factory=list)
    fold_seconds: float = 0.0
    spent: float = 0.0
    trials: int = 0
    proposals: int = 0
    second_per_work: float | None = None
    note: str = ""
    closed: bool = False

    def predicted(self, config: Mapping[str, Any]) -> float:
        """Return the seconds that one fold of ``config`` should take."""
        return (self.second_per_work or 0.0) * self.learner.work(config)

    def learned_cost(self, config: Mapping[str, Any], fold_seconds: float) -> None:
        """Note what a fold of ``config`` took."""
        cost = fold_seconds / self.learner.work(config)
        known = self.second_per_work
        # The dearer of the last and a fading memory: cheap surprises are harmless.
        self.second_per_work = cost if known is None else max(cost, 0.5 * (cost + known))


class Search:
    """A search over several learners on the same encoded rows and folds.

    Parameters
    ----------
    X, y, weights
        Encoded training rows (n, p), labels 0 … k-1 (n,), row weights (n,).
    folds
        Pairs of positions (train, test) that together test every row once.
    trials
        Number of configurations to try; ``None`` to search until ``reserve`` says stop.
    judging
        Makes what fits a configuration fold by fold: in this process, or elsewhere.
    reserve
        From the state of the search to the seconds that must be left after it.
    """

    def __init__(
        self,
        X: Matrix,
        y: Rows,
        weights: NDArray[np.float64],
        folds: Sequence[tuple[Rows, Rows]],
        learners: Sequence[Learner],
        shape: Shape,
        clock: Clock,
        *,
        judging: Judging = here,
        jobs: int,
        trials: int | None,
        reserve: Callable[[Sequence[Found]], float],
        progress: Callable[[Progress], None],
    ) -> None:
        self._X, self._y, self._weights = X, y, weights
        self.folds, self._shape, self._clock = folds, shape, clock
        self._jobs, self._trials, self._reserve = jobs, trials, reserve
        self._progress = progress
        self._judge = judging(FoldData(X, y, weights, folds, shape))
        self._stop = threading.Event()
        self._quota = dict.fromkeys((learner.name for learner in learners), 0)
        if trials is not None:
            for index, learner in enumerate(learners):
                self._quota[learner.name] = trials // len(learners) + (
                    index < trials % len(learners)
                )
        self.found = [
            Found(
                learner,
                CFO(
                    metric="loss",
                    mode="min",
                    space=learner.space(tune),
                    points_to_evaluate=[dict(learner.start)],
                    seed=shape.seed + 20,
                ),
            )
            for learner in learners
        ]
        self.log: list[Trial] = []
        self.interrupted = False

    def run(self) -> list[Found]:
        """Search, and return the learners that have a result, best first.

        Ctrl-C ends the search and keeps what was found; a second one ends the program.

        Raises
        ------
        TrainingError
            No configuration of any learner could be evaluated.
        """
        with ThreadPoolExecutor(self._jobs, initializer=_one_thread) as pool:
            try:
                self._loop(pool)
            finally:
                self._stop.set()
        ready = sorted(
            (one for one in self.found if one.best is not None), key=lambda one: one.loss
        )
        if not ready:
            if self.interrupted:
                raise TrainingError("interrupted before any candidate was evaluated")
            notes = "; ".join(f"{one.learner.name}: {one.note}" for one in self.found)
            raise TrainingError(
                f"no candidate could be evaluated ({notes})", hint="Raise the budget."
            )
        return ready

    def probe(self) -> None:
        """Learn what each learner costs per fold from fits on two small samples.

        Two sizes, because much of the cost of boosting on few rows does not grow with them.
        """
        with ThreadPoolExecutor(self._jobs, initializer=_one_thread) as pool:
            slowness = [ratio for ratio in pool.map(self._probe, self.found) if ratio is not None]
        # What others on this machine take, from all probes together: one of them may have
        # been unlucky, and must not make its learner look too dear.
        factor = max(1.0, float(np.median(slowness))) if slowness else 1.0
        for one in self.found:
            if one.second_per_work is not None:
                one.second_per_work *= factor

    def _probe(self, one: Found) -> float | None:
        """Note the cost of ``one`` in its thread's own time; return wall time over that."""
        known = any(other.second_per_work is not None for other in self.found)
        if known and self._clock.elapsed > _PROBE_SHARE * (self._clock.budget or np.inf):
            one.note, one.closed = "skipped: the budget is too short to try it", True
            return None
        rng = np.random.default_rng(self._shape.seed)
        fold_rows = len(self.folds[0][0])
        config = one.learner.start
        seconds = []
        wall = time.monotonic()
        sizes = [min(size, fold_rows) for size in _PROBE_ROWS]
        for size in sizes:
            sample = _sample(rng, self._y, size)
            started = time.thread_time()
            try:
                estimator = self._fit(one.learner, config, sample)
                estimator.predict_proba(self._X[sample])
            except Exception as error:
                one.note, one.closed = reason(error), True
                return None
            seconds.append(time.thread_time() - started)
        slope = max(0.0, seconds[1] - seconds[0]) / max(1, sizes[1] - sizes[0])
        one.learned_cost(config, seconds[1] + slope * (fold_rows - sizes[1]))
        return (time.monotonic() - wall) / max(sum(seconds), 1e-6)

    def learn_costs(self, other: Search) -> None:
        """Take over what ``other`` learned on more rows, scaled to the rows of this search."""
        share = len(self._y) / len(other._y)
        for mine, theirs in zip(self.found, other.found, strict=True):
            mine.note, mine.closed = theirs.note, theirs.closed
            if theirs.second_per_work is not None:
                mine.second_per_work = theirs.second_per_work * share

    def cheapest(self) -> float:
        """Return the predicted seconds of a fold of the cheapest learner (after ``probe``)."""
        open_ones = [one for one in self.found if not one.closed]
        return min((one.predicted(one.learner.start) for one in open_ones), default=0.0)

    def _fit(self, learner: Learner, config: Mapping[str, Any], rows: Rows) -> Any:
        return fit(learner, config, self._X[rows], self._y[rows], self._weights[rows], self._shape)

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[_Outcome], Found] = {}
        try:
            while True:
                while len(running) < self._jobs:
                    proposal = self._next(list(running.values()))
                    if proposal is None:
                        break
                    one, trial_id, config = proposal
                    running[pool.submit(self._evaluate, one, trial_id, config)] = one
                if not running:
                    return
                done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
                for future in done:
                    self._record(running.pop(future), future.result())
                self._show()
        except KeyboardInterrupt:
            self.interrupted = True
            self._stop.set()
            wait(running)
            for future, one in running.items():
                self._record(one, future.result())

    def _next(self, running: Sequence[Found]) -> tuple[Found, str, Mapping[str, Any]] | None:
        """Choose the learner that goes next, and ask its searcher for a configuration."""
        left = self._clock.left - self._reserve(self.found)
        idle = [one for one in self.found if one not in running and not one.closed]
        if self._trials is not None:
            idle = [one for one in idle if one.trials < self._quota[one.learner.name]]
            idle.sort(key=lambda one: one.trials)
        else:
            idle.sort(key=self._turn)
        # Whatever the budget, there must be a model: the cheapest learner is tried anyway.
        nothing_yet = not running and all(one.best is None for one in self.found)
        for one in idle:
            if self._trials is None and not nothing_yet and not self._affordable(one, left):
                continue
            for _ in range(_PROPOSALS):
                trial_id = f"{one.learner.name}-{one.proposals}"
                one.proposals += 1
                suggested = one.searcher.suggest(trial_id)
                if suggested is None:
                    continue
                config = _plain(suggested)
                cost = one.predicted(config) * len(self.folds) * _CAUTION
                if self._trials is None and one.best is not None and cost > left:
                    # Too dear for what is left; the searcher learns to look elsewhere.
                    one.searcher.on_trial_complete(trial_id, error=True)
                    continue
                one.trials += 1
                return one, trial_id, config
        return None

    def _affordable(self, one: Found, left: float) -> bool:
        """Tell whether another configuration of ``one`` fits into ``left`` seconds."""
        folds = len(self.folds)
        if one.best is not None:
            return one.predicted(one.best) * folds <= left
        # A new learner costs its refits as well.
        needed = one.predicted(one.learner.start) * (folds + 2) * _CAUTION
        if needed > left:
            one.note = f"skipped: needs about {needed:.0f} s, {max(left, 0.0):.0f} s were left"
            one.closed = True
            return False
        return True

    def _turn(self, one: Found) -> float:
        """Return the order of a learner: the untried cheapest first, then by time spent.

        A learner near the best gets more time than one far behind, which may still add
        what the others lack.
        """
        if one.best is None:
            return -1e9 + one.predicted(one.learner.start)
        best = min(other.loss for other in self.found)
        behind = (one.loss - best) / max(best, 1e-9)
        return one.spent * (1.0 + 50.0 * behind)

    def _evaluate(self, one: Found, trial_id: str, config: Mapping[str, Any]) -> _Outcome:
        """Cross-validate a configuration; runs in a thread of its own."""
        started = time.monotonic()
        n_classes = self._shape.n_classes
        predicted = np.zeros((len(self._y), n_classes))
        losses: list[float] = []
        try:
            judged = self._judge(one.learner, config)
            for _, test in self.folds:
                if self._stop.is_set():
                    return _Outcome(trial_id, config, losses, started, note="interrupted")
                predicted[test], fold_seconds = next(judged)
                losses.append(log_loss(self._y[test], predicted[test], self._weights[test]))
                one.learned_cost(config, fold_seconds)
                if self._hopeless(one, losses):
                    return _Outcome(trial_id, config, losses, started, note="stopped early")
                if (
                    self._trials is None
                    and any(other.best is not None for other in self.found)
                    and len(losses) < len(self.folds)
                    and self._clock.left < self._reserve(self.found)
                ):
                    return _Outcome(trial_id, config, losses, started, note="out of time")
        except Exception as error:
            # A configuration that a learner cannot fit is a result of the search.
            return _Outcome(trial_id, config, losses, started, note=reason(error), failed=True)
        return _Outcome(trial_id, config, losses, started, predicted=predicted)

    @staticmethod
    def _hopeless(one: Found, losses: Sequence[float]) -> bool:
        done = len(losses)
        if not one.fold_losses or done >= len(one.fold_losses):
            return False
        return sum(losses) > _HOPELESS * sum(one.fold_losses[:done])

    def _record(self, one: Found, outcome: _Outcome) -> None:
        seconds = time.monotonic() - outcome.started
        one.spent += seconds
        loss = float(np.mean(outcome.losses)) if outcome.losses else None
        complete = outcome.predicted is not None
        if loss is None or outcome.failed:
            one.searcher.on_trial_complete(outcome.trial_id, error=True)
        else:
            one.searcher.on_trial_complete(
                outcome.trial_id, {"loss": loss, "config": dict(outcome.config)}
            )
        if outcome.failed and one.best is None:
            one.note, one.closed = outcome.note, True
        if complete and loss is not None and loss < one.loss:
            one.best, one.loss = dict(outcome.config), loss
            one.out_of_fold, one.fold_losses = outcome.predicted, list(outcome.losses)
            one.fold_seconds = seconds / len(outcome.losses)
        self.log.append(
            Trial(
                number=len(self.log) + 1,
                learner=one.learner.name,
                config=dict(outcome.config),
                loss=loss if complete else None,
                seconds=seconds,
                folds=len(outcome.losses),
                note=outcome.note,
            )
        )

    def _show(self) -> None:
        ready = [one for one in self.found if one.best is not None]
        best = min(ready, key=lambda one: one.loss, default=None)
        left = self._clock.left
        self._progress(
            Progress(
                phase="search",
                trials=len(self.log),
                best_name=best.learner.name if best else None,
                best_loss=best.loss if best else None,
                elapsed=self._clock.elapsed,
                left=None if left == float("inf") else left,
                total_trials=self._trials,
            )
        )


@dataclass(frozen=True)
class _Outcome:
    trial_id: str
    config: Mapping[str, Any]
    losses: list[float]
    started: float
    predicted: Matrix | None = None
    note: str = ""
    failed: bool = False


def _sample(rng: np.random.Generator, y: Rows, size: int) -> Rows:
    """Return positions of about ``size`` random rows with every class among them."""
    if size >= len(y):
        return np.arange(len(y))
    first_of_each = np.unique(y, return_index=True)[1]
    return np.unique(np.r_[rng.choice(len(y), size, replace=False), first_of_each])


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in Python's own types, as learners and JSON want them."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in config.items()
    }


def _one_thread() -> None:
    # OpenMP's limit belongs to the thread that sets it, so every worker does.
    threadpool_limits(1)
