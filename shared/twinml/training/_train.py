"""One training run, from a data set to a fitted pipeline with honest estimates."""

from __future__ import annotations

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
from twinml.data import Dataset
from twinml.errors import DataError
from twinml.training import metrics
from twinml.training._crossvalidation import Judging, judging
from twinml.training._ensemble import Stack, Vote, cross_fitted, fit_stack, fit_vote
from twinml.training._importance import permutation_importance
from twinml.training._preprocessing import encoder, string_columns
from twinml.training._recipe import Fitted, Recipe
from twinml.training._search import Clock, Found, Progress, Search
from twinml.training.learners import Shape, select
from twinml.training.options import TrainingOptions
from twinml.training.result import (
    Candidate,
    Evaluation,
    FittedCandidate,
    Interval,
    TrainingResult,
)
from twinml.training.splits import (
    Split,
    folds_of,
    ordered_split,
    random_split,
    stratified_sample,
    time_column,
)

__all__ = ["train"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

_IMPORTANCE_ROWS = 2_000
_IMPORTANCE_REPEATS = 3
# When even the cheapest learner would take more than this share of the budget, fewer rows
# are used: several learners on a sample beat a single one on everything.
_CHEAPEST_SHARE = 0.15


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


@dataclass
class _Table:
    """Features and encoded labels of a data set, and which rows are whose."""

    features: pd.DataFrame
    labels: pd.Series[Any]
    classes: NDArray[Any]
    y: Rows
    split: Split


class _Run:
    def __init__(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        progress: Callable[[Progress], None],
        judge: Judging,
    ) -> None:
        self._dataset, self._options, self._progress = dataset, options, progress
        self._judging = judge
        # Before the clock: it imports what the learners need.
        self._learners = select(options.learners)
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
        rows = split.train
        weights = self._weights(table.y, split.train)
        search, rows = self._search(table, rows, weights, forward_split is not None)
        ready = search.run()
        self._trials, self._best = len(search.log), (ready[0].learner.name, ready[0].loss)
        self._phase("search", "ensemble")

        y = table.y[rows]
        leaderboard, joins, out_of_fold = self._leaderboard(
            ready, search.found, y, weights[rows], search.folds
        )
        winner = leaderboard[0]
        threshold = self._threshold(y, out_of_fold[winner.name], len(table.classes))
        self._phase("ensemble", "refit")

        runner_up = next(
            (
                one
                for one in leaderboard[1:]
                # A vote that gave everything to one member is that member over again.
                if joins[one.name] != joins[winner.name]
                and (winner.kind == "single" or one.kind == "single")
            ),
            None,
        )
        chosen = [winner] + ([runner_up] if runner_up is not None else [])
        wanted = leaderboard if every_candidate else chosen
        recipe = self._recipe(ready, joins, wanted, len(table.classes))
        fitted = recipe.fit(table.features.iloc[rows], y, weights[rows], options.jobs)
        pipeline = fitted.pipeline(joins[winner.name], table.classes, threshold)
        self._phase("refit", "evaluate")

        test = self._evaluate(table, split, rows, pipeline, threshold)
        forward: Evaluation | None = None
        if split.kind != "random":
            forward = test
        elif forward_split is not None:
            forward = self._evaluate_forward(
                table, forward_split, recipe, joins[winner.name], weights, threshold, len(rows)
            )
        other = (
            fitted.pipeline(joins[runner_up.name], table.classes, threshold)
            if runner_up is not None
            else None
        )
        importance = self._importance(table, split.test, fitted, pipeline, threshold)
        self._phase("evaluate", "done")

        return TrainingResult(
            contract=self._contract(table, rows),
            pipeline=pipeline,
            runner_up=other,
            runner_up_name=runner_up.name if runner_up is not None else None,
            leaderboard=leaderboard,
            trials=tuple(search.log),
            metric=options.metric,
            threshold=threshold,
            test=test,
            forward=forward,
            forward_note=" ".join([forward_note, *self._notes]),
            importance=importance,
            timings=dict(self._timings),
            options=options.to_dict(),
            runner_up_test=(
                np.asarray(other.predict_proba(table.features.iloc[split.test]), dtype=np.float64)
                if other is not None
                else None
            ),
            interrupted=search.interrupted,
            candidates=(
                tuple(
                    FittedCandidate(
                        one,
                        fitted.pipeline(joins[one.name], table.classes, threshold),
                        y,
                        out_of_fold[one.name],
                    )
                    for one in leaderboard
                )
                if every_candidate
                else ()
            ),
            trained_on=rows,
        )

    def _contract(self, table: _Table, rows: Rows) -> Contract:
        typed = self._dataset.features[table.features.columns]
        contract = infer_contract(
            typed.iloc[rows], table.labels.iloc[rows], name=self._dataset.name
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
        order: Rows | None = None
        times: NDArray[Any] | None = None
        if options.split.startswith("column:"):
            name = options.split.removeprefix("column:")
            order, times = time_column(features, name)
            features = features.drop(columns=name)
            if features.shape[1] == 0:
                raise DataError(
                    f"column {name!r} is the only feature, so nothing is left to learn from",
                    hint="Use --split random.",
                )
        classes, y = np.unique(np.asarray(labels), return_inverse=True)
        y = y.astype(np.int64)
        if len(classes) > 2 and options.threshold != 0.5:
            raise DataError(
                f"a decision threshold needs two classes, found {len(classes)}",
                hint="Leave --threshold out.",
            )
        if options.split == "random":
            split = random_split(y, options.test_size, options.seed)
        else:
            split = ordered_split(y, options.test_size, order, options.split, times)
        return _Table(model_frame(features), labels, classes, y, split)

    def _forward_split(self, table: _Table) -> tuple[Split | None, str]:
        if table.split.kind != "random":
            return None, f"The test rows are the last ones ({table.split.kind})."
        if not self._dataset.chronological:
            return None, self._dataset.order_note
        try:
            split = ordered_split(table.y, self._options.test_size)
        except DataError as error:
            return None, error.message
        return split, (
            f"{self._dataset.order_note}; the recipe was chosen on the random split and "
            "learned anew from the earlier rows."
        )

    def _weights(self, y: Rows, train: Rows) -> NDArray[np.float64]:
        if self._options.class_weight is None:
            return np.ones(len(y))
        counts = np.bincount(y[train])
        return np.asarray(len(train) / (len(counts) * counts[y]), dtype=np.float64)

    def _search(
        self, table: _Table, rows: Rows, weights: NDArray[np.float64], forward: bool
    ) -> tuple[Search, Rows]:
        """Set the search up; on fewer rows when the budget could not carry all of them."""
        options = self._options
        search = self._search_on(table, rows, weights, forward)
        if options.reproducible:
            return search, rows
        search.probe()
        allowed = _CHEAPEST_SHARE * options.budget
        needed = search.cheapest() * (options.folds + 2)
        if needed <= allowed:
            return search, rows
        rng = np.random.default_rng(options.seed)
        kept = stratified_sample(rng, table.y, rows, max(200, int(len(rows) * allowed / needed)))
        self._notes.append(
            f"The model learned from a sample of {len(kept):,} of {len(rows):,} training rows: "
            f"the budget of {options.budget:g} s allows no more."
        )
        fewer = self._search_on(table, kept, weights, forward)
        fewer.learn_costs(search)
        return fewer, kept

    def _search_on(
        self, table: _Table, rows: Rows, weights: NDArray[np.float64], forward: bool
    ) -> Search:
        options = self._options
        frame, y = table.features.iloc[rows], table.y[rows]
        X = np.asarray(encoder(frame).fit_transform(frame), dtype=np.float64)
        folds = folds_of(y, options.folds, options.seed)
        shape = Shape(len(string_columns(frame)), len(table.classes), options.seed)

        def reserve(found: Sequence[Found]) -> float:
            # One refit costs a fold that has all rows; all of them share the cores.
            refits = [
                one.fold_seconds * len(folds) / max(1, len(folds) - 1)
                for one in found
                if one.best is not None
            ]
            refit = max(sum(refits) / options.jobs, max(refits, default=0.0))
            rest = 0.05 * options.budget + 2e-5 * len(table.y) + 0.5
            return 1.25 * refit * (2 if forward else 1) + rest

        return Search(
            X,
            y,
            weights[rows],
            folds,
            self._learners,
            shape,
            self._clock,
            judging=self._judging,
            jobs=options.jobs,
            trials=options.trials,
            reserve=reserve,
            progress=self._progress,
        )

    def _leaderboard(
        self,
        ready: Sequence[Found],
        found: Sequence[Found],
        y: Rows,
        weights: NDArray[np.float64],
        folds: Sequence[tuple[Rows, Rows]],
    ) -> tuple[tuple[Candidate, ...], dict[str, Vote | Stack], dict[str, Matrix]]:
        members = {
            one.learner.name: one.out_of_fold for one in ready if one.out_of_fold is not None
        }
        joins: dict[str, Vote | Stack] = {name: Vote({name: 1.0}) for name in members}
        out_of_fold = dict(members)
        n_classes = next(iter(members.values())).shape[1]

        def figures(name: str) -> dict[str, float]:
            # At the threshold that the candidate would be used with.
            threshold = self._threshold(y, out_of_fold[name], n_classes)
            return metrics.score(y, out_of_fold[name], threshold)

        candidates = [
            Candidate(
                name=one.learner.name,
                kind="single",
                metrics=figures(one.learner.name),
                config=one.best or {},
                trials=one.trials,
                seconds=one.spent,
                note=one.note,
            )
            for one in ready
        ]
        if len(members) > 1:
            fits: tuple[tuple[str, Callable[..., Vote | Stack]], ...] = (
                ("VotingEnsemble", fit_vote),
                ("StackEnsemble", fit_stack),
            )
            for name, join in fits:
                started = time.monotonic()
                joins[name] = join(members, y, weights)
                out_of_fold[name] = cross_fitted(join, members, y, weights, folds)
                candidates.append(
                    Candidate(
                        name=name,
                        kind="ensemble",
                        metrics=figures(name),
                        weights=joins[name].weights,
                        seconds=time.monotonic() - started,
                    )
                )
        sign = -1.0 if metrics.HIGHER_IS_BETTER[self._options.metric] else 1.0

        def rank(one: Candidate) -> tuple[float, float]:
            # Beyond the digits that are shown the metric is noise; log loss decides there.
            value = round(sign * one.metrics[self._options.metric], 4)
            return (np.inf if np.isnan(value) else value, one.metrics["log_loss"])

        candidates.sort(key=rank)
        for one in found:
            if one.best is None and one.note:
                self._notes.append(f"{one.learner.name} is not on the leaderboard: {one.note}.")
        return tuple(candidates), joins, out_of_fold

    def _threshold(self, y: Rows, out_of_fold: Matrix, n_classes: int) -> float | None:
        if n_classes != 2:
            return None
        wanted = self._options.threshold
        if isinstance(wanted, str):
            return metrics.tune_threshold(y, out_of_fold[:, 1], wanted)
        return wanted

    def _recipe(
        self,
        ready: Sequence[Found],
        joins: Mapping[str, Vote | Stack],
        chosen: Sequence[Candidate],
        n_classes: int,
    ) -> Recipe:
        needed = {member for one in chosen for member in joins[one.name].weights}
        return Recipe(
            {
                one.learner.name: (one.learner, one.best)
                for one in ready
                if one.learner.name in needed and one.best is not None
            },
            n_classes,
            self._options.seed,
        )

    def _evaluate(
        self, table: _Table, split: Split, rows: Rows, pipeline: Any, threshold: float | None
    ) -> Evaluation:
        test = split.test
        probabilities = np.asarray(
            pipeline.predict_proba(table.features.iloc[test]), dtype=np.float64
        )
        return self._evaluation(
            split.kind, table.y[rows], table.y[test], test, probabilities, threshold
        )

    def _evaluate_forward(
        self,
        table: _Table,
        split: Split,
        recipe: Recipe,
        join: Vote | Stack,
        weights: NDArray[np.float64],
        threshold: float | None,
        most_rows: int,
    ) -> Evaluation | None:
        rows = split.train
        if len(rows) > most_rows:
            # The budget did not carry all rows in the search either. The latest are used:
            # that is what one would do to predict the next month.
            rows = rows[-most_rows:]
        missing = len(table.classes) - len(np.unique(table.y[rows]))
        if missing:
            self._notes.append(f"The rows before the last lack {missing} of the classes.")
            return None
        members = {name: recipe.members[name] for name in join.weights}
        fitted = replace(recipe, members=members).fit(
            table.features.iloc[rows], table.y[rows], weights[rows], self._options.jobs
        )
        return self._evaluate(
            table, split, rows, fitted.pipeline(join, table.classes, threshold), threshold
        )

    def _evaluation(
        self,
        kind: str,
        y_train: Rows,
        y_test: Rows,
        rows: Rows,
        probabilities: Matrix,
        threshold: float | None,
    ) -> Evaluation:
        n_classes = probabilities.shape[1]
        shares = np.bincount(y_train, minlength=n_classes) / len(y_train)
        baseline = np.tile(shares, (len(y_test), 1))
        intervals: dict[str, Interval] = metrics.bootstrap(
            y_test, probabilities, threshold, seed=self._options.seed
        )
        return Evaluation(
            split=kind,
            n_train=len(y_train),
            n_test=len(y_test),
            metrics=intervals,
            baseline=metrics.score(y_test, baseline),
            confusion=metrics.confusion(
                y_test, metrics.decide(probabilities, threshold), n_classes
            ),
            labels=y_test,
            probabilities=probabilities,
            rows=rows,
        )

    def _importance(
        self,
        table: _Table,
        test: Rows,
        fitted: Fitted,
        pipeline: Any,
        threshold: float | None,
    ) -> pd.DataFrame:
        rng = np.random.default_rng(self._options.seed)
        rows = stratified_sample(rng, table.y, test, _IMPORTANCE_ROWS)
        frame = table.features.iloc[rows]
        strings = string_columns(frame)
        names = strings + [name for name in map(str, frame.columns) if name not in set(strings)]
        whole = pipeline if hasattr(pipeline, "named_steps") else pipeline.estimator.estimator
        # The importance is the part that a budget which is used up can do with less of.
        repeats = _IMPORTANCE_REPEATS if self._clock.left > 0.03 * self._options.budget else 1
        return permutation_importance(
            whole.named_steps["model"],
            np.asarray(fitted.encoder.transform(frame), dtype=np.float64),
            table.y[rows],
            names,
            metric=self._options.metric,
            threshold=threshold,
            orders=[rng.permutation(len(rows)) for _ in range(repeats)],
            jobs=self._options.jobs,
        )
