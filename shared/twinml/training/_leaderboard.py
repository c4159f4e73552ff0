"""Candidates by their out-of-fold figures: every learner's best, and two ways to join them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinml.training import metrics
from twinml.training._boosted_stack import BoostedStack, Join
from twinml.training._ensemble import Stack, Vote, cross_fitted, fit_stack, fit_vote
from twinml.training._found import Found
from twinml.training._intervals import interval
from twinml.training.options import TrainingOptions
from twinml.training.result import Candidate
from twinml.training.tasks import Task

__all__ = ["Boost", "Leaderboard", "leaderboard", "rank", "threshold_for"]

Rows = NDArray[np.int64]
Matrix = NDArray[np.float64]

# From members' out-of-fold predictions and the seconds that are spare to a boosted stack and its
# own; ``None`` where they do not suffice.
Boost: TypeAlias = Callable[[Mapping[str, Matrix], float], tuple[BoostedStack, Matrix] | None]

# Of the budget, for judging an ensemble in any case.
_JUDGED_SHARE = 0.02
# Rows that tell how long an ensemble takes, and which members a stack is made of.
_TASTED_ROWS = 10_000


@dataclass(frozen=True)
class Leaderboard:
    """Candidates, best first, how each joins its members, and its out-of-fold predictions.

    ``metric`` is the one that chose; ``notes`` say what was left out, and why.
    """

    metric: str
    candidates: tuple[Candidate, ...]
    joins: Mapping[str, Join]
    out_of_fold: Mapping[str, Matrix]
    notes: tuple[str, ...] = ()

    @property
    def winner(self) -> Candidate:
        """The first."""
        return self.candidates[0]

    @property
    def runner_up(self) -> Candidate | None:
        """The best single learner if an ensemble won, else the next candidate, if there is one."""
        winner = self.winner
        return next(
            (
                one
                for one in self.candidates[1:]
                # A vote that gave everything to one member is that member over again.
                if self.joins[one.name] != self.joins[winner.name]
                and (winner.kind == "single" or one.kind == "single")
            ),
            None,
        )

    @property
    def refitted(self) -> set[str]:
        """Names of the learners that the winner and the runner-up are made of."""
        runner_up = self.runner_up
        return self.members([self.winner] if runner_up is None else [self.winner, runner_up])

    def members(self, candidates: Sequence[Candidate]) -> set[str]:
        """Return the names of the learners that these candidates are made of."""
        return {member for one in candidates for member in self.joins[one.name].weights}


def rank(
    value: float, loss: float, floor: float, higher_is_better: bool
) -> tuple[bool, float, float]:
    """Return what a candidate is sorted by, the best first.

    Beyond the four digits that are shown a figure is noise; an area that ties with the best one
    (``metrics.ties``) is given as that. No candidate whose loss is above
    the floor's comes before one whose is not; then the metric decides, then the loss.
    """
    best_first = -value if higher_is_better else value
    return (
        round(loss, 4) > round(floor, 4),
        float("inf") if np.isnan(value) else round(best_first, 4),
        loss,
    )


def threshold_for(options: TrainingOptions, y: Rows, out_of_fold: Matrix) -> float | None:
    """Return the decision threshold on class 1, tuned if asked for; ``None`` for more classes."""
    if out_of_fold.shape[1] != 2:
        return None
    if isinstance(options.threshold, str):
        return metrics.tune_threshold(y, out_of_fold[:, 1], options.threshold)
    return options.threshold


def affordable(
    names: Sequence[str], seconds: Mapping[str, float], left: Callable[[Sequence[str]], float]
) -> list[str]:
    """Return the learners, best first, that can all be refitted: without the dearest, if need be.

    The best one is refitted in any case.

    Examples
    --------
    >>> took = {"LightGBM": 3.0, "XGBoost": 2.0, "RandomForest": 9.0}
    >>> affordable(list(took), took, lambda names: 8.0 - sum(took[name] for name in names))
    ['LightGBM', 'XGBoost']
    """
    kept = list(names)
    while len(kept) > 1 and left(kept) <= 0:
        kept.remove(max(kept[1:], key=lambda name: seconds[name]))
    return kept


def judges(seconds: float, spare: float, budget: float) -> bool:
    """Tell whether an ensemble is judged that takes so long.

    What is spare is reckoned with care, and an ensemble is nearly always the best: one that takes
    next to nothing of the budget is judged even where nothing is spare.

    Examples
    --------
    >>> judges(1.2, 0.0, 60.0), judges(1.3, 0.0, 60.0), judges(9.0, 9.0, 60.0)
    (True, False, True)
    """
    return seconds <= max(spare, _JUDGED_SHARE * budget)


def leaderboard(
    task: Task,
    ready: Sequence[Found],
    members: Mapping[str, Matrix],
    y: Rows,
    weights: NDArray[np.float64],
    folds: Sequence[tuple[Rows, Rows]],
    floor: Matrix | None,
    options: TrainingOptions,
    left: Callable[[Sequence[str]], float],
    *,
    stacked: bool = True,
    boost: Boost | None = None,
) -> Leaderboard:
    """Join the learners and sort what there is.

    Parameters
    ----------
    members
        Out-of-fold predictions of ``ready`` by name, (n, k), of the rows with the truth ``y``.
    folds
        Of these rows, to judge the ensembles' weights out of fold too.
    floor
        Out-of-fold predictions that nothing may be worse than, (n, k).
    left
        From names of learners to the seconds until joining must have ended, so that these can be
        refitted: ensembles have no others, and what takes longer is left out, with a note.
    stacked
        Whether a stack is made as well.
    boost
        Makes a stack that is blended by boosting: it is taken where out of fold it is better.
    """
    joins: dict[str, Join] = {name: Vote({name: 1.0}) for name in members}
    out_of_fold = dict(members)

    def figures(name: str) -> dict[str, float]:
        # At the threshold that the candidate would be used with.
        predicted = out_of_fold[name]
        return task.score(y, predicted, threshold_for(options, y, predicted))

    notes: list[str] = []
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
    seconds = {one.learner.name: one.fold_seconds for one in ready}
    joined_names = affordable(list(members), seconds, left)
    if len(joined_names) < len(members):
        others = ", ".join(name for name in members if name not in joined_names)
        notes.append(f"The ensembles are made without {others}: refitting takes too long.")
    members = {name: members[name] for name in joined_names}
    if len(members) > 1:
        fits: dict[str, Callable[..., Vote | Stack]] = {"VotingEnsemble": fit_vote}
        if stacked:
            fits["StackEnsemble"] = fit_stack
        for name, join in fits.items():
            started = time.monotonic()
            few = np.unique(np.linspace(0, len(y) - 1, _TASTED_ROWS).astype(np.int64))
            tasted = {member: given[few] for member, given in members.items()}
            joined: Join = join(task, tasted, y[few], weights[few])
            again = (time.monotonic() - started) * (len(folds) + 1) * len(y) / len(few)
            predicted: Matrix | None = None
            spare = left(list(members))
            if judges(again, spare, options.budget):
                predicted = cross_fitted(task, join, members, y, weights, folds)
            boosted = None
            if isinstance(joined, Stack) and boost is not None:
                blended = {member: members[member] for member in joined.members}
                boosted = boost(blended, left(list(members)))
            if boosted is not None and (
                predicted is None
                or task.loss(y, boosted[1], weights) < task.loss(y, predicted, weights)
            ):
                joined, predicted = boosted
            elif predicted is not None and len(few) < len(y):
                joined = join(task, members, y, weights)
            if predicted is None:
                notes.append(
                    f"{name} is not on the leaderboard: judging it takes about {again:.0f} s, "
                    f"and {max(spare, 0.0):.0f} s were left beside refitting."
                )
                continue
            joins[name], out_of_fold[name] = joined, predicted
            candidates.append(
                Candidate(
                    name=name,
                    kind="ensemble",
                    metrics=figures(name),
                    weights=joined.weights,
                    seconds=time.monotonic() - started,
                )
            )
    limit = float("inf") if floor is None else task.loss(y, floor, weights)
    metric = task.chosen(
        options.metric, [one.metrics for one in candidates if one.kind == "single"]
    )

    def place(one: Candidate, best: float = float("nan")) -> tuple[bool, float, float]:
        value = one.metrics[metric]
        loss = task.loss(y, out_of_fold[one.name], weights)
        same = metrics.ties(metric, value, best)
        shown = task.comparable(metric, best if same else value)
        return rank(shown, loss, limit, metrics.HIGHER_IS_BETTER[metric])

    best = min(candidates, key=place).metrics[metric]
    candidates.sort(key=lambda one: place(one, best))
    for position, one in enumerate(candidates):
        given = out_of_fold[one.name]
        at = threshold_for(options, y, given)
        known = interval(metric, one.metrics[metric], y, given, at)
        candidates[position] = replace(one, interval=known)
    return Leaderboard(metric, tuple(candidates), joins, out_of_fold, tuple(notes))
