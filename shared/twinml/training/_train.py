"""One training run, from a data set to a fitted pipeline with honest estimates."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twinml.contract import Contract, infer_contract, model_frame
from twinml.contract.intervals import PredictionIntervals
from twinml.data import Dataset
from twinml.data.few_rows import FEWEST_HELD_OUT
from twinml.errors import DataError
from twinml.training._boosted_stack import FEWEST_ROWS, BoostedStack, fit_boosted_stack
from twinml.training._budget import Clock, Progress
from twinml.training._conformal import fit_intervals
from twinml.training._crossvalidation import Judging, judging
from twinml.training._evaluation import Evaluator, Table
from twinml.training._found import Found
from twinml.training._leaderboard import Leaderboard, leaderboard, threshold_for
from twinml.training._out_of_fold import DIVISIONS, Division, Folds, few_rows_first
from twinml.training._preprocessing import encoder, string_columns
from twinml.training._recipe import Fitted, Fitting, Recipe, fit_all
from twinml.training._reckoning import Reckoning
from twinml.training._rounds import rounds_for
from twinml.training._search import Search
from twinml.training.learners import absent, select, suitable
from twinml.training.options import TrainingOptions
from twinml.training.result import (
    Candidate,
    Evaluation,
    FittedCandidate,
    TrainingResult,
)
from twinml.training.splits import (
    Split,
    divide,
    folds_of,
    is_forward,
    ordered_split,
    split_column,
    stratified_sample,
    without_groups,
)
from twinml.training.tasks import Task, task_of

__all__ = ["train"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

_FEWEST_ROWS = 200


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
        # Forests fitted at the same time take the filters away from each other for moments.
        warnings.showwarning = _unseen
        return _Run(dataset, options, progress, judge).result(every_candidate)


def _unseen(*told: Any, **more: Any) -> None:
    """Show no warning."""


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
        self._notes = [] if options.learners else list(absent(self._task.estimator))
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
        fold_rows = len(search.folds[0][0])

        def fitting(names: Collection[str], on: Rows) -> Fitting:
            return Fitting(
                self._recipe(search.found, names, len(on) / fold_rows),
                table.features.iloc[on],
                table.y[on],
                self._weights(table.y, on)[on],
            )

        def fitted_on(folds: Folds, names: Collection[str]) -> Division:
            fits = fit_all([fitting(names, train) for train, _ in folds], options.jobs)
            return Division(folds, fits)

        def searched() -> tuple[Leaderboard, NDArray[Any]]:
            ready = search.run()
            self._trials, self._best = len(search.log), (ready[0].learner.name, ready[0].loss)
            self._phase("search", "ensemble")
            if split.out_of_fold:
                # By the folds that chose each configuration, the luckiest would be first.
                judged, floor = rows, None
                folds: Folds = self._folds(table, rows, options.seed + 1)
                names = [one.learner.name for one in ready]
                members = fitted_on(folds, names).members(table.task, names, table.features)
            else:
                judged = rows[search.judged]
                members = {
                    one.learner.name: one.out_of_fold[search.judged]
                    for one in ready
                    if one.out_of_fold is not None
                }
                floor = None if search.floor is None else search.floor[search.judged]
                # Rows that a few folds judged are divided anew, to judge the ensembles' weights.
                every = len(judged) == len(rows)
                folds = search.folds if every else self._folds(table, judged, options.seed)
            y = table.y[judged]
            weights = self._weights(table.y, rows)[judged]

            blend_round = search.blend_round or math.inf

            def boost(
                members: Mapping[str, Matrix], seconds: float
            ) -> tuple[BoostedStack, Matrix] | None:
                X, shape = search.data.X[search.judged], search.data.shape
                try:
                    return fit_boosted_stack(
                        table.task, members, X, y, weights, folds, shape, judged,
                        seconds=seconds, round_seconds=blend_round, jobs=options.jobs,
                    )  # fmt: skip
                except KeyboardInterrupt:
                    search.interrupted = True
                    return None

            board = leaderboard(
                table.task,
                ready,
                members,
                y,
                weights,
                folds,
                floor,
                options,
                search.seconds_to_join,
                # Few rows do not carry a second model on top: it believes too much.
                stacked=not split.out_of_fold,
                boost=boost if blend_round < math.inf else None,
            )
            return board, y

        board, y = searched()
        # All that were found were reckoned to be refitted; now it is known which ones are.
        while search.goes_on(board.refitted) and not (split.out_of_fold or every_candidate):
            tried = len(search.log)
            self._phase("ensemble", "search")
            board, y = searched()
            if len(search.log) == tried:
                break
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
        apart = options.refit == "all" and not split.out_of_fold
        served_rows = everything if options.refit == "all" else split.train

        def pipeline_of(
            fitted: Fitted, one: Candidate, at: float | None, allowed: Rows | None = None
        ) -> Any:
            join = board.joins[one.name]
            if isinstance(join, BoostedStack):
                join = join.suited(lambda on: fitted.encoded(table.features.iloc[on]), allowed)
            return fitted.pipeline(join, at)

        fittings = [fitting(board.members(chosen), split.train)]
        if apart:
            served_ones = board.members(wanted if every_candidate else [winner])
            fittings.append(fitting(served_ones, everything))
        elif every_candidate:
            fittings[0] = fitting(board.members(wanted), split.train)
        if forward_split is not None:
            fittings.append(fitting(board.members([winner]), forward_split.train))
        fits = fit_all(fittings, options.jobs)
        measured, served = fits[0], fits[1 if apart else 0]
        learned = pipeline_of(measured, winner, threshold)
        other = None if runner_up is None else pipeline_of(measured, runner_up, threshold)
        self._phase("refit", "evaluate")

        evaluator = Evaluator(table, options, board.metric, threshold)
        if split.out_of_fold:
            divisions = [
                fitted_on(self._folds(table, everything, seed), board.members(chosen))
                for seed in range(options.seed + 2, options.seed + 2 + DIVISIONS)
            ]
            joins = [
                join
                for join in (board.joins[one.name] for one in chosen)
                if not isinstance(join, BoostedStack)  # never of few rows
            ]
            weights = self._weights(table.y, everything)
            test, intervals, compared = evaluator.out_of_fold(divisions, joins, weights)
        else:
            intervals = None
            if table.task.kind == "regression":
                intervals = fit_intervals(y, board.out_of_fold[winner.name][:, 0])
            test = evaluator.held_out(split, learned, intervals)
            compared = [] if other is None else [evaluator.predicted(other, split.test)]
        forward: Evaluation | None = None
        if is_forward(split.kind):
            forward = test
        elif forward_split is not None:
            ahead = pipeline_of(fits[-1], winner, threshold, forward_split.train)
            forward = evaluator.held_out(forward_split, ahead, intervals)
        importance = evaluator.importance(measured, learned)
        dependence = evaluator.dependence(learned, importance)
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
            forward_note=forward_note,
            notes=tuple(self._notes),
            importance=importance,
            dependence=dependence,
            timings=dict(self._timings),
            options=options.to_dict(),
            runner_up_test=compared[0] if compared else None,
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
        self, table: Table, rows: Rows, intervals: PredictionIntervals | None = None
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
        spent = now - self._phase_started
        self._timings[ended] = self._timings.get(ended, 0.0) + spent
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

    def _table(self) -> Table:
        options, dataset = self._options, self._dataset
        features, labels = dataset.features, dataset.labels
        task = self._task
        y = task.truth(labels)
        copies = dataset.copies()
        split = divide(
            features, task.divided(y, options.split), options.split,
            options.test_size, options.seed, lambda: copies,
        )  # fmt: skip
        if split.out_of_fold:
            self._notes.append(
                f"{len(y)} rows are fewer than {FEWEST_HELD_OUT}, so none were held out: every "
                "row was judged by models of other rows, and the figures are out of fold."
            )
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
        return Table(model_frame(features), labels, task, y, strata, split, copies)

    def _forward_split(self, table: Table) -> tuple[Split | None, str]:
        if is_forward(table.split.kind):
            return None, f"The test rows are the last ones ({table.split.kind})."
        if table.split.out_of_fold:
            return None, (
                f"{len(table.y)} rows are too few to hold out the last ones beside the estimate; "
                "--split ordered holds them out alone."
            )
        if not self._dataset.chronological:
            return None, self._dataset.order_note
        classes = table.task.classes_of(table.y)
        try:
            split = ordered_split(classes, self._options.test_size)
        except DataError as error:
            return None, error.message
        if table.split.groups is not None:
            split = without_groups(split, table.split.groups)
            missing = len(np.unique(classes)) - len(np.unique(classes[split.train]))
            if missing:
                return None, f"The rows before the last lack {missing} of the classes."
        return split, (
            f"{self._dataset.order_note}; the recipe was chosen on the random split and "
            "learned anew from the earlier rows."
        )

    def _folds(self, table: Table, rows: Rows, seed: int) -> list[tuple[Rows, Rows]]:
        copies, groups = table.copies, table.split.groups
        return folds_of(
            table.strata[rows], self._options.folds, seed,
            None if copies is None else copies[rows],
            None if groups is None else groups[rows],
        )  # fmt: skip

    def _weights(self, y: NDArray[Any], train: Rows) -> NDArray[np.float64]:
        if self._options.class_weight is None:
            return np.ones(len(y))
        counts = np.bincount(y[train])
        return np.asarray(len(train) / (len(counts) * counts[y]), dtype=np.float64)

    def _search(self, table: Table, forward: Split | None) -> tuple[Search, Rows]:
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

    def _search_on(self, table: Table, rows: Rows, forward: Split | None) -> Search:
        options = self._options
        frame, y = table.features.iloc[rows], table.y[rows]
        X = np.asarray(
            encoder(frame, self._dataset.notations).fit_transform(frame), dtype=np.float64
        )
        folds = self._folds(table, rows, options.seed)
        task = table.task
        strings = string_columns(frame, self._dataset.notations)
        shape = task.shape(len(strings), options.seed)
        fold_rows = len(folds[0][0])
        if table.split.out_of_fold:
            refits = [len(rows), *[fold_rows] * ((1 + DIVISIONS) * options.folds)]
        else:
            refits = [
                len(table.split.train),
                *([len(table.y)] if options.refit == "all" else []),
                *([len(forward.train)] if forward is not None else []),
            ]
        learners = few_rows_first(self._learners) if table.split.out_of_fold else self._learners
        return Search(
            task,
            X,
            y,
            self._weights(table.y, rows)[rows],
            folds,
            suitable(learners, X, shape),
            shape,
            self._clock,
            Reckoning(
                rows=len(rows),
                fold_rows=fold_rows,
                folds=options.folds,
                every_row=len(table.y),
                refits=refits,
                outputs=task.n_outputs,
                jobs=options.jobs,
                budget=options.budget,
                blends=len(rows) >= FEWEST_ROWS and not table.split.out_of_fold,
            ),
            judging=self._judging,
            jobs=options.jobs,
            trials=options.trials,
            progress=self._progress,
        )

    def _recipe(self, found: Sequence[Found], needed: Collection[str], share: float) -> Recipe:
        """Return what to fit on ``share`` times the rows that a fold had."""

        def config(one: Found) -> Mapping[str, Any]:
            best, rounds = one.best or {}, one.learner.rounds
            if rounds is None:
                return best
            return {**best, rounds.name: rounds_for(best[rounds.name], share)}

        return Recipe(
            {
                one.learner.name: (one.learner, config(one))
                for one in found
                if one.learner.name in needed
            },
            self._task,
            self._options.seed,
            self._dataset.notations,
        )
