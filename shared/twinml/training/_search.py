"""The search: FLAML proposes configurations, cross-validation judges them, under one budget.

Before all others a library's defaults are cross-validated on all rows: the floor, which no
result may be worse than. What it took, and what every later fit took, is what is known of costs.

Each learner has a searcher of its own (FLAML's CFO, a local search that starts from a
good configuration). Configurations of different learners run at the same time, one core
each; one learner has at most one running, so that its sequence of proposals depends on
nothing but its own results. That is what makes a run with a number of trials reproducible
whatever the timing.

Under a budget, boosting is given seconds and stopped at the round it has reached by then; what
cannot be stopped is first fitted on a few rows. The time that refitting will need is set aside.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.errors import TrainingError
from twinml.training._budget import (
    FLOOR_SHARE,
    OVERTIME_SHARE,
    Clock,
    Progress,
    another_wave,
    enough_rounds,
    hopeless,
    rows_for,
    seconds_for_start,
    too_slow,
    trees_for,
    worth_searching_on,
    worth_starting,
)
from twinml.training._crossvalidation import (
    FoldData,
    FoldFit,
    Judging,
    fit,
    here,
    never,
    reason,
)
from twinml.training._found import Found, Outcome, completed
from twinml.training._proposals import begin, propose, turn
from twinml.training._reckoning import Reckoning
from twinml.training._rounds import MOST_ROUNDS
from twinml.training.learner import Learner, Shape
from twinml.training.result import Trial
from twinml.training.splits import stratified_sample
from twinml.training.tasks import Task, predictions

__all__ = ["Search"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

# What cannot be stopped is first fitted on an eighth of the rows, where that is at least these.
_TASTE_ROWS = 250
_TASTE_MOST = 20_000
# So few rows are never sampled: a search on fewer says little of a model of all.
_FEW_ROWS = 20_000


class Search:
    """A search over several learners on the same encoded rows and folds.

    Parameters
    ----------
    X, y, weights
        Encoded training rows (n, p), their truth (n,), row weights (n,).
    folds
        Pairs of positions (train, test) that together test every row once. The floor may take
        too long to fit all of them: ``folds`` then holds the first ones, for all learners.
    trials
        Number of configurations to try; ``None`` to search as long as there are seconds left.
    judging
        Makes what fits a configuration fold by fold: in this process, or elsewhere.
    """

    def __init__(
        self,
        task: Task,
        X: Matrix,
        y: NDArray[Any],
        weights: NDArray[np.float64],
        folds: Sequence[tuple[Rows, Rows]],
        learners: Sequence[Learner],
        shape: Shape,
        clock: Clock,
        reckoning: Reckoning,
        *,
        judging: Judging = here,
        jobs: int,
        trials: int | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self.data = FoldData(X, y, weights, folds, shape, task)
        self.folds, self._shape, self._clock = folds, shape, clock
        self._task = task
        self._jobs, self._trials = jobs, trials
        self._reckoning = reckoning
        self._progress = progress
        self._classes = len(np.unique(task.classes_of(y)))
        self._judge, self._stoppable = judging(self.data), judging is here
        self._stop = threading.Event()
        self._quota = dict.fromkeys((learner.name for learner in learners), 0)
        if trials is not None:
            for index, learner in enumerate(learners):
                self._quota[learner.name] = trials // len(learners) + (
                    index < trials % len(learners)
                )
        self.found = [Found(learner) for learner in learners]
        self.floor: Matrix | None = None
        self.slowness = 1.0
        self._refitted: Collection[str] | None = None  # names; None: of all that are found
        self._floor_seconds = 0.0
        self.log: list[Trial] = []
        self.interrupted = False

    @property
    def judged(self) -> Rows:
        """Positions of the rows with out-of-fold predictions, ascending."""
        return np.sort(np.concatenate([test for _, test in self.folds]))

    @property
    def seconds_left(self) -> float:
        """Seconds until joining and refitting are to begin; infinite without a budget."""
        return self._beside(self.found)

    def seconds_to_join(self, names: Collection[str]) -> float:
        """Return the seconds until refitting these learners has to begin.

        What turned out to be dearer than expected is no reason to leave out an ensemble, as long
        as all ends a little after the budget.
        """
        late = OVERTIME_SHARE * (self._clock.budget or 0.0)
        return (
            self._clock.left
            + late
            - self._reckoning.refitting(
                [one for one in self.found if one.learner.name in names], self.slowness
            )
        )

    @property
    def blend_round(self) -> float | None:
        """Seconds of a round of a boosted blend; ``None`` if there is to be none."""
        return None if self.interrupted else self._reckoning.blend_round(self.found)

    def goes_on(self, names: Collection[str]) -> bool:
        """Tell whether to ``run`` once more, now that only ``names`` are to be refitted.

        The time to refit all the others was set aside until their results had been joined.
        """
        self._refitted = names
        return not self.interrupted and worth_searching_on(self.seconds_left, self._clock.budget)

    def _left_with(self, one: Found, config: Mapping[str, Any], fold_seconds: float) -> float:
        tried = replace(one, best=config, fold_seconds=fold_seconds)
        return self._beside([tried if other is one else other for other in self.found])

    def _beside(self, found: Sequence[Found]) -> float:
        refitted = [
            one for one in found if self._refitted is None or one.learner.name in self._refitted
        ]
        after = self._reckoning
        joining = after.joining(found, self.slowness)
        return self._clock.left - joining - after.refitting(refitted, self.slowness)

    def measure_floor(self, *, whatever: bool = False) -> int | None:
        """Cross-validate the floor: of the first learner that has one, else of the first.

        The folds run at the same time, as many as there are jobs, and then further ones while
        the budget allows.

        Parameters
        ----------
        whatever
            Take what boosting has reached when its share of the budget is gone.

        Returns
        -------
        How many rows the budget allows to search on, or ``None`` if the floor was measured.
        """
        one = next((one for one in self.found if one.learner.floor), self.found[0])
        config = dict(one.learner.floor or one.learner.start_on(len(self.data.y)))
        rounds = one.learner.rounds
        usual = MOST_ROUNDS if rounds is None else int(config[rounds.name])
        started = time.monotonic()
        budget = self._clock.budget
        few = len(self.data.y) <= _FEW_ROWS
        ends = float("inf") if budget is None or few else started + FLOOR_SHARE * budget
        longer = rounds is not None and not few and self._stoppable
        given = {**config, rounds.name: MOST_ROUNDS} if rounds and longer else config
        cut: list[bool] = []

        def judged_alone(fold: int) -> FoldFit:
            # The folds of a wave run at the same time.
            at_once = min(self._jobs, len(self.folds))
            left = partial(self._left_with, one, config)
            enough = enough_rounds(usual, at_once, left) if longer else never

            began, done = time.monotonic(), 0

            def stop() -> bool:
                nonlocal done
                done += 1
                now = time.monotonic()
                late = not whatever and too_slow(now - began, done, usual, ends - started)
                if now > ends or late:
                    cut.append(True)
                return self._stop.is_set() or bool(cut) or enough()

            return next(self._judge(one.learner, given, [fold], stop))

        fits: list[FoldFit] = []
        with ThreadPoolExecutor(self._jobs, initializer=_one_thread) as pool:
            try:
                while len(fits) < len(self.folds):
                    began = time.monotonic()
                    wave = range(len(fits), min(len(fits) + self._jobs, len(self.folds)))
                    running = [pool.submit(judged_alone, fold) for fold in wave]
                    self._wait(running)
                    fits += [future.result() for future in running]
                    now = time.monotonic()
                    if self.interrupted or cut:
                        break
                    judged = np.concatenate([test for _, test in self.folds[: len(fits)]])
                    classes = self._task.classes_of(self.data.y[judged])
                    counts = np.bincount(classes, minlength=self._classes)
                    if not another_wave(now - started, now - began, budget, int(counts.min())):
                        break
            except Exception as error:
                one.trials += 1
                failed = Outcome("", config, [], started, note=reason(error), failed=True)
                self._record(one, failed)
                return None
        for fitted in fits:
            one.learned_cost(config, fitted)
        self.slowness = float(np.median([fitted.slowness for fitted in fits]))
        if cut and not whatever and budget is not None:
            rate = max(fitted.seconds / len(fitted.losses) for fitted in fits)
            return rows_for(len(self.data.y), rate * usual, budget)
        self.folds = self.folds[: len(fits)]
        one.trials += 1
        self._record(one, completed(self.data, one.learner, "", config, fits, started))
        self.floor = one.out_of_fold
        if any(len(fitted.losses) > usual for fitted in fits):
            self.floor = self.data.out_of_fold(one.learner, fits, usual)[0]
        self._floor_seconds = one.fold_seconds * len(fits)
        self._show()
        return None

    def _wait(self, running: Sequence[Future[FoldFit]]) -> None:
        try:
            while wait(running, timeout=0.25).not_done:
                self._show()
        except KeyboardInterrupt:
            self.interrupted = True
            self._stop.set()
            wait(running)

    def run(self) -> list[Found]:
        """Search, and return the learners that have a result, best first.

        Ctrl-C ends the search and keeps what was found; a second one ends the program.

        Raises
        ------
        TrainingError
            No configuration of any learner could be evaluated.
        """
        if not self.interrupted:
            self._stop.clear()
            with ThreadPoolExecutor(self._jobs, initializer=_one_thread) as pool:
                try:
                    self._loop(pool)
                finally:
                    self._stop.set()
        for one in self.found:
            if one.best is None and not one.note:
                one.note = "skipped: no time was left for it"
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

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[Outcome], Found] = {}
        try:
            while True:
                while len(running) < self._jobs:
                    proposal = self._next(list(running.values()))
                    if proposal is None:
                        break
                    one, trial_id, config, seconds = proposal
                    running[pool.submit(self._evaluate, one, trial_id, config, seconds)] = one
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

    def _next(self, running: Sequence[Found]) -> tuple[Found, str, Mapping[str, Any], float] | None:
        """Choose the learner that goes next, a configuration from its searcher, and seconds."""
        left = self.seconds_left
        idle = [one for one in self.found if one not in running and not one.closed]
        if self._trials is not None:
            idle = [one for one in idle if one.trials < self._quota[one.learner.name]]
            idle.sort(key=lambda one: one.trials)
        else:
            idle.sort(key=lambda one: turn(one, self.found))
        # Whatever the budget, there must be a model.
        nothing_yet = not running and all(one.best is None for one in self.found)
        for one in idle:
            seconds = float("inf")
            if self._trials is None and not nothing_yet:
                seconds = self._seconds(one, left)
                if seconds <= 0:
                    continue
            if one.searcher is None:
                begin(one, seconds, len(self.data.y), len(self.folds), self._shape.seed)
            proposed = propose(one, partial(self._too_dear, one, left))
            if proposed is not None:
                one.trials += 1
                return one, *proposed, seconds
        return None

    def _too_dear(self, one: Found, left: float, config: Mapping[str, Any]) -> bool:
        return (
            self._trials is None
            and one.best is not None
            and one.learner.rounds is None
            and one.predicted(config) * len(self.folds) > left
        )

    def _seconds(self, one: Found, left: float) -> float:
        """Return how long another configuration of ``one`` may run; 0 if it is not worth it."""
        if one.searcher is None:
            untried = sum(other.searcher is None and not other.closed for other in self.found)
            tuned = one.best is not None
            share = seconds_for_start(left, self._jobs, untried, tuned)
            return share if worth_starting(self._floor_seconds, left, stoppable=True) else 0.0
        if one.best is None:
            return 0.0
        predicted = one.predicted(one.best) * len(self.folds)
        stoppable = one.learner.rounds is not None
        return left if worth_starting(predicted, left, stoppable) else 0.0

    def _evaluate(
        self, one: Found, trial_id: str, config: Mapping[str, Any], seconds: float
    ) -> Outcome:
        """Cross-validate a configuration; runs in a thread of its own."""
        started = time.monotonic()
        losses: list[float] = []
        ended = partial(Outcome, trial_id, config, losses, started)
        fits: list[FoldFit] = []
        ends = float("inf")
        note = ""
        rounds = one.learner.rounds
        given = config if rounds is None else {**config, rounds.name: MOST_ROUNDS}
        try:
            if rounds is None and seconds < float("inf") and one.second_per_work is None:
                note, config = self._taste(one, config)
                given, ended = config, partial(Outcome, trial_id, config, losses, started)
            judged = self._judge(
                one.learner,
                given,
                range(len(self.folds)),
                lambda: self._stop.is_set() or time.monotonic() > ends,
            )
            for fold, (_, test) in enumerate(self.folds):
                if note or self._stop.is_set():
                    return ended(note=note or "interrupted", failed=True)
                now = time.monotonic()
                ends = now + (started + seconds - now) / (len(self.folds) - fold)
                fits.append(next(judged))
                one.learned_cost(given, fits[-1])
                if rounds is None:
                    predicted = self.data.predictions(one.learner, fits[-1], fold, 0)
                    losses.append(self.data.loss(test, predicted))
                else:
                    losses.append(min(fits[-1].losses))
                if hopeless(losses, one.fold_losses):
                    return ended(note="stopped early")
                if (
                    rounds is None
                    and self._trials is None
                    and any(other.best is not None for other in self.found)
                    and len(losses) < len(self.folds)
                    and self.seconds_left < 0
                ):
                    return ended(note="out of time")
            if self._stop.is_set():
                return Outcome(trial_id, config, [], started, note="interrupted", failed=True)
            return completed(self.data, one.learner, trial_id, config, fits, started)
        except Exception as error:
            # A configuration that a learner cannot fit is a result of the search.
            return ended(note=reason(error), failed=True)

    def _taste(self, one: Found, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Learn what a learner that cannot be stopped costs.

        Returns
        -------
        Why not to go on, if so, and with what: a forest may get fewer trees.
        """
        data, train = self.data, self.folds[0][0]
        size = min(len(train) // 8, _TASTE_MOST)
        if size < _TASTE_ROWS:
            return "", config
        rng = np.random.default_rng(self._shape.seed)
        rows = stratified_sample(rng, self._task.strata(data.y), train, size)
        started = time.monotonic()
        X, y, weights = data.X[rows], data.y[rows], data.weights[rows]
        predictions(fit(one.learner, config, X, y, weights, self._shape), X)
        seconds = (time.monotonic() - started) * len(train) / len(rows)
        one.learned_cost(config, FoldFit(seconds))
        expected = seconds * len(self.folds)
        # Refits of it are to fit as well.
        left = self._left_with(one, config, seconds)
        if expected <= left:
            return "", config
        if one.learner.trees is not None:
            spare = self.seconds_left
            trees = trees_for(config[one.learner.trees], expected + spare - left, spare)
            if trees > 0:
                return "", {**config, one.learner.trees: trees}
        return (
            f"skipped: by a fit on {len(rows):,} rows its {len(self.folds)} folds take about "
            f"{expected:.0f} s, and {max(left, 0.0):.0f} s were left beside refitting"
        ), config

    def _record(self, one: Found, outcome: Outcome) -> None:
        seconds = time.monotonic() - outcome.started
        one.spent += seconds
        loss = float(np.mean(outcome.losses)) if outcome.losses else None
        complete = outcome.predicted is not None
        if one.searcher is not None:
            if loss is None or outcome.failed:
                one.searcher.on_trial_complete(outcome.trial_id, error=True)
            else:
                # The rounds were measured, not proposed.
                rounds = one.learner.rounds
                proposed = {
                    name: value
                    for name, value in outcome.config.items()
                    if rounds is None or name != rounds.name
                }
                one.searcher.on_trial_complete(outcome.trial_id, {"loss": loss, "config": proposed})
        if outcome.failed and one.best is None:
            one.note, one.closed = outcome.note, True
        if complete:
            one.note = ""  # that no time was left for it, until the search went on
        if complete and loss is not None and loss < one.loss:
            one.best, one.loss = dict(outcome.config), loss
            one.out_of_fold, one.fold_losses = outcome.predicted, list(outcome.losses)
            one.fold_seconds = outcome.fold_seconds
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
                candidates=tuple(
                    (one.learner.name, one.loss, one.trials, one.spent) for one in ready
                ),
            )
        )


def _one_thread() -> None:
    # OpenMP's limit belongs to the thread that sets it, so every worker does.
    threadpool_limits(1)
