"""One training run, from a data set to a fitted pipeline with honest estimates."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.contract import Contract, infer_contract, model_frame
from twinml.contract.intervals import PredictionIntervals
from twinml.data import Dataset
from twinml.errors import DataError, UsageError
from twinml.training._budget import Clock, Progress
from twinml.training._conformal import coverage, fit_intervals
from twinml.training._crossvalidation import Judging, judging
from twinml.training._dependence import partial_dependence
from twinml.training._found import Found
from twinml.training._importance import REPEATS, affordable_repeats, permutation_importance
from twinml.training._leaderboard import leaderboard, threshold_for
from twinml.training._preprocessing import encoder, string_columns
from twinml.training._recipe import Fitted, Fitting, Recipe, fit_all
from twinml.training._rounds import MOST_GROWTH, rounds_for
from twinml.training._search import Search
from twinml.training.encoded import encoded_columns
from twinml.training.learners import MOST_SPLIT, Learner, Shape, select
from twinml.training.options import TrainingOptions
from twinml.training.result import (
    Candidate,
    Coverage,
    Dependence,
    Evaluation,
    FittedCandidate,
    Interval,
    TrainingResult,
)
from twinml.training.splits import (
    Split,
    folds_of,
    hold_out,
    is_forward,
    ordered_split,
    split_column,
    stratified_sample,
    without_groups,
)
from twinml.training.tasks import Task, predictions, task_of

__all__ = ["train"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

_IMPORTANCE_ROWS = 1_200
# Of the budget: repeats and rows become fewer where they would take more.
_IMPORTANCE_SHARE = 0.04
_FEWEST_ROWS = 200
# Of the budget, the same for partial dependence.
_DEPENDENCE_SHARE = 0.02
# At which the coverage of prediction intervals is measured.
_LEVELS = (0.5, 0.8, 0.9, 0.95)
# To join members once, for each row, class and member.
_JOINING_SECONDS = 6e-7
_RESAMPLED_ROWS = 8_000_000


def train(
    dataset: Dataset,
    options: TrainingOptions | None = None,
    progress: Callable[[Progress], None] = lambda moment: None,
    *,
    every_candidate: bool = False,
) -> TrainingResult:
    """Search, join, refit and evaluate; return everything that was found.

    Parameters
    ----------
    dataset
        Checked data, as ``twinml.data.load`` gives them.
    progress
        Called a few times a second from the calling thread.
    every_candidate
        Fit and return all candidates of the leaderboard, not the best two alone.

    Raises
    ------
    DataError
        The rows cannot be split as asked, or a class is too rare.
    TrainingError
        Nothing could be fitted within the budget.
    KeyboardInterrupt
        Ctrl-C was pressed twice; once only ends the search.
    """
    options = options or TrainingOptions()
    with judging(options) as judge, threadpool_limits(1), warnings.catch_warnings():
        # Not converging, rare classes in a fold and the like show in the scores. Set here
        # and not around each fit: the filters belong to the process, not to a thread.
        warnings.simplefilter("ignore")
        return _Run(dataset, options, progress, judge).result(every_candidate)


def _checked(options: TrainingOptions, task: Task) -> TrainingOptions:
    """Return the options with the task's metric; refuse what the task has no use for."""
    of_classes = task.n_outputs == 2 and task.kind == "classification"
    if not of_classes and options.threshold != 0.5:
        found = f"{task.n_outputs}" if task.kind == "classification" else "a number to predict"
        raise DataError(
            f"a decision threshold needs two classes, found {found}",
            hint="Leave --threshold out.",
        )
    if task.kind == "regression" and options.class_weight is not None:
        raise DataError(
            "class weights need classes, found a number to predict",
            hint="Leave --class-weight out.",
        )
    task.check(options.metric)
    return options


def _coverage(
    intervals: PredictionIntervals, truth: Matrix, predicted: Matrix
) -> tuple[Coverage, ...]:
    found = []
    for level in _LEVELS:
        if level <= intervals.highest_level:
            bounds = intervals.bounds(predicted, level)
            width = float(np.mean(bounds[:, 1] - bounds[:, 0]))
            found.append(Coverage(level, coverage(intervals, truth, predicted, level), width))
    return tuple(found)


@dataclass
class _Table:
    """Features and truth of a data set, and which rows are whose."""

    features: pd.DataFrame
    labels: pd.Series[Any]
    task: Task
    y: NDArray[Any]
    strata: Rows
    split: Split
    copies: Rows | None


class _Run:
    def __init__(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        progress: Callable[[Progress], None],
        judge: Judging,
    ) -> None:
        self._task = task_of(dataset.labels, dataset.task)
        options = _checked(options, self._task)
        self._dataset, self._options, self._progress = dataset, options, progress
        self._judging = judge
        # Before the clock: it imports what the learners need.
        self._learners = select(options.learners, self._task.estimator)
        self._clock = Clock(None if options.reproducible else options.budget)
        self._timings: dict[str, float] = {}
        self._phase_started = time.monotonic()
        self._notes: list[str] = []
        self._trials = 0
        self._best: tuple[str, float] | None = None

    def result(self, every_candidate: bool) -> TrainingResult:
        options = self._options
        table = self._table()
        split = table.split
        # Before the search: what the contract refuses must not cost the budget first.
        self._contract(table, split.train)
        forward_split, forward_note = self._forward_split(table)
        search, rows = self._search(table, forward_split)
        ready = search.run()
        self._trials, self._best = len(search.log), (ready[0].learner.name, ready[0].loss)
        self._phase("search", "ensemble")

        judged = search.judged
        y = table.y[rows][judged]
        members = {
            one.learner.name: one.out_of_fold[judged]
            for one in ready
            if one.out_of_fold is not None
        }
        # Rows that a few folds judged are divided anew, to judge the ensembles' weights.
        every = len(judged) == len(rows)
        groups = None if split.groups is None else split.groups[rows][judged]
        board = leaderboard(
            table.task,
            ready,
            members,
            y,
            self._weights(table.y, rows)[rows][judged],
            search.folds
            if every
            else folds_of(table.strata[rows][judged], options.folds, options.seed, groups=groups),
            None if search.floor is None else search.floor[judged],
            options,
            search.seconds_to_join,
        )
        self._notes += board.notes
        for one in search.found:
            if one.best is None and one.note:
                self._notes.append(f"{one.learner.name} is not on the leaderboard: {one.note}.")
        winner, runner_up = board.winner, board.runner_up
        threshold = threshold_for(options, y, board.out_of_fold[winner.name])
        self._phase("ensemble", "refit")

        chosen = [winner] + ([runner_up] if runner_up is not None else [])
        wanted = board.candidates if every_candidate else chosen
        everything = np.arange(len(table.y))
        served_rows = everything if options.refit == "all" else split.train

        fold_rows = len(search.folds[0][0])

        def fitting(candidates: Sequence[Candidate], on: Rows) -> Fitting:
            needed = {member for one in candidates for member in board.joins[one.name].weights}
            return Fitting(
                self._recipe(ready, needed, len(on) / fold_rows),
                table.features.iloc[on],
                table.y[on],
                self._weights(table.y, on)[on],
            )

        def pipeline_of(fitted: Fitted, one: Candidate, at: float | None) -> Any:
            return fitted.pipeline(board.joins[one.name], at)

        fittings = [fitting(chosen, split.train)]
        if options.refit == "all":
            fittings.append(fitting(wanted if every_candidate else [winner], everything))
        elif every_candidate:
            fittings[0] = fitting(wanted, split.train)
        if forward_split is not None and self._learnable(table, forward_split):
            fittings.append(fitting([winner], forward_split.train))
        else:
            forward_split = None
        fits = fit_all(fittings, options.jobs)
        measured, served = fits[0], fits[1 if options.refit == "all" else 0]
        learned = pipeline_of(measured, winner, threshold)
        self._phase("refit", "evaluate")

        intervals = None
        if table.task.kind == "regression":
            intervals = fit_intervals(y, board.out_of_fold[winner.name][:, 0])
        test = self._evaluate(table, split, learned, threshold, intervals)
        forward: Evaluation | None = None
        if is_forward(split.kind):
            forward = test
        elif forward_split is not None:
            ahead = pipeline_of(fits[-1], winner, threshold)
            forward = self._evaluate(table, forward_split, ahead, threshold, intervals)
        other = None if runner_up is None else pipeline_of(measured, runner_up, threshold)
        importance = self._importance(table, split.test, measured, learned, board.metric, threshold)
        dependence = self._dependence(table, split.test, learned, importance)
        self._phase("evaluate", "done")

        return TrainingResult(
            contract=self._contract(table, served_rows, intervals),
            pipeline=learned if served is measured else pipeline_of(served, winner, threshold),
            measured=None if served is measured else learned,
            measured_apart=served is not measured,
            runner_up=other,
            runner_up_name=runner_up.name if runner_up is not None else None,
            leaderboard=board.candidates,
            trials=tuple(search.log),
            metric=board.metric,
            threshold=threshold,
            test=test,
            forward=forward,
            forward_note=" ".join([forward_note, *self._notes]),
            notes=tuple(self._notes),
            importance=importance,
            dependence=dependence,
            timings=dict(self._timings),
            options=options.to_dict(),
            runner_up_test=(
                predictions(other, table.features.iloc[split.test]) if other is not None else None
            ),
            interrupted=search.interrupted,
            candidates=(
                tuple(
                    FittedCandidate(
                        one, pipeline_of(served, one, threshold), y, board.out_of_fold[one.name]
                    )
                    for one in board.candidates
                )
                if every_candidate
                else ()
            ),
            trained_on=served_rows,
        )

    def _contract(
        self, table: _Table, rows: Rows, intervals: PredictionIntervals | None = None
    ) -> Contract:
        typed = self._dataset.features[table.features.columns]
        contract = infer_contract(
            typed.iloc[rows],
            table.labels.iloc[rows],
            name=self._dataset.name,
            notations=self._dataset.notations,
            regression=table.task.kind == "regression",
            intervals=intervals,
        )
        return replace(contract, target=self._dataset.target)

    def _phase(self, ended: str, begins: str) -> None:
        now = time.monotonic()
        self._timings[ended] = now - self._phase_started
        self._phase_started = now
        left = self._clock.left
        self._progress(
            Progress(
                phase=begins,
                trials=self._trials,
                best_name=self._best[0] if self._best else None,
                best_loss=self._best[1] if self._best else None,
                elapsed=self._clock.elapsed,
                left=None if left == float("inf") else left,
                total_trials=self._options.trials,
            )
        )

    def _table(self) -> _Table:
        options, dataset = self._options, self._dataset
        features, labels = dataset.features, dataset.labels
        task = self._task
        y = task.truth(labels)
        copies = dataset.copies()
        split = hold_out(
            features, task.divided(y, options.split), options.split,
            options.test_size, options.seed, lambda: copies,
        )  # fmt: skip
        name = split_column(options.split)
        if name is not None:
            features = features.drop(columns=name)
            if features.shape[1] == 0:
                raise DataError(
                    f"column {name!r} is the only feature, so nothing is left to learn from",
                    hint="Use --split random.",
                )
        # Groups as they come may not hold values of all sizes.
        strata = task.strata(y) if split.groups is None else task.classes_of(y)
        return _Table(model_frame(features), labels, task, y, strata, split, copies)

    def _forward_split(self, table: _Table) -> tuple[Split | None, str]:
        if is_forward(table.split.kind):
            return None, f"The test rows are the last ones ({table.split.kind})."
        if not self._dataset.chronological:
            return None, self._dataset.order_note
        try:
            split = ordered_split(table.task.classes_of(table.y), self._options.test_size)
        except DataError as error:
            return None, error.message
        if table.split.groups is not None:
            split = without_groups(split, table.split.groups)
        return split, (
            f"{self._dataset.order_note}; the recipe was chosen on the random split and "
            "learned anew from the earlier rows."
        )

    def _weights(self, y: NDArray[Any], train: Rows) -> NDArray[np.float64]:
        if self._options.class_weight is None:
            return np.ones(len(y))
        counts = np.bincount(y[train])
        return np.asarray(len(train) / (len(counts) * counts[y]), dtype=np.float64)

    def _search(self, table: _Table, forward: Split | None) -> tuple[Search, Rows]:
        """Measure the floor; on fewer rows where the budget could not carry it on all."""
        options, rows = self._options, table.split.train
        search = self._search_on(table, rows, forward)
        fewer = search.measure_floor()
        if fewer is None:
            if len(search.judged) < len(rows):
                self._notes.append(
                    f"Candidates were judged on {len(search.judged):,} of {len(rows):,} training "
                    f"rows, {len(search.folds)} of {options.folds} folds: the budget allows no "
                    "more."
                )
            return search, rows
        rng = np.random.default_rng(options.seed)
        kept = stratified_sample(rng, table.strata, rows, max(_FEWEST_ROWS, fewer))
        self._notes.append(
            f"The search saw a sample of {len(kept):,} of {len(rows):,} training rows: on all of "
            f"them one fold of the first candidate takes too much of the {options.budget:g} s. "
            "The model learned from all rows."
        )
        sampled = self._search_on(table, kept, forward)
        sampled.measure_floor(whatever=True)
        return sampled, kept

    def _search_on(self, table: _Table, rows: Rows, forward: Split | None) -> Search:
        options = self._options
        frame, y = table.features.iloc[rows], table.y[rows]
        X = np.asarray(
            encoder(frame, self._dataset.notations).fit_transform(frame), dtype=np.float64
        )
        copies = None if table.copies is None else table.copies[rows]
        groups = table.split.groups
        folds = folds_of(
            table.strata[rows], options.folds, options.seed, copies,
            None if groups is None else groups[rows],
        )  # fmt: skip
        task = table.task
        strings = string_columns(frame, self._dataset.notations)
        shape = Shape(len(strings), task.n_outputs, options.seed, task.estimator)
        fold_rows = len(folds[0][0])
        refits = [
            len(table.split.train),
            *([len(table.y)] if options.refit == "all" else []),
            *([len(forward.train)] if forward is not None else []),
        ]

        def joining(found: Sequence[Found]) -> float:
            members = sum(one.best is not None for one in found)
            once = _JOINING_SECONDS * len(rows) * task.n_outputs * members
            return search.slowness * once * (options.folds + 1)

        def refitting(found: Sequence[Found]) -> float:
            # What a fold took, for as many rows as the refits have; all of them share the cores.
            each = [
                one.fold_seconds
                * (size / fold_rows)
                * (min(math.sqrt(size / fold_rows), MOST_GROWTH) if one.learner.rounds else 1.0)
                for one in found
                if one.best is not None
                for size in refits
            ]
            refit = max(sum(each) / options.jobs, max(each, default=0.0))
            # What has not run yet takes longer where others use the machine too.
            rest = search.slowness * (1.5e-5 * len(table.y) * task.n_outputs + 0.5)
            return (
                1.1 * refit + rest + (_IMPORTANCE_SHARE + _DEPENDENCE_SHARE + 0.03) * options.budget
            )

        search = Search(
            task,
            X,
            y,
            self._weights(table.y, rows)[rows],
            folds,
            self._suitable(X, shape),
            shape,
            self._clock,
            judging=self._judging,
            jobs=options.jobs,
            trials=options.trials,
            joining=joining,
            refitting=refitting,
            progress=self._progress,
        )
        return search

    def _suitable(self, X: Matrix, shape: Shape) -> tuple[Learner, ...]:
        suitable = tuple(one for one in self._learners if one.suits(X, shape))
        if not suitable:
            raise UsageError(
                f"{self._learners[0].name} has nothing to split: no column of texts has "
                f"3 to {MOST_SPLIT} values",
                hint="Name another learner, too.",
            )
        return suitable

    def _recipe(self, ready: Sequence[Found], needed: set[str], share: float) -> Recipe:
        """Return what to fit on ``share`` times the rows that a fold had."""

        def config(one: Found) -> Mapping[str, Any]:
            best, rounds = one.best or {}, one.learner.rounds
            if rounds is None:
                return best
            return {**best, rounds.name: rounds_for(best[rounds.name], share)}

        return Recipe(
            {
                one.learner.name: (one.learner, config(one))
                for one in ready
                if one.learner.name in needed
            },
            self._task,
            self._options.seed,
            self._dataset.notations,
        )

    def _learnable(self, table: _Table, split: Split) -> bool:
        classes = table.task.classes_of(table.y)
        missing = len(np.unique(classes)) - len(np.unique(classes[split.train]))
        if missing:
            self._notes.append(f"The rows before the last lack {missing} of the classes.")
        return not missing

    def _evaluate(
        self,
        table: _Table,
        split: Split,
        pipeline: Any,
        threshold: float | None,
        intervals: PredictionIntervals | None,
    ) -> Evaluation:
        rows, task = split.test, table.task
        y_train, y_test = table.y[split.train], table.y[rows]
        predicted = predictions(pipeline, table.features.iloc[rows])
        measured: dict[str, Interval] = task.bootstrap(
            y_test,
            predicted,
            threshold,
            # Of many rows the intervals are narrow, and resamples take long.
            resamples=int(np.clip(_RESAMPLED_ROWS // len(y_test), 100, 400)),
            seed=self._options.seed,
        )
        return Evaluation(
            split=split.kind,
            n_train=len(y_train),
            n_test=len(y_test),
            metrics=measured,
            baseline=task.score(y_test, task.baseline(y_train, len(y_test))),
            confusion=task.confusion(y_test, predicted, threshold),
            labels=y_test,
            probabilities=predicted,
            rows=rows,
            coverage=() if intervals is None else _coverage(intervals, y_test, predicted[:, 0]),
        )

    def _dependence(
        self, table: _Table, test: Rows, pipeline: Any, importance: pd.DataFrame
    ) -> tuple[Dependence, ...]:
        rows = np.random.default_rng(self._options.seed).permutation(test)
        allowed = math.inf if self._options.reproducible else self._options.budget
        return partial_dependence(
            lambda frame: predictions(pipeline, frame),
            table.features.iloc[rows],
            importance["feature"].tolist(),
            _DEPENDENCE_SHARE * allowed,
        )

    def _importance(
        self,
        table: _Table,
        test: Rows,
        fitted: Fitted,
        pipeline: Any,
        metric: str,
        threshold: float | None,
    ) -> pd.DataFrame:
        rng = np.random.default_rng(self._options.seed)
        rows = stratified_sample(rng, table.strata, test, _IMPORTANCE_ROWS)
        frame = table.features.iloc[rows]
        names = encoded_columns(fitted.encoder.named_steps["columns"])
        whole = pipeline if hasattr(pipeline, "named_steps") else pipeline.estimator.estimator
        model = whole.named_steps["model"]
        X, y = np.asarray(fitted.encoder.transform(frame), dtype=np.float64), table.y[rows]
        repeats = REPEATS
        if not self._options.reproducible:
            started = time.monotonic()
            predictions(model, X)
            once = (time.monotonic() - started) * len(set(names)) / self._options.jobs
            allowed = _IMPORTANCE_SHARE * self._options.budget
            repeats, size = affordable_repeats(once, allowed, len(X))
            kept = rng.permutation(len(X))[:size]
            X, y = X[kept], y[kept]
        return permutation_importance(
            table.task,
            model,
            X,
            y,
            names,
            metric=metric,
            threshold=threshold,
            orders=[rng.permutation(len(X)) for _ in range(repeats)],
            jobs=self._options.jobs,
        )
